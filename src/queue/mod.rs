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

mod attempt;
mod board;
mod custody;
mod dispatcher;
mod recorder;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    custody::{Arrivals, Carrier, Custody},
    dispatcher::Dispatcher,
};
use crate::{
    deliver::Deliver,
    policy::{retry::Schedule, routes::RouteTable},
    spool::{Fresh, Spool},
};

/// How the queue works; all of it may change while it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// From a recipient to a next hop.
    pub routes: RouteTable,
    /// When to try again and when to give up.
    pub schedule: Schedule,
    /// Attempts under way at once in all (default 64).
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

impl Default for Options {
    fn default() -> Self {
        Options {
            routes: RouteTable::default(),
            schedule: Schedule::default(),
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
    tasks: TaskTracker,
}

impl Queue {
    /// Starts the queue on the current runtime; it stops when `cancel` is cancelled.
    pub fn start(
        options: Options,
        deliver: Deliver,
        spool: Arc<Spool>,
        fresh: Fresh,
        cancel: CancellationToken,
    ) -> Queue {
        let surroundings = Surroundings {
            now: Box::new(SystemTime::now),
            // Without randomness there is no jitter, and nothing worse.
            random: Box::new(|| getrandom::u32().map_or(0, |octets| octets as u16)),
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
        let control = Arc::new(Control {
            options: ArcSwap::from_pointee(options),
            nudge: Notify::new(),
            tasks: TaskTracker::new(),
        });
        let dispatcher = Dispatcher::new(control.clone(), carrier, custody, arrivals, surroundings);
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

    /// Waits until the queue has stopped: outcomes recorded, unfinished claims released.
    pub async fn stopped(&self) {
        self.0.tasks.wait().await;
    }
}

/// Where time and randomness come from.
struct Surroundings {
    now: Box<dyn Fn() -> SystemTime + Send + Sync>,
    random: Box<dyn Fn() -> u16 + Send + Sync>,
}

#[cfg(test)]
mod tests;
