//! A crash between any two steps: the program is killed when it asks its node the n-th question, before the node gets it, or
//! after, so that the answer is lost.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use proofyard_follow_tests::http::{answer, post, read_message};

use crate::ledger::Ledger;
use crate::program::Submitter;

/// The way to a node, on which a question is never answered.
pub struct Way {
    pub at: SocketAddr,
    cut: Arc<Mutex<Option<Cut>>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Cut {
    question: usize,
    node_gets_it: bool,
    told: mpsc::Sender<()>,
}

impl Way {
    pub fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let (cut, asked) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let (of_way, count) = (Arc::clone(&cut), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (cut, asked) = (Arc::clone(&of_way), Arc::clone(&count));
                thread::spawn(move || pass(stream, node, &cut, &asked));
            }
        });
        Self { at, cut, asked }
    }

    /// The next questions are counted from 0; answers when this one has come.
    pub fn cut_at(&self, question: usize, node_gets_it: bool) -> mpsc::Receiver<()> {
        let (told, receiver) = mpsc::channel();
        self.asked.store(0, Ordering::SeqCst);
        *self.cut.lock().unwrap() = Some(Cut { question, node_gets_it, told });
        receiver
    }

    /// Since it began, or since the last cut.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn mend(&self) {
        *self.cut.lock().unwrap() = None;
    }
}

fn pass(stream: TcpStream, node: SocketAddr, way: &Mutex<Option<Cut>>, asked: &AtomicUsize) {
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    while let Some(request) = read_message(&mut input) {
        let question = asked.fetch_add(1, Ordering::SeqCst);
        let cut = way.lock().unwrap().clone().filter(|cut| cut.question == question);
        if cut.as_ref().is_none_or(|cut| cut.node_gets_it) {
            let Some(body) = post(node, &request.body) else { return };
            if cut.is_none() {
                if output.write_all(&answer("200 OK", "", &body)).is_err() {
                    return;
                }
                continue;
            }
        }
        if let Some(this) = cut {
            let _ = this.told.send(());
            // The program waits for its answer when it is killed.
            while way.lock().unwrap().is_some() {
                thread::sleep(Duration::from_millis(2));
            }
        }
        return;
    }
}

#[test]
fn a_crash_at_any_question_leaves_one_transaction() {
    let ledger = Ledger::start();
    let way = Way::to(ledger.anvil.at);
    let submitter = Submitter::of(&ledger, &format!("http://{}", way.at), "confirmations = 1");
    let (mut height, mut kills) = (0, 0);
    for node_gets_it in [false, true] {
        for question in 0.. {
            height += 1;
            let cut = way.cut_at(question, node_gets_it);
            let mut child = submitter.start_submitting(height);
            let is_killed = loop {
                if cut.try_recv().is_ok() {
                    child.kill().unwrap();
                    break true;
                }
                if child.try_wait().unwrap().is_some() {
                    break false;
                }
                thread::sleep(Duration::from_millis(2));
            };
            child.wait().unwrap();
            way.mend();
            submitter.submit(height).done();
            assert_eq!(ledger.times(height), 1, "question {question}, the node gets it: {node_gets_it}");
            if !is_killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 20, "only {kills} kills");
    assert_eq!(ledger.calls(), height);
}
