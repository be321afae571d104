//! An attempt from its beginning to its records.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::mpsc;
use tracing::error;

use super::{Dispatcher, Event, Routed};
use crate::{
    deliver::{Attempted, Standing},
    policy::routes::Route,
    queue::{
        Options, Surroundings,
        aftermath::{Decided, Ended, Ends},
        attempt::{self, Made},
        custody::{Arrivals, Carrier, Custody},
        gather::{PATIENCE, Told},
        job::Job,
        told::Reporter,
    },
    spool::{Content, Next, Settlement},
};

/// A recipient of whom no report could be made is tried again after this.
const UNREPORTED: std::time::Duration = std::time::Duration::from_secs(300);

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    /// Starts what the bounds allow.
    pub(super) fn begin_attempts(&mut self, done: &mpsc::Sender<Settlement>) {
        let now = (self.surroundings.now)();
        while !self.options.hold {
            let next = self.board.take(self.options.attempts, now);
            let Some((line, Routed { job, route })) = next else {
                break;
            };
            let hop = Arc::from(route.name.as_str());
            let attempting = self.attempting(job, hop, route.transport.kind(), done);
            let (carrier, tell) = (self.carrier.clone(), self.tell.clone());
            let reading = self.reading;
            self.attempts.spawn(async move {
                let standing = attempting.run(&route, &carrier).await;
                let _ = tell.send(Event::Finished(line, standing, reading));
            });
        }
    }
}

/// A job under way, with all that its end needs.
pub(super) struct Attempting<C> {
    pub(super) job: Job,
    pub(super) hop: Arc<str>,
    pub(super) route_kind: &'static str,
    pub(super) custody: Arc<C>,
    pub(super) options: Arc<Options>,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) done: mpsc::Sender<Settlement>,
}

impl<C: Custody> Attempting<C> {
    /// Makes attempts until every recipient has had its turn, and writes down after each what it
    /// decided: a next hop that takes few at a time must not keep the others' outcomes in memory.
    async fn run<D: Carrier>(mut self, route: &Arc<Route>, carrier: &Arc<D>) -> Standing {
        loop {
            let started_at = (self.surroundings.now)();
            let returned_at = self.job.message.timing.returned_at();
            if returned_at.is_some_and(|at| at <= started_at) {
                let text = "the time in which it was to be delivered is over";
                let outcome = attempt::deferred(4, 7, text);
                let results = vec![outcome; self.job.recipients.len()];
                let attempted = Attempted::unasked(results);
                self.end(attempted, None, started_at, None, Ends::Old).await;
                return Standing::Unknown;
            }
            let (custody, carrier) = (self.custody.clone(), carrier.clone());
            let made = attempt::make(&self.job, route.clone(), custody, carrier).await;
            let Made { attempted, content } = made;
            let standing = attempted.standing;
            let not_before = match standing {
                Standing::Answers | Standing::Unknown => None,
                Standing::Silent(wait) => Some((self.surroundings.now)() + wait),
            };
            let undecided = attempted.results.iter().map(Option::is_none);
            let rest: Vec<_> = self
                .job
                .recipients
                .iter()
                .zip(undecided)
                .filter(|(_, undecided)| *undecided)
                .map(|(recipient, _)| recipient.clone())
                .collect();
            // Somebody must have been decided, or it would go on for ever.
            if rest.is_empty() || rest.len() == self.job.recipients.len() {
                self.end(attempted, content, started_at, not_before, Ends::Old)
                    .await;
                return standing;
            }
            self.job.message.gather.open();
            let next = self.with(Job {
                message: self.job.message.clone(),
                recipients: rest,
            });
            self.end(attempted, content, started_at, not_before, Ends::Old)
                .await;
            self = next;
        }
    }

    /// The same for another job.
    fn with(&self, job: Job) -> Self {
        Attempting {
            job,
            hop: self.hop.clone(),
            route_kind: self.route_kind,
            custody: self.custody.clone(),
            options: self.options.clone(),
            surroundings: self.surroundings.clone(),
            done: self.done.clone(),
        }
    }

    /// Decides, logs and records what came of the attempt.
    pub(super) async fn end(
        self,
        attempted: Attempted,
        content: Option<Content>,
        started_at: SystemTime,
        not_before: Option<SystemTime>,
        ends: Ends,
    ) {
        let ended = Ended {
            next_hop: &self.hop,
            route_kind: self.route_kind,
            started_at,
            ended_at: (self.surroundings.now)(),
            not_before,
            ends,
        };
        let decided = ended.decide(&self.job, attempted, &self.options, &self.surroundings);
        let (to_tell, at_once): (Vec<_>, Vec<_>) = decided.into_iter().partition(Decided::may_wait);
        if !at_once.is_empty() {
            self.settle(at_once, content.clone()).await;
        }
        match self.job.message.gather.close(to_tell) {
            Told::These(decided) if decided.is_empty() => {}
            Told::These(decided) => self.settle(decided, content).await,
            Told::First => self.remind(content),
            Told::Later => {}
        }
    }

    /// Tells after a while what waits for the last next hop of the message, should that take long.
    fn remind(self, content: Option<Content>) {
        // The end of the queue does not wait for it: what is claimed then is given back.
        let weak = self.done.downgrade();
        let Attempting {
            job,
            hop,
            route_kind,
            custody,
            options,
            surroundings,
            ..
        } = self;
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            let Some(done) = weak.upgrade() else { return };
            let decided = job.message.gather.take();
            if decided.is_empty() {
                return;
            }
            let attempting = Attempting {
                job,
                hop,
                route_kind,
                custody,
                options,
                surroundings,
                done,
            };
            attempting.settle(decided, content).await;
        });
    }

    /// Hands records with their reports to the recorder.
    pub(super) async fn settle(&self, decided: Vec<Decided>, content: Option<Content>) {
        let mut reporter = Reporter {
            message: &self.job.message,
            custody: self.custody.as_ref(),
            options: &self.options,
            surroundings: &self.surroundings,
            content,
        };
        let settlement = match reporter.settle(decided).await {
            Ok(settlement) => settlement,
            Err((fault, decided)) => {
                let queue_id = &self.job.message.id;
                error!(%queue_id, error = %fault, "no report could be made; trying again");
                let records = decided.into_iter().map(|it| it.record);
                let records: Vec<_> = records
                    .map(|mut record| {
                        record.next = Next::At(record.ended_at + UNREPORTED);
                        record.tells_delay = false;
                        record
                    })
                    .collect();
                records.into()
            }
        };
        // The recorder outlives every attempt but one cut off by a stop.
        let _ = self.done.send(settlement).await;
    }
}
