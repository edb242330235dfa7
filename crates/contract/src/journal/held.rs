//! A journal in its home, from its reading to its writing.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;

use super::pages::writes;
use super::{Journal, Name, Page, Pages, Written};
use crate::{Failure, Place, Surroundings};

const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Where journals are kept.
#[derive(Clone, Debug)]
pub enum Journals {
    /// A folder that all share whose accounts may be the same.
    Folder(PathBuf),
    /// A home that has no locks.
    Pages(Arc<dyn Pages>),
}

/// An account's journal, from its reading to its writing.
pub(crate) struct Held {
    pub journal: Journal,
    home: Home,
}

enum Home {
    /// With the lock on it.
    File {
        path: PathBuf,
        written: Journal,
        _lock: File,
    },
    Pages {
        pages: Arc<dyn Pages>,
        account: String,
        written: Written,
    },
}

impl Held {
    /// With all that is under way, and what there is of this message. Where there are locks, waits until nobody else has it.
    pub async fn open(
        place: &Place,
        chain_id: u64,
        account: Address,
        message: Name<'_>,
        surroundings: &impl Surroundings,
    ) -> Result<Self, Failure> {
        let account = format!("{chain_id}-{account}");
        match &place.journals {
            Journals::Folder(folder) => Self::of_file(folder, &account, surroundings).await,
            Journals::Pages(pages) => Self::of_pages(Arc::clone(pages), account, message).await,
        }
    }

    async fn of_pages(pages: Arc<dyn Pages>, account: String, message: Name<'_>) -> Result<Self, Failure> {
        let failed = |error| unreadable(&format!("the journal of {account}"), error);
        let mut written = pages.read(&account).await.map_err(Failure::later)?;
        let mut journal = Journal::of_pages(&written.pages).map_err(failed)?;
        if journal.of(message).is_none() {
            let name = message.page();
            // After the open ones: what is at its end meanwhile is found here.
            if let Some(text) = pages.finished(&account, &name).await.map_err(Failure::later)? {
                journal.insert(serde_json::from_str(&text).map_err(failed)?);
                written.pages.insert(Page::Finished(name), text);
            }
        }
        Ok(Self { journal, home: Home::Pages { pages, account, written } })
    }

    async fn of_file(folder: &Path, name: &str, surroundings: &impl Surroundings) -> Result<Self, Failure> {
        let path = folder.join(format!("{name}.json"));
        let failed = |error: io::Error| Failure::later(format!("{}: {error}", path.display()));
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(failed)?;
            // Of a folder that a power loss takes away, nothing in it is durable.
            let parent = folder.parent().unwrap_or(Path::new("."));
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        let lock = File::create(path.with_extension("lock")).map_err(failed)?;
        let mut tries = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    surroundings.pause(LOCK_PAUSE).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Failure::later(format!("{name} is in use by another sink")));
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let journal = match fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|error| unreadable(&path.display().to_string(), error))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Journal::default(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { home: Home::File { written: journal.clone(), path, _lock: lock }, journal })
    }

    /// Nobody else of the yard reads it until this is dropped.
    pub fn is_locked(&self) -> bool {
        matches!(self.home, Home::File { .. })
    }

    /// Of what was last read or written, where nobody has a lock.
    pub fn version(&self) -> Option<u64> {
        match &self.home {
            Home::File { .. } => None,
            Home::Pages { written, .. } => written.version,
        }
    }

    /// Durable once it returns.
    pub async fn write(&mut self) -> Result<(), Failure> {
        self.journal.forget_bytes();
        match &mut self.home {
            Home::File { path, written, .. } => {
                self.journal.forget();
                if self.journal != *written {
                    let replaced = replace(path, &self.journal);
                    replaced.map_err(|error| Failure::later(format!("{}: {error}", path.display())))?;
                    *written = self.journal.clone();
                }
                Ok(())
            }
            Home::Pages { pages, account, written } => {
                let now = self.journal.to_pages()?;
                for changes in writes(&written.pages, &now) {
                    let version = pages.write(account, written.version, &changes).await;
                    // Whoever wrote first has a reason: all is looked at anew.
                    let Some(version) = version.map_err(Failure::later)? else { return Err(Failure::Again) };
                    written.version = Some(version);
                }
                written.pages = now;
                Ok(())
            }
        }
    }
}

fn unreadable(what: &str, error: serde_json::Error) -> Failure {
    Failure::Refused(format!("{what} cannot be read, and says which transactions were sent: {error}"))
}

fn replace(path: &Path, journal: &Journal) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(journal)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
