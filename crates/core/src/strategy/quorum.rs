//! `match` with `need`: k of m provers agree on the public values.

/// What the members' accepted public values say so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// The members that agree, in the stage's order, once there are `need` of them.
    pub agreed: Option<Vec<&'a str>>,
    /// Two accepted proofs differ.
    pub disagree: bool,
}

/// `values` holds, in the stage's order, each member with its public values if it has a result.
pub fn tally<'a>(need: u32, values: &[(&'a str, Option<String>)]) -> Tally<'a> {
    let present = || values.iter().filter_map(|(member, value)| value.as_ref().map(|value| (*member, value)));
    let supporters = |value: &String| -> Vec<&'a str> {
        present().filter(|(_, other)| *other == value).map(|(member, _)| member).collect()
    };
    let groups = present().map(|(_, value)| supporters(value));
    let agreed = groups.filter(|members| members.len() >= need as usize).max_by_key(Vec::len);
    let disagree = present().any(|(_, value)| present().any(|(_, other)| other != value));
    Tally { agreed, disagree }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(values: &[(&'static str, &str)]) -> Vec<(&'static str, Option<String>)> {
        values.iter().map(|(name, value)| (*name, (!value.is_empty()).then(|| (*value).to_owned()))).collect()
    }

    #[test]
    fn decides_at_need_and_sees_disagreement_before_and_after() {
        let early = votes(&[("a", "1"), ("b", "2"), ("c", "")]);
        assert_eq!(tally(2, &early), Tally { agreed: None, disagree: true });
        let decided = votes(&[("a", "1"), ("b", ""), ("c", "1")]);
        assert_eq!(tally(2, &decided), Tally { agreed: Some(vec!["a", "c"]), disagree: false });
        let late = votes(&[("a", "1"), ("b", "2"), ("c", "1")]);
        assert_eq!(tally(2, &late), Tally { agreed: Some(vec!["a", "c"]), disagree: true });
    }
}
