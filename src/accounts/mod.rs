//! Accounts: look up, verify off the reactor, throttle guessing.
//!
//! A sign-in goes through these steps, and through the same ones whether its account exists or not
//! (S26):
//!
//! ```text
//! throttle (address) -> account, from memory or the store -> throttle (network, name)
//!   -> outcome remembered? ----------------------------------------------> verdict
//!   -> waiting line (S27) -> worker free -> throttle again -> argon2 ----> verdict
//! ```
//!
//! Where a client proves its password (SCRAM) there is nothing to hash: the proof was checked against
//! keys that this room gave, and what is left to see is whether they still are the account's. A name
//! without keys gets ones that nobody has, with a salt that is always the same.
//!
//! An app password is random and long, so a keyed hash knows it again at no cost; it is looked for
//! before anything is hashed slowly. Its [`Identity`] carries its key, and with that the account is
//! seen as far as the app password reaches.
//!
//! A token (`oauth`) and a certificate tell themselves whose they are; they pass the throttle, and
//! then the account that they name only has to exist.
//!
//! An outcome is remembered under a keyed hash of name, stored hash and password, with a key that
//! lives as long as the process. What follows a good sign-in (its place noted, an outdated hash made
//! anew) is done behind the reply by a task of its own. Passwords come prepared (RFC 4013) and are
//! never logged. The room knows neither mechanisms nor replies.

mod app;
mod behind;
mod brake;
mod elsewhere;
mod memory;
mod name;
mod options;
mod outcomes;
mod password;
mod relays;
mod scram;
mod secret;
mod sign_in;
mod volumes;
mod vouched;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::{Instant, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use argon2::Params;
use secrecy::SecretString;
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tracing::error;

use self::{
    behind::Behind, elsewhere::Elsewhere, memory::Memory, outcomes::Outcomes, relays::Relays,
    secret::Secret, volumes::Volumes,
};
use crate::{
    directory::Directory,
    envelope::{AccountId, AccountProtection, Identity, Moment},
    oauth,
    policy::{
        allowance::Ceiling,
        sending::{Destinations, Rights},
        throttle::{Counted, Throttle},
    },
    smtp::Mailbox,
    store::{
        Store,
        accounts::{AccountError, StoredAccount},
        brakes::StoredBrake,
        habits::Habits,
    },
};

pub use app::{MadeAppPassword, make_app_password};
pub use brake::Braked;
pub use name::login_name;
pub use options::Options;
pub use password::{HashedPassword, PASSWORD_MIN, PasswordError, generate_password, hash_password};

/// An account as the running server knows it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The store's key.
    pub id: AccountId,
    /// Login name, prepared and folded.
    pub name: Arc<str>,
    /// The account's own address: the From: of messages that come without one.
    pub address: Mailbox,
    /// Where it gets mail itself, whatever it signed in with.
    pub mailbox: Mailbox,
    /// What it may send as.
    pub rights: Rights,
    /// Whether it may sign in.
    pub enabled: bool,
    /// Whom it may send to.
    pub destinations: Destinations,
    /// How far the brake is pulled.
    pub brake: StoredBrake,
    /// All its mail waits until an operator releases it.
    pub hold: bool,
    /// What its mail does beside.
    pub habits: Habits,
    /// How much it may send, for each scope that its mail counts for.
    pub ceilings: Arc<[Ceiling]>,
    /// The domains that are ours (canonical).
    pub ours: Arc<HashSet<String>>,
    /// What holds for all its mail.
    pub protection: AccountProtection,
    /// When one of its rights ends: what is known of it is read anew then.
    pub stale_at: Option<SystemTime>,
    /// When what it signed in with ends.
    pub ends_at: Option<SystemTime>,
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("account store unavailable: {0}")]
pub struct Unavailable(pub String);

impl From<AccountError> for Unavailable {
    fn from(error: AccountError) -> Self {
        Unavailable(error.to_string())
    }
}

/// The keeper.
pub struct Accounts {
    store: Store,
    settings: ArcSwap<Settings>,
    started: Instant,
    memory: Mutex<Memory>,
    outcomes: Outcomes,
    throttle: Mutex<Throttle>,
    volumes: Mutex<Volumes>,
    waiting: AtomicUsize,
    /// Checks tokens, where any are taken.
    verifier: ArcSwapOption<oauth::Verifier>,
    /// Checks passwords of users that are not ours, where any may sign in.
    elsewhere: ArcSwapOption<Elsewhere>,
    relays: Mutex<Relays>,
    workbench: Arc<password::Workbench>,
    /// Read when it is first needed.
    secret: OnceCell<Secret>,
    /// Hashes computed for sign-ins since the start.
    hashes: AtomicU64,
    behind: mpsc::Sender<Behind>,
}

/// Options and what is made of them.
struct Settings {
    options: Options,
    params: Params,
    /// Checked where there is no account, so that this takes as long.
    dummy: SecretString,
    workers: Arc<Semaphore>,
    /// As many turns for strangers, who stand in line for these first.
    strangers: Arc<Semaphore>,
}

impl Accounts {
    /// Opens the keeper and starts its task behind the replies; needs a tokio runtime around it.
    ///
    /// Parameters that argon2 cannot work with ([`Options::check`]) are logged and replaced by its
    /// defaults.
    pub fn open(store: Store, options: Options) -> Arc<Self> {
        let (behind, work) = mpsc::channel(behind::WAITING);
        let (tokens, directory) = (verifier(&options), elsewhere(&options));
        let accounts = Arc::new(Accounts {
            throttle: Mutex::new(Throttle::new(options.throttle)),
            settings: ArcSwap::from_pointee(Settings::new(options)),
            started: Instant::now(),
            memory: Mutex::new(Memory::new()),
            volumes: Mutex::new(Volumes::new()),
            outcomes: Outcomes::new(random()),
            waiting: AtomicUsize::new(0),
            verifier: ArcSwapOption::from(tokens),
            elsewhere: ArcSwapOption::from(directory),
            relays: Mutex::default(),
            workbench: Arc::default(),
            secret: OnceCell::new(),
            hashes: AtomicU64::new(0),
            behind,
            store: store.clone(),
        });
        tokio::spawn(behind::run(Arc::downgrade(&accounts), store, work));
        let (workbench, settings) = (
            Arc::clone(&accounts.workbench),
            accounts.settings.load_full(),
        );
        tokio::task::spawn_blocking(move || {
            workbench.prepare(settings.options.hashes_at_once(), &settings.params);
        });
        accounts
    }

    /// Takes new settings; sign-ins under way end with the old ones.
    pub fn reload(&self, options: Options) {
        lock(&self.throttle).set_limits(options.throttle);
        let old = self.settings.load();
        self.verifier.store(verifier(&options));
        self.elsewhere.store(elsewhere(&options));
        let mut settings = Settings::new(options);
        // Else two sets of workers would run while the old one empties.
        if settings.options.hashes_at_once() == old.options.hashes_at_once() {
            settings.workers = Arc::clone(&old.workers);
            settings.strangers = Arc::clone(&old.strangers);
        }
        self.settings.store(Arc::new(settings));
        self.outcomes.forget();
    }

    /// Drops everything remembered: called when an account or domain was changed from outside.
    pub fn changed(&self) {
        lock(&self.memory).forget();
        lock(&self.volumes).forget_pasts();
        self.outcomes.forget();
    }

    /// What the throttle has counted.
    pub fn throttled(&self) -> Vec<Counted> {
        lock(&self.throttle).counted(self.now())
    }

    /// Has the throttle forget what it counted.
    pub fn clear_throttle(&self) {
        lock(&self.throttle).clear();
        tracing::info!("throttle cleared by the operator");
    }

    /// Waits until what was to follow the replies given so far is written.
    pub async fn settle(&self) {
        let (done, settled) = tokio::sync::oneshot::channel();
        if self.behind.send(Behind::Settle(done)).await.is_ok() {
            let _ = settled.await;
        }
    }

    /// The account of somebody who signed in, as it stands now and as far as what it signed in with
    /// reaches; `None` where either is gone. Cached until [`Accounts::changed`].
    ///
    /// # Errors
    /// [`Unavailable`] where the store fails.
    pub async fn account(&self, by: &Identity) -> Result<Option<Arc<Account>>, Unavailable> {
        let found = self.remembered(by).await?;
        let lasts = |account: &Arc<Account>| {
            let end = account.ends_at;
            end.is_none_or(|end| SystemTime::now() < end)
        };
        Ok(found.filter(lasts))
    }

    async fn remembered(&self, by: &Identity) -> Result<Option<Arc<Account>>, Unavailable> {
        let generation = {
            let memory = lock(&self.memory);
            let known = memory.account(by.account, by.app_password);
            let is_fresh = |account: &Arc<Account>| {
                let stale_at = account.stale_at;
                stale_at.is_none_or(|at| SystemTime::now() < at)
            };
            if let Some(account) = known.filter(is_fresh) {
                return Ok(Some(account));
            }
            memory.generation()
        };
        let Some(stored) = self.store.account_by_id(by.account).await? else {
            return Ok(None);
        };
        let mut account = account_of(&stored);
        account.habits = self.store.habits(stored.id).await?;
        if let Some(id) = by.app_password {
            let apps = self.store.app_passwords(by.account).await?;
            match app::by_id(&apps, id) {
                Some(app) => account = app::narrowed(&account, app),
                None => return Ok(None),
            }
        }
        let domain = stored.address.domain();
        let limits = self
            .store
            .limits_of(stored.id, domain, by.app_password)
            .await?;
        let ours = self.ours().await?;
        account.brake = self.store.brake(stored.id).await?;
        volumes::bound(&mut account, &stored, &limits, by.app_password, &ours);
        let account = Arc::new(account);
        lock(&self.memory).keep_account(generation, by.app_password, &account);
        Ok(Some(account))
    }

    /// Whether an enabled account has this address, or it is the postmaster of one of our domains.
    ///
    /// A whole domain that an account may send as makes no mailboxes.
    ///
    /// # Errors
    /// [`Unavailable`] where the store fails.
    pub async fn has_mailbox(&self, address: &Mailbox) -> Result<bool, Unavailable> {
        let folded = address.folded_key();
        let generation = {
            let memory = lock(&self.memory);
            if let Some(exists) = memory.mailbox(&folded) {
                return Ok(exists);
            }
            memory.generation()
        };
        let exists = self.store.has_mailbox(&folded).await?;
        lock(&self.memory).keep_mailbox(generation, &folded, exists);
        Ok(exists)
    }

    fn now(&self) -> Moment {
        Moment(self.started.elapsed())
    }
}

impl Settings {
    fn new(options: Options) -> Self {
        let params = password::params(&options).unwrap_or_else(|error| {
            error!(%error, "argon2 parameters are not usable, the defaults serve");
            Params::default()
        });
        Settings {
            dummy: password::dummy(&params, &random()),
            workers: Arc::new(Semaphore::new(options.hashes_at_once())),
            strangers: Arc::new(Semaphore::new(options.hashes_at_once())),
            params,
            options,
        }
    }
}

/// What checks tokens; where it cannot be made, none are taken, and the log says why.
fn verifier(options: &Options) -> Option<Arc<oauth::Verifier>> {
    match oauth::Verifier::open(options.oauth.clone()?) {
        Ok(verifier) => Some(Arc::new(verifier)),
        Err(error) => {
            error!(%error, "tokens cannot be checked");
            None
        }
    }
}

/// What checks passwords of other users; where it cannot be made, they wait, and the log says why.
fn elsewhere(options: &Options) -> Option<Arc<Elsewhere>> {
    let options = options.directory.clone()?;
    match Directory::open(&options) {
        Ok(directory) => Some(Arc::new(Elsewhere { directory, options })),
        Err(error) => {
            error!(%error, "the directory cannot be asked");
            None
        }
    }
}

fn account_of(stored: &StoredAccount) -> Account {
    let now = SystemTime::now();
    let granted = || stored.grants.iter().filter(|(_, until)| now < *until);
    let mut patterns = stored.patterns.clone();
    patterns.extend(granted().map(|(pattern, _)| pattern.clone()));
    Account {
        id: stored.id,
        name: stored.name.as_str().into(),
        address: stored.address.clone(),
        mailbox: stored.address.clone(),
        rights: Rights::new(patterns),
        stale_at: granted().map(|(_, until)| *until).min(),
        enabled: stored.enabled,
        destinations: Destinations::default(),
        ceilings: Arc::default(),
        ours: Arc::default(),
        ends_at: None,
        brake: StoredBrake::default(),
        hold: false,
        habits: Habits::default(),
        protection: stored.protection,
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).expect("invariant: the operating system has random octets");
    octets
}

/// What a panicking thread left is whole: no critical section here has a half-way state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
