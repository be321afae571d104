//! Outcomes of hashes: those remembered for a while, and those being computed right now.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::lock;
use crate::{
    envelope::Moment,
    policy::throttle::{Network, Recent},
};

/// Outcomes of each kind remembered at most.
const REMEMBERED: usize = 20_000;

/// Keyed hash of name, stored hash and password: a changed password makes another one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Tag([u8; 32]);

impl Tag {
    /// As much of it as the throttle needs to know a repeat.
    pub(super) fn guess(self) -> u128 {
        let mut head = [0; 16];
        head.copy_from_slice(&self.0[..16]);
        u128::from_be_bytes(head)
    }
}

pub(super) struct Outcomes {
    key: Zeroizing<[u8; 32]>,
    right: Mutex<Recent<Tag, Moment>>,
    /// Apart, so that a flood of guesses pushes nobody's good sign-in out. By place as well: from
    /// another one a quick refusal would tell that somebody mistyped this very password.
    wrong: Mutex<Recent<(Tag, Network), Moment>>,
    flights: Mutex<HashMap<Tag, Weak<OnceCell<bool>>>>,
}

impl Outcomes {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Outcomes {
            key: Zeroizing::new(key),
            right: Mutex::new(Recent::new(REMEMBERED)),
            wrong: Mutex::new(Recent::new(REMEMBERED)),
            flights: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn tag(&self, name: &str, hash: &SecretString, password: &SecretString) -> Tag {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key)
            .expect("invariant: HMAC takes a key of any length");
        for part in [name, hash.expose_secret(), password.expose_secret()] {
            // With its length, so that no two triples run together alike.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Tag(mac.finalize().into_bytes().into())
    }

    pub(super) fn was_right(&self, tag: &Tag, now: Moment, remember: Duration) -> bool {
        is_young(lock(&self.right).peek(tag), now, remember)
    }

    pub(super) fn was_wrong(
        &self,
        tag: &Tag,
        place: Network,
        now: Moment,
        remember: Duration,
    ) -> bool {
        is_young(lock(&self.wrong).peek(&(*tag, place)), now, remember)
    }

    pub(super) fn keep_right(&self, tag: Tag, now: Moment) {
        lock(&self.right).insert(tag, now);
    }

    pub(super) fn keep_wrong(&self, tag: Tag, place: Network, now: Moment) {
        lock(&self.wrong).insert((tag, place), now);
    }

    pub(super) fn forget(&self) {
        lock(&self.right).clear();
        lock(&self.wrong).clear();
    }

    /// Joins those who wait for the same outcome, or is the first of them.
    pub(super) fn flight(&self, tag: Tag) -> Flight<'_> {
        let mut flights = lock(&self.flights);
        let cell = flights.get(&tag).and_then(Weak::upgrade);
        let cell = cell.unwrap_or_else(|| {
            let cell = Arc::new(OnceCell::new());
            flights.insert(tag, Arc::downgrade(&cell));
            cell
        });
        Flight {
            flights: &self.flights,
            tag,
            cell: Some(cell),
        }
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        lock(&self.flights).len()
    }
}

fn is_young(at: Option<&Moment>, now: Moment, remember: Duration) -> bool {
    at.is_some_and(|&at| now.since(at) < remember)
}

/// One of those who wait for an outcome; where the one who computes it goes away, the next does.
pub(super) struct Flight<'a> {
    flights: &'a Mutex<HashMap<Tag, Weak<OnceCell<bool>>>>,
    tag: Tag,
    cell: Option<Arc<OnceCell<bool>>>,
}

impl Flight<'_> {
    pub(super) async fn outcome<E, F>(&self, compute: impl FnOnce() -> F) -> Result<bool, E>
    where
        F: Future<Output = Result<bool, E>>,
    {
        match &self.cell {
            Some(cell) => cell.get_or_try_init(compute).await.copied(),
            None => compute().await,
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = lock(self.flights);
        self.cell = None;
        if flights
            .get(&self.tag)
            .is_some_and(|c| c.strong_count() == 0)
        {
            flights.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Outcomes {
        Outcomes::new([1; 32])
    }

    #[test]
    fn a_tag_tells_name_hash_password_and_key_apart() {
        let tag = |key, name, hash: &str, password: &str| {
            Outcomes::new([key; 32]).tag(name, &hash.into(), &password.into())
        };
        let one = tag(1, "a", "b", "c");
        assert_eq!(one, tag(1, "a", "b", "c"));
        for other in [
            tag(2, "a", "b", "c"),
            tag(1, "ab", "", "c"),
            tag(1, "a", "bc", ""),
            tag(1, "", "ab", "c"),
            tag(1, "a", "b", "d"),
        ] {
            assert_ne!(one, other);
            assert_ne!(one.guess(), other.guess());
        }
    }

    #[test]
    fn an_outcome_is_remembered_for_its_time_and_a_wrong_one_at_its_place() {
        let outcomes = outcomes();
        let tag = outcomes.tag("a", &"b".into(), &"c".into());
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let remember = Duration::from_secs(60);
        outcomes.keep_right(tag, at(100));
        outcomes.keep_wrong(tag, here, at(100));
        for (now, young) in [(100, true), (159, true), (160, false)] {
            assert_eq!(outcomes.was_right(&tag, at(now), remember), young, "{now}");
            assert_eq!(outcomes.was_wrong(&tag, here, at(now), remember), young);
        }
        assert!(!outcomes.was_wrong(&tag, there, at(100), remember));
        outcomes.forget();
        assert!(!outcomes.was_right(&tag, at(100), remember));
        assert!(!outcomes.was_wrong(&tag, here, at(100), remember));
    }

    /// A client that goes away while its hash is computed leaves nobody waiting for ever.
    #[tokio::test]
    async fn where_the_first_goes_away_the_next_computes() {
        let outcomes = outcomes();
        let tag = outcomes.tag("a", &"b".into(), &"c".into());
        let first = outcomes.flight(tag);
        let second = outcomes.flight(tag);
        let never = std::future::pending::<Result<bool, ()>>;
        let left = tokio::time::timeout(Duration::from_millis(10), first.outcome(never)).await;
        assert!(left.is_err());
        drop(first);
        assert_eq!(second.outcome(async || Err(())).await, Err(()));
        assert_eq!(second.outcome(async || Ok(true)).await, Ok::<_, ()>(true));
        let third = outcomes.flight(tag);
        assert_eq!(third.outcome(never).await, Ok(true));
        drop((second, third));
        assert_eq!(outcomes.in_flight(), 0);
    }
}
