//! The running yard's Unix socket, for operators: one JSON request a line, one JSON answer a line.
//!
//! The process that holds the directory's lock may replace the socket's file, so one that a dead yard left does not matter.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::error::{Code, Coded, Diagnostic, Error};
use proofyard_core::operation::{Answer, Operation};
use proofyard_prover::descends_from;
use proofyard_worker::WorkerHome;
use serde::{Deserialize, Serialize};

use super::{Machine, MachineError, Shared};
use crate::block_on;
use crate::lock::DataDirError;

/// How often the yard polls for new connections, and an operator for a data directory that is in use.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SOCKET_FILE: &str = "socket";
/// The longest path of a socket address. A longer one is reached through a descriptor of its directory.
const MAX_ADDRESS_BYTES: usize = 107;
/// Further connections wait in the system's queue.
const MAX_CONNECTIONS: usize = 8;
const MAX_REQUEST_BYTES: usize = 1 << 16;
/// A retry names every task that it lists again.
const MAX_ANSWER_BYTES: u64 = 1 << 28;
/// How long a client may take to send a request, or to read an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a read without data checks whether the machine stops.
const READ_POLL: Duration = Duration::from_millis(100);
/// How long an operator waits for a yard that is just starting or stopping.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an operator waits for the answer of a running yard, which may be busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Errors are told as a person is shown them; whoever asked reads code and causes from that. So they are understood by
/// every version, also by those before there were codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Ok(Answer),
    /// The request is wrong; repeating it does not help.
    Refused(String),
    /// It failed; repeating it may help.
    Failed(String),
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Yard(#[from] Error),
    /// The running yard's answer.
    #[error("{}", .0.message)]
    Refused(Diagnostic),
    #[error("{}", .0.message)]
    Failed(Diagnostic),
    #[error("the yard did not answer; `proofyard status` shows whether it was done")]
    NoAnswer(#[source] io::Error),
}

impl Coded for AskError {
    fn code(&self) -> Code {
        match self {
            Self::Machine(error) => error.code(),
            Self::Yard(error) => error.code(),
            Self::Refused(told) | Self::Failed(told) => told.code,
            Self::NoAnswer(_) => Code::NoAnswer,
        }
    }
}

/// Whether a yard process works on this directory now.
pub fn is_running(data_dir: &Path) -> bool {
    connect(data_dir).is_ok()
}

/// Carries out an operator's request: in the yard that runs in the directory or, if none does, in this process.
pub fn ask(data_dir: &Path, operation: &Operation) -> Result<Answer, AskError> {
    let until = Instant::now() + START_TIMEOUT;
    loop {
        if let Ok(stream) = connect(data_dir) {
            return ask_running(stream, operation);
        }
        match Machine::open(data_dir, false, |_| {}) {
            Ok(machine) => {
                let answer = block_on(machine.yard().operate(operation));
                machine.take_queued_steps();
                return Ok(answer?);
            }
            // A yard is just starting or ending, or another operator's request is being carried out.
            Err(MachineError::DataDir(DataDirError::InUse { .. })) if Instant::now() < until => {
                thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn ask_running(mut stream: UnixStream, operation: &Operation) -> Result<Answer, AskError> {
    let reply = || -> io::Result<Reply> {
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        send(&mut stream, operation)?;
        let mut line = Vec::new();
        BufReader::new(stream.take(MAX_ANSWER_BYTES)).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
        }
        Ok(serde_json::from_slice(&line)?)
    };
    outcome(reply().map_err(AskError::NoAnswer)?)
}

fn outcome(reply: Reply) -> Result<Answer, AskError> {
    match reply {
        Reply::Ok(answer) => Ok(answer),
        Reply::Refused(said) => Err(AskError::Refused(read(said))),
        Reply::Failed(said) => Err(AskError::Failed(read(said))),
    }
}

fn read(said: String) -> Diagnostic {
    Diagnostic::read(&said).unwrap_or_else(|| Diagnostic::new(Code::WithoutCode, said))
}

fn reply(answer: Result<Answer, Error>) -> Reply {
    match answer {
        Ok(answer) => Reply::Ok(answer),
        Err(error @ Error::Refused(_)) => Reply::Refused(Diagnostic::of(&error).to_string()),
        Err(error) => Reply::Failed(Diagnostic::of(&error).to_string()),
    }
}

fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let (address, _dir) = address(data_dir)?;
    UnixStream::connect(address)
}

/// The socket's path, or one that is short enough while the descriptor is open.
fn address(dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = dir.join(SOCKET_FILE);
    if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
        return Ok((path, None));
    }
    let dir = File::open(dir)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_FILE}", dir.as_raw_fd())), Some(dir)))
}

/// The running yard's end of the socket; its file is removed with it.
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Must be called by the holder of the directory's lock. The socket is created in a folder that no other user can enter,
    /// and moved once its permissions are set.
    pub fn open(data_dir: &Path, work_dir: &Path) -> Result<Self, MachineError> {
        let private = work_dir.join(SOCKET_FILE);
        let path = data_dir.join(SOCKET_FILE);
        let listen = || -> io::Result<UnixListener> {
            DirBuilder::new().mode(0o700).create(&private)?;
            let (address, _dir) = address(&private)?;
            let listener = UnixListener::bind(address)?;
            listener.set_nonblocking(true)?;
            fs::set_permissions(private.join(SOCKET_FILE), Permissions::from_mode(0o600))?;
            fs::rename(private.join(SOCKET_FILE), &path)?;
            fs::remove_dir(&private)?;
            Ok(listener)
        };
        match listen() {
            Ok(listener) => Ok(Self { listener, path }),
            Err(source) => Err(MachineError::Io { path, doing: "listened on", source }),
        }
    }

    /// Answers until the machine stops.
    pub fn serve(&self, shared: &Shared) {
        let open = AtomicUsize::new(0);
        thread::scope(|scope| {
            while shared.pause(LOOK_EVERY) {
                while open.load(Ordering::Acquire) < MAX_CONNECTIONS
                    && let Ok((stream, _)) = self.listener.accept()
                {
                    open.fetch_add(1, Ordering::AcqRel);
                    let open = &open;
                    let talk = move || {
                        // An error means that the client has closed the connection.
                        let _ = converse(shared, stream);
                        open.fetch_sub(1, Ordering::AcqRel);
                    };
                    if let Err(error) =
                        thread::Builder::new().name("operator".into()).spawn_scoped(scope, talk)
                    {
                        open.fetch_sub(1, Ordering::AcqRel);
                        shared.log_error("socket", &error);
                    }
                }
            }
        });
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // If this fails, the next yard replaces the file.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether the client is a prover or a verifier: where they run as the yard's own user, they can connect, and are refused.
fn is_started_by_this_yard(stream: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.pid;
    let yard = rustix::process::getpid();
    Ok(peer != yard && descends_from(peer, yard))
}

fn converse(shared: &Shared, mut stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    if is_started_by_this_yard(&stream)? {
        return send(&mut stream, &refused(Code::NoSay, "what this yard started has no say in it"));
    }
    stream.set_read_timeout(Some(READ_POLL))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut input = BufReader::new(stream.try_clone()?);
    loop {
        match read_request(&mut input, || shared.is_stopped())? {
            Request::End => return Ok(()),
            Request::TooLong => {
                let refusal = format!("a request has at most {MAX_REQUEST_BYTES} bytes");
                return send(&mut stream, &refused(Code::NotAnOperation, refusal));
            }
            Request::Line(line) => send(&mut stream, &answer(shared, &line))?,
        }
    }
}

fn answer(shared: &Shared, line: &[u8]) -> Reply {
    match serde_json::from_slice(line) {
        Ok(operation) => reply(block_on(shared.yard.operate(&operation))),
        Err(error) => {
            let told = Diagnostic::new(Code::NotAnOperation, "this is no operation").caused_by(&error);
            Reply::Refused(told.to_string())
        }
    }
}

fn refused(code: Code, message: impl Into<String>) -> Reply {
    Reply::Refused(Diagnostic::new(code, message).to_string())
}

enum Request {
    Line(Vec<u8>),
    TooLong,
    /// The client has closed the connection or taken too long, or the machine stops.
    End,
}

/// Reads one line, which must arrive within [`CLIENT_TIMEOUT`].
fn read_request(input: &mut impl BufRead, stopped: impl Fn() -> bool) -> io::Result<Request> {
    let until = Instant::now() + CLIENT_TIMEOUT;
    let mut line = Vec::new();
    while !stopped() && Instant::now() < until {
        let available = match input.fill_buf() {
            Ok([]) => return Ok(Request::End),
            Ok(available) => available,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        line.extend_from_slice(&available[..taken]);
        input.consume(taken);
        if line.len() > MAX_REQUEST_BYTES {
            return Ok(Request::TooLong);
        }
        if end.is_some() {
            return Ok(Request::Line(line));
        }
    }
    Ok(Request::End)
}

fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use proofyard_core::error::Refusal;

    use super::*;

    #[test]
    fn a_request_is_one_line_of_bounded_length() {
        let mut input = BufReader::with_capacity(4, b"one\ntwo words\nrest".as_slice());
        let mut next = || match read_request(&mut input, || false).unwrap() {
            Request::Line(line) => String::from_utf8(line).unwrap(),
            Request::TooLong => "too long".into(),
            Request::End => "end".into(),
        };
        assert_eq!([next(), next(), next()], ["one\n", "two words\n", "end"]);
        let long = vec![b'x'; MAX_REQUEST_BYTES + 1];
        assert!(matches!(read_request(&mut long.as_slice(), || false).unwrap(), Request::TooLong));
        assert!(matches!(read_request(&mut b"one\n".as_slice(), || true).unwrap(), Request::End));
    }

    #[test]
    fn a_refusal_is_read_with_its_code_also_from_a_yard_that_tells_none() {
        let told = reply(Err(Error::Refused(Refusal::NoBlock(7))));
        let line = serde_json::to_string(&told).unwrap();
        assert_eq!(line, r#"{"refused":"error[PY0106]: there is no canonical block at height 7"}"#);
        let refused = |line: &str| match outcome(serde_json::from_str(line).unwrap()).unwrap_err() {
            AskError::Refused(told) => (told.code, told.message),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&line), (Code::NoBlock, "there is no canonical block at height 7".to_owned()));
        let older = r#"{"refused":"there is no canonical block at height 7"}"#;
        let read = (Code::WithoutCode, "there is no canonical block at height 7".to_owned());
        assert_eq!(refused(older), read);
    }

    #[test]
    fn a_deep_directory_has_a_short_address() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("x".repeat(150));
        fs::create_dir(&deep).unwrap();
        let (at, _dir) = address(&deep).unwrap();
        assert!(at.as_os_str().len() <= MAX_ADDRESS_BYTES);
        let listener = UnixListener::bind(at).unwrap();
        connect(&deep).unwrap();
        drop(listener);
        connect(&deep).unwrap_err();
    }
}
