//! A prover's last log lines.
//!
//! A thread reads the stream to its end, so that a prover never blocks on its log. It reads while it holds the log's lock:
//! a thread that holds the lock and finds the pipe empty has seen everything that was written so far.

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// How many lines are kept unless a limit says otherwise.
pub const LOG_LINES: usize = 20;
/// A longer line is cut.
pub const LOG_LINE_BYTES: usize = 512;
/// A longer message is cut.
pub const MESSAGE_BYTES: usize = 2048;
const CUT: &str = "…";

pub(crate) struct Log {
    lines: Arc<Mutex<Lines>>,
    streams: Vec<Stream>,
}

struct Stream {
    /// The read end, only to check whether it is empty.
    pipe: OwnedFd,
    ended: Receiver<()>,
}

struct Lines {
    lines: VecDeque<String>,
    limit: usize,
}

impl Log {
    pub fn new(limit: usize) -> Log {
        Log { lines: Arc::new(Mutex::new(Lines { lines: VecDeque::new(), limit })), streams: Vec::new() }
    }

    /// Collects lines from a pipe until it ends.
    pub fn follow(&mut self, pipe: impl Into<OwnedFd>) -> std::io::Result<()> {
        let pipe = pipe.into();
        let (running, ended) = sync_channel(1);
        self.streams.push(Stream { pipe: pipe.try_clone()?, ended });
        let lines = Arc::clone(&self.lines);
        thread::Builder::new().name("prover log".into()).spawn(move || collect(pipe, &lines, running))?;
        Ok(())
    }

    pub fn clear(&self) {
        lock(&self.lines).lines.clear();
    }

    pub fn last_lines(&self) -> Vec<String> {
        lock(&self.lines).lines.iter().cloned().collect()
    }

    /// Waits until what was written so far is in, or as long as `timeout`.
    pub fn catch_up(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let behind = |stream: &Stream| {
            let ended = matches!(stream.ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
            !ended && rustix::io::ioctl_fionread(&stream.pipe).unwrap_or(0) > 0
        };
        while self.streams.iter().any(behind) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the streams, or as long as `timeout`.
    pub fn wait_for_end(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for stream in &self.streams {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout) = stream.ended.recv_timeout(left) {
                return;
            }
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the pipe to its end. `_running` is dropped then, which closes the channel that others wait on.
fn collect(pipe: OwnedFd, lines: &Mutex<Lines>, _running: SyncSender<()>) {
    let mut source = std::fs::File::from(pipe);
    let mut chunk = [0; 8192];
    let mut unfinished = Vec::new();
    loop {
        match poll(&mut [PollFd::new(&source, PollFlags::IN)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let mut lines = lock(lines);
        let read = match source.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        for byte in &chunk[..read] {
            if *byte == b'\n' {
                lines.push(&unfinished);
                unfinished.clear();
            } else if unfinished.len() <= LOG_LINE_BYTES {
                unfinished.push(*byte);
            }
        }
        if read == 0 {
            if !unfinished.is_empty() {
                lines.push(&unfinished);
            }
            return;
        }
    }
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.lines.push_back(cut(readable(line), LOG_LINE_BYTES));
        while self.lines.len() > self.limit {
            self.lines.pop_front();
        }
    }
}

/// Text that is safe to print on a terminal: a prover must not control the operator's.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let shown = |letter: char| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter };
    text.trim_end_matches('\r').chars().map(shown).collect()
}

/// A message from a prover, safe to show and not too long to keep.
pub(crate) fn readable_message(message: &str) -> String {
    let beginning = &message[..message.floor_char_boundary(MESSAGE_BYTES + 4)];
    cut(readable(beginning.replace('\n', " ").as_bytes()), MESSAGE_BYTES)
}

fn cut(mut text: String, limit_bytes: usize) -> String {
    if text.len() > limit_bytes {
        text.truncate(text.floor_char_boundary(limit_bytes - CUT.len()));
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_kept_and_made_readable() {
        let (read, mut write) = std::io::pipe().unwrap();
        let mut log = Log::new(3);
        log.follow(read).unwrap();
        write.write_all(b"one\ntwo\r\n\x1b[31mred \xff\n").unwrap();
        write.write_all(&[b'x'; 2 * LOG_LINE_BYTES]).unwrap();
        write.write_all(b"\nlast").unwrap();
        drop(write);
        log.wait_for_end(Duration::from_secs(10));
        let long = format!("{}…", "x".repeat(LOG_LINE_BYTES - CUT.len()));
        assert_eq!(log.last_lines(), ["\u{fffd}[31mred \u{fffd}", &long, "last"]);
    }

    /// What stands for a character that cannot be shown is longer than it was.
    #[test]
    fn what_is_kept_keeps_its_limit() {
        for text in ["é".repeat(10_000), "\x1b".repeat(10_000)] {
            let message = readable_message(&text);
            assert!(message.len() <= MESSAGE_BYTES && message.ends_with(CUT), "{}", message.len());
        }
        assert_eq!(readable_message("two\nlines"), "two lines");
    }
}
