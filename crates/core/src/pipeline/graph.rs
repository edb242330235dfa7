//! The graph that stages form: who reads from whom, in which order they stand, and on what each works.

use super::mistake::Mistakes;
use super::reader::{Read, shown};
use super::stage_table::{Kind, RawStage};
use super::{Source, suggest};

/// What a stage works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Block,
    /// A cut made by this stage.
    Cut(usize),
    /// A mistake hides it.
    Unknown,
}

/// One entry of `from`, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub source: Source,
    pub at: usize,
}

/// Stages are numbered in file order here.
pub(super) struct Graph {
    pub links: Vec<Vec<Link>>,
    /// In dependency order, else in file order; stages in or behind a cycle are left out.
    pub order: Vec<usize>,
    pub scopes: Vec<Scope>,
    pub depths: Vec<u32>,
    /// For each stage those that it reads from, directly or not, as a set of bits.
    ancestors: Vec<u64>,
    /// Every source was found, nothing goes in a circle, and it is known what each stage works on.
    pub sound: bool,
}

impl Graph {
    pub(super) fn new(stages: &[RawStage], mistakes: &mut Mistakes) -> Self {
        let mut sound = true;
        let links: Vec<Vec<Link>> =
            (0..stages.len()).map(|index| resolve(index, stages, &mut sound, mistakes)).collect();
        let ancestors = ancestors(&links);
        let order = order(&links);
        sound &= order.len() == stages.len();
        let mut graph = Self {
            scopes: vec![Scope::Unknown; stages.len()],
            depths: vec![0; stages.len()],
            order,
            ancestors,
            links,
            sound,
        };
        graph.report_cycles(stages, mistakes);
        for index in graph.order.clone() {
            graph.depths[index] = graph.depth(index);
            graph.scopes[index] = graph.scope(index, stages, mistakes);
        }
        graph.sound &= !graph.scopes.contains(&Scope::Unknown);
        graph
    }

    pub(super) fn precedes(&self, earlier: usize, later: usize) -> bool {
        self.ancestors[later] & bit(earlier) != 0
    }

    pub(super) fn has_readers(&self, index: usize) -> bool {
        self.links.iter().flatten().any(|link| link.source == Source::Stage(index))
    }

    /// Each circle once, at the place where its first stage of the file reads on.
    fn report_cycles(&self, stages: &[RawStage], mistakes: &mut Mistakes) {
        let mut told = 0_u64;
        for index in (0..stages.len()).filter(|index| self.precedes(*index, *index)) {
            if told & bit(index) != 0 {
                continue;
            }
            let circle = self.circle(index);
            // All that can reach each other are told with it: one slip often closes several circles.
            told |= (0..stages.len())
                .filter(|other| self.precedes(*other, index) && self.precedes(index, *other))
                .fold(0, |set, other| set | bit(other));
            let names: Vec<&str> = circle.iter().map(|stage| stages[*stage].name.as_str()).collect();
            let next = circle.get(1).copied().unwrap_or(index);
            let link = self.links[index].iter().find(|link| link.source == Source::Stage(next));
            let message = format!("stages read in a circle: {}", shown_list(&names, " reads "));
            let help = "take one of these sources out: what a stage reads from must not wait for it";
            mistakes.add(link.map_or(stages[index].at, |link| link.at), message, help);
        }
    }

    /// A shortest way from a stage over what it reads from back to itself.
    fn circle(&self, start: usize) -> Vec<usize> {
        let mut reached_from: Vec<Option<usize>> = vec![None; self.links.len()];
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(index) = queue.pop_front() {
            for source in self.stages_read_by(index) {
                if reached_from[source].is_none() {
                    reached_from[source] = Some(index);
                    queue.push_back(source);
                }
            }
        }
        let mut circle = vec![start];
        let mut at = start;
        while let Some(before) = reached_from[at] {
            circle.push(before);
            at = before;
            if at == start {
                break;
            }
        }
        circle.reverse();
        circle
    }

    fn stages_read_by(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        self.links[index].iter().filter_map(|link| match link.source {
            Source::Stage(source) => Some(source),
            Source::Block => None,
        })
    }

    fn depth(&self, index: usize) -> u32 {
        self.stages_read_by(index).map(|source| self.depths[source] + 1).max().unwrap_or(0)
    }

    fn scope(&self, index: usize, stages: &[RawStage], mistakes: &mut Mistakes) -> Scope {
        let stage = &stages[index];
        match stage.kind {
            Some(Kind::Sequential) => return Scope::Cut(index),
            None => return Scope::Unknown,
            _ => {}
        }
        let whole = stage.from.is().is_some_and(|from| from.value.len() == self.links[index].len());
        let mut common: Option<(Scope, String)> = None;
        for link in &self.links[index] {
            let (scope, name) = match link.source {
                Source::Block => (Scope::Block, "\"block\"".to_string()),
                Source::Stage(source) => {
                    (self.scopes[source], format!("\"{}\"", shown(&stages[source].name)))
                }
            };
            match &common {
                _ if scope == Scope::Unknown => return Scope::Unknown,
                None => common = Some((scope, name)),
                Some((first, _)) if *first == scope => {}
                Some((first, first_name)) => {
                    let message = format!(
                        "\"{}\" reads {name}, which is for {}, and {first_name}, which is for {}",
                        shown(&stage.name),
                        scope_text(scope, stages),
                        scope_text(*first, stages),
                    );
                    let help = "all that a stage reads is for one block, or for the cuts of one stage";
                    mistakes.add(link.at, message, help);
                    return Scope::Unknown;
                }
            }
        }
        common.filter(|_| whole).map_or(Scope::Unknown, |(scope, _)| scope)
    }
}

fn bit(index: usize) -> u64 {
    1_u64.checked_shl(index as u32).unwrap_or(0)
}

fn scope_text(scope: Scope, stages: &[RawStage]) -> String {
    match scope {
        Scope::Cut(by) => format!("a cut of \"{}\"", shown(&stages[by].name)),
        _ => "a block".to_string(),
    }
}

pub(super) fn shown_list(names: &[&str], between: &str) -> String {
    names.iter().map(|name| format!("\"{}\"", shown(name))).collect::<Vec<_>>().join(between)
}

fn resolve(index: usize, stages: &[RawStage], sound: &mut bool, mistakes: &mut Mistakes) -> Vec<Link> {
    let Read::Is(from) = &stages[index].from else {
        *sound = false;
        return Vec::new();
    };
    let mut links = Vec::new();
    for source in &from.value {
        let found = stages.iter().position(|stage| stage.name == source.value);
        match found {
            _ if source.value == "block" => links.push(Link { source: Source::Block, at: source.at }),
            Some(found) if found == index => {
                let message = format!("\"{}\" reads from itself", shown(&source.value));
                mistakes.add(source.at, message, "read from \"block\" or from another stage");
            }
            Some(found) => links.push(Link { source: Source::Stage(found), at: source.at }),
            None => {
                let others = stages.iter().enumerate().filter(|(other, _)| *other != index);
                let names: Vec<&str> =
                    others.map(|(_, stage)| stage.name.as_str()).chain(["block"]).collect();
                report_unknown("stage", &source.value, source.at, &names, mistakes);
            }
        }
    }
    *sound &= links.len() == from.value.len();
    links
}

pub(super) fn report_unknown(kind: &str, name: &str, at: usize, known: &[&str], mistakes: &mut Mistakes) {
    const MAX_LISTED: usize = 12;
    let listed = shown_list(&known[..known.len().min(MAX_LISTED)], ", ");
    let more = if known.len() > MAX_LISTED { ", ..." } else { "" };
    let help = match (known.len(), suggest::closest(name, known.iter().copied())) {
        (0, _) => format!("no {kind} is there: write [{kind}.{}]", shown(name)),
        (1, _) => format!("the one {kind} here is {listed}"),
        (_, None) => format!("{kind}s here are {listed}{more}"),
        (_, Some(meant)) => format!("{kind}s here are {listed}{more}; did you mean \"{}\"?", shown(meant)),
    };
    mistakes.add(at, format!("unknown {kind} \"{}\"", shown(name)), help);
}

fn ancestors(links: &[Vec<Link>]) -> Vec<u64> {
    let mut ancestors = vec![0_u64; links.len()];
    loop {
        let mut changed = false;
        for (index, links) in links.iter().enumerate() {
            let set = links.iter().fold(ancestors[index], |set, link| match link.source {
                Source::Stage(source) => set | bit(source) | ancestors[source],
                Source::Block => set,
            });
            changed |= set != ancestors[index];
            ancestors[index] = set;
        }
        if !changed {
            return ancestors;
        }
    }
}

/// Always the first stage of the file whose sources all stand before it.
fn order(links: &[Vec<Link>]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let ready = |index: usize, order: &[usize]| {
        !order.contains(&index)
            && links[index].iter().all(|link| match link.source {
                Source::Stage(source) => order.contains(&source),
                Source::Block => true,
            })
    };
    while let Some(next) = (0..links.len()).find(|index| ready(*index, &order)) {
        order.push(next);
    }
    order
}
