//! The author's side of the `stream` protocol: a loop over stdin and stdout.
//!
//! Implement [`Prover`] and call [`serve`] in `main`. The loop answers each request with one line; a line that is not
//! a request is answered with an error, and so is a panic in a handler. It ends when stdin ends. Lines about the request in work
//! ([`Notice`]) are heard while it is in work, through [`Work`]. While it runs, everything
//! else that is printed to stdout goes to stderr, so that a library's `println!` cannot break the protocol.

mod heard;
mod work;

use std::any::Any;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::Serialize;

use self::heard::Heard;
pub use self::work::Work;
use crate::message::{
    Call, Failure, Notice, ProveOk, ProveRequest, Request, Response, SetupOk, SetupRequest, VerifyOk,
    VerifyRequest,
};

/// The longest request line that is read: a task of 4,096 inputs, each described in up to 32 KiB.
pub const REQUEST_LINE_BYTES: usize = 128 << 20;

/// No [`Notice`] is longer than this.
const NOTICE_BYTES: usize = 4 << 10;

/// How many requests wait while one is in work. A yard sends one at a time.
const REQUESTS_WAITING: usize = 1;

/// How code below a [`Prover`] may report progress (0 to 1), and what is being done: see [`Work::progress`].
pub type Progress<'a> = dyn FnMut(f64, &str) + 'a;

/// A prover, written in Rust.
pub trait Prover {
    /// Loads keys and programs. Called once, before anything else.
    fn setup(&mut self, _request: &SetupRequest) -> Result<SetupOk, Failure> {
        Ok(SetupOk::default())
    }

    /// Proves one task and writes the proof into `request.output_dir`. `work` tells the yard how far it is, has checkpoints
    /// kept, and says whether the work is still wanted.
    fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure>;

    /// Checks a proof against its inputs and returns the public values that are in the proof. Runs in another process
    /// than the one that proved.
    fn verify(&mut self, request: &VerifyRequest) -> Result<VerifyOk, Failure>;
}

/// Answers requests from stdin on stdout until stdin ends.
pub fn serve(mut prover: impl Prover) -> ExitCode {
    let served = take_stdout().and_then(|output| serve_on(&mut prover, BufReader::new(io::stdin()), output));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("prover protocol: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reserves stdout for the protocol: from here on everything else that is printed goes to stderr.
fn take_stdout() -> io::Result<File> {
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(output))
}

/// As [`serve`], on any pair of streams. The input is read on a thread of its own, so that a prover hears while it works that
/// a checkpoint is kept or its work is cancelled; that thread ends with the input.
pub fn serve_on(
    prover: &mut impl Prover,
    input: impl BufRead + Send + 'static,
    mut output: impl Write,
) -> io::Result<()> {
    let heard = Arc::new(Heard::default());
    let (sender, requests) = sync_channel(REQUESTS_WAITING);
    let reader = Arc::clone(&heard);
    thread::Builder::new().name("requests".into()).spawn(move || read_requests(input, &sender, &reader))?;
    answer_all(prover, &requests, &heard, &mut output)
}

/// What the reading thread passes on.
enum Asked {
    Line(Vec<u8>),
    TooLong,
    Failed(io::Error),
}

/// Passes requests on, and notes what is about the one in work, until the input ends.
fn read_requests(mut input: impl BufRead, requests: &SyncSender<Asked>, heard: &Heard) {
    let mut line = Vec::new();
    loop {
        let asked = match read_line(&mut input, &mut line, REQUEST_LINE_BYTES) {
            Ok(Line::End) => break,
            Ok(Line::TooLong) => skip_line(&mut input).map_or_else(Asked::Failed, |()| Asked::TooLong),
            Ok(Line::Whole | Line::Unfinished) => match notice(&line) {
                Some(notice) => {
                    heard.note(notice);
                    continue;
                }
                None => Asked::Line(std::mem::take(&mut line)),
            },
            Err(error) => Asked::Failed(error),
        };
        let is_over = matches!(asked, Asked::Failed(_));
        if requests.send(asked).is_err() || is_over {
            break;
        }
    }
    heard.end();
}

fn notice(line: &[u8]) -> Option<Notice> {
    (line.len() <= NOTICE_BYTES).then(|| serde_json::from_slice(line).ok()).flatten()
}

fn answer_all(
    prover: &mut impl Prover,
    requests: &Receiver<Asked>,
    heard: &Arc<Heard>,
    output: &mut impl Write,
) -> io::Result<()> {
    for asked in requests {
        match asked {
            Asked::Line(line) => answer(prover, &line, heard, output)?,
            Asked::TooLong => {
                let why = format!("a request line is longer than {REQUEST_LINE_BYTES} bytes");
                send(output, &failed(None, Failure::permanent(why)))?;
            }
            Asked::Failed(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(
    prover: &mut impl Prover,
    line: &[u8],
    heard: &Arc<Heard>,
    output: &mut impl Write,
) -> io::Result<()> {
    let request = match serde_json::from_slice::<Request>(line) {
        Ok(request) => request,
        Err(error) => {
            let why = Failure::permanent(format!("this is not a request: {error}"));
            return send(output, &failed(id_of(line), why));
        }
    };
    let id = Some(request.id.clone());
    let handled = catch_unwind(AssertUnwindSafe(|| handle(prover, request, heard, output)));
    let response = match handled {
        Ok(Ok(ok)) => Response { id, ok: Some(ok), ..Response::default() },
        Ok(Err(failure)) => failed(id, failure),
        Err(panic) => failed(id, Failure::transient(format!("the prover panicked: {}", panic_text(&*panic)))),
    };
    send(output, &response)
}

fn handle(
    prover: &mut impl Prover,
    request: Request,
    heard: &Arc<Heard>,
    output: &mut impl Write,
) -> Result<serde_json::Value, Failure> {
    fn value(ok: impl Serialize) -> Result<serde_json::Value, Failure> {
        serde_json::to_value(ok).map_err(Failure::permanent)
    }
    match request.call {
        Call::Setup(setup) => value(prover.setup(&setup)?),
        Call::Verify(verify) => value(prover.verify(&verify)?),
        Call::Prove(prove) => {
            let mut say = |line: &Response| send(output, line);
            value(prover.prove(&prove, &mut Work::new(request.id, heard, &mut say))?)
        }
    }
}

fn failed(id: Option<String>, error: Failure) -> Response {
    Response { id, error: Some(error), ..Response::default() }
}

/// The id of a line that is JSON but no known request, for the answer.
fn id_of(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|line| line.id)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

fn send(output: &mut impl Write, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

pub(crate) enum Line {
    Whole,
    /// The stream ended in the middle of it.
    Unfinished,
    TooLong,
    End,
}

/// Reads one line without its end. The rest of a line that is too long is left for [`skip_line`].
pub(crate) fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    limit_bytes: usize,
) -> io::Result<Line> {
    line.clear();
    let read = input.by_ref().take(limit_bytes as u64 + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Whole);
    }
    if line.len() <= limit_bytes {
        return Ok(Line::Unfinished);
    }
    line.clear();
    Ok(Line::TooLong)
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let skipped = end.map_or(buffer.len(), |end| end + 1);
        input.consume(skipped);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::time::Duration;

    use super::*;
    use crate::message::{CHECKPOINT_BYTES, FailureKind};

    struct Moody;

    impl Prover for Moody {
        fn prove(&mut self, request: &ProveRequest, work: &mut Work<'_>) -> Result<ProveOk, Failure> {
            work.progress(0.5, "half");
            match request.task.as_str() {
                "panic" => panic!("no mood"),
                "refuse" => Err(Failure::permanent("never")),
                "waits" => Err(Failure::transient(format!("{:?}", work.wait(PATIENCE)))),
                "keeps" => work.checkpoint("job 7").map(|()| ProveOk::default()),
                "boasts" => work.checkpoint(&"x".repeat(CHECKPOINT_BYTES + 1)).map(|()| ProveOk::default()),
                _ => Ok(ProveOk { proof: "/o/p".into(), ..ProveOk::default() }),
            }
        }

        fn verify(&mut self, _: &VerifyRequest) -> Result<VerifyOk, Failure> {
            Ok(VerifyOk::new("00"))
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    fn answers(input: &str) -> Vec<Response> {
        let mut output = Vec::new();
        serve_on(&mut Moody, Cursor::new(input.to_owned()), &mut output).unwrap();
        let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    fn prove(task: &str) -> String {
        format!(
            r#"{{"id":"1","verb":"prove","task":"{task}","attempt":1,"inputs":[],"output_dir":"/o","deadline_ms":1}}"#
        )
    }

    fn failure_of(lines: &[&str]) -> Failure {
        answers(&lines.join("\n")).pop().unwrap().error.unwrap()
    }

    #[test]
    fn progress_comes_before_the_answer() {
        let answers = answers(&prove("a"));
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].progress, Some(0.5));
        assert_eq!(answers[1].ok.as_ref().unwrap()["proof"], "/o/p");
    }

    /// A notice comes after its request, but may be read before the prover has begun; one about another request says nothing.
    #[test]
    fn a_cancelled_prover_hears_why_and_the_end_of_the_input_stops_it() {
        let cancel =
            |id: &str, reason: &str| format!(r#"{{"id":"{id}","verb":"cancel","reason":"{reason}"}}"#);
        for (reason, heard) in [("lost", "Lost"), ("unwanted", "Unwanted"), ("new one", "Stopping")] {
            let failure = failure_of(&[&prove("waits"), &cancel("2", "lost"), &cancel("1", reason)]);
            assert_eq!(failure.message, format!("Some({heard})"));
        }
        assert_eq!(failure_of(&[&prove("waits"), &cancel("2", "lost")]).message, "Some(Stopping)");
    }

    #[test]
    fn a_checkpoint_is_kept_once_the_yard_says_so() {
        let kept = r#"{"id":"1","verb":"checkpointed"}"#;
        let answers = answers(&[&prove("keeps"), kept].join("\n"));
        let lines: Vec<_> = answers.iter().map(|one| (one.checkpoint.as_deref(), one.ok.is_some())).collect();
        assert_eq!(lines, [(None, false), (Some("job 7"), false), (None, true)]);
        let other = r#"{"id":"2","verb":"checkpointed"}"#;
        let failure = failure_of(&[&prove("keeps"), other]);
        assert_eq!(failure.kind, FailureKind::Transient);
        assert_eq!(failure_of(&[&prove("boasts"), kept]).kind, FailureKind::Permanent);
    }

    /// Neither a bad line nor a panic ends the loop: the request after it is answered.
    #[test]
    fn bad_lines_and_panics_are_answered() {
        let long = "x".repeat(REQUEST_LINE_BYTES + 1);
        let lines = [
            "rubbish",
            r#"{"id":"4","verb":"dance"}"#,
            &long,
            &prove("panic"),
            &prove("refuse"),
            &prove("a"),
        ];
        let answers: Vec<_> =
            answers(&lines.join("\n")).into_iter().filter(|one| one.progress.is_none()).collect();
        assert_eq!(answers.len(), lines.len());
        let failure = |index: usize| answers[index].error.clone().unwrap();
        assert_eq!(answers[0].id, None);
        assert_eq!(answers[1].id.as_deref(), Some("4"));
        assert!(failure(2).message.contains("longer than"), "{}", failure(2));
        assert_eq!(failure(3), Failure::transient("the prover panicked: no mood"));
        assert_eq!(failure(4), Failure::permanent("never"));
        assert!(answers[5].ok.is_some());
    }
}
