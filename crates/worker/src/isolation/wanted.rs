//! Which isolation is asked for: `--isolation`, `--prover-user` and `--verifier-user`.

use std::str::FromStr;

use proofyard_prover::confinement::Sandbox;
use proofyard_prover::runner::User;
use rustix::process::geteuid;

use super::IsolationError;
use super::users::Users;

/// The isolation that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The best that works on this machine.
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
    /// What the options of a command line mean together.
    pub fn from_options(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Option<User> {
        Some(User { uid, gid: uid })
    }

    #[test]
    fn options_of_isolation_must_agree() {
        use WantedKind::{Auto, Landlock, None as Nothing, Users as OfTheirOwn};
        assert_eq!(Wanted::from_options(Auto, None, None), Ok(Wanted::Best));
        assert!(matches!(Wanted::from_options(Auto, user(10_000), None), Ok(Wanted::Users(_))));
        assert!(matches!(Wanted::from_options(OfTheirOwn, None, None), Ok(Wanted::Users(_))));
        for kind in [Landlock, Nothing] {
            assert_eq!(Wanted::from_options(kind, None, user(7)), Err(IsolationError::UsersAndMore));
        }
    }
}
