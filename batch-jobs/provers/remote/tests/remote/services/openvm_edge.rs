//! The manager of an OpenVM edge cluster: one proof at a time, states in memory, proofs on a disk that outlives a restart.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::server::{Before, Reply, Request, Service};

pub struct Edge {
    pub programs: Vec<(String, u32)>,
    pub baseline: Option<Vec<u8>>,
    /// How often a job is asked for before it is done.
    pub polls: u32,
    /// What a job ends as, if not with a proof: `{"failed": "..."}`, `"canceled"`.
    pub ends_as: Option<Value>,
    /// What its state says which program it is of, if not the truth.
    pub says_program: Option<Value>,
    pub proof: fn(&[u8]) -> Vec<u8>,
    /// The ids of all that were started, each once for each time.
    pub started: Vec<String>,
    pub cancelled: Vec<String>,
    /// Done before the next answer to a start.
    pub before_start: Option<Before>,
    staged: BTreeMap<String, Vec<u8>>,
    jobs: BTreeMap<String, Job>,
    disk: BTreeMap<String, Vec<u8>>,
}

struct Job {
    program: Value,
    input: Vec<u8>,
    polls_left: u32,
    status: Value,
}

impl Edge {
    pub fn new() -> Edge {
        Edge {
            programs: vec![("reth".into(), 2), ("other".into(), 0)],
            baseline: Some(b"a verification baseline".to_vec()),
            polls: 2,
            ends_as: None,
            says_program: None,
            proof: |input| [b"a proof of ", input].concat(),
            started: Vec::new(),
            cancelled: Vec::new(),
            before_start: None,
            staged: BTreeMap::new(),
            jobs: BTreeMap::new(),
            disk: BTreeMap::new(),
        }
    }

    /// All that is in memory is lost.
    pub fn restart(&mut self) {
        self.staged.clear();
        self.jobs.clear();
    }

    /// What is in work ends when it is asked for.
    pub fn finish(&mut self) {
        self.jobs.values_mut().for_each(|job| job.polls_left = 0);
        self.polls = 0;
    }

    fn loadout(&self) -> Value {
        self.programs.iter().map(|(name, version)| json!({"name": name, "version": version})).collect()
    }

    fn start(&mut self, request: &Value) -> Reply {
        let id = request["proof_uuid"].as_str().unwrap().to_string();
        let program = request["program"].clone();
        if !self.loadout().as_array().unwrap().contains(&program) {
            let error = json!({"error": "program_not_in_loadout", "message": "Program is not in the current loadout",
                "current_loadout": self.loadout()});
            return Reply::json(409, &error);
        }
        if self.jobs.values().any(|job| job.status == "in_progress") {
            return Reply::json(409, &json!({"error": "Another proof is already running"}));
        }
        if self.jobs.contains_key(&id) {
            return Reply::json(409, &json!({"error": "Proof already exists"}));
        }
        let Some(input) = self.staged.remove(&id) else {
            return Reply::json(500, &json!({"error": "no input staged for proof", "proof_uuid": id}));
        };
        self.started.push(id.clone());
        let job = Job { program, input, polls_left: self.polls, status: json!("in_progress") };
        self.jobs.insert(id.clone(), job);
        let reply = Reply::json(200, &json!({"proof_uuid": id, "status": "started", "num_workers": 1}));
        Reply { before: self.before_start.take(), ..reply }
    }

    fn state(&mut self, id: &str) -> Reply {
        let Some(job) = self.jobs.get_mut(id) else {
            return Reply::json(404, &json!({"error": "Proof not found"}));
        };
        if job.status == "in_progress" && job.polls_left == 0 {
            job.status = self.ends_as.clone().unwrap_or(json!("completed"));
            if job.status == "completed" {
                self.disk.insert(id.into(), (self.proof)(&job.input));
            }
        }
        job.polls_left = job.polls_left.saturating_sub(1);
        let program = self.says_program.clone().unwrap_or(job.program.clone());
        let state = json!({"proof_uuid": id, "program": program, "status": job.status, "num_segments": 4,
            "num_instructions": 1000, "proof_start_time": "2026-01-01T00:00:00Z", "e2e_latency_ms": null,
            "app_proofs_count": 1, "leaf_proofs_count": 0, "internal_proofs_count": 0,
            "last_updated": "2026-01-01T00:00:30Z"});
        Reply::json(200, &state)
    }
}

impl Service for Edge {
    fn answer(&mut self, request: &Request) -> Reply {
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["loadout"]) => Reply::json(200, &json!({"programs": self.loadout()})),
            ("GET", ["vk", _]) => match &self.baseline {
                Some(baseline) => Reply::new(200, baseline.clone()),
                None => Reply::json(404, &json!({"error": "no baseline for program on this deployment"})),
            },
            ("POST", ["upload_input", id]) => {
                let input = stdin(part(request, "input"));
                self.staged.insert((*id).into(), input);
                Reply::new(200, "Input staged")
            }
            ("POST", ["start_proof"]) => self.start(&request.json()),
            ("GET", ["proof_state", id]) => self.state(id),
            ("GET" | "HEAD", ["proof", id]) => match self.disk.get(*id) {
                Some(proof) => Reply::new(200, proof.clone()),
                None => Reply::new(404, "proof not found"),
            },
            ("POST", ["cancel_proof"]) => {
                let id = request.json()["proof_uuid"].as_str().unwrap().to_string();
                if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.status == "in_progress") {
                    job.status = json!("canceled");
                }
                self.cancelled.push(id);
                Reply::json(200, &json!({"status": "canceled"}))
            }
            _ => Reply::new(404, ""),
        }
    }
}

/// The content of the form's one part.
fn part<'a>(request: &'a Request, name: &str) -> &'a [u8] {
    let boundary = request.headers["content-type"].strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = &request.body[..];
    let head_end = body.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&body[..head_end]).unwrap();
    assert!(head.starts_with(&format!("--{boundary}\r\n")), "{head}");
    assert!(head.contains(&format!("name=\"{name}\"")), "{head}");
    body[head_end + 4..].strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes()).unwrap()
}

/// What the guest reads of a `StdIn` of one buffer.
fn stdin(bytes: &[u8]) -> Vec<u8> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let length = usize::try_from(number(8)).unwrap();
    assert_eq!((number(0), number(16 + length), bytes.len()), (1, 0, length + 24));
    bytes[16..16 + length].to_vec()
}
