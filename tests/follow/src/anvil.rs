//! Anvil, a real Ethereum node that makes blocks when it is told to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use proofyard_programs::npm_installed;
use serde_json::{Value, json};

use crate::http::ask;
use crate::wait_for;

/// The genesis of every chain here, so that a node that is started anew is of the same one.
const GENESIS_S: u64 = 1_700_000_000;

pub struct Anvil {
    process: Child,
    pub at: SocketAddr,
    coinbases: AtomicU64,
}

impl Anvil {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(arguments: &[&str]) -> Self {
        // Somebody else may take the port before anvil does: then it ends, and has another.
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            if let Some(anvil) = Self::try_start_at(port, arguments) {
                return anvil;
            }
        }
        panic!("anvil does not start");
    }

    pub fn start_at(port: u16, arguments: &[&str]) -> Self {
        Self::try_start_at(port, arguments).expect("anvil starts")
    }

    /// `None` where it ends at once.
    fn try_start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(program());
        command.args(["--port", &port.to_string(), "--timestamp", &GENESIS_S.to_string()]);
        command.args(["--no-mining", "--silent"]).args(arguments);
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut anvil =
            Self { process, at: (Ipv4Addr::LOCALHOST, port).into(), coinbases: AtomicU64::new(0) };
        wait_for("anvil answers, or ends", || match anvil.process.try_wait().unwrap() {
            Some(_) => Some(false),
            None => ask(anvil.at, "eth_blockNumber", &json!([])).map(|_| true),
        })
        .then_some(anvil)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    pub fn ws(&self) -> String {
        format!("ws://{}", self.at)
    }

    pub fn ask(&self, method: &str, of_what: &Value) -> Value {
        ask(self.at, method, of_what).expect("anvil answers")
    }

    /// One block after another, each with its head told.
    pub fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.ask("evm_mine", &json!([]));
        }
    }

    /// Many at once.
    pub fn mine_fast(&self, blocks: u64) {
        self.ask("anvil_mine", &json!([format!("{blocks:#x}")]));
    }

    /// Whoever gets the fees of the blocks from now on: empty blocks of the same time would be the same ones again.
    pub fn change_coinbase(&self) {
        let number = self.coinbases.fetch_add(1, Ordering::Relaxed);
        self.ask("anvil_setCoinbase", &json!([format!("0x{:040x}", 0xaa + number)]));
    }

    /// The newest blocks become others.
    pub fn reorg(&self, depth: u64) {
        self.change_coinbase();
        self.ask("anvil_reorg", &json!([depth, []]));
    }

    pub fn height(&self) -> u64 {
        number(&self.ask("eth_blockNumber", &json!([])))
    }

    pub fn hash(&self, height: u64) -> String {
        let block = self.ask("eth_getBlockByNumber", &json!([format!("{height:#x}"), false]));
        block["hash"].as_str().unwrap().to_owned()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// What npm has for this machine; it is installed if it is not yet.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        npm_installed(package);
        installed(package).expect("anvil for this machine")
    })
}

fn installed(package: &Path) -> Option<PathBuf> {
    let found = std::fs::read_dir(package.join("node_modules/@foundry-rs")).ok()?;
    // The package of a machine's kind has the program; the one beside it only finds it.
    found.map(|entry| entry.unwrap().path().join("bin/anvil")).find(|program| program.is_file())
}
