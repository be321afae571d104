//! The one task that holds what the queue has in memory.
//!
//! Everything that happens reaches it as an event or an arrival; it answers by starting attempts,
//! looks into the spool, and nothing that could make it wait.

mod begin;
mod route;
mod seek;
mod stop;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use metrics::gauge;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::seek::Seeking;
use super::{
    Control, Options, Surroundings,
    board::Board,
    custody::{Arrivals, Carrier, Custody},
    job::Job,
    recorder::{self, Recorded},
    reputation::Reputations,
};
use crate::{
    deliver::Standing,
    envelope::QueueId,
    policy::routes::Route,
    spool::{Claim, CustodyError, Settlement},
};

/// Messages claimed in one look.
const CLAIM: usize = 256;
/// Between two looks at the spool, unless the first was full.
const LOOK_APART: Duration = Duration::from_secs(1);
/// Wait after a look that failed.
const LOOK_AFTER_FAULT: Duration = Duration::from_secs(5);
/// The clock is read again no later than this: it may have been stepped.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// After mail was withdrawn, whoever asked for it gets so long before it is claimed again.
const QUIET: Duration = Duration::from_secs(5);
/// Jobs finished and not yet recorded, beyond which attempts wait.
const UNRECORDED: usize = 1024;

/// What the dispatcher is told.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt at this next hop, begun under this reading of the routes, is over.
    Finished(Arc<str>, Standing, u64),
    /// Outcomes are in the spool.
    Recorded(Recorded),
    /// A look into the spool is over.
    Looked(Result<Found, CustodyError>),
    /// It is known by which hosts this job's domain is served; nothing, where that is not known.
    Sited(u64, Option<Box<str>>),
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
    /// Jobs whose next hop is being looked up.
    seeking: Seeking,
    reputations: Reputations,
    /// Counts how often routes or hosts were said to be others.
    reading: u64,
    attempts: JoinSet<()>,
    /// Recipients begun or waiting or unrecorded, by message: what must be recorded or released.
    claimed: HashMap<QueueId, usize>,
    looking: bool,
    /// No look before, unless somebody asks for one: what was withdrawn is being changed.
    quiet_until: SystemTime,
    look_at: SystemTime,
    looked_at: SystemTime,
    events: mpsc::UnboundedReceiver<Event>,
    tell: mpsc::UnboundedSender<Event>,
    /// Who waits until nothing waits in memory.
    withdrawals: mpsc::Receiver<oneshot::Sender<()>>,
}

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    pub(super) fn new(
        control: Arc<Control>,
        carrier: D,
        custody: Arc<C>,
        arrivals: A,
        surroundings: Surroundings,
        withdrawals: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Dispatcher {
            options: control.options.load_full(),
            control,
            carrier: Arc::new(carrier),
            custody,
            arrivals: Some(arrivals),
            board: Board::new(),
            seeking: Seeking::default(),
            reputations: Reputations::default(),
            reading: 0,
            attempts: JoinSet::new(),
            claimed: HashMap::new(),
            looking: false,
            quiet_until: SystemTime::UNIX_EPOCH,
            look_at: SystemTime::UNIX_EPOCH,
            looked_at: SystemTime::UNIX_EPOCH,
            surroundings: Arc::new(surroundings),
            events,
            tell,
            withdrawals,
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
            let takes = self.takes_arrivals();
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(event) = self.events.recv() => self.happened(event, &done),
                () = control.nudge.notified() => self.nudged(&done),
                Some(withdrawn) = self.withdrawals.recv() => self.withdraw(withdrawn, &done).await,
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

    /// Looks into the spool where it is time to and there is room.
    fn look(&mut self) {
        let now = (self.surroundings.now)();
        if now < self.looked_at {
            // The clock was stepped back: what we remember of it means nothing.
            (self.looked_at, self.look_at) = (now, now);
            self.quiet_until = now;
        }
        if self.looking || now < self.look_at.max(self.quiet_until) || !self.has_room() {
            return;
        }
        (self.looking, self.looked_at) = (true, now);
        // What asks for another look while this one goes on lowers it again.
        self.look_at = now + LONGEST_SLEEP;
        // A quarter of the room is left to fresh mail, which comes without a look.
        let room = (self.options.waiting * 3 / 4).max(1);
        let limit = room.saturating_sub(self.brisk()).clamp(1, CLAIM);
        let (custody, tell) = (self.custody.clone(), self.tell.clone());
        tokio::spawn(async move {
            let found = look(custody.as_ref(), now, limit).await;
            // Nobody listens where the queue gave up waiting; the claims end with the process.
            let _ = tell.send(Event::Looked(found));
        });
    }

    /// Whether due work may be claimed: half of the waiting room is free of what moves.
    fn has_room(&self) -> bool {
        self.may_take() && self.brisk() <= self.options.waiting / 2
    }

    /// Whether fresh mail may come in.
    fn takes_arrivals(&self) -> bool {
        self.may_take() && self.brisk() < self.options.waiting.max(1)
    }

    /// Jobs that keep others from the waiting room: those whose turn comes soon. Those that wait for
    /// long do not count, for they get no more than half a room of their own.
    fn brisk(&self) -> usize {
        let seeking = self.seeking.len();
        match self.board.waiting() + seeking <= self.options.waiting / 2 {
            true => self.board.waiting() + seeking,
            false => self.board.brisk((self.surroundings.now)()) + seeking,
        }
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
            let inside = self.board.waiting() + self.seeking.len();
            let filled = inside >= self.options.waiting / 2;
            // Whether those who wait move is seen by looking again.
            return if filled { LOOK_APART } else { LONGEST_SLEEP };
        }
        let next = self.look_at.max(self.quiet_until);
        let left = next.duration_since((self.surroundings.now)());
        left.unwrap_or_default().min(LONGEST_SLEEP)
    }

    fn happened(&mut self, event: Event, done: &mpsc::Sender<Settlement>) {
        match event {
            Event::Finished(hop, standing, reading) => {
                self.finished(&hop, standing, reading, done);
            }
            Event::Recorded(recorded) => {
                self.settled(&recorded.id, recorded.recipients);
                if let Some(time) = recorded.due_again {
                    self.look_by(time);
                }
            }
            Event::Looked(Ok(found)) => {
                self.looking = false;
                let idle = self.looked_at + LONGEST_SLEEP;
                self.look_by(match found.next_due {
                    _ if found.full => self.looked_at,
                    // A look counts recipients where we count messages: there may be more.
                    Some(due) if due <= self.looked_at && !found.claims.is_empty() => {
                        self.looked_at
                    }
                    Some(due) => due.clamp(self.looked_at + LOOK_APART, idle),
                    None => idle,
                });
                for claim in found.claims {
                    self.add(claim, done);
                }
            }
            Event::Sited(number, site) => self.sited(number, site, done),
            Event::Looked(Err(fault)) => {
                self.looking = false;
                self.look_by(self.looked_at + LOOK_AFTER_FAULT);
                error!(error = %fault, "cannot look for due mail");
            }
        }
    }

    /// Somebody wants a look, or other options are in force.
    fn nudged(&mut self, done: &mpsc::Sender<Settlement>) {
        let options = self.control.options.load_full();
        if !Arc::ptr_eq(&options, &self.options) {
            // The operator may have mended what did not answer.
            self.control.forgives.store(true, Relaxed);
        }
        self.forgive();
        if !Arc::ptr_eq(&options, &self.options) {
            self.options = options;
            self.custody.hold(self.options.hold);
            let sought = self.seeking.drain();
            for Routed { job, .. } in self.board.drain().into_iter().chain(sought) {
                self.settled(&job.message.id, job.recipients.len());
                let message = job.message.clone();
                self.route(job, done);
                self.close(&message, done);
            }
        }
        let now = (self.surroundings.now)();
        self.quiet_until = now;
        self.look_by(now);
    }

    /// Forgets which next hops did not answer, where somebody wants that.
    fn forgive(&mut self) {
        if self.control.forgives.swap(false, Relaxed) {
            self.reputations.forgive();
            self.board.forgive();
            self.reading += 1;
        }
    }

    fn add(&mut self, claim: Claim, done: &mpsc::Sender<Settlement>) {
        self.route(Job::of(claim), done);
    }

    /// So many recipients of this message need neither record nor release any more.
    fn settled(&mut self, id: &QueueId, recipients: usize) {
        if let Some(left) = self.claimed.get_mut(id) {
            *left = left.saturating_sub(recipients);
            if *left == 0 {
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
