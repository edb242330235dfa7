//! Relaying the prover's stdin, and noticing what ends: the prover, or the yard.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ChildStdin;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Copies the guard's stdin to the prover's, and notices what ends.
pub(super) struct Relay {
    prover_stdin: Option<ChildStdin>,
    stdin_open: bool,
    buffer: Vec<u8>,
}

/// What happened in one wait.
pub(super) enum Happened {
    Idle,
    /// The yard has shut its half down; it is still there.
    StdinEnded,
    YardGone,
    ProverEnded,
}

impl Relay {
    pub fn new(prover_stdin: Option<ChildStdin>) -> io::Result<Relay> {
        if let Some(pipe) = &prover_stdin {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Relay { prover_stdin, stdin_open: true, buffer: Vec::new() })
    }

    /// Waits for one thing to happen, and relays what can be relayed.
    pub fn wait(&mut self, ended: &OwnedFd, timeout: Duration) -> io::Result<Happened> {
        let stdin = io::stdin();
        let wanted = |flag, wanted| if wanted { flag } else { PollFlags::empty() };
        let reads = self.stdin_open && self.buffer.is_empty();
        let mut watched = vec![
            PollFd::new(ended, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), wanted(PollFlags::IN, reads)),
        ];
        if let Some(pipe) = &self.prover_stdin {
            watched.push(PollFd::new(pipe, wanted(PollFlags::OUT, !self.buffer.is_empty())));
        }
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        if let Err(error) = poll(&mut watched, Some(&timeout)) {
            return if error == rustix::io::Errno::INTR { Ok(Happened::Idle) } else { Err(error.into()) };
        }
        let happened: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
        if !happened[0].is_empty() {
            return Ok(Happened::ProverEnded);
        }
        if happened[1].intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return Ok(Happened::YardGone);
        }
        match happened.get(2) {
            Some(flags) if flags.contains(PollFlags::ERR) => self.close(),
            Some(flags) if !flags.is_empty() => self.write(),
            _ => {}
        }
        if reads && happened[1].contains(PollFlags::IN) && self.read()? == 0 {
            self.stdin_open = false;
            self.prover_stdin = None;
            return Ok(Happened::StdinEnded);
        }
        Ok(Happened::Idle)
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 << 10];
        // Not by std's handle, which is buffered: poll does not see what is in its buffer.
        let read = rustix::io::read(io::stdin().as_fd(), &mut chunk)?;
        if self.prover_stdin.is_some() {
            self.buffer.extend_from_slice(&chunk[..read]);
            self.write();
        }
        Ok(read)
    }

    /// Writes as much as the prover's pipe takes.
    fn write(&mut self) {
        let Some(pipe) = &mut self.prover_stdin else { return };
        match pipe.write(&self.buffer) {
            Ok(written) => _ = self.buffer.drain(..written),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.close(),
        }
    }

    /// The prover has closed its stdin: what the yard still sends is read and dropped.
    fn close(&mut self) {
        self.prover_stdin = None;
        self.buffer.clear();
    }
}
