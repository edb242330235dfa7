//! As much of HTTP/1.1 as a node speaks: requests and answers with a length.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One request or answer: its first line, its headers, its body.
#[derive(Clone, Debug)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

/// `None` where the connection ends.
pub fn read_message(input: &mut BufReader<TcpStream>) -> Option<Message> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if input.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if &head[before..] == "\r\n" {
            break;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body).ok()?;
    Some(Message { head, body })
}

pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Posts a body; answers the answer's.
pub fn post(to: SocketAddr, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    Some(read_message(&mut BufReader::new(stream))?.body)
}

/// Asks a node; answers what it calls the result.
pub fn ask(node: SocketAddr, method: &str, of_what: &Value) -> Option<Value> {
    let request = serde_json::json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": of_what });
    let body = post(node, request.to_string().as_bytes())?;
    let answer: Value = serde_json::from_slice(&body).ok()?;
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    Some(answer["result"].clone())
}
