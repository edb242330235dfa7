//! A live `stream` prover.
//!
//! While it proves it may have checkpoints kept. If its answer to `setup` says that it handles `cancel`, it is told why its work is
//! cancelled and gets a grace period to answer; otherwise it is killed at once.
//!
//! One request is in work at a time, under an id that nobody can guess, so that a line written before the request was read
//! can never be its answer. The prover stays alive after an answer, also after an error that it reports itself. After
//! anything else (a time-out, a protocol violation, an exceeded limit, an unsolicited line) it is killed, since its next
//! line could not be matched to a request.

use std::io::BufReader;
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{ErrorKind, Fault, ProverError};
use super::guarded::{Guarded, Stdin, how_it_ended};
use super::launch::{Launch, Limits};
use super::log::{Log, readable_message};
use super::output::{Proved, open_output};
use super::output_content::{check_key, check_ok, check_proof_system, check_public_values};
use super::watch::{Cancel, Watch};
use crate::message::{
    CHECKPOINT_BYTES, Call, CancelReason, News, Notice, ProveOk, ProveRequest, Request, Response, SetupOk,
    SetupRequest, VerifyOk, VerifyRequest,
};
use crate::serve::{Line, read_line};

/// How many response lines are buffered; a prover that writes more has to wait.
const LINES_WAITING: usize = 16;

/// How long to wait for the log to end, or to be read, once the prover has ended, or answered.
const LOG_TIMEOUT: Duration = Duration::from_millis(500);

/// How long to wait for the exit code of a prover that has closed its stdout.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A progress line.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// From 0 to 1.
    pub progress: f64,
    /// What is being done, in the prover's words.
    pub message: Option<String>,
}

/// Hears what a prover says before its answer.
pub trait Listener {
    /// The prover reports its progress.
    fn progress(&mut self, _update: Update) {}

    /// Begins to keep a checkpoint; the receiver gets a message once it is durable. If its sender is dropped instead, the attempt is
    /// over: the call is cancelled.
    fn checkpoint(&mut self, text: String) -> Receiver<()>;
}

/// Keeps no checkpoints, and confirms each at once.
struct NoCheckpoints<'a>(&'a mut dyn FnMut(Update));

impl Listener for NoCheckpoints<'_> {
    fn progress(&mut self, update: Update) {
        (self.0)(update);
    }

    fn checkpoint(&mut self, _text: String) -> Receiver<()> {
        let (sender, kept) = sync_channel(1);
        // There is room for one.
        let _ = sender.send(());
        kept
    }
}

/// The request in work.
struct Asking<'a> {
    id: String,
    proves: bool,
    /// The prover hears why it is cancelled.
    hears: bool,
    watch: Watch<'a>,
    /// Comes when the prover's last checkpoint is kept. It waits for that, and so do its next lines.
    keeping: Option<Receiver<()>>,
}

/// A live `stream` prover. Dropping it kills the prover and all that it started.
pub struct Session {
    command: String,
    limits: Limits,
    guarded: Guarded,
    lines: Receiver<Event>,
    log: Log,
    /// Whether there was an earlier request, whose log must be cleared.
    asked: bool,
    /// Its answer to `setup`.
    about: SetupOk,
    /// Whether it ever gave a valid response.
    answered: bool,
    usable: bool,
}

impl Asking<'_> {
    /// An answer, unless the request is cancelled or has overrun a limit meanwhile. One that hears of cancels then lives on.
    fn unless_over(&mut self, answer: Result<serde_json::Value, Fault>) -> Result<serde_json::Value, Fault> {
        let is_over = self.watch.check();
        is_over.map_err(|fault| {
            let answered = fault.kind == ErrorKind::Cancelled && self.hears;
            Fault { answered, ..fault }
        })?;
        answer
    }
}

enum Event {
    Line(Vec<u8>),
    TooLong,
}

impl Session {
    /// Starts the prover. If the program does not exist, the first request fails.
    pub fn start(launch: &Launch) -> Result<Session, ProverError> {
        Session::try_start(launch).map_err(|fault| {
            let (kind, message, command) = (fault.kind, fault.message, launch.command_line());
            ProverError { kind, message, command, log: Vec::new() }
        })
    }

    fn try_start(launch: &Launch) -> Result<Session, Fault> {
        let cannot = |error| Fault::new(ErrorKind::CouldNotStart, error);
        let (guarded, stdout, stderr) = Guarded::start(launch, &launch.command, Stdin::Open)?;
        let mut log = Log::new(launch.limits.log_lines);
        log.follow(stderr).map_err(cannot)?;
        let (sender, lines) = sync_channel(LINES_WAITING);
        let line_bytes = launch.limits.line_bytes;
        let read = move || read_lines(stdout, line_bytes, &sender);
        thread::Builder::new().name("prover output".into()).spawn(read).map_err(cannot)?;
        let (command, limits) = (launch.command_line(), launch.limits.clone());
        let (about, asked, answered, usable) = (SetupOk::default(), false, false, true);
        Ok(Session { command, limits, guarded, lines, log, asked, about, answered, usable })
    }

    /// Whether it can take another request. If not, drop it and start another one.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// Whether it is waiting for a request: its process runs, and it has written nothing since its last answer. If not, it
    /// is no longer usable.
    pub fn is_waiting(&mut self) -> bool {
        self.usable = self.usable && self.guarded.is_running() && self.check_silence().is_ok();
        self.usable
    }

    /// Sets the limits of further requests. The length of a line and the size of the log stay as they are.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Asks it to load its keys.
    pub fn setup(&mut self, request: &SetupRequest, cancel: &Cancel) -> Result<SetupOk, ProverError> {
        self.call(|session| {
            let call = Call::Setup(request.clone());
            let ok: SetupOk =
                session.ask(call, session.limits.setup_ms, None, cancel, &mut NoCheckpoints(&mut |_| {}))?;
            check_key(ok.verification_key.as_deref())?;
            check_proof_system(ok.proof_system.as_deref())?;
            session.about = ok.clone();
            Ok(ok)
        })
    }

    /// As [`Session::prove_heard`], where nobody keeps checkpoints, though they are confirmed.
    pub fn prove(
        &mut self,
        request: &ProveRequest,
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(Update),
    ) -> Result<Proved, ProverError> {
        self.prove_heard(request, cancel, &mut NoCheckpoints(on_progress))
    }

    /// From now on it is killed at once where it is cancelled, whatever its setup says.
    pub(crate) fn kill_when_cancelled(&mut self) {
        self.about.cancel = false;
    }

    /// Asks it to prove a task. `request.deadline_ms` is shortened to the time limit.
    pub fn prove_heard(
        &mut self,
        request: &ProveRequest,
        cancel: &Cancel,
        listener: &mut dyn Listener,
    ) -> Result<Proved, ProverError> {
        self.call(|session| {
            let mut request =
                request.with_absolute_paths().map_err(|error| Fault::new(ErrorKind::Io, error))?;
            request.deadline_ms = request.deadline_ms.min(session.limits.time_ms);
            let (limit_ms, output_dir) = (request.deadline_ms, request.output_dir.clone());
            let mut ok: ProveOk =
                session.ask(Call::Prove(request), limit_ms, Some(&output_dir), cancel, listener)?;
            let output = open_output(&output_dir, &ok.proof, &session.limits)?;
            check_ok(&ok, &output)?;
            let about = &session.about;
            ok.proof_system = ok.proof_system.or_else(|| about.proof_system.clone());
            ok.security_bits = ok.security_bits.or(about.security_bits);
            ok.trusted_setup = ok.trusted_setup.or(about.trusted_setup);
            ok.proof = output.path.clone();
            Ok(Proved { ok, output })
        })
    }

    /// Asks it to verify a proof. Must be another process than the one that proved.
    pub fn verify(&mut self, request: &VerifyRequest, cancel: &Cancel) -> Result<VerifyOk, ProverError> {
        self.call(|session| {
            let request = request.with_absolute_paths().map_err(|error| Fault::new(ErrorKind::Io, error))?;
            let (output_dir, limit_ms) = (request.output_dir.clone(), session.limits.time_ms);
            let mut ok: VerifyOk = session.ask(
                Call::Verify(request),
                limit_ms,
                Some(&output_dir),
                cancel,
                &mut NoCheckpoints(&mut |_| {}),
            )?;
            check_public_values(Some(&ok.public_values))?;
            check_proof_system(ok.proof_system.as_deref())?;
            ok.proof_system = ok.proof_system.or_else(|| session.about.proof_system.clone());
            Ok(ok)
        })
    }

    /// Sends a line that need not be a request, and returns the next line that is neither progress nor a checkpoint, which is
    /// confirmed, whatever its id.
    pub fn put(&mut self, line: &[u8], cancel: &Cancel) -> Result<Response, ProverError> {
        self.call(|session| {
            let limits = session.limits.clone();
            let mut watch = Watch::new(&limits, cancel, session.guarded.pid()?, limits.time_ms, None);
            session.guarded.send(line, &mut watch)?;
            session.guarded.send(b"\n", &mut watch)?;
            loop {
                let response = Answer::parse(&session.next_line(&mut watch)?)?;
                session.answered = true;
                match (response.progress, &response.checkpoint, &response.id) {
                    (None, Some(_), Some(id)) => {
                        let notice = Notice { id: id.clone(), news: News::Checkpointed };
                        session.send(&notice, &mut watch)?;
                    }
                    (None, None, _) => return Ok(response),
                    _ => {}
                }
            }
        })
    }

    /// What it wrote to its log during the last request.
    pub fn last_log_lines(&self) -> Vec<String> {
        self.log.catch_up(LOG_TIMEOUT);
        self.log.last_lines()
    }

    /// Lets the prover end by itself within its grace period. Dropping it kills it at once.
    pub fn end(self) {
        self.guarded.end();
    }

    /// As `end`; returns also whether it ended by itself, and the first lines that it wrote to stdout without a request.
    pub fn end_watched(self) -> (bool, Vec<String>) {
        let ended = self.guarded.end();
        let killed = ended.is_none_or(|status| status.code() == Some(128 + Signal::KILL.as_raw()));
        let lines = std::iter::from_fn(|| self.lines.recv_timeout(EXIT_TIMEOUT).ok());
        let shown = lines.take(LINES_WAITING).map(|event| match event {
            Event::Line(line) => readable_message(&String::from_utf8_lossy(&line)),
            Event::TooLong => format!("a line of more than {} bytes", self.limits.line_bytes),
        });
        let shown = shown.collect();
        (!killed, shown)
    }

    /// Wraps one call: clears the log before it, and after a fault kills the prover unless it has answered.
    fn call<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T, Fault>) -> Result<T, ProverError> {
        if !self.usable {
            let kind = ErrorKind::Died { exit: None, signal: None };
            return Err(self.error(Fault::new(kind, "it was ended after an earlier request")));
        }
        // Before the first request the log is kept: a failure may be about what the prover wrote while it started.
        if self.asked {
            self.log.clear();
        }
        self.asked = true;
        match work(self) {
            Ok(done) => Ok(done),
            Err(fault) if fault.answered => {
                self.log.catch_up(LOG_TIMEOUT);
                Err(self.error(fault))
            }
            Err(fault) => {
                self.usable = false;
                self.guarded.kill();
                self.log.wait_for_end(LOG_TIMEOUT);
                Err(self.error(fault))
            }
        }
    }

    fn error(&self, fault: Fault) -> ProverError {
        let (kind, message, command) = (fault.kind, fault.message, self.command.clone());
        ProverError { kind, message, command, log: self.log.last_lines() }
    }

    /// Sends one request and reads to its answer.
    fn ask<T: DeserializeOwned>(
        &mut self,
        call: Call,
        limit_ms: u64,
        output_dir: Option<&Path>,
        cancel: &Cancel,
        listener: &mut dyn Listener,
    ) -> Result<T, Fault> {
        self.check_silence()?;
        let id = new_id()?;
        let proves = matches!(call, Call::Prove(_));
        let limits = self.limits.clone();
        let mut watch = Watch::new(&limits, cancel, self.guarded.pid()?, limit_ms, output_dir);
        watch.check()?;
        self.send(&Request { id: id.clone(), call }, &mut watch)?;
        let hears = proves && self.about.cancel;
        let mut asking = Asking { id, proves, hears, watch, keeping: None };
        let answer = match self.answer(&mut asking, listener) {
            Err(fault) if fault.kind == ErrorKind::Cancelled && !fault.answered && asking.hears => {
                return Err(self.wind_up(&mut asking, listener, fault));
            }
            answer => answer?,
        };
        asking.watch.check_output()?;
        self.check_silence()?;
        serde_json::from_value(answer).map_err(|error| {
            Fault::protocol_violation(format!("its answer is not what was asked for: {error}"))
        })
    }

    /// Hears the prover until it answers.
    fn answer(
        &mut self,
        asking: &mut Asking<'_>,
        listener: &mut dyn Listener,
    ) -> Result<serde_json::Value, Fault> {
        loop {
            if asking.keeping.is_some() {
                self.await_checkpoint(asking)?;
                continue;
            }
            match self.next_response(&mut asking.watch, &asking.id)? {
                Answer::Progress(update) => listener.progress(update),
                Answer::Checkpoint(text) if asking.proves => {
                    asking.keeping = Some(listener.checkpoint(text));
                }
                Answer::Checkpoint(_) => {
                    return Err(Fault::protocol_violation("it wrote a checkpoint of what is no proving"));
                }
                Answer::Error(fault) => return asking.unless_over(Err(fault)),
                Answer::Ok(value) => return asking.unless_over(Ok(value)),
            }
        }
    }

    /// Waits for a while for the prover's last checkpoint to be kept, and tells it when it is.
    fn await_checkpoint(&mut self, asking: &mut Asking<'_>) -> Result<(), Fault> {
        asking.watch.check()?;
        let Some(keeping) = &asking.keeping else { return Ok(()) };
        match keeping.recv_timeout(asking.watch.next_check_in()) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) => {
                asking.keeping = None;
                let notice = Notice { id: asking.id.clone(), news: News::Checkpointed };
                self.send(&notice, &mut asking.watch)
            }
            Err(RecvTimeoutError::Disconnected) => {
                asking.keeping = None;
                asking.watch.check()?;
                // One that winds up need not be told.
                match asking.watch.winds_up() {
                    true => Ok(()),
                    false => Err(Fault::new(ErrorKind::Cancelled, "its checkpoint cannot be kept")),
                }
            }
        }
    }

    /// Tells a cancelled prover why, and gives it its grace period to answer, whatever it answers. It may still have a
    /// checkpoint kept.
    fn wind_up(&mut self, asking: &mut Asking<'_>, listener: &mut dyn Listener, cancelled: Fault) -> Fault {
        let reason = asking.watch.cancel_reason().unwrap_or(CancelReason::Lost);
        asking.watch.wind_up();
        let notice = Notice { id: asking.id.clone(), news: News::Cancel { reason } };
        let told = self.send(&notice, &mut asking.watch);
        let answered = match told.and_then(|()| self.answer(asking, listener)) {
            Ok(_) => true,
            Err(fault) => fault.answered,
        };
        let in_order = asking.watch.check_output().and_then(|()| self.check_silence()).is_ok();
        Fault { answered: answered && in_order, ..cancelled }
    }

    /// Writes one line.
    fn send(&mut self, line: &impl Serialize, watch: &mut Watch<'_>) -> Result<(), Fault> {
        let unwritten =
            |error| Fault::new(ErrorKind::BadInput, format!("the request cannot be written: {error}"));
        let mut line = serde_json::to_vec(line).map_err(unwritten)?;
        line.push(b'\n');
        self.guarded.send(&line, watch)
    }

    /// Fails if the prover has written a line without a request.
    fn check_silence(&self) -> Result<(), Fault> {
        match self.lines.try_recv() {
            // If its output has ended, the next request finds out how.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
            Ok(Event::Line(line)) => Err(Fault::protocol_violation(format!(
                "it wrote {:?} though nothing was asked",
                start_of(&line)
            ))),
            Ok(Event::TooLong) => {
                Err(Fault::protocol_violation("it wrote a long line though nothing was asked"))
            }
        }
    }

    fn next_response(&mut self, watch: &mut Watch<'_>, id: &str) -> Result<Answer, Fault> {
        let answer = Answer::read(&self.next_line(watch)?, id)?;
        self.answered = true;
        Ok(answer)
    }

    fn next_line(&mut self, watch: &mut Watch<'_>) -> Result<Vec<u8>, Fault> {
        loop {
            // Before a line is taken, which a fault would lose.
            watch.check()?;
            match self.lines.recv_timeout(watch.next_check_in()) {
                Ok(Event::Line(line)) => return Ok(line),
                Ok(Event::TooLong) => {
                    let limit = self.limits.line_bytes;
                    return Err(Fault::protocol_violation(format!(
                        "it wrote a line of more than {limit} bytes"
                    )));
                }
                // If the guard was killed, orphans may hold the prover's output open.
                Err(RecvTimeoutError::Timeout) if self.guarded.is_guard_killed() => {
                    return Err(how_it_ended(self.guarded.wait(EXIT_TIMEOUT), self.answered, &self.limits));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.guarded.wait(EXIT_TIMEOUT);
                    return Err(how_it_ended(status, self.answered, &self.limits));
                }
            }
        }
    }
}

/// 128 random bits.
fn new_id() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(16) => Ok(hex::encode(bytes)),
        Ok(_) => Err(Fault::new(ErrorKind::CouldNotStart, "the system gives too little randomness")),
        Err(error) => Err(Fault::new(ErrorKind::CouldNotStart, format!("no randomness: {error}"))),
    }
}

enum Answer {
    Progress(Update),
    Checkpoint(String),
    Ok(serde_json::Value),
    Error(Fault),
}

impl Answer {
    fn read(line: &[u8], id: &str) -> Result<Answer, Fault> {
        let response = Answer::parse(line)?;
        if response.id.as_deref() != Some(id) {
            let why =
                response.error.map_or(String::new(), |failure| format!(": {}", Fault::from(failure).message));
            return Err(Fault::protocol_violation(format!(
                "it answered request {:?} instead of {id:?}{why}",
                response.id
            )));
        }
        match (response.progress, response.checkpoint, response.ok, response.error) {
            (Some(progress), None, None, None) => {
                let message = response.message.as_deref().map(readable_message);
                Ok(Answer::Progress(Update { progress: progress.clamp(0.0, 1.0), message }))
            }
            (None, Some(text), None, None) if text.len() <= CHECKPOINT_BYTES => Ok(Answer::Checkpoint(text)),
            (None, Some(text), None, None) => Err(Fault::protocol_violation(format!(
                "its checkpoint has {} bytes; {CHECKPOINT_BYTES} are allowed",
                text.len()
            ))),
            (None, None, Some(ok), None) => Ok(Answer::Ok(ok)),
            (None, None, None, Some(failure)) => Ok(Answer::Error(failure.into())),
            _ => Err(Fault::protocol_violation(format!(
                "it wrote {:?}, which must have one of progress, checkpoint, ok, error",
                start_of(line)
            ))),
        }
    }

    fn parse(line: &[u8]) -> Result<Response, Fault> {
        serde_json::from_slice(line).map_err(|error| {
            Fault::protocol_violation(format!("it wrote {:?}, which is no response: {error}", start_of(line)))
        })
    }
}

fn start_of(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).escape_debug().to_string()
}

/// Passes lines on until the prover's output ends, or the session does.
fn read_lines(stdout: ChildStdout, line_bytes: usize, lines: &SyncSender<Event>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        let event = match read_line(&mut stdout, &mut line, line_bytes) {
            Ok(Line::Whole) => Event::Line(std::mem::take(&mut line)),
            // The rest of the line is not read: it may never end.
            Ok(Line::TooLong) => return drop(lines.send(Event::TooLong)),
            // A line without an end was cut off by the prover's death.
            Ok(Line::Unfinished | Line::End) | Err(_) => return,
        };
        if lines.send(event).is_err() {
            return;
        }
    }
}
