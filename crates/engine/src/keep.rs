//! What came and is not recorded yet, on disk: a call is written down while the execution client works on it, its witness as it
//! comes. So what a killed yard had answered is recorded by the next one, and no call waits for a disk.
//!
//! | file | holds |
//! | --- | --- |
//! | `ID.part` | a call that is not answered yet |
//! | `ID.valid` | a call that was answered VALID |
//! | `ID.refused` | one that cannot be a block here; the next start tries it again |
//! | `ID.witness` | what came with it, as it came |
//!
//! Ids are times of arrival, so that files are in the order of calls.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::shared::Shared;

/// Messages that may wait for the disk, of each kind: calls; pieces of witnesses, of some hundred kilobytes at most.
const WAITING: usize = 256;
/// How long a witness may wait for its place, all its pieces together.
const MOST_WAIT: Duration = Duration::from_millis(50);
/// How long an answer waits at most until it is sure that its call outlives this process: to give a file another name takes a part
/// of a millisecond, unless the disk is in trouble, which has it later then.
const ANSWER_WAIT: Duration = Duration::from_millis(25);
/// The same for the rest of its witness, which may be long: a yard that is killed before it is written has the block without it.
const WITNESS_WAIT: Duration = Duration::from_millis(1);
/// Calls on their way at once: of more than these the oldest is given up.
const MOST_ON_THEIR_WAY: usize = 64;
/// Calls that may wait on disk while nothing can be recorded, and those that may do so with their witnesses.
const MOST_WAITING: u64 = 2_048;
const MOST_WAITING_WITH_WITNESS: u64 = 64;
/// Refused calls that are kept, the newest.
const MOST_REFUSED: usize = 64;

enum DiskCommand {
    Call { id: u64, body: Bytes },
    Valid { id: u64, done: oneshot::Sender<()> },
    Drop { id: u64 },
}

enum ToldWitness {
    Piece {
        id: u64,
        piece: Bytes,
    },
    /// All of it came.
    Whole {
        id: u64,
        done: oneshot::Sender<()>,
    },
    /// What came of it is of no use.
    None {
        id: u64,
    },
}

/// Has calls written on one thread and witnesses on another, so that no call waits behind a witness.
#[derive(Clone)]
pub(crate) struct Keeper {
    told: Sender<DiskCommand>,
    told_witness: Sender<ToldWitness>,
    shared: Arc<Shared>,
}

/// A call on its way: what came of it is forgotten unless it is said to be valid.
pub(crate) struct Keeping {
    id: u64,
    keeper: Keeper,
    body: Bytes,
    /// It is being written down.
    is_kept: bool,
    /// Something of a witness came and is being written.
    has_witness: bool,
    wants_witness: bool,
    is_settled: bool,
    /// How long its witness may still wait for its place, all pieces together: the client waits meanwhile.
    may_wait: Duration,
}

impl Keeper {
    /// With what starts the threads that it tells.
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, impl FnOnce(&Folder) -> io::Result<()>) {
        let (told, heard) = channel(WAITING);
        let (told_witness, heard_witness) = channel(WAITING);
        let keeper = Self { told, told_witness, shared: Arc::clone(&shared) };
        let start = move |folder: &Folder| {
            let (of_calls, of_witnesses) = (folder.clone(), folder.clone());
            let with_calls = Arc::clone(&shared);
            let named = |name: &str| thread::Builder::new().name(name.to_owned());
            named("engine-kept").spawn(move || write_calls(&of_calls, heard, &with_calls))?;
            named("engine-witness").spawn(move || write_witnesses(&of_witnesses, heard_witness, &shared))?;
            Ok(())
        };
        (keeper, start)
    }

    pub(crate) fn call(&self, body: &Bytes) -> Keeping {
        let id = self.shared.next_id();
        let is_kept = self.told.try_send(DiskCommand::Call { id, body: body.clone() }).is_ok();
        let (keeper, body) = (self.clone(), body.clone());
        Keeping {
            id,
            keeper,
            body,
            is_kept,
            has_witness: false,
            wants_witness: is_kept,
            is_settled: false,
            may_wait: MOST_WAIT,
        }
    }
}

impl Keeping {
    pub(crate) async fn witness(&mut self, piece: Bytes) {
        if !self.wants_witness {
            return;
        }
        if !std::mem::replace(&mut self.has_witness, true) {
            self.keeper.shared.witness_begins(self.id);
        }
        let told = self.keeper.told_witness.send(ToldWitness::Piece { id: self.id, piece });
        let began = Instant::now();
        let taken = timeout(self.may_wait, told).await;
        self.may_wait = self.may_wait.saturating_sub(began.elapsed());
        if !matches!(taken, Ok(Ok(()))) {
            self.no_witness();
            self.keeper.shared.not_kept("the disk is too slow for it");
        }
    }

    pub(crate) fn no_witness(&mut self) {
        self.wants_witness = false;
        if !std::mem::take(&mut self.has_witness) {
            return;
        }
        match (self.keeper.told_witness.try_send(ToldWitness::None { id: self.id }), Handle::try_current()) {
            (Ok(()), _) => {}
            // It waits behind the pieces that are to be written: half a witness is none.
            (Err(TrySendError::Full(told)), Ok(runtime)) => {
                let sender = self.keeper.told_witness.clone();
                runtime.spawn(async move { sender.send(told).await });
            }
            (Err(_), _) => self.keeper.shared.witness_ends(self.id),
        }
    }

    /// The call was answered VALID. When this returns it is on disk, unless that takes too long.
    pub(crate) async fn valid(mut self) {
        self.is_settled = true;
        let (whole, is_whole) = oneshot::channel();
        if std::mem::take(&mut self.has_witness) {
            let sender = self.keeper.told_witness.clone();
            let told = ToldWitness::Whole { id: self.id, done: whole };
            if let Err(TrySendError::Full(told)) = sender.try_send(told) {
                // Much of it is still to be written; nobody waits for that.
                tokio::spawn(async move { sender.send(told).await });
            }
        } else {
            drop(whole);
        }
        if self.is_kept {
            let (done, is_done) = oneshot::channel();
            if self.keeper.told.try_send(DiskCommand::Valid { id: self.id, done }).is_ok() {
                let kept = timeout(ANSWER_WAIT, is_done).await;
                let _ = timeout(WITNESS_WAIT, is_whole).await;
                if !matches!(kept, Ok(Err(_))) {
                    return;
                }
                // It was forgotten meanwhile, since too many were on their way.
            }
            // What is written of it is away at the next start.
        }
        self.keeper.shared.hold(self.body.clone());
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.no_witness();
        if self.is_kept && !self.is_settled {
            let _ = self.keeper.told.try_send(DiskCommand::Drop { id: self.id });
        }
    }
}

struct Writing {
    body: Bytes,
    /// The disk did not take the call: it is held in memory.
    has_failed: bool,
}

#[derive(Default)]
struct WritingWitness {
    file: Option<File>,
    bytes: u64,
    has_failed: bool,
}

/// Until nobody can tell anything more.
fn write_calls(folder: &Folder, mut heard: Receiver<DiskCommand>, shared: &Shared) {
    let mut all: BTreeMap<u64, Writing> = BTreeMap::new();
    while let Some(told) = heard.blocking_recv() {
        match told {
            DiskCommand::Call { id, body } => {
                let written = match shared.waiting() < MOST_WAITING {
                    true => fs::write(folder.call(id, Stage::Part), &body),
                    false => Err(io::Error::other("too many calls wait to be recorded")),
                };
                if let Err(error) = &written {
                    shared.disk_fails(error);
                }
                all.insert(id, Writing { body, has_failed: written.is_err() });
                // Who gave it up could not say so: the disk had too much to do.
                if all.len() > MOST_ON_THEIR_WAY
                    && let Some((oldest, _)) = all.pop_first()
                {
                    folder.forget(oldest);
                }
            }
            DiskCommand::Valid { id, done } => {
                let Some(writing) = all.remove(&id) else { continue };
                let renamed = !writing.has_failed
                    && fs::rename(folder.call(id, Stage::Part), folder.call(id, Stage::Valid))
                        .inspect_err(|error| shared.disk_fails(error))
                        .is_ok();
                if renamed {
                    shared.one_more_waits();
                } else {
                    shared.hold(writing.body);
                }
                let _ = done.send(());
                shared.wake();
            }
            DiskCommand::Drop { id } => {
                all.remove(&id);
                folder.forget(id);
            }
        }
    }
}

/// Until nobody can tell anything more.
fn write_witnesses(folder: &Folder, mut heard: Receiver<ToldWitness>, shared: &Shared) {
    let mut all: BTreeMap<u64, WritingWitness> = BTreeMap::new();
    while let Some(told) = heard.blocking_recv() {
        match told {
            ToldWitness::Piece { id, piece } => {
                let writing = all.entry(id).or_default();
                if writing.has_failed {
                    continue;
                }
                writing.bytes += piece.len() as u64;
                let written = if writing.bytes > folder.most_witness_bytes {
                    Err(io::Error::other("it is larger than `output_bytes`"))
                } else if shared.waiting() >= MOST_WAITING_WITH_WITNESS {
                    Err(io::Error::other("too many wait to be recorded"))
                } else {
                    writing.append(&folder.witness(id), &piece)
                };
                if let Err(error) = written {
                    writing.has_failed = true;
                    let _ = fs::remove_file(folder.witness(id));
                    shared.not_kept(&error.to_string());
                }
            }
            ToldWitness::Whole { id, done } => {
                all.remove(&id);
                let _ = done.send(());
                shared.witness_ends(id);
            }
            ToldWitness::None { id } => {
                all.remove(&id);
                let _ = fs::remove_file(folder.witness(id));
                shared.witness_ends(id);
            }
        }
        while all.len() > MOST_ON_THEIR_WAY {
            all.pop_first();
        }
    }
}

impl WritingWitness {
    fn append(&mut self, path: &Path, piece: &Bytes) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(path)?),
        };
        file.write_all(piece)
    }
}

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Part,
    Valid,
    Refused,
}

impl Stage {
    const fn ending(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Valid => "valid",
            Self::Refused => "refused",
        }
    }
}

/// Where it is kept.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    most_witness_bytes: u64,
}

impl Folder {
    /// With what an earlier process left: what it had not answered is away, what was refused may be taken now.
    pub(crate) fn open(path: PathBuf, most_witness_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let folder = Self { path, most_witness_bytes };
        for id in folder.all(Stage::Part)? {
            let _ = fs::remove_file(folder.witness(id));
            fs::remove_file(folder.call(id, Stage::Part))?;
        }
        for id in folder.all(Stage::Refused)? {
            fs::rename(folder.call(id, Stage::Refused), folder.call(id, Stage::Valid))?;
        }
        let valid = folder.all(Stage::Valid)?;
        for id in folder.ids("witness")?.into_iter().filter(|id| !valid.contains(id)) {
            let _ = fs::remove_file(folder.witness(id));
        }
        Ok(folder)
    }

    pub(crate) fn call(&self, id: u64, stage: Stage) -> PathBuf {
        self.path.join(format!("{id:020}.{}", stage.ending()))
    }

    pub(crate) fn witness(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:020}.witness"))
    }

    /// In the order in which they came.
    pub(crate) fn all(&self, stage: Stage) -> io::Result<Vec<u64>> {
        self.ids(stage.ending())
    }

    fn ids(&self, wanted: &str) -> io::Result<Vec<u64>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.split_once('.'));
            if let Some((id, ending)) = id
                && ending == wanted
            {
                ids.extend(id.parse::<u64>().ok());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn forget(&self, id: u64) {
        let _ = fs::remove_file(self.witness(id));
        let _ = fs::remove_file(self.call(id, Stage::Part));
    }

    /// It is recorded.
    pub(crate) fn done(&self, id: u64) -> io::Result<()> {
        let _ = fs::remove_file(self.witness(id));
        fs::remove_file(self.call(id, Stage::Valid))
    }

    /// It cannot be a block here. The newest of these are kept.
    pub(crate) fn refuse(&self, id: u64) -> io::Result<()> {
        fs::rename(self.call(id, Stage::Valid), self.call(id, Stage::Refused))?;
        let refused = self.all(Stage::Refused)?;
        for id in refused.iter().rev().skip(MOST_REFUSED) {
            let _ = fs::remove_file(self.witness(*id));
            fs::remove_file(self.call(*id, Stage::Refused))?;
        }
        Ok(())
    }
}
