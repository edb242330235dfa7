//! A prover harms only its own task: not the yard, its next start, the machine, nor what the yard knows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use proofyard_core::state::OutKind;
use proofyard_faults::{BlocksFile, Ended, Place, ToyPipeline, Witness};

/// Its one prover is a script that finds `{input}` and `{output}` in `$1` and `$2`.
struct Scripted {
    place: Place,
    prover: String,
    limits: &'static str,
}

impl Scripted {
    fn new(script: &str) -> Self {
        let place = Place::new(ToyPipeline::default(), &BlocksFile::Chain.lines()[..1]);
        let command = serde_json::to_string(&["sh", "-c", script, "sh", "{input}", "{output}"]).unwrap();
        let prover = format!("command = {command}\nprotocol = \"files\"\nverify = \"none\"\n");
        Self { place, prover, limits: "max_attempts = 1\nmax_crashes = 1\n" }
    }

    fn write(&self) -> &Self {
        let Self { prover, limits, .. } = self;
        let text = format!(
            "[chain]\nname = \"{}\"\nstart_height = 1\nwindow = 4\ntick_ms = 100\n\n\
             [stage.prove]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"p\"\npool = \"cpu\"\n{limits}\n\
             [prover.p]\n{prover}\n[pool.cpu]\nslots = 1\n\n[sink.blocks]\nfile = \"blocks.jsonl\"\n",
            ToyPipeline::CHAIN
        );
        fs::write(self.place.path("pipeline.toml"), text).unwrap();
        self
    }

    fn run(&self) -> Ended {
        self.write().place.start().wait()
    }

    /// Why its one task is parked, in a run that ends.
    fn parked(&self) -> String {
        assert_eq!(self.run(), Ended::Code(1), "{}", self.place.log());
        let state = Witness::default().look(&self.place).unwrap();
        state.parked()[0].parked().unwrap().to_owned()
    }
}

/// Written a thousand at a time, as far as any path can name them, and moved into each other.
const NEST: &str = "one() { i=0; while [ $i -lt 800 ]; do echo -n d/; i=$((i+1)); done; }; all=$(one); cd \"$(dirname \"$2\")\"; \
                    mkdir -p base/$all; n=0; while [ $n -lt 2 ]; do mkdir next; mkdir -p next/$all; (cd next/$all && mv \
                    \"$OLDPWD/base\" .) ; mv next base; n=$((n+1)); done";

#[test]
fn folders_without_an_end_harm_neither_the_yard_nor_its_next_start() {
    // It is killed while it works, or ends with a proof beside its folders: both are one failed attempt.
    let scripted = Scripted::new(&format!("{NEST}; echo done > \"$2\""));
    let why = scripted.parked();
    assert!(why.contains("folders more than 32 deep"), "{why}");
    assert_eq!(fs::read_dir(scripted.place.data_dir().join("work")).unwrap().count(), 0);
    assert_eq!(scripted.place.start().wait(), Ended::Code(1), "{}", scripted.place.log());
}

/// What an earlier yard's prover left, and nobody removed.
#[test]
fn a_start_finds_what_was_left_however_deep_it_is() {
    let scripted = Scripted::new("echo done > \"$2\"");
    let left = scripted.place.data_dir().join("work/17/out");
    fs::create_dir_all(&left).unwrap();
    fs::write(scripted.place.data_dir().join("state.db"), "").unwrap();
    let mut nest = std::process::Command::new("sh");
    nest.args(["-c", NEST, "sh", ""]).arg(left.join("x"));
    assert!(nest.status().unwrap().success());
    assert_eq!(scripted.run(), Ended::Code(0), "{}", scripted.place.log());
}

/// A daemon in a session of its own that hides from its mark, and whose guard is killed by the prover.
#[test]
fn a_daemon_whose_guard_was_killed_ends_too() {
    let seconds = format!("98765.{}", std::process::id());
    let script = format!("env -i setsid sh -c 'exec sleep {seconds}' & sleep 0.3; kill -9 $PPID; sleep 100");
    let scripted = Scripted::new(&script);
    // A prover with a user of its own cannot do that.
    let alike = |command: &mut std::process::Command| _ = command.args(["--isolation", "none"]);
    assert_eq!(scripted.write().place.start_with(alike).wait(), Ended::Code(1), "{}", scripted.place.log());
    let state = Witness::default().look(&scripted.place).unwrap();
    let why = state.parked()[0].parked().unwrap().to_owned();
    assert!(why.starts_with("its prover crashed"), "{why}");
    let daemons = || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let commands = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        commands.filter(|command| command.ends_with(format!("sleep\0{seconds}\0").as_bytes())).count()
    };
    assert_eq!(daemons(), 0);
}

#[test]
fn what_a_yard_has_is_its_users_alone() {
    let scripted = Scripted::new("echo done > \"$2\"");
    let mode = |path: PathBuf| fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let data = scripted.place.data_dir();
    assert_eq!(scripted.run(), Ended::Code(0), "{}", scripted.place.log());
    let private = || {
        // Where provers have users of their own, these go through it to what they know the name of.
        assert_eq!(mode(data.clone()) & !0o011, 0o700);
        ["state.db", "lock"].iter().for_each(|file| assert_eq!(mode(data.join(file)), 0o600, "{file}"));
    };
    private();
    assert_eq!(mode(scripted.place.path("blocks.jsonl")), 0o600);
    // What an earlier version made is closed at the next start; who may read a sink's file is its owner's word.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(data.join("state.db"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(scripted.place.path("blocks.jsonl"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(scripted.place.start().wait(), Ended::Code(0), "{}", scripted.place.log());
    private();
    assert_eq!(fs::metadata(scripted.place.path("blocks.jsonl")).unwrap().mode() & 0o777, 0o666);
    assert!(scripted.place.log().contains("others than its owner may write to"), "{}", scripted.place.log());
}

#[test]
fn a_prover_sees_of_the_environment_what_it_is_handed() {
    let seen = |scripted: &Scripted| {
        scripted.write();
        let mut yard = scripted.place.start_with(|command| {
            command
                .env("API_KEY", "a-secret")
                .env("AWS_SECRET_ACCESS_KEY", "another")
                .env("RUST_LOG", "info");
        });
        assert_eq!(yard.wait(), Ended::Code(0), "{}", scripted.place.log());
        proof(&scripted.place)
    };
    let tells = "env > \"$2\"";
    let environment = seen(&Scripted::new(tells));
    assert!(!environment.contains("a-secret") && !environment.contains("another"), "{environment}");
    assert!(environment.contains("RUST_LOG=info") && environment.contains("PATH="), "{environment}");

    let mut scripted = Scripted::new(tells);
    scripted.prover.push_str("environment_from = [\"API_KEY\"]\n");
    let environment = seen(&scripted);
    assert!(environment.contains("API_KEY=a-secret") && !environment.contains("another"), "{environment}");

    let mut scripted = Scripted::new(tells);
    scripted.prover.push_str("environment_from = [\"NOBODY_HAS_THIS\"]\n");
    assert_eq!(scripted.run(), Ended::Code(2), "{}", scripted.place.log());
    assert!(scripted.place.log().contains("prover p needs NOBODY_HAS_THIS (`environment_from`)"));
}

/// The one that was handed on.
fn proof(place: &Place) -> String {
    let entry = place.sink_entries("blocks").remove(0);
    let OutKind::Proof { proofs, .. } = entry.kind else { panic!("{entry:?}") };
    let name = &proofs[0].artifact.sha256;
    fs::read_to_string(place.data_dir().join("artifacts").join(&name[..2]).join(name)).unwrap()
}
