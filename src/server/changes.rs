//! An operator's changes to mail in custody, on a running server.

use std::{sync::Arc, time::SystemTime};

use anyhow::Result;

use super::Running;
use crate::store::queue::{Change, Cursor, Part, Verb};

impl Running {
    /// Does the part of a change that follows `from`, or its first one; finishes it even where the
    /// caller goes away.
    ///
    /// What waits in the queue's memory is given back first where it could be held or cancelled
    /// there: only attempts under way are let be.
    ///
    /// # Errors
    /// Nothing of this part is done; parts before it are.
    pub async fn change_queue(
        self: &Arc<Self>,
        change: Change,
        from: Option<Cursor>,
    ) -> Result<Part> {
        let server = Arc::clone(self);
        let work = tokio::spawn(async move {
            match change.verb {
                Verb::Hold | Verb::Cancel => server.queue.withdraw().await,
                Verb::Release | Verb::Retry => {}
            }
            let part = server.spool.change(&change, from, SystemTime::now()).await;
            match change.verb {
                Verb::Hold | Verb::Cancel => server.queue.wake(),
                // Whoever asks for an attempt wants one, whatever earlier ones have shown.
                Verb::Release | Verb::Retry => {
                    server.deliver.forgive();
                    server.queue.try_all();
                }
            }
            let part = part?;
            tell(change.verb, &part);
            Ok(part)
        });
        work.await?
    }
}

fn tell(verb: Verb, part: &Part) {
    for place in &part.cancelled {
        tracing::info!(
            queue_id = place.queue_id,
            to = place.recipient,
            "recipient cancelled"
        );
    }
    let tally = &part.tally;
    if tally.recipients > 0 {
        let (recipients, messages) = (tally.recipients, tally.messages);
        tracing::info!(
            verb = verb.as_str(),
            recipients,
            messages,
            "queue changed by the operator"
        );
    }
}
