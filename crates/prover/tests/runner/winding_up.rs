//! Checkpoints, and what a prover hears of why its work is no longer wanted.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_prover::runner::{Cancel, ErrorKind, Launch, Limits, Listener, Session};
use proofyard_prover::{CancelReason, SetupRequest};

use crate::support::{PATIENCE, Place, wait_for};

/// Keeps each checkpoint after a while, or never.
struct Keeper {
    texts: Vec<String>,
    takes: Option<Duration>,
    pending: Vec<SyncSender<()>>,
}

impl Keeper {
    fn that_takes(takes: Option<Duration>) -> Keeper {
        Keeper { texts: Vec::new(), takes, pending: Vec::new() }
    }
}

impl Listener for Keeper {
    fn checkpoint(&mut self, text: String) -> Receiver<()> {
        self.texts.push(text);
        let (sender, kept) = sync_channel(1);
        match self.takes {
            Some(time) => {
                thread::spawn(move || {
                    thread::sleep(time);
                    sender.send(()).unwrap();
                });
            }
            None => self.pending.push(sender),
        }
        kept
    }
}

/// Keeps nothing: the attempt is over.
struct Refuser;

impl Listener for Refuser {
    fn checkpoint(&mut self, _: String) -> Receiver<()> {
        sync_channel(1).1
    }
}

/// Set up, since only then is it known what a prover hears.
fn started(launch: &Launch) -> Session {
    let mut session = Session::start(launch).unwrap();
    session.setup(&SetupRequest::default(), &Cancel::new()).unwrap();
    session
}

fn log(place: &Place) -> Vec<String> {
    let log = std::fs::read_to_string(place.path("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn a_prover_goes_on_once_its_checkpoint_is_kept() {
    let place = Place::new();
    let mut session = started(&place.toy(&["--checkpoint", "job", "--log", &place.text("log")]));
    let mut keeper = Keeper::that_takes(Some(Duration::from_millis(300)));
    let began = Instant::now();
    session.prove_heard(&place.prove_segment(), &Cancel::new(), &mut keeper).unwrap();
    assert_eq!(keeper.texts, ["job-1"]);
    assert!(began.elapsed() >= Duration::from_millis(300));
    let mut again = place.prove_segment();
    (again.attempt, again.resume) = (2, Some(keeper.texts[0].clone()));
    session.prove_heard(&again, &Cancel::new(), &mut Keeper::that_takes(None)).unwrap();
    let task = &again.task;
    let lines = [
        format!("prove {task} 1"),
        format!("checkpoint {task} 1 job-1"),
        format!("prove {task} 2"),
        format!("resume {task} 2 job-1"),
    ];
    assert_eq!(log(&place), lines);
}

/// Also of lines that it writes after each other without waiting: each is confirmed, in order.
#[test]
fn checkpoints_are_kept_one_after_another() {
    let place = Place::new();
    let launch = place.shell(
        r#"ask; for text in a b c; do echo "{\"id\":\"$id\",\"checkpoint\":\"$text\"}"; done
for text in a b c; do read -r kept; case "$kept" in *checkpointed*) ;; *) exit 1; esac; done
echo proof > "$OUT/p"; echo "{\"id\":\"$id\",\"ok\":{\"proof\":\"$OUT/p\"}}"; sleep 100"#,
    );
    let mut keeper = Keeper::that_takes(Some(Duration::from_millis(20)));
    let mut session = Session::start(&launch).unwrap();
    session.prove_heard(&place.prove_segment(), &Cancel::new(), &mut keeper).unwrap();
    assert_eq!(keeper.texts, ["a", "b", "c"]);
}

#[test]
fn limits_hold_while_a_checkpoint_waits_for_storage() {
    let place = Place::new();
    let mut launch = place.toy(&["--checkpoint", "job"]);
    launch.limits = Limits { time_ms: 500, ..launch.limits };
    let mut session = started(&launch);
    let error = session.prove_heard(&place.prove_segment(), &Cancel::new(), &mut Keeper::that_takes(None));
    assert_eq!(error.unwrap_err().kind, ErrorKind::TimedOut { limit_ms: 500 });
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_checkpoint_that_cannot_be_kept_cancels_and_one_that_is_too_long_is_rubbish() {
    let place = Place::new();
    let mut session = started(&place.toy(&["--checkpoint", "job"]));
    let error = session.prove_heard(&place.prove_segment(), &Cancel::new(), &mut Refuser).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(!session.is_usable());
    for (checkpoint, what) in [("5000", "its checkpoint has 5000 bytes"), ("1", "a checkpoint of what is no")]
    {
        let verb = if checkpoint == "1" { "setup" } else { "prove" };
        let launch = place.shell(&format!(
            r#"ask; text=$(printf '%0{checkpoint}d' 0); echo "{{\"id\":\"$id\",\"checkpoint\":\"$text\"}}"; sleep 100"#
        ));
        let mut session = Session::start(&launch).unwrap();
        let error = match verb {
            "setup" => session.setup(&SetupRequest::default(), &Cancel::new()).unwrap_err(),
            _ => session.prove(&place.prove_segment(), &Cancel::new(), &mut |_| {}).unwrap_err(),
        };
        assert_eq!(error.kind, ErrorKind::ProtocolViolation);
        assert!(error.message.contains(what), "{error}");
    }
}

/// Cancels while the toy works.
fn cancelled(place: &Place, session: &mut Session, reason: CancelReason) -> Duration {
    let (cancel, began) = (Cancel::new(), Instant::now());
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(
                PATIENCE,
                || log(place),
                |lines| lines.last().is_some_and(|line| line.contains("prove")),
            );
            thread::sleep(Duration::from_millis(50));
            cancel.cancel(reason);
        });
        session.prove(&place.prove_segment(), &cancel, &mut |_| {}).unwrap_err()
    });
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(error.message.contains(&reason.to_string()), "{error}");
    began.elapsed()
}

#[test]
fn a_prover_that_hears_of_a_cancel_answers_and_lives_on() {
    let place = Place::new();
    let options = ["--work-ms", "50000", "--cancel", "well", "--log", &place.text("log")];
    let mut session = started(&place.toy(&options));
    for reason in [CancelReason::Lost, CancelReason::Unwanted, CancelReason::Stopping] {
        assert!(cancelled(&place, &mut session, reason) < Duration::from_secs(40));
        assert!(session.is_waiting(), "it lives on");
        assert_eq!(log(&place).last().unwrap(), &format!("cancel {reason}"));
    }
}

#[test]
fn a_prover_that_does_not_answer_a_cancel_is_killed_after_its_grace_period() {
    let place = Place::new();
    let options = ["--work-ms", "50000", "--cancel", "deaf", "--log", &place.text("log")];
    let mut launch = place.toy(&options);
    launch.limits = Limits { grace_ms: 300, ..launch.limits };
    let mut session = started(&launch);
    let took = cancelled(&place, &mut session, CancelReason::Unwanted);
    assert!((Duration::from_millis(300)..Duration::from_secs(40)).contains(&took), "{took:?}");
    assert!(!session.is_usable());
    assert_eq!(place.processes(), [""; 0]);
}

#[test]
fn a_prover_that_hears_of_no_cancel_is_killed_at_once() {
    let place = Place::new();
    let options = ["--work-ms", "50000", "--log", &place.text("log")];
    let mut launch = place.toy(&options);
    launch.limits = Limits { grace_ms: 100_000, ..launch.limits };
    let mut session = started(&launch);
    assert!(cancelled(&place, &mut session, CancelReason::Unwanted) < Duration::from_secs(40));
    assert!(!session.is_usable());
    assert_eq!(log(&place).len(), 1, "it heard nothing");
}
