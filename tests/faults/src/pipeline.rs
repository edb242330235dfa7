//! Pipelines of toy provers.

use std::fmt::Write;

use proofyard_core::state::COMMITS;

use crate::yard::program;

/// Segments of a block, joined with the block; with `range`, committed blocks are proved again in cuts of that size.
#[derive(Clone, Debug)]
pub struct ToyPipeline {
    /// Arguments of the prover of every stage.
    pub toy: Vec<String>,
    /// Keys of every stage, such as limits.
    pub limits: Vec<&'static str>,
    pub range: Option<u64>,
    /// A block is audited by one more prover after its commit, and so it settles later than that.
    pub audit: bool,
    pub slots: u32,
    pub window: u64,
}

impl Default for ToyPipeline {
    fn default() -> Self {
        Self { toy: Vec::new(), limits: Vec::new(), range: None, audit: false, slots: 2, window: 4 }
    }
}

impl ToyPipeline {
    pub const CHAIN: &str = "faults";
    pub const LEASE_MS: u64 = 300;
    /// Names of its sinks, which are their files too, and the logs that they read.
    pub const BLOCKS_SINK: (&str, &str) = ("blocks", COMMITS);
    pub const RANGES_SINK: (&str, &str) = ("ranges", "range");

    pub fn sinks(&self) -> Vec<(&'static str, &'static str)> {
        [Some(Self::BLOCKS_SINK), self.range.map(|_| Self::RANGES_SINK)].into_iter().flatten().collect()
    }

    pub fn text(&self) -> String {
        let mut command = vec![program("proofyard-toy-prover").to_str().unwrap().to_owned()];
        command.extend(self.toy.iter().cloned());
        let (chain, window, slots, lease_ms) = (Self::CHAIN, self.window, self.slots, Self::LEASE_MS);
        let mut text = format!(
            "[chain]\nname = \"{chain}\"\nstart_height = 1\nwindow = {window}\ntick_ms = 100\ncommit = \"join\"\n\n\
             [prover.toy]\ncommand = {}\n\n[pool.cpu]\nslots = {slots}\nlease_ms = {lease_ms}\n\n",
            serde_json::to_string(&command).unwrap()
        );
        self.stage(&mut text, "segment", "strategy = \"split\"\nfrom = \"block\"");
        self.stage(&mut text, "join", "strategy = \"match\"\nfrom = [\"block\", \"segment\"]");
        if self.audit {
            self.stage(&mut text, "audit", "strategy = \"match\"\nfrom = \"join\"");
        }
        if let Some(size) = self.range {
            self.stage(
                &mut text,
                "range",
                &format!("strategy = \"sequential\"\nfrom = \"join\"\nsize = {size}"),
            );
        }
        for (sink, log) in self.sinks() {
            let stage = if log == COMMITS { "join" } else { log };
            write!(text, "[sink.{sink}]\nstage = \"{stage}\"\nfile = \"{sink}.jsonl\"\n\n").unwrap();
        }
        text
    }

    fn stage(&self, text: &mut String, name: &str, gathers: &str) {
        let limits = self.limits.join("\n");
        write!(text, "[stage.{name}]\n{gathers}\nprover = \"toy\"\npool = \"cpu\"\n{limits}\n\n").unwrap();
    }
}
