//! A consensus client and an execution client, as far as the engine API between them goes: payloads whose hashes are true, answers
//! byte for byte, and an execution client that fails in each way.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha3::{Digest, Keccak256};

use crate::http::{Message, answer, read_message};

/// What the consensus client brings with each call. Nobody but the execution client may look into it.
pub const TOKEN: &str = "Bearer eyJ0eXAiOiJKV1QifQ.eyJpYXQiOjF9.c2lnbmF0dXJl";
const NO_ITEMS: &str = "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421";
const NO_UNCLES: &str = "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";
const NO_REQUESTS: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Of all blocks here.
const BEACON_ROOT: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A block as the consensus client has it.
#[derive(Clone, Debug)]
pub struct Payload {
    pub height: u64,
    pub hash: String,
    pub parent: String,
    extra: u8,
}

impl Payload {
    /// The first of a chain.
    pub fn first() -> Self {
        Self::genesis().next()
    }

    /// Nobody is told of it; its header is in the first one's witness.
    fn genesis() -> Self {
        Self::of(0, &format!("0x{}", "00".repeat(32)), 0)
    }

    pub fn next(&self) -> Self {
        self.sibling_of_next(0)
    }

    /// Another one at the same place for each number.
    pub fn sibling_of_next(&self, extra: u8) -> Self {
        Self::of(self.height + 1, &self.hash, extra)
    }

    /// The next ones.
    pub fn chain(&self, blocks: usize) -> Vec<Self> {
        let mut all = vec![self.next()];
        while all.len() < blocks {
            all.push(all[all.len() - 1].next());
        }
        all
    }

    fn of(height: u64, parent: &str, extra: u8) -> Self {
        let mut payload = Self { height, hash: String::new(), parent: parent.to_owned(), extra };
        payload.hash = format!("0x{}", hex(&Keccak256::digest(payload.header())));
        payload
    }

    fn header(&self) -> Vec<u8> {
        let bytes = |digits: &str| rlp(&unhex(digits.trim_start_matches("0x")));
        let number = |number: u64| {
            rlp(&number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect::<Vec<u8>>())
        };
        let fields = [
            bytes(&self.parent),
            bytes(NO_UNCLES),
            rlp(&[0xaa; 20]),
            rlp(&[0x01; 32]),
            bytes(NO_ITEMS),
            rlp(&[0x02; 32]),
            rlp(&[0; 256]),
            number(0),
            number(self.height),
            number(30_000_000),
            number(0),
            number(self.timestamp_s()),
            rlp(&[self.extra; 2]),
            rlp(&[0x03; 32]),
            rlp(&[0; 8]),
            number(7),
            bytes(NO_ITEMS),
            number(0),
            number(0),
            bytes(BEACON_ROOT),
            bytes(NO_REQUESTS),
            rlp(&Keccak256::digest([0xc0])),
            number(self.height),
        ];
        rlp_list(&fields.concat())
    }

    fn timestamp_s(&self) -> u64 {
        1_800_000_000 + 12 * self.height
    }

    /// The call that brings it.
    pub fn call(&self, method: &str) -> String {
        let payload = json!({
            "parentHash": self.parent,
            "feeRecipient": format!("0x{}", "aa".repeat(20)),
            "stateRoot": format!("0x{}", "01".repeat(32)),
            "receiptsRoot": format!("0x{}", "02".repeat(32)),
            "logsBloom": format!("0x{}", "00".repeat(256)),
            "prevRandao": format!("0x{}", "03".repeat(32)),
            "blockNumber": format!("{:#x}", self.height),
            "gasLimit": "0x1c9c380",
            "gasUsed": "0x0",
            "timestamp": format!("{:#x}", self.timestamp_s()),
            "extraData": format!("0x{}", hex(&[self.extra; 2])),
            "baseFeePerGas": "0x7",
            "blockHash": self.hash,
            "transactions": [],
            "withdrawals": [],
            "blobGasUsed": "0x0",
            "excessBlobGas": "0x0",
            "blockAccessList": "0xc0",
            "slotNumber": format!("{:#x}", self.height),
        });
        // Blanks that nobody may take away.
        format!(
            "{{\"jsonrpc\":\"2.0\", \"id\" : {}, \"method\":\"{method}\",\"params\":[{payload},[],\"0x{BEACON_ROOT}\",[]]}}",
            self.height
        )
    }

    /// What an execution client answers to that.
    pub fn valid(&self) -> String {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"status\":\"VALID\",\"latestValidHash\":\"{}\",\"validationError\":null}}}}",
            self.height, self.hash
        )
    }

    /// A witness of it, as RLP: a header whose hash is its parent, if it is the child of `parent`.
    fn witness(&self, parent: Option<&Payload>, bytes: usize) -> Vec<u8> {
        let headers = parent.map(Payload::header).unwrap_or_default();
        let state = rlp(&vec![0xab; bytes]);
        rlp_list(&[rlp_list(&headers), rlp_list(&rlp(&[0x60, 0x00])), rlp_list(&state)].concat())
    }
}

fn rlp(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [prefix(0x80, bytes.len()), bytes.to_vec()].concat(),
    }
}

fn rlp_list(payload: &[u8]) -> Vec<u8> {
    [prefix(0xc0, payload.len()), payload.to_vec()].concat()
}

fn prefix(kind: u8, length: usize) -> Vec<u8> {
    if length < 56 {
        return vec![kind + u8::try_from(length).unwrap()];
    }
    let length: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    [vec![kind + 55 + u8::try_from(length.len()).unwrap()], length].concat()
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// What the execution client does with the calls that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Well,
    /// The witness as an object instead of RLP.
    WitnessAsObject,
    /// It refuses the token.
    Refuses,
    /// It says nothing to what asks for a witness.
    SilentWithWitness,
    /// It says nothing to anything.
    Silent,
    HangsUp,
    HangsUpWithWitness,
    NoSuchMethod,
    /// It cannot build a witness.
    WitnessFails,
    Invalid,
    Syncing,
    /// What it calls a witness is none.
    MalformedWitness,
    /// It is of another block.
    OtherWitness,
    NoWitness,
    /// Its answer with a witness ends in the middle.
    HalfWitness,
    Html,
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub method: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// An execution client.
pub struct Execution {
    pub at: SocketAddr,
    does: Arc<Mutex<Does>>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    known: Arc<Mutex<Vec<Payload>>>,
    witness_bytes: Arc<Mutex<usize>>,
}

/// How long a payload takes to be executed.
static EXECUTION_MS: AtomicU64 = AtomicU64::new(0);
/// The last answer with a witness, so that giving it again takes no time.
static LAST_ANSWER: Mutex<Option<(String, usize, Vec<u8>)>> = Mutex::new(None);

impl Execution {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let execution = Self {
            at: listener.local_addr().unwrap(),
            does: Arc::new(Mutex::new(Does::Well)),
            arrived: Arc::default(),
            known: Arc::default(),
            witness_bytes: Arc::new(Mutex::new(1_000)),
        };
        let (does, arrived) = (Arc::clone(&execution.does), Arc::clone(&execution.arrived));
        let (known, bytes) = (Arc::clone(&execution.known), Arc::clone(&execution.witness_bytes));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (does, arrived) = (Arc::clone(&does), Arc::clone(&arrived));
                let (known, bytes) = (Arc::clone(&known), Arc::clone(&bytes));
                thread::spawn(move || serve(stream, &does, &arrived, &known, &bytes));
            }
        });
        execution
    }

    pub fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// From now on, of all here.
    pub fn takes_ms(&self, execution_ms: u64) {
        EXECUTION_MS.store(execution_ms, Ordering::Relaxed);
    }

    pub fn witness_bytes(&self, bytes: usize) {
        *self.witness_bytes.lock().unwrap() = bytes;
    }

    /// It knows of these blocks, so that it can answer about them.
    pub fn knows(&self, payload: &Payload) {
        self.known.lock().unwrap().push(payload.clone());
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    pub fn last(&self) -> Arrived {
        self.arrived().pop().expect("a call arrived")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }
}

fn serve(
    stream: TcpStream,
    does: &Mutex<Does>,
    arrived: &Mutex<Vec<Arrived>>,
    known: &Mutex<Vec<Payload>>,
    witness_bytes: &Mutex<usize>,
) {
    let Ok(mut output) = stream.try_clone() else { return };
    let _ = output.set_nodelay(true);
    let mut input = BufReader::new(stream);
    while let Some(Message { head, body }) = read_message(&mut input) {
        let method = method_of(&body);
        arrived.lock().unwrap().push(Arrived { method: method.clone(), head, body: body.clone() });
        let does = *does.lock().unwrap();
        let with_witness = method == "engine_newPayloadWithWitnessV5";
        if method.starts_with("engine_newPayload") {
            thread::sleep(Duration::from_millis(EXECUTION_MS.load(Ordering::Relaxed)));
        }
        let known = known.lock().unwrap();
        let bytes = *witness_bytes.lock().unwrap();
        let said = match does {
            Does::HangsUp => break,
            Does::HangsUpWithWitness if with_witness => break,
            Does::Silent => return silent(known),
            Does::SilentWithWitness if with_witness => return silent(known),
            _ => answer_to(&method, &body, does, &known, bytes),
        };
        drop(known);
        let end = match does {
            Does::HalfWitness if with_witness => said.len() - 200,
            _ => said.len(),
        };
        if output.write_all(&said[..end]).is_err() || end < said.len() {
            break;
        }
    }
    let _ = output.shutdown(Shutdown::Both);
}

fn silent(locked: impl Sized) {
    drop(locked);
    thread::sleep(Duration::from_secs(20));
}

/// Where the text says it, without reading all of a call.
fn method_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let after = text.split_once("\"method\":\"").map_or("", |(_, after)| after);
    after.split('"').next().unwrap_or_default().to_owned()
}

fn answer_to(method: &str, body: &[u8], does: Does, known: &[Payload], witness_bytes: usize) -> Vec<u8> {
    let ok = |text: String| answer("200 OK", "x-of: the execution client\r\n", text.as_bytes());
    let error = |code: i64| {
        ok(format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{{\"code\":{code},\"message\":\"it says no\"}}}}"
        ))
    };
    if does == Does::Refuses {
        return answer("401 Unauthorized", "", b"token is too old");
    }
    if does == Does::Html {
        return answer("200 OK", "", b"<html>");
    }
    if method.starts_with("engine_forkchoiceUpdated") {
        return ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"payloadStatus\":{\"status\":\"VALID\"},\"payloadId\":null}}".into());
    }
    if !method.starts_with("engine_newPayload") {
        return ok("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":[ \"as it is\" ]}".into());
    }
    let with_witness = method == "engine_newPayloadWithWitnessV5";
    let text = String::from_utf8_lossy(body);
    let Some(payload) =
        known.iter().rev().find(|payload| text.contains(&format!("\"blockHash\":\"{}\"", payload.hash)))
    else {
        return error(-32_602);
    };
    match does {
        Does::NoSuchMethod if with_witness => return error(-32_601),
        Does::WitnessFails if with_witness => return error(-32_603),
        Does::Invalid => return ok(payload.valid().replace("VALID", "INVALID")),
        Does::Syncing => return ok(payload.valid().replace("VALID", "SYNCING")),
        _ => {}
    }
    if !with_witness || does == Does::NoWitness {
        return ok(payload.valid());
    }
    if does == Does::Well
        && let Some((hash, bytes, answer)) = LAST_ANSWER.lock().unwrap().as_ref()
        && (hash, *bytes) == (&payload.hash, witness_bytes)
    {
        return answer.clone();
    }
    let genesis = Payload::genesis();
    let parent = known.iter().rev().chain([&genesis]).find(|other| other.hash == payload.parent);
    let other = Payload::of(payload.height, &payload.parent, 77);
    let witness = match does {
        Does::MalformedWitness => "\"0xc3c0c0\"".to_owned(),
        Does::OtherWitness => format!("\"0x{}\"", hex(&payload.witness(Some(&other), witness_bytes))),
        Does::WitnessAsObject => {
            let header = parent.map(|parent| format!("\"0x{}\"", hex(&parent.header()))).unwrap_or_default();
            format!(
                "{{\"state\":[\"0x{}\"],\"codes\":[],\"headers\":[{header}]}}",
                hex(&vec![0xab; witness_bytes])
            )
        }
        _ => format!("\"0x{}\"", hex(&payload.witness(parent, witness_bytes))),
    };
    let with = format!("\"witness\":{witness},\"latestValidHash\"");
    let answer = ok(payload.valid().replace("\"latestValidHash\"", &with));
    if does == Does::Well {
        *LAST_ANSWER.lock().unwrap() = Some((payload.hash.clone(), witness_bytes, answer.clone()));
    }
    answer
}

/// A consensus client's connection.
pub struct Consensus {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Consensus {
    /// Once somebody listens there.
    pub fn connect(to: SocketAddr) -> Self {
        let stream = crate::wait_for("somebody listens", || TcpStream::connect(to).ok());
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { output: stream.try_clone().unwrap(), input: BufReader::new(stream) }
    }

    pub fn send(&mut self, body: &[u8]) {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: execution\r\nauthorization: {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        self.output.write_all(&[head.as_bytes(), body].concat()).unwrap();
    }

    pub fn call(&mut self, body: &[u8]) -> Message {
        self.send(body);
        read_message(&mut self.input).expect("an answer")
    }

    pub fn new_payload(&mut self, payload: &Payload) -> Message {
        self.call(payload.call("engine_newPayloadV5").as_bytes())
    }

    pub fn head(&mut self, head: &Payload, safe: Option<&Payload>, finalized: Option<&Payload>) -> Message {
        let zero = format!("0x{}", "00".repeat(32));
        let hash = |payload: Option<&Payload>| payload.map_or(zero.clone(), |payload| payload.hash.clone());
        let state = json!({
            "headBlockHash": head.hash,
            "safeBlockHash": hash(safe),
            "finalizedBlockHash": hash(finalized),
        });
        let call: Value = json!({ "jsonrpc": "2.0", "id": 1, "method": "engine_forkchoiceUpdatedV4", "params": [state, null] });
        self.call(call.to_string().as_bytes())
    }

    /// How long a call takes.
    pub fn timed(&mut self, body: &[u8]) -> Duration {
        let began = Instant::now();
        self.call(body);
        began.elapsed()
    }
}
