//! The out log, replayed: its sequences are contiguous, nothing in it changes, and its proofs and retracts give
//! exactly what is committed, each height once, with true proofs of canonical blocks only.

use std::collections::BTreeMap;
use std::ops::Range;

use proofyard_core::state::{BlockHash, COMMITS, ChainName, OutEntry, OutKind, OutProof, ScopeId, TaskId};

use super::Context;
use super::mirror::{Changed, Item};

/// For each chain and log: what a reader of the whole log would believe.
#[derive(Default)]
pub struct OutLogs {
    logs: BTreeMap<(ChainName, String), Replay>,
    /// Since when a chain has been halted, in steps.
    halted_since: BTreeMap<ChainName, u64>,
}

#[derive(Default)]
struct Replay {
    entries: u64,
    /// By sequence, the first height that each takes back.
    retracts: BTreeMap<u64, u64>,
    /// First height to (last height, hash of the last block, scope).
    proved: BTreeMap<u64, (u64, BlockHash, ScopeId)>,
}

impl Replay {
    fn take(&mut self, entry: &OutEntry) {
        self.entries += 1;
        match &entry.kind {
            OutKind::Retract { from, .. } => {
                self.retracts.insert(entry.sequence, *from);
                self.proved.split_off(from);
            }
            OutKind::Proof { from, to, hash, scope, .. } => {
                self.proved.insert(*from, (*to, hash.clone(), scope.clone()));
            }
        }
    }
}

impl OutLogs {
    pub fn check(&mut self, context: &Context<'_>, commit: &[Changed]) {
        for change in commit {
            match (change.before.as_deref(), change.after.as_deref()) {
                (Some(Item::Out(before)), after) => {
                    context.must(matches!(after, Some(Item::Out(after)) if after == before), || {
                        format!("entry {} of the out log changed", change.key)
                    });
                }
                (None, Some(Item::Out(entry))) => self.append(context, entry),
                (_, Some(Item::Chain(state))) if state.halted.is_none() => {
                    self.halted_since.remove(&state.chain);
                }
                (_, Some(Item::Chain(state))) => {
                    self.halted_since.entry(state.chain.clone()).or_insert(context.simulation.steps());
                }
                _ => {}
            }
        }
        for change in commit {
            if let Some(Item::Frontier(frontier)) = change.after.as_deref() {
                self.check_frontier(context, &frontier.chain);
            }
        }
    }

    /// After a power loss: entries that nobody had got may be lost, and chains whose halt was lost are not halted any more.
    pub fn restart(&mut self, context: &Context<'_>) {
        let mut entries: Vec<&OutEntry> = context
            .mirror
            .items()
            .filter_map(|(_, item)| match item {
                Item::Out(entry) => Some(entry),
                _ => None,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| (&entry.chain, &entry.log, entry.sequence));
        self.logs.clear();
        entries.into_iter().for_each(|entry| self.replay_of(entry).take(entry));
        let is_halted =
            |chain: &ChainName| context.mirror.chain(chain).is_some_and(|state| state.halted.is_some());
        self.halted_since.retain(|chain, _| is_halted(chain));
    }

    /// A call that began at this step gives an entry to a sink: its chain was not halted all that time.
    pub fn check_hand_on(&self, context: &Context<'_>, entry: &OutEntry, since_step: u64) {
        let halted = self.halted_since.get(&entry.chain);
        context.must(halted.is_none_or(|step| *step >= since_step), || {
            format!("{}/{}: {} was handed on while halted", entry.chain, entry.log, entry.sequence)
        });
    }

    /// How many entries a log has.
    pub fn entries(&self, chain: &ChainName, log: &str) -> u64 {
        self.logs.get(&(chain.clone(), log.to_owned())).map_or(0, |replay| replay.entries)
    }

    /// The first entry among these that takes back something below this height.
    pub fn takes_back(&self, chain: &ChainName, log: &str, sequences: Range<u64>, below: u64) -> Option<u64> {
        let replay = self.logs.get(&(chain.clone(), log.to_owned()))?;
        replay.retracts.range(sequences).find(|(_, from)| **from < below).map(|(sequence, _)| *sequence)
    }

    fn replay_of(&mut self, entry: &OutEntry) -> &mut Replay {
        self.logs.entry((entry.chain.clone(), entry.log.clone())).or_default()
    }

    fn append(&mut self, context: &Context<'_>, entry: &OutEntry) {
        let replay = self.replay_of(entry);
        let name = format!("{}/{}", entry.chain, entry.log);
        context.must(entry.sequence == replay.entries, || {
            format!("{name}: sequence {} follows {} entries", entry.sequence, replay.entries)
        });
        match &entry.kind {
            OutKind::Retract { from, to } => {
                context.simulation.count("check: retract");
                let upper = replay.proved.range(*from..).next_back().map(|(_, (last, ..))| *last);
                context.must(upper.is_none_or(|last| last <= *to), || {
                    format!("{name}: a retract of {from}..={to} leaves {upper:?} standing")
                });
                let cut = replay.proved.range(..*from).next_back().filter(|(_, (last, ..))| last >= from);
                context.must(cut.is_none(), || format!("{name}: a retract from {from} splits {cut:?}"));
            }
            OutKind::Proof { from, to, hash, scope, proofs } => {
                context.simulation.count("check: proof handed on");
                let last = replay.proved.last_key_value().map(|(_, (last, ..))| *last);
                context.must(last.is_none_or(|last| *from > last) && from <= to, || {
                    format!("{name}: {from}..={to} follows {last:?}")
                });
                check_true(context, &name, scope, (*from, *to), hash);
                for proof in proofs {
                    let truth =
                        context.proving.is_true_for(&proof.artifact, scope, &proof.stage, proof.index);
                    context.must(truth, || {
                        format!("{name}: {from}..={to} was handed on with a proof that is not true")
                    });
                    check_judged(context, &name, scope, proof);
                }
                context.must(!proofs.is_empty(), || {
                    format!("{name}: {from}..={to} was handed on without a proof")
                });
            }
        }
        replay.take(entry);
    }

    /// The log of commits says what the frontier says.
    fn check_frontier(&self, context: &Context<'_>, chain: &ChainName) {
        let Some(pipeline) = context.pipeline(chain) else { return };
        let Some(frontier) = context.mirror.frontier(chain) else { return };
        let empty = Replay::default();
        let replay = self.logs.get(&(chain.clone(), COMMITS.to_owned())).unwrap_or(&empty);
        context.must(frontier.next_sequence == replay.entries, || {
            format!(
                "{chain}: the next sequence is {}, after {} entries",
                frontier.next_sequence, replay.entries
            )
        });
        let mut next = pipeline.chain.start_height;
        let mut missed = 0;
        for (from, (to, ..)) in &replay.proved {
            self.check_missed(context, chain, next, *from);
            missed += from.saturating_sub(next);
            next = to + 1;
        }
        self.check_missed(context, chain, next, frontier.height);
        missed += frontier.height.saturating_sub(next);
        let is_reorg = context.mirror.chain(chain).is_some_and(|state| state.reorg.is_some());
        context.must(is_reorg || frontier.missed == Some(missed), || {
            format!("{chain}: {missed} heights were missed, and {:?} are counted", frontier.missed)
        });
        context.must(next <= frontier.height, || {
            format!("{chain}: the out log reaches {next}, the frontier {}", frontier.height)
        });
    }

    /// Heights below the frontier that the log does not name were missed.
    fn check_missed(&self, context: &Context<'_>, chain: &ChainName, from: u64, to: u64) {
        for height in from..to {
            let scope = context
                .mirror
                .canonical(chain, height)
                .and_then(|place| context.mirror.scope(&place.scope()));
            context.must(scope.is_some_and(|scope| scope.is_missed()), || {
                format!("{chain}: {height} is below the frontier, not in the log and not missed")
            });
        }
    }
}

/// Where there is a judge, it has verified exactly this.
fn check_judged(context: &Context<'_>, name: &str, scope: &ScopeId, proof: &OutProof) {
    if !context.proving.is_judged {
        return;
    }
    context.simulation.count("check: judged before it was handed on");
    let id = TaskId::new(scope, &proof.stage, proof.index);
    let stands = context.mirror.judgement(&id).is_some_and(|judgement| {
        judgement.refused.is_none()
            && judgement.artifact == proof.artifact
            && judgement.public_values == proof.public_values
            && judgement.verification_key == proof.verification_key
    });
    context.must(stands, || format!("{name}: {id} was handed on, and the judge has not verified that"));
}

/// What is handed on is of canonical and committed blocks, while the chain is not halted.
fn check_true(context: &Context<'_>, name: &str, scope: &ScopeId, heights: (u64, u64), hash: &BlockHash) {
    let Some(scope) = context.mirror.scope(scope) else {
        return context.must(false, || format!("{name}: an entry names {scope}, which is not there"));
    };
    context.must(scope.is_canonical() && scope.heights() == heights, || {
        format!("{name}: {heights:?} was handed on from {}, which is {:?}", scope.id(), scope.branch())
    });
    let chain = scope.chain();
    let last = context.mirror.canonical(chain, heights.1);
    context.must(last.is_some_and(|last| last.hash == *hash), || {
        format!("{name}: {heights:?} was handed on as {hash}, which is not canonical")
    });
    let members = scope.cut().map(|cut| cut.members.as_slice()).unwrap_or_default();
    for (height, member) in (heights.0..).zip(members) {
        let place = context.mirror.canonical(chain, height);
        context.must(
            place.is_some_and(|place| place.hash == member.hash && place.generation == member.generation),
            || format!("{name}: a cut over the orphan {height} {} was handed on", member.hash),
        );
    }
    let frontier = context.mirror.frontier(chain);
    context.must(frontier.is_some_and(|frontier| heights.1 < frontier.height), || {
        format!("{name}: {heights:?} was handed on before it was committed")
    });
    let is_halted = context.mirror.chain(chain).is_some_and(|state| state.halted.is_some());
    context.must(!is_halted, || format!("{name}: {heights:?} was handed on while halted"));
}
