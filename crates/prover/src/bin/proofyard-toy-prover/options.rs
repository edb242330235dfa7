//! The toy's command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

const HELP: &str = "\
A prover that proves nothing, for tests and benchmarks only.

  --files INPUT OUTPUT   work on one input file (the `files` protocol) and end
  --work-ms N            sleep that long on each task
  --burn-ms N            compute that long on each task
  --list N               write a JSON list of N elements instead of a proof
  --field NAME=VALUE     answer with this match field (may be repeated)
  --key HEX              be under this verification key; `key` in the `setup` request's arguments says the same
  --checkpoint TEXT      have TEXT-ATTEMPT kept before it works, unless it is to resume
  --cancel HOW           say that it hears of cancels, and answer: well; never (deaf); well, and fail from then on (sulks)
  --log FILE             append lines: prove TASK ATTEMPT; checkpoint or resume TASK ATTEMPT TEXT; cancel REASON

Faults, each at every task unless restricted:
  --fail                 answer with a transient error
  --fail-rate R          answer so to this share of attempts, chosen by task and attempt
  --fail-at TEXT         answer so to tasks whose id contains TEXT
  --permanent            those errors are permanent ones
  --down FILE            answer as unavailable while FILE exists
  --exit-code N          end with this exit code
  --die-by-signal        die by SIGABRT
  --hang                 never answer
  --rubbish              answer with a line that is no response
  --huge-output BYTES    write a file of this size first
  --memory BYTES         use this much memory from then on
  --fork-children        leave children behind, orphaned and in sessions of their own
  --proof-key HEX        name this verification key with each proof
  --claim-wrong-values   claim other public values than the proof has
  --false-proof          write a proof of something else
  --empty-proof          write a proof of no bytes
  --litter               leave a file in the working folder
  --temporary            have a file in TMPDIR while it works
  --stale-lock FILE      fail if an earlier one was killed at work, as FILE shows
  --alone FILE           fail while another one works, as a lock on FILE shows

Faults of their own kind, without restrictions:
  --fail-again           fail at each attempt but the first
  --forgets              fail where it is to resume
  --last-words           print to stdout at the end, if it proved anything
  --stay                 do not end with stdin
  --claim-system NAME    call its proofs those of this proof system
  --huge-values N        claim, and read from each proof, public values of N bytes
  --accept WHAT          accept such a proof: flipped, cut, extended, random, missing, other, key
  --careless             take any file for a block
  --die-at TEXT          end at a request line that contains TEXT
  --sulk-at TEXT         fail after such a line

Restrictions of the faults:
  --verb NAME            to this verb instead of `prove`
  --only TEXT            to tasks whose id contains TEXT
  --times N --state FILE to the first N times, counted in FILE across processes";

#[derive(Clone, Debug, Default)]
pub struct Options {
    pub files: Option<(PathBuf, PathBuf)>,
    pub work_ms: u64,
    pub burn_ms: u64,
    pub list: Option<u32>,
    pub fields: BTreeMap<String, String>,
    pub checkpoint: Option<String>,
    pub cancel: Option<Hearing>,
    pub forgets: bool,
    pub log: Option<PathBuf>,
    pub key: Option<String>,
    pub proof_key: Option<String>,
    pub fail: bool,
    pub fail_rate: f64,
    pub fail_at: Option<String>,
    pub permanent: bool,
    pub down: Option<PathBuf>,
    pub exit_code: Option<i32>,
    pub die_by_signal: bool,
    pub hang: bool,
    pub rubbish: bool,
    pub huge_output: Option<u64>,
    pub memory: Option<usize>,
    pub fork_children: bool,
    pub claim_system: Option<String>,
    pub claim_wrong_values: bool,
    pub false_proof: bool,
    pub empty_proof: bool,
    pub huge_values: Option<usize>,
    pub litter: bool,
    pub temporary: bool,
    pub stale_lock: Option<PathBuf>,
    pub alone: Option<PathBuf>,
    pub fail_again: bool,
    pub last_words: bool,
    pub stay: bool,
    pub accept: Option<String>,
    pub careless: bool,
    pub die_at: Option<String>,
    pub sulk_at: Option<String>,
    pub verb: Option<String>,
    pub only: Option<String>,
    pub times: Option<u64>,
    pub state: Option<PathBuf>,
}

/// What the toy makes of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    Good,
    /// It never answers.
    Deaf,
    ThenSulks,
}

impl Hearing {
    fn of(how: &str) -> Result<Hearing, String> {
        match how {
            "well" => Ok(Hearing::Good),
            "deaf" => Ok(Hearing::Deaf),
            "sulks" => Ok(Hearing::ThenSulks),
            _ => Err(format!("--cancel is well, deaf or sulks, not {how:?}")),
        }
    }
}

impl Options {
    /// The error is what to tell the user.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut rest = arguments;
        while let Some(name) = rest.next() {
            let mut text = || rest.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--files" => options.files = Some((text()?.into(), text()?.into())),
                "--work-ms" => options.work_ms = number(&name, text()?)?,
                "--burn-ms" => options.burn_ms = number(&name, text()?)?,
                "--list" => options.list = Some(number(&name, text()?)?),
                "--field" => {
                    _ = text()?
                        .split_once('=')
                        .map(|(name, value)| options.fields.insert(name.into(), value.into()))
                }
                "--checkpoint" => options.checkpoint = Some(text()?),
                "--cancel" => options.cancel = Some(Hearing::of(&text()?)?),
                "--forgets" => options.forgets = true,
                "--log" => options.log = Some(text()?.into()),
                "--key" => options.key = Some(text()?),
                "--proof-key" => options.proof_key = Some(text()?),
                "--fail" => options.fail = true,
                "--fail-rate" => options.fail_rate = number(&name, text()?)?,
                "--fail-at" => options.fail_at = Some(text()?),
                "--permanent" => options.permanent = true,
                "--down" => options.down = Some(text()?.into()),
                "--exit-code" => options.exit_code = Some(number(&name, text()?)?),
                "--die-by-signal" => options.die_by_signal = true,
                "--hang" => options.hang = true,
                "--rubbish" => options.rubbish = true,
                "--huge-output" => options.huge_output = Some(number(&name, text()?)?),
                "--memory" => options.memory = Some(number(&name, text()?)?),
                "--fork-children" => options.fork_children = true,
                "--claim-system" => options.claim_system = Some(text()?),
                "--claim-wrong-values" => options.claim_wrong_values = true,
                "--false-proof" => options.false_proof = true,
                "--empty-proof" => options.empty_proof = true,
                "--huge-values" => options.huge_values = Some(number(&name, text()?)?),
                "--litter" => options.litter = true,
                "--temporary" => options.temporary = true,
                "--stale-lock" => options.stale_lock = Some(text()?.into()),
                "--alone" => options.alone = Some(text()?.into()),
                "--fail-again" => options.fail_again = true,
                "--last-words" => options.last_words = true,
                "--stay" => options.stay = true,
                "--accept" => options.accept = Some(text()?),
                "--careless" => options.careless = true,
                "--die-at" => options.die_at = Some(text()?),
                "--sulk-at" => options.sulk_at = Some(text()?),
                "--verb" => options.verb = Some(text()?),
                "--only" => options.only = Some(text()?),
                "--times" => options.times = Some(number(&name, text()?)?),
                "--state" => options.state = Some(text()?.into()),
                "--help" => return Err(HELP.into()),
                _ => return Err(format!("unknown option {name}\n\n{HELP}")),
            }
        }
        if options.times.is_some() != options.state.is_some() {
            return Err("--times and --state go together".into());
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(name: &str, text: String) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} needs a number, not {text:?}"))
}
