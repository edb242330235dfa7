//! `sequential`: contiguous blocks from a cursor, and when a cut of them closes.

use std::collections::BTreeMap;

use crate::pipeline::{CutBudget, CutRule};

/// What closing a cut may look at of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub fields: BTreeMap<String, String>,
    /// Since when it waits to be in a cut.
    pub since_ms: u64,
}

/// A cut of the first `blocks` candidates, and why it closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    pub blocks: usize,
    pub reason: &'static str,
}

/// What closing a cut may look at besides its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Blocks from the cursor to the next height at which a prover changes.
    pub until_fork: Option<u64>,
    /// No block will follow the candidates.
    pub ended: bool,
    pub now_ms: u64,
}

/// How many blocks from `next` on have the provers that `next` has; `None` where no fork is ahead. Ascending.
pub fn until_fork(forks: &[u64], next: u64) -> Option<u64> {
    forks.iter().find(|fork| **fork > next).map(|fork| fork - next)
}

/// A candidate without which it cannot be told where the cut ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Counted from the first candidate.
    pub index: usize,
    /// Said of its block.
    pub what: String,
}

/// Whether a cut closes now. `candidates` are contiguous from the cursor, at most `rule.size` of them. None closes over a
/// block that lacks a field which the rule names: it is nothing that could be counted as 0.
pub fn close(rule: &CutRule, candidates: &[Candidate], around: Around) -> Option<Closed> {
    look(rule, candidates, around).ok().flatten()
}

/// The first block for lack of whose field no cut closes.
pub fn lacking(rule: &CutRule, candidates: &[Candidate], around: Around) -> Option<Lacking> {
    look(rule, candidates, around).err()
}

fn look(rule: &CutRule, candidates: &[Candidate], around: Around) -> Result<Option<Closed>, Lacking> {
    let Around { until_fork, ended, now_ms } = around;
    let Some(first) = candidates.first() else { return Ok(None) };
    let closed = |blocks, reason| Ok(Some(Closed { blocks, reason }));
    let mut spent: u128 = 0;
    for (index, candidate) in candidates.iter().enumerate() {
        let absent = |name: &str| Lacking { index, what: format!("has no `{name}`") };
        if let Some(name) = &rule.cut_on {
            let value = candidate.fields.get(name).ok_or_else(|| absent(name))?;
            if first.fields.get(name) != Some(value) {
                return closed(index, "cut_on");
            }
        }
        if let Some(CutBudget { field, max }) = &rule.budget {
            let value = candidate.fields.get(field).ok_or_else(|| absent(field))?;
            let no_number =
                || Lacking { index, what: format!("has {value:?} as its `{field}`, which is no number") };
            spent = spent.saturating_add(number(value).ok_or_else(no_number)?);
            if spent > u128::from(*max) && index > 0 {
                return closed(index, "budget");
            }
        }
        if index as u64 + 1 == rule.size {
            return closed(index + 1, "size");
        }
        // One proof is by one prover, over the outputs of one prover.
        if Some(index as u64 + 1) == until_fork {
            return closed(index + 1, "fork");
        }
    }
    if ended {
        return closed(candidates.len(), "end of input");
    }
    let waited = rule.max_wait_ms.is_some_and(|wait_ms| first.since_ms.saturating_add(wait_ms) <= now_ms);
    if waited { closed(candidates.len(), "max_wait") } else { Ok(None) }
}

/// A block's field as a number: as nodes write them, in hex after 0x, or in decimal. What is too large for 128 bits counts
/// as the largest number of so many, which is above any budget.
pub fn number(text: &str) -> Option<u128> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(u128::from_str_radix(digits, radix).unwrap_or(u128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::CutBudget;

    fn rule(size: u64) -> CutRule {
        CutRule { size, budget: None, max_wait_ms: None, cut_on: None, arity: None }
    }

    fn blocks(gas: &[u64]) -> Vec<Candidate> {
        let candidate = |gas: &u64| Candidate {
            fields: BTreeMap::from([
                ("gas_used".to_owned(), gas.to_string()),
                ("batch".to_owned(), (gas / 100).to_string()),
            ]),
            since_ms: 1_000,
        };
        gas.iter().map(candidate).collect()
    }

    fn closes(rule: &CutRule, candidates: &[Candidate], ended: bool, now_ms: u64) -> Option<Closed> {
        close(rule, candidates, Around { until_fork: None, ended, now_ms })
    }

    #[test]
    fn closes_at_size_and_not_before() {
        assert_eq!(closes(&rule(3), &blocks(&[1, 1]), false, 0), None);
        assert_eq!(
            closes(&rule(3), &blocks(&[1, 1, 1]), false, 0),
            Some(Closed { blocks: 3, reason: "size" })
        );
    }

    #[test]
    fn a_budget_closes_before_the_block_that_would_break_it() {
        let rule = CutRule { budget: Some(CutBudget { field: "gas_used".into(), max: 10 }), ..rule(9) };
        assert_eq!(
            closes(&rule, &blocks(&[4, 4, 4]), false, 0),
            Some(Closed { blocks: 2, reason: "budget" })
        );
        assert_eq!(closes(&rule, &blocks(&[11, 1]), false, 0), Some(Closed { blocks: 1, reason: "budget" }));
        assert_eq!(closes(&rule, &blocks(&[11]), false, 0), None);
    }

    #[test]
    fn a_sum_never_overflows_and_numbers_are_read_as_nodes_write_them() {
        let wide = format!("0x{}", "f".repeat(64));
        for (text, value) in [
            ("0x5208", Some(21_000)),
            ("21000", Some(21_000)),
            ("0x0", Some(0)),
            (wide.as_str(), Some(u128::MAX)),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
        for text in ["", "0x", "-1", "+1", "1.5", "0xg", "many", "0x+1", " 1"] {
            assert_eq!(number(text), None, "{text:?}");
        }
        let rule = CutRule { budget: Some(CutBudget { field: "x".into(), max: u64::MAX }), ..rule(9) };
        let block = Candidate { fields: BTreeMap::from([("x".to_owned(), wide)]), since_ms: 0 };
        let closed = closes(&rule, &[block.clone(), block], false, 0);
        assert_eq!(closed, Some(Closed { blocks: 1, reason: "budget" }));
    }

    #[test]
    fn no_cut_closes_over_a_block_that_lacks_a_field() {
        let around = Around { until_fork: None, ended: true, now_ms: u64::MAX };
        for rule in [
            CutRule { budget: Some(CutBudget { field: "gasUsed".into(), max: 10 }), ..rule(3) },
            CutRule { cut_on: Some("gasUsed".into()), max_wait_ms: Some(1), ..rule(3) },
        ] {
            let mut three = blocks(&[1, 1, 1]);
            for block in &mut three[..2] {
                block.fields.insert("gasUsed".into(), "0x1".into());
            }
            assert_eq!(close(&rule, &three, around), None);
            let lacks = Lacking { index: 2, what: "has no `gasUsed`".into() };
            assert_eq!(lacking(&rule, &three, around), Some(lacks));
            assert_eq!(
                close(&CutRule { size: 2, ..rule }, &three[..2], around).map(|closed| closed.blocks),
                Some(2)
            );
        }
    }

    #[test]
    fn a_changed_field_the_end_and_waiting_close() {
        let on = CutRule { cut_on: Some("batch".into()), ..rule(9) };
        assert_eq!(
            closes(&on, &blocks(&[1, 2, 100]), false, 0),
            Some(Closed { blocks: 2, reason: "cut_on" })
        );
        assert_eq!(
            closes(&rule(9), &blocks(&[1]), true, 0),
            Some(Closed { blocks: 1, reason: "end of input" })
        );
        let wait = CutRule { max_wait_ms: Some(500), ..rule(9) };
        assert_eq!(closes(&wait, &blocks(&[1]), false, 1_499), None);
        assert_eq!(
            closes(&wait, &blocks(&[1]), false, 1_500),
            Some(Closed { blocks: 1, reason: "max_wait" })
        );
        assert_eq!(closes(&rule(1), &[], true, 0), None);
    }

    #[test]
    fn a_fork_closes_once_its_last_block_is_there() {
        let around = Around { until_fork: Some(2), ended: false, now_ms: 0 };
        let fork = |blocks| Some(Closed { blocks, reason: "fork" });
        assert_eq!(close(&rule(9), &blocks(&[1]), around), None);
        assert_eq!(close(&rule(9), &blocks(&[1, 1]), around), fork(2));
        assert_eq!(close(&rule(9), &blocks(&[1, 1, 1]), around), fork(2));
        // What closes it before the fork, or at it anyway, is still the reason.
        assert_eq!(close(&rule(2), &blocks(&[1, 1, 1]), around), Some(Closed { blocks: 2, reason: "size" }));
        let on = CutRule { cut_on: Some("batch".into()), ..rule(9) };
        let changed = blocks(&[1, 100, 100]);
        assert_eq!(close(&on, &changed, around), Some(Closed { blocks: 1, reason: "cut_on" }));
    }

    #[test]
    fn the_fork_ahead_is_the_next_one_above() {
        assert_eq!(until_fork(&[], 5), None);
        assert_eq!(until_fork(&[3, 8, 20], 3), Some(5));
        assert_eq!(until_fork(&[3, 8, 20], 7), Some(1));
        assert_eq!(until_fork(&[3, 8, 20], 20), None);
    }

    /// Cut after cut, whatever the sizes and forks: no cut has blocks of both sides of a fork, and none is lost.
    #[test]
    fn no_cut_spans_a_fork() {
        for size in 1..=7 {
            for step in 1..=9 {
                let forks: Vec<u64> = (1..6).map(|n| n * step + n * n).collect();
                let mut next = 0;
                while next < 60 {
                    let have = blocks(&vec![1; size.min(60 - next) as usize]);
                    let around = Around { until_fork: until_fork(&forks, next), ended: true, now_ms: 0 };
                    let Some(closed) = close(&rule(size), &have, around) else { panic!("{next} is stuck") };
                    let end = next + closed.blocks as u64;
                    assert!(
                        !forks.iter().any(|fork| next < *fork && *fork < end),
                        "{next}..{end}, {forks:?}"
                    );
                    assert_eq!(closed.reason == "fork", forks.contains(&end) && end - next < size);
                    next = end;
                }
            }
        }
    }
}
