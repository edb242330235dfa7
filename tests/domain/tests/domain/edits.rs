//! Every kind of edit of a pipeline, at every moment: what is open goes on by its own text, or the edit is refused by name;
//! nothing stands still, nothing is skipped, and what is handed on is what the block's own pipeline says.

use std::collections::BTreeMap;

use proofyard_core::error::Error;
use proofyard_core::pipeline::{Pipeline, Strategy};
use proofyard_core::record::FailureKind;
use proofyard_core::state::{COMMITS, OutEntry, OutKind, Scope};
use proofyard_core::status::Finished;
use proofyard_core::transaction::{read, read_range};
use proofyard_core::work::Assignment;

use crate::common::driver::{Does, Driver, block, good};
use crate::common::{named, now};

const START: u64 = 10;
/// Blocks that come before the edit, and after it.
const BEFORE: u64 = 6;
const AFTER: u64 = 6;

fn pipe(head: &str, stages: &[String], tail: &str) -> String {
    let pools = if tail.contains("[pool.cpu]") { "" } else { "[pool.cpu]\n" };
    format!(
        "[chain]\nname = \"c\"\nstart_height = {START}\nwindow = 4\n{head}\n{}\n[prover.p]\ncommand = [\"p\"]\n\
         [prover.q]\ncommand = [\"q\"]\n{pools}[pool.gpu]\n{tail}\n",
        stages.concat()
    )
}

fn stage(name: &str, strategy: &str, from: &str, more: &str) -> String {
    let prover = if more.contains("prover =") { "" } else { "prover = \"p\"\n" };
    let pool = if more.contains("pool =") { "" } else { "pool = \"cpu\"\n" };
    format!("[stage.{name}]\nstrategy = \"{strategy}\"\nfrom = {from}\n{prover}{pool}{more}\n")
}

fn sink(stage: &str, more: &str) -> String {
    format!("[sink.main]\nstage = \"{stage}\"\nfile = \"x\"\n{more}\n")
}

fn members() -> Vec<String> {
    ["one", "two", "three"].map(|name| stage(name, "match", "\"block\"", "")).to_vec()
}

fn quorum(more: &str) -> String {
    let mut stages = members();
    let from = "[\"one\", \"two\", \"three\"]";
    stages.push(format!("[stage.agree]\nstrategy = \"match\"\nfrom = {from}\nneed = 2\n{more}\n"));
    pipe("commit = \"agree\"", &stages, &sink("agree", ""))
}

fn joined() -> String {
    let mut stages = members();
    stages.push(stage("agree", "match", "[\"one\", \"two\", \"three\"]", ""));
    pipe("commit = \"agree\"", &stages, &sink("agree", ""))
}

fn plain(name: &str) -> String {
    pipe("", &[stage(name, "match", "\"block\"", "")], &sink(name, ""))
}

fn cuts(source: &str, source_more: &str, cut_more: &str, sinks: &str) -> String {
    let stages = [
        stage(source, "match", "\"block\"", source_more),
        stage("batch", "sequential", &format!("\"{source}\""), cut_more),
    ];
    pipe(&format!("commit = \"{source}\""), &stages, sinks)
}

fn batches(cut_more: &str) -> String {
    cuts("prove", "", cut_more, &sink("batch", ""))
}

fn ranges(source: &str, size: u64) -> String {
    let size = format!("size = {size}");
    let stages = [
        stage(source, "match", "\"block\"", ""),
        stage("batch", "sequential", &format!("\"{source}\""), &size),
    ];
    pipe("commit = \"batch\"", &stages, &sink("batch", ""))
}

/// What is to become of an edit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Taken,
    /// Refused while something open needs what it takes away.
    MayBeRefused,
    Refused,
}

struct Edit {
    what: &'static str,
    from: String,
    to: String,
    expect: Expect,
}

fn edits() -> Vec<Edit> {
    use Expect::{MayBeRefused, Refused, Taken};
    let edit = |what, from: String, to: String, expect| Edit { what, from, to, expect };
    let split = |strategy| {
        let stages =
            [stage("part", strategy, "\"block\"", ""), stage("join", "match", "[\"block\", \"part\"]", "")];
        pipe("commit = \"join\"", &stages, &sink("join", ""))
    };
    let on_gpu = |declared: &str| {
        let stages = [stage("prove", "match", "\"block\"", "pool = \"gpu\"")];
        pipe("", &stages, &format!("{declared}{}", sink("prove", "")))
    };
    let without_cpu = on_gpu("").replace("[pool.cpu]\n", "");
    let forked = "prover = [{ prover = \"p\" }, { prover = \"q\", from_height = 14 }]";
    let four = "size = 4";
    let batch_on_gpu = batches("size = 4\npool = \"gpu\"");
    let without_gpu = |text: String| text.replace("[pool.gpu]\n", "");
    vec![
        edit("a quorum becomes a prover", quorum(""), joined(), Taken),
        edit("a prover becomes a quorum", joined(), quorum(""), Taken),
        edit("a quorum cancels the rest", quorum(""), quorum("after_need = \"cancel\""), Taken),
        edit("the commit stage is renamed", plain("prove"), plain("proof"), Taken),
        edit("a split becomes one task", split("split"), split("match"), Taken),
        edit("one task becomes a split", split("match"), split("split"), Taken),
        edit("a stage before the commit goes", split("split"), plain("join"), Taken),
        edit("a stage before the commit comes", plain("join"), split("split"), Taken),
        edit("another prover", plain("prove"), plain("prove").replace("\"p\"\n", "\"q\"\n"), Taken),
        edit(
            "the source of a cut is renamed",
            batches(four),
            cuts("proof", "", four, &sink("batch", "")),
            Taken,
        ),
        edit(
            "the source of a cut is made otherwise",
            batches(four),
            cuts("prove", "prover = \"q\"", four, &sink("batch", "")),
            Taken,
        ),
        edit(
            "a fork comes into what a cut gathers",
            batches(four),
            cuts("prove", forked, four, &sink("batch", "")),
            Taken,
        ),
        edit("larger cuts", batches("size = 2"), batches(four), Taken),
        edit("smaller cuts", batches(four), batches("size = 2"), Taken),
        edit("a cut is reduced", batches(four), batches("size = 4\narity = 2"), Taken),
        edit("a cut is reduced no more", batches("size = 4\narity = 2"), batches(four), Taken),
        edit(
            "a cut stage comes",
            cuts("prove", "", four, &sink("prove", "")).replace("[stage.batch]", "[stage.other]"),
            {
                let mut text =
                    cuts("prove", "", four, &sink("prove", "")).replace("[stage.batch]", "[stage.other]");
                text.push_str(&stage("batch", "sequential", "\"prove\"", "size = 3"));
                text
            },
            Taken,
        ),
        edit("a cut stage goes", batches(four), plain("prove"), Refused),
        edit("blocks commit by cuts", plain("prove"), ranges("prove", 2), Refused),
        edit("blocks commit one by one", ranges("prove", 2), plain("prove"), Refused),
        edit("a cut stage commits", batches("size = 2"), ranges("prove", 2), Refused),
        edit("what commits by cuts gathers something else", ranges("prove", 3), ranges("proof", 3), Taken),
        edit("smaller committing cuts", ranges("prove", 3), ranges("prove", 2), Taken),
        edit("another pool, the old one declared", on_gpu(""), plain("prove"), Taken),
        edit("a pool goes", on_gpu(""), without_gpu(plain("prove")), MayBeRefused),
        edit("a pool goes and another comes", plain("prove"), without_cpu, MayBeRefused),
        edit("the pool of a cut goes", batch_on_gpu.clone(), without_gpu(batches(four)), MayBeRefused),
        edit(
            "the pool of a cut goes, with what it gathers",
            batch_on_gpu,
            without_gpu(cuts("proof", "", four, &sink("batch", ""))),
            MayBeRefused,
        ),
        edit(
            "a sink moves to another log",
            cuts("prove", "", four, &sink("prove", "")),
            batches(four),
            MayBeRefused,
        ),
        edit(
            "a sink moves, from now on",
            cuts("prove", "", four, &sink("prove", "")),
            cuts("prove", "", four, &sink("batch", "from = \"now\"")),
            MayBeRefused,
        ),
        edit("a sink comes", cuts("prove", "", four, ""), batches(four), Taken),
        edit("a sink goes", batches(four), cuts("prove", "", four, ""), MayBeRefused),
        edit("a wider window", plain("prove"), plain("prove").replace("window = 4", "window = 64"), Taken),
        edit("a narrower window", plain("prove"), plain("prove").replace("window = 4", "window = 1"), Taken),
    ]
}

/// When it is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Nothing,
    Open,
    Running,
    HalfDone,
    OneCommitted,
    AllCommitted,
    HandedOn,
    Parked,
    Paused,
    Halted,
    InReorg,
    AfterReorg,
    Returned,
    ReturnedLater,
}

const MOMENTS: [Moment; 14] = [
    Moment::Nothing,
    Moment::Open,
    Moment::Running,
    Moment::HalfDone,
    Moment::OneCommitted,
    Moment::AllCommitted,
    Moment::HandedOn,
    Moment::Parked,
    Moment::Paused,
    Moment::Halted,
    Moment::InReorg,
    Moment::AfterReorg,
    Moment::Returned,
    Moment::ReturnedLater,
];

struct Run {
    driver: Driver,
    running: Vec<Assignment>,
    /// What the sink got, by the log that it came from.
    got: BTreeMap<String, Vec<OutEntry>>,
}

impl Run {
    fn new(text: &str) -> Self {
        let driver = Driver::new(text);
        driver.worker("w-cpu", "cpu");
        driver.worker("w-gpu", "gpu");
        Self { driver, running: Vec::new(), got: BTreeMap::new() }
    }

    /// There are workers of the pools that the pipeline in force declares, and no others.
    fn claim(&mut self) -> Option<Assignment> {
        let in_force = now(self.driver.yard.chain(&named("c"))).expect("the chain").1;
        let mut workers = ["cpu", "gpu"].into_iter().filter(|pool| in_force.pools.contains_key(*pool));
        workers.find_map(|pool| self.driver.claim(&format!("w-{pool}")))
    }

    fn step(&mut self) -> bool {
        let Some(assignment) = self.claim() else { return false };
        let does = good(&assignment);
        self.driver.perform(&assignment, does);
        true
    }

    fn work(&mut self) {
        while self.step() {}
    }

    fn hand_on(&mut self) {
        while let Some(entry) = now(self.driver.yard.sink_next(&named("c"), "main")).expect("an answer") {
            now(self.driver.yard.sink_done("main", &entry)).expect("recorded");
            self.got.entry(entry.log.clone()).or_default().push(entry);
        }
        self.driver.settle();
    }

    fn reach(&mut self, moment: Moment) {
        if moment == Moment::Nothing {
            return;
        }
        self.driver.blocks(START..=START + BEFORE - 1);
        match moment {
            Moment::Nothing | Moment::Open => {}
            Moment::Running => {
                let running = self.claim();
                self.running.extend(running);
            }
            Moment::HalfDone => {
                for _ in 0..4 {
                    self.step();
                }
            }
            Moment::OneCommitted => {
                while now(self.driver.yard.frontier(&named("c"))).unwrap().height == START && self.step() {}
            }
            Moment::AllCommitted => self.work(),
            Moment::HandedOn => {
                self.work();
                self.hand_on();
            }
            Moment::Parked => {
                while now(self.driver.yard.parked(&named("c"))).unwrap().is_empty() {
                    match self.claim() {
                        Some(assignment) => {
                            let does = Does::Fails(FailureKind::Permanent, "bad");
                            self.driver.perform(&assignment, does);
                        }
                        None => {
                            self.driver.pass(100_000);
                            self.sweep();
                        }
                    }
                }
            }
            Moment::Paused => {
                self.step();
                now(self.driver.yard.pause(&named("c"))).unwrap();
            }
            Moment::Halted => {
                self.step();
                now(self.driver.yard.halt(&named("c"), "a test")).unwrap();
            }
            // Nothing is open when it is edited.
            Moment::ReturnedLater => {
                self.step();
                self.driver.send(&block(START + 1, "b", "a"));
                now(self.driver.yard.record_reorg(&named("c"), START + 1, &format!("b{}", START + 1).into()))
                    .unwrap();
                self.driver.settle();
                self.work();
                self.hand_on();
            }
            Moment::InReorg | Moment::AfterReorg | Moment::Returned => {
                for _ in 0..7 {
                    self.step();
                }
                self.hand_on();
                let fork = START + 1;
                for height in fork..fork + BEFORE {
                    self.driver.send(&block(height, "b", if height == fork { "a" } else { "b" }));
                }
                let head = fork + BEFORE - 1;
                now(self.driver.yard.record_reorg(&named("c"), head, &format!("b{head}").into())).unwrap();
                if moment != Moment::InReorg {
                    self.driver.settle();
                    self.step();
                }
            }
        }
    }

    fn sweep(&self) {
        for worker in ["w-cpu", "w-gpu"] {
            now(self.driver.yard.heartbeat(&worker.into(), 10_000_000)).expect("alive");
        }
        self.driver.sweep();
    }

    /// To the end, whatever is open.
    fn finish(&mut self, moment: Moment, why: &str) {
        for assignment in std::mem::take(&mut self.running) {
            let does = good(&assignment);
            self.driver.perform(&assignment, does);
        }
        now(self.driver.yard.resume(&named("c"))).unwrap();
        let everything = proofyard_core::record::RetrySelection::AllOf { chain: named("c") };
        now(self.driver.yard.retry(&everything)).unwrap();
        self.driver.settle();
        if matches!(moment, Moment::Returned | Moment::ReturnedLater) {
            // The branch before comes back, with whatever was opened of it.
            let head = START + BEFORE - 1;
            now(self.driver.yard.record_reorg(&named("c"), head, &format!("a{head}").into())).unwrap();
            self.driver.settle();
        }
        let tip = now(self.driver.yard.tip(&named("c"))).unwrap().head.unwrap_or((START - 1, "".into()));
        let branch = tip.1.as_str().chars().next().map_or("a".to_owned(), |first| first.to_string());
        for height in tip.0 + 1..=tip.0 + AFTER {
            self.driver.send(&block(height, &branch, &branch));
        }
        now(self.driver.yard.record_end(&named("c"))).unwrap();
        self.driver.settle();
        for _ in 0..20 {
            self.work();
            self.hand_on();
            if now(self.driver.yard.is_finished(&named("c"))).unwrap() == Finished::Yes {
                break;
            }
            self.driver.pass(60_000);
            self.sweep();
        }
        let finished = now(self.driver.yard.is_finished(&named("c"))).unwrap();
        let status = now(self.driver.yard.status(&named("c"), true)).unwrap();
        assert_eq!(finished, Finished::Yes, "{why}: {status:#?}");
        self.check(why);
    }

    fn check(&self, why: &str) {
        let tip = now(self.driver.yard.tip(&named("c"))).unwrap().height().unwrap();
        assert_eq!(self.driver_frontier(), tip + 1, "{why}");
        let pipeline = now(self.driver.yard.chain(&named("c"))).unwrap().1;
        let commits = self.log(COMMITS);
        assert_eq!(heights_of(&commits, START), (START..=tip).collect::<Vec<_>>(), "{why}");
        self.own_proofs(&commits, why);
        for (_, cut, _) in pipeline.cut_stages().filter(|(index, ..)| pipeline.commit_cut() != Some(*index)) {
            let log = self.log(&cut.name);
            let first = log.iter().find_map(from_of).expect("a cut");
            assert_eq!(heights_of(&log, first), (first..=tip).collect::<Vec<_>>(), "{why}: {}", cut.name);
            self.own_proofs(&log, why);
        }
        for (log, got) in &self.got {
            let said = self.log(log);
            let first = got[0].sequence as usize;
            assert_eq!(*got, said[first..first + got.len()], "{why}: the sink skipped something of {log}");
        }
        if let Some(sink) = pipeline.sinks.get("main") {
            let log = pipeline.log_of(sink.stage);
            let last = self.got.get(log).and_then(|got| got.last());
            assert_eq!(last, self.log(log).last(), "{why}: the sink has all of {log}");
        }
        for height in START..=tip {
            let told =
                now(self.driver.yard.explain(&named("c"), height)).expect("an explanation").to_string();
            assert!(told.contains("was committed") && told.contains("by the proof"), "{why}: {told}");
        }
    }

    fn driver_frontier(&self) -> u64 {
        now(self.driver.yard.frontier(&named("c"))).unwrap().height
    }

    fn log(&self, log: &str) -> Vec<OutEntry> {
        let range = OutEntry::range_from(&named("c"), log, 0, 1_000);
        let rows = now(read_range::<OutEntry>(&self.driver.yard.port, &range)).unwrap();
        rows.into_iter().map(|(_, _, entry)| entry).collect()
    }

    /// Each entry has the proofs that the pipeline of its own scope commits or emits by.
    fn own_proofs(&self, log: &[OutEntry], why: &str) {
        for entry in log {
            let OutKind::Proof { scope, proofs, .. } = &entry.kind else { continue };
            let scope: Scope =
                now(read(&self.driver.yard.port, &Scope::key_of(scope))).unwrap().expect("its scope");
            let own = now(self.driver.yard.pipeline(&named("c"), scope.pipeline())).unwrap();
            let by: Vec<&str> = proofs.iter().map(|proof| proof.stage.as_str()).collect();
            let expected = proving_stages(&own, &scope);
            let agreed =
                expected.len() > 1 && by.len() >= 2 && by.iter().all(|stage| expected.contains(stage));
            assert!(agreed || by == expected, "{why}: {by:?} proves {}, by {expected:?}", scope.id());
        }
    }
}

/// The stage whose proof commits or emits a scope by its own pipeline; the members, where it only decides.
fn proving_stages<'a>(own: &'a Pipeline, scope: &Scope) -> Vec<&'a str> {
    let index = match scope.cut().map(|cut| own.stage(&cut.stage).unwrap().0) {
        Some(cut) if own.commit_cut() != Some(cut) => own.final_stage_of_cut(cut),
        _ => own.commit,
    };
    let stage = &own.stages[index];
    match &stage.strategy {
        Strategy::Match { quorum: Some(_), .. } if stage.provers.is_empty() => {
            own.stages.iter().map(|stage| stage.name.as_str()).filter(|name| *name != stage.name).collect()
        }
        _ => vec![&stage.name],
    }
}

fn from_of(entry: &OutEntry) -> Option<u64> {
    match entry.kind {
        OutKind::Proof { from, .. } => Some(from),
        OutKind::Retract { .. } => None,
    }
}

/// The heights that a reader of a log believes to be proved, from `first` on.
fn heights_of(log: &[OutEntry], first: u64) -> Vec<u64> {
    let mut heights: Vec<u64> = Vec::new();
    for (sequence, entry) in log.iter().enumerate() {
        assert_eq!(entry.sequence, sequence as u64);
        match entry.kind {
            OutKind::Proof { from, to, .. } => heights.extend(from..=to),
            OutKind::Retract { from, .. } => heights.retain(|height| *height < from),
        }
    }
    heights.retain(|height| *height >= first);
    heights
}

#[test]
fn every_edit_at_every_moment() {
    let (mut taken, mut refused) = (0, 0);
    for edit in edits() {
        for moment in MOMENTS {
            let why = format!("{}, {moment:?}", edit.what);
            let mut run = Run::new(&edit.from);
            run.reach(moment);
            match now(run.driver.yard.record_pipeline(&edit.to)) {
                Ok(_) => {
                    assert_ne!(edit.expect, Expect::Refused, "{why}");
                    taken += 1;
                }
                Err(Error::Refused(refusal)) => {
                    assert_ne!(edit.expect, Expect::Taken, "{why}: {refusal}");
                    refused += 1;
                }
                Err(error) => panic!("{why}: {error}"),
            }
            run.driver.settle();
            run.finish(moment, &why);
        }
    }
    println!("{taken} edits were taken, {refused} refused");
    assert!(taken > 300 && refused > 20);
}

/// Whoever makes an action's calls cannot prove, and workers hold no keys.
#[test]
fn a_pool_under_open_work_does_not_change_its_kind() {
    let stages = |record: &str, more: &str| {
        let all = [
            stage("prove", "match", "\"block\"", ""),
            format!("[stage.record]\nstrategy = \"match\"\nfrom = \"prove\"\n{record}\n"),
            stage("join", "match", "[\"prove\", \"record\"]", ""),
        ];
        pipe("commit = \"join\"", &all, &format!("{more}\n{}", sink("join", "")))
    };
    let call = "action = \"contract\"\ncontract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nrpc_from = \"L1_RPC\"\nchain_id = 1\n\
                key_from = \"KEY\"\nfunction = \"submit(uint256 height)\"\narguments = [\"{to}\"]";
    let action = stages(call, "");
    let proved = stages("prover = \"p\"\npool = \"record\"", "[pool.record]");
    for (before, after) in [(&action, &proved), (&proved, &action)] {
        let driver = Driver::new(before);
        driver.block(START);
        driver.settle();
        let refused = now(driver.yard.record_pipeline(after)).unwrap_err().to_string();
        assert!(refused.contains("[pool.record] is gone") && refused.contains("another kind"), "{refused}");
    }
}
