//! SQL of what accounts sign in with beside the hash of their password, and of our own secrets.

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{
    Store,
    accounts::{AccountError, seconds, touched_one},
};
use crate::sasl::ScramKeys;

/// What proves an account's passwords (RFC 5802 §3).
#[derive(Clone, Debug)]
pub struct ScramCredential {
    /// Salt of every key of the account.
    pub salt: Box<[u8]>,
    /// Iteration count of every key of the account.
    pub iterations: u32,
    /// Keys of the password; `None` where it was set while none were wanted.
    pub keys: Option<ScramKeys>,
}

impl ScramCredential {
    /// From the columns; `None` where they hold no salt.
    pub(super) fn read(
        salt: Option<Vec<u8>>,
        iterations: Option<i64>,
        stored: Option<Vec<u8>>,
        server: Option<Vec<u8>>,
    ) -> Option<Self> {
        let keys = stored.zip(server).and_then(|(stored, server)| {
            Some(ScramKeys::new(
                stored.try_into().ok()?,
                server.try_into().ok()?,
            ))
        });
        Some(ScramCredential {
            salt: salt?.into(),
            iterations: u32::try_from(iterations?).ok()?,
            keys,
        })
    }

    pub(super) fn columns(credential: Option<&Self>) -> Columns<'_> {
        let keys = credential.and_then(|it| it.keys.as_ref());
        Columns {
            salt: credential.map(|it| &*it.salt),
            iterations: credential.map(|it| i64::from(it.iterations)),
            stored: keys.map(|keys| &keys.stored_key()[..]),
            server: keys.map(|keys| &keys.server_key()[..]),
        }
    }
}

pub(super) struct Columns<'a> {
    pub salt: Option<&'a [u8]>,
    pub iterations: Option<i64>,
    pub stored: Option<&'a [u8]>,
    pub server: Option<&'a [u8]>,
}

impl Store {
    /// Sets an account's password: its hash and what proves it, or nothing that does, at once.
    ///
    /// The salt of an account with app passwords stays, and keys made with another one are not kept.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_password(
        &self,
        name: &str,
        hash: &SecretString,
        scram: Option<&ScramCredential>,
        now: SystemTime,
    ) -> Result<(), AccountError> {
        let scram = ScramCredential::columns(scram);
        let done = sqlx::query(
            r#"
            UPDATE accounts
               SET password_hash = $2,
                   password_changed_at = $3,
                   scram_salt = CASE WHEN is_shared THEN scram_salt ELSE $4 END,
                   scram_iterations = CASE WHEN is_shared THEN scram_iterations ELSE $5 END,
                   scram_stored_key = CASE WHEN is_fit THEN $6 END,
                   scram_server_key = CASE WHEN is_fit THEN $7 END
              FROM (SELECT account_id AS id,
                           is_shared,
                           NOT is_shared OR (scram_salt IS NOT DISTINCT FROM $4
                                AND scram_iterations IS NOT DISTINCT FROM $5) AS is_fit
                      FROM (SELECT *,
                                   EXISTS (SELECT 1
                                             FROM app_passwords
                                            WHERE app_passwords.account_id = accounts.account_id)
                                   AS is_shared
                              FROM accounts)
                     WHERE name = $1) AS found
             WHERE account_id = found.id
            "#,
        )
        .bind(name)
        .bind(hash.expose_secret())
        .bind(seconds(now))
        .bind(scram.salt)
        .bind(scram.iterations)
        .bind(scram.stored)
        .bind(scram.server)
        .execute(self.writer())
        .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// The secret of this name: the one that is there, or else `fresh`, which is kept.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn secret(
        &self,
        name: &str,
        fresh: Zeroizing<[u8; 32]>,
    ) -> Result<Zeroizing<[u8; 32]>, AccountError> {
        // Nothing is written where there is one: sign-ins go on while the disk is full.
        if let Some(secret) = self.stored_secret(name).await? {
            return Ok(secret);
        }
        sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(&fresh[..])
            .execute(self.writer())
            .await?;
        let secret = self.stored_secret(name).await?;
        secret.ok_or_else(|| AccountError::NotFound(format!("secret {name}")))
    }

    async fn stored_secret(&self, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, AccountError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM secrets WHERE name = $1")
            .bind(name)
            .fetch_optional(self.reader())
            .await?;
        Ok(row.map(|(value,)| {
            let mut secret = Zeroizing::new([0; 32]);
            // The schema takes no other length.
            secret.copy_from_slice(&Zeroizing::new(value));
            secret
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        smtp::{Domain, Mailbox},
        store::accounts::NewAccount,
    };

    #[tokio::test]
    async fn a_new_password_brings_its_keys_or_takes_the_old_ones_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("test.sqlite"))
            .await
            .unwrap();
        let (now, name) = (SystemTime::now(), "alice@example.org");
        let domain = Domain::parse("example.org").unwrap();
        store.add_domain(&domain, now).await.unwrap();
        let credential = |octet| ScramCredential {
            salt: Box::new([octet; 16]),
            iterations: 4_096,
            keys: Some(ScramKeys::new([octet; 32], [octet + 1; 32])),
        };
        let account = NewAccount {
            name,
            password_hash: &"$one".into(),
            scram: Some(&credential(1)),
            address: &Mailbox::parse(name).unwrap(),
        };
        store.add_account(account, now).await.unwrap();
        let read = async || {
            let account = store.account_by_name(name).await.unwrap().unwrap();
            account.scram.map(|it| {
                let keys = it.keys.unwrap();
                (it.salt[0], keys.stored_key()[0], keys.server_key()[0])
            })
        };
        assert_eq!(read().await, Some((1, 1, 2)));
        let next = credential(5);
        let hash = "$two".into();
        store
            .set_password(name, &hash, Some(&next), now)
            .await
            .unwrap();
        assert_eq!(read().await, Some((5, 5, 6)));
        store.set_password(name, &hash, None, now).await.unwrap();
        assert_eq!(read().await, None);
    }

    #[tokio::test]
    async fn a_secret_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("test.sqlite"))
            .await
            .unwrap();
        for (name, fresh, kept) in [("a", 1, 1), ("a", 2, 1), ("b", 3, 3)] {
            let secret = store
                .secret(name, Zeroizing::new([fresh; 32]))
                .await
                .unwrap();
            assert_eq!(*secret, [kept; 32]);
        }
    }
}
