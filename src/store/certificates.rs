//! SQL of the certificates by which clients sign in.

use std::time::SystemTime;

use super::{
    Store,
    accounts::{AccountError, id_and_address, seconds, taken, time, touched_one},
};

/// A certificate that opens an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCertificate {
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
    /// What its owner calls it.
    pub label: String,
    /// When it was added.
    pub created_at: SystemTime,
}

impl Store {
    /// Lets a certificate open an account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::AlreadyExists`] where it opens one already.
    pub async fn add_certificate(
        &self,
        name: &str,
        fingerprint: &[u8; 32],
        label: &str,
        now: SystemTime,
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        sqlx::query(
            r#"
            INSERT INTO certificates (fingerprint, account_id, label, created_at)
            VALUES ($1, $2, $3, $4)
            "#,
        )
        .bind(&fingerprint[..])
        .bind(account.0)
        .bind(label)
        .bind(seconds(now))
        .execute(&mut *change)
        .await
        .map_err(|error| taken(error, "a certificate with this fingerprint"))?;
        change.commit().await?;
        Ok(())
    }

    /// The certificates that open an account, by label.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Store`].
    pub async fn certificates(&self, name: &str) -> Result<Vec<StoredCertificate>, AccountError> {
        let rows: Vec<(Vec<u8>, String, i64)> = sqlx::query_as(
            r#"
            SELECT fingerprint, label, certificates.created_at
              FROM certificates JOIN accounts USING (account_id)
             WHERE name = $1
             ORDER BY label, fingerprint
            "#,
        )
        .bind(name)
        .fetch_all(self.reader())
        .await?;
        let stored = rows
            .into_iter()
            .filter_map(|(fingerprint, label, created_at)| {
                Some(StoredCertificate {
                    // The table holds no other length.
                    fingerprint: fingerprint.try_into().ok()?,
                    label,
                    created_at: time(created_at),
                })
            });
        Ok(stored.collect())
    }

    /// Takes a certificate away from an account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn remove_certificate(
        &self,
        name: &str,
        fingerprint: &[u8; 32],
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        let done =
            sqlx::query("DELETE FROM certificates WHERE fingerprint = $1 AND account_id = $2")
                .bind(&fingerprint[..])
                .bind(account.0)
                .execute(&mut *change)
                .await?;
        touched_one(done.rows_affected(), || {
            format!("certificate of {name} with this fingerprint")
        })?;
        change.commit().await?;
        Ok(())
    }

    /// The login name of the account that a certificate opens.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn name_by_certificate(
        &self,
        fingerprint: &[u8; 32],
    ) -> Result<Option<String>, AccountError> {
        let row: Option<(String,)> = sqlx::query_as(
            r#"
            SELECT name
              FROM certificates JOIN accounts USING (account_id)
             WHERE fingerprint = $1
            "#,
        )
        .bind(&fingerprint[..])
        .fetch_optional(self.reader())
        .await?;
        Ok(row.map(|(name,)| name))
    }
}
