//! The users that provers and verifiers run as, where isolation is by users: one for each slot and role.

use std::fs;

use proofyard_prover::runner::User;

use super::{IsolationError, Role};

/// How many slots of one machine can have users of their own.
pub const USERS: u32 = 4_096;

/// The first user of provers, and of verifiers, by default. Both ranges fit into a container with 65,536 users, and lie
/// above those that distributions give to people.
const PROVERS: User = User { uid: 50_000, gid: 50_000 };
const VERIFIERS: User = User { uid: 55_000, gid: 55_000 };

/// The users of slot 0; each further slot has the next uid, and the same gid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    pub(super) provers: User,
    pub(super) verifiers: User,
}

impl Default for Users {
    fn default() -> Self {
        Self { provers: PROVERS, verifiers: VERIFIERS }
    }
}

impl Users {
    /// The users that are named, with the default for one that is not.
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

    pub(super) fn of(self, role: Role, slot: u32) -> User {
        let first = match role {
            Role::Prove => self.provers,
            Role::Verify => self.verifiers,
        };
        User { uid: first.uid + slot, ..first }
    }
}

/// Whether no one has the users of so many slots, as far as this machine's own list (/etc/passwd) tells.
pub(super) fn are_free(users: Users, slots: u32) -> Result<(), String> {
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
}
