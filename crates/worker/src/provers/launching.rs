//! How a slot's prover or verifier is started: its command and environment, its pinned files, the folders that it may
//! write to, its limits, and its isolation.
//!
//! The launcher keeps what is made once for a slot: a place for its provers, one for its verifiers, and a folder with the
//! pinned files of each prover. Only the slot's own thread uses it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proofyard_core::error::with_causes;
use proofyard_core::pipeline::{ACCOUNTS_FOLDER, FILES_FOLDER, PINNED_KEY, PinnedFile, Prover};
use proofyard_core::record::FailureKind;
use proofyard_core::work::AttemptError;
use proofyard_prover::confinement::Confinement;
use proofyard_prover::runner::{Launch, Limits};

use super::SlotPlan;
use super::blame::{self, lasting};
use super::job::Job;
use crate::artifacts::{ArtifactStore, is_full_disk};
use crate::isolation::Role;
use crate::work_dir::{Place, WorkDir, WorkFolder};

pub(super) struct Launcher {
    pub plan: SlotPlan,
    /// The slot's places: where its provers write, and where its verifiers do.
    places: HashMap<Role, Place>,
    /// The folder with each prover's pinned files.
    files: HashMap<String, WorkFolder>,
}

impl Launcher {
    pub fn new(plan: SlotPlan) -> Self {
        Self { plan, places: HashMap::new(), files: HashMap::new() }
    }

    pub fn launch<A: ArtifactStore>(
        &mut self,
        artifacts: &A,
        job: Job<'_>,
        role: Role,
        command: &[String],
    ) -> Result<Launch, AttemptError> {
        let files = self.files_of(artifacts, job)?;
        let (plan, place) = self.plan_and_place(role)?;
        let SlotPlan { isolation, slot, guard, gpus, accounts, .. } = plan;
        let (mut command, mut environment) = (command.to_vec(), environment(plan, job.prover, place));
        environment.extend(environment_from_worker(job)?);
        if let Some(pinned) = &job.prover.verification_key {
            command.iter_mut().for_each(|text| *text = text.replace(PINNED_KEY, pinned));
        }
        if let Some(folder) = files {
            let texts = command.iter_mut().chain(environment.iter_mut().map(|(_, value)| value));
            texts.for_each(|text| *text = text.replace(FILES_FOLDER, &folder));
        }
        if job.prover.contract.is_some() {
            let accounts = accounts.as_ref().ok_or_else(|| {
                lasting("calls of contracts are journaled on one machine, and not by this worker".to_owned())
            })?;
            let folder = accounts.display().to_string();
            command.iter_mut().for_each(|text| *text = text.replace(ACCOUNTS_FOLDER, &folder));
        }
        let writable: Vec<PathBuf> = job.prover.writes.iter().map(|folder| from_home(folder)).collect();
        if isolation.holds() && !isolation.has_users() {
            // An isolated prover cannot make them itself. If one cannot be made here, the prover fails and says so.
            writable.iter().for_each(|folder| _ = fs::create_dir_all(folder));
        }
        Ok(Launch {
            command,
            environment,
            gpus: gpus.clone(),
            working_dir: None,
            guard: guard.clone(),
            confinement: match job.prover.contract {
                // It is the yard's own program, and keeps what other threads of the yard write too.
                Some(_) => Confinement::default(),
                None => isolation.confinement(role, *slot, place.path(), writable.into_iter()),
            },
            limits: limits(job),
        })
    }

    /// A folder for one attempt, in the slot's place for this role.
    pub fn folder(&mut self, role: Role) -> Result<WorkFolder, AttemptError> {
        let (plan, place) = self.plan_and_place(role)?;
        place.folder().map_err(|error| blame::folder_error(&error, &plan.work_dir))
    }

    /// The slot's place for this role, made at first use.
    fn plan_and_place(&mut self, role: Role) -> Result<(&SlotPlan, &Place), AttemptError> {
        let Self { plan, places, .. } = self;
        let place = match places.entry(role) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let name = match role {
                    Role::Prove => format!("prove-{}", plan.slot),
                    Role::Verify => format!("verify-{}", plan.slot),
                };
                let owner = plan.isolation.owner(role, plan.slot);
                let place = plan.work_dir.place(&name, owner);
                unknown.insert(place.map_err(|error| blame::folder_error(&error, &plan.work_dir))?)
            }
        };
        Ok((plan, place))
    }

    /// The folder of the prover's pinned files, made at first use.
    fn files_of<A: ArtifactStore>(
        &mut self,
        artifacts: &A,
        job: Job<'_>,
    ) -> Result<Option<String>, AttemptError> {
        if job.prover.files.is_empty() {
            return Ok(None);
        }
        let folder = match self.files.entry(job.program()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(folder_of_files(artifacts, job, &self.plan.work_dir)?),
        };
        Ok(Some(folder.path().display().to_string()))
    }
}

fn folder_of_files<A: ArtifactStore>(
    artifacts: &A,
    job: Job<'_>,
    work_dir: &Arc<WorkDir>,
) -> Result<WorkFolder, AttemptError> {
    let folder = work_dir.own_folder().map_err(|error| blame::folder_error(&error, work_dir))?;
    for file in &job.prover.files {
        link_file(artifacts, job, file, folder.path())?;
    }
    Ok(folder)
}

/// Links a pinned file into the folder: the link stays when a store that is only a cache on this machine evicts the file.
fn link_file<A: ArtifactStore>(
    artifacts: &A,
    job: Job<'_>,
    file: &PinnedFile,
    folder: &Path,
) -> Result<(), AttemptError> {
    let PinnedFile { name, content } = file;
    let needed = || format!("prover {} needs its file {name} (sha256:{})", job.prover_name, content.sha256);
    let kept = artifacts.fetch(content).map_err(|error| match error.passes() {
        true => AttemptError::HostFault { message: format!("{}: {}", needed(), with_causes(&error)) },
        // It is missing for every other worker too.
        false => AttemptError::Failed {
            kind: FailureKind::BadInput,
            message: format!("{}, which the yard does not have whole; `proofyard keep` stores it", needed()),
            log: vec![with_causes(&error).to_string()],
        },
    })?;
    let target = folder.join(name);
    let linked = fs::hard_link(&kept, &target).or_else(|_| fs::copy(&kept, &target).map(drop));
    linked.map_err(|error| match is_full_disk(&error) {
        true => AttemptError::HostFault { message: format!("{}: {error}", needed()) },
        false => lasting(format!("{}, which cannot be put at {}: {error}", needed(), target.display())),
    })
}

/// The prover's environment. Programs that are installed beside this one are found without being on the PATH; isolated
/// processes have temporary and home folders of their own.
fn environment(plan: &SlotPlan, prover: &Prover, place: &Place) -> Vec<(String, String)> {
    let mut environment = prover.environment.clone();
    let temporary = plan.isolation.holds().then(|| place.temporary());
    for (name, folder) in [("TMPDIR", temporary), ("HOME", place.home())] {
        if let (Some(folder), false) = (folder, environment.contains_key(name)) {
            environment.insert(name.into(), folder.display().to_string());
        }
    }
    let beside = plan.guard.program.parent().map(Path::to_path_buf);
    let path = environment.get("PATH").cloned().or_else(|| env::var("PATH").ok()).unwrap_or_default();
    if let Ok(path) = env::join_paths(beside.into_iter().chain(env::split_paths(&path)))
        && let Ok(path) = path.into_string()
    {
        environment.insert("PATH".into(), path);
    }
    environment.into_iter().collect()
}

/// Variables that the pipeline passes on from this worker's own environment.
fn environment_from_worker(job: Job<'_>) -> Result<Vec<(String, String)>, AttemptError> {
    let value = |name: &String| {
        let value = env::var(name).map_err(|_| {
            let prover = job.prover_name;
            lasting(format!(
                "prover {prover} needs {name} (`environment_from`), and this worker's environment has no such text"
            ))
        })?;
        Ok((name.clone(), value))
    };
    job.prover.environment_from.iter().map(value).collect()
}

fn limits(job: Job<'_>) -> Limits {
    let limits = &job.stage.limits;
    Limits {
        time_ms: limits.time_limit_ms,
        setup_ms: limits.time_limit_ms,
        output_bytes: limits.output_bytes,
        memory_bytes: limits.memory_bytes,
        ..Limits::default()
    }
}

/// Resolves `~/`: the home of the user who runs the yard.
fn from_home(folder: &str) -> PathBuf {
    match (folder.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(folder),
    }
}
