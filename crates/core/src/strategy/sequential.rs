//! `sequential`: contiguous blocks from a cursor, and when a cut of them closes.

use std::collections::BTreeMap;

use crate::pipeline::CutRule;

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

/// Whether a cut closes now. `candidates` are contiguous from the cursor, at most `rule.size` of them; `ended` says
/// that no block will follow them.
pub fn close(rule: &CutRule, candidates: &[Candidate], ended: bool, now_ms: u64) -> Option<Closed> {
    let first = candidates.first()?;
    let closed = |blocks, reason| Some(Closed { blocks, reason });
    let mut spent: u128 = 0;
    for (index, candidate) in candidates.iter().enumerate() {
        if let Some(name) = &rule.cut_on
            && candidate.fields.get(name) != first.fields.get(name)
        {
            return closed(index, "cut_on");
        }
        if let Some(budget) = &rule.budget {
            spent += u128::from(number(candidate, &budget.field));
            if spent > u128::from(budget.max) && index > 0 {
                return closed(index, "budget");
            }
        }
        if index as u64 + 1 == rule.size {
            return closed(index + 1, "size");
        }
    }
    if ended {
        return closed(candidates.len(), "end of input");
    }
    let waited = rule.max_wait_ms.is_some_and(|wait_ms| first.since_ms.saturating_add(wait_ms) <= now_ms);
    if waited { closed(candidates.len(), "max_wait") } else { None }
}

/// A field that is no number counts as nothing; `check` cannot know the blocks.
fn number(candidate: &Candidate, field: &str) -> u64 {
    candidate.fields.get(field).and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::CutBudget;

    fn rule(size: u64) -> CutRule {
        CutRule { size, budget: None, max_wait_ms: None, cut_on: None }
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

    #[test]
    fn closes_at_size_and_not_before() {
        assert_eq!(close(&rule(3), &blocks(&[1, 1]), false, 0), None);
        assert_eq!(
            close(&rule(3), &blocks(&[1, 1, 1]), false, 0),
            Some(Closed { blocks: 3, reason: "size" })
        );
    }

    #[test]
    fn a_budget_closes_before_the_block_that_would_break_it() {
        let rule = CutRule { budget: Some(CutBudget { field: "gas_used".into(), max: 10 }), ..rule(9) };
        assert_eq!(close(&rule, &blocks(&[4, 4, 4]), false, 0), Some(Closed { blocks: 2, reason: "budget" }));
        assert_eq!(close(&rule, &blocks(&[11, 1]), false, 0), Some(Closed { blocks: 1, reason: "budget" }));
        assert_eq!(close(&rule, &blocks(&[11]), false, 0), None);
    }

    #[test]
    fn a_changed_field_the_end_and_waiting_close() {
        let on = CutRule { cut_on: Some("batch".into()), ..rule(9) };
        assert_eq!(close(&on, &blocks(&[1, 2, 100]), false, 0), Some(Closed { blocks: 2, reason: "cut_on" }));
        assert_eq!(
            close(&rule(9), &blocks(&[1]), true, 0),
            Some(Closed { blocks: 1, reason: "end of input" })
        );
        let wait = CutRule { max_wait_ms: Some(500), ..rule(9) };
        assert_eq!(close(&wait, &blocks(&[1]), false, 1_499), None);
        assert_eq!(close(&wait, &blocks(&[1]), false, 1_500), Some(Closed { blocks: 1, reason: "max_wait" }));
        assert_eq!(close(&rule(1), &[], true, 0), None);
    }
}
