//! Remembers what was seen of one yard, from outside and in its state, and checks the promises at each look.

use std::collections::{BTreeMap, BTreeSet};

use proofyard_core::state::{COMMITS, OutKind, TaskId, TaskResult};
use proofyard_worker::artifacts::Artifacts;

use crate::blocks::block_of;
use crate::replay::{Standing, replay};
use crate::{Place, State, processes, toy};

const START_HEIGHT: u64 = 1;
const MAX_PROOF_BYTES: u64 = 1 << 20;

#[derive(Default)]
pub struct Witness {
    sink_lines: BTreeMap<&'static str, Vec<String>>,
    accepted: BTreeMap<TaskId, TaskResult>,
    known: BTreeSet<(u64, String)>,
    frontier: u64,
    epoch: u64,
}

impl Witness {
    /// Looks at a yard that has just died or ended, and compares with every look before.
    pub fn look(&mut self, place: &Place) -> Option<State> {
        processes::wait_for_none(place.mark());
        let state =
            if place.data_dir().join("state.db").exists() { State::read(&place.data_dir()) } else { None };
        self.look_at_sinks(place, state.as_ref());
        let state = state?;
        self.look_at_blocks(place, &state);
        self.look_at_order(&state);
        self.look_at_results(place, &state);
        look_at_open_work(&state);
        Some(state)
    }

    /// What was handed on stays, in order, and is what the out log says.
    fn look_at_sinks(&mut self, place: &Place, state: Option<&State>) {
        for (sink, log) in place.pipeline.sinks() {
            let lines = place.sink_lines(sink);
            let before = self.sink_lines.insert(sink, lines.clone()).unwrap_or_default();
            assert!(
                lines.starts_with(&before),
                "sink {sink} lost lines that were there: {before:#?} {lines:#?}"
            );
            let mut entries = place.sink_entries(sink);
            replay(&entries, START_HEIGHT);
            entries.dedup();
            let log = state.map_or(&[][..], |state| state.out_log(log));
            assert!(
                log.starts_with(&entries),
                "sink {sink} was told what is not in the log: {entries:#?} {log:#?}"
            );
            let handed =
                state.and_then(|state| state.sinks.get(sink)).map_or(0, |cursor| cursor.next_sequence);
            let told = entries.len() as u64;
            assert!(
                told == handed || told == handed + 1,
                "sink {sink} has {told} entries, and {handed} count as handed on"
            );
        }
    }

    /// Blocks that were taken are there.
    fn look_at_blocks(&mut self, place: &Place, state: &State) {
        assert!(state.known.is_superset(&self.known), "acknowledged blocks are gone");
        let lines = std::fs::read_to_string(place.path("input.jsonl")).unwrap();
        for line in lines.lines().take(state.fed_lines) {
            assert!(
                block_of(line).is_none_or(|block| state.known.contains(&block)),
                "{line} was taken and is not there"
            );
        }
        self.known.clone_from(&state.known);
        let artifacts = Artifacts::reading(&place.data_dir());
        for block in state.scopes.values().filter_map(|scope| scope.block()) {
            artifacts.verify(&block.payload).unwrap();
        }
    }

    /// The frontier moves over contiguous canonical blocks, and back only in a recorded reorg.
    fn look_at_order(&mut self, state: &State) {
        let (frontier, epoch) = (state.frontier.height, state.chain.epoch);
        assert!(
            frontier >= self.frontier || epoch > self.epoch,
            "the frontier went from {} to {frontier}",
            self.frontier
        );
        (self.frontier, self.epoch) = (frontier, epoch);
        assert!(state.frontier.opened <= frontier + state.frontier.window, "{:?}", state.frontier);
        let standing = replay(state.out_log(COMMITS), START_HEIGHT);
        let told: Vec<_> = standing.into_iter().map(|Standing { from, hash, .. }| (from, hash)).collect();
        assert_eq!(told, state.committed(), "the out log is not the committed chain");
        for range in replay(state.out_log("range"), START_HEIGHT) {
            assert_eq!(state.canonical.get(&range.to), Some(&range.hash), "{range:?} is not of the chain");
            assert!(range.to < frontier, "{range:?} is not committed");
        }
    }

    /// A result is accepted once, is on disk, and is true; what is handed on names it.
    fn look_at_results(&mut self, place: &Place, state: &State) {
        let artifacts = Artifacts::reading(&place.data_dir());
        for (id, before) in &self.accepted {
            let now = state.tasks.get(id).and_then(|task| task.accepted());
            assert_eq!(now, Some(before), "{id} was accepted before, and now is not, or again");
        }
        for (id, task) in &state.tasks {
            let Some(accepted) = task.accepted() else { continue };
            if self.accepted.contains_key(id) {
                continue;
            }
            let proof = artifacts.read(&accepted.artifact, MAX_PROOF_BYTES).unwrap();
            let public_values = toy::verified(&artifacts, &proof, &state.inputs(task));
            assert!(public_values.is_some(), "{id}: its proof is not true");
            assert_eq!(accepted.public_values, public_values, "{id}");
            self.accepted.insert(id.clone(), accepted.clone());
        }
        for entry in state.out.values().flatten() {
            let OutKind::Proof { scope, proofs, .. } = &entry.kind else { continue };
            for proof in proofs {
                let accepted = &self.accepted[&TaskId::new(scope, &proof.stage, proof.index)];
                assert_eq!(
                    (&accepted.artifact, &accepted.public_values),
                    (&proof.artifact, &proof.public_values)
                );
            }
        }
    }
}

/// Markers and listings say what their tasks say, since both are written together.
fn look_at_open_work(state: &State) {
    for (id, task) in &state.tasks {
        let open = task.is_open() || task.is_parked();
        assert_eq!(state.markers.contains(id), open, "the marker of {task:?}");
        assert_eq!(state.listed.contains(id), task.is_listed(), "the listing of {task:?}");
        assert_eq!(task.is_accepted(), task.is_accepted(), "{task:?}");
    }
    assert!(state.markers.iter().all(|id| state.tasks.contains_key(id)), "a marker without its task");
    assert!(state.listed.iter().all(|id| state.tasks.contains_key(id)), "a listing without its task");
}
