//! From a job to records: one attempt, what follows it, and the line in the log.

use std::{sync::Arc, time::SystemTime};

use metrics::{counter, histogram};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::{
    Surroundings,
    custody::{Carrier, Custody},
};
use crate::{
    deliver::{Attempt, Attempted, RecipientResult},
    envelope::{BodyType, Identity, Outcome, QueueId, Status},
    policy::{
        retry::{Again, Schedule},
        routes::{Origin, Route},
    },
    smtp::{EnhancedCode, EnvelopeId, Return, ReversePath},
    spool::{AttemptRecord, Claim, Content, CustodyError, DueRecipient, Next},
};

/// Some recipients of a message that go to one next hop together.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) message: Arc<Message>,
    pub(super) recipients: Vec<DueRecipient>,
}

/// What the jobs of one claim share.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: QueueId,
    pub(super) account: Option<Identity>,
    pub(super) report_of: Option<QueueId>,
    pub(super) sender: ReversePath,
    pub(super) body: BodyType,
    pub(super) ret: Option<Return>,
    pub(super) envelope_id: Option<EnvelopeId>,
    pub(super) received_at: SystemTime,
    pub(super) content: Option<Content>,
}

impl Message {
    /// By what its route is chosen; a report's does not depend on whose mail it tells of.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin::new(&self.sender, self.submitter())
    }

    /// Login name of who submitted it; none for a report of ours.
    fn submitter(&self) -> Option<&str> {
        let account = self.account.as_ref().filter(|_| self.report_of.is_none());
        account.map(|account| &*account.name)
    }
}

impl Job {
    /// All of a claim.
    pub(super) fn of(claim: Claim) -> Job {
        Job {
            message: Arc::new(Message {
                id: claim.id,
                account: claim.account,
                report_of: claim.report_of,
                sender: claim.sender,
                body: claim.body,
                ret: claim.ret,
                envelope_id: claim.envelope_id,
                received_at: claim.received_at,
                content: claim.content,
            }),
            recipients: claim.recipients,
        }
    }
}

/// Makes the attempt; a panic within it defers like any other fault.
pub(super) async fn make<C: Custody, D: Carrier>(
    job: &Job,
    route: Arc<Route>,
    custody: Arc<C>,
    carrier: Arc<D>,
) -> Attempted {
    let id = &job.message.id;
    let count = job.recipients.len();
    let work = tokio::spawn(carry(job.clone(), route, custody, carrier));
    let all = |outcome| Attempted::local(vec![outcome; count]);
    match AbortOnDropHandle::new(work).await {
        Ok(Ok(mut attempted)) => {
            let silent = deferred(3, 0, "the transport says nothing of this recipient");
            let silent = RecipientResult {
                outcome: silent,
                link: None,
            };
            attempted.results.resize(count, silent);
            attempted
        }
        Ok(Err(fault)) => {
            error!(queue_id = %id, error = %fault, "cannot read a message in custody");
            all(deferred(
                3,
                0,
                "the message could not be read from the spool",
            ))
        }
        Err(_) => {
            error!(queue_id = %id, "an attempt failed on a fault of the server's own");
            all(deferred(3, 0, "internal error during the attempt"))
        }
    }
}

async fn carry<C: Custody, D: Carrier>(
    job: Job,
    route: Arc<Route>,
    custody: Arc<C>,
    carrier: Arc<D>,
) -> Result<Attempted, CustodyError> {
    let message = &job.message;
    let content = match &message.content {
        Some(content) => content.clone(),
        None => custody.content(&message.id).await?,
    };
    let attempt = Attempt {
        id: message.id.clone(),
        account: message.submitter().map(Arc::from),
        sender: message.sender.clone(),
        body: message.body,
        ret: message.ret,
        envelope_id: message.envelope_id.clone(),
        received_at: message.received_at,
        content,
        recipients: job.recipients,
        route,
    };
    Ok(carrier.attempt(attempt).await)
}

/// A transient outcome with this subject and detail (RFC 3463 §3).
pub(super) fn deferred(subject: u16, detail: u16, text: &str) -> Outcome {
    Outcome::Deferred(Status::new(EnhancedCode::new(4, subject, detail), text))
}

/// An attempt as it is written down: by which way, from when to when.
pub(super) struct Ended<'a> {
    pub(super) next_hop: &'a Arc<str>,
    /// Label for metrics.
    pub(super) route_kind: &'static str,
    pub(super) started_at: SystemTime,
    pub(super) ended_at: SystemTime,
}

impl Ended<'_> {
    /// Decides what follows each outcome, counts and logs it, and makes the records.
    pub(super) fn records(
        &self,
        job: &Job,
        attempted: Attempted,
        schedule: &Schedule,
        surroundings: &Surroundings,
    ) -> Vec<AttemptRecord> {
        let took = self
            .ended_at
            .duration_since(self.started_at)
            .unwrap_or_default();
        histogram!("gatepost_attempt_seconds", "route_kind" => self.route_kind)
            .record(took.as_secs_f64());
        let random = (surroundings.random)();
        job.recipients
            .iter()
            .zip(attempted.results)
            .map(|(recipient, RecipientResult { outcome, link })| {
                let attempts = recipient.attempts.saturating_add(1);
                let received_at = job.message.received_at;
                let next = following(
                    &outcome,
                    schedule,
                    received_at,
                    attempts,
                    self.ended_at,
                    random,
                );
                self.tell(&job.message, recipient, attempts, &outcome, next);
                AttemptRecord {
                    id: job.message.id.clone(),
                    recipient: recipient.number,
                    next_hop: self.next_hop.clone(),
                    link,
                    in_vain: attempted.in_vain.clone(),
                    started_at: self.started_at,
                    ended_at: self.ended_at,
                    outcome,
                    next,
                    tells_delay: false,
                }
            })
            .collect()
    }

    /// One line for each recipient, in the manner of Postfix, and one count.
    fn tell(
        &self,
        message: &Message,
        recipient: &DueRecipient,
        attempts: u32,
        outcome: &Outcome,
        next: Next,
    ) {
        let age = self
            .ended_at
            .duration_since(message.received_at)
            .unwrap_or_default();
        let delay = (age.as_secs_f64() * 100.0).round() / 100.0;
        let (id, to, relay) = (&message.id, &recipient.address, &**self.next_hop);
        let (dsn, reason) = (outcome.status().code, outcome.status().text.as_str());
        let status = match next {
            Next::Done => "delivered",
            Next::At(_) => "deferred",
            Next::Held => "held",
        };
        counter!("gatepost_attempts_total", "route_kind" => self.route_kind, "outcome" => status)
            .increment(1);
        if next == Next::Held {
            error!(queue_id = %id, %to, relay, delay, attempts, %dsn, status, reason, "recipient held: it is not tried again by itself");
        } else {
            info!(queue_id = %id, %to, relay, delay, attempts, %dsn, status, reason, "delivery attempt");
        }
    }
}

/// What is to happen to a recipient after an outcome.
///
/// Where the schedule ends, and where a next hop says never, an operator decides: only a report
/// to the sender could end such a recipient honestly.
fn following(
    outcome: &Outcome,
    schedule: &Schedule,
    received_at: SystemTime,
    attempts: u32,
    now: SystemTime,
    random: u16,
) -> Next {
    match outcome {
        Outcome::Delivered(_) | Outcome::Relayed(..) => Next::Done,
        Outcome::Deferred(_) => match schedule.after(received_at, attempts, now, random) {
            Again::At(time) => Next::At(time),
            Again::GiveUp => Next::Held,
        },
        Outcome::Failed(_) => Next::Held,
    }
}
