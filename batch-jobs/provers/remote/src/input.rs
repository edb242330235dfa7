//! What of a task's inputs the service gets.

use proofyard_prover::{Failure, Input};

use crate::settings::InputForm;

/// The bytes that the guest program is given.
pub(crate) fn read(inputs: &[Input], form: InputForm) -> Result<Vec<u8>, Failure> {
    match (form, inputs) {
        (InputForm::File, [input]) => Ok(input.read()?),
        (InputForm::File, _) => Err(Failure::permanent(format!(
            "this task has {} inputs, but a service takes one: `input = \"list\"` sends a JSON list of all",
            inputs.len()
        ))),
        (InputForm::List, _) => {
            let hex = |input: &Input| Ok(format!("0x{}", hex::encode(input.read()?)));
            let list = inputs.iter().map(hex).collect::<Result<Vec<String>, Failure>>()?;
            serde_json::to_vec(&list).map_err(Failure::permanent)
        }
    }
}
