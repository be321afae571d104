//! What follows a good sign-in, done behind its reply and never before it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use secrecy::SecretString;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use super::{
    Accounts,
    memory::{KNOWN_FOR, Known},
    password,
};
use crate::{
    envelope::{AccountId, AppPasswordId},
    policy::throttle::Network,
    store::{Store, app_passwords::Uses},
};

/// Pieces of work that may wait; what finds no room is done after a later sign-in.
pub(super) const WAITING: usize = 1024;
/// How often uses of app passwords are written down.
const WRITE: Duration = Duration::from_secs(5);
/// How often known places are looked through for old ones.
const PRUNE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) enum Behind {
    /// A place to be remembered.
    Place {
        id: AccountId,
        place: Network,
        at: SystemTime,
    },
    /// A good sign-in by an app password.
    Used {
        id: AppPasswordId,
        from: Network,
        at: SystemTime,
    },
    /// A hash to be made anew with today's parameters.
    Upgrade {
        known: Arc<Known>,
        password: SecretString,
    },
    /// Somebody wants to know when everything so far is done.
    Settle(oneshot::Sender<()>),
}

/// Works until the keeper is gone and nothing is left.
pub(super) async fn run(accounts: Weak<Accounts>, store: Store, mut work: mpsc::Receiver<Behind>) {
    let mut pending: HashMap<AppPasswordId, Uses> = HashMap::new();
    let mut write = interval(WRITE);
    write.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut prune = interval(PRUNE);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = work.recv() => match next {
                Some(Behind::Place { id, place, at }) => {
                    if let Err(error) = store.record_known_network(id, place, at).await {
                        warn!(%error, "cannot note where an account signed in");
                    }
                }
                Some(Behind::Upgrade { known, password }) => {
                    if let Some(accounts) = accounts.upgrade() {
                        accounts.upgrade_hash(&known, password).await;
                    }
                }
                Some(Behind::Used { id, from, at }) => {
                    let count = pending.get(&id).map_or(0, |uses| uses.count) + 1;
                    pending.insert(id, Uses { count, at, from });
                }
                Some(Behind::Settle(done)) => {
                    record(&store, &mut pending).await;
                    let _ = done.send(());
                }
                None => return record(&store, &mut pending).await,
            },
            _ = write.tick() => record(&store, &mut pending).await,
            _ = prune.tick() => {
                let before = SystemTime::now().checked_sub(KNOWN_FOR);
                let before = before.unwrap_or(SystemTime::UNIX_EPOCH);
                if let Err(error) = store.prune_known_networks(before).await {
                    warn!(%error, "cannot forget old known networks");
                }
                if let Err(error) = store.prune_volumes(SystemTime::now()).await {
                    warn!(%error, "cannot forget what was sent long ago");
                }
            }
        }
    }
}

/// Many uses in one transaction: a device may sign in anew for every message.
async fn record(store: &Store, pending: &mut HashMap<AppPasswordId, Uses>) {
    if pending.is_empty() {
        return;
    }
    if let Err(error) = store.record_uses(pending.drain()).await {
        warn!(%error, "cannot note that app passwords were used");
    }
}

impl Accounts {
    async fn upgrade_hash(&self, known: &Known, password: SecretString) {
        let settings = self.settings.load_full();
        let Ok(permit) = Arc::clone(&settings.workers).acquire_owned().await else {
            return;
        };
        let params = settings.params.clone();
        let made = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            password::hash(secrecy::ExposeSecret::expose_secret(&password), &params)
                .map(|hash| (hash, password))
        });
        let Ok(Ok((hash, password))) = made.await else {
            warn!(account = %known.account.name, "cannot make a password hash anew");
            return;
        };
        let id = known.account.id;
        match self.store.upgrade_hash(id, &known.hash, &hash).await {
            Ok(true) => {
                // The password was right a moment ago: its next sign-in need not hash again.
                let tag = self.outcomes.tag(&known.account.name, &hash, &password);
                self.forget_accounts();
                self.outcomes.keep_right(tag, self.now());
                info!(account = %known.account.name, "password hash upgraded");
            }
            // The password was changed meanwhile; that hash is of today.
            Ok(false) => {}
            Err(error) => {
                warn!(%error, account = %known.account.name, "cannot upgrade a password hash");
            }
        }
    }

    fn forget_accounts(&self) {
        super::lock(&self.memory).forget();
    }
}
