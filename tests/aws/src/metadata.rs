//! The metadata service of an EC2 instance, version 2, as far as a spot notice and the region go.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

const TOKEN: &str = "a-session-token";
const TOKEN_PLACE: &str = "/latest/api/token";
const REGION_PLACE: &str = "/latest/meta-data/placement/region";
/// Not the one that is taken where nothing says another.
pub const REGION: &str = "eu-north-1";
const NOTICE_PLACE: &str = "/latest/meta-data/spot/instance-action";

/// Serves until its process ends.
pub struct Metadata {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    notice: Option<String>,
    /// How often it was asked for the notice, by one who had the token, and had none to give.
    quiet_looks: u64,
}

struct Request {
    method: String,
    place: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Metadata {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(&stream, &served);
            }
        });
        Self { endpoint, state }
    }

    /// From now on, this machine is to be taken back.
    pub fn give_notice(&self) {
        let notice = r#"{"action": "terminate", "time": "2026-01-01T00:02:00Z"}"#;
        self.state.lock().unwrap().notice = Some(notice.to_owned());
    }

    pub fn quiet_looks(&self) -> u64 {
        self.state.lock().unwrap().quiet_looks
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) {
    let Some(request) = read(stream) else { return };
    let has = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        request.headers.iter().any(|(known, value)| known == name && wanted(value))
    };
    let lives = |value: &str| value.parse::<u32>().is_ok_and(|seconds| (1..=21_600).contains(&seconds));
    let (status, content) = match (request.method.as_str(), request.place.as_str()) {
        ("PUT", TOKEN_PLACE) if has("x-aws-ec2-metadata-token-ttl-seconds", &lives) => {
            ("200 OK", TOKEN.to_owned())
        }
        ("PUT", TOKEN_PLACE) => ("400 Bad Request", String::new()),
        _ if !has("x-aws-ec2-metadata-token", &|token| token == TOKEN) => ("401 Unauthorized", String::new()),
        ("GET", REGION_PLACE) => ("200 OK", REGION.to_owned()),
        ("GET", NOTICE_PLACE) => {
            let mut state = state.lock().unwrap();
            state.quiet_looks += u64::from(state.notice.is_none());
            match &state.notice {
                Some(notice) => ("200 OK", notice.clone()),
                None => ("404 Not Found", String::new()),
            }
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = content.len();
    // Who asked may be gone.
    _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\nConnection: close\r\n\r\n{content}"
    );
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let (method, rest) = first.split_once(' ')?;
    let place = rest.split(' ').next()?;
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Request { method: method.to_owned(), place: place.to_owned(), headers: headers.collect() })
}
