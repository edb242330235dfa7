//! A task in work, as its prover sees it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::heard::Heard;
use crate::message::{CHECKPOINT_BYTES, CancelReason, Failure, Response};

/// A task in work: tells the yard how far it is, has checkpoints kept, and says whether it is still wanted.
///
/// A prover that waits for something elsewhere, such as a remote job, asks for it in turn with [`Work::wait`].
pub struct Work<'a> {
    yard: Option<Yard<'a>>,
}

/// The yard that has asked for the work.
struct Yard<'a> {
    id: String,
    heard: Arc<Heard>,
    say: &'a mut dyn FnMut(&Response) -> io::Result<()>,
    /// How many checkpoints were written.
    checkpoints: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        id: String,
        heard: &Arc<Heard>,
        say: &'a mut dyn FnMut(&Response) -> io::Result<()>,
    ) -> Work<'a> {
        Work { yard: Some(Yard { id, heard: Arc::clone(heard), say, checkpoints: 0 }) }
    }

    /// Work that nobody hears of, such as that of a `files` prover: it is never cancelled, and keeps no checkpoints.
    pub fn unheard() -> Work<'static> {
        Work { yard: None }
    }

    /// Reports how much is done, from 0 to 1, and what is being done.
    pub fn progress(&mut self, done: f64, message: &str) {
        if let Some(yard) = &mut self.yard {
            let (id, progress, message) = (Some(yard.id.clone()), Some(done), Some(message.to_owned()));
            // An error is ignored: if the runner has closed the stream, writing the answer fails too.
            let _ = (yard.say)(&Response { id, progress, message, ..Response::default() });
        }
    }

    /// Has a text of at most [`CHECKPOINT_BYTES`] kept, which the task's next attempt is given as `resume`, whoever makes it;
    /// it takes the place of earlier ones. Returns once it is kept. An error says that it may not be: the work is cancelled, or
    /// there is nobody who keeps it. Only then may the task be given an older one.
    pub fn checkpoint(&mut self, text: &str) -> Result<(), Failure> {
        if text.len() > CHECKPOINT_BYTES {
            let bytes = text.len();
            let why = format!("a checkpoint of {bytes} bytes is too long: {CHECKPOINT_BYTES} are allowed");
            return Err(Failure::permanent(why));
        }
        let Some(yard) = &mut self.yard else {
            return Err(Failure::permanent("a files prover can have no checkpoints kept"));
        };
        let (id, checkpoint) = (Some(yard.id.clone()), Some(text.to_owned()));
        (yard.say)(&Response { id, checkpoint, ..Response::default() })?;
        yard.checkpoints += 1;
        let cancelled =
            |reason| Failure::transient(format!("cancelled ({reason}) before the checkpoint was kept"));
        yard.heard.wait_until_kept(&yard.id, yard.checkpoints).map_err(cancelled)
    }

    /// Why the work is no longer wanted, if it is not. Only a prover whose `setup` answers `cancel: true` hears more than the
    /// end of its input, which counts as [`CancelReason::Stopping`]. It should answer soon, with whatever: what it answers
    /// is not used.
    pub fn cancelled(&self) -> Option<CancelReason> {
        self.yard.as_ref().and_then(|yard| yard.heard.cancelled(&yard.id))
    }

    /// Sleeps; returns at once if the work is cancelled meanwhile, with the reason.
    pub fn wait(&self, time: Duration) -> Option<CancelReason> {
        match &self.yard {
            Some(yard) => yard.heard.wait(&yard.id, time),
            None => {
                thread::sleep(time);
                None
            }
        }
    }
}
