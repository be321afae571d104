//! One attempt at one job, whatever happens within it.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use super::{
    custody::{Carrier, Custody},
    job::Job,
};
use crate::{
    deliver::{Attempt, Attempted, RecipientResult},
    envelope::{Outcome, Status},
    policy::routes::Route,
    smtp::EnhancedCode,
    spool::{Content, CustodyError},
};

/// What an attempt came to, and the content where it was read.
pub(super) struct Made {
    pub(super) attempted: Attempted,
    pub(super) content: Option<Content>,
}

/// Makes the attempt; a panic within it defers like any other fault.
pub(super) async fn make<C: Custody, D: Carrier>(
    job: &Job,
    route: Arc<Route>,
    custody: Arc<C>,
    carrier: Arc<D>,
) -> Made {
    let id = &job.message.id;
    let count = job.recipients.len();
    let work = tokio::spawn(carry(job.clone(), route, custody, carrier));
    let none = |text| Made {
        attempted: Attempted::unasked(vec![deferred(3, 0, text); count]),
        content: None,
    };
    match AbortOnDropHandle::new(work).await {
        Ok(Ok(mut made)) => {
            let silent = RecipientResult {
                outcome: deferred(3, 0, "the transport says nothing of this recipient"),
                link: None,
                unprotected: None,
            };
            made.attempted.results.resize(count, Some(silent));
            made
        }
        Ok(Err(fault)) => {
            error!(queue_id = %id, error = %fault, "cannot read a message in custody");
            none("the message could not be read from the spool")
        }
        Err(_) => {
            error!(queue_id = %id, "an attempt failed on a fault of the server's own");
            none("internal error during the attempt")
        }
    }
}

async fn carry<C: Custody, D: Carrier>(
    job: Job,
    route: Arc<Route>,
    custody: Arc<C>,
    carrier: Arc<D>,
) -> Result<Made, CustodyError> {
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
        protection: message.protection,
        timing: message.timing,
        received_at: message.received_at,
        content: content.clone(),
        recipients: job.recipients,
        route,
    };
    Ok(Made {
        attempted: carrier.attempt(attempt).await,
        content: Some(content),
    })
}

/// A transient outcome with this subject and detail (RFC 3463 §3).
pub(super) fn deferred(subject: u16, detail: u16, text: &str) -> Outcome {
    Outcome::Deferred(Status::new(EnhancedCode::new(4, subject, detail), text))
}
