//! The queue: takes due mail out of custody, has it carried to its next hops, writes down what
//! became of each recipient.
//!
//! ```text
//! spool ── fresh, claim ──► dispatcher ── per next hop ──► attempt ── outcomes ──► recorder ──► spool
//!               ▲                                                                    │
//!               └──────────────────────── due again, at once or later ───────────────┘
//! ```
//!
//! The dispatcher alone holds what is in memory; attempts and the recorder tell it by events. Each
//! next hop has a line of its own with a bound of its own, served in turn, so a slow one keeps
//! nobody else waiting. The spool is asked for due work when something falls due, never in a
//! circle. It knows no transport and no client; it meets intake only in the spool.
//!
//! A claim ends in one of two ways: its outcome is recorded, or it is released. Where the process
//! dies before either, the spool gives it out again after the restart.

mod aftermath;
mod attempt;
mod board;
mod custody;
mod dispatcher;
mod gather;
mod job;
mod recorder;
mod reputation;
mod told;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    custody::{Arrivals, Carrier, Custody},
    dispatcher::Dispatcher,
};
use crate::{
    deliver::Deliver,
    dkim::Dkim,
    policy::{
        retry::{Notices, Schedule, Unprotected},
        routes::RouteTable,
    },
    smtp::Domain,
    spool::{Fresh, Spool},
};

/// How the queue works; all of it may change while it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// From a recipient to a next hop.
    pub routes: RouteTable,
    /// When to try again and when to give up.
    pub schedule: Schedule,
    /// When to tell the sender of a delay.
    pub notices: Notices,
    /// The clock of mail whose next hops are not protected as they must be.
    pub unprotected: Unprotected,
    /// Our own name in reports (RFC 3464 §2.2.2).
    pub hostname: Domain,
    /// Attempts under way at once in all (default 64); up to as many again while some do not move.
    pub attempts: usize,
    /// Attempts under way at once at one next hop (default 32).
    pub attempts_per_hop: usize,
    /// Messages waiting in memory for an attempt at most (default 256); the rest wait in the
    /// spool.
    pub waiting: usize,
    /// Take nothing and start nothing; mail is still accepted into the spool.
    pub hold: bool,
    /// Time that attempts under way get to finish when the queue stops (default 20 s).
    pub stop_within: Duration,
}

impl Options {
    /// The defaults, for a host of this name.
    pub fn new(hostname: Domain) -> Self {
        Options {
            routes: RouteTable::default(),
            schedule: Schedule::default(),
            notices: Notices::default(),
            unprotected: Unprotected::default(),
            hostname,
            attempts: 64,
            attempts_per_hop: 32,
            waiting: 256,
            hold: false,
            stop_within: Duration::from_secs(20),
        }
    }
}

/// A running queue.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Control>);

/// What the handle and the dispatcher share.
#[derive(Debug)]
struct Control {
    options: ArcSwap<Options>,
    nudge: Notify,
    /// Silent next hops are to be tried again with the next nudge.
    forgives: AtomicBool,
    withdraw: mpsc::Sender<oneshot::Sender<()>>,
    tasks: TaskTracker,
}

impl Queue {
    /// Starts the queue on the current runtime; it stops when `cancel` is cancelled. Reports are
    /// signed by `dkim`.
    pub fn start(
        options: Options,
        deliver: Deliver,
        dkim: Arc<Dkim>,
        spool: Arc<Spool>,
        fresh: Fresh,
        cancel: CancellationToken,
    ) -> Queue {
        let surroundings = Surroundings {
            now: Box::new(SystemTime::now),
            // Without randomness there is no jitter, and nothing worse.
            random: Box::new(|| getrandom::u32().map_or(0, |octets| octets as u16)),
            octets: Box::new(|| {
                let mut octets = [0; 16];
                // Without randomness a boundary is still chosen so that it does not occur, and the
                // Message-ID is less than unique.
                let _ = getrandom::fill(&mut octets);
                octets
            }),
            id: Box::new(ulid::Ulid::generate),
            dkim,
        };
        Queue::start_with(options, deliver, spool, fresh, cancel, surroundings)
    }

    fn start_with<C: Custody, A: Arrivals, D: Carrier>(
        options: Options,
        carrier: D,
        custody: Arc<C>,
        arrivals: A,
        cancel: CancellationToken,
        surroundings: Surroundings,
    ) -> Queue {
        let (withdraw, withdrawals) = mpsc::channel(1);
        let control = Arc::new(Control {
            options: ArcSwap::from_pointee(options),
            nudge: Notify::new(),
            forgives: AtomicBool::new(false),
            withdraw,
            tasks: TaskTracker::new(),
        });
        let dispatcher = Dispatcher::new(
            control.clone(),
            carrier,
            custody,
            arrivals,
            surroundings,
            withdrawals,
        );
        control.tasks.spawn(dispatcher.run(cancel));
        control.tasks.close();
        Queue(control)
    }

    /// Goes on with other options; mail that waits is routed anew.
    pub fn reload(&self, options: Options) {
        self.0.options.store(Arc::new(options));
        self.0.nudge.notify_one();
    }

    /// Looks into the spool for due work at once.
    pub fn wake(&self) {
        self.0.nudge.notify_one();
    }

    /// As [`Queue::wake`], and next hops that did not answer are tried again at once: somebody has
    /// mended them, or believes so.
    pub fn try_all(&self) {
        self.0.forgives.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Gives back to the spool whatever waits in memory; returns when it is free to be claimed or
    /// changed. Attempts under way go on. Call [`Queue::wake`] afterwards.
    pub async fn withdraw(&self) {
        let (done, withdrawn) = oneshot::channel();
        if self.0.withdraw.send(done).await.is_ok() {
            // An error says that the queue has stopped, which gives everything back too.
            let _ = withdrawn.await;
        }
    }

    /// Waits until the queue has stopped: outcomes recorded, unfinished claims released.
    pub async fn stopped(&self) {
        self.0.tasks.wait().await;
    }
}

/// Where time, randomness and signatures come from.
struct Surroundings {
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    random: Box<dyn Fn() -> u16 + Send + Sync>,
    /// For the boundary and the Message-ID of a report.
    octets: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// For the queue id of a report.
    id: Box<dyn Fn() -> ulid::Ulid + Send + Sync>,
    /// Who signs reports.
    dkim: Arc<Dkim>,
}

#[cfg(test)]
mod tests;
