//! What follows an attempt: for each recipient the next step, a line in the log, a count, and
//! whether somebody is to be told.

use std::{sync::Arc, time::SystemTime};

use metrics::{counter, histogram};
use tracing::{info, warn};

use super::{
    Options, Surroundings,
    job::{Job, Message},
    told,
};
use crate::{
    deliver::{Attempted, RecipientResult, Standing, Unprotected},
    envelope::{Deadline, Link, MxProof, Outcome, Reporting},
    policy::{
        retry::{Again, Plight},
        security::Requirement,
    },
    report::{Action, RecipientReport, due},
    smtp::EnhancedCode,
    spool::{AttemptRecord, DueRecipient, Event, EventKind, Next, Trace},
};

/// An attempt as it is written down: by which way, from when to when.
pub(super) struct Ended<'a> {
    pub(super) next_hop: &'a Arc<str>,
    /// Label for metrics.
    pub(super) route_kind: &'static str,
    pub(super) started_at: SystemTime,
    pub(super) ended_at: SystemTime,
    /// There is no use in another attempt before.
    pub(super) not_before: Option<SystemTime>,
    /// Whether a message may be given up for it.
    pub(super) ends: Ends,
}

/// Whether messages may be given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    /// Those that are old enough.
    Old,
    /// None: too little is known of the next hop in the life of this process.
    None,
}

/// A recipient whose next step is decided.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) record: AttemptRecord,
    /// What its sender is told, where that is due.
    pub(super) report: Option<RecipientReport>,
    /// What its account is told, where no report can be made.
    pub(super) event: Option<Event>,
}

impl Decided {
    /// Whether its record may wait a little for others of the same message that are to be told of:
    /// should it get lost, the same would happen again.
    pub(super) fn may_wait(&self) -> bool {
        let report = self.report.as_ref();
        report.is_some_and(|it| matches!(it.action, Action::Failed | Action::Delayed { .. }))
    }
}

impl Ended<'_> {
    /// Decides what follows each result, counts and logs it. Recipients without one are passed over.
    pub(super) fn decide(
        &self,
        job: &Job,
        attempted: Attempted,
        options: &Options,
        surroundings: &Surroundings,
    ) -> Vec<Decided> {
        let took = self.ended_at.duration_since(self.started_at);
        histogram!("gatepost_attempt_seconds", "route_kind" => self.route_kind)
            .record(took.unwrap_or_default().as_secs_f64());
        let random = (surroundings.random)();
        job.recipients
            .iter()
            .zip(attempted.results)
            .filter_map(|(recipient, result)| Some((recipient, result?)))
            .map(|(recipient, result)| {
                let step = self.step(&job.message, recipient, &result, options, random);
                self.tell(&job.message, recipient, &result, &step);
                let report = step.action.and_then(|action| {
                    let about = told::recipient(recipient, action, &result);
                    let about = self.dated(&job.message, step.status, about);
                    let kind = action.kind();
                    due(about.notify, kind, &job.message.sender).then_some(RecipientReport {
                        last_attempt: Some(self.ended_at),
                        ..about
                    })
                });
                let RecipientResult { outcome, link, .. } = result;
                let event = (step.status == Ending::Failed || step.status == Ending::Expired)
                    .then(|| undeliverable(&job.message, recipient, &outcome, self.ended_at))
                    .flatten();
                Decided {
                    record: AttemptRecord {
                        id: job.message.id.clone(),
                        recipient: recipient.number,
                        next_hop: self.next_hop.clone(),
                        link,
                        in_vain: attempted.in_vain.clone(),
                        started_at: self.started_at,
                        ended_at: self.ended_at,
                        outcome,
                        next: step.next,
                        tells_delay: matches!(step.action, Some(Action::Delayed { .. })),
                        unprotected_since: step.unprotected_since,
                        trace: match (attempted.standing, step.next) {
                            (Standing::Unknown, Next::At(_)) => Trace::Omitted,
                            _ => Trace::Kept,
                        },
                    },
                    report,
                    event,
                }
            })
            .collect()
    }

    fn step(
        &self,
        message: &Message,
        recipient: &DueRecipient,
        result: &RecipientResult,
        options: &Options,
        random: u16,
    ) -> Step {
        let done = |status, action| Step {
            status,
            next: Next::Done,
            action,
            unprotected_since: None,
        };
        match &result.outcome {
            Outcome::Delivered(_) => done(Ending::Delivered, Some(Action::Delivered)),
            // What the next hop reports itself is not told twice (RFC 3461 §5.2.1).
            Outcome::Relayed(_, Reporting::Promised) => done(Ending::Relayed, None),
            Outcome::Relayed(_, Reporting::None | Reporting::Traced) => {
                done(Ending::Relayed, Some(Action::Relayed))
            }
            Outcome::Failed(_) => done(Ending::Failed, Some(Action::Failed)),
            // Whatever else is known (RFC 2852 §4.1.3).
            Outcome::Deferred(_) if self.is_to_return(message) => {
                done(Ending::Expired, Some(Action::Failed))
            }
            Outcome::Deferred(_) => {
                if let Some(why) = result.unprotected {
                    return self.step_unprotected(message, recipient, why, options, random);
                }
                let (received_at, now) = (message.released_at, self.ended_at);
                let attempts = recipient.attempts.saturating_add(1);
                let schedule = &options.schedule;
                let at = match schedule.after(received_at, attempts, now, random) {
                    Again::At(at) => at,
                    Again::GiveUp if self.ends == Ends::Old => {
                        return done(Ending::Expired, Some(Action::Failed));
                    }
                    Again::GiveUp => now + schedule.first,
                };
                let told_at = recipient.delay_told_at;
                let delayed = Action::Delayed {
                    until: received_at.checked_add(schedule.give_up_after),
                };
                Step {
                    status: Ending::Deferred,
                    next: self.next(message, at),
                    action: (options.notices.is_due(received_at, told_at, now)
                        || self.is_late(message, recipient))
                    .then_some(delayed),
                    unprotected_since: None,
                }
            }
        }
    }

    /// The same where the next hops are not protected as they must be: by a clock of its own.
    fn step_unprotected(
        &self,
        message: &Message,
        recipient: &DueRecipient,
        why: Unprotected,
        options: &Options,
        random: u16,
    ) -> Step {
        let plight = Plight {
            received_at: message.released_at,
            since: recipient.unprotected_since.unwrap_or(self.ended_at),
            told_at: recipient.delay_told_at,
            attempts: recipient.attempts.saturating_add(1),
            hosts: why.hosts,
            is_strict: why.required.is_some_and(Requirement::is_strict),
            now: self.ended_at,
        };
        let clock = &options.unprotected;
        let at = match clock.after(&options.schedule, &plight, random) {
            Again::At(at) => at,
            Again::GiveUp if self.ends == Ends::Old => {
                return Step {
                    status: Ending::Expired,
                    next: Next::Done,
                    action: Some(Action::Failed),
                    unprotected_since: None,
                };
            }
            Again::GiveUp => self.ended_at + options.schedule.first,
        };
        let delayed = Action::Delayed {
            until: Some(clock.until(&options.schedule, &plight)),
        };
        Step {
            status: Ending::Deferred,
            next: self.next(message, at),
            action: (clock.is_due(&options.notices, &plight) || self.is_late(message, recipient))
                .then_some(delayed),
            unprotected_since: Some(plight.since),
        }
    }

    /// When there is use in another attempt; no later than the message's deadline, at which its
    /// sender hears of it.
    fn next(&self, message: &Message, at: SystemTime) -> Next {
        let at = self.not_before.map_or(at, |not_before| at.max(not_before));
        Next::At(message.timing.soonest(at, self.ended_at))
    }

    /// Whether its deadline has come, at which it goes back.
    fn is_to_return(&self, message: &Message) -> bool {
        let returned_at = message.timing.returned_at();
        returned_at.is_some_and(|at| at <= self.ended_at)
    }

    /// Whether its deadline has come and its sender has not heard of that (RFC 2852 §4.1.3).
    fn is_late(&self, message: &Message, recipient: &DueRecipient) -> bool {
        let Some(deadline) = message.timing.deadline else {
            return false;
        };
        let is_told = recipient
            .delay_told_at
            .is_some_and(|told| told >= deadline.at);
        deadline.is_over(self.ended_at) && !is_told
    }

    /// The same with a word of its deadline, once that has come.
    fn dated(&self, message: &Message, ending: Ending, about: RecipientReport) -> RecipientReport {
        let is_over = |deadline: Deadline| deadline.is_over(self.ended_at);
        let is_over = message.timing.deadline.is_some_and(is_over);
        let status = match about.action {
            Action::Delayed { .. } if is_over => EnhancedCode::new(4, 4, 7),
            // Whatever was in the way, it is the time that ended it.
            Action::Failed if ending == Ending::Expired && self.is_to_return(message) => {
                EnhancedCode::new(5, 4, 7)
            }
            _ => about.status,
        };
        RecipientReport { status, ..about }
    }

    /// One line for each recipient, in the manner of Postfix, and one count.
    fn tell(
        &self,
        message: &Message,
        recipient: &DueRecipient,
        result: &RecipientResult,
        step: &Step,
    ) {
        let (outcome, link) = (&result.outcome, result.link.as_deref());
        let age = self.ended_at.duration_since(message.received_at);
        let delay = (age.unwrap_or_default().as_secs_f64() * 100.0).round() / 100.0;
        let (queue_id, to, next_hop) = (&message.id, &recipient.address, &**self.next_hop);
        let relay = link.map_or_else(|| next_hop.to_owned(), relay);
        let tls = link.and_then(|link| link.tls.as_ref());
        let (version, proof) = (
            tls.map(|tls| tracing::field::display(tls.version)),
            tls.map(|tls| tls.proof.as_str()),
        );
        let mx = link.and_then(|link| link.mx).map(MxProof::as_str);
        let attempts = recipient.attempts.saturating_add(1);
        let said = outcome.status();
        let (dsn, reason, status) = (said.code, said.text.as_str(), step.status.as_str());
        counter!("gatepost_attempts_total", "route_kind" => self.route_kind, "outcome" => status)
            .increment(1);
        match step.status {
            Ending::Failed | Ending::Expired => {
                warn!(%queue_id, %to, relay, next_hop, delay, attempts, %dsn, status, tls = version, proof, mx, reason, "delivery given up");
            }
            Ending::Delivered | Ending::Relayed | Ending::Deferred => {
                info!(%queue_id, %to, relay, next_hop, delay, attempts, %dsn, status, tls = version, proof, mx, reason, "delivery attempt");
            }
        }
    }
}

/// What is to happen to a recipient.
struct Step {
    status: Ending,
    next: Next,
    /// What its sender may want to hear of.
    action: Option<Action>,
    /// Where it waits for protection: since when.
    unprotected_since: Option<SystemTime>,
}

/// How an attempt leaves a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Delivered,
    Relayed,
    Deferred,
    Failed,
    Expired,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Ending::Delivered => "delivered",
            Ending::Relayed => "relayed",
            Ending::Deferred => "deferred",
            Ending::Failed => "failed",
            Ending::Expired => "expired",
        }
    }
}

/// Mail of a null sender is reported to nobody (RFC 5321 §6.1), nor is a copy that cannot be filed;
/// whose it was can look it up.
fn undeliverable(
    message: &Message,
    recipient: &DueRecipient,
    outcome: &Outcome,
    at: SystemTime,
) -> Option<Event> {
    if message.sender.mailbox().is_some() && !recipient.is_copy {
        return None;
    }
    Some(Event {
        kind: EventKind::Undeliverable,
        at,
        account: message.account.clone(),
        id: message.id.clone(),
        report_of: message.report_of.clone(),
        recipient: recipient.address.clone(),
        status: outcome.status().clone(),
    })
}

/// `host[address]:port`, as Postfix writes it.
fn relay(link: &Link) -> String {
    match link.address {
        Some(address) => format!("{}[{}]:{}", link.host, address.ip(), address.port()),
        None => link.host.to_string(),
    }
}
