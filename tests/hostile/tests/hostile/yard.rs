//! One yard with one hostile prover.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use proofyard_programs::programs;
use serde_json::Value;
use tempfile::TempDir;

use crate::situation::Situation;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);
const BLOCKS: usize = 3;
/// Where a Python is that is not one user's own.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub struct HostileYard {
    pub situation: Situation,
    folder: TempDir,
    program: PathBuf,
}

/// How a run went.
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
    /// What was handed on, by height: whether its proof is a true one.
    pub proofs: Vec<bool>,
}

impl HostileYard {
    pub fn new(situation: Situation, attack: &str) -> Self {
        Self::with_chain_keys(situation, attack, "")
    }

    pub fn with_chain_keys(situation: Situation, attack: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for script in ["hostile.py", "verifier.py"] {
            fs::copy(here.join("provers").join(script), folder.path().join(script)).unwrap();
        }
        let blocks = fs::read_to_string(here.join("../../examples/blocks/quiet.jsonl")).unwrap();
        let blocks: String = blocks.split_inclusive('\n').take(BLOCKS).collect();
        fs::write(folder.path().join("blocks.jsonl"), blocks).unwrap();
        let text = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(folder.path().join("notes")).unwrap();
        fs::set_permissions(folder.path().join("notes"), fs::Permissions::from_mode(0o777)).unwrap();
        let prover = ["python3", &text("hostile.py"), attack, &text("data")];
        let verifier = ["python3", &text("verifier.py"), &text("data")];
        // Another slot's folders are to be there where a prover looks for them.
        let slots = if attack == "reach" { 2 } else { 1 };
        let pipeline = format!(
            "[chain]\nname = \"hostile\"\nstart_height = 1\nwindow = {slots}\ntick_ms = 100\n{keys}\n\n[stage.block]\n\
             strategy = \"match\"\nfrom = \"block\"\nprover = \"hostile\"\npool = \"cpu\"\nmax_attempts = 1\n\
             time_limit_ms = 20000\n\n[prover.hostile]\ncommand = {}\nverify = {}\nwrites = [{:?}]\n\n[pool.cpu]\nslots = {slots}\n\n\
             [sink.out]\nfile = \"out.jsonl\"\n",
            serde_json::to_string(&prover).unwrap(),
            serde_json::to_string(&verifier).unwrap(),
            folder.path().join("notes"),
        );
        // A stage may not be called as what it reads.
        fs::write(folder.path().join("pipeline.toml"), pipeline.replace("[stage.block]", "[stage.whole]"))
            .unwrap();
        situation.prepare(folder.path());
        let program = reachable_program(folder.path());
        Self { situation, folder, program }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn start(&self) -> Child {
        let log = File::create(self.path("log")).unwrap();
        let mut command = self.situation.command(&self.program);
        command.arg("run").arg(self.path("pipeline.toml")).arg("--blocks").arg(self.path("blocks.jsonl"));
        command.arg("--data").arg(self.path("data")).args(self.situation.arguments());
        command.env("PATH", SYSTEM_PATH).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    pub fn run(&self) -> Ended {
        let mut yard = self.start();
        let status = wait_for("the yard's end", || yard.try_wait().unwrap());
        Ended { status, log: self.log(), proofs: self.proofs() }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// What a verb of the command answers.
    pub fn ask(&self, verb: &[&str]) -> String {
        let mut command = self.situation.command(&self.program);
        let output = command.args(verb).arg("--data").arg(self.path("data")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Looks at the artifacts that the sink was told of: true proofs are hashes in hex.
    fn proofs(&self) -> Vec<bool> {
        let lines = fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        let is_true = |line: &str| {
            let entry: Value = serde_json::from_str(line).unwrap();
            let sha256 = find(&entry, "sha256").expect("an entry names its artifact").to_owned();
            let artifact = self.path("data/artifacts").join(&sha256[..2]).join(&sha256);
            let proof = fs::read(artifact).unwrap_or_default();
            proof.len() == 64 && proof.iter().all(u8::is_ascii_hexdigit)
        };
        lines.lines().map(is_true).collect()
    }
}

/// The first text under this key, however deep.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    match value {
        Value::Object(members) => {
            let own = members.get(key).and_then(Value::as_str);
            own.or_else(|| members.values().find_map(|member| find(member, key)))
        }
        Value::Array(elements) => elements.iter().find_map(|element| find(element, key)),
        _ => None,
    }
}

/// The program under a name that a plain user can reach, wherever it was built. A link, since what was just written
/// cannot be executed for sure.
pub fn reachable_program(folder: &Path) -> PathBuf {
    let built = programs().join("proofyard");
    let linked = folder.join("proofyard");
    match fs::hard_link(&built, &linked) {
        Ok(()) => linked,
        Err(_) => built,
    }
}

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK);
    }
}
