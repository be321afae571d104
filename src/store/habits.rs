//! SQL of what an account's mail does beside its rights.

use std::time::Duration;

use super::{
    Store,
    accounts::{AccountError, id_and_address},
};
use crate::{envelope::AccountId, smtp::Priority};

/// What an account's mail does beside its rights; by default nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Habits {
    /// It waits so long that it can be taken back.
    pub undo: Duration,
    /// What it may not send as is replaced by its own address.
    pub forces_from: bool,
    /// How urgent it is at most (RFC 6710 §4.1).
    pub priority: Priority,
    /// A copy of it is filed among what the account sent.
    pub files_copies: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Habit {
    /// Seconds, up to 120.
    Undo(u32),
    /// Whether.
    ForcesFrom(bool),
    /// How urgent.
    Priority(Priority),
    /// Whether.
    FilesCopies(bool),
}

impl Store {
    /// What is set for an account.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn habits(&self, account: AccountId) -> Result<Habits, AccountError> {
        let row: Option<(i64, bool, i64, bool)> = sqlx::query_as(
            "SELECT undo, forces_from, priority, files_copies FROM habits WHERE account_id = $1",
        )
        .bind(account.0)
        .fetch_optional(self.reader())
        .await?;
        let Some((undo, forces_from, priority, files_copies)) = row else {
            return Ok(Habits::default());
        };
        Ok(Habits {
            undo: Duration::from_secs(u64::try_from(undo).unwrap_or(0)),
            forces_from,
            priority: Priority::new(priority).unwrap_or_default(),
            files_copies,
        })
    }

    /// Sets one of them.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_habit(&self, name: &str, habit: Habit) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        sqlx::query("INSERT INTO habits (account_id) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(account.0)
            .execute(&mut *change)
            .await?;
        let (statement, value) = match habit {
            Habit::Undo(seconds) => (
                "UPDATE habits SET undo = $2 WHERE account_id = $1",
                i64::from(seconds),
            ),
            Habit::ForcesFrom(on) => (
                "UPDATE habits SET forces_from = $2 WHERE account_id = $1",
                i64::from(on),
            ),
            Habit::FilesCopies(on) => (
                "UPDATE habits SET files_copies = $2 WHERE account_id = $1",
                i64::from(on),
            ),
            Habit::Priority(most) => (
                "UPDATE habits SET priority = $2 WHERE account_id = $1",
                i64::from(most.number()),
            ),
        };
        sqlx::query(statement)
            .bind(account.0)
            .bind(value)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }
}
