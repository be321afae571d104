//! Start, reload, stop: the rooms brought together in the one order that is safe.
//!
//! Start: certificates and ports while root may be needed, then the privileges go, then database,
//! spool, queue, and the listeners last. Stop: the other way round, so that whoever still works
//! finds below it what it works with.

pub mod logging;
mod privileges;
mod recipients;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

use anyhow::{Context, Result};
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accounts::Accounts,
    admin,
    config::{Config, Loaded},
    deliver::Deliver,
    intake::Intake,
    listener::{Desk, Kind, Listeners, Serving},
    queue::Queue,
    session::RecipientVerdict,
    smtp::Mailbox,
    spool::Spool,
    store::Store,
    tls,
};
use recipients::Reachable;

pub use privileges::{become_user, raise_descriptor_limit};

/// Name of the database within the data directory.
pub const DATABASE: &str = "gatepost.sqlite";

/// A server at work.
pub struct Running {
    loaded: Mutex<Loaded>,
    file: Option<PathBuf>,
    store: Store,
    accounts: Arc<Accounts>,
    reachable: Arc<Reachable>,
    spool: Arc<Spool>,
    intake: Arc<Intake>,
    queue: Queue,
    desk: Arc<Desk>,
    tls: Arc<tls::Server>,
    serving: Mutex<Option<Serving>>,
    addresses: Vec<(Kind, SocketAddr)>,
    http: Vec<SocketAddr>,
    doors: CancellationToken,
    hands: CancellationToken,
    tracker: TaskTracker,
    keepers: TaskTracker,
}

/// Where servers come from.
pub struct Server;

impl Server {
    /// Starts everything and returns when clients are served; `file` is read again on reload.
    ///
    /// # Errors
    /// The first thing that cannot be had; nothing is left running then.
    pub async fn start(loaded: Loaded, file: Option<PathBuf>) -> Result<Arc<Running>> {
        let (config, options) = (loaded.config.clone(), loaded.options.clone());
        let tls = tls::Server::open(&options.pairs).context("failed to load the certificates")?;
        let listeners = Listeners::bind(&options.endpoints)?;
        let http = admin::http::bind(&config.http.listen)?;
        if !config.user.is_empty() {
            become_user(&config.user, &config.data_dir)?;
            for pair in &options.pairs {
                tls::inspect(pair, SystemTime::now()).with_context(|| {
                    format!("certificates must be readable to user {} too", config.user)
                })?;
            }
        }
        let store = Store::open(&config.data_dir.join(DATABASE))
            .await
            .with_context(|| {
                format!(
                    "failed to open the database in {}",
                    config.data_dir.display()
                )
            })?;
        let (spool, fresh) = Spool::open(store.clone(), options.spool.clone(), SystemTime::now())
            .await
            .context("failed to open the spool")?;
        spool.hold(options.queue.hold);
        let accounts = Accounts::open(store.clone(), options.accounts.clone());
        let reachable = Reachable::new(options.queue.routes.clone(), Arc::clone(&accounts));
        check_postmaster(&reachable, &options.session.postmaster).await?;
        let intake = Intake::new(
            options.intake.clone(),
            Arc::clone(&accounts),
            Arc::clone(&spool),
        );
        let (doors, hands) = (CancellationToken::new(), CancellationToken::new());
        let queue = Queue::start(
            options.queue.clone(),
            Deliver::new(options.deliver.clone()),
            Arc::clone(&spool),
            fresh,
            hands.clone(),
        );
        let desk = Desk::new(
            Arc::clone(&accounts),
            Arc::clone(&intake),
            Arc::clone(&reachable) as Arc<dyn crate::listener::RecipientCheck>,
            Arc::clone(&tls),
            options.session.clone(),
            options.connections.clone(),
        );
        let (tracker, keepers) = (TaskTracker::new(), TaskTracker::new());
        let addresses = options.endpoints.iter().map(|endpoint| endpoint.kind);
        let addresses = addresses.zip(listeners.local_addrs()).collect();
        let serving = listeners.serve(Arc::clone(&desk), doors.clone(), tracker.clone());
        keepers.spawn(Arc::clone(&tls).watch(hands.clone()));
        let running = Arc::new(Running {
            loaded: Mutex::new(loaded),
            file,
            store,
            accounts,
            reachable,
            spool,
            intake,
            queue,
            desk,
            tls,
            serving: Mutex::new(Some(serving)),
            addresses,
            http: http
                .iter()
                .filter_map(|socket| socket.local_addr().ok())
                .collect(),
            doors,
            hands: hands.clone(),
            tracker,
            keepers: keepers.clone(),
        });
        for socket in http {
            keepers.spawn(admin::http::serve(
                socket,
                Arc::clone(&running),
                hands.clone(),
            ));
        }
        let control = admin::control::bind(&config.data_dir)?;
        keepers.spawn(admin::control::serve(control, Arc::clone(&running), hands));
        Ok(running)
    }
}

/// The one address that every server must take mail for (RFC 5321 §4.5.1).
async fn check_postmaster(reachable: &Reachable, postmaster: &Mailbox) -> Result<()> {
    match reachable.reach(postmaster).await {
        RecipientVerdict::Granted => Ok(()),
        RecipientVerdict::NoSuchMailbox => {
            // Not fatal: the first account is made beside a server that may run already.
            tracing::warn!(%postmaster, "postmaster has no mailbox yet; add its domain or account");
            Ok(())
        }
        RecipientVerdict::NoRoute => {
            anyhow::bail!("postmaster: no route takes mail for {postmaster}")
        }
        RecipientVerdict::Unavailable => {
            anyhow::bail!("postmaster: the account store is unavailable")
        }
    }
}

impl Running {
    /// The addresses in fact listened on at start.
    pub fn addresses(&self) -> &[(Kind, SocketAddr)] {
        &self.addresses
    }

    /// Where HTTP listens.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Accounts or domains were changed in the database.
    pub fn accounts_changed(&self) {
        self.accounts.changed();
    }

    /// Connections at this moment.
    pub fn sessions(&self) -> usize {
        self.desk.sessions()
    }

    /// What keeps mail from being accepted; empty where all is well.
    pub async fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.doors.is_cancelled() {
            troubles.push("stopping".to_owned());
        }
        if let Err(error) = self.spool.room_for(0) {
            troubles.push(error.to_string());
        }
        if let Err(error) = self.spool.counts().await {
            troubles.push(error.to_string());
        }
        let now = SystemTime::now();
        if self
            .tls
            .certificates()
            .iter()
            .any(|pair| pair.not_after < now)
        {
            troubles.push("a certificate has expired".to_owned());
        }
        troubles
    }

    /// How much is in custody.
    ///
    /// # Errors
    /// As [`Spool::counts`].
    pub async fn queue_counts(&self) -> Result<crate::store::queue::QueueCounts> {
        Ok(self.spool.counts().await?)
    }

    /// Reads file and certificates anew. What is broken leaves the old in service (S44).
    ///
    /// # Errors
    /// Why the old configuration stays.
    pub async fn reload(&self) -> Result<()> {
        let mut loaded = self.loaded.lock().await;
        let fresh = match &self.file {
            Some(path) => Loaded::read(path)?,
            None => loaded.clone(),
        };
        for key in fixed_changes(&loaded.config, &fresh.config) {
            tracing::warn!(key, "changed in the file, takes effect at the next start");
        }
        let options = &fresh.options;
        match self
            .reachable_with(&fresh)
            .reach(&options.session.postmaster)
            .await
        {
            RecipientVerdict::Unavailable => anyhow::bail!("the account store is unavailable"),
            RecipientVerdict::NoRoute => anyhow::bail!("postmaster: no route takes its mail"),
            RecipientVerdict::Granted | RecipientVerdict::NoSuchMailbox => {}
        }
        if let Some(serving) = self.serving.lock().await.as_mut() {
            serving.rebind(&options.endpoints)?;
        }
        let (server, pairs) = (Arc::clone(&self.tls), options.pairs.clone());
        match tokio::task::spawn_blocking(move || server.reload(&pairs)).await? {
            Ok(()) => {}
            Err(errors) => {
                for error in errors {
                    tracing::error!(%error, "certificate not reloaded, the old one stays in service");
                }
            }
        }
        self.accounts.reload(options.accounts.clone());
        self.intake.reload(options.intake.clone());
        self.reachable
            .routes
            .store(Arc::new(options.queue.routes.clone()));
        self.queue.reload(options.queue.clone());
        self.spool.hold(options.queue.hold);
        self.desk
            .session_options
            .store(Arc::new(options.session.clone()));
        self.desk
            .limits
            .store(Arc::new(options.connections.clone()));
        *loaded = fresh;
        tracing::info!("configuration reloaded");
        Ok(())
    }

    fn reachable_with(&self, fresh: &Loaded) -> Arc<Reachable> {
        Reachable::new(
            fresh.options.queue.routes.clone(),
            Arc::clone(&self.accounts),
        )
    }

    /// Stops: no new connections, transactions finished within the limit, the queue drained, the
    /// spool closed. Every message answered with 250 is then on stable storage, as it was before.
    pub async fn stop(&self) {
        let limit = self.loaded.lock().await.config.timeouts.shutdown.0;
        self.doors.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("sessions still open at the end of the time to stop");
        }
        drop(self.serving.lock().await.take());
        self.hands.cancel();
        self.queue.stopped().await;
        self.keepers.close();
        if tokio::time::timeout(limit, self.keepers.wait())
            .await
            .is_err()
        {
            tracing::warn!("background tasks still running at the end of the time to stop");
        }
        self.accounts.settle().await;
        self.spool.close().await;
        self.store.close().await;
    }
}

/// Keys that differ and cannot change while the server runs.
fn fixed_changes(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("data_dir", old.data_dir != new.data_dir),
        ("user", old.user != new.user),
        ("node", old.node != new.node),
        ("spool", old.spool != new.spool),
        ("log", old.log != new.log),
        ("http", old.http != new.http),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
