//! One sign-in, from the claim to the verdict; the steps stand at the top of the room.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, error, info, warn};

use super::{
    Accounts, Settings, account_of, app,
    behind::Behind,
    lock, login_name,
    memory::{KNOWN_FOR, Known, PLACES_MAX, Places},
    password, random, scram,
};
use crate::{
    envelope::{AppPasswordId, Identity},
    policy::throttle::{Attempt, Network, Standing},
    sasl::{Claim, Credentials, NAME_MAX, PASSWORD_MAX, Proof},
    session::SignInVerdict,
    smtp::Mailbox,
    store::{accounts::AccountError, app_passwords::StoredAppPassword},
};

/// A sign-in that may be checked, and whose it would be.
pub(super) struct Asked<'a> {
    pub settings: &'a Settings,
    pub attempt: Attempt<'a>,
    pub place: Network,
    pub name: Option<&'a str>,
    pub known: Option<Arc<Known>>,
}

/// What a client that is who it says has shown besides.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub authzid: Option<&'a str>,
    pub password: Option<&'a SecretString>,
    pub app_password: Option<AppPasswordId>,
}

impl<'a> Shown<'a> {
    fn of(credentials: &'a Credentials) -> Self {
        Shown {
            authzid: credentials.authzid.as_deref(),
            password: Some(&credentials.password),
            app_password: None,
        }
    }
}

/// A name that was tried, as far as a log may show it: people type passwords into the field of the
/// name, and a password is hardly ever an address.
fn loggable(name: &str) -> &str {
    match Mailbox::parse(name) {
        Ok(_) => name,
        Err(_) => "(no address)",
    }
}

impl Accounts {
    /// Decides a sign-in.
    pub async fn sign_in(&self, peer: IpAddr, claim: Claim) -> SignInVerdict {
        let peer = peer.to_canonical();
        let verdict = self.decide(peer, &claim).await;
        let account = loggable(claim.authcid());
        let result = match &verdict {
            SignInVerdict::Granted(identity) | SignInVerdict::Proved { identity, .. } => {
                debug!(account = %identity.name, %peer, "signed in");
                "granted"
            }
            SignInVerdict::Refused => {
                info!(account, %peer, "sign-in refused");
                "refused"
            }
            SignInVerdict::Throttled => {
                info!(account, %peer, "sign-in not checked: too many failures");
                "throttled"
            }
            SignInVerdict::Unavailable => {
                info!(account, %peer, "sign-in not checked: unavailable");
                "unavailable"
            }
        };
        metrics::counter!("gatepost_sign_ins_total", "result" => result).increment(1);
        verdict
    }

    async fn decide(&self, peer: IpAddr, claim: &Claim) -> SignInVerdict {
        let authcid = claim.authcid();
        if authcid.len() > NAME_MAX {
            return SignInVerdict::Refused;
        }
        let settings = self.settings.load_full();
        // A name that no account can have goes the way of one that no account has.
        let name = login_name(authcid);
        // What is shown without a name is counted as the address's alone.
        let nameless = peer.to_string();
        let counted = if authcid.is_empty() {
            &nameless
        } else {
            authcid
        };
        let exempt = settings.options.exempt.iter().any(|n| n.contains(peer));
        let mut attempt = Attempt {
            address: peer,
            standing: if exempt {
                Standing::Exempt
            } else {
                Standing::Known
            },
            name: name.as_deref().unwrap_or(counted),
        };
        // What a known place has used up needs no look into the store.
        if !self.allows(&attempt) {
            return SignInVerdict::Throttled;
        }
        let known = match self.known(name.as_deref()).await {
            Ok(known) => known,
            Err(error) => {
                error!(%error, "cannot look accounts up");
                return SignInVerdict::Unavailable;
            }
        };
        let place = Network::place(peer);
        if !exempt {
            let at_home = |known: &Arc<Known>| known.places.contains(place, SystemTime::now());
            if !known.as_ref().is_some_and(at_home) {
                attempt.standing = Standing::Stranger;
            }
        }
        if !self.allows(&attempt) {
            return SignInVerdict::Throttled;
        }
        let asked = Asked {
            settings: &settings,
            attempt,
            place,
            name: name.as_deref(),
            known,
        };
        match claim {
            Claim::Password(credentials) => self.password(&asked, credentials).await,
            Claim::Proof(proof) => self.proof(&asked, proof),
            Claim::Unproved { .. } => self.unproved(&asked),
            Claim::Relayed {
                relay, response, ..
            } => self.relayed(&asked, *relay, response).await,
            Claim::Token(token) => self.token(&asked, peer, token).await,
            Claim::External {
                authzid,
                certificate,
            } => {
                self.certificate(&asked, certificate, authzid.as_deref())
                    .await
            }
        }
    }

    async fn password(&self, asked: &Asked<'_>, credentials: &Credentials) -> SignInVerdict {
        let Asked {
            settings,
            attempt,
            place,
            name,
            known,
        } = asked;
        let (place, password) = (*place, &credentials.password);
        if password.expose_secret().len() > PASSWORD_MAX {
            return SignInVerdict::Refused;
        }
        let keyed_hash = match self.secret().await {
            Ok(secret) => app::keyed_hash(secret, password),
            Err(error) => {
                error!(%error, "cannot look app passwords up");
                return SignInVerdict::Unavailable;
            }
        };
        if let Some(known) = known
            && let Some(app) = app::find(&known.apps, &keyed_hash)
        {
            return self.app_password(asked, known, app, credentials.authzid.as_deref());
        }
        let is_elsewhere = known.as_ref().is_none_or(|known| known.is_elsewhere());
        if is_elsewhere && let Some(elsewhere) = self.elsewhere.load_full() {
            return self.elsewhere(&elsewhere, asked, credentials).await;
        }
        let hash = known.as_ref().map_or(&settings.dummy, |known| &known.hash);
        let tag = self.outcomes.tag(attempt.name, hash, password);
        // One that this password must not open is never found among the good ones, or it would be
        // told by its speed.
        let enabled = known.as_ref().filter(|known| known.opens());
        let remember = settings.options.remember;
        if let Some(known) = enabled
            && self.outcomes.was_right(&tag, self.now(), remember)
        {
            return self.right(known, place, settings, Shown::of(credentials));
        }
        if self.outcomes.was_wrong(&tag, place, self.now(), remember) {
            return SignInVerdict::Refused;
        }
        let flight = self.outcomes.flight(tag);
        let computed = flight
            .outcome(|| self.compute(settings, attempt, hash, password))
            .await;
        let right = match computed {
            Ok(right) => right,
            Err(Stop::Throttled) => return SignInVerdict::Throttled,
            Err(Stop::LineFull | Stop::Failed) => return SignInVerdict::Unavailable,
        };
        if right && let Some(known) = enabled {
            // The account may have been changed while the hash was computed.
            match self.known(*name).await {
                Ok(Some(still)) if still.opens() && same(&still.hash, &known.hash) => {
                    self.outcomes.keep_right(tag, self.now());
                    return self.right(&still, place, settings, Shown::of(credentials));
                }
                Ok(_) => return SignInVerdict::Refused,
                Err(_) => return SignInVerdict::Unavailable,
            }
        }
        self.outcomes.keep_wrong(tag, place, self.now());
        lock(&self.throttle).failed(self.now(), attempt, tag.guess());
        SignInVerdict::Refused
    }

    /// A proof that fitted the keys that were given for it.
    fn proof(&self, asked: &Asked<'_>, proof: &Proof) -> SignInVerdict {
        // They may have been taken away meanwhile, or the account with them.
        let known = asked.known.as_ref();
        let Some(known) = known.filter(|_| asked.settings.options.scram) else {
            return self.unproved(asked);
        };
        let authzid = proof.authzid.as_deref();
        if proof.label != scram::PASSWORD {
            let app = app::by_id(&known.apps, AppPasswordId(proof.label));
            return match app.filter(|app| app.keys.same(&proof.keys)) {
                Some(app) => self.app_password(asked, known, app, authzid),
                None => self.unproved(asked),
            };
        }
        let keys = known.scram.as_ref().and_then(|scram| scram.keys.as_ref());
        if known.opens() && keys.is_some_and(|keys| keys.same(&proof.keys)) {
            let shown = Shown {
                authzid,
                password: None,
                app_password: None,
            };
            self.right(known, asked.place, asked.settings, shown)
        } else {
            self.unproved(asked)
        }
    }

    /// An app password was shown or proved. Whoever has it is no guesser, so nothing is counted where
    /// it does not serve.
    fn app_password(
        &self,
        asked: &Asked<'_>,
        known: &Arc<Known>,
        app: &StoredAppPassword,
        authzid: Option<&str>,
    ) -> SignInVerdict {
        let (peer, now) = (asked.attempt.address, SystemTime::now());
        let account = &*known.account.name;
        if !known.account.enabled || !app::serves(app, peer, now) {
            info!(account, app_password = app.label, %peer, "app password refused");
            return SignInVerdict::Refused;
        }
        let shown = Shown {
            authzid,
            password: None,
            app_password: Some(app.id),
        };
        let verdict = self.right(known, asked.place, asked.settings, shown);
        if matches!(verdict, SignInVerdict::Granted(_)) {
            // Full: this one is not counted.
            let _ = self.behind.try_send(Behind::Used {
                id: app.id,
                from: asked.place,
                at: now,
            });
        }
        verdict
    }

    /// A proof that fits nothing. Which password it was made with cannot be told, so that each counts
    /// as another guess.
    pub(super) fn unproved(&self, asked: &Asked<'_>) -> SignInVerdict {
        let guess = u128::from_be_bytes(random());
        lock(&self.throttle).failed(self.now(), &asked.attempt, guess);
        SignInVerdict::Refused
    }

    /// The password is right; whose name the client wants to act in is still to be looked at.
    pub(super) fn right(
        &self,
        known: &Arc<Known>,
        place: Network,
        settings: &Settings,
        shown: Shown<'_>,
    ) -> SignInVerdict {
        let account = &known.account;
        if let Some(authzid) = shown.authzid.filter(|id| !id.is_empty()) {
            let own = |id: String| *id == *account.name || id == account.address.folded_key();
            if !login_name(authzid).is_some_and(own) {
                return SignInVerdict::Refused;
            }
        }
        let at = SystemTime::now();
        if known.places.note(place, at) {
            let note = Behind::Place {
                id: account.id,
                place,
                at,
            };
            // Full: the next sign-in tries again.
            if self.behind.try_send(note).is_err() {
                known.places.forget(place);
            }
        }
        if let Some(password) = shown.password
            && password::is_outdated(&known.hash, &settings.params)
            && !known.upgrading.swap(true, Ordering::Relaxed)
        {
            let upgrade = Behind::Upgrade {
                known: Arc::clone(known),
                password: password.clone(),
            };
            if self.behind.try_send(upgrade).is_err() {
                known.upgrading.store(false, Ordering::Relaxed);
            }
        }
        SignInVerdict::Granted(Identity {
            account: account.id,
            name: Arc::clone(&account.name),
            app_password: shown.app_password,
        })
    }

    /// Waits for a worker and checks the password against `hash`.
    async fn compute(
        &self,
        settings: &Settings,
        attempt: &Attempt<'_>,
        hash: &SecretString,
        password: &SecretString,
    ) -> Result<bool, Stop> {
        let line = match attempt.standing {
            Standing::Stranger => settings.options.waiting - settings.options.waiting / 4,
            Standing::Known | Standing::Exempt => settings.options.waiting,
        };
        let is_stranger = attempt.standing == Standing::Stranger;
        let permits = match Permits::at_once(settings, is_stranger) {
            Some(permits) => permits,
            None => {
                let _waiting = Waiting::begin(&self.waiting, line).ok_or(Stop::LineFull)?;
                Permits::in_turn(settings, is_stranger).await?
            }
        };
        // Others may have failed while this one waited.
        if !self.allows(attempt) {
            return Err(Stop::Throttled);
        }
        self.hashes.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("gatepost_password_hashes_total").increment(1);
        let (hash, password, dummy) = (hash.clone(), password.clone(), settings.dummy.clone());
        let workbench = Arc::clone(&self.workbench);
        let checked = tokio::task::spawn_blocking(move || {
            // Held until the hash is done, even where the client has gone meanwhile.
            let _permits = permits;
            // A hash that cannot be read costs its time all the same (S26).
            workbench.verify(&hash, &password).inspect_err(|_| {
                let _ = workbench.verify(&dummy, &password);
            })
        });
        match checked.await {
            Ok(Ok(right)) => Ok(right),
            Ok(Err(broken)) => {
                warn!(error = %broken, account = attempt.name, "cannot check a password");
                Ok(false)
            }
            Err(_) => Err(Stop::Failed),
        }
    }

    /// The account of a login name, from memory or the store.
    pub(super) async fn known(
        &self,
        name: Option<&str>,
    ) -> Result<Option<Arc<Known>>, AccountError> {
        let Some(name) = name else { return Ok(None) };
        let generation = {
            let memory = lock(&self.memory);
            if let Some(known) = memory.name(name) {
                return Ok(known);
            }
            memory.generation()
        };
        let known = match self.store.account_by_name(name).await? {
            Some(stored) => {
                let since = SystemTime::now()
                    .checked_sub(KNOWN_FOR)
                    .unwrap_or(SystemTime::UNIX_EPOCH);
                let places = self
                    .store
                    .known_networks(stored.id, since, PLACES_MAX)
                    .await?;
                Some(Arc::new(Known {
                    account: Arc::new(account_of(&stored)),
                    hash: stored.password_hash,
                    scram: stored.scram,
                    apps: self.store.app_passwords(stored.id).await?.into(),
                    apps_only: stored.app_passwords_only,
                    places: Places::new(places),
                    upgrading: AtomicBool::new(false),
                }))
            }
            None => None,
        };
        lock(&self.memory).keep_name(generation, name, known.clone());
        Ok(known)
    }

    pub(super) fn allows(&self, attempt: &Attempt<'_>) -> bool {
        lock(&self.throttle).allows(self.now(), attempt)
    }
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    Throttled,
    LineFull,
    Failed,
}

/// What a hash needs: a worker, and for strangers a turn among strangers.
///
/// There are as many turns as workers, so that no more strangers than that ever stand in front of the
/// workers themselves: whoever comes from a known place waits for one hash or two, however many guess.
struct Permits {
    _turn: Option<OwnedSemaphorePermit>,
    _worker: OwnedSemaphorePermit,
}

impl Permits {
    /// Without waiting, where nobody else does.
    fn at_once(settings: &Settings, is_stranger: bool) -> Option<Self> {
        let turn = match is_stranger {
            true => Some(Arc::clone(&settings.strangers).try_acquire_owned().ok()?),
            false => None,
        };
        let worker = Arc::clone(&settings.workers).try_acquire_owned().ok()?;
        Some(Permits {
            _turn: turn,
            _worker: worker,
        })
    }

    async fn in_turn(settings: &Settings, is_stranger: bool) -> Result<Self, Stop> {
        let take = async |of: &Arc<Semaphore>| {
            let taken = Arc::clone(of).acquire_owned().await;
            taken.map_err(|_| Stop::Failed)
        };
        let turn = match is_stranger {
            true => Some(take(&settings.strangers).await?),
            false => None,
        };
        Ok(Permits {
            _turn: turn,
            _worker: take(&settings.workers).await?,
        })
    }
}

/// A place in the waiting line, given back on drop.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, line: usize) -> Option<Self> {
        let longer = |n| (n < line).then_some(n + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, longer)
            .ok()?;
        metrics::gauge!("gatepost_hash_waiting").increment(1.0);
        Some(Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("gatepost_hash_waiting").decrement(1.0);
    }
}

fn same(left: &SecretString, right: &SecretString) -> bool {
    left.expose_secret() == right.expose_secret()
}
