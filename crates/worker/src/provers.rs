//! Running provers for one slot: sessions that stay, programs that are started for each task, and verifiers that are
//! always other processes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proofyard_core::committed::CommittedProof;
use proofyard_core::pipeline::{FILES_FOLDER, PINNED_KEY, PinnedFile, Protocol, Prover, Stage, Verify};
use proofyard_core::record::{self, FailureKind};
use proofyard_core::state::{ArtifactRef, List};
use proofyard_core::work::{Assignment, AttemptError, Executor, Input, InputKind, Proved};
use proofyard_prover::message::{
    self, Input as PathInput, InputKind as PathInputKind, PROOF_SYSTEM_BYTES, PUBLIC_VALUES_BYTES,
    SetupRequest, VERIFICATION_KEY_BYTES,
};
use proofyard_prover::runner::{
    self, Cancel, ErrorKind, GuardCommand, Launch, Limits, Payload, ProverError, Session, count_list,
    named_key, prove_files, verify_files,
};
use proofyard_prover::{ProveRequest, VerifyOk, VerifyRequest};

use crate::artifacts::{ArtifactError, ArtifactStore, Draft, is_full_disk};
use crate::isolation::{Isolation, Role};
use crate::unrecorded_result::UnrecordedResult;
use crate::work_dir::{Place, WorkDir, WorkFolder};

// What a prover may say is what the state has room for.
const _: () = {
    assert!(PUBLIC_VALUES_BYTES == record::MAX_PUBLIC_VALUES_BYTES);
    assert!(VERIFICATION_KEY_BYTES == record::MAX_VERIFICATION_KEY_BYTES);
    assert!(PROOF_SYSTEM_BYTES == record::MAX_PROOF_SYSTEM_BYTES);
    assert!(runner::LOG_LINES == record::LOG_LINES && runner::LOG_LINE_BYTES == record::LOG_LINE_BYTES);
    assert!(runner::MESSAGE_BYTES == record::MESSAGE_BYTES);
};

/// What was made faster than this is made again as soon as it is found.
const WORTH_SETTING_ASIDE: Duration = Duration::from_millis(100);

/// What systems say of what is not allowed.
const DENIED: &str = "ermission denied";
const READ_ONLY: &str = "ead-only file system";
const MAY_WRITE: &str = "isolated, it may change files in its own folders and in those that its prover's `writes` names; \
                         see docs/security.md";

/// What a prover is asked about: a claimed task, or a committed proof that is checked again.
#[derive(Clone, Copy)]
struct Subject<'a> {
    /// Hash of the pipeline that names the prover.
    pipeline: &'a str,
    stage: &'a Stage,
    prover_name: &'a str,
    prover: &'a Prover,
    inputs: &'a [Input],
}

impl Subject<'_> {
    /// One name for each prover of each pipeline.
    fn program(&self) -> String {
        format!("{}\u{0}{}", self.pipeline, self.prover_name)
    }
}

impl<'a> From<&'a Assignment> for Subject<'a> {
    fn from(assignment: &'a Assignment) -> Self {
        Self {
            pipeline: &assignment.task.pipeline,
            stage: assignment.stage(),
            prover_name: &assignment.prover_name,
            prover: assignment.prover(),
            inputs: &assignment.inputs,
        }
    }
}

impl<'a> From<&'a CommittedProof> for Subject<'a> {
    fn from(committed: &'a CommittedProof) -> Self {
        Self {
            pipeline: &committed.task.pipeline,
            stage: committed.stage(),
            prover_name: &committed.prover_name,
            prover: committed.prover(),
            inputs: &committed.inputs,
        }
    }
}

/// A slot of this machine, and what its processes are kept from.
pub(crate) struct SlotPlan {
    pub guard: GuardCommand,
    pub work_dir: Arc<WorkDir>,
    pub gpus: Option<Vec<u32>>,
    pub isolation: Arc<Isolation>,
    /// Its number among all slots of this process, whichever pool it is of.
    pub slot: u32,
}

/// The provers of one slot. Proving and verifying are never the same process, and neither reaches the other.
pub(crate) struct SlotProvers<A> {
    artifacts: Arc<A>,
    plan: SlotPlan,
    cancel: RefCell<Cancel>,
    sessions: RefCell<HashMap<(String, Role), Session>>,
    /// Where provers write, and where verifiers do.
    places: RefCell<HashMap<Role, Rc<Place>>>,
    /// Where the files of each prover lie ready.
    files: RefCell<HashMap<String, WorkFolder>>,
    /// Time spent in provers and verifiers in this attempt.
    in_provers: Cell<Duration>,
}

/// What the prover wrote, out of its reach, and what it was made from.
pub(crate) struct Copied {
    proof: Proof,
    /// How long it took to make.
    took: Duration,
    inputs: Vec<PathInput>,
}

enum Proof {
    Draft(Draft),
    /// By an earlier attempt.
    Stored {
        path: PathBuf,
        artifact: ArtifactRef,
    },
}

impl<A: ArtifactStore> SlotProvers<A> {
    pub fn new(artifacts: Arc<A>, plan: SlotPlan) -> Self {
        let (cancel, sessions, places, files, in_provers) = Default::default();
        Self { artifacts, plan, cancel, sessions, places, files, in_provers }
    }

    /// Starts an attempt; its calls end when this token is cancelled.
    pub fn begin(&self, cancel: Cancel) {
        *self.cancel.borrow_mut() = cancel;
        self.in_provers.set(Duration::ZERO);
    }

    /// How much of the attempt was spent in provers and verifiers.
    pub fn in_provers(&self) -> Duration {
        self.in_provers.get()
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        let done = work();
        self.in_provers.set(self.in_provers.get() + since.elapsed());
        done
    }

    fn prove_now(&self, assignment: &Assignment) -> Result<Proved<Copied>, AttemptError> {
        self.expect_isolation(assignment)?;
        let subject = Subject::from(assignment);
        let folder = self.folder(Role::Prove)?;
        let output_dir = self.inner(&folder, "out")?;
        let request = ProveRequest {
            task: assignment.task.id.to_string(),
            attempt: assignment.attempt,
            inputs: self.inputs(subject)?,
            output_dir,
            gpus: self.plan.gpus.clone().unwrap_or_default(),
            deadline_ms: assignment.stage().limits.time_limit_ms,
        };
        let launch = self.launch(subject, Role::Prove, &subject.prover.command)?;
        let cancel = self.cancel.borrow().clone();
        let began = Instant::now();
        let made = self.timed(|| match payload(subject.prover.protocol) {
            Some(payload) => prove_files(&launch, payload, &assignment.match_fields(), &request, &cancel),
            None => self
                .ask(subject, Role::Prove, &launch, |session| session.prove(&request, &cancel, &mut |_| {})),
        });
        let made = made.map_err(|error| self.blamed(trouble(error)))?;
        // The checked, still open file, since the prover may put another one under its path.
        let draft = self
            .artifacts
            .draft(made.output.file.take(made.output.bytes), made.output.bytes, &made.output.path)
            .map_err(kept)?;
        expect_list(&draft, made.ok.list)?;
        let (sha256, draft_path) = (draft.artifact().sha256.clone(), draft.path().to_owned());
        Ok(Proved {
            output: Copied { proof: Proof::Draft(draft), took: began.elapsed(), inputs: request.inputs },
            claimed_public_values: made.ok.public_values.map(|value| bare_hex(&value)),
            verification_key: made.ok.verification_key.or_else(|| key_of_file(subject.prover, &draft_path)),
            proof_system: made.ok.proof_system,
            security_bits: made.ok.security_bits,
            trusted_setup: made.ok.trusted_setup,
            cycles: made.ok.cycles,
            list: made.ok.list.map(|list| List { count: list.count, sha256 }),
            fields: made.ok.fields,
        })
    }

    /// A strict pipeline may have come after this worker.
    fn expect_isolation(&self, assignment: &Assignment) -> Result<(), AttemptError> {
        match self.plan.isolation.warning() {
            Some(warning) if assignment.pipeline.chain.strict => {
                let message = format!("{warning}; the pipeline is strict, so nothing is proved here");
                Err(AttemptError::HostFault { message })
            }
            _ => Ok(()),
        }
    }

    fn verify_now(&self, assignment: &Assignment, proved: &Proved<Copied>) -> Result<String, AttemptError> {
        let Copied { proof, took, inputs } = &proved.output;
        let folder = self.folder(Role::Verify)?;
        let path = match proof {
            Proof::Draft(draft) => {
                if *took >= WORTH_SETTING_ASIDE {
                    let made = UnrecordedResult::of(assignment, proved, draft.artifact()).to_json();
                    self.artifacts.set_aside(draft, &assignment.task.id, made).map_err(kept)?;
                }
                draft.begin_sync();
                draft.path()
            }
            Proof::Stored { path, .. } => path,
        };
        let request = VerifyRequest {
            proof: path.to_owned(),
            verification_key: accepted_key(assignment.prover(), proved.verification_key.as_deref()),
            inputs: inputs.clone(),
            output_dir: self.inner(&folder, "verify")?,
        };
        self.ask_verifier(Subject::from(assignment), &request, proved.proof_system.as_deref())
    }

    fn recall_now(&self, assignment: &Assignment) -> Result<Option<Proved<Copied>>, AttemptError> {
        let dismissed = |why: &str| {
            self.artifacts.dismiss(&assignment.task.id, why);
            Ok(None)
        };
        let unless_it_passes = |error: ArtifactError| match error.passes() {
            true => Err(kept(error)),
            false => dismissed(&error.to_string()),
        };
        let made = match self.artifacts.recall(&assignment.task.id) {
            Ok(Some(made)) => made,
            Ok(None) => return Ok(None),
            Err(error) => return unless_it_passes(error),
        };
        let made = match UnrecordedResult::read(&made, assignment) {
            Ok(made) => made,
            Err(why) => return dismissed(&why),
        };
        let artifact = made.artifact.clone();
        let path = match self.artifacts.fetch(&artifact) {
            Ok(path) => path,
            Err(error) => return unless_it_passes(error),
        };
        let inputs = self.inputs(Subject::from(assignment))?;
        let proof = Proof::Stored { path, artifact };
        let took = Duration::ZERO;
        Ok(Some(made.into_proved(Copied { proof, took, inputs })))
    }

    fn store_now(
        &self,
        assignment: &Assignment,
        proved: &Proved<Copied>,
    ) -> Result<ArtifactRef, ArtifactError> {
        match &proved.output.proof {
            Proof::Stored { artifact, .. } => Ok(artifact.clone()),
            // What no verifier can judge is not taken up either.
            Proof::Draft(draft) if assignment.must_verify() => {
                let made = UnrecordedResult::of(assignment, proved, draft.artifact()).to_json();
                self.artifacts.keep_for(draft, &assignment.task.id, made)
            }
            Proof::Draft(draft) => self.artifacts.keep(draft),
        }
    }

    /// Whether an artifact is there as it was kept.
    pub fn is_whole(&self, artifact: &ArtifactRef) -> Result<(), AttemptError> {
        self.artifacts.fetch(artifact).map(drop).map_err(kept)
    }

    /// Verifies a committed proof from the artifacts alone; answers its public values.
    pub fn verify_again(&self, committed: &CommittedProof) -> Result<String, AttemptError> {
        let artifact = &committed.proof.artifact;
        let path = self.artifacts.fetch(artifact).map_err(kept)?;
        let subject = Subject::from(committed);
        let folder = self.folder(Role::Verify)?;
        let request = VerifyRequest {
            proof: path,
            verification_key: accepted_key(committed.prover(), committed.proof.verification_key.as_deref()),
            inputs: self.inputs(subject)?,
            output_dir: self.inner(&folder, "verify")?,
        };
        self.ask_verifier(subject, &request, committed.proof.proof_system.as_deref())
    }

    /// The public values, if the verifier accepts the proof and its proof system is the one that was claimed.
    fn ask_verifier(
        &self,
        subject: Subject<'_>,
        request: &VerifyRequest,
        claimed_system: Option<&str>,
    ) -> Result<String, AttemptError> {
        let command = match &subject.prover.verify {
            Verify::Command(command) => command,
            Verify::Same | Verify::None => &subject.prover.command,
        };
        let launch = self.launch(subject, Role::Verify, command)?;
        let verdict = self.timed(|| self.verdict(subject, &launch, request));
        let ok = verdict.map_err(|error| self.blamed(refused(error)))?;
        match claimed_system.zip(ok.proof_system.as_deref()) {
            Some((claimed, system)) if claimed != system => Err(AttemptError::Failed {
                kind: FailureKind::Transient,
                message: format!(
                    "prover {} calls its proof one of {claimed}, and the verifier that accepts it is of {system}",
                    subject.prover_name
                ),
                log: Vec::new(),
            }),
            _ => Ok(bare_hex(&ok.public_values)),
        }
    }

    fn verdict(
        &self,
        subject: Subject<'_>,
        launch: &Launch,
        request: &VerifyRequest,
    ) -> Result<VerifyOk, ProverError> {
        let cancel = self.cancel.borrow().clone();
        match payload(subject.prover.protocol) {
            Some(_) => verify_files(launch, request, &cancel),
            None => self.ask(subject, Role::Verify, launch, |session| session.verify(request, &cancel)),
        }
    }

    /// Asks the slot's session of this prover, which is started and set up where there is none.
    fn ask<T>(
        &self,
        subject: Subject<'_>,
        role: Role,
        launch: &Launch,
        question: impl FnOnce(&mut Session) -> Result<T, ProverError>,
    ) -> Result<T, ProverError> {
        let key = (subject.program(), role);
        let mut sessions = self.sessions.borrow_mut();
        let known = sessions.remove(&key).and_then(|mut session| session.is_waiting().then_some(session));
        let mut session = match known {
            Some(session) => session,
            None => self.start(subject, launch)?,
        };
        // Stages with limits of their own may share a prover.
        session.set_limits(launch.limits.clone());
        let answer = question(&mut session);
        if session.is_usable() {
            sessions.insert(key, session);
        }
        answer
    }

    fn start(&self, subject: Subject<'_>, launch: &Launch) -> Result<Session, ProverError> {
        let mut session = Session::start(launch)?;
        let setup = SetupRequest {
            gpus: self.plan.gpus.clone().unwrap_or_default(),
            arguments: subject.prover.arguments.clone(),
        };
        let ok = session.setup(&setup, &self.cancel.borrow())?;
        match ok.verification_key {
            Some(key) => has_pinned_key(subject, &key, launch).map(|()| session),
            None => Ok(session),
        }
    }

    fn launch(&self, subject: Subject<'_>, role: Role, command: &[String]) -> Result<Launch, AttemptError> {
        let limits = &subject.stage.limits;
        let place = self.place(role)?;
        let (mut command, mut environment) = (command.to_vec(), self.environment(subject.prover, &place));
        environment.extend(handed_on(subject)?);
        if let Some(pinned) = &subject.prover.verification_key {
            command.iter_mut().for_each(|text| *text = text.replace(PINNED_KEY, pinned));
        }
        let SlotPlan { isolation, slot, .. } = &self.plan;
        let writable: Vec<PathBuf> = subject.prover.writes.iter().map(|folder| from_home(folder)).collect();
        if isolation.holds() && !isolation.has_users() {
            // Out of its place it cannot make them itself. One that cannot be made is missed by the prover, which says so.
            writable.iter().for_each(|folder| _ = fs::create_dir_all(folder));
        }
        let confinement = isolation.confinement(role, *slot, place.path(), writable.into_iter());
        if let Some(folder) = self.files_of(subject)? {
            let told = command.iter_mut().chain(environment.iter_mut().map(|(_, value)| value));
            told.for_each(|text| *text = text.replace(FILES_FOLDER, &folder));
        }
        Ok(Launch {
            command,
            environment,
            gpus: self.plan.gpus.clone(),
            working_dir: None,
            guard: self.plan.guard.clone(),
            confinement,
            limits: Limits {
                time_ms: limits.time_limit_ms,
                setup_ms: limits.time_limit_ms,
                output_bytes: limits.output_bytes,
                memory_bytes: limits.memory_bytes,
                ..Limits::default()
            },
        })
    }

    /// The folder of the prover's files, which is made once for each slot.
    fn files_of(&self, subject: Subject<'_>) -> Result<Option<String>, AttemptError> {
        if subject.prover.files.is_empty() {
            return Ok(None);
        }
        let mut files = self.files.borrow_mut();
        let program = subject.program();
        if !files.contains_key(&program) {
            let folder = self.plan.work_dir.own_folder().map_err(|error| self.no_folder(&error))?;
            for file in &subject.prover.files {
                self.lay_ready(subject, file, folder.path())?;
            }
            files.insert(program.clone(), folder);
        }
        Ok(files.get(&program).map(|folder| folder.path().display().to_string()))
    }

    /// A link, so that it stays when a store that keeps only so much here drops its own name for it.
    fn lay_ready(&self, subject: Subject<'_>, file: &PinnedFile, folder: &Path) -> Result<(), AttemptError> {
        let wanted = || {
            let PinnedFile { name, content } = file;
            format!("prover {} needs its file {name} (sha256:{})", subject.prover_name, content.sha256)
        };
        let kept = self.artifacts.fetch(&file.content).map_err(|error| match error.passes() {
            true => AttemptError::HostFault { message: format!("{}: {error}", wanted()) },
            // As bad for every other worker.
            false => AttemptError::Failed {
                kind: FailureKind::BadInput,
                message: format!(
                    "{}, which the yard does not have whole; `proofyard keep` stores it",
                    wanted()
                ),
                log: vec![error.to_string()],
            },
        })?;
        let ready = folder.join(&file.name);
        let laid = fs::hard_link(&kept, &ready).or_else(|_| fs::copy(&kept, &ready).map(drop));
        laid.map_err(|error| match is_full_disk(&error) {
            true => AttemptError::HostFault { message: format!("{}: {error}", wanted()) },
            false => here(format!("{}, which cannot be put at {}: {error}", wanted(), ready.display())),
        })
    }

    /// Provers that are installed beside this program are found without being on the PATH. Those that are kept from
    /// others have folders of their own for what they would put where others do.
    fn environment(&self, prover: &Prover, place: &Place) -> Vec<(String, String)> {
        let mut environment = prover.environment.clone();
        let temporary = self.plan.isolation.holds().then(|| place.temporary());
        for (name, folder) in [("TMPDIR", temporary), ("HOME", place.home())] {
            if let (Some(folder), false) = (folder, environment.contains_key(name)) {
                environment.insert(name.into(), folder.display().to_string());
            }
        }
        let here = self.plan.guard.program.parent().map(Path::to_path_buf);
        let path = environment.get("PATH").cloned().or_else(|| env::var("PATH").ok()).unwrap_or_default();
        if let Ok(path) = env::join_paths(here.into_iter().chain(env::split_paths(&path)))
            && let Ok(path) = path.into_string()
        {
            environment.insert("PATH".into(), path);
        }
        environment.into_iter().collect()
    }

    fn folder(&self, role: Role) -> Result<WorkFolder, AttemptError> {
        self.place(role)?.folder().map_err(|error| self.no_folder(&error))
    }

    /// The slot's place for this, which is made once.
    fn place(&self, role: Role) -> Result<Rc<Place>, AttemptError> {
        if let Some(place) = self.places.borrow().get(&role) {
            return Ok(Rc::clone(place));
        }
        let SlotPlan { isolation, work_dir, slot, .. } = &self.plan;
        let name = match role {
            Role::Prove => format!("prove-{slot}"),
            Role::Verify => format!("verify-{slot}"),
        };
        let place = work_dir.place(&name, isolation.owner(role, *slot));
        let place = Rc::new(place.map_err(|error| self.no_folder(&error))?);
        self.places.borrow_mut().insert(role, Rc::clone(&place));
        Ok(place)
    }

    fn inner(&self, folder: &WorkFolder, name: &str) -> Result<PathBuf, AttemptError> {
        folder.inner(name).map_err(|error| self.no_folder(&error))
    }

    fn no_folder(&self, error: &io::Error) -> AttemptError {
        let message = format!("no folder can be made in {}: {error}", self.plan.work_dir.path().display());
        if is_full_disk(error) { AttemptError::HostFault { message } } else { here(message) }
    }

    /// What a prover says while it finds no room on our disk is no word about its task. One that is kept from others may
    /// miss what it had before.
    fn blamed(&self, trouble: AttemptError) -> AttemptError {
        let is_denied = |text: &String| text.contains(DENIED) || text.contains(READ_ONLY);
        match trouble {
            AttemptError::Failed { kind, message, log }
                if self.plan.isolation.holds()
                    && (is_denied(&message) || log.iter().any(is_denied))
                    && !self.plan.work_dir.is_full() =>
            {
                AttemptError::Failed { kind, message: format!("{message} ({MAY_WRITE})"), log }
            }
            AttemptError::Failed { message, .. } if self.plan.work_dir.is_full() => AttemptError::HostFault {
                message: format!("{} is on a full disk: {message}", self.plan.work_dir.path().display()),
            },
            trouble => trouble,
        }
    }

    fn inputs(&self, subject: Subject<'_>) -> Result<Vec<PathInput>, AttemptError> {
        subject.inputs.iter().map(|input| self.input(input)).collect()
    }

    fn input(&self, input: &Input) -> Result<PathInput, AttemptError> {
        let artifact = &input.artifact;
        Ok(PathInput {
            kind: match input.kind {
                InputKind::Block => PathInputKind::Block,
                InputKind::Proof => PathInputKind::Proof,
                InputKind::Data => PathInputKind::Data,
            },
            path: self.artifacts.fetch(artifact).map_err(unusable)?,
            index: input.index,
            stage: input.stage.clone(),
            task_index: input.task_index,
            public_values: input.public_values.clone(),
            verification_key: input.verification_key.clone(),
        })
    }
}

impl<A: ArtifactStore> Executor for SlotProvers<A> {
    type Output = Copied;

    async fn prove(&mut self, assignment: &Assignment) -> Result<Proved<Copied>, AttemptError> {
        self.prove_now(assignment)
    }

    async fn verify(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Copied>,
    ) -> Result<String, AttemptError> {
        self.verify_now(assignment, proved)
    }

    async fn store(
        &mut self,
        assignment: &Assignment,
        proved: &Proved<Copied>,
    ) -> Result<ArtifactRef, AttemptError> {
        self.store_now(assignment, proved).map_err(kept)
    }

    async fn recall(&mut self, assignment: &Assignment) -> Result<Option<Proved<Copied>>, AttemptError> {
        self.recall_now(assignment)
    }

    async fn dismiss(&mut self, assignment: &Assignment, why: &str) {
        self.artifacts.dismiss(&assignment.task.id, why);
    }

    async fn forget(&mut self, assignment: &Assignment) {
        if assignment.must_verify() {
            self.artifacts.forget(&assignment.task.id);
        }
    }
}

/// `~/` is the home of whoever runs the yard.
fn from_home(folder: &str) -> PathBuf {
    match (folder.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(folder),
    }
}

/// What a prover is to have of this worker's own environment.
fn handed_on(subject: Subject<'_>) -> Result<Vec<(String, String)>, AttemptError> {
    let value = |name: &String| {
        let value = env::var(name).map_err(|_| {
            let prover = subject.prover_name;
            here(format!("prover {prover} needs {name} (`environment_from`), and this worker's environment has no such text"))
        })?;
        Ok((name.clone(), value))
    };
    subject.prover.environment_from.iter().map(value).collect()
}

/// What a verifier is told to accept: the pinned key, whatever the prover named.
fn accepted_key(prover: &Prover, named: Option<&str>) -> Option<String> {
    prover.verification_key.as_deref().or(named).map(str::to_owned)
}

/// Refuses a prover before it proves for hours what no one would accept. Another worker may have the right program and
/// keys, so it is no verdict on the task.
fn has_pinned_key(subject: Subject<'_>, key: &str, launch: &Launch) -> Result<(), ProverError> {
    let Some(pinned) = subject.prover.other_key(Some(key)) else { return Ok(()) };
    let message = format!(
        "prover {} was set up here with verification key {key}, and the pipeline pins {pinned}: this worker has another \
         program, or other keys",
        subject.prover_name
    );
    Err(ProverError {
        kind: ErrorKind::Transient,
        message,
        command: launch.command.join(" "),
        log: Vec::new(),
    })
}

fn payload(protocol: Protocol) -> Option<Payload> {
    match protocol {
        Protocol::Stream => None,
        Protocol::Files => Some(Payload::Request),
        Protocol::FilesBare => Some(Payload::Bare),
        Protocol::FilesHeight => Some(Payload::Height),
        Protocol::FilesList => Some(Payload::List),
    }
}

/// The key of a files prover's proof, where the pipeline pins one: the one that the file names, or else the pinned one,
/// which is what its verifier is told to accept.
fn key_of_file(prover: &Prover, proof: &Path) -> Option<String> {
    let pinned = prover.verification_key.as_ref().filter(|_| prover.protocol != Protocol::Stream)?;
    let named = fs::File::open(proof).ok().and_then(named_key);
    Some(named.map_or_else(|| pinned.clone(), |named| bare_hex(&named)))
}

/// What was counted when the prover answered is what was copied then: it may have gone on writing.
fn expect_list(draft: &Draft, list: Option<message::List>) -> Result<(), AttemptError> {
    let Some(list) = list else { return Ok(()) };
    let content = fs::File::open(draft.path()).map_err(|error| here(error.to_string()))?;
    match count_list(content) {
        Some(count) if count == list.count => Ok(()),
        _ => Err(here("its list changed while it was copied".to_owned())),
    }
}

/// One spelling, so that values compare as text.
fn bare_hex(value: &str) -> String {
    value.strip_prefix("0x").unwrap_or(value).to_ascii_lowercase()
}

fn trouble(error: ProverError) -> AttemptError {
    let kind = match error.kind {
        ErrorKind::Cancelled => return AttemptError::Cancelled,
        ErrorKind::HostFault => return AttemptError::HostFault { message: error.to_string() },
        ErrorKind::Permanent => FailureKind::Permanent,
        ErrorKind::Unavailable => FailureKind::Unavailable,
        ErrorKind::Died { signal: Some(_), .. } => FailureKind::Crash,
        ErrorKind::BadInput => FailureKind::BadInput,
        _ => FailureKind::Transient,
    };
    AttemptError::Failed { kind, message: error.to_string(), log: error.log }
}

/// A proof that its verifier refuses says nothing about the next try.
fn refused(error: ProverError) -> AttemptError {
    match trouble(error) {
        AttemptError::Failed {
            kind: kind @ (FailureKind::Unavailable | FailureKind::Crash),
            message,
            log,
        } => AttemptError::Failed { kind, message: format!("the verifier: {message}"), log },
        AttemptError::Failed { message, log, .. } => {
            let message = format!("the verifier did not accept it: {message}");
            AttemptError::Failed { kind: FailureKind::Transient, message, log }
        }
        other => other,
    }
}

/// A fault of an input. One that is not there, or not whole, is as bad for every other worker.
fn unusable(error: ArtifactError) -> AttemptError {
    let is_lost = error.is_lost();
    match kept(error) {
        AttemptError::Failed { message, log, .. } if is_lost => {
            AttemptError::Failed { kind: FailureKind::BadInput, message, log }
        }
        other => other,
    }
}

/// A fault of an artifact: either it passes, or something is wrong with it that an operator must see.
fn kept(error: ArtifactError) -> AttemptError {
    let message = error.to_string();
    if error.passes() { AttemptError::HostFault { message } } else { here(message) }
}

/// A fault of this machine, not of the prover, that does not pass by itself.
fn here(message: String) -> AttemptError {
    AttemptError::Failed { kind: FailureKind::Transient, message, log: Vec::new() }
}
