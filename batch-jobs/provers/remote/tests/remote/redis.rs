//! A Redis as far as a cluster's artifacts need one: texts and hashes, and when they expire.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

pub struct Redis {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    texts: BTreeMap<String, Vec<u8>>,
    hashes: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// Seconds, of texts that expire.
    pub expires: BTreeMap<String, u64>,
    /// All commands, by their names and first arguments.
    pub asked: Vec<String>,
    /// What is said to every command, if not what is right.
    pub says: Option<&'static str>,
    /// Connections are closed at the next command.
    pub is_down: bool,
}

impl Redis {
    pub fn start() -> Redis {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                thread::spawn(move || serve(&stream, &state));
            }
        });
        Redis { url, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// What an artifact is, not compressed.
    pub fn artifact(&self, id: &str) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let compressed = self.texts.get(id)?.as_slice();
        StreamingDecoder::new(compressed).unwrap().read_to_end(&mut content).unwrap();
        Some(content)
    }

    pub fn put_artifact(&mut self, id: &str, content: &[u8]) {
        self.texts.insert(id.into(), compress_to_vec(content, CompressionLevel::Fastest));
    }

    /// As large ones are kept.
    pub fn put_in_pieces(&mut self, id: &str, content: &[u8], piece_bytes: usize) {
        let compressed = compress_to_vec(content, CompressionLevel::Uncompressed);
        let pieces = compressed.chunks(piece_bytes).map(<[u8]>::to_vec).enumerate();
        let mut pieces: BTreeMap<_, _> = pieces.map(|(index, piece)| (index.to_string(), piece)).collect();
        pieces.insert("__n".into(), pieces.len().to_string().into_bytes());
        self.hashes.insert(format!("{id}:chunks"), pieces);
    }

    /// As clusters before 2.7 keep them, which do not say how many pieces there are.
    pub fn forget_numbers_of_pieces(&mut self) {
        self.hashes.values_mut().for_each(|pieces| _ = pieces.remove("__n"));
    }

    pub fn break_artifact(&mut self, id: &str) {
        let whole = self.texts.get_mut(id).unwrap();
        whole.truncate(whole.len() / 2);
    }

    pub fn forget(&mut self, id: &str) {
        self.texts.remove(id);
    }

    pub fn ids(&self) -> Vec<String> {
        self.texts.keys().cloned().collect()
    }

    fn answer(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        let text = |index: usize| String::from_utf8_lossy(&command[index]).into_owned();
        let name = text(0).to_uppercase();
        if name == "CLIENT" {
            return b"+OK\r\n".to_vec();
        }
        self.asked.push(
            command.iter().take(2).map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(" "),
        );
        if let Some(says) = self.says {
            return format!("-{says}\r\n").into_bytes();
        }
        let bulk = |found: Option<&Vec<u8>>| match found {
            Some(found) => [format!("${}\r\n", found.len()).as_bytes(), found, b"\r\n"].concat(),
            None => b"$-1\r\n".to_vec(),
        };
        let number = |number: usize| format!(":{number}\r\n").into_bytes();
        match name.as_str() {
            "PING" => b"+PONG\r\n".to_vec(),
            "SET" => {
                self.texts.insert(text(1), command[2].clone());
                if command.len() > 3 {
                    assert_eq!(text(3), "EX");
                    self.expires.insert(text(1), text(4).parse().unwrap());
                }
                b"+OK\r\n".to_vec()
            }
            "GET" => bulk(self.texts.get(&text(1))),
            "EXISTS" => {
                let is_there = |key: &String| self.texts.contains_key(key) || self.hashes.contains_key(key);
                number((1..command.len()).map(text).filter(is_there).count())
            }
            "UNLINK" => number(usize::from(self.hashes.remove(&text(1)).is_some())),
            "HLEN" => number(self.hashes.get(&text(1)).map_or(0, BTreeMap::len)),
            "HGET" => bulk(self.hashes.get(&text(1)).and_then(|of| of.get(&text(2)))),
            name => panic!("{name}"),
        }
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(command) = read(&mut reader) {
        let mut state = state.lock().unwrap();
        if state.is_down {
            break;
        }
        let answer = state.answer(&command);
        drop(state);
        let mut stream = stream;
        if stream.write_all(&answer).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// A list of texts.
fn read(reader: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let length = |sign: char, reader: &mut dyn BufRead| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        line.trim_end().strip_prefix(sign)?.parse::<usize>().ok()
    };
    let parts = length('*', reader)?;
    (0..parts)
        .map(|_| {
            let mut part = vec![0; length('$', reader)? + 2];
            reader.read_exact(&mut part).ok()?;
            part.truncate(part.len() - 2);
            Some(part)
        })
        .collect()
}
