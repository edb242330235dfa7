//! Syncs files on a thread of its own, while their owner does something else.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// One thread, which lives as long as this does. Without it, files are synced when their owner waits for that.
pub struct Syncer(Option<Sender<Job>>);

struct Job {
    file: Arc<File>,
    done: Sender<io::Result<()>>,
}

/// A sync that was begun.
pub(super) struct Syncing(Receiver<io::Result<()>>);

impl Syncer {
    pub fn start() -> Self {
        let (jobs, waiting) = channel::<Job>();
        let sync = move || {
            for Job { file, done } in waiting {
                // Its owner may have given it up meanwhile.
                let _ = done.send(file.sync_all());
            }
        };
        let thread = thread::Builder::new().name("artifact sync".into()).spawn(sync);
        Self(thread.ok().map(|_| jobs))
    }

    pub(super) fn begin(&self, file: &Arc<File>) -> Option<Syncing> {
        let (done, ended) = channel();
        self.0.as_ref()?.send(Job { file: Arc::clone(file), done }).ok()?;
        Some(Syncing(ended))
    }
}

impl Syncing {
    pub(super) fn end(self) -> io::Result<()> {
        self.0.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that synced it panicked")))
    }
}
