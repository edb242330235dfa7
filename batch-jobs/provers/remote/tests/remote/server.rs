//! A small HTTP server for the services that the tests run against: it notes what it was asked, and has faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;

/// A service, with its jobs in memory.
pub trait Service: Send + 'static {
    fn answer(&mut self, request: &Request) -> Reply;
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Done before an answer is sent, without keeping other calls waiting. False: nobody waits for the answer any more.
pub type Before = Box<dyn FnOnce(&TcpStream) -> bool + Send>;

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub before: Option<Before>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), before: None }
    }

    pub fn json(status: u16, body: &Value) -> Reply {
        Reply::new(status, body.to_string())
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.into(), value.to_string()));
        self
    }
}

/// What goes wrong with an answer.
pub enum Fault {
    /// This is answered, and the service hears nothing.
    Instead(Reply),
    /// The service acts, and its answer is lost.
    Lost,
    /// The answer says how long it is, and ends in its middle.
    CutOff,
    /// The service does not hear it, and the connection is closed.
    Dropped,
}

pub struct Server<S> {
    pub endpoint: String,
    service: Arc<Mutex<S>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    asked: Vec<Request>,
    /// For calls whose method and path begin like this, in turn.
    faults: Vec<(String, Fault)>,
}

impl<S: Service> Server<S> {
    pub fn start(service: S) -> Server<S> {
        Server::start_with(service, serve)
    }

    /// Speaks gRPC: a request's body is its message, a reply's status is gRPC's, its body the message or the words.
    pub fn start_grpc(service: S) -> Server<S> {
        Server::start_with(service, crate::grpc_server::serve)
    }

    fn start_with(service: S, serve: fn(&TcpStream, &Mutex<S>, &Mutex<State>)) -> Server<S> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (service, state) = (Arc::new(Mutex::new(service)), Arc::new(Mutex::new(State::default())));
        let (served, noted) = (Arc::clone(&service), Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (service, state) = (Arc::clone(&served), Arc::clone(&noted));
                thread::spawn(move || serve(&stream, &service, &state));
            }
        });
        Server { endpoint, service, state }
    }

    pub fn service(&self) -> MutexGuard<'_, S> {
        self.service.lock().unwrap()
    }

    /// The next call that begins like this goes wrong.
    pub fn fault(&self, route: &str, fault: Fault) {
        self.state.lock().unwrap().faults.push((route.into(), fault));
    }

    pub fn asked(&self, route: &str) -> Vec<Request> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|request| request.route().starts_with(route)).cloned().collect()
    }
}

impl State {
    /// Notes a request, and says what goes wrong with it.
    pub fn note(&mut self, request: &Request) -> Option<Fault> {
        self.asked.push(request.clone());
        let found = self.faults.iter().position(|(route, _)| request.route().starts_with(route));
        found.map(|index| self.faults.remove(index).1)
    }
}

fn serve<S: Service>(stream: &TcpStream, service: &Mutex<S>, state: &Mutex<State>) {
    let Some(request) = read(stream) else { return };
    let fault = state.lock().unwrap().note(&request);
    let answer = |service: &Mutex<S>| service.lock().unwrap().answer(&request);
    let _ = match fault {
        Some(Fault::Dropped) => stream.shutdown(Shutdown::Both),
        Some(Fault::Lost) => {
            answer(service);
            stream.shutdown(Shutdown::Both)
        }
        Some(Fault::CutOff) => {
            let reply = answer(service);
            let half = reply.body.len() / 2;
            write(stream, &reply, &reply.body[..half], reply.body.len())
        }
        Some(Fault::Instead(reply)) => write(stream, &reply, &reply.body, reply.body.len()),
        None => {
            let mut reply = answer(service);
            if reply.before.take().is_some_and(|before| !before(stream)) {
                return;
            }
            let sent = if request.method == "HEAD" { &[][..] } else { &reply.body };
            write(stream, &reply, sent, reply.body.len())
        }
    };
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

fn write(mut stream: &TcpStream, reply: &Reply, sent: &[u8], length: usize) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    if reply.status != 204 {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(sent)?;
    stream.shutdown(Shutdown::Write)
}
