//! What stands between a yard and its node, and makes a bad node of a good one.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Message, answer, ask, post, read_message};

/// How the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Well,
    /// It takes no connection for longer than it needs to close it.
    HangsUp,
    /// It reads, and says nothing.
    Silence,
    /// 429, and that it may be asked again after a second.
    TooMany,
    ServerError,
    /// A page for people.
    Html,
    /// The first half of the answer.
    HalfAnswer,
    /// Blocks whose headers do not hash to their names.
    Lies,
    OtherChain,
    /// One request of a batch is not answered.
    LosesOne,
    /// Batches are refused; single requests are not.
    NoBatches,
    /// Batches are refused, and each fifth request for a whole block fails.
    NoBatchesAndSomeFail,
    /// It has no witness of any block yet.
    NoWitness,
    /// The witness of the block above.
    OtherWitness,
    /// Half of a witness, and then the connection ends.
    HalfWitness,
    /// It knows no witnesses.
    NoSuchMethod,
}

pub struct Between {
    pub at: SocketAddr,
    does: Arc<Mutex<Does>>,
    asked: Arc<AtomicUsize>,
    witnesses: Arc<AtomicUsize>,
}

impl Between {
    pub fn start(node: SocketAddr) -> Self {
        Self::start_with_witnesses_of(node, 1_000)
    }

    pub fn start_with_witnesses_of(node: SocketAddr, witness_bytes: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let does = Arc::new(Mutex::new(Does::Well));
        let (asked, witnesses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let state = Arc::new(State {
            node,
            does: Arc::clone(&does),
            asked: Arc::clone(&asked),
            witnesses: Arc::clone(&witnesses),
            whole_blocks: AtomicUsize::new(0),
            witness_bytes,
        });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { at, does, asked, witnesses }
    }

    pub fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// Witnesses that were asked for until now.
    pub fn witnesses(&self) -> usize {
        self.witnesses.load(Ordering::Relaxed)
    }

    /// Requests until now.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }
}

struct State {
    node: SocketAddr,
    does: Arc<Mutex<Does>>,
    asked: Arc<AtomicUsize>,
    witnesses: Arc<AtomicUsize>,
    whole_blocks: AtomicUsize,
    witness_bytes: usize,
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let Ok(mut output) = stream.try_clone() else { return };
        let mut input = BufReader::new(stream);
        while let Some(request) = read_message(&mut input) {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let now = *self.does.lock().unwrap();
            let Some(answer) = self.answer_to(&request, now) else { break };
            let is_half = matches!(now, Does::HalfAnswer | Does::HalfWitness);
            if output.write_all(&answer).is_err() || is_half {
                break;
            }
        }
        let _ = output.shutdown(Shutdown::Both);
    }

    fn answer_to(&self, request: &Message, does: Does) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(&request.body);
        if text.contains("debug_executionWitness") {
            self.witnesses.fetch_add(1, Ordering::Relaxed);
        }
        if does == Does::NoBatchesAndSomeFail && !text.starts_with('[') && text.contains("true]") {
            let number = self.whole_blocks.fetch_add(1, Ordering::Relaxed);
            if number % 5 == 4 {
                return Some(answer("500 Internal Server Error", "", b""));
            }
        }
        answer_to(request, self.node, does, self.witness_bytes)
    }
}

/// `None` where the connection ends instead.
fn answer_to(request: &Message, node: SocketAddr, does: Does, witness_bytes: usize) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(&request.body).into_owned();
    let is_batch = text.trim_start().starts_with('[');
    match does {
        Does::HangsUp => return None,
        Does::Silence => {
            thread::sleep(Duration::from_secs(20));
            return None;
        }
        Does::TooMany => return Some(answer("429 Too Many Requests", "retry-after: 1\r\n", b"slow down")),
        Does::ServerError => return Some(answer("500 Internal Server Error", "", b"")),
        Does::Html => return Some(answer("200 OK", "", b"<html><body>Please log in</body></html>")),
        Does::NoBatches | Does::NoBatchesAndSomeFail if is_batch => {
            let refusal =
                br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batches are not taken"}}"#;
            return Some(answer("200 OK", "", refusal));
        }
        _ => {}
    }
    if text.contains("debug_executionWitness") {
        return witness(&text, node, does, witness_bytes);
    }
    let body = post(node, &request.body)?;
    let body = match does {
        Does::HalfAnswer => {
            let whole = answer("200 OK", "", &body);
            return Some(whole[..whole.len() - body.len() / 2].to_vec());
        }
        Does::Lies => {
            String::from_utf8(body).unwrap().replace("\"gasLimit\":\"0x", "\"gasLimit\":\"0x1").into_bytes()
        }
        Does::OtherChain if text.contains("eth_chainId") => {
            let mut said: Value = serde_json::from_slice(&body).unwrap();
            said["result"] = "0x5".into();
            said.to_string().into_bytes()
        }
        Does::LosesOne if is_batch => {
            let mut said: Vec<Value> = serde_json::from_slice(&body).unwrap();
            said.pop();
            serde_json::to_vec(&said).unwrap()
        }
        _ => body,
    };
    Some(answer("200 OK", "", &body))
}

/// Anvil has no witnesses: here is something of the same form, of any size.
fn witness(request: &str, node: SocketAddr, does: Does, bytes: usize) -> Option<Vec<u8>> {
    let request: Value = serde_json::from_str(request).unwrap();
    let height = u64::from_str_radix(request["params"][0].as_str()?.trim_start_matches("0x"), 16).ok()?;
    let of = if does == Does::OtherWitness { height + 1 } else { height };
    let parent = ask(node, "eth_getBlockByNumber", &json!([format!("{:#x}", of - 1), false]))?;
    let state = "ab".repeat(bytes / 2);
    let body = match does {
        Does::NoWitness => json!({ "jsonrpc": "2.0", "id": request["id"], "result": null }).to_string(),
        Does::NoSuchMethod => {
            let error = json!({ "code": -32601, "message": "the method does not exist" });
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string()
        }
        _ => format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"state\":[\"0x{state}\"],\"codes\":[],\"headers\":[{{\"hash\":{}}}]}}}}",
            parent["hash"]
        ),
    };
    let whole = answer("200 OK", "", body.as_bytes());
    let end = if does == Does::HalfWitness { whole.len() - body.len() / 2 } else { whole.len() };
    Some(whole[..end].to_vec())
}

/// Passes bytes on, both ways, until it is told to keep those of the node to itself: a WebSocket that stays open and says
/// nothing.
pub struct Wire {
    pub at: SocketAddr,
    is_mute: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
}

impl Wire {
    pub fn start(node: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (is_mute, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (mute, count) = (Arc::clone(&is_mute), Arc::clone(&connections));
        thread::spawn(move || {
            for yard in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let Ok(node) = TcpStream::connect(node) else { continue };
                let (from_yard, to_node) = (yard.try_clone().unwrap(), node.try_clone().unwrap());
                thread::spawn(move || pass(from_yard, to_node, &AtomicBool::new(false)));
                let mute = Arc::clone(&mute);
                thread::spawn(move || pass(node, yard, &mute));
            }
        });
        Self { at, is_mute, connections }
    }

    pub fn mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::Relaxed);
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn ws(&self) -> String {
        format!("ws://{}", self.at)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_mute: &AtomicBool) {
    let mut bytes = [0; 16_384];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if !is_mute.load(Ordering::Relaxed) && to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
