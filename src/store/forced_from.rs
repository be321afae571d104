//! SQL of the accounts whose mail always speaks in their own name.

use super::{
    Store,
    accounts::{AccountError, id_and_address},
};
use crate::envelope::AccountId;

impl Store {
    /// Whether addresses that an account may not send as are replaced by its own.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn forces_from(&self, account: AccountId) -> Result<bool, AccountError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM forced_from WHERE account_id = $1")
                .bind(account.0)
                .fetch_optional(self.reader())
                .await?;
        Ok(found.is_some())
    }

    /// Sets that.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn force_from(&self, name: &str, on: bool) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        let statement = match on {
            true => "INSERT INTO forced_from (account_id) VALUES ($1) ON CONFLICT DO NOTHING",
            false => "DELETE FROM forced_from WHERE account_id = $1",
        };
        sqlx::query(statement)
            .bind(account.0)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }
}
