//! What accounts sent lately, held against their limits.
//!
//! Counted in memory, so that messages that end at the same moment see each other, and written by
//! the commit that makes each message durable. What was counted before is read from the store when a
//! scope is first asked for.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Account, Accounts, Unavailable,
    brake::Past,
    lock,
    memory::Memory,
    secret::{Purpose, Secret},
};
use crate::{
    envelope::{AccountId, AppPasswordId, Recipient},
    policy::{
        allowance::{self, Ceiling, Counts, DAY, Excess, Ledger, Scope, Wanted},
        throttle::Recent,
    },
    store::{
        accounts::{AccountError, StoredAccount},
        limits::{AccountLimits, Destination, Sent, SubjectLimits},
    },
};

/// Scopes counted in memory at most; one that was not asked for the longest is read again.
const LEDGERS: usize = 20_000;
/// Pairs of account and recipient remembered at most.
const CORRESPONDENTS: usize = 100_000;

/// What is counted in memory.
#[derive(Debug)]
pub(super) struct Volumes {
    ledgers: Recent<Scope, Ledger>,
    /// Whom an account wrote to, and the day on which that was last written down.
    correspondents: Recent<(AccountId, i64), u32>,
    pasts: Recent<AccountId, Past>,
}

impl Volumes {
    pub(super) fn new() -> Self {
        Volumes {
            ledgers: Recent::new(LEDGERS),
            correspondents: Recent::new(CORRESPONDENTS),
            pasts: Recent::new(LEDGERS),
        }
    }

    /// What a scope sent in this slot and so many before it.
    pub(super) fn within(&mut self, scope: &Scope, slot: u32, before: u32) -> Counts {
        self.ledgers
            .touch(scope, Ledger::default)
            .within(slot, before)
    }

    pub(super) fn past(&self, account: AccountId) -> Option<Past> {
        self.pasts.peek(&account).copied()
    }

    pub(super) fn keep_past(&mut self, account: AccountId, past: Past) {
        self.pasts.insert(account, past);
    }

    pub(super) fn forget_pasts(&mut self) {
        self.pasts.clear();
    }

    fn check(&mut self, ceilings: &[Ceiling], wanted: Wanted, now: u64) -> Result<(), Excess> {
        ceilings.iter().try_for_each(|ceiling| {
            let ledger = self.ledgers.touch(&ceiling.scope, Ledger::default);
            allowance::check(ceiling, ledger, wanted, now)
        })
    }
}

impl Accounts {
    /// Whether an account could send a message of so many recipients and octets now.
    ///
    /// # Errors
    /// [`Unavailable`] where the store fails.
    pub async fn over_limit(
        &self,
        account: &Account,
        recipients: usize,
        octets: u64,
    ) -> Result<Option<Excess>, Unavailable> {
        self.read_ledgers(&account.ceilings).await?;
        let wanted = Wanted {
            counts: Counts {
                messages: 1,
                recipients: recipients as u64,
                ..Counts::default()
            },
            octets,
        };
        let checked = lock(&self.volumes).check(&account.ceilings, wanted, seconds());
        Ok(checked.err())
    }

    /// Counts a message that is about to be committed; to be given back where that fails.
    ///
    /// # Errors
    /// [`Unavailable`] where the store fails; within, the limit that the message would pass.
    pub async fn count(
        &self,
        account: &Account,
        recipients: &[Recipient],
        octets: u64,
    ) -> Result<Result<Sent, Excess>, Unavailable> {
        self.read_ledgers(&account.ceilings).await?;
        let outside: Vec<&Recipient> = recipients
            .iter()
            .filter(|it| !account.ours.contains(&it.mailbox.domain().canonical()))
            .collect();
        let now = seconds();
        let slot = allowance::slot(now);
        let met = self
            .correspondents(account.id, &outside, slot / DAY)
            .await?;
        let counts = Counts {
            messages: 1,
            recipients: recipients.len() as u64,
            outside: outside.len() as u64,
            first_time: met.first_time,
            failed: 0,
        };
        let wanted = Wanted { counts, octets };
        let mut volumes = lock(&self.volumes);
        if let Err(excess) = volumes.check(&account.ceilings, wanted, now) {
            return Ok(Err(excess));
        }
        for ceiling in &*account.ceilings {
            let ledger = volumes.ledgers.touch(&ceiling.scope, Ledger::default);
            if let Some(half) = allowance::half_reached(ceiling, ledger, wanted, now) {
                tracing::warn!(
                    account = %account.name,
                    scope = %half.scope,
                    limit = half.kind.as_str(),
                    most = half.most,
                    "half of a sending limit is reached"
                );
            }
            ledger.add(slot, &counts);
        }
        Ok(Ok(Sent {
            account: account.id,
            scopes: account.ceilings.iter().map(|it| it.scope.clone()).collect(),
            slot,
            counts,
            correspondents: met.to_write,
        }))
    }

    /// Takes a message back that was not accepted in the end.
    pub fn give_back(&self, sent: &Sent) {
        let mut volumes = lock(&self.volumes);
        for scope in &sent.scopes {
            let ledger = volumes.ledgers.touch(scope, Ledger::default);
            ledger.take_back(sent.slot, &sent.counts);
        }
    }

    /// Remembers whom a message that was accepted went to.
    pub fn keep(&self, sent: &Sent) {
        let mut volumes = lock(&self.volumes);
        for recipient in &sent.correspondents {
            let key = (sent.account, *recipient);
            volumes.correspondents.insert(key, sent.day());
        }
    }

    async fn read_ledgers(&self, ceilings: &[Ceiling]) -> Result<(), Unavailable> {
        for ceiling in ceilings {
            let is_known = |volumes: &Volumes| volumes.ledgers.peek(&ceiling.scope).is_some();
            if is_known(&lock(&self.volumes)) {
                continue;
            }
            let since = allowance::slot(seconds()).saturating_sub(DAY);
            let slots = self.store.sent_volumes(&ceiling.scope, since).await?;
            let mut volumes = lock(&self.volumes);
            // Another message may have begun to count meanwhile.
            if !is_known(&volumes) {
                volumes
                    .ledgers
                    .insert(ceiling.scope.clone(), Ledger::new(slots));
            }
        }
        Ok(())
    }

    async fn correspondents(
        &self,
        account: AccountId,
        outside: &[&Recipient],
        day: u32,
    ) -> Result<Met, Unavailable> {
        let mut met = Met::default();
        if outside.is_empty() {
            return Ok(met);
        }
        let secret = self.secret().await?;
        let mut unknown = Vec::new();
        {
            let volumes = lock(&self.volumes);
            for recipient in outside {
                let hash = correspondent(secret, account, recipient);
                match volumes.correspondents.peek(&(account, hash)) {
                    Some(written) if *written == day => {}
                    Some(_) => met.to_write.push(hash),
                    None => unknown.push(hash),
                }
            }
        }
        if !unknown.is_empty() {
            let first_time = self.store.first_time(account, &unknown).await?;
            met.first_time = first_time.len() as u64;
            met.to_write.append(&mut unknown);
        }
        Ok(met)
    }
}

/// What is known of the recipients of one message.
#[derive(Debug, Default)]
struct Met {
    /// How many the account never wrote to.
    first_time: u64,
    /// Those to be written down.
    to_write: Vec<i64>,
}

/// A recipient as the store knows it.
fn correspondent(secret: &Secret, account: AccountId, recipient: &Recipient) -> i64 {
    let mut octets = account.0.to_be_bytes().to_vec();
    octets.extend_from_slice(recipient.mailbox.folded_key().as_bytes());
    let hash = secret.hash(Purpose::Correspondent, &octets);
    let first = hash.first_chunk().copied().unwrap_or_default();
    i64::from_be_bytes(first)
}

/// Brings what was stored into the form in which messages are held against it.
pub(super) fn bound(
    account: &mut Account,
    stored: &StoredAccount,
    found: &AccountLimits,
    app_password: Option<AppPasswordId>,
    ours: &Arc<HashSet<String>>,
) {
    account.ours = Arc::clone(ours);
    let domain = stored.address.domain().canonical();
    let ceiling = |scope, limits| Ceiling { scope, limits };
    let own = found.account.limits.or(found.each_account.limits);
    let mut ceilings = vec![
        ceiling(Scope::Account(stored.id), own),
        ceiling(Scope::Domain(domain.into()), found.domain.limits),
        ceiling(Scope::Site, found.site.limits),
    ];
    if let Some(id) = app_password {
        ceilings.insert(0, ceiling(Scope::AppPassword(id), found.app_password));
    }
    account.ceilings = ceilings.into();
    let own = match found.account.destinations.is_empty() {
        true => &found.each_account,
        false => &found.account,
    };
    for subject in [own, &found.domain, &found.site] {
        if !subject.destinations.is_empty() {
            account.destinations.narrow(domains(subject, ours));
        }
    }
}

fn domains(subject: &SubjectLimits, ours: &HashSet<String>) -> HashSet<String> {
    let mut domains = HashSet::new();
    for destination in &subject.destinations {
        match destination {
            Destination::Ours => domains.extend(ours.iter().cloned()),
            Destination::Domain(name) => drop(domains.insert(name.clone())),
        }
    }
    domains
}

impl Accounts {
    /// The domains that are ours, in canonical form.
    pub(super) async fn ours(&self) -> Result<Arc<HashSet<String>>, AccountError> {
        let remembered = |memory: &Memory| (memory.generation(), memory.ours());
        let (generation, found) = remembered(&lock(&self.memory));
        if let Some(ours) = found {
            return Ok(ours);
        }
        let ours: Arc<HashSet<String>> =
            Arc::new(self.store.domains().await?.into_iter().collect());
        lock(&self.memory).keep_ours(generation, &ours);
        Ok(ours)
    }
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
