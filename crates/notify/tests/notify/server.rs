//! A server that answers as it is told to, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When it was there.
    pub at_ms: u64,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16, Vec<(&'static str, String)>, String),
    /// It takes the request, and its answer is lost.
    HangUp,
    /// Its answer is shorter than it says.
    CutOff(u16),
    /// It takes the request, and is silent for so long.
    Silence(Duration),
}

pub fn status(status: u16) -> Answer {
    Answer::Status(status, Vec::new(), String::new())
}

type Answers = dyn FnMut(&Request) -> Answer + Send;

pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    answers: Arc<Mutex<Box<Answers>>>,
}

impl Server {
    pub fn start(answers: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Mutex<Box<Answers>>> = Arc::new(Mutex::new(Box::new(answers)));
        let server = Self { url, requests: Arc::clone(&requests), answers: Arc::clone(&answers) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, answers) = (Arc::clone(&requests), Arc::clone(&answers));
                // Who hangs up in the middle has asked nothing.
                thread::spawn(move || _ = serve(stream, &requests, &answers));
            }
        });
        server
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// From now on it answers otherwise.
    pub fn answer(&self, answers: impl FnMut(&Request) -> Answer + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }
}

fn serve(
    stream: TcpStream,
    requests: &Mutex<Vec<Request>>,
    answers: &Mutex<Box<Answers>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
                None => break,
            }
        }
        let mut request = Request { method, path, headers, body: Vec::new(), at_ms: 0 };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        request.at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let answer = {
            // In one step, so that what was answered is among the requests in that order.
            let mut answers = answers.lock().unwrap();
            requests.lock().unwrap().push(request.clone());
            answers(&request)
        };
        match answer {
            Answer::Status(status, headers, body) => {
                let headers: String =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let length = body.len();
                write!(writer, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n{headers}\r\n{body}")?;
            }
            Answer::HangUp => return Ok(()),
            Answer::CutOff(status) => {
                write!(writer, "HTTP/1.1 {status} x\r\ncontent-length: 100\r\n\r\n{{")?;
                return Ok(());
            }
            Answer::Silence(time) => {
                thread::sleep(time);
                return Ok(());
            }
        }
    }
}
