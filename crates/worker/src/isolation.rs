//! How provers and verifiers on this machine are kept from each other and from the yard: what is offered, what is in
//! force, and whether it holds.
//!
//! Nothing is believed of a kernel: what is to be used is tried first, on this machine, by a process that is confined
//! as a prover would be ([`proofyard_prover::confinement`]).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proofyard_core::pipeline::{Pipeline, Verify};
use proofyard_prover::confinement::{Confinement, Sandbox, Trial};
use proofyard_prover::runner::{GuardCommand, User, try_confinement};
use rustix::process::geteuid;

/// Whose processes: what proves is never to reach what verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Prove,
    Verify,
}

/// So many slots, on one machine, have users of their own.
pub const USERS: u32 = 4_096;

/// The first of the users of provers, and of verifiers, where nobody names others. Both ranges lie below what a
/// container with 65,536 users has, and above what distributions give to people.
const PROVERS: User = User { uid: 50_000, gid: 50_000 };
const VERIFIERS: User = User { uid: 55_000, gid: 55_000 };

/// The users of slot 0; each further slot has the next uid, and the same gid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    provers: User,
    verifiers: User,
}

impl Users {
    /// Those that are named, the others by default.
    pub fn named(provers: Option<User>, verifiers: Option<User>) -> Result<Self, IsolationError> {
        let users = Self { provers: provers.unwrap_or(PROVERS), verifiers: verifiers.unwrap_or(VERIFIERS) };
        let Self { provers: User { uid: p, .. }, verifiers: User { uid: v, .. } } = users;
        if p.abs_diff(v) < USERS {
            return Err(IsolationError::Overlap { provers: users.provers, verifiers: users.verifiers });
        }
        if p.max(v).checked_add(USERS).is_none() {
            return Err(IsolationError::TooHigh(p.max(v)));
        }
        Ok(users)
    }

    fn of(self, role: Role, slot: u32) -> User {
        let first = match role {
            Role::Prove => self.provers,
            Role::Verify => self.verifiers,
        };
        User { uid: first.uid + slot, ..first }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The best that this machine has.
    Best,
    Users(Users),
    In(Sandbox),
    Nothing,
}

/// `--isolation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedKind {
    #[default]
    Auto,
    Users,
    Landlock,
    Namespaces,
    None,
}

impl FromStr for WantedKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "users" => Ok(Self::Users),
            "landlock" => Ok(Self::Landlock),
            "namespaces" => Ok(Self::Namespaces),
            "none" => Ok(Self::None),
            _ => Err(format!("{text} is none of auto, users, landlock, namespaces, none")),
        }
    }
}

impl Wanted {
    /// What a command line says together.
    pub fn said(
        kind: WantedKind,
        provers: Option<User>,
        verifiers: Option<User>,
    ) -> Result<Self, IsolationError> {
        let are_named = provers.is_some() || verifiers.is_some();
        match kind {
            WantedKind::Auto if !are_named => Ok(Self::Best),
            WantedKind::Auto | WantedKind::Users => Users::named(provers, verifiers).map(Self::Users),
            _ if are_named => Err(IsolationError::UsersAndMore),
            WantedKind::Landlock => Ok(Self::In(Sandbox::Landlock)),
            WantedKind::Namespaces => Ok(Self::In(Sandbox::Namespaces)),
            WantedKind::None => Ok(Self::Nothing),
        }
    }

    /// Whether the users of provers may be other ones than the yard's.
    pub fn may_be_users(self) -> bool {
        match self {
            Self::Users(_) => true,
            Self::Best => geteuid().is_root(),
            Self::In(_) | Self::Nothing => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsolationError {
    #[error(
        "provers from {provers} and verifiers from {verifiers} would share users: each range has {USERS}, one for each slot"
    )]
    Overlap { provers: User, verifiers: User },
    #[error("user {0} is too high: {USERS} users are counted from there")]
    TooHigh(u32),
    #[error("users are named, and the isolation is to be another one; name one of the two")]
    UsersAndMore,
    #[error("{slots} slots are more than the {USERS} users that there are for them; name fewer slots")]
    TooManySlots { slots: u32 },
    #[error("provers cannot be isolated by {way}: {why}")]
    CannotBe { way: &'static str, why: String },
}

/// Where provers are to run.
pub struct Ground<'a> {
    pub guard: &'a GuardCommand,
    /// The yard's folder, which is not theirs.
    pub folder: &'a Path,
    /// What they must reach.
    pub needed: &'a [PathBuf],
    /// Of this process, with all its pools together.
    pub slots: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Users(Users),
    In(Sandbox),
    Nothing,
}

/// What is in force on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    way: Way,
    /// Provers can still send signals to others: end them, and not speak for them.
    sends_signals: bool,
    /// Why it is no better one.
    because: Vec<String>,
}

impl Isolation {
    /// None, and nobody said that there should be one.
    pub fn nothing() -> Self {
        Self { way: Way::Nothing, sends_signals: true, because: Vec::new() }
    }

    /// Finds what is in force from here on. What was asked for by its name, and cannot be, is an error.
    pub fn choose(wanted: Wanted, ground: &Ground<'_>) -> Result<Self, IsolationError> {
        if wanted.may_be_users() && ground.slots > USERS {
            return Err(IsolationError::TooManySlots { slots: ground.slots });
        }
        let failed = |way| move |why| IsolationError::CannotBe { way, why };
        match wanted {
            Wanted::Nothing => Ok(Self::nothing()),
            Wanted::Users(users) => ground.try_users(users).map_err(failed("users of their own")),
            Wanted::In(sandbox) => ground.try_sandbox(sandbox).map_err(failed(name_of(sandbox))),
            Wanted::Best => Ok(Self::best(ground)),
        }
    }

    fn best(ground: &Ground<'_>) -> Self {
        let mut because = Vec::new();
        if geteuid().is_root() {
            let users = Users { provers: PROVERS, verifiers: VERIFIERS };
            match are_free(users, ground.slots).and_then(|()| ground.try_users(users)) {
                Ok(found) => return found,
                Err(why) => because.push(format!("no users of their own: {why}")),
            }
        }
        // The first that leaves no process within reach; else the first that holds at all.
        let mut second: Option<Self> = None;
        for sandbox in [Sandbox::Landlock, Sandbox::Namespaces] {
            match ground.try_sandbox(sandbox) {
                Ok(found) if !found.sends_signals => return Self { because, ..found },
                Ok(found) => second = second.or(Some(found)),
                Err(why) => because.push(format!("no {}: {why}", name_of(sandbox))),
            }
        }
        Self { because, ..second.unwrap_or_else(Self::nothing) }
    }

    /// Whether a prover is kept from speaking for its verifier.
    pub fn holds(&self) -> bool {
        self.way != Way::Nothing
    }

    /// What to tell whoever starts a yard where it does not hold.
    pub fn warning(&self) -> Option<String> {
        let because = if self.because.is_empty() { String::new() } else { format!(" ({})", self) };
        let warning = "nothing keeps provers from their verifiers here: a hostile prover could forge its verifier's \
                       answers; see docs/security.md";
        (!self.holds()).then(|| format!("{warning}{because}"))
    }

    /// As whom a slot's processes run.
    pub(crate) fn owner(&self, role: Role, slot: u32) -> Option<User> {
        match self.way {
            Way::Users(users) => Some(users.of(role, slot)),
            Way::In(_) | Way::Nothing => None,
        }
    }

    /// What a slot's processes are kept from. `place` is theirs, and `writable` whatever else they may change.
    pub(crate) fn confinement(
        &self,
        role: Role,
        slot: u32,
        place: &Path,
        writable: impl Iterator<Item = PathBuf>,
    ) -> Confinement {
        match self.way {
            Way::Users(users) => Confinement { user: Some(users.of(role, slot)), ..Confinement::default() },
            Way::In(sandbox) => {
                let writable = std::iter::once(place.to_owned()).chain(writable).collect();
                Confinement { sandbox: Some(sandbox), writable, ..Confinement::default() }
            }
            Way::Nothing => Confinement::default(),
        }
    }

    /// Whether provers have users of their own.
    pub fn has_users(&self) -> bool {
        matches!(self.way, Way::Users(_))
    }
}

/// As `status` shows it.
impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::Users(Users { provers, verifiers }) => {
                write!(f, "users (provers from {}, verifiers from {})", provers.uid, verifiers.uid)?;
            }
            Way::In(sandbox) => {
                f.write_str(name_of(sandbox))?;
                if self.sends_signals {
                    f.write_str(" (and provers can still end other processes)")?;
                }
            }
            Way::Nothing => f.write_str("none: a hostile prover could forge its verifier's answers")?,
        }
        self.because.iter().try_for_each(|why| write!(f, "; {why}"))
    }
}

impl Ground<'_> {
    fn try_users(&self, users: Users) -> Result<Isolation, String> {
        for role in [Role::Prove, Role::Verify] {
            let user = users.of(role, 0);
            let trial = self.try_out(Confinement { user: Some(user), ..Confinement::default() })?;
            if let Some(missed) = trial.misses.first() {
                return Err(format!("user {} cannot reach {}", user.uid, missed.display()));
            }
        }
        Ok(Isolation { way: Way::Users(users), sends_signals: false, because: Vec::new() })
    }

    fn try_sandbox(&self, sandbox: Sandbox) -> Result<Isolation, String> {
        let trial = self.try_out(Confinement { sandbox: Some(sandbox), ..Confinement::default() })?;
        let (way, sends_signals) = (Way::In(sandbox), trial.sends_signals);
        Ok(Isolation { way, sends_signals, because: Vec::new() })
    }

    fn try_out(&self, confinement: Confinement) -> Result<Trial, String> {
        let trial = try_confinement(self.guard, confinement, self.folder, self.needed)?;
        match trial {
            Trial { reads_processes: true, .. } => Err("it leaves other processes open".to_owned()),
            Trial { writes_files: true, .. } => {
                Err(format!("it leaves {} open to changes", self.folder.display()))
            }
            trial => Ok(trial),
        }
    }
}

fn name_of(sandbox: Sandbox) -> &'static str {
    match sandbox {
        Sandbox::Landlock => "landlock",
        Sandbox::Namespaces => "namespaces",
    }
}

/// Whether the users of so many slots are nobody's, as far as this machine's own list tells.
fn are_free(users: Users, slots: u32) -> Result<(), String> {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in list.lines() {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next().unwrap_or_default(), fields.nth(1).and_then(|uid| uid.parse().ok()));
        let Some(uid): Option<u32> = uid else { continue };
        let is_taken = |first: User| (first.uid..first.uid.saturating_add(slots)).contains(&uid);
        if is_taken(users.provers) || is_taken(users.verifiers) {
            return Err(format!("user {uid} is {name}; name others with --prover-user and --verifier-user"));
        }
    }
    Ok(())
}

/// What the provers of these pipelines are started from, as far as their commands say: programs, and files that are
/// named in arguments and variables.
pub fn needed_by<'a>(
    pipelines: impl IntoIterator<Item = &'a Pipeline>,
    beside: Option<&Path>,
) -> Vec<PathBuf> {
    let mut needed = Vec::new();
    let is_there = |path: &Path| std::path::absolute(path).ok().filter(|path| path.exists());
    for prover in pipelines.into_iter().flat_map(|pipeline| pipeline.provers.values()) {
        let verifier = match &prover.verify {
            Verify::Command(command) => command.as_slice(),
            Verify::Same | Verify::None => &[],
        };
        for command in [prover.command.as_slice(), verifier] {
            let Some((program, arguments)) = command.split_first() else { continue };
            needed.extend(find_program(program, beside, prover.environment.get("PATH").map(String::as_str)));
            needed.extend(arguments.iter().filter_map(|argument| is_there(Path::new(argument))));
        }
        needed.extend(
            prover.environment.values().map(Path::new).filter(|path| path.is_absolute()).filter_map(is_there),
        );
    }
    needed.sort();
    needed.dedup();
    needed
}

/// As a shell finds it; none where it is nowhere.
fn find_program(program: &str, beside: Option<&Path>, path: Option<&str>) -> Option<PathBuf> {
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|program| program.exists());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = path.map_or(own, Into::into);
    let folders = beside.map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Option<User> {
        Some(User { uid, gid: uid })
    }

    #[test]
    fn no_prover_has_the_user_of_a_verifier() {
        for (provers, verifiers) in [(10_000, 10_000), (10_000, 14_095), (14_095, 10_000)] {
            let refused = Users::named(user(provers), user(verifiers)).unwrap_err();
            assert!(matches!(refused, IsolationError::Overlap { .. }), "{refused}");
        }
        let users = Users::named(user(10_000), user(14_096)).unwrap();
        assert_eq!(users.of(Role::Prove, USERS - 1), User { uid: 14_095, gid: 10_000 });
        assert_eq!(users.of(Role::Verify, 0), User { uid: 14_096, gid: 14_096 });
        assert!(matches!(Users::named(user(u32::MAX - 5), None), Err(IsolationError::TooHigh(_))));
        Users::named(None, None).unwrap();
    }

    #[test]
    fn what_is_said_of_isolation_must_agree() {
        use WantedKind::{Auto, Landlock, None as Nothing, Users as OfTheirOwn};
        assert_eq!(Wanted::said(Auto, None, None), Ok(Wanted::Best));
        assert!(matches!(Wanted::said(Auto, user(10_000), None), Ok(Wanted::Users(_))));
        assert!(matches!(Wanted::said(OfTheirOwn, None, None), Ok(Wanted::Users(_))));
        for kind in [Landlock, Nothing] {
            assert_eq!(Wanted::said(kind, None, user(7)), Err(IsolationError::UsersAndMore));
        }
    }
}
