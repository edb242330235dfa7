//! A server with the Ethproofs API. Requests are validated against its public schema, `ethproofs.json`. One proof for each block
//! and cluster: after `proved` every call answers 409. `proving` and `proved` of a block that was never queued are refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::server::{Answer, Request, Server, status};

pub const TOKEN: &str = "the-key";
pub const CLUSTER: u64 = 7;

#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Endpoints called for this block, in order.
    pub said: Vec<String>,
    pub proof: Option<Value>,
}

#[derive(Clone, Default)]
pub struct Ethproofs(Arc<Mutex<BTreeMap<u64, Block>>>);

impl Ethproofs {
    pub fn start() -> (Self, Server) {
        let ethproofs = Self::default();
        let server = Server::start(ethproofs.answers());
        (ethproofs, server)
    }

    pub fn answers(&self) -> impl FnMut(&Request) -> Answer + Send + 'static {
        let ethproofs = self.clone();
        move |request| ethproofs.answer(request)
    }

    pub fn blocks(&self) -> BTreeMap<u64, Block> {
        self.0.lock().unwrap().clone()
    }

    pub fn proved(&self) -> usize {
        self.blocks().values().filter(|block| block.proof.is_some()).count()
    }

    /// Takes a request as the real one would.
    pub fn answer(&self, request: &Request) -> Answer {
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return status(401);
        }
        let known: Value = serde_json::from_str(include_str!("ethproofs.json")).unwrap();
        let Some(schema) = known.get(&request.path) else { return status(404) };
        let body: Value = match serde_json::from_slice(&request.body) {
            Ok(body) => body,
            Err(error) => return refused(error.to_string()),
        };
        if let Err(fault) = fits(&body, schema) {
            return refused(fault);
        }
        if body["cluster_id"] != CLUSTER {
            return status(404);
        }
        let word = request.path.trim_start_matches("/proofs/").to_owned();
        let mut blocks = self.0.lock().unwrap();
        let number = body["block_number"].as_u64().unwrap();
        if word != "queued" && !blocks.contains_key(&number) {
            return refused("no such block".into());
        }
        let block = blocks.entry(number).or_default();
        if block.proof.is_some() {
            return status(409);
        }
        if word == "proved" {
            block.proof = Some(body);
        }
        block.said.push(word);
        Answer::Status(200, Vec::new(), json!({ "proof_id": number }).to_string())
    }
}

fn refused(fault: String) -> Answer {
    Answer::Status(400, Vec::new(), json!({ "error": fault }).to_string())
}

fn fits(body: &Value, schema: &Value) -> Result<(), String> {
    let members = body.as_object().ok_or("it is no object")?;
    for name in schema["required"].as_array().unwrap() {
        members.get(name.as_str().unwrap()).ok_or(format!("{name} is missing"))?;
    }
    for (name, value) in members {
        let rule = schema["properties"].get(name).ok_or(format!("{name} is not known"))?;
        let is_right = match rule["type"].as_str().unwrap() {
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "string" => value.is_string(),
            other => panic!("{other}"),
        };
        let above = |key: &str, fits: fn(f64, f64) -> bool| {
            rule[key].as_f64().is_none_or(|least| value.as_f64().is_some_and(|value| fits(value, least)))
        };
        let in_range = above("minimum", |value, least| value >= least)
            && above("exclusiveMinimum", |value, least| value > least);
        if !is_right || !in_range {
            return Err(format!("{name} is {value}"));
        }
    }
    Ok(())
}
