//! From a claim to the lines of its next hops; and what becomes of jobs that do not get there.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::{Dispatcher, Routed};
use crate::{
    deliver::{Attempted, Standing},
    envelope::{Outcome, Status},
    policy::routes::{Route, Transport},
    queue::{
        aftermath::Ends,
        attempt::deferred,
        board::{Entry, Urgency},
        custody::{Arrivals, Carrier, Custody},
        dispatcher::begin::Attempting,
        gather::Told,
        job::{Job, Message},
        recorder,
        reputation::Class,
    },
    smtp::{EnhancedCode, Priority},
    spool::{DueRecipient, Settlement},
};

/// Recipients of one message in one job where each of them is work of its own.
const RECIPIENTS_APART: usize = 50;
/// Jobs given back to the spool in one transaction.
const WITHDRAWN_TOGETHER: usize = 64;
/// Recipients of one message in one job where they share one transaction.
const RECIPIENTS_TOGETHER: usize = 1000;

/// Why a job is decided without an attempt.
struct Unasked {
    route_kind: &'static str,
    outcome: Outcome,
    not_before: Option<SystemTime>,
    ends: Ends,
}

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    /// Puts a job's recipients into the lines of their next hops.
    pub(super) fn route(&mut self, job: Job, done: &mpsc::Sender<Settlement>) {
        let mut groups: Vec<(Option<Arc<Route>>, Vec<DueRecipient>)> = Vec::new();
        // The last group of each next hop.
        let mut open: HashMap<(Option<String>, String, bool), usize> = HashMap::new();
        for recipient in job.recipients {
            let origin = job.message.origin();
            let route = self.options.routes.shared(&recipient.address, &origin);
            let (most, domain) = match route.as_ref().map(|route| &route.transport) {
                Some(Transport::Relay(_) | Transport::Lmtp { .. }) => {
                    (RECIPIENTS_TOGETHER, String::new())
                }
                // Each domain is a next hop of its own.
                Some(Transport::Mx(_)) => {
                    let domain = recipient.address.domain().canonical();
                    (RECIPIENTS_TOGETHER, domain)
                }
                Some(Transport::Maildir { .. } | Transport::Discard) | None => {
                    (RECIPIENTS_APART, String::new())
                }
            };
            let name = route.as_ref().map(|route| route.name.clone());
            let key = (name, domain, recipient.is_copy);
            match open.get(&key).and_then(|at| groups.get_mut(*at)) {
                Some((_, recipients)) if recipients.len() < most => recipients.push(recipient),
                Some(_) | None => {
                    open.insert(key, groups.len());
                    groups.push((route, vec![recipient]));
                }
            }
        }
        // All of them first: none is over before every one has begun.
        groups.iter().for_each(|_| job.message.gather.open());
        for (route, recipients) in groups {
            let is_copy = recipients.iter().any(|it| it.is_copy);
            let message = job.message.clone();
            *self.claimed.entry(message.id.clone()).or_default() += recipients.len();
            let job = Job {
                message,
                recipients,
            };
            match route {
                Some(route) if is_copy && route.transport.sent_folder().is_none() => {
                    let text = "no route keeps a mailbox of the account, so no copy is filed";
                    let unasked = Unasked {
                        route_kind: route.transport.kind(),
                        outcome: Outcome::Failed(Status::new(EnhancedCode::new(5, 2, 0), text)),
                        not_before: None,
                        ends: Ends::Old,
                    };
                    self.defer(job, &Arc::from(route.name.as_str()), unasked, done);
                }
                Some(route) if matches!(route.transport, Transport::Mx(_)) => {
                    self.seek(job, route);
                }
                Some(route) => {
                    let line = route.name.as_str().into();
                    self.enqueue(job, route, line, done);
                }
                // A reload took the route away that was there at RCPT: it may come back.
                None => {
                    let outcome = deferred(4, 4, "no route leads to this domain");
                    let unasked = Unasked {
                        route_kind: "none",
                        outcome,
                        not_before: None,
                        ends: Ends::Old,
                    };
                    self.defer(job, &Arc::from("none"), unasked, done);
                }
            }
        }
    }

    /// Puts a job into this line, or decides that it is not to stand there at present.
    pub(super) fn enqueue(
        &mut self,
        job: Job,
        route: Arc<Route>,
        hop: Arc<str>,
        done: &mpsc::Sender<Settlement>,
    ) {
        let now = (self.surroundings.now)();
        let connections = route.transport.connections();
        if let Some(until) = self.reputations.silent_until(&hop, now) {
            return self.defer_silent(job, &route, &hop, until, done);
        }
        let class = match connections {
            None => Class::Proven,
            Some(_) => self.reputations.class(&hop),
        };
        // What is urgent goes ahead of those who wait, and so has a room of its own.
        let room = match job.message.timing.urgency() > Priority::default() {
            true => self.options.waiting * 2,
            false => self.options.waiting,
        };
        if self.board.is_crowded(&hop, class, room, now) {
            let until = self.board.later(&hop, now);
            return self.give_back(job, until, done);
        }
        let per_hop = self.options.attempts_per_hop;
        let entry = Entry {
            urgency: match job.is_fresh() {
                true => Urgency::Fresh,
                false => Urgency::Again,
            },
            priority: job.message.timing.urgency(),
            class,
            at_once: connections.map_or(per_hop, |most| most.min(per_hop)),
            job: Routed { job, route },
        };
        self.board.push(&hop, entry);
    }

    /// An attempt at this next hop is over.
    pub(super) fn finished(
        &mut self,
        hop: &Arc<str>,
        standing: Standing,
        reading: u64,
        done: &mpsc::Sender<Settlement>,
    ) {
        let now = (self.surroundings.now)();
        self.board.finished(hop, now);
        if reading != self.reading {
            // It says nothing of the route as it is, or of a host that was mended since.
            return;
        }
        match standing {
            Standing::Unknown => {}
            Standing::Answers => {
                self.reputations.answered(hop);
                self.board.reclass(hop, Class::Proven);
            }
            Standing::Silent(wait) => {
                let until = now + wait;
                self.reputations.silent(hop, now, until);
                self.board.reclass(hop, Class::Suspect);
                for Routed { job, route } in self.board.drain_one(hop) {
                    self.defer_silent(job, &route, hop, until, done);
                }
            }
        }
    }

    /// What waits for a next hop that does not answer costs no attempt.
    fn defer_silent(
        &mut self,
        job: Job,
        route: &Route,
        hop: &Arc<str>,
        until: SystemTime,
        done: &mpsc::Sender<Settlement>,
    ) {
        let text = "the next hop does not answer at present; other mail found that out";
        let now = (self.surroundings.now)();
        let unasked = Unasked {
            route_kind: route.transport.kind(),
            outcome: deferred(4, 1, text),
            not_before: Some(until),
            ends: match self.reputations.is_silent_for_long(hop, now) {
                true => Ends::Old,
                false => Ends::None,
            },
        };
        self.defer(job, &Arc::from(route.name.as_str()), unasked, done);
    }

    /// Decides a job without an attempt.
    fn defer(
        &mut self,
        job: Job,
        hop: &Arc<str>,
        unasked: Unasked,
        done: &mpsc::Sender<Settlement>,
    ) {
        let Unasked {
            route_kind,
            outcome,
            not_before,
            ends,
        } = unasked;
        let now = (self.surroundings.now)();
        let attempted = Attempted::unasked(vec![outcome; job.recipients.len()]);
        let attempting = self.attempting(job, hop.clone(), route_kind, done);
        self.attempts.spawn(async move {
            attempting.end(attempted, None, now, not_before, ends).await;
        });
    }

    /// Gives a job back to the spool untried.
    fn give_back(&mut self, job: Job, until: SystemTime, done: &mpsc::Sender<Settlement>) {
        let now = (self.surroundings.now)();
        let (settlement, done_too) = (job.postponed(until, now), done.clone());
        self.attempts.spawn(async move {
            // The recorder outlives every attempt but one cut off by a stop.
            let _ = done_too.send(settlement).await;
        });
        self.close(&job.message, done);
    }

    /// A job of this message is over with nothing to tell; the last one tells what others left.
    pub(super) fn close(&mut self, message: &Arc<Message>, done: &mpsc::Sender<Settlement>) {
        let Told::These(decided) = message.gather.close(Vec::new()) else {
            return;
        };
        if decided.is_empty() {
            return;
        }
        let job = Job {
            message: message.clone(),
            recipients: Vec::new(),
        };
        let attempting = self.attempting(job, Arc::from("none"), "none", done);
        self.attempts
            .spawn(async move { attempting.settle(decided, None).await });
    }

    pub(super) fn attempting(
        &self,
        job: Job,
        hop: Arc<str>,
        route_kind: &'static str,
        done: &mpsc::Sender<Settlement>,
    ) -> Attempting<C> {
        Attempting {
            job,
            hop,
            route_kind,
            custody: self.custody.clone(),
            options: self.options.clone(),
            surroundings: self.surroundings.clone(),
            done: done.clone(),
        }
    }

    /// Gives back whatever waits in memory, and answers when the spool has it.
    pub(super) async fn withdraw(
        &mut self,
        withdrawn: oneshot::Sender<()>,
        done: &mpsc::Sender<Settlement>,
    ) {
        self.quiet_until = (self.surroundings.now)() + super::QUIET;
        // What a look under way finds is given back with the rest.
        while self.looking {
            let Some(event) = self.events.recv().await else {
                break;
            };
            self.happened(event, done);
        }
        while let Some(claim) = super::stop::waiting_arrival(&mut self.arrivals).await {
            self.route(Job::of(claim), done);
        }
        let now = (self.surroundings.now)();
        let mut given_back = Vec::new();
        let sought = self.seeking.drain();
        for Routed { job, .. } in self.board.drain().into_iter().chain(sought) {
            given_back.push(job.postponed(now, now));
            self.close(&job.message, done);
        }
        let (custody, tell, done) = (self.custody.clone(), self.tell.clone(), done.clone());
        self.attempts.spawn(async move {
            for jobs in given_back.chunks(WITHDRAWN_TOGETHER) {
                let mut together = Settlement::default();
                jobs.iter().for_each(|job| together.append(job.clone()));
                let recorded = custody.record(together).await;
                for job in jobs {
                    match &recorded {
                        Ok(()) => recorder::tell_recorded(job, &tell),
                        // The recorder does not rest until the spool has taken it.
                        Err(_) => drop(done.send(job.clone()).await),
                    }
                }
            }
            // Who asked may have gone away.
            let _ = withdrawn.send(());
        });
    }
}
