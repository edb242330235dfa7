//! The bench that checks work on: folders, processes that are started as a yard starts them, and the proofs made so far.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{MARK, Outcome, Protocol, ProverUnderTest, Stop, Verifier};
use crate::confinement::Confinement;
use crate::message::{Input, ProveOk, ProveRequest, SetupOk, SetupRequest, VerifyOk, VerifyRequest};
use crate::processes::with_environment;
use crate::runner::{
    Cancel, Launch, Listener, Payload, Proved, ProverError, Session, prove_files, verify_files,
};

const NO_STREAM: &str = "a files prover is started for each task";

/// How long killed processes may take to disappear.
const GONE_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Bench<'a> {
    pub subject: &'a ProverUnderTest,
    /// The current check.
    check: &'static str,
    folders: u32,
    mark: String,
    /// A prover could not be started, so no further check tries.
    unstartable: bool,
    /// The process that proves, kept from check to check while it is usable.
    prover: Option<Process>,
    /// The process that verifies, kept likewise.
    verifier: Option<Process>,
    /// The proofs of the first task and of the second.
    pub made: [Option<Made>; 2],
    /// The first answer broke the protocol: how.
    pub ill_formed: Option<Stop>,
    /// Whether any checkpoint came with them.
    pub sends_checkpoints: bool,
    /// Whether a verifier accepted the first of them.
    pub is_accepted: bool,
}

/// A proof, read into memory, where its prover cannot change it.
pub(super) struct Made {
    pub ok: ProveOk,
    pub content: Vec<u8>,
    pub took: Duration,
}

/// A running stream prover, or a files prover, which runs only while it works.
pub(super) enum Process {
    Stream { session: Session, setup: SetupOk, sent_checkpoint: bool },
    Files { launch: Launch, payload: Payload },
}

/// Where one process runs.
#[derive(Default)]
pub(super) struct Surroundings {
    pub working_dir: Option<PathBuf>,
    /// For temporary files.
    pub temporary_dir: Option<PathBuf>,
}

impl<'a> Bench<'a> {
    pub fn new(subject: &'a ProverUnderTest) -> io::Result<Bench<'a>> {
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let mark = format!("{}-{now_ns}", std::process::id());
        let (check, folders, unstartable, is_accepted) = ("", 0, false, false);
        let (prover, verifier, made) = (None, None, [None, None]);
        fs::create_dir_all(&subject.folder)?;
        let ill_formed = None;
        Ok(Bench {
            subject,
            check,
            folders,
            mark,
            unstartable,
            prover,
            verifier,
            made,
            ill_formed,
            sends_checkpoints: false,
            is_accepted,
        })
    }

    pub fn begin(&mut self, check: &'static str) -> &mut Self {
        self.check = check;
        self
    }

    /// A new folder for the current check.
    pub fn folder(&mut self, name: &str) -> io::Result<PathBuf> {
        self.folders += 1;
        let folder = self.subject.folder.join(format!("{:03}-{}-{name}", self.folders, self.check));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    pub fn is_stream(&self) -> bool {
        self.subject.protocol == Protocol::Stream
    }

    /// Only a stream prover is asked more than once.
    pub fn needs_stream(&self) -> Result<(), Stop> {
        if self.is_stream() { Ok(()) } else { Err(Stop::untried(NO_STREAM)) }
    }

    /// The inputs of the first task (0) or the second.
    pub fn inputs(&self, task: usize) -> Result<Vec<Input>, Stop> {
        let missing = "there is one task only; give inputs of another one too";
        self.subject.tasks.get(task).cloned().ok_or_else(|| Stop::untried(missing))
    }

    /// The proof of a task that an earlier check made.
    pub fn made(&self, task: usize) -> Result<&Made, Stop> {
        let which = ["first", "second"].get(task).copied().unwrap_or("other");
        let made = self.made.get(task).and_then(Option::as_ref);
        made.ok_or_else(|| Stop::untried(format!("there is no proof of the {which} task")))
    }

    /// A request whose task is named after the current check.
    pub fn prove_request(&mut self, inputs: Vec<Input>) -> Result<ProveRequest, Stop> {
        let task = format!("check/{}", self.check);
        let (output_dir, deadline_ms) = (self.folder("out")?, self.subject.limits.time_ms);
        let resume = None;
        Ok(ProveRequest { task, attempt: 1, inputs, output_dir, gpus: Vec::new(), deadline_ms, resume })
    }

    pub fn verify_request(&mut self, proof: &[u8], inputs: Vec<Input>) -> Result<VerifyRequest, Stop> {
        let path = self.folder("proof")?.join("proof");
        fs::write(&path, proof)?;
        let verification_key = self.made(0)?.ok.verification_key.clone();
        Ok(VerifyRequest { proof: path, verification_key, inputs, output_dir: self.folder("verify")? })
    }

    /// A new process of the prover, set up.
    pub fn start(&mut self, surroundings: Surroundings) -> Result<Process, Stop> {
        if self.unstartable {
            return Err(Stop::untried("it cannot be started or set up"));
        }
        let launch = self.launch(&self.subject.command, surroundings)?;
        let started = Process::start(launch, self.subject.protocol);
        self.unstartable = started.is_err();
        Ok(started?)
    }

    /// The process that proves, started anew if the last one is no longer usable.
    pub fn prover(&mut self) -> Result<&mut Process, Stop> {
        let kept = self.prover.take().filter(Process::is_usable);
        let prover = match kept {
            Some(prover) => prover,
            None => self.start(Surroundings::default())?,
        };
        Ok(self.prover.insert(prover))
    }

    /// Ends the process that proves; the next check gets another one.
    pub fn end_prover(&mut self) {
        self.prover = None;
    }

    /// A process for verifying, which has proved nothing.
    pub fn verifier(&mut self) -> Result<&mut Process, Stop> {
        let kept = self.verifier.take().filter(Process::is_usable);
        let verifier = match kept {
            Some(verifier) => verifier,
            None => self.start_verifier(Surroundings::default())?,
        };
        Ok(self.verifier.insert(verifier))
    }

    pub fn start_verifier(&mut self, surroundings: Surroundings) -> Result<Process, Stop> {
        let command = match &self.subject.verifier {
            Verifier::Same => return self.start(surroundings),
            Verifier::Command(command) => command,
            Verifier::None => return Err(Stop::untried("it has no verifier")),
        };
        let launch = self.launch(command, surroundings)?;
        Ok(Process::start(launch, self.subject.protocol)?)
    }

    /// How to start a process in these surroundings.
    pub fn launch(&self, command: &[String], surroundings: Surroundings) -> io::Result<Launch> {
        let subject = self.subject;
        let temporary = surroundings.temporary_dir.unwrap_or_else(|| subject.folder.join("temporary"));
        fs::create_dir_all(&temporary)?;
        // Made absolute here, since the environment passes it as it is; the runner does so for paths in requests.
        let temporary = std::path::absolute(temporary)?;
        let mut environment = subject.environment.clone();
        environment.push((MARK.into(), self.mark.clone()));
        environment.push(("TMPDIR".into(), temporary.display().to_string()));
        let command = match &surroundings.working_dir {
            Some(_) => command.iter().map(|word| absolute(word)).collect(),
            None => command.to_vec(),
        };
        let (guard, limits) = (subject.guard.clone(), subject.limits.clone());
        let (working_dir, confinement) = (surroundings.working_dir, Confinement::default());
        Ok(Launch { command, environment, gpus: None, working_dir, guard, confinement, limits })
    }

    /// Ends the processes that are kept for later checks, and fails if any process of the kit is still running then.
    pub fn all_are_gone(&mut self) -> Outcome {
        (self.prover, self.verifier) = (None, None);
        let began = Instant::now();
        while began.elapsed() < GONE_WITHIN {
            if with_environment(MARK, &self.mark).is_empty() {
                return Ok(String::new());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let left: Vec<String> =
            with_environment(MARK, &self.mark).iter().map(|process| process.pid.to_string()).collect();
        let within_s = GONE_WITHIN.as_secs();
        Err(Stop::failed(format!("{within_s} s after it was killed processes are left: {}", left.join(", "))))
    }
}

impl Process {
    pub fn start(launch: Launch, protocol: Protocol) -> Result<Process, ProverError> {
        match protocol {
            Protocol::Files(payload) => Ok(Process::Files { launch, payload }),
            Protocol::Stream => {
                let mut session = Session::start(&launch)?;
                let setup = session.setup(&SetupRequest::default(), &Cancel::new())?;
                Ok(Process::Stream { session, setup, sent_checkpoint: false })
            }
        }
    }

    /// Whether it has sent any checkpoint.
    pub fn has_sent_checkpoint(&self) -> bool {
        matches!(self, Process::Stream { sent_checkpoint: true, .. })
    }

    /// The same, killed at once where it is cancelled.
    pub fn killed_when_cancelled(mut self) -> Process {
        if let Process::Stream { session, .. } = &mut self {
            session.kill_when_cancelled();
        }
        self
    }

    /// Whether its setup says that it hears of cancels.
    pub fn hears_cancels(&self) -> bool {
        match self {
            Process::Stream { setup, .. } => setup.cancel,
            Process::Files { .. } => false,
        }
    }

    pub fn is_usable(&self) -> bool {
        match self {
            Process::Stream { session, .. } => session.is_usable(),
            Process::Files { .. } => true,
        }
    }

    pub fn session(&mut self) -> Result<&mut Session, Stop> {
        match self {
            Process::Stream { session, .. } => Ok(session),
            Process::Files { .. } => Err(Stop::untried(NO_STREAM)),
        }
    }

    /// The session, for a caller that ends it.
    pub fn into_session(self) -> Result<Session, Stop> {
        match self {
            Process::Stream { session, .. } => Ok(session),
            Process::Files { .. } => Err(Stop::untried(NO_STREAM)),
        }
    }

    pub fn prove(&mut self, request: &ProveRequest, cancel: &Cancel) -> Result<Proved, ProverError> {
        match self {
            Process::Stream { session, sent_checkpoint, .. } => {
                session.prove_heard(request, cancel, &mut Notes(sent_checkpoint))
            }
            Process::Files { launch, payload } => prove_files(launch, *payload, &[], request, cancel),
        }
    }

    pub fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, ProverError> {
        match self {
            Process::Stream { session, .. } => session.verify(request, &Cancel::new()),
            Process::Files { launch, .. } => verify_files(launch, request, &Cancel::new()),
        }
    }

    /// What it wrote to its log about the last request; a files prover's log is kept only with its failures.
    pub fn last_log_lines(&self) -> Vec<String> {
        match self {
            Process::Stream { session, .. } => session.last_log_lines(),
            Process::Files { .. } => Vec::new(),
        }
    }
}

/// Notes that there was a checkpoint, which it confirms.
struct Notes<'a>(&'a mut bool);

impl Listener for Notes<'_> {
    fn checkpoint(&mut self, _text: String) -> Receiver<()> {
        *self.0 = true;
        confirmed()
    }
}

/// Says at once that a checkpoint is kept.
pub(super) fn confirmed() -> Receiver<()> {
    let (sender, kept) = sync_channel(1);
    // There is room for one.
    let _ = sender.send(());
    kept
}

impl Made {
    pub fn read(proved: Proved, took: Duration) -> io::Result<Made> {
        let mut content = Vec::new();
        proved.output.file.take(proved.output.bytes).read_to_end(&mut content)?;
        Ok(Made { ok: proved.ok, content, took })
    }
}

/// Makes an argument absolute if it names an existing file, so that it does in another working folder too.
fn absolute(word: &str) -> String {
    let is_path = word.contains('/') && Path::new(word).exists();
    let absolute = env::current_dir().ok().filter(|_| is_path).map(|here| here.join(word));
    absolute.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| word.to_owned())
}

/// How long something took, as people read it.
pub(super) fn span(time: Duration) -> String {
    match time.as_millis() {
        0..10_000 => format!("{} ms", time.as_millis()),
        _ => format!("{} s", time.as_secs()),
    }
}

/// The names in a folder, in order.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let names: io::Result<Vec<String>> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect();
    names.map(|mut names| {
        names.sort();
        names
    })
}
