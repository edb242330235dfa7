//! ZisK's coordinator: guests by their hash, jobs in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::{content, field, number};
use crate::server::{Reply, Request, Service};

pub struct Zisk {
    registered: BTreeSet<String>,
    set_up: BTreeSet<String>,
    /// How often a job is asked for before it is done.
    pub polls: u32,
    /// The `JobStatus` that jobs end with, if not with a proof.
    pub ends_as: Option<Vec<u8>>,
    /// What a proof says of its program, if not the truth.
    pub says_hash_id: Option<String>,
    pub says_key: Option<Vec<u8>>,
    pub proof: fn(&[u8]) -> Vec<u8>,
    /// The requests of all prove jobs.
    pub proves: Vec<Vec<u8>>,
    pub setups: u32,
    pub cancelled: Vec<String>,
    jobs: BTreeMap<String, Job>,
}

struct Job {
    /// None: it sets up.
    prove: Option<Vec<u8>>,
    hash_id: String,
    polls_left: u32,
    ended: Option<Vec<u8>>,
}

pub const OK: u16 = 0;
pub const NOT_FOUND: u16 = 5;
pub const RESOURCE_EXHAUSTED: u16 = 8;
pub const INTERNAL: u16 = 13;
pub const UNAVAILABLE: u16 = 14;

/// What `setup` answers.
pub const KEY: [u8; 32] = [4; 32];

/// A `JobStatus` of a failed job.
pub fn failed(kind: u8, reason: &str) -> Vec<u8> {
    field(5, &field(1, &field(kind, &field(1, reason.as_bytes()))))
}

impl Zisk {
    pub fn new() -> Zisk {
        Zisk {
            registered: BTreeSet::new(),
            set_up: BTreeSet::new(),
            polls: 2,
            ends_as: None,
            says_hash_id: None,
            says_key: None,
            proof: |input| [b"a proof of ", input].concat(),
            proves: Vec::new(),
            setups: 0,
            cancelled: Vec::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// All is forgotten.
    pub fn restart(&mut self) {
        self.registered.clear();
        self.set_up.clear();
        self.jobs.clear();
    }

    /// What is in work ends when it is asked for.
    pub fn finish(&mut self) {
        self.jobs.values_mut().for_each(|job| job.polls_left = 0);
        self.polls = 0;
    }

    fn create(&mut self, request: &[u8]) -> Reply {
        let kind = content(request, 1).unwrap();
        let (setup, prove) = (content(&kind, 1), content(&kind, 2));
        let hash_id =
            String::from_utf8(content(setup.as_ref().or(prove.as_ref()).unwrap(), 1).unwrap()).unwrap();
        if !self.registered.contains(&hash_id) {
            return Reply::new(NOT_FOUND, format!("Program not found: {hash_id}"));
        }
        if prove.is_some() && !self.set_up.contains(&hash_id) {
            return Reply::new(NOT_FOUND, format!("Program exists but setup is not complete: {hash_id}"));
        }
        let id = format!("8f0c6a52-0000-4000-8000-{:012}", self.jobs.len() + self.proves.len() + 1);
        self.setups += u32::from(prove.is_none());
        self.proves.extend(prove.clone());
        let polls_left = if prove.is_some() { self.polls } else { 1 };
        self.jobs.insert(id.clone(), Job { prove, hash_id, polls_left, ended: None });
        Reply::new(OK, field(1, id.as_bytes()))
    }

    fn wait(&mut self, id: &str) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else {
            return Reply::new(NOT_FOUND, format!("Job not found: {id}"));
        };
        let completed = field(4, b"");
        if job.polls_left == 0 && job.ended.is_none() {
            let ends_as = self.ends_as.clone().filter(|_| job.prove.is_some());
            job.ended = Some(ends_as.unwrap_or(completed.clone()));
        }
        job.polls_left = job.polls_left.saturating_sub(1);
        let status = job.ended.clone().unwrap_or(field(2, &number(1, 2)));
        let mut answer = [field(1, id.as_bytes()), field(2, &status)].concat();
        if status == completed {
            answer.extend(field(
                3,
                &match &job.prove {
                    None => {
                        self.set_up.insert(job.hash_id.clone());
                        field(1, &field(1, &KEY))
                    }
                    Some(prove) => {
                        let framed = content(&content(&content(prove, 2).unwrap(), 1).unwrap(), 1).unwrap();
                        let input = unframed(&framed);
                        let hash_id = self.says_hash_id.clone().unwrap_or(job.hash_id.clone());
                        let key = self.says_key.clone().unwrap_or(KEY.to_vec());
                        let proof = [
                            field(1, b"a uuid"),
                            field(2, hash_id.as_bytes()),
                            field(3, &key),
                            number(4, 2),
                            field(5, &(self.proof)(input)),
                            field(6, b"public"),
                            field(7, &number(1, 1000)),
                        ];
                        field(2, &[field(1, &proof.concat()), field(2, &number(1, 1000))].concat())
                    }
                },
            ));
        }
        Reply::new(OK, answer)
    }
}

/// What the guest reads.
fn unframed(framed: &[u8]) -> &[u8] {
    let length = u64::from_le_bytes(framed[..8].try_into().unwrap()) as usize;
    assert!(framed.len().is_multiple_of(8) && framed.len() < 8 + length + 8, "{framed:?}");
    &framed[8..8 + length]
}

impl Service for Zisk {
    fn answer(&mut self, request: &Request) -> Reply {
        assert_eq!(
            (&*request.headers["content-type"], &*request.headers["te"]),
            ("application/grpc", "trailers")
        );
        let text = || String::from_utf8(content(&request.body, 1).unwrap()).unwrap();
        match request.path.strip_prefix("/zisk.coordinator.v1.ZiskCoordinatorApi/").unwrap() {
            "RegisterGuestProgram" => {
                let hash_id = format!("hash of {}", text());
                self.registered.insert(hash_id.clone());
                Reply::new(OK, field(1, hash_id.as_bytes()))
            }
            "JobRequest" => self.create(&request.body),
            "WaitJobResult" => self.wait(&text()),
            "CancelJob" => {
                let id = text();
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.ended.get_or_insert(field(6, b""));
                }
                self.cancelled.push(id.clone());
                Reply::new(OK, [field(1, id.as_bytes()), number(2, 1)].concat())
            }
            method => panic!("{method}"),
        }
    }
}
