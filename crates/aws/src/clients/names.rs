//! The names of a yard's resources. `infra/spec/yard.json` says the same to whatever creates them; a test compares.

/// Longest name of a yard, so that every resource's stays within its service's limit (63 for a bucket).
pub const MAX_YARD_BYTES: usize = 32;

/// The tag of the queue of whatever holds keys, where that may do the tasks of stages with an action.
pub const ACTS_TAG: &str = "proofyard:acts";

#[derive(Debug, thiserror::Error)]
#[error(
    "yard {0:?} cannot be a name on AWS: use 1 to {MAX_YARD_BYTES} lower-case letters, digits and single hyphens inside"
)]
pub struct BadYardName(String);

/// A yard's name on AWS, and the names that follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    yard: String,
}

impl Names {
    pub fn of(yard: &str) -> Result<Self, BadYardName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let bad = yard.is_empty()
            || yard.len() > MAX_YARD_BYTES
            || !yard.bytes().all(plain)
            || yard.starts_with('-')
            || yard.ends_with('-')
            || yard.contains("--");
        if bad { Err(BadYardName(yard.to_owned())) } else { Ok(Self { yard: yard.to_owned() }) }
    }

    pub fn yard(&self) -> &str {
        &self.yard
    }
    pub fn table(&self) -> String {
        format!("proofyard-{}", self.yard)
    }
    pub fn bucket(&self, account: &str) -> String {
        format!("proofyard-{}-{account}", self.yard)
    }
    /// Block events, in order for each chain, and nothing else: whoever may write to it decides what the chain is.
    pub fn blocks_queue(&self) -> String {
        format!("proofyard-{}-blocks.fifo", self.yard)
    }
    /// Chains and scopes with something new to look at, and what AWS Batch says of its jobs.
    pub fn results_queue(&self) -> String {
        format!("proofyard-{}-results.fifo", self.yard)
    }
    pub fn ticks_queue(&self) -> String {
        format!("proofyard-{}-ticks", self.yard)
    }
    /// When to look at the nodes that chains follow.
    pub fn follow_queue(&self) -> String {
        format!("proofyard-{}-follow", self.yard)
    }
    /// The secret with the URLs of nodes that have a key in them.
    pub fn nodes_secret(&self) -> String {
        format!("proofyard/{}/nodes", self.yard)
    }
    /// Which sinks that are no files may have something to be told, in order for each.
    pub fn notify_queue(&self) -> String {
        format!("proofyard-{}-notify.fifo", self.yard)
    }
    /// The secret with what sinks need from outside: keys, and URLs that have one in them.
    pub fn sinks_secret(&self) -> String {
        format!("proofyard/{}/sinks", self.yard)
    }
    /// Which sinks that hold keys may have something to be told, in order for each.
    pub fn propose_queue(&self) -> String {
        format!("proofyard-{}-propose.fifo", self.yard)
    }
    /// The secret with what sinks that hold keys need from outside.
    pub fn keys_secret(&self) -> String {
        format!("proofyard/{}/keys", self.yard)
    }
    pub fn wake_queue(&self, pool: &str) -> String {
        format!("proofyard-{}-wake-{pool}", self.yard)
    }
    /// The job definition of a pool's workers.
    pub fn job_definition(&self, pool: &str) -> String {
        format!("proofyard-{}-{pool}", self.yard)
    }
    /// The dead-letter queue of a queue.
    pub fn dead_letters_of(queue: &str) -> String {
        match queue.strip_suffix(".fifo") {
            Some(stem) => format!("{stem}-dead.fifo"),
            None => format!("{queue}-dead"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_spec_calls_everything_the_same() {
        let spec =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/spec/yard.json"));
        let spec: serde_json::Value = serde_json::from_str(&spec.unwrap()).unwrap();
        let name = |place: &str| {
            let text = spec.pointer(place).unwrap().as_str().unwrap();
            text.replace("{yard}", "y").replace("{account}", "1").replace("{pool}", "cpu")
        };
        let names = Names::of("y").unwrap();
        assert_eq!(names.table(), name("/table/name"));
        assert_eq!(crate::store::table::EXPIRES_S, name("/table/ttl_attribute"));
        assert_eq!(names.bucket("1"), name("/bucket/name"));
        assert_eq!(names.blocks_queue(), name("/queues/blocks/name"));
        assert_eq!(names.results_queue(), name("/queues/results/name"));
        assert_eq!(names.ticks_queue(), name("/queues/ticks/name"));
        assert_eq!(names.follow_queue(), name("/queues/follow/name"));
        assert_eq!(names.nodes_secret(), name("/nodes/secret"));
        assert_eq!(names.notify_queue(), name("/queues/notify/name"));
        assert_eq!(names.sinks_secret(), name("/sinks/secret"));
        assert_eq!(names.propose_queue(), name("/queues/propose/name"));
        assert_eq!(names.keys_secret(), name("/proposer/secret"));
        assert_eq!(ACTS_TAG, name("/proposer/acts_tag"));
        assert_eq!(names.wake_queue("cpu"), name("/queues/wake/name"));
        assert_eq!(names.job_definition("cpu"), name("/pools/cpu/job_definition"));
        assert_eq!(Names::dead_letters_of("a.fifo"), "a-dead.fifo");
        assert_eq!(name("/queue_defaults/dead_letter_suffix"), "-dead");
    }

    #[test]
    fn a_name_that_a_bucket_could_not_have_is_refused() {
        for bad in ["", "Main", "a_b", "-a", "a-", "a--b", "a.b", &"a".repeat(33)] {
            let said = Names::of(bad).unwrap_err().to_string();
            assert!(said.contains(&format!("{bad:?}")), "{said}");
        }
        Names::of("main-2").unwrap();
    }
}
