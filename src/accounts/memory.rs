//! What the keeper remembers of the store, so that a sign-in or a recipient need not ask it.
//!
//! Everything goes at once when an account or a domain changes; what was being read meanwhile is
//! not kept, which is what the generation is for.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use secrecy::{ExposeSecret, SecretString};

use super::{Account, app::AppPasswords};
use crate::{
    envelope::{AccountId, AppPasswordId},
    policy::throttle::{Network, Recent},
    store::{accounts::NO_PASSWORD, credentials::ScramCredential},
};

/// How long a place stays known after the last good sign-in from it (S28).
pub(super) const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Known places of one account at most.
pub(super) const PLACES_MAX: u32 = 64;
/// How old a stored time of a known place may grow before it is written again.
const REFRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// Accounts, names and mailboxes remembered at most, each.
const REMEMBERED: usize = 20_000;

/// An account with what signing in needs.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) account: Arc<Account>,
    pub(super) hash: SecretString,
    pub(super) scram: Option<ScramCredential>,
    pub(super) apps: AppPasswords,
    /// Its own password is refused.
    pub(super) apps_only: bool,
    pub(super) places: Places,
    /// Set once a better hash is being made.
    pub(super) upgrading: AtomicBool,
}

impl Known {
    /// Whether its own password may open it.
    pub(super) fn opens(&self) -> bool {
        self.account.enabled && !self.apps_only
    }

    /// Whether its password is not known here.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.hash.expose_secret() == NO_PASSWORD
    }
}

/// Where an account signed in well, and when that was last written down.
#[derive(Debug)]
pub(super) struct Places(Mutex<HashMap<Network, SystemTime>>);

impl Places {
    pub(super) fn new(known: Vec<(Network, SystemTime)>) -> Self {
        Places(Mutex::new(known.into_iter().collect()))
    }

    pub(super) fn contains(&self, place: Network, now: SystemTime) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places
            .get(&place)
            .is_some_and(|&at| age(now, at) < KNOWN_FOR)
    }

    /// Notes a good sign-in; gives whether it is to be written: once a day for each place.
    pub(super) fn note(&self, place: Network, now: SystemTime) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.get(&place).is_some_and(|&at| age(now, at) < REFRESH) {
            return false;
        }
        if places.len() >= PLACES_MAX as usize && !places.contains_key(&place) {
            let oldest = places.iter().min_by_key(|(_, at)| **at).map(|(p, _)| *p);
            if let Some(oldest) = oldest {
                places.remove(&oldest);
            }
        }
        places.insert(place, now);
        true
    }

    /// Takes a note back that could not be written.
    pub(super) fn forget(&self, place: Network) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.remove(&place);
    }
}

/// A time in the future (the clock was stepped back) counts as this moment.
fn age(now: SystemTime, at: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

#[derive(Debug)]
pub(super) struct Memory {
    generation: u64,
    /// By login name; `None` for a name that nobody has, so that asking for it takes the same time.
    names: Recent<Box<str>, Option<Arc<Known>>>,
    /// By app password too: some may do less.
    accounts: Recent<(AccountId, Option<AppPasswordId>), Arc<Account>>,
    mailboxes: Recent<Box<str>, bool>,
    /// The domains that are ours.
    ours: Option<Arc<HashSet<String>>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Memory {
            generation: 0,
            names: Recent::new(REMEMBERED),
            accounts: Recent::new(REMEMBERED),
            mailboxes: Recent::new(REMEMBERED),
            ours: None,
        }
    }

    /// To be given back with what was read from the store.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn forget(&mut self) {
        self.generation += 1;
        self.names.clear();
        self.accounts.clear();
        self.mailboxes.clear();
        self.ours = None;
    }

    /// What accounts may do is read anew; who they are stays.
    pub(super) fn forget_accounts(&mut self) {
        self.generation += 1;
        self.accounts.clear();
    }

    pub(super) fn ours(&self) -> Option<Arc<HashSet<String>>> {
        self.ours.clone()
    }

    pub(super) fn keep_ours(&mut self, generation: u64, ours: &Arc<HashSet<String>>) {
        if generation == self.generation {
            self.ours = Some(Arc::clone(ours));
        }
    }

    pub(super) fn name(&self, name: &str) -> Option<Option<Arc<Known>>> {
        self.names.peek(&name.into()).cloned()
    }

    pub(super) fn keep_name(&mut self, generation: u64, name: &str, known: Option<Arc<Known>>) {
        if generation == self.generation {
            self.names.insert(name.into(), known);
        }
    }

    pub(super) fn account(
        &self,
        id: AccountId,
        app: Option<AppPasswordId>,
    ) -> Option<Arc<Account>> {
        self.accounts.peek(&(id, app)).cloned()
    }

    pub(super) fn keep_account(
        &mut self,
        generation: u64,
        app: Option<AppPasswordId>,
        account: &Arc<Account>,
    ) {
        if generation == self.generation {
            self.accounts.insert((account.id, app), Arc::clone(account));
        }
    }

    pub(super) fn mailbox(&self, folded: &str) -> Option<bool> {
        self.mailboxes.peek(&folded.into()).copied()
    }

    pub(super) fn keep_mailbox(&mut self, generation: u64, folded: &str, exists: bool) {
        if generation == self.generation {
            self.mailboxes.insert(folded.into(), exists);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_once_a_day_and_known_for_thirty() {
        let day = Duration::from_secs(86_400);
        let (places, home) = (Places::new(Vec::new()), "192.0.2.1".parse().unwrap());
        let start = SystemTime::UNIX_EPOCH + 1000 * day;
        assert!(!places.contains(home, start));
        assert!(places.note(home, start));
        assert!(!places.note(home, start + day / 2));
        assert!(places.note(home, start + day));
        assert!(places.contains(home, start + 30 * day));
        assert!(!places.contains(home, start + 31 * day));
        assert!(places.contains(home, start - day), "clock stepped back");
    }

    #[test]
    fn places_are_bounded_and_the_oldest_goes() {
        let places = Places::new(Vec::new());
        let place = |n: u32| Network::place(std::net::Ipv4Addr::from_bits(n).into());
        let at = |n: u32| SystemTime::UNIX_EPOCH + Duration::from_secs(n.into());
        for n in 0..=PLACES_MAX {
            assert!(places.note(place(n), at(n)));
        }
        assert!(!places.contains(place(0), at(100)));
        assert!(places.contains(place(1), at(100)));
        assert!(places.contains(place(PLACES_MAX), at(100)));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let mut memory = Memory::new();
        let before = memory.generation();
        memory.forget();
        memory.keep_mailbox(before, "a@b.example", true);
        memory.keep_name(before, "a", None);
        assert_eq!(memory.mailbox("a@b.example"), None);
        assert!(memory.name("a").is_none());
        memory.keep_mailbox(memory.generation(), "a@b.example", true);
        assert_eq!(memory.mailbox("a@b.example"), Some(true));
    }
}
