//! SQL of the brakes of accounts whose password may be stolen.

use std::time::SystemTime;

use super::{
    Store,
    accounts::{AccountError, id_and_address, seconds, time, touched_one},
};
use crate::{envelope::AccountId, policy::brake::Step};

/// An account's brake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredBrake {
    /// Whether the account is judged.
    pub enabled: bool,
    /// How far it is pulled, since when, and why; [`Step::Free`] where it is not.
    pub step: Step,
    /// Since when it is pulled.
    pub since: Option<SystemTime>,
    /// Signals and numbers.
    pub reason: Option<String>,
    /// What was sent before this slot is no signal any more.
    pub judged_from: u32,
    /// Nor were so many recipients of that slot, and so many of them new.
    pub judged_less: (u64, u64),
    /// Slots whose mail was not the owner's: first and last.
    pub unlike: Option<(u32, u32)>,
}

impl Default for StoredBrake {
    fn default() -> Self {
        StoredBrake {
            enabled: true,
            step: Step::Free,
            since: None,
            reason: None,
            judged_from: 0,
            judged_less: (0, 0),
            unlike: None,
        }
    }
}

/// How the operator judges what was held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was the owner's: from now on as much is usual.
    Owners,
    /// It was not.
    NotOwners,
}

type Row = (
    i64,
    Option<String>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    i64,
    i64,
);

impl Store {
    /// The brake of an account.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn brake(&self, account: AccountId) -> Result<StoredBrake, AccountError> {
        let row: Option<Row> = sqlx::query_as(
            r#"
            SELECT enabled, step, since, reason, judged_from, unlike_from, unlike_to,
                   judged_less_outside, judged_less_new
              FROM brakes
             WHERE account_id = $1
            "#,
        )
        .bind(account.0)
        .fetch_optional(self.reader())
        .await?;
        let slot = |slot: i64| u32::try_from(slot).unwrap_or(0);
        Ok(row.map_or_else(StoredBrake::default, |row| StoredBrake {
            enabled: row.0 != 0,
            step: row.1.as_deref().and_then(Step::parse).unwrap_or_default(),
            since: row.2.map(time),
            reason: row.3,
            judged_from: row.4.map_or(0, slot),
            judged_less: (row.7.unsigned_abs(), row.8.unsigned_abs()),
            unlike: row.5.zip(row.6).map(|(from, to)| (slot(from), slot(to))),
        }))
    }

    /// Pulls the brake of an account so far, unless it is pulled further already. Gives whether it
    /// was pulled now.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn pull_brake(
        &self,
        account: AccountId,
        step: Step,
        reason: &str,
        now: SystemTime,
    ) -> Result<bool, AccountError> {
        let done = sqlx::query(
            r#"
            INSERT INTO brakes (account_id, step, since, reason)
            SELECT account_id, $2, $3, $4
              FROM accounts
             WHERE account_id = $1
                ON CONFLICT (account_id) DO UPDATE
               SET step = excluded.step,
                   since = coalesce(since, excluded.since),
                   reason = excluded.reason
             WHERE step IS NOT excluded.step
               AND step IS NOT 'refuse'
            "#,
        )
        .bind(account.0)
        .bind(step.as_str())
        .bind(seconds(now))
        .bind(reason)
        .execute(self.writer())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets the brake of an account go: what was sent so far is no signal any more.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn let_brake_go(
        &self,
        name: &str,
        verdict: Verdict,
        now: SystemTime,
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (id, _) = id_and_address(&mut change, name).await?;
        sqlx::query(
            r#"
            INSERT INTO brakes (account_id, judged_from, judged_less_outside, judged_less_new)
            SELECT $1, $2 / 600, coalesce(sum(outside), 0), coalesce(sum(first_time), 0)
              FROM sent_volumes
             WHERE scope = 'account ' || $1
               AND slot = $2 / 600
                ON CONFLICT (account_id) DO UPDATE
               SET judged_from = excluded.judged_from,
                   judged_less_outside = excluded.judged_less_outside,
                   judged_less_new = excluded.judged_less_new,
                   unlike_from = CASE WHEN $3 THEN since / 600 - 144 ELSE unlike_from END,
                   unlike_to = CASE WHEN $3 THEN $2 / 600 ELSE unlike_to END,
                   step = NULL,
                   since = NULL,
                   reason = NULL
            "#,
        )
        .bind(id.0)
        .bind(seconds(now))
        .bind(verdict == Verdict::NotOwners)
        .execute(&mut *change)
        .await?;
        Ok(change.commit().await?)
    }

    /// Has an account judged, or not.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn enable_brake(&self, name: &str, enabled: bool) -> Result<(), AccountError> {
        let done = sqlx::query(
            r#"
            INSERT INTO brakes (account_id, enabled)
            SELECT account_id, $2
              FROM accounts
             WHERE name = $1
                ON CONFLICT (account_id) DO UPDATE SET enabled = excluded.enabled
            "#,
        )
        .bind(name)
        .bind(i64::from(enabled))
        .execute(self.writer())
        .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// Whether an account first signed in from somewhere since `since`, and from elsewhere before.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn is_elsewhere(
        &self,
        account: AccountId,
        since: SystemTime,
    ) -> Result<bool, AccountError> {
        let (new, old): (i64, i64) = sqlx::query_as(
            r#"
            SELECT count(*) FILTER (WHERE first_good_at >= $2),
                   count(*) FILTER (WHERE first_good_at IS NULL OR first_good_at < $2)
              FROM known_networks
             WHERE account_id = $1
            "#,
        )
        .bind(account.0)
        .bind(seconds(since))
        .fetch_one(self.reader())
        .await?;
        Ok(new > 0 && old > 0)
    }
}
