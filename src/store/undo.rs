//! SQL of the time within which accounts may take back what they sent.

use std::time::Duration;

use super::{
    Store,
    accounts::{AccountError, id_and_address},
};
use crate::envelope::AccountId;

impl Store {
    /// The window of an account; zero where it has none.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn undo_window(&self, account: AccountId) -> Result<Duration, AccountError> {
        let seconds: Option<i64> =
            sqlx::query_scalar("SELECT seconds FROM undo_windows WHERE account_id = $1")
                .bind(account.0)
                .fetch_optional(self.reader())
                .await?;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Duration::from_secs(seconds.unwrap_or(0)))
    }

    /// Sets it, in seconds up to 120; zero takes it away.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_undo_window(&self, name: &str, seconds: u32) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        let statement = match seconds {
            0 => "DELETE FROM undo_windows WHERE account_id = $1",
            _ => {
                r#"
                INSERT INTO undo_windows (account_id, seconds)
                VALUES ($1, $2)
                    ON CONFLICT (account_id) DO UPDATE
                   SET seconds = excluded.seconds
                "#
            }
        };
        let mut query = sqlx::query(statement).bind(account.0);
        if seconds > 0 {
            query = query.bind(i64::from(seconds));
        }
        query.execute(&mut *change).await?;
        change.commit().await?;
        Ok(())
    }
}
