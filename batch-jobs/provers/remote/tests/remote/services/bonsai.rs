//! Bonsai, or Bento, which does not know how to stop a session and answers 500 about jobs that it does not know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::server::{Reply, Request, Service};

pub struct Bonsai {
    pub is_bento: bool,
    pub images: BTreeSet<String>,
    /// How often a job is asked for before it is done.
    pub polls: u32,
    /// The status and the message that a job ends with, if not with a receipt.
    pub ends_as: Option<(&'static str, &'static str)>,
    /// Where inputs are uploaded, if not here.
    pub uploads: Option<String>,
    pub receipt: fn(&[u8]) -> Vec<u8>,
    /// What was asked for, in order.
    pub sessions: Vec<Value>,
    pub snarks: Vec<Value>,
    pub stopped: Vec<String>,
    inputs: BTreeMap<String, Vec<u8>>,
    jobs: BTreeMap<String, Job>,
    given: u32,
}

struct Job {
    input: Vec<u8>,
    polls_left: u32,
    /// What it has ended with.
    ended: Option<Option<(&'static str, &'static str)>>,
}

pub const IMAGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl Bonsai {
    pub fn new() -> Bonsai {
        Bonsai {
            is_bento: false,
            images: [IMAGE.to_string()].into(),
            polls: 2,
            ends_as: None,
            uploads: None,
            receipt: |input| [b"a receipt of ", input].concat(),
            sessions: Vec::new(),
            snarks: Vec::new(),
            stopped: Vec::new(),
            inputs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            given: 0,
        }
    }

    pub fn bento() -> Bonsai {
        Bonsai { is_bento: true, ..Bonsai::new() }
    }

    /// It knows no job any more.
    pub fn restart(&mut self) {
        self.jobs.clear();
    }

    /// What is in work ends when it is asked for.
    pub fn finish(&mut self) {
        self.jobs.values_mut().for_each(|job| job.polls_left = 0);
        self.polls = 0;
    }

    pub fn upload(&mut self, id: &str, input: &[u8]) {
        self.inputs.insert(id.into(), input.to_vec());
    }

    fn id(&mut self) -> String {
        self.given += 1;
        format!("8f0c6a52-0000-4000-8000-{:012}", self.given)
    }

    fn create(&mut self, input: Vec<u8>) -> Reply {
        let (id, polls_left) = (self.id(), self.polls);
        self.jobs.insert(id.clone(), Job { input, polls_left, ended: None });
        Reply::json(200, &json!({"uuid": id}))
    }

    fn status(&mut self, id: &str, field: &str, url: &str) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else {
            return match self.is_bento {
                true => Reply::json(500, &json!({"type": "InternalErr", "msg": "internal error"})),
                false => Reply::json(404, &json!({"type": "NotFound", "msg": "no such session"})),
            };
        };
        if job.polls_left == 0 {
            job.ended.get_or_insert(self.ends_as);
        }
        job.polls_left = job.polls_left.saturating_sub(1);
        let mut status = json!({"status": "RUNNING", "state": "ProveSegments: 1/4", "error_msg": null,
            "receipt_url": null, "output": null, "elapsed_time": 1.5, "stats": null});
        match job.ended {
            None => {}
            Some(Some((ended, why))) => {
                status["status"] = json!(ended);
                status["error_msg"] = json!(why);
            }
            Some(None) => {
                status["status"] = json!("SUCCEEDED");
                status[field] = json!(url);
                status["stats"] = json!({"segments": 4, "total_cycles": 2000, "cycles": 1000});
            }
        }
        Reply::json(200, &status)
    }
}

impl Service for Bonsai {
    fn answer(&mut self, request: &Request) -> Reply {
        let here = format!("http://{}", request.headers["host"]);
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["images", "upload", id]) if self.images.contains(*id) => Reply::new(204, ""),
            ("GET", ["images", "upload", id]) => {
                Reply::json(200, &json!({"url": format!("{here}/images/upload/{id}")}))
            }
            ("PUT", ["images", "upload", id]) => {
                assert_eq!(request.body, b"an ELF");
                self.images.insert((*id).into());
                Reply::new(200, "")
            }
            ("GET", ["inputs", "upload"]) => {
                let (id, to) = (self.id(), self.uploads.clone().unwrap_or(here));
                Reply::json(200, &json!({"uuid": id, "url": format!("{to}/inputs/upload/{id}")}))
            }
            ("PUT", ["inputs", "upload", id]) => {
                self.upload(id, &request.body);
                Reply::new(200, "")
            }
            ("POST", ["sessions", "create"]) => {
                let session = request.json();
                let input = self.inputs[session["input"].as_str().unwrap()].clone();
                self.sessions.push(session);
                self.create(input)
            }
            ("POST", ["snark", "create"]) => {
                let snark = request.json();
                let input =
                    [b"snark: ", &self.jobs[snark["session_id"].as_str().unwrap()].input[..]].concat();
                self.snarks.push(snark);
                self.create(input)
            }
            ("GET", ["sessions", "status", id]) => {
                self.status(id, "receipt_url", &format!("{here}/receipts/stark/receipt/{id}"))
            }
            ("GET", ["snark", "status", id]) => {
                self.status(id, "output", &format!("{here}/receipts/groth16/receipt/{id}"))
            }
            ("GET", ["sessions", "stop", id]) if !self.is_bento => {
                self.stopped.push((*id).into());
                Reply::new(200, "")
            }
            ("GET", ["receipts", _, "receipt", id]) => match self.jobs.get(*id) {
                Some(job) => Reply::new(200, (self.receipt)(&job.input)),
                None => Reply::json(404, &json!({"type": "ReceiptMissing", "msg": "receipt does not exist"})),
            },
            _ => Reply::new(404, ""),
        }
    }
}
