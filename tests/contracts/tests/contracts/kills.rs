//! A yard with a sink of each kind that is told of entries, which is killed at random moments, or what its sinks run is: nothing is left
//! out, and the contract has everything once. `SINK_KILLS` says how often, `SINK_SEED` when.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use proofyard_follow_tests::anvil::Anvil;
use proofyard_follow_tests::http::{answer, read_message};
use proofyard_follow_tests::wait_for;
use proofyard_follow_tests::yard::FollowingYard;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::evm::{ACCOUNT, KEY, number};
use crate::ledger::Ledger;
use crate::program::CALL;

/// The longest that a yard, or a program, lives before it is killed.
const LIVES_MS: u64 = 900;

/// One that takes everything, and remembers in which order.
fn hook() -> (SocketAddr, Arc<Mutex<Vec<u64>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (at, taken) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let of_hook = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&of_hook);
            thread::spawn(move || {
                let mut output = stream.try_clone().unwrap();
                let mut input = BufReader::new(stream);
                while let Some(request) = read_message(&mut input) {
                    let message: Value = serde_json::from_slice(&request.body).unwrap();
                    taken.lock().unwrap().push(message["sequence"].as_u64().unwrap());
                    if output.write_all(&answer("200 OK", "", b"{}")).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (at, taken)
}

/// Numbers by chance, the same ones for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// What the yard in this folder runs for its sinks now.
fn sink_programs(folder: &Path) -> Vec<Pid> {
    let folder = fs::canonicalize(folder).unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let process = Path::new("/proc").join(pid.to_string());
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        let program = command.split('\0').next().unwrap_or_default();
        let is_sinks = ["proofyard-contract", "proofyard-notify"].iter().any(|name| program.ends_with(name))
            || command.contains("./note");
        is_sinks && fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder)
    };
    pids.filter(is_ours).filter_map(Pid::from_raw).collect()
}

/// Of what a sink was told, how often it was told again, once nothing is missing and no older entry came behind a newer one that it had
/// not been told of before.
fn repeats(told: &[u64], entries: u64, sink: &str) -> u64 {
    let mut next = 0;
    for sequence in told {
        assert!(*sequence <= next, "{sink}: {sequence} came, and {next} was next");
        next = next.max(sequence + 1);
    }
    assert_eq!(next, entries, "{sink} has all");
    told.len() as u64 - told.iter().collect::<BTreeSet<_>>().len() as u64
}

#[test]
fn nothing_is_lost_and_the_contract_has_everything_once_however_often_something_is_killed() {
    let kills = asked("SINK_KILLS", 10);
    let mut chance = Chance(asked("SINK_SEED", 0x5eed).max(1));
    let (chain, ledger, (hook, hooked)) = (Anvil::start(), Ledger::start(), hook());
    let mut yard = FollowingYard::of_pipeline(&format!(
        "[chain]\nname = \"c\"\nstart_height = 1\nwindow = 16\n\n[source.node]\nrpc = [\"{}\"]\npoll_ms = 100\n\n\
         [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"toy\"\npool = \"main\"\n\n\
         [prover.toy]\ncommand = [\"TOY\", \"--work-ms\", \"1\"]\n\n[pool.main]\nslots = 2\n\n\
         [sink.file]\nfile = \"out.jsonl\"\n[sink.program]\ncommand = [\"sh\", \"./note\"]\n\
         [sink.hook]\nwebhook = \"http://{hook}/\"\n\
         [sink.l1]\ncontract = \"{}\"\nrpc = [\"{}\"]\nchain_id = 31337\nkey_from = \"KEY\"\nconfirmations = 1\n{CALL}\n",
        chain.url(),
        ledger.address,
        ledger.anvil.url(),
    ));
    // One write, so that no kill leaves half a line.
    fs::write(yard.folder().join("note"), "line=$(cat); printf '%s\\n' \"$line\" >> noted.jsonl\n").unwrap();
    yard.environment.push(("KEY", KEY.to_owned()));
    let (mut yards, mut programs) = (0, 0);
    yard.start();
    while yards + programs < kills {
        chain.mine_fast(1 + chance.below(2));
        thread::sleep(Duration::from_millis(chance.below(LIVES_MS)));
        match chance.below(2) {
            0 => {
                yard.kill();
                yards += 1;
                yard.start();
            }
            _ => {
                let running = sink_programs(yard.folder());
                let Some(pid) = running.get(chance.below(running.len().max(1) as u64) as usize) else {
                    continue;
                };
                programs += u64::from(kill_process(*pid, Signal::KILL).is_ok());
            }
        }
    }
    let entries = chain.height();
    for sink in ["file", "program", "hook", "l1"] {
        wait_for(&format!("{sink} has all {entries}; {:?}", yard.status()), || {
            // It does not wait for its next try.
            yard.command(&["sink", sink, "--resume", "--data", "yard"]);
            let status = yard.status()?;
            let mut sinks = status["sinks"].as_array()?.iter();
            sinks.find(|found| found["sink"] == sink && found["next_sequence"] == entries).map(drop)
        });
    }
    assert!((1..=entries).all(|height| ledger.times(height) == 1), "the contract has each once");
    let sequences = |name: &str| -> Vec<u64> {
        let text = fs::read_to_string(yard.folder().join(name)).unwrap();
        let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        whole.map(|entry| entry["sequence"].as_u64().unwrap()).collect()
    };
    let in_file = repeats(&sequences("out.jsonl"), entries, "file");
    let to_program = repeats(&sequences("noted.jsonl"), entries, "program");
    let to_hook = repeats(&hooked.lock().unwrap(), entries, "hook");
    let sent = number(&ledger.anvil.ask("eth_getTransactionCount", &json!([ACCOUNT, "latest"])));
    assert_eq!((ledger.calls(), sent), (entries, entries), "no transaction is over");
    println!(
        "{entries} entries, {yards} kills of the yard and {programs} of what its sinks run: lost 0, twice in the contract 0, \
         transactions {sent}; told again: file {in_file}, program {to_program}, webhook {to_hook}"
    );
}
