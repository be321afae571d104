//! Hosts that could not be spoken to are left alone for a time, longer after each failure.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::way::Channel;
use crate::{envelope::Status, policy::routes::Place};

/// Hosts remembered at most; the one that is free soonest is forgotten first.
const HOSTS_MOST: usize = 65_536;

/// Whom a failure is about: a host, or what some find there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Suspect {
    /// The route, for another one may trust otherwise.
    pub(super) route: Box<str>,
    pub(super) place: Place,
    pub(super) finding: Finding,
}

/// Who finds that a host cannot be used.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Finding {
    /// Everybody.
    Anybody,
    /// Whoever signs in by this name.
    Login(Box<str>),
    /// Whoever asks for this protection.
    Protection(Channel),
}

/// How long hosts are left alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waits {
    /// After the first failure (default 30 s); doubled after each further one.
    pub first: Duration,
    /// At most (default 10 minutes).
    pub longest: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Waits {
            first: Duration::from_secs(30),
            longest: Duration::from_secs(600),
        }
    }
}

/// Hosts that failed.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    waits: Waits,
    failed: Mutex<HashMap<Suspect, Failed>>,
}

#[derive(Clone, Debug)]
struct Failed {
    times: u32,
    until: Instant,
    why: Status,
}

impl Backoff {
    pub(super) fn new(waits: Waits) -> Self {
        Backoff {
            waits,
            failed: Mutex::default(),
        }
    }

    /// How long there is no use in trying, and why the last try failed; none where there is.
    pub(super) fn left(&self, suspect: &Suspect) -> Option<(Duration, Status)> {
        let failed = self.failed();
        let failed = failed.get(suspect)?;
        let left = failed.until.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then(|| (left, failed.why.clone()))
    }

    /// It failed; gives how long it is left alone. Failures of attempts that ran side by side count
    /// once.
    pub(super) fn failed_with(&self, suspect: Suspect, why: &Status) -> Duration {
        let now = Instant::now();
        let mut failed = self.failed();
        let times = match failed.get(&suspect) {
            Some(before) if before.until > now => return before.until - now,
            Some(before) => before.times.saturating_add(1),
            None => 1,
        };
        if failed.len() >= HOSTS_MOST {
            let soonest = failed.iter().min_by_key(|(_, failed)| failed.until);
            let soonest = soonest.map(|(suspect, _)| suspect.clone());
            soonest.and_then(|soonest| failed.remove(&soonest));
        }
        let doubled = self.waits.first.saturating_mul(1 << (times - 1).min(16));
        let wait = doubled.min(self.waits.longest);
        failed.insert(
            suspect,
            Failed {
                times,
                until: now + wait,
                why: why.clone(),
            },
        );
        wait
    }

    /// Everybody may be tried at once.
    pub(super) fn forgive(&self) {
        self.failed().clear();
    }

    /// It could be spoken to.
    pub(super) fn answered(&self, suspect: &Suspect) {
        self.failed().remove(suspect);
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Suspect, Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::EnhancedCode;

    fn suspect(login: Option<&str>) -> Suspect {
        Suspect {
            route: "r".into(),
            place: Place::Tcp {
                host: "hop.example".into(),
                port: 587,
            },
            finding: login.map_or(Finding::Anybody, |name| Finding::Login(name.into())),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_with_failures_one_after_the_other_and_end_with_an_answer() {
        let backoff = Backoff::default();
        let why = Status::new(EnhancedCode::new(4, 4, 1), "refused");
        let mut waits = Vec::new();
        for _ in 0..7 {
            let wait = backoff.failed_with(suspect(None), &why);
            // Another attempt had begun before.
            assert!(backoff.failed_with(suspect(None), &why) <= wait);
            assert_eq!(backoff.left(&suspect(None)), Some((wait, why.clone())));
            waits.push(wait.as_secs());
            tokio::time::sleep(wait).await;
            assert_eq!(backoff.left(&suspect(None)), None);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        backoff.answered(&suspect(None));
        assert_eq!(backoff.failed_with(suspect(None), &why).as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_says_nothing_of_others() {
        let backoff = Backoff::default();
        let why = Status::new(EnhancedCode::new(4, 7, 8), "535 no");
        backoff.failed_with(suspect(Some("a")), &why);
        assert!(backoff.left(&suspect(Some("a"))).is_some());
        assert!(backoff.left(&suspect(Some("b"))).is_none());
        assert!(backoff.left(&suspect(None)).is_none());
    }
}
