//! Invariant 1, order: the frontier moves over contiguous heights, each once, back only in a recorded reorg; parents
//! are linked; the tip moves to a child or by a reorg; blocks open only inside the window.

use proofyard_core::pipeline::{Late, Source};
use proofyard_core::state::{
    Branch, COMMITS, Canonical, ChainName, ChainState, Frontier, OutEntry, OutKind, Reorg, Scope, Subject,
    Tip,
};

use super::mirror::{Changed, Item};
use super::{CLOCK_SKEW_MS, Context};

/// The longest time between a handler's reading of its clock and its commit.
const A_CALL_MS: u64 = 120_000;

pub fn check(context: &Context<'_>, commit: &[Changed]) {
    for change in commit {
        match (change.before.as_deref(), change.after.as_deref()) {
            (Some(Item::Frontier(before)), Some(Item::Frontier(after))) => {
                check_frontier(context, commit, before, after);
            }
            (Some(Item::Tip(before)), Some(Item::Tip(after))) => check_tip(context, commit, before, after),
            (before, Some(Item::Scope(after))) => {
                let before = match before {
                    Some(Item::Scope(before)) => Some(&**before),
                    _ => None,
                };
                check_scope(context, before, after);
            }
            (Some(Item::Chain(before)), Some(Item::Chain(after))) => {
                check_halt(context, before, after);
                if after.takes_work() && !before.takes_work() {
                    let what = format!("{} takes work", after.chain);
                    check_happened_now(context, &what, Some(after.works_since_ms));
                }
            }
            (Some(Item::Canonical(before)), after) => {
                let after = match after {
                    Some(Item::Canonical(after)) => Some(after),
                    _ => None,
                };
                check_canonical(context, commit, before, after);
            }
            (Some(Item::Frontier(_) | Item::Tip(_) | Item::Chain(_) | Item::Scope(_)), None) => {
                context.must(false, || format!("{} was deleted", change.key));
            }
            _ => {}
        }
    }
}

/// A chain with halts that nobody has ended stays halted. A halt over a wrong parent is a violation: a commit before it
/// must have been wrong.
fn check_halt(context: &Context<'_>, before: &ChainState, after: &ChainState) {
    context.must(after.halted.is_some() || after.halts == after.halts_ended, || {
        format!("{} goes on, and nobody has ended the halts from {}", after.chain, after.halts_ended)
    });
    let Some(halt) = after.halted.as_ref().filter(|_| before.halts < after.halts) else { return };
    if halt.reason.contains("disagree") {
        context.simulation.count("check: disagreement halted");
    }
    context.must(!halt.reason.contains("has parent"), || format!("{} halted: {}", after.chain, halt.reason));
}

fn check_frontier(context: &Context<'_>, commit: &[Changed], before: &Frontier, after: &Frontier) {
    let Some(state) = context.mirror.chain(&after.chain) else { return };
    let limit = after.height + after.window;
    context.must(after.opened <= before.opened.max(limit), || {
        format!("{}: opened up to {} with the window's end at {limit}", after.chain, after.opened)
    });
    if after.height > before.height {
        context.simulation.count("check: frontier moved on");
        check_advance(context, state, commit, before, after);
    } else if after.height < before.height {
        context.simulation.count("check: frontier moved back");
        check_move_back(context, commit, before, after);
    } else {
        context.must(after.last_hash == before.last_hash || reorg_in(commit).is_some(), || {
            format!("{}: the last committed hash changed without a commit", after.chain)
        });
    }
}

/// A commit moves the frontier on: over canonical blocks, each a child of the one before, with a log entry that says so.
fn check_advance(
    context: &Context<'_>,
    state: &ChainState,
    commit: &[Changed],
    before: &Frontier,
    after: &Frontier,
) {
    let chain = &after.chain;
    let last = after.height - 1;
    context.must(state.halted.is_none(), || format!("{chain}: committed while halted"));
    context.must(state.commits(last), || format!("{chain}: committed {last} inside an unfinished reorg"));
    let mut parent = before.last_hash.clone();
    let mut missed = 0;
    for height in before.height..after.height {
        let Some(place) = context.mirror.canonical(chain, height) else {
            return context
                .must(false, || format!("{chain}: committed {height}, where no block is canonical"));
        };
        let Some(scope) = context.mirror.scope(&place.scope()) else {
            return context.must(false, || format!("{chain}: committed {height}, whose scope is not there"));
        };
        context.must(scope.is_canonical(), || {
            format!("{chain}: committed {}, which is {:?}", scope.id(), scope.branch())
        });
        let Some(block) = scope.block() else { return };
        context.must(parent.is_none() || parent.as_ref() == Some(&block.parent), || {
            format!(
                "{chain}: committed {height} {}, whose parent is {}, after {parent:?}",
                block.hash, block.parent
            )
        });
        context.must(parent.is_some() || height == state.start_height, || {
            format!("{chain}: committed {height} after no parent")
        });
        parent = Some(block.hash.clone());
        if scope.is_missed() {
            missed += 1;
            context.simulation.count("check: missed");
            check_late(context, scope);
        }
    }
    context.must(parent == after.last_hash, || {
        format!("{chain}: the last committed hash is {:?}, not {parent:?}", after.last_hash)
    });
    let heights = after.height - before.height;
    match committed_heights(commit, chain) {
        Some((from, to)) => context.must((from, to) == (before.height, last) && missed == 0, || {
            format!("{chain}: committed {}..={last}, and its log entry says {from}..={to}", before.height)
        }),
        None => context.must(missed == heights, || {
            format!("{chain}: committed {}..={last} without an entry in the out log", before.height)
        }),
    }
}

fn check_late(context: &Context<'_>, scope: &Scope) {
    let late = context.pipeline_of(scope).map(|pipeline| pipeline.chain.late);
    let Some(Late::Miss { deadline_ms }) = late else {
        return context.must(false, || format!("{} was missed in a pipeline that waits", scope.id()));
    };
    let works_since_ms = context.mirror.chain(scope.chain()).map_or(0, |state| state.works_since_ms);
    let from_ms = scope.canonical_ms().unwrap_or(u64::MAX / 2).max(works_since_ms);
    context.must(context.simulation.now_ms() + CLOCK_SKEW_MS >= from_ms + deadline_ms, || {
        format!("{} was missed before its deadline, {deadline_ms} ms from {from_ms}", scope.id())
    });
}

/// A time from which deadlines count must be the time at which the event happened.
fn check_happened_now(context: &Context<'_>, what: &str, at_ms: Option<u64>) {
    let now_ms = context.simulation.now_ms();
    let is_now = at_ms
        .is_some_and(|at_ms| (now_ms.saturating_sub(A_CALL_MS)..=now_ms + CLOCK_SKEW_MS).contains(&at_ms));
    context.must(is_now, || format!("{what}: written down as of {at_ms:?}, and it is {now_ms}"));
}

/// The heights of the proof entry in the log of commits that this commit writes.
fn committed_heights(commit: &[Changed], chain: &ChainName) -> Option<(u64, u64)> {
    entries(commit).find_map(|entry| match &entry.kind {
        OutKind::Proof { from, to, .. } if entry.chain == *chain && entry.log == COMMITS => {
            Some((*from, *to))
        }
        _ => None,
    })
}

fn entries(commit: &[Changed]) -> impl Iterator<Item = &OutEntry> {
    commit.iter().filter_map(|change| match change.after.as_deref() {
        Some(Item::Out(entry)) => Some(entry),
        _ => None,
    })
}

/// The reorg that this commit records.
fn reorg_in(commit: &[Changed]) -> Option<&Reorg> {
    commit.iter().find_map(|change| match (change.before.as_deref(), change.after.as_deref()) {
        (Some(Item::Chain(before)), Some(Item::Chain(after))) if after.epoch == before.epoch + 1 => {
            after.reorg.as_ref()
        }
        _ => None,
    })
}

fn check_move_back(context: &Context<'_>, commit: &[Changed], before: &Frontier, after: &Frontier) {
    let chain = &after.chain;
    let Some(reorg) = reorg_in(commit) else {
        return context.must(false, || format!("{chain}: the frontier moved back without a reorg"));
    };
    context.must(after.height <= reorg.from, || {
        format!("{chain}: a reorg from {} left the frontier at {}", reorg.from, after.height)
    });
    let is_retracted = entries(commit).any(|entry| {
        entry.chain == *chain
            && matches!(entry.kind, OutKind::Retract { from, to } if from == after.height && to == before.height - 1)
    });
    context.must(is_retracted, || {
        format!("{chain}: {}..{} left the chain without a retract", after.height, before.height)
    });
    let below = after.height.checked_sub(1).and_then(|below| context.mirror.canonical(chain, below));
    context.must(below.map(|below| &below.hash) == after.last_hash.as_ref(), || {
        format!("{chain}: after the reorg the last hash is {:?}", after.last_hash)
    });
}

fn check_tip(context: &Context<'_>, commit: &[Changed], before: &Tip, after: &Tip) {
    if before.ended && !after.ended {
        let is_new = |change: &Changed| match (change.before.as_deref(), change.after.as_deref()) {
            (None, Some(Item::Known(known))) => after.head == Some((known.height, known.hash.clone())),
            _ => false,
        };
        context.must(commit.iter().any(is_new), || {
            format!("{}: the input had ended, and no new block came: {before:?} {after:?}", after.chain)
        });
    }
    if before.head == after.head {
        return;
    }
    if reorg_in(commit).is_some() {
        context.simulation.count("check: branch changed");
        return;
    }
    let chain = &after.chain;
    let Some((height, hash)) = &after.head else {
        return context.must(false, || format!("{chain}: the tip vanished"));
    };
    let block =
        context.mirror.canonical(chain, *height).and_then(|place| context.mirror.scope(&place.scope()));
    let Some(block) = block.and_then(Scope::block).filter(|block| block.hash == *hash) else {
        return context.must(false, || format!("{chain}: the tip {height} {hash} is not canonical"));
    };
    let follows = match &before.head {
        Some((below, parent)) => *height == below + 1 && block.parent == *parent,
        None => context.mirror.chain(chain).is_some_and(|state| state.start_height == *height),
    };
    context.must(follows, || format!("{chain}: {height} {hash} was appended to {:?}", before.head));
}

fn check_canonical(context: &Context<'_>, commit: &[Changed], before: &Canonical, after: Option<&Canonical>) {
    if after == Some(before) {
        return;
    }
    let chain = &before.chain;
    let was_in_reorg = commit.iter().find_map(|change| match change.before.as_deref() {
        Some(Item::Chain(state)) if state.chain == *chain => state.reorg.as_ref(),
        _ => None,
    });
    context.must(was_in_reorg.is_some_and(|reorg| before.height >= reorg.from), || {
        format!("{chain}: {} changed from {} to {after:?} outside a reorg", before.height, before.hash)
    });
    let frontier = context.mirror.frontier(chain);
    context.must(frontier.is_some_and(|frontier| before.height >= frontier.height), || {
        format!("{chain}: the committed height {} changed", before.height)
    });
}

fn check_scope(context: &Context<'_>, before: Option<&Scope>, after: &Scope) {
    let was = before.map(|before| before.branch());
    if after.is_canonical() && was.is_some_and(|was| was != after.branch()) && after.cut().is_none() {
        check_happened_now(context, &format!("{} is on the chain", after.id()), after.canonical_ms());
    }
    match (was, after.branch()) {
        (Some(Branch::Canonical), Branch::Orphaned) if after.cut().is_some() => {
            context.simulation.count("check: cut voided");
        }
        (Some(Branch::Canonical), Branch::Orphaned) => context.simulation.count("check: block orphaned"),
        (Some(Branch::Orphaned), Branch::Canonical) => context.simulation.count("check: block returned"),
        _ => {}
    }
    let opens = after.is_open() && before.is_none_or(|before| !before.is_open());
    if !opens {
        return;
    }
    let (Some(state), Some(frontier)) =
        (context.mirror.chain(after.chain()), context.mirror.frontier(after.chain()))
    else {
        return;
    };
    let (from, to) = after.heights();
    context.must(state.takes_work(), || format!("{} opened while its chain takes no work", after.id()));
    context.must(after.is_canonical(), || format!("{} opened as {:?}", after.id(), after.branch()));
    match after.subject() {
        Subject::Block(_) => {
            context.simulation.count("check: block opened");
            context.must(to < frontier.height + frontier.window, || {
                format!(
                    "{} opened with the window's end at {}",
                    after.id(),
                    frontier.height + frontier.window
                )
            });
        }
        Subject::Cut(cut) => {
            context.simulation.count("check: cut opened");
            let members = (from..=to).map(|height| context.mirror.canonical(after.chain(), height));
            let fits = members.zip(&cut.members).all(|(place, member)| {
                place.is_some_and(|place| place.hash == member.hash && place.generation == member.generation)
            });
            context.must(fits && cut.members.len() as u64 == to - from + 1, || {
                format!("{} opened over blocks that are not canonical", after.id())
            });
            check_forks(context, after, &cut.stage);
        }
    }
}

/// Every stage that has a part in a cut has one prover over all of it.
fn check_forks(context: &Context<'_>, scope: &Scope, cut_stage: &str) {
    let Some(pipeline) = context.pipeline_of(scope) else { return };
    let Some((cut, _)) = pipeline.stage(cut_stage) else { return };
    let (from, to) = scope.heights();
    let mut parts: Vec<usize> =
        (0..pipeline.stages.len()).filter(|index| pipeline.stages[*index].cut_by == Some(cut)).collect();
    while let Some(part) = parts.pop() {
        let stage = &pipeline.stages[part];
        parts.extend(stage.from.iter().filter_map(|source| match source {
            Source::Stage(source) if pipeline.stages[*source].cut_by.is_none() => Some(*source),
            _ => None,
        }));
        let prover = stage.prover_at(from);
        if stage.provers.len() > 1 && prover == stage.prover_at(to) {
            context.simulation.count("check: cut beside a fork");
        }
        context.must((from..=to).all(|height| stage.prover_at(height) == prover), || {
            format!("{} spans a fork of stage {}: {:?}", scope.id(), stage.name, stage.provers)
        });
    }
}
