//! MTA-STS policies of recipients' domains: found, fetched, kept (RFC 8461).
//!
//! A policy is fetched when the domain's record shows an id that is new, and once a day; it counts
//! until it expires, whatever has become of the record meanwhile, for that is what an attacker would
//! hide. What cannot be fetched is as good as no policy where there was none before (RFC 8461 §3.3);
//! the reason is kept for evidence and reports.

mod fetch;
mod options;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::{Mutex as AsyncMutex, Semaphore};

pub use fetch::{FetchError, FetchKind};
pub use options::Options;

use crate::{
    dns::Dns,
    policy::sts::{StsMode, StsPolicy, policy_id},
    smtp::Domain,
    store::{Store, StoreError, sts::StoredPolicy},
};

/// Domains whose policies are remembered at most.
const DOMAINS_MOST: u32 = 50_000;
/// Fetches under way at once.
const FETCHES: usize = 16;
/// A policy is fetched anew when it is this old (RFC 8461 §3.3, §10.2).
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What there is of a domain's policy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StsState {
    policy: Option<Arc<StsPolicy>>,
    /// The file as fetched, for reports.
    text: Option<Arc<str>>,
    trouble: Option<FetchError>,
}

impl StsState {
    /// Of a domain without one.
    pub fn none() -> Self {
        StsState::default()
    }

    /// The policy that counts, where there is one; never of the mode `none`.
    pub fn policy(&self) -> Option<&StsPolicy> {
        self.policy
            .as_deref()
            .filter(|policy| policy.mode != StsMode::None)
    }

    /// The policy file.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Why the policy that the domain's record speaks of could not be had.
    pub fn trouble(&self) -> Option<&FetchError> {
        self.trouble.as_ref()
    }
}

/// The keeper of policies.
pub struct Sts {
    options: Options,
    dns: Dns,
    store: Store,
    known: Mutex<HashMap<String, Arc<AsyncMutex<Known>>>>,
    fetches: Semaphore,
}

/// What is known of one domain.
#[derive(Clone, Debug, Default)]
struct Known {
    kept: Option<Kept>,
    /// The last fetch that failed: of which id, when, and why.
    failed: Option<(String, SystemTime, FetchError)>,
}

#[derive(Clone, Debug)]
struct Kept {
    id: String,
    policy: Arc<StsPolicy>,
    text: Arc<str>,
    fetched_at: SystemTime,
    expires_at: SystemTime,
}

impl Kept {
    /// A clock that was stepped back does not make a policy live longer than its age allows.
    fn counts_at(&self, now: SystemTime) -> bool {
        now < self.expires_at && now + self.policy.max_age >= self.fetched_at
    }
}

impl Sts {
    /// A keeper that begins with what the store has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(
        options: Options,
        dns: Dns,
        store: Store,
        now: SystemTime,
    ) -> Result<Arc<Self>, StoreError> {
        let mut known = HashMap::new();
        for stored in store.sts_policies(now, DOMAINS_MOST).await? {
            if let Some(kept) = kept(&stored) {
                let entry = Known {
                    kept: Some(kept),
                    failed: None,
                };
                known.insert(stored.domain, Arc::new(AsyncMutex::new(entry)));
            }
        }
        Ok(Arc::new(Sts {
            options,
            dns,
            store,
            known: Mutex::new(known),
            fetches: Semaphore::new(FETCHES),
        }))
    }

    /// What there is of a domain's policy at `now`.
    pub async fn of(&self, domain: &Domain, now: SystemTime) -> StsState {
        self.find(domain, now, false).await
    }

    /// As [`Sts::of`], after a policy kept every host from getting a message: a newer one is looked
    /// for even where the record shows no other id (RFC 8461 §5.1).
    pub async fn look_again(&self, domain: &Domain, now: SystemTime) -> StsState {
        self.find(domain, now, true).await
    }

    async fn find(&self, domain: &Domain, now: SystemTime, anew: bool) -> StsState {
        if !self.options.enabled {
            return StsState::none();
        }
        let name = domain.canonical();
        let id = self.live_id(&name).await;
        if id.is_none() && self.entry_of(&name).is_none() {
            return StsState::none();
        }
        let entry = self.entry(&name);
        let mut known = entry.lock().await;
        if let Some(id) = id {
            let is_kept = known
                .kept
                .as_ref()
                .is_some_and(|kept| kept.id == id && kept.counts_at(now));
            let is_stale = |kept: &Kept| now.duration_since(kept.fetched_at).unwrap_or_default();
            let again = anew
                && known
                    .kept
                    .as_ref()
                    .is_some_and(|kept| is_stale(kept) >= self.options.wait_after_failure);
            if (!is_kept || again) && !known.waits(&id, now, self.options.wait_after_failure) {
                self.fetch(&name, id, now, &mut known).await;
            }
        }
        let kept = known.kept.as_ref().filter(|kept| kept.counts_at(now));
        StsState {
            policy: kept.map(|kept| kept.policy.clone()),
            text: kept.map(|kept| kept.text.clone()),
            trouble: known.failed.as_ref().map(|(_, _, error)| error.clone()),
        }
    }

    /// Fetches anew what is a day old, so that a policy never expires while its domain publishes it.
    pub async fn refresh_due(&self, now: SystemTime) {
        let entries: Vec<_> = {
            let known = self.known();
            let known = known.iter();
            known
                .map(|(name, entry)| (name.clone(), entry.clone()))
                .collect()
        };
        for (name, entry) in entries {
            let mut known = entry.lock().await;
            let Some(kept) = known.kept.clone() else {
                continue;
            };
            if !kept.counts_at(now) {
                drop(known);
                self.known().remove(&name);
                continue;
            }
            let age = now.duration_since(kept.fetched_at).unwrap_or_default();
            if age < DAY || known.waits(&kept.id, now, self.options.wait_after_failure) {
                continue;
            }
            let Some(id) = self.live_id(&name).await else {
                continue;
            };
            self.fetch(&name, id, now, &mut known).await;
            if let Some((_, at, error)) = &known.failed
                && *at == now
                && kept.policy.mode != StsMode::None
            {
                tracing::warn!(domain = name, %error, "MTA-STS policy could not be fetched anew; the one that is kept counts until it expires");
            }
        }
        if let Err(error) = self.store.forget_sts_policies(now).await {
            tracing::warn!(%error, "expired MTA-STS policies could not be removed");
        }
    }

    async fn live_id(&self, name: &str) -> Option<String> {
        let records = self
            .dns
            .txt(&format!("_mta-sts.{name}"))
            .await
            .ok()?
            .records;
        policy_id(records.iter().map(String::as_str)).map(str::to_owned)
    }

    async fn fetch(&self, name: &str, id: String, now: SystemTime, known: &mut Known) {
        let fetched = {
            // Never closed.
            let _turn = self.fetches.acquire().await;
            fetch::fetch(&self.dns, name, &self.options).await
        };
        let fetched = fetched.and_then(|text| {
            let policy = StsPolicy::parse(text.as_bytes());
            let policy = policy.map_err(|error| FetchError::invalid(&error))?;
            Ok((text, policy))
        });
        let outcome = if fetched.is_ok() { "fetched" } else { "failed" };
        metrics::counter!("gatepost_sts_fetches_total", "outcome" => outcome).increment(1);
        match fetched {
            Ok((text, policy)) => {
                tracing::info!(
                    domain = name,
                    id,
                    mode = policy.mode.as_str(),
                    "MTA-STS policy fetched"
                );
                let stored = StoredPolicy {
                    domain: name.to_owned(),
                    id: id.clone(),
                    policy: text.clone(),
                    fetched_at: now,
                    expires_at: now + policy.max_age,
                };
                if let Err(error) = self.store.keep_sts_policy(&stored).await {
                    tracing::warn!(domain = name, %error, "MTA-STS policy could not be stored");
                }
                known.failed = None;
                known.kept = Some(Kept {
                    id,
                    expires_at: stored.expires_at,
                    policy: Arc::new(policy),
                    text: text.into(),
                    fetched_at: now,
                });
            }
            Err(error) => {
                tracing::info!(domain = name, id, %error, "MTA-STS policy could not be fetched");
                known.failed = Some((id, now, error));
            }
        }
    }

    fn entry_of(&self, name: &str) -> Option<Arc<AsyncMutex<Known>>> {
        self.known().get(name).cloned()
    }

    fn entry(&self, name: &str) -> Arc<AsyncMutex<Known>> {
        let mut known = self.known();
        if known.len() >= DOMAINS_MOST as usize && !known.contains_key(name) {
            // Those that hold nothing, or nobody asks for at present.
            known.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        known.entry(name.to_owned()).or_default().clone()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<AsyncMutex<Known>>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether a fetch of this id failed so lately that another one has to wait (RFC 8461 §3.3).
    fn waits(&self, id: &str, now: SystemTime, wait: Duration) -> bool {
        let failed = self.failed.as_ref().filter(|(failed, ..)| failed == id);
        failed.is_some_and(|(_, at, _)| now.duration_since(*at).is_ok_and(|since| since < wait))
    }
}

fn kept(stored: &StoredPolicy) -> Option<Kept> {
    // What an earlier release took and this one does not is fetched anew.
    let policy = StsPolicy::parse(stored.policy.as_bytes()).ok()?;
    Some(Kept {
        id: stored.id.clone(),
        policy: Arc::new(policy),
        text: stored.policy.as_str().into(),
        fetched_at: stored.fetched_at,
        expires_at: stored.expires_at,
    })
}
