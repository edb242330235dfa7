//! A scope as it is stored: flags beside each other, as versions before [`Standing`] wrote them.

use serde::{Deserialize, Serialize};

use super::{Branch, Progress, Scope, ScopeId, Standing, Watch};
use crate::state::{Blocked, ChainName, PipelineHash, Subject};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredScope {
    id: ScopeId,
    chain: ChainName,
    subject: Subject,
    branch: Branch,
    progress: Progress,
    pipeline: PipelineHash,
    recorded_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canonical_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged_ms: Option<u64>,
    opened_ms: Option<u64>,
    proved_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed_ms: Option<u64>,
    committed_ms: Option<u64>,
    relist: bool,
    disagreements: Vec<String>,
    blocked: Option<Blocked>,
    /// Where more than one stage is: what earlier versions knew was one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also_blocked: Vec<Blocked>,
    settled: bool,
    due_ms: Option<u64>,
}

/// Flags that no scope has together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no scope is {0}")]
pub(super) struct ImpossibleScope(&'static str);

impl TryFrom<StoredScope> for Scope {
    type Error = ImpossibleScope;

    fn try_from(stored: StoredScope) -> Result<Self, ImpossibleScope> {
        Ok(Self {
            standing: stored.standing()?,
            id: stored.id,
            chain: stored.chain,
            subject: stored.subject,
            pipeline: stored.pipeline,
            recorded_ms: stored.recorded_ms,
            acknowledged_ms: stored.acknowledged_ms,
            canonical_ms: stored.canonical_ms,
            opened_ms: stored.opened_ms,
            proved_ms: stored.proved_ms,
            relist: stored.relist,
            disagreements: stored.disagreements,
            blocked: stored.blocked.into_iter().chain(stored.also_blocked).collect(),
        })
    }
}

impl StoredScope {
    /// What an orphan was due for, that it was committed and settled, and when one that waits was due, says nothing: older
    /// versions kept them.
    fn standing(&self) -> Result<Standing, ImpossibleScope> {
        let impossible = |what| Err(ImpossibleScope(what));
        let is_begun = self.settled || self.committed_ms.is_some();
        let watch = if self.settled { Watch::Settled } else { Watch::Due(self.due_ms) };
        Ok(match (self.branch, self.progress, self.committed_ms) {
            (Branch::Orphaned, progress, _) => Standing::Orphaned { progress, missed_ms: self.missed_ms },
            (Branch::Stored, Progress::Waiting, _) if !is_begun => Standing::Stored,
            (Branch::Stored, ..) => return impossible("never on the chain and opened"),
            (Branch::Canonical, Progress::Waiting, _) if !is_begun => Standing::Waiting,
            (Branch::Canonical, Progress::Waiting, _) => return impossible("waiting and over"),
            (Branch::Canonical, Progress::Open, None) => Standing::Open { watch },
            (Branch::Canonical, Progress::Proved, None) => Standing::Proved { watch },
            (Branch::Canonical, Progress::Proved, Some(at_ms)) => Standing::Committed { at_ms, watch },
            (Branch::Canonical, Progress::Missed, None) => Standing::Missed { at_ms: self.missed_ms, watch },
            (Branch::Canonical, Progress::Open | Progress::Missed, Some(_)) => {
                return impossible("committed without a proof");
            }
        })
    }
}

impl From<Scope> for StoredScope {
    fn from(mut scope: Scope) -> Self {
        let mut blocked = std::mem::take(&mut scope.blocked).into_iter();
        Self {
            branch: scope.branch(),
            progress: scope.progress(),
            missed_ms: scope.missed_ms(),
            committed_ms: scope.committed_ms(),
            settled: scope.is_settled(),
            due_ms: scope.due_ms(),
            id: scope.id,
            chain: scope.chain,
            subject: scope.subject,
            pipeline: scope.pipeline,
            recorded_ms: scope.recorded_ms,
            canonical_ms: scope.canonical_ms,
            acknowledged_ms: scope.acknowledged_ms,
            opened_ms: scope.opened_ms,
            proved_ms: scope.proved_ms,
            relist: scope.relist,
            disagreements: scope.disagreements,
            blocked: blocked.next(),
            also_blocked: blocked.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::json_row;

    const BLOCK: &str = concat!(
        r#"{"block":{"height":1,"hash":"a1","parent":"a0","timestamp_s":5,"segments":2,"#,
        r#""payload":{"sha256":"5a","bytes":4}}}"#
    );
    const CUT: &str = concat!(
        r#"{"cut":{"stage":"aggregate","from":1,"to":1,"first_parent":"a0","last_hash":"a1","timestamp_s":5,"#,
        r#""closed_by":"its size","members":[{"hash":"a1","generation":0}]}}"#
    );

    /// What was just recorded, with some of its fields written otherwise.
    fn row(changes: &[(&str, &str)]) -> String {
        let fields = [
            ("id", r#""c:b:1:a1:0""#),
            ("chain", r#""c""#),
            ("subject", BLOCK),
            ("branch", r#""canonical""#),
            ("progress", r#""waiting""#),
            ("pipeline", r#""""#),
            ("recorded_ms", "50"),
            ("canonical_ms", ""),
            ("acknowledged_ms", ""),
            ("opened_ms", "null"),
            ("proved_ms", "null"),
            ("missed_ms", ""),
            ("committed_ms", "null"),
            ("relist", "false"),
            ("disagreements", "[]"),
            ("blocked", "null"),
            ("also_blocked", ""),
            ("settled", "false"),
            ("due_ms", "null"),
        ];
        json_row(&fields, changes)
    }

    #[test]
    fn every_state_is_read_and_written_as_earlier_versions_wrote_it() {
        let watch = Watch::Due(Some(99));
        let history = [
            ("subject", CUT),
            ("pipeline", r#""ab""#),
            ("canonical_ms", "51"),
            ("acknowledged_ms", "49"),
            ("opened_ms", "60"),
            ("proved_ms", "70"),
            ("relist", "true"),
            ("disagreements", r#"["vote","vote"]"#),
            ("blocked", r#""stage join: its inputs differ in `root`: a and b""#),
            ("also_blocked", r#"["stage wrap: its inputs differ in `root`: a and c"]"#),
        ];
        let (open, proved, missed) =
            (("progress", r#""open""#), ("progress", r#""proved""#), ("progress", r#""missed""#));
        let (due, settled, committed) = (("due_ms", "99"), ("settled", "true"), ("committed_ms", "80"));
        let orphaned = ("branch", r#""orphaned""#);
        let states: Vec<(Standing, Vec<(&str, &str)>)> = vec![
            (Standing::Stored, vec![("branch", r#""stored""#)]),
            (Standing::Waiting, vec![]),
            (Standing::Open { watch }, vec![open, due]),
            (Standing::Open { watch: Watch::Settled }, vec![open, settled]),
            (Standing::Proved { watch }, vec![proved, due]),
            (Standing::Committed { at_ms: 80, watch }, vec![proved, committed, due]),
            (Standing::Committed { at_ms: 80, watch: Watch::Settled }, vec![proved, committed, settled]),
            (Standing::Missed { at_ms: Some(80), watch }, vec![missed, ("missed_ms", "80"), due]),
            (Standing::Missed { at_ms: None, watch: Watch::Settled }, vec![missed, settled]),
            (Standing::Orphaned { progress: Progress::Open, missed_ms: None }, vec![orphaned, open]),
            (
                Standing::Orphaned { progress: Progress::Missed, missed_ms: Some(80) },
                vec![orphaned, missed, ("missed_ms", "80")],
            ),
        ];
        for (standing, changes) in states {
            for text in [row(&changes), row(&[&changes[..], &history].concat())] {
                let scope: Scope = serde_json::from_str(&text).expect("a scope");
                assert_eq!(scope.standing, standing);
                assert_eq!(serde_json::to_string(&scope).expect("a row"), text);
            }
        }
    }

    #[test]
    fn a_voided_cut_of_an_older_version_may_have_been_committed() {
        let text = row(&[
            ("branch", r#""orphaned""#),
            ("progress", r#""proved""#),
            ("committed_ms", "80"),
            ("settled", "true"),
        ]);
        let scope: Scope = serde_json::from_str(&text).expect("a scope");
        assert_eq!(scope.standing, Standing::Orphaned { progress: Progress::Proved, missed_ms: None });
    }

    #[test]
    fn flags_that_no_scope_has_together_are_damage() {
        let impossible: [&[(&str, &str)]; 5] = [
            &[("branch", r#""stored""#), ("progress", r#""open""#)],
            &[("branch", r#""stored""#), ("settled", "true")],
            &[("committed_ms", "80")],
            &[("progress", r#""open""#), ("committed_ms", "80")],
            &[("progress", r#""missed""#), ("committed_ms", "80")],
        ];
        for changes in impossible {
            let read: Result<Scope, _> = serde_json::from_str(&row(changes));
            assert!(read.is_err_and(|error| error.to_string().starts_with("no scope is ")), "{changes:?}");
        }
    }
}
