//! Functions and errors as Solidity declares them, and values as the pipeline's texts say them.

use alloy_dyn_abi::{DynSolType, DynSolValue, FunctionExt, JsonAbiExt, Specifier};
use alloy_json_abi::{Error, Function, Param};
use alloy_primitives::hex;
use alloy_sol_types::{Panic, Revert, SolError, decode_revert_reason};
use serde_json::{Map, Value as Json};

use crate::Failure;

/// Mistakes in it are the pipeline's.
pub(crate) fn function(text: &str) -> Result<Function, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Refused(format!("function \"{text}\": {error}"));
    let function = Function::parse(text).map_err(|error| wrong(&error))?;
    for param in function.inputs.iter().chain(&function.outputs) {
        param.resolve().map_err(|error| wrong(&error))?;
    }
    Ok(function)
}

pub(crate) fn errors(texts: &[String]) -> Result<Vec<Error>, Failure> {
    let parse = |text: &String| {
        let wrong = |why: &dyn std::fmt::Display| Failure::Refused(format!("error \"{text}\": {why}"));
        let error = Error::parse(text).map_err(|why| wrong(&why))?;
        error.inputs.iter().try_for_each(|param| param.resolve().map(|_| ()).map_err(|why| wrong(&why)))?;
        Ok(error)
    };
    texts.iter().map(parse).collect()
}

/// As many arguments as it takes.
pub(crate) fn check_count(function: &Function, arguments: &[String]) -> Result<(), Failure> {
    if function.inputs.len() == arguments.len() {
        return Ok(());
    }
    let (wants, has) = (function.inputs.len(), arguments.len());
    Err(Failure::Refused(format!("{} takes {wants} arguments, and `arguments` has {has}", function.name)))
}

/// The call's data.
pub(crate) fn encoded(function: &Function, arguments: &[String]) -> Result<Vec<u8>, Failure> {
    check_count(function, arguments)?;
    let values = function.inputs.iter().zip(arguments).map(|(param, text)| {
        let unfit = |error: &dyn std::fmt::Display| {
            let name = if param.name.is_empty() { "an argument" } else { &param.name };
            Failure::Refused(format!(
                "{}: {name} is {}, no {}: {error}",
                function.name,
                brief(text),
                param.ty
            ))
        };
        let ty: DynSolType = param.resolve().map_err(|error| unfit(&error))?;
        ty.coerce_str(text).map_err(|error| unfit(&error))
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;
    function
        .abi_encode_input(&values)
        .map_err(|error| Failure::Refused(format!("{}: {error}", function.name)))
}

/// What a view answered: one value as it is, several as a list; where they have names, by these too.
pub(crate) fn answer(function: &Function, data: &[u8]) -> Result<Json, Failure> {
    if function.outputs.is_empty() {
        let text = format!("\"{}\" says not what it returns: add `returns (...)`", function.signature());
        return Err(Failure::Refused(text));
    }
    let values = function.abi_decode_output(data).map_err(|error| {
        let shown =
            if data.is_empty() { "nothing: is there a contract?".to_owned() } else { error.to_string() };
        Failure::later(format!("{} answered {shown}", function.name))
    })?;
    Ok(match <[DynSolValue; 1]>::try_from(values) {
        Ok([one]) => said(&one, &function.outputs[0]),
        Err(values) => named(&values, &function.outputs),
    })
}

/// A revert in the contract's own words.
pub(crate) fn reason(data: &[u8], errors: &[Error]) -> String {
    if data.is_empty() {
        return "it says no reason".to_owned();
    }
    let known = data.get(..4).and_then(|selector| errors.iter().find(|error| error.selector() == selector));
    let own = known.and_then(|error| {
        let values = error.abi_decode_input(&data[4..]).ok()?;
        let values = values.iter().zip(&error.inputs).map(|(value, param)| text_of(&said(value, param)));
        Some(format!("{}({})", error.name, values.collect::<Vec<_>>().join(", ")))
    });
    let is_solidity = [Revert::SELECTOR, Panic::SELECTOR].iter().any(|selector| data.starts_with(selector));
    let solidity = || is_solidity.then(|| decode_revert_reason(data)).flatten();
    own.or_else(solidity).unwrap_or_else(|| brief(&hex::encode_prefixed(data)))
}

fn named(values: &[DynSolValue], params: &[Param]) -> Json {
    let mut parts = Map::new();
    for (index, (value, param)) in values.iter().zip(params).enumerate() {
        let said = said(value, param);
        if !param.name.is_empty() {
            parts.insert(param.name.clone(), said.clone());
        }
        parts.insert(index.to_string(), said);
    }
    Json::Object(parts)
}

fn said(value: &DynSolValue, param: &Param) -> Json {
    match value {
        DynSolValue::Bool(flag) => Json::String(flag.to_string()),
        DynSolValue::Int(number, _) => Json::String(number.to_string()),
        DynSolValue::Uint(number, _) => Json::String(number.to_string()),
        DynSolValue::FixedBytes(word, bytes) => Json::String(hex::encode_prefixed(&word[..*bytes])),
        DynSolValue::Address(address) => Json::String(address.to_string()),
        DynSolValue::Function(function) => Json::String(hex::encode_prefixed(function)),
        DynSolValue::Bytes(bytes) => Json::String(hex::encode_prefixed(bytes)),
        DynSolValue::String(text) => Json::String(text.clone()),
        DynSolValue::Array(list) | DynSolValue::FixedArray(list) => {
            Json::Array(list.iter().map(|item| said(item, param)).collect())
        }
        DynSolValue::Tuple(list) => named(list, &param.components),
        #[allow(unreachable_patterns)]
        _ => Json::Null,
    }
}

pub(crate) fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text as a message shows it.
pub(crate) fn brief(text: &str) -> String {
    const CHARACTERS: usize = 80;
    match text.char_indices().nth(CHARACTERS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_encoded_as_solidity_does() {
        let function = function("transfer(address to, uint256 amount)").unwrap();
        let arguments = ["0x000000000000000000000000000000000000dEaD".to_owned(), "5".to_owned()];
        let data = encoded(&function, &arguments).unwrap();
        assert_eq!(
            hex::encode(data),
            "a9059cbb000000000000000000000000000000000000000000000000000000000000dead\
             0000000000000000000000000000000000000000000000000000000000000005"
        );
    }

    #[test]
    fn an_argument_that_does_not_fit_is_named() {
        let function = function("submit(uint256 height, bytes32 root)").unwrap();
        let Err(Failure::Refused(reason)) = encoded(&function, &["5".to_owned(), "0x01".to_owned()]) else {
            panic!("taken")
        };
        assert!(reason.contains("root") && reason.contains("bytes32"), "{reason}");
        let Err(Failure::Refused(reason)) = encoded(&function, &["5".to_owned()]) else { panic!("taken") };
        assert!(reason.contains("takes 2 arguments"), "{reason}");
    }

    #[test]
    fn what_a_view_answers_is_had_by_place_and_name() {
        let view = function("games(uint32) returns (address proxy, uint64 at)").unwrap();
        let mut data = vec![0; 64];
        data[31] = 7;
        data[63] = 9;
        let answer = answer(&view, &data).unwrap();
        assert_eq!(answer["at"], "9");
        assert_eq!(answer["0"], answer["proxy"]);
    }

    #[test]
    fn a_revert_is_told_in_the_contracts_words() {
        let errors = errors(&["TooEarly(uint256 at)".to_owned()]).unwrap();
        let mut data = errors[0].selector().to_vec();
        data.extend([0; 31]);
        data.push(9);
        assert_eq!(reason(&data, &errors), "TooEarly(9)");
        assert_eq!(reason(&[], &errors), "it says no reason");
        assert!(reason(&[1, 2, 3, 4], &errors).contains("0x01020304"));
    }
}
