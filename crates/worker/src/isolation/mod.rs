//! How provers and verifiers on this machine are isolated from each other and from the yard's files: which methods there are,
//! which one is in force, and whether it works here.
//!
//! No kernel is trusted by its version: a method is first tried on this machine, by a process that is confined as a prover
//! would be ([`proofyard_prover::confinement`]).
//!
//! - [`Wanted`]: which method is asked for;
//! - [`Isolation`]: which one is in force, chosen once at the start;
//! - [`Users`]: the users of slots, where isolation is by users;
//! - [`needed_by`]: the files that isolated provers must be able to reach.

mod needed;
mod users;
mod wanted;

use std::fmt;
use std::path::{Path, PathBuf};

use proofyard_core::error::{Code, Coded};
use proofyard_prover::confinement::{Confinement, Sandbox, Trial};
use proofyard_prover::runner::{GuardCommand, User, try_confinement};
use rustix::process::geteuid;

pub use self::needed::needed_by;
use self::users::are_free;
pub use self::users::{USERS, Users};
pub use self::wanted::{Wanted, WantedKind};

/// What a process does. No process of one role may reach one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Prove,
    Verify,
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

impl Coded for IsolationError {
    fn code(&self) -> Code {
        match self {
            Self::Overlap { .. } | Self::TooHigh(_) | Self::UsersAndMore => Code::BadUsers,
            Self::TooManySlots { .. } => Code::TooManySlots,
            Self::CannotBe { .. } => Code::IsolationImpossible,
        }
    }
}

/// This host, as provers are to run on it.
pub struct Host<'a> {
    pub guard: &'a GuardCommand,
    /// The yard's folder, which they must not be able to change.
    pub folder: &'a Path,
    /// Files that they must be able to reach.
    pub needed: &'a [PathBuf],
    /// How many slots this process has, over all pools.
    pub slots: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Users(Users),
    In(Sandbox),
    Nothing,
}

/// The isolation in force on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    method: Method,
    /// Provers can still send signals to other processes: they could end them, but not forge their answers.
    sends_signals: bool,
    /// Why each better method is not used.
    rejected: Vec<String>,
}

impl Isolation {
    /// No isolation, as was asked for.
    pub fn nothing() -> Self {
        Self { method: Method::Nothing, sends_signals: true, rejected: Vec::new() }
    }

    /// Chooses the isolation that is in force from now on. A method that was asked for by name and does not work here is an
    /// error.
    pub fn choose(wanted: Wanted, host: &Host<'_>) -> Result<Self, IsolationError> {
        if wanted.may_be_users() && host.slots > USERS {
            return Err(IsolationError::TooManySlots { slots: host.slots });
        }
        let failed = |way| move |why| IsolationError::CannotBe { way, why };
        match wanted {
            Wanted::Nothing => Ok(Self::nothing()),
            Wanted::Users(users) => host.try_users(users).map_err(failed("users of their own")),
            Wanted::In(sandbox) => host.try_sandbox(sandbox).map_err(failed(name_of(sandbox))),
            Wanted::Best => Ok(Self::best(host)),
        }
    }

    fn best(host: &Host<'_>) -> Self {
        let mut rejected = Vec::new();
        if geteuid().is_root() {
            let users = Users::default();
            match are_free(users, host.slots).and_then(|()| host.try_users(users)) {
                Ok(found) => return found,
                Err(why) => rejected.push(format!("no users of their own: {why}")),
            }
        }
        // The first sandbox that leaves no other process within reach; else the first that works at all.
        let mut second: Option<Self> = None;
        for sandbox in [Sandbox::Landlock, Sandbox::Namespaces] {
            match host.try_sandbox(sandbox) {
                Ok(found) if !found.sends_signals => return Self { rejected, ..found },
                Ok(found) => second = second.or(Some(found)),
                Err(why) => rejected.push(format!("no {}: {why}", name_of(sandbox))),
            }
        }
        Self { rejected, ..second.unwrap_or_else(Self::nothing) }
    }

    /// Whether a prover is kept from forging its verifier's answers.
    pub fn holds(&self) -> bool {
        self.method != Method::Nothing
    }

    /// The warning for operators of a yard where it does not hold.
    pub fn warning(&self) -> Option<String> {
        let reasons = if self.rejected.is_empty() { String::new() } else { format!(" ({})", self) };
        let warning = "nothing keeps provers from their verifiers here: a hostile prover could forge its verifier's \
                       answers; see docs/security.md";
        (!self.holds()).then(|| format!("{warning}{reasons}"))
    }

    /// The user that a slot's processes run as, if not the worker's own.
    pub(crate) fn owner(&self, role: Role, slot: u32) -> Option<User> {
        match self.method {
            Method::Users(users) => Some(users.of(role, slot)),
            Method::In(_) | Method::Nothing => None,
        }
    }

    /// The confinement of a slot's processes, which may write to `place` and to `writable`.
    pub(crate) fn confinement(
        &self,
        role: Role,
        slot: u32,
        place: &Path,
        writable: impl Iterator<Item = PathBuf>,
    ) -> Confinement {
        match self.method {
            Method::Users(users) => {
                Confinement { user: Some(users.of(role, slot)), ..Confinement::default() }
            }
            Method::In(sandbox) => {
                let writable = std::iter::once(place.to_owned()).chain(writable).collect();
                Confinement { sandbox: Some(sandbox), writable, ..Confinement::default() }
            }
            Method::Nothing => Confinement::default(),
        }
    }

    /// Whether provers have users of their own.
    pub fn has_users(&self) -> bool {
        matches!(self.method, Method::Users(_))
    }
}

/// As `status` shows it.
impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.method {
            Method::Users(Users { provers, verifiers }) => {
                write!(f, "users (provers from {}, verifiers from {})", provers.uid, verifiers.uid)?;
            }
            Method::In(sandbox) => {
                f.write_str(name_of(sandbox))?;
                if self.sends_signals {
                    f.write_str(" (and provers can still end other processes)")?;
                }
            }
            Method::Nothing => f.write_str("none: a hostile prover could forge its verifier's answers")?,
        }
        self.rejected.iter().try_for_each(|why| write!(f, "; {why}"))
    }
}

impl Host<'_> {
    fn try_users(&self, users: Users) -> Result<Isolation, String> {
        for role in [Role::Prove, Role::Verify] {
            let user = users.of(role, 0);
            let trial = self.try_out(Confinement { user: Some(user), ..Confinement::default() })?;
            if let Some(missed) = trial.misses.first() {
                return Err(format!("user {} cannot reach {}", user.uid, missed.display()));
            }
        }
        Ok(Isolation { method: Method::Users(users), sends_signals: false, rejected: Vec::new() })
    }

    fn try_sandbox(&self, sandbox: Sandbox) -> Result<Isolation, String> {
        let trial = self.try_out(Confinement { sandbox: Some(sandbox), ..Confinement::default() })?;
        let (method, sends_signals) = (Method::In(sandbox), trial.sends_signals);
        Ok(Isolation { method, sends_signals, rejected: Vec::new() })
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
