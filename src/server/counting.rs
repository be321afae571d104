//! Counts of the queue for whoever asks: a long queue is counted seldom.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Mutex;

use super::Running;
use crate::store::queue::QueueCounts;

/// A queue of so many messages and recipients is counted each time that somebody asks.
const SHORT: u64 = 1000;
/// Between two counts of a longer one.
const APART: Duration = Duration::from_secs(10);

/// The last count, and when it was made.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<Option<(Instant, QueueCounts)>>);

impl Running {
    /// How much is in custody; where that is much, as of ten seconds ago at most.
    ///
    /// # Errors
    /// As [`crate::spool::Spool::counts`].
    pub async fn queue_counts(&self) -> Result<QueueCounts> {
        // Held while counting: who comes meanwhile takes the same answer.
        let mut last = self.counting.0.lock().await;
        if let Some((at, counts)) = *last
            && is_fresh(at.elapsed(), &counts)
        {
            return Ok(counts);
        }
        let counts = self.spool.counts().await?;
        *last = Some((Instant::now(), counts));
        Ok(counts)
    }
}

fn is_fresh(age: Duration, counts: &QueueCounts) -> bool {
    let recipients = counts.due + counts.deferred + counts.claimed + counts.held + counts.aside;
    counts.messages + recipients > SHORT && age < APART
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_queue_is_counted_seldom() {
        let counts = |messages, deferred| QueueCounts {
            messages,
            deferred,
            ..QueueCounts::default()
        };
        let seconds = Duration::from_secs;
        for (age, messages, deferred, fresh) in [
            (0, 0, 0, false),
            (0, 500, 500, false),
            (0, 500, 501, true),
            (9, 1_000_000, 1_000_000, true),
            (10, 1_000_000, 1_000_000, false),
        ] {
            let counted = counts(messages, deferred);
            assert_eq!(is_fresh(seconds(age), &counted), fresh, "{age} {messages}");
        }
    }
}
