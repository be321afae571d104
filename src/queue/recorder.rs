//! Writes outcomes down, many at a time, and does not rest until the spool has taken them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::error;

use super::{custody::Custody, dispatcher::Event};
use crate::{
    envelope::QueueId,
    spool::{Next, Settlement},
};

/// Jobs whose outcomes go to the spool together.
const TOGETHER: usize = 256;
/// Recipients beyond which no further job joins them: others wait behind the transaction.
const ROWS_TOGETHER: usize = 2_000;
/// Jobs that the spool refused, beyond which no more are taken.
const REFUSED: usize = 256;
/// Refusals after which a round of repeats ends: the spool is ill, not the record.
const IN_VAIN: usize = 8;
/// Wait before a round of repeats; doubled while nothing is taken, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Runs until every sender is gone and everything is written.
///
/// While the spool fails, outcomes pile up to a bound, attempts stop, and no outcome is forgotten:
/// a delivery whose record is lost would be made twice. A record that the spool refuses while it
/// takes others keeps nobody waiting.
pub(super) async fn run<C: Custody>(
    custody: Arc<C>,
    mut finished: mpsc::Receiver<Settlement>,
    events: mpsc::UnboundedSender<Event>,
) {
    let custody = custody.as_ref();
    let mut refused: VecDeque<Settlement> = VecDeque::new();
    let (mut wait, mut again_at) = (FIRST_WAIT, Instant::now());
    let mut is_open = true;
    while is_open || !refused.is_empty() {
        let mut jobs = Vec::new();
        tokio::select! {
            first = finished.recv(), if is_open && refused.len() < REFUSED => {
                is_open = first.is_some();
                jobs.extend(first);
                let mut count: usize = jobs.iter().map(rows).sum();
                while jobs.len() < TOGETHER
                    && count < ROWS_TOGETHER
                    && let Ok(job) = finished.try_recv()
                {
                    count += rows(&job);
                    jobs.push(job);
                }
                if is_open && !write(custody, &jobs, &events).await {
                    if refused.is_empty() {
                        (wait, again_at) = (FIRST_WAIT, Instant::now() + FIRST_WAIT);
                    }
                    refused.extend(jobs);
                }
            }
            () = sleep_until(again_at), if !refused.is_empty() => {
                wait = match repeat(custody, &mut refused, &events).await {
                    Repeated::Some => FIRST_WAIT,
                    Repeated::None => (wait * 2).min(LONGEST_WAIT),
                };
                again_at = Instant::now() + wait;
            }
        }
    }
}

/// Whether a round of repeats was of use.
enum Repeated {
    Some,
    None,
}

/// Offers refused jobs anew, one by one, so that one does not keep the others.
async fn repeat<C: Custody>(
    custody: &C,
    refused: &mut VecDeque<Settlement>,
    events: &mpsc::UnboundedSender<Event>,
) -> Repeated {
    let (mut repeated, mut in_vain) = (Repeated::None, 0);
    for _ in 0..refused.len() {
        let Some(job) = refused.pop_front() else {
            break;
        };
        if write(custody, std::slice::from_ref(&job), events).await {
            repeated = Repeated::Some;
            continue;
        }
        refused.push_back(job);
        in_vain += 1;
        if in_vain == IN_VAIN {
            break;
        }
    }
    repeated
}

/// Whether the spool has taken the outcomes of these jobs.
async fn write<C: Custody>(
    custody: &C,
    jobs: &[Settlement],
    events: &mpsc::UnboundedSender<Event>,
) -> bool {
    let mut together = Settlement::default();
    for job in jobs {
        together.append(job.clone());
    }
    if let Err(fault) = custody.record(together).await {
        let count = jobs.len();
        let queue_id = jobs.iter().find_map(message_of).map(|id| id.as_str());
        error!(queue_id, jobs = count, error = %fault, "cannot record outcomes; trying again");
        return false;
    }
    jobs.iter().for_each(|job| tell_recorded(job, events));
    true
}

/// Tells the dispatcher that a job's outcomes are in the spool.
pub(super) fn tell_recorded(job: &Settlement, events: &mpsc::UnboundedSender<Event>) {
    if let Some(id) = message_of(job) {
        // Nobody listens any more once the queue has stopped.
        let _ = events.send(Event::Recorded(Recorded {
            id: id.clone(),
            recipients: rows(job),
            due_again: due_again(job),
        }));
    }
}

/// How many recipients a job's outcomes are of.
fn rows(job: &Settlement) -> usize {
    job.attempts.len() + job.postponed.len()
}

/// The message of a job's outcomes; all are of one.
fn message_of(job: &Settlement) -> Option<&QueueId> {
    let attempt = job.attempts.first().map(|record| &record.id);
    attempt.or_else(|| job.postponed.first().map(|postponed| &postponed.id))
}

/// When the first of a job's recipients falls due again.
fn due_again(job: &Settlement) -> Option<SystemTime> {
    let attempts = job.attempts.iter().filter_map(|record| match record.next {
        Next::At(time) => Some(time),
        Next::Done | Next::Held => None,
    });
    attempts
        .chain(job.postponed.iter().map(|postponed| postponed.until))
        .min()
}

/// A job's outcomes are in the spool.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) id: QueueId,
    /// How many recipients they are of.
    pub(super) recipients: usize,
    /// When the first of its recipients falls due again.
    pub(super) due_again: Option<SystemTime>,
}
