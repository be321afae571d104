//! The one task that holds what the queue has in memory.
//!
//! Everything that happens reaches it as an event or an arrival; it answers by starting attempts,
//! looks into the spool, and nothing that could make it wait.

mod stop;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::gauge;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    Control, Options, Surroundings,
    attempt::{self, Ended, Job, deferred},
    board::{Board, Bounds},
    custody::{Arrivals, Carrier, Custody},
    recorder::{self, Recorded, Records},
};
use crate::{
    deliver::Attempted,
    envelope::QueueId,
    policy::routes::Route,
    spool::{Claim, CustodyError, DueRecipient},
};

/// Messages claimed in one look.
const CLAIM: usize = 256;
/// Recipients of one message in one attempt.
const RECIPIENTS: usize = 50;
/// Between two looks at the spool, unless the first was full.
const LOOK_APART: Duration = Duration::from_secs(1);
/// Wait after a look that failed.
const LOOK_AFTER_FAULT: Duration = Duration::from_secs(5);
/// The clock is read again no later than this: it may have been stepped.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Jobs finished and not yet recorded, beyond which attempts wait.
const UNRECORDED: usize = 1024;

/// What the dispatcher is told.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt at this next hop is over.
    Finished(Arc<str>),
    /// The outcomes of a job are in the spool.
    Recorded(Recorded),
    /// A look into the spool is over.
    Looked(Result<Found, CustodyError>),
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Found {
    claims: Vec<Claim>,
    /// As many as were asked for: there may be more.
    full: bool,
    next_due: Option<SystemTime>,
}

/// A job and the route that it waits for.
struct Routed {
    job: Job,
    route: Arc<Route>,
}

pub(super) struct Dispatcher<C, A, D> {
    control: Arc<Control>,
    options: Arc<Options>,
    surroundings: Arc<Surroundings>,
    carrier: Arc<D>,
    custody: Arc<C>,
    arrivals: Option<A>,
    board: Board<Routed>,
    attempts: JoinSet<()>,
    /// Jobs begun or waiting or unrecorded, by message: what must be recorded or released.
    claimed: HashMap<QueueId, usize>,
    looking: bool,
    look_at: SystemTime,
    looked_at: SystemTime,
    events: mpsc::UnboundedReceiver<Event>,
    tell: mpsc::UnboundedSender<Event>,
}

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    pub(super) fn new(
        control: Arc<Control>,
        carrier: D,
        custody: Arc<C>,
        arrivals: A,
        surroundings: Surroundings,
    ) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Dispatcher {
            options: control.options.load_full(),
            control,
            carrier: Arc::new(carrier),
            custody,
            arrivals: Some(arrivals),
            board: Board::new(),
            attempts: JoinSet::new(),
            claimed: HashMap::new(),
            looking: false,
            look_at: SystemTime::UNIX_EPOCH,
            looked_at: SystemTime::UNIX_EPOCH,
            surroundings: Arc::new(surroundings),
            events,
            tell,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        self.custody.hold(self.options.hold);
        let (done, finished) = mpsc::channel(UNRECORDED);
        let recorder = recorder::run(self.custody.clone(), finished, self.tell.clone());
        let recorder = tokio::spawn(recorder);
        let (control, custody) = (self.control.clone(), self.custody.clone());
        loop {
            self.begin_attempts(&done);
            self.look();
            let sleep = self.sleep();
            let takes = self.may_take() && self.board.waiting() < self.options.waiting.max(1);
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(event) = self.events.recv() => self.happened(event, &done),
                () = control.nudge.notified() => self.nudged(&done),
                () = custody.unclaimed() => self.look_by(self.looked_at + LOOK_APART),
                arrival = next_arrival(&mut self.arrivals), if takes => match arrival {
                    Some(claim) => {
                        // Where fresh mail comes, some may have found the channel full.
                        self.look_by(self.looked_at + LOOK_APART);
                        self.add(claim, &done);
                    }
                    None => self.arrivals = None,
                },
                () = tokio::time::sleep(sleep) => {}
            }
            while self.attempts.try_join_next().is_some() {}
            gauge!("gatepost_queue_waiting_jobs").set(self.board.waiting() as f64);
            gauge!("gatepost_queue_active_attempts").set(self.board.active() as f64);
        }
        self.stop(done, recorder).await;
    }

    /// Starts what the bounds allow.
    fn begin_attempts(&mut self, done: &mpsc::Sender<Records>) {
        let bounds = Bounds {
            in_all: self.options.attempts,
            per_hop: self.options.attempts_per_hop,
        };
        while !self.options.hold {
            let Some((hop, routed)) = self.board.take(bounds) else {
                break;
            };
            let Routed { job, route } = routed;
            let (carrier, custody) = (self.carrier.clone(), self.custody.clone());
            let (surroundings, options) = (self.surroundings.clone(), self.options.clone());
            let (done, tell) = (done.clone(), self.tell.clone());
            self.attempts.spawn(async move {
                let started_at = (surroundings.now)();
                let route_kind = route.transport.kind();
                let attempted = attempt::make(&job, route, custody, carrier).await;
                let ended = Ended {
                    next_hop: &hop,
                    route_kind,
                    started_at,
                    ended_at: (surroundings.now)(),
                };
                let records = ended.records(&job, attempted, &options.schedule, &surroundings);
                // The recorder outlives every attempt but one cut off by a stop.
                let _ = done.send(records).await;
                let _ = tell.send(Event::Finished(hop));
            });
        }
    }

    /// Looks into the spool where it is time to and there is room.
    fn look(&mut self) {
        let now = (self.surroundings.now)();
        if now < self.looked_at {
            // The clock was stepped back: what we remember of it means nothing.
            (self.looked_at, self.look_at) = (now, now);
        }
        if self.looking || now < self.look_at || !self.has_room() {
            return;
        }
        (self.looking, self.looked_at) = (true, now);
        // What asks for another look while this one goes on lowers it again.
        self.look_at = now + LONGEST_SLEEP;
        let limit = (self.options.waiting.max(1) - self.board.waiting()).min(CLAIM);
        let (custody, tell) = (self.custody.clone(), self.tell.clone());
        tokio::spawn(async move {
            let found = look(custody.as_ref(), now, limit).await;
            // Nobody listens where the queue gave up waiting; the claims end with the process.
            let _ = tell.send(Event::Looked(found));
        });
    }

    /// Whether due work may be claimed: half of the waiting room is empty.
    fn has_room(&self) -> bool {
        self.may_take() && self.board.waiting() <= self.options.waiting / 2
    }

    /// Whether any work may be taken: not held, and outcomes do not pile up before a failing spool.
    fn may_take(&self) -> bool {
        !self.options.hold && self.claimed.len() < self.options.waiting + UNRECORDED
    }

    fn look_by(&mut self, time: SystemTime) {
        self.look_at = self.look_at.min(time);
    }

    /// How long nothing happens by itself.
    fn sleep(&self) -> Duration {
        if self.looking || !self.has_room() {
            return LONGEST_SLEEP;
        }
        let left = self.look_at.duration_since((self.surroundings.now)());
        left.unwrap_or_default().min(LONGEST_SLEEP)
    }

    fn happened(&mut self, event: Event, done: &mpsc::Sender<Records>) {
        match event {
            Event::Finished(hop) => self.board.finished(&hop),
            Event::Recorded(recorded) => {
                self.settled(&recorded.id);
                if let Some(time) = recorded.due_again {
                    self.look_by(time);
                }
            }
            Event::Looked(Ok(found)) => {
                self.looking = false;
                let idle = self.looked_at + LONGEST_SLEEP;
                self.look_by(match found.next_due {
                    _ if found.full => self.looked_at,
                    Some(due) => due.clamp(self.looked_at + LOOK_APART, idle),
                    None => idle,
                });
                for claim in found.claims {
                    self.add(claim, done);
                }
            }
            Event::Looked(Err(fault)) => {
                self.looking = false;
                self.look_by(self.looked_at + LOOK_AFTER_FAULT);
                error!(error = %fault, "cannot look for due mail");
            }
        }
    }

    /// Somebody wants a look, or other options are in force.
    fn nudged(&mut self, done: &mpsc::Sender<Records>) {
        let options = self.control.options.load_full();
        if !Arc::ptr_eq(&options, &self.options) {
            self.options = options;
            self.custody.hold(self.options.hold);
            for Routed { job, .. } in self.board.drain() {
                self.settled(&job.message.id);
                self.route(job, done);
            }
        }
        self.look_by((self.surroundings.now)());
    }

    fn add(&mut self, claim: Claim, done: &mpsc::Sender<Records>) {
        self.route(Job::of(claim), done);
    }

    /// Puts a job's recipients into the lines of their next hops.
    fn route(&mut self, job: Job, done: &mpsc::Sender<Records>) {
        let mut groups: Vec<(Option<Arc<Route>>, Vec<DueRecipient>)> = Vec::new();
        for recipient in job.recipients {
            let route = self
                .options
                .routes
                .shared(&recipient.address, &job.message.origin());
            let name = route.as_ref().map(|route| &route.name);
            let group = groups.iter_mut().find(|(other, recipients)| {
                other.as_ref().map(|route| &route.name) == name && recipients.len() < RECIPIENTS
            });
            match group {
                Some((_, recipients)) => recipients.push(recipient),
                None => groups.push((route, vec![recipient])),
            }
        }
        for (route, recipients) in groups {
            let message = job.message.clone();
            *self.claimed.entry(message.id.clone()).or_default() += 1;
            let job = Job {
                message,
                recipients,
            };
            match route {
                Some(route) => self.board.push(&route.name.clone(), Routed { job, route }),
                None => self.defer_unroutable(&job, done),
            }
        }
    }

    /// A reload took the route away that was there at RCPT: it may come back.
    fn defer_unroutable(&mut self, job: &Job, done: &mpsc::Sender<Records>) {
        let now = (self.surroundings.now)();
        let ended = Ended {
            next_hop: &Arc::from("none"),
            route_kind: "none",
            started_at: now,
            ended_at: now,
        };
        let outcome = deferred(4, 4, "no route leads to this domain");
        let attempted = Attempted::local(vec![outcome; job.recipients.len()]);
        let records = ended.records(job, attempted, &self.options.schedule, &self.surroundings);
        let done = done.clone();
        self.attempts.spawn(async move {
            let _ = done.send(records).await;
        });
    }

    /// One job of this message needs neither record nor release any more.
    fn settled(&mut self, id: &QueueId) {
        if let Some(jobs) = self.claimed.get_mut(id) {
            *jobs -= 1;
            if *jobs == 0 {
                self.claimed.remove(id);
            }
        }
    }
}

/// Claims what is due and finds out when more will be.
async fn look<C: Custody>(
    custody: &C,
    now: SystemTime,
    limit: usize,
) -> Result<Found, CustodyError> {
    let claims = custody.claim(now, limit).await?;
    let full = claims.len() >= limit;
    // What is claimed must not be lost to a fault here: then simply look again soon.
    let next_due = match full {
        true => None,
        false => custody
            .next_due()
            .await
            .unwrap_or(Some(now + LOOK_AFTER_FAULT)),
    };
    Ok(Found {
        claims,
        full,
        next_due,
    })
}

/// The next fresh message; never, where no more can come.
async fn next_arrival<A: Arrivals>(arrivals: &mut Option<A>) -> Option<Claim> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => std::future::pending().await,
    }
}
