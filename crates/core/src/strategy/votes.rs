//! Votes: what a quorum's members have proved, who agrees, and whether enough still can.

use crate::pipeline::Quorum;
use crate::state::{Task, TaskId};

/// What the members of a quorum have proved so far, in the stage's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Votes {
    pub(crate) need: u32,
    /// Each with the public values of its proof, if that is there.
    pub(crate) members: Vec<(String, Option<String>)>,
}

impl Votes {
    /// `tasks` are the members' own, in the same order.
    pub(crate) fn of(quorum: &Quorum, ids: &[TaskId], tasks: &[Option<Task>]) -> Self {
        let values = tasks.iter().map(|task| task.as_ref()?.accepted()?.public_values.clone());
        Self { need: quorum.need, members: ids.iter().map(|id| id.stage.clone()).zip(values).collect() }
    }

    pub(crate) fn tally(&self) -> Tally<'_> {
        let values: Vec<_> =
            self.members.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        tally(self.need, &values)
    }

    pub(crate) fn voted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    pub(crate) fn missing(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str())
    }

    /// All members have proved, and too few agree: only an operator can help.
    pub(crate) fn is_split(&self) -> bool {
        self.missing().next().is_none() && self.tally().agreed.is_none()
    }
}

/// What the members' accepted public values say so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// The members that agree, in the stage's order, once there are `need` of them.
    pub agreed: Option<Vec<&'a str>>,
    /// Accepted proofs that are not of the largest group that agrees; it never falls as more come in.
    pub dissent: usize,
}

/// How a member stands before its quorum has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote<'a> {
    Said(&'a str),
    /// Nothing from outside is needed for it to come.
    Comes,
    /// It comes only if an operator acts.
    Parked,
}

/// `values` holds, in the stage's order, each member with its public values if it has a result.
pub fn tally<'a>(need: u32, values: &[(&'a str, Option<String>)]) -> Tally<'a> {
    let present = || values.iter().filter_map(|(member, value)| value.as_ref().map(|value| (*member, value)));
    let supporters = |value: &String| -> Vec<&'a str> {
        present().filter(|(_, other)| *other == value).map(|(member, _)| member).collect()
    };
    let largest = present().map(|(_, value)| supporters(value)).max_by_key(Vec::len).unwrap_or_default();
    let dissent = present().count() - largest.len();
    Tally { agreed: (largest.len() >= need as usize && need > 0).then_some(largest), dissent }
}

/// Whether `need` of the members can agree while those that are parked stay so.
pub fn can_agree(need: u32, votes: &[Vote<'_>]) -> bool {
    let coming = votes.iter().filter(|vote| **vote == Vote::Comes).count();
    let said = |value: &Vote<'_>| votes.iter().filter(|vote| *vote == value).count();
    let agree = votes.iter().filter(|vote| matches!(vote, Vote::Said(_))).map(said).max().unwrap_or(0);
    agree + coming >= need as usize
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
        assert_eq!(tally(2, &early), Tally { agreed: None, dissent: 1 });
        let decided = votes(&[("a", "1"), ("b", ""), ("c", "1")]);
        assert_eq!(tally(2, &decided), Tally { agreed: Some(vec!["a", "c"]), dissent: 0 });
        let late = votes(&[("a", "1"), ("b", "2"), ("c", "1")]);
        assert_eq!(tally(2, &late), Tally { agreed: Some(vec!["a", "c"]), dissent: 1 });
        assert_eq!(tally(1, &votes(&[("a", "")])), Tally { agreed: None, dissent: 0 });
    }

    #[test]
    fn a_parked_member_is_missed_only_where_the_others_cannot_agree() {
        use Vote::{Comes, Parked, Said};
        assert!(can_agree(2, &[Said("1"), Comes, Parked]));
        assert!(can_agree(2, &[Said("1"), Said("1"), Parked]));
        assert!(can_agree(2, &[Comes, Comes, Parked]));
        assert!(!can_agree(2, &[Said("1"), Said("2"), Parked]), "two that differ are not two that agree");
        assert!(!can_agree(2, &[Said("1"), Parked, Parked]));
        assert!(!can_agree(3, &[Said("1"), Comes, Parked]));
    }

    /// Every order in which the members may come.
    fn orders(members: usize) -> Vec<Vec<usize>> {
        if members == 0 {
            return vec![Vec::new()];
        }
        let with_last = |order: Vec<usize>| {
            (0..members).map(move |at| {
                let mut order = order.clone();
                order.insert(at, members - 1);
                order
            })
        };
        orders(members - 1).into_iter().flat_map(with_last).collect()
    }

    /// What the first decision agrees on as members come in this order, each twice, and that dissent only grows.
    fn decided_value(need: u32, said: &[usize], order: &[usize]) -> Option<usize> {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        let mut values: Vec<(&str, Option<String>)> =
            NAMES[..said.len()].iter().map(|name| (*name, None)).collect();
        let (mut decided, mut dissent) = (None, 0);
        for member in order.iter().flat_map(|member| [member, member]) {
            values[*member].1 = Some(said[*member].to_string());
            let tally = tally(need, &values);
            assert!(tally.dissent >= dissent, "{said:?} in order {order:?}");
            dissent = tally.dissent;
            let of = |name: &str| NAMES.iter().position(|other| *other == name).map(|member| said[member]);
            if let (None, Some(agreed)) = (decided, &tally.agreed) {
                assert_eq!(agreed.len(), need as usize, "it decides as soon as it can");
                decided = of(agreed[0]);
                assert!(agreed.iter().all(|name| of(name) == decided), "{agreed:?} of {said:?}");
            }
        }
        decided
    }

    /// More than half of the members agree on one value in every order, or in none; who they are may differ.
    #[test]
    fn what_a_majority_agrees_on_does_not_depend_on_the_order() {
        for members in 2..=5_usize {
            for case in 0..3_usize.pow(members as u32) {
                let said: Vec<usize> =
                    (0..members).map(|member| case / 3_usize.pow(member as u32) % 3).collect();
                for need in members / 2 + 1..=members {
                    let right =
                        (0..3).find(|value| said.iter().filter(|said| *said == value).count() >= need);
                    for order in orders(members) {
                        assert_eq!(decided_value(need as u32, &said, &order), right, "{said:?} in {order:?}");
                    }
                }
            }
        }
    }
}
