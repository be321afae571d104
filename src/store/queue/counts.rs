//! How much is in custody, and how far its delivery lags: for metrics and health.

use std::time::{Duration, SystemTime};

use super::{LEASE, RecipientState, filter::state, milliseconds, span, time};
use crate::store::{Store, StoreError};

/// Ages that divide messages into classes.
const AGES: [Duration; 3] = [
    Duration::from_secs(300),
    Duration::from_secs(3600),
    Duration::from_secs(24 * 3600),
];

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueCounts {
    /// Messages in custody.
    pub messages: u64,
    /// Messages younger than five minutes, an hour, a day, and older ones.
    pub by_age: [u64; AGES.len() + 1],
    /// Recipients that wait for their first attempt.
    pub due: u64,
    /// Recipients that wait for another attempt.
    pub deferred: u64,
    /// Recipients that a process has in hand.
    pub claimed: u64,
    /// Recipients held.
    pub held: u64,
    /// Recipients set aside.
    pub aside: u64,
    /// Recipients whose time has not come.
    pub later: u64,
}

impl Store {
    /// Counts the queue as of `now`. Reads every row but for its content: for metrics, not for the
    /// hot path.
    pub async fn queue_counts(&self, now: SystemTime) -> Result<QueueCounts, StoreError> {
        // One read transaction, so that both are of one moment.
        let mut transaction = self.reader().begin().await?;
        let [minutes, hour, day] = AGES.map(|age| milliseconds(now).saturating_sub(span(age)));
        let (messages, minutes, hour, day): (i64, i64, i64, i64) = sqlx::query_as(MESSAGES)
            .bind(minutes)
            .bind(hour)
            .bind(day)
            .fetch_one(&mut *transaction)
            .await?;
        let states: Vec<(String, i64)> = sqlx::query_as(RECIPIENTS)
            .bind(milliseconds(now))
            .bind(span(LEASE))
            .fetch_all(&mut *transaction)
            .await?;
        let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
        let in_state = |state: RecipientState| {
            let found = states.iter().find(|(word, _)| word == state.as_str());
            found.map_or(0, |(_, count)| unsigned(*count))
        };
        Ok(QueueCounts {
            messages: unsigned(messages),
            by_age: [minutes, hour - minutes, day - hour, messages - day].map(unsigned),
            due: in_state(RecipientState::Due),
            deferred: in_state(RecipientState::Deferred),
            claimed: in_state(RecipientState::Claimed),
            held: in_state(RecipientState::Held),
            aside: in_state(RecipientState::Aside),
            later: in_state(RecipientState::Later),
        })
    }

    /// Since when the oldest recipient that nobody has claimed is due, where one is or will be.
    pub async fn oldest_due(&self) -> Result<Option<SystemTime>, StoreError> {
        let oldest: Option<i64> = sqlx::query_scalar(OLDEST_DUE)
            .fetch_one(self.reader())
            .await?;
        Ok(oldest.map(time))
    }
}

/// `$1` to `$3`: five minutes, an hour, a day ago.
const MESSAGES: &str = r#"
    SELECT count(*),
           count(*) FILTER (WHERE received_at > $1),
           count(*) FILTER (WHERE received_at > $2),
           count(*) FILTER (WHERE received_at > $3)
      FROM messages
"#;

const RECIPIENTS: &str = concat!(
    "SELECT ",
    state!(),
    "AS state, count(*) FROM recipients AS r GROUP BY state"
);

pub(super) const OLDEST_DUE: &str = r#"
    SELECT min(at)
      FROM (SELECT min(next_attempt_at) AS at
              FROM recipients
             WHERE status = 'due' AND claimed_by IS NULL
             UNION ALL
            SELECT min(next_attempt_at)                 -- claimed by a process that has ended
              FROM recipients
             WHERE status = 'due'
               AND claimed_by > 0
               AND claimed_by NOT IN (SELECT incarnation FROM nodes))
"#;
