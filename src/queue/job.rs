//! What moves through the queue: some recipients of one message on their way to one next hop.

use std::{sync::Arc, time::SystemTime};

use super::gather::Gather;
use crate::{
    envelope::{BodyType, Identity, Protection, QueueId, Timing},
    policy::routes::Origin,
    smtp::{EnvelopeId, FutureRelease, Return, ReversePath},
    spool::{Claim, Content, DueRecipient, Postponed, Settlement},
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
    pub(super) protection: Protection,
    pub(super) timing: Timing,
    pub(super) received_at: SystemTime,
    /// From when its age counts.
    pub(super) released_at: SystemTime,
    pub(super) release_request: Option<FutureRelease>,
    /// Present where the message is fresh from intake.
    pub(super) content: Option<Content>,
    pub(super) gather: Gather,
}

impl Message {
    /// By what its route is chosen.
    pub(super) fn origin(&self) -> Origin<'_> {
        Origin::new(&self.sender, self.submitter())
    }

    /// Login name of who submitted it; none for a report of ours, which travels for nobody.
    pub(super) fn submitter(&self) -> Option<&str> {
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
                protection: claim.protection,
                timing: claim.timing,
                received_at: claim.received_at,
                released_at: claim.released_at,
                release_request: claim.release_request,
                content: claim.content,
                gather: Gather::default(),
            }),
            recipients: claim.recipients,
        }
    }

    /// Whether none of its recipients was tried before.
    pub(super) fn is_fresh(&self) -> bool {
        self.recipients.iter().all(|it| it.attempts == 0)
    }

    /// Gives all of it back untried, due at `until`, or when its deadline comes.
    pub(super) fn postponed(&self, until: SystemTime, now: SystemTime) -> Settlement {
        let until = self.message.timing.soonest(until, now);
        let recipients = self.recipients.iter().map(|recipient| Postponed {
            id: self.message.id.clone(),
            recipient: recipient.number,
            until,
        });
        Settlement {
            postponed: recipients.collect(),
            ..Settlement::default()
        }
    }
}
