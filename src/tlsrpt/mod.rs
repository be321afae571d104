//! Reports on TLS for the domains that ask for them (RFC 8460).
//!
//! `deliver` tells how each session with a mail host ended. Sessions of a day and a domain are counted
//! in memory and written to the store every minute: a crash costs no more than that. After the day's
//! end, at a moment of its own, each domain that publishes where reports go gets one, by mail (through
//! the spool, like any other) or by HTTPS. What was sent stands in the store, so that a restart neither
//! forgets nor repeats it.

mod counting;
mod document;
mod sending;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use sending::Tried;

use self::counting::Counts;
use crate::{
    deliver::TlsResults,
    dkim::Dkim,
    dns::Dns,
    policy::tlsrpt::{Day, TlsSession},
    smtp::{Domain, Mailbox},
    spool::Spool,
    store::Store,
};

/// Sessions that wait to be counted; what finds no room is not counted.
const WAITING: usize = 10_000;
/// How often counts are written down and reports looked for.
const LOOK: Duration = Duration::from_secs(60);
/// Days that are kept.
const KEPT: u32 = 14;

/// Settings of the reports; `config` fills them.
#[derive(Clone, Debug)]
pub struct Options {
    /// Count, and report.
    pub enabled: bool,
    /// Who reports, in words.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// Author of reports by mail.
    pub from: Mailbox,
    /// Our own name: the submitter.
    pub hostname: Domain,
    /// Reports on a day go out within this time after its end (default 4 h).
    pub window: Duration,
    /// Authorities that are trusted beside the system's, in a PEM file: for laboratories.
    pub authorities: Option<PathBuf>,
}

/// The keeper of counts, and the sender of reports.
pub struct TlsReports {
    options: Options,
    store: Store,
    dns: Dns,
    dkim: Arc<Dkim>,
    spool: Arc<Spool>,
    counts: Mutex<Counts>,
}

impl TlsReports {
    /// A keeper that sends by this spool and asks this DNS.
    pub fn new(
        options: Options,
        store: Store,
        dns: Dns,
        dkim: Arc<Dkim>,
        spool: Arc<Spool>,
    ) -> Arc<Self> {
        Arc::new(TlsReports {
            options,
            store,
            dns,
            dkim,
            spool,
            counts: Mutex::default(),
        })
    }

    /// Where `deliver` tells of sessions, and where they come out.
    pub fn channel(&self) -> (TlsResults, mpsc::Receiver<TlsSession>) {
        let (results, sessions) = mpsc::channel(WAITING);
        match self.options.enabled {
            true => (TlsResults::to(results), sessions),
            false => (TlsResults::default(), sessions),
        }
    }

    /// Counts until `stop`; then writes down what is left.
    pub async fn count(
        self: Arc<Self>,
        mut sessions: mpsc::Receiver<TlsSession>,
        stop: CancellationToken,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                session = sessions.recv() => match session {
                    Some(session) => {
                        if self.counts().add(Day::of(SystemTime::now()), session) {
                            self.write_down().await;
                        }
                    }
                    None => break,
                },
                _ = looks.tick() => self.write_down().await,
            }
        }
        self.write_down().await;
    }

    /// Sends reports that are due until `stop`.
    pub async fn report(self: Arc<Self>, stop: CancellationToken) {
        if !self.options.enabled {
            return;
        }
        let mut looks = tokio::time::interval(LOOK);
        let mut forgotten = Day(0);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let now = SystemTime::now();
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.report_due(now) => if let Err(error) = done {
                    tracing::warn!(%error, "reports on TLS could not be looked for");
                },
            }
            let first = Day::of(now).before(KEPT);
            if first > forgotten {
                match self.store.forget_tls_results(first).await {
                    Ok(()) => forgotten = first,
                    Err(error) => tracing::warn!(%error, "old TLS results could not be removed"),
                }
            }
        }
    }
}
