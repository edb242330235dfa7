//! ere-server: Twirp with protobuf. Its proofs say which program and input they are of.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::field;
use crate::server::{Reply, Request, Service};

pub struct Ere {
    pub key: Vec<u8>,
    /// What the zkVM says instead of proving.
    pub zkvm_error: Option<&'static str>,
    /// Proving takes until this is set, or the call is left.
    pub goes_on: Arc<AtomicBool>,
    /// How many calls were closed while they waited.
    pub left: Arc<AtomicU32>,
    /// The key from the moment on when something is proved.
    pub key_afterwards: Option<Vec<u8>>,
    pub is_empty: bool,
    pub proves: u32,
}

impl Ere {
    pub fn new() -> Ere {
        Ere {
            key: b"a program's key".to_vec(),
            zkvm_error: None,
            goes_on: Arc::new(AtomicBool::new(true)),
            left: Arc::default(),
            key_afterwards: None,
            is_empty: false,
            proves: 0,
        }
    }

    pub fn proof(&self, input: &[u8]) -> Vec<u8> {
        [&self.key[..], b": ", input].concat()
    }
}

/// What a guest here says of its input.
pub fn public_values(input: &[u8]) -> Vec<u8> {
    input.iter().rev().copied().collect()
}

impl Service for Ere {
    fn answer(&mut self, request: &Request) -> Reply {
        match request.route().as_str() {
            "GET /health" => Reply::new(200, ""),
            "POST /twirp/api.ZkvmService/ProgramVk" => ok(&field(1, &self.key)),
            "POST /twirp/api.ZkvmService/Execute" => {
                ok(&field(1, &public_values(first_field(&request.body))))
            }
            "POST /twirp/api.ZkvmService/Prove" => {
                assert_eq!(request.headers["content-type"], "application/protobuf");
                self.proves += 1;
                if let Some(error) = self.zkvm_error {
                    return Reply::new(200, field(2, error.as_bytes()));
                }
                let input = first_field(&request.body);
                let proof = if self.is_empty { Vec::new() } else { field(2, &self.proof(input)) };
                let message = [field(1, &public_values(input)), proof, field(3, b"a report")].concat();
                if let Some(key) = self.key_afterwards.take() {
                    self.key = key;
                }
                let (goes_on, left) = (Arc::clone(&self.goes_on), Arc::clone(&self.left));
                Reply { before: Some(Box::new(move |stream| waits(stream, &goes_on, &left))), ..ok(&message) }
            }
            "POST /twirp/api.ZkvmService/Verify" => {
                let proof = first_field(&request.body);
                let Some(separator) = proof.windows(2).position(|two| two == b": ") else {
                    let error = json!({"code": "invalid_argument", "msg": "failed to decode proof"});
                    return Reply::json(400, &error);
                };
                match proof[..separator] == self.key {
                    true => ok(&field(1, &public_values(&proof[separator + 2..]))),
                    false => Reply::new(200, field(2, b"verification failed")),
                }
            }
            _ => Reply::json(404, &json!({"code": "bad_route", "msg": "no such route"})),
        }
    }
}

/// Whether the caller still waits once it may go on.
fn waits(stream: &TcpStream, goes_on: &AtomicBool, left: &AtomicU32) -> bool {
    stream.set_nonblocking(true).unwrap();
    while !goes_on.load(Ordering::Acquire) {
        if matches!(stream.peek(&mut [0]), Ok(0)) {
            left.fetch_add(1, Ordering::Release);
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    stream.set_nonblocking(false).unwrap();
    true
}

fn ok(message: &[u8]) -> Reply {
    Reply::new(200, field(1, message)).header("content-type", "application/protobuf")
}

/// The one field, number 1, of a message; inputs and proofs here are short.
fn first_field(message: &[u8]) -> &[u8] {
    assert!(message[0] == 0x0a && message[1] < 0x80, "{message:?}");
    assert_eq!(message.len(), usize::from(message[1]) + 2);
    &message[2..]
}
