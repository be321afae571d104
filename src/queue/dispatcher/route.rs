//! From a claim to the lines of its next hops; and what becomes of jobs that do not get there.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::{Dispatcher, Routed};
use crate::{
    deliver::{Attempted, Standing},
    envelope::Outcome,
    policy::routes::{Route, Transport},
    queue::{
        attempt::deferred,
        board::{Entry, Urgency},
        custody::{Arrivals, Carrier, Custody},
        dispatcher::begin::Attempting,
        gather::Told,
        job::{Job, Message},
        reputation::Class,
    },
    spool::{DueRecipient, Settlement},
};

/// Recipients of one message in one job where each of them is work of its own.
const RECIPIENTS_APART: usize = 50;
/// Recipients of one message in one job where they share one transaction.
const RECIPIENTS_TOGETHER: usize = 1000;

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    /// Puts a job's recipients into the lines of their next hops.
    pub(super) fn route(&mut self, job: Job, done: &mpsc::Sender<Settlement>) {
        let mut groups: Vec<(Option<Arc<Route>>, Vec<DueRecipient>)> = Vec::new();
        for recipient in job.recipients {
            let origin = job.message.origin();
            let route = self.options.routes.shared(&recipient.address, &origin);
            let name = route.as_ref().map(|route| &route.name);
            let most = match route.as_ref().map(|route| &route.transport) {
                Some(Transport::Relay(_) | Transport::Lmtp { .. }) => RECIPIENTS_TOGETHER,
                Some(Transport::Maildir { .. } | Transport::Discard) | None => RECIPIENTS_APART,
            };
            let group = groups.iter_mut().find(|(other, recipients)| {
                other.as_ref().map(|route| &route.name) == name && recipients.len() < most
            });
            match group {
                Some((_, recipients)) => recipients.push(recipient),
                None => groups.push((route, vec![recipient])),
            }
        }
        // All of them first: none is over before every one has begun.
        groups.iter().for_each(|_| job.message.gather.open());
        for (route, recipients) in groups {
            let message = job.message.clone();
            *self.claimed.entry(message.id.clone()).or_default() += recipients.len();
            let job = Job {
                message,
                recipients,
            };
            match route {
                Some(route) => self.enqueue(job, route, done),
                // A reload took the route away that was there at RCPT: it may come back.
                None => {
                    let outcome = deferred(4, 4, "no route leads to this domain");
                    self.defer(job, &Arc::from("none"), "none", outcome, None, done);
                }
            }
        }
    }

    fn enqueue(&mut self, job: Job, route: Arc<Route>, done: &mpsc::Sender<Settlement>) {
        let now = (self.surroundings.now)();
        let hop: Arc<str> = route.name.as_str().into();
        let place = route.transport.hop();
        if let Some(until) = self.reputations.silent_until(&hop, now) {
            return self.defer_silent(job, &route, &hop, until, done);
        }
        let class = match place {
            None => Class::Proven,
            Some(_) => self.reputations.class(&hop),
        };
        if self
            .board
            .is_crowded(&hop, class, self.options.waiting, now)
        {
            let until = self.board.later(&hop, now);
            return self.give_back(job, until, done);
        }
        let per_hop = self.options.attempts_per_hop;
        let entry = Entry {
            urgency: match job.is_fresh() {
                true => Urgency::Fresh,
                false => Urgency::Again,
            },
            class,
            at_once: place.map_or(per_hop, |place| place.connections.min(per_hop)),
            job: Routed { job, route },
        };
        self.board.push(&hop, entry);
    }

    /// An attempt at this next hop is over.
    pub(super) fn finished(
        &mut self,
        hop: &Arc<str>,
        standing: Standing,
        done: &mpsc::Sender<Settlement>,
    ) {
        let now = (self.surroundings.now)();
        self.board.finished(hop, now);
        match standing {
            Standing::Answers => {
                self.reputations.answered(hop);
                self.board.reclass(hop, Class::Proven);
            }
            Standing::Silent(wait) => {
                let until = now + wait;
                self.reputations.silent(hop, until);
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
        let (kind, outcome) = (route.transport.kind(), deferred(4, 1, text));
        self.defer(job, hop, kind, outcome, Some(until), done);
    }

    /// Decides a job without an attempt.
    fn defer(
        &mut self,
        job: Job,
        hop: &Arc<str>,
        route_kind: &'static str,
        outcome: Outcome,
        not_before: Option<SystemTime>,
        done: &mpsc::Sender<Settlement>,
    ) {
        let now = (self.surroundings.now)();
        let attempted = Attempted::local(vec![outcome; job.recipients.len()]);
        let attempting = self.attempting(job, hop.clone(), route_kind, done);
        self.attempts.spawn(async move {
            attempting.end(attempted, None, now, not_before).await;
        });
    }

    /// Gives a job back to the spool untried.
    fn give_back(&mut self, job: Job, until: SystemTime, done: &mpsc::Sender<Settlement>) {
        let (settlement, done_too) = (job.postponed(until), done.clone());
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
        while let Some(claim) = super::stop::waiting_arrival(&mut self.arrivals).await {
            self.route(Job::of(claim), done);
        }
        let now = (self.surroundings.now)();
        self.quiet_until = now + super::QUIET;
        let mut settlement = Settlement::default();
        for Routed { job, .. } in self.board.drain() {
            settlement.append(job.postponed(now));
            self.settled(&job.message.id, job.recipients.len());
            self.close(&job.message, done);
        }
        let custody = self.custody.clone();
        self.attempts.spawn(async move {
            if let Err(fault) = custody.record(settlement).await {
                tracing::error!(error = %fault, "waiting mail stays claimed; a restart frees it");
            }
            // Who asked may have gone away.
            let _ = withdrawn.send(());
        });
    }
}
