//! The API of SP1's cluster: jobs in a database, under ids of whoever creates them; what they read and write is in a Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{content, field, number};
use crate::redis::Redis;
use crate::server::{Reply, Request, Service};

pub struct Sp1Cluster {
    pub redis: Arc<Redis>,
    /// How often a job is asked for before it is done.
    pub polls: u32,
    /// How jobs end, if not with a proof.
    pub ends_as: Option<Ended>,
    /// A proof is kept in pieces of so many bytes.
    pub piece_bytes: Option<usize>,
    pub proof: fn(&[u8]) -> Vec<u8>,
    /// The requests of all jobs.
    pub creates: Vec<Vec<u8>>,
    pub cancelled: Vec<String>,
    /// What a job says of its program, if not the truth.
    pub says_program: Option<&'static str>,
    jobs: BTreeMap<String, Job>,
}

#[derive(Clone, Default)]
pub struct Ended {
    pub status: u64,
    pub execution: Vec<u8>,
    pub extra_data: &'static str,
}

struct Job {
    create: Vec<u8>,
    /// Seconds since 1970.
    deadline: u64,
    polls_left: u32,
    ended: Option<Ended>,
}

pub const OK: u16 = 0;
pub const ALREADY_EXISTS: u16 = 6;
pub const INTERNAL: u16 = 13;
pub const UNAVAILABLE: u16 = 14;
const PENDING: u64 = 1;
const COMPLETED: u64 = 2;
pub const FAILED: u64 = 3;
pub const CANCELLED: u64 = 4;

impl Sp1Cluster {
    pub fn new(redis: Arc<Redis>) -> Sp1Cluster {
        Sp1Cluster {
            redis,
            polls: 2,
            ends_as: None,
            piece_bytes: None,
            proof: |input| [b"a proof of ", input].concat(),
            creates: Vec::new(),
            cancelled: Vec::new(),
            says_program: None,
            jobs: BTreeMap::new(),
        }
    }

    /// Its database is another one.
    pub fn restart(&mut self) {
        self.jobs.clear();
    }

    /// What is in work ends when it is asked for.
    pub fn finish(&mut self) {
        self.jobs.values_mut().for_each(|job| job.polls_left = 0);
        self.polls = 0;
    }

    /// Of all jobs that there are.
    pub fn deadline_was(&mut self, seconds: u64) {
        self.jobs.values_mut().for_each(|job| job.deadline = seconds);
    }

    fn create(&mut self, create: &[u8]) -> Reply {
        let id = text(create, 1);
        if self.jobs.contains_key(&id) {
            return Reply::new(ALREADY_EXISTS, "proof request already exists");
        }
        self.creates.push(create.to_vec());
        let deadline = u64::from_be_bytes(content(create, 7).unwrap().try_into().unwrap());
        self.jobs.insert(id, Job { create: create.to_vec(), deadline, polls_left: self.polls, ended: None });
        Reply::new(OK, Vec::new())
    }

    fn get(&mut self, id: &str) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else { return Reply::new(OK, Vec::new()) };
        if job.polls_left == 0 && job.ended.is_none() {
            job.ended = Some(self.ends_as.clone().unwrap_or(Ended { status: COMPLETED, ..Ended::default() }));
            let mut redis = self.redis.state();
            let stdin = redis.artifact(&text(&job.create, 3)).expect("the job's input");
            redis.artifact(&text(&job.create, 2)).expect("the job's program");
            let proof = (self.proof)(guest_reads(&stdin));
            match self.piece_bytes {
                Some(bytes) => redis.put_in_pieces(&text(&job.create, 5), &proof, bytes),
                None => redis.put_artifact(&text(&job.create, 5), &proof),
            }
        }
        job.polls_left = job.polls_left.saturating_sub(1);
        let ended = job.ended.clone().unwrap_or(Ended { status: PENDING, ..Ended::default() });
        let program = self.says_program.map_or_else(|| text(&job.create, 2), str::to_owned);
        let mut request = [
            field(1, id.as_bytes()),
            number(2, ended.status),
            field(5, text(&job.create, 3).as_bytes()),
            field(6, program.as_bytes()),
            number(11, job.deadline),
        ]
        .concat();
        if !ended.execution.is_empty() {
            request.extend(field(4, &ended.execution));
        }
        if !ended.extra_data.is_empty() {
            // Field 16 takes two bytes.
            request.extend([0x82, 0x01, u8::try_from(ended.extra_data.len()).unwrap()]);
            request.extend(ended.extra_data.as_bytes());
        }
        Reply::new(OK, field(1, &request))
    }

    fn cancel(&mut self, id: &str) -> Reply {
        if let Some(job) = self.jobs.get_mut(id) {
            job.ended.get_or_insert(Ended { status: CANCELLED, ..Ended::default() });
        }
        self.cancelled.push(id.to_owned());
        Reply::new(OK, Vec::new())
    }
}

/// `SP1Stdin` in bincode: one buffer, from its beginning, and no proofs.
fn guest_reads(stdin: &[u8]) -> &[u8] {
    let length = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    assert_eq!(length(&stdin[..8]), 1);
    let (input, rest) = stdin[16..].split_at(length(&stdin[8..16]) as usize);
    assert_eq!(rest, [0; 16]);
    input
}

fn text(message: &[u8], number: u8) -> String {
    String::from_utf8(content(message, number).unwrap()).unwrap()
}

impl Service for Sp1Cluster {
    fn answer(&mut self, request: &Request) -> Reply {
        match request.path.strip_prefix("/cluster.ClusterService/").unwrap() {
            "Healthcheck" => Reply::new(OK, Vec::new()),
            "ProofRequestCreate" => self.create(&request.body),
            "ProofRequestGet" => self.get(&text(&request.body, 1)),
            "ProofRequestCancel" => self.cancel(&text(&request.body, 1)),
            method => panic!("{method}"),
        }
    }
}
