//! `match`: inputs that agree on named fields; complete when all expected members are there.

use std::collections::BTreeMap;

/// The first field on which an output differs from the first one, with both values.
pub fn mismatch<'a>(
    on: &'a [String],
    outputs: &'a [BTreeMap<String, String>],
) -> Option<(&'a str, &'a str, &'a str)> {
    let (first, rest) = outputs.split_first()?;
    let value =
        |fields: &'a BTreeMap<String, String>, name: &str| fields.get(name).map_or("", String::as_str);
    rest.iter().find_map(|fields| {
        let name = on.iter().find(|name| value(fields, name) != value(first, name))?;
        Some((name.as_str(), value(first, name), value(fields, name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(group: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("group".to_owned(), group.to_owned())])
    }

    #[test]
    fn names_the_field_and_both_values() {
        let on = ["group".to_owned()];
        assert_eq!(mismatch(&on, &[fields("a"), fields("a")]), None);
        assert_eq!(mismatch(&on, &[fields("a"), fields("b")]), Some(("group", "a", "b")));
        assert_eq!(mismatch(&on, &[]), None);
    }
}
