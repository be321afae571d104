//! How the queue ends: nothing new begins, what is under way finishes or is cut off, every claim is
//! settled by a record or a release.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tracing::{error, warn};

use super::{Dispatcher, Event};
use crate::{
    queue::custody::{Arrivals, Carrier, Custody},
    spool::{Claim, Settlement},
};

/// Time for the spool to take the last outcomes and releases, where the stop limit is used up.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl<C: Custody, A: Arrivals, D: Carrier> Dispatcher<C, A, D> {
    /// Lets attempts finish within the limit, writes down what they did, gives the rest back.
    pub(super) async fn stop(
        mut self,
        done: mpsc::Sender<Settlement>,
        mut recorder: JoinHandle<()>,
    ) {
        let deadline = Instant::now() + self.options.stop_within;
        drop(self.board.drain());
        drop(self.seeking.drain());
        let finish = async { while self.attempts.join_next().await.is_some() {} };
        if timeout_at(deadline, finish).await.is_err() {
            warn!(
                attempts = self.attempts.len(),
                "attempts cut off: they outlasted the stop limit"
            );
            self.attempts.shutdown().await;
        }
        drop(done);
        let deadline = deadline.max(Instant::now() + STOP_GRACE);
        if timeout_at(deadline, &mut recorder).await.is_err() {
            error!("outcomes unrecorded: their recipients may be served twice");
            recorder.abort();
        }
        while self.looking {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.happened_while_stopping(event),
                Ok(None) | Err(_) => break,
            }
        }
        while let Ok(event) = self.events.try_recv() {
            self.happened_while_stopping(event);
        }
        while let Some(claim) = waiting_arrival(&mut self.arrivals).await {
            *self.claimed.entry(claim.id).or_default() += claim.recipients.len();
        }
        let mut releases = JoinSet::new();
        for id in self.claimed.into_keys() {
            let custody = self.custody.clone();
            releases.spawn(async move {
                if let Err(fault) = custody.release(&id).await {
                    warn!(queue_id = %id, error = %fault, "cannot release a claim; a restart will");
                }
            });
        }
        let release = async { while releases.join_next().await.is_some() {} };
        let _ = timeout_at(deadline.max(Instant::now() + STOP_GRACE), release).await;
    }

    fn happened_while_stopping(&mut self, event: Event) {
        match event {
            Event::Finished(..) | Event::Sited(..) => {}
            Event::Recorded(recorded) => self.settled(&recorded.id, recorded.recipients),
            Event::Looked(found) => {
                self.looking = false;
                for claim in found.into_iter().flat_map(|found| found.claims) {
                    *self.claimed.entry(claim.id).or_default() += claim.recipients.len();
                }
            }
        }
    }
}

/// A fresh message that is there already.
pub(super) async fn waiting_arrival<A: Arrivals>(arrivals: &mut Option<A>) -> Option<Claim> {
    let arrivals = arrivals.as_mut()?;
    // Out of budget, a channel says that it is empty while it is not.
    tokio::task::coop::unconstrained(async {
        tokio::select! {
            biased;
            claim = arrivals.recv() => claim,
            () = std::future::ready(()) => None,
        }
    })
    .await
}
