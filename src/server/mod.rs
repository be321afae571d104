//! Start, reload, stop: the rooms brought together in the one order that is safe.
//!
//! Start: certificates and ports while root may be needed, then the privileges go, then database,
//! spool, queue, and the listeners last. Stop: the other way round, so that whoever still works
//! finds below it what it works with.

mod changes;
mod counting;
mod health;
pub mod logging;
mod pairs;
mod privileges;
mod recipients;
mod reload;
mod start;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accounts::Accounts,
    admin,
    config::{Config, Loaded},
    deliver::Deliver,
    dkim::Dkim,
    intake::Intake,
    listener::{Desk, Kind, Serving},
    policy::tlsrpt::Day,
    queue::Queue,
    reach::Reach,
    spool::Spool,
    store::Store,
    tls,
    tlsrpt::{TlsReports, Tried},
};
use counting::Counting;
use recipients::Reachable;

pub use pairs::inspect_pairs;
pub use privileges::{become_user, leave_root, raise_descriptor_limit};
pub use start::Server;

/// Name of the database within the data directory.
pub const DATABASE: &str = "gatepost.sqlite";

/// How long web servers get to take a report for which somebody waits.
const SOON: std::time::Duration = std::time::Duration::from_secs(8);
/// How long next hops get to answer our goodbye when the server stops.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);

/// A server at work.
pub struct Running {
    loaded: Mutex<Loaded>,
    /// As it was at the start: what cannot change later is as it stands here.
    began: Config,
    file: Option<PathBuf>,
    store: Store,
    accounts: Arc<Accounts>,
    dkim: Arc<Dkim>,
    reachable: Arc<Reachable>,
    reach: Reach,
    tls_reports: Arc<TlsReports>,
    spool: Arc<Spool>,
    intake: Arc<Intake>,
    deliver: Deliver,
    queue: Queue,
    counting: Counting,
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

impl Running {
    /// The addresses in fact listened on at start.
    pub fn addresses(&self) -> &[(Kind, SocketAddr)] {
        &self.addresses
    }

    /// Where HTTP listens.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Every address listened on at this moment, HTTP included.
    pub async fn listening(&self) -> Vec<SocketAddr> {
        let serving = self.serving.lock().await;
        let doors = serving.as_ref().map(Serving::local_addrs);
        doors
            .into_iter()
            .flatten()
            .chain(self.http.clone())
            .collect()
    }

    /// The keeper of accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Accounts, domains or their keys were changed in the database.
    ///
    /// # Errors
    /// The keys cannot be read; mail is signed as before.
    pub async fn accounts_changed(&self) -> Result<()> {
        self.accounts.changed();
        let reloaded = self.dkim.reload().await;
        reloaded.context("failed to read the keys that sign mail")
    }

    /// Sends what was counted of a day so far to whoever wants reports on this domain.
    ///
    /// # Errors
    /// In words.
    pub async fn send_tls_report(&self, day: Day, domain: &str) -> Result<Vec<Tried>, String> {
        self.tls_reports.send_now(day, domain, SOON).await
    }

    /// Connections at this moment.
    pub fn sessions(&self) -> usize {
        self.desk.sessions()
    }

    /// Octets free on the spool's file system, as last seen.
    pub fn spool_free_octets(&self) -> u64 {
        self.spool.free_octets()
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
        let farewell = tokio::time::timeout(FAREWELL, self.deliver.close()).await;
        if farewell.is_err() {
            tracing::debug!("next hops did not say goodbye in time");
        }
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
        // The last thing: while it is there, the directory is in use.
        admin::control::remove(&self.began.data_dir);
    }
}
