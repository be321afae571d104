//! SQL of the keys by which mail is signed.

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretSlice};

use super::{
    Store, StoreError,
    accounts::{AccountError, seconds, taken, time},
};
use crate::smtp::Domain;

/// Keys of a domain that sign at most: each costs every message a signature.
pub const ACTIVE_MOST: u32 = 6;

/// How a key signs (RFC 8301, RFC 8463).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// rsa-sha256.
    Rsa,
    /// ed25519-sha256.
    Ed25519,
}

impl Algorithm {
    /// The word in records (`k=`), commands and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let all = [Algorithm::Rsa, Algorithm::Ed25519];
        all.into_iter().find(|it| it.as_str() == word)
    }
}

/// A key to be added.
#[derive(Debug)]
pub struct NewKey {
    /// Lower case.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// DER.
    pub private_key: SecretSlice<u8>,
    /// As it stands in the record.
    pub public_key: Vec<u8>,
}

/// A key as stored, without its private half.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// Whose mail it signs; lower case, ASCII.
    pub domain: String,
    /// Its name under `_domainkey`.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// As it stands in the record.
    pub public_key: Vec<u8>,
    /// When it was added.
    pub created_at: SystemTime,
    /// When it ceased to sign, where it did.
    pub retired_at: Option<SystemTime>,
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    /// Whose mail it signs.
    pub domain: String,
    /// Its name under `_domainkey`.
    pub selector: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// DER.
    pub private_key: SecretSlice<u8>,
}

/// Why the keys of a domain were not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// As with accounts: no such domain or key, or there is one already.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The domain has as many as may sign.
    #[error("{0} has {ACTIVE_MOST} keys that sign; retire one first")]
    TooMany(String),
    /// It signs nothing any more.
    #[error("key {selector} of {domain} is retired already")]
    Retired {
        /// Whose.
        domain: String,
        /// Which.
        selector: String,
    },
}

impl From<sqlx::Error> for KeyError {
    fn from(error: sqlx::Error) -> Self {
        KeyError::Account(error.into())
    }
}

impl Store {
    /// Adds keys to a domain, all or none; they sign from now on.
    ///
    /// # Errors
    /// [`AccountError::UnknownDomain`], [`AccountError::AlreadyExists`] where a selector is or was
    /// in use, [`KeyError::TooMany`].
    pub async fn add_dkim_keys(
        &self,
        domain: &Domain,
        keys: &[NewKey],
        now: SystemTime,
    ) -> Result<(), KeyError> {
        let name = domain.canonical();
        let mut change = self.change().await?;
        let row: Option<(i64,)> = sqlx::query_as("SELECT domain_id FROM domains WHERE name = $1")
            .bind(&name)
            .fetch_optional(&mut *change)
            .await?;
        let Some((id,)) = row else {
            return Err(AccountError::UnknownDomain(name).into());
        };
        for key in keys {
            sqlx::query(
                r#"
                INSERT INTO dkim_keys
                       (domain_id, selector, algorithm, private_key, public_key, created_at)
                VALUES ($1, $2, $3, $4, $5, $6)
                "#,
            )
            .bind(id)
            .bind(&key.selector)
            .bind(key.algorithm.as_str())
            .bind(key.private_key.expose_secret())
            .bind(&key.public_key)
            .bind(seconds(now))
            .execute(&mut *change)
            .await
            .map_err(|error| taken(error, &format!("key {} of {name}", key.selector)))?;
        }
        let (active,): (i64,) = sqlx::query_as(
            "SELECT count(*) FROM dkim_keys WHERE domain_id = $1 AND retired_at IS NULL",
        )
        .bind(id)
        .fetch_one(&mut *change)
        .await?;
        if active > i64::from(ACTIVE_MOST) {
            return Err(KeyError::TooMany(name));
        }
        Ok(change.commit().await?)
    }

    /// The keys of a domain, or of all; by domain, those that sign first, the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn dkim_keys(&self, domain: Option<&Domain>) -> Result<Vec<StoredKey>, StoreError> {
        type Row = (String, String, String, Vec<u8>, i64, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(
            r#"
            SELECT name, selector, algorithm, public_key, dkim_keys.created_at, retired_at
              FROM dkim_keys
              JOIN domains USING (domain_id)
             WHERE $1 IS NULL OR name = $1
             ORDER BY name, retired_at IS NOT NULL, dkim_keys.created_at DESC, selector
            "#,
        )
        .bind(domain.map(Domain::canonical))
        .fetch_all(self.reader())
        .await?;
        let keys = rows.into_iter().map(|row| {
            let (domain, selector, word, public_key, created_at, retired_at) = row;
            Ok(StoredKey {
                algorithm: algorithm(&word)?,
                domain,
                selector,
                public_key,
                created_at: time(created_at),
                retired_at: retired_at.map(time),
            })
        });
        keys.collect()
    }

    /// Every key that signs.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn dkim_signing_keys(&self) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<(String, String, String, Vec<u8>)> = sqlx::query_as(
            r#"
            SELECT name, selector, algorithm, private_key
              FROM dkim_keys
              JOIN domains USING (domain_id)
             WHERE retired_at IS NULL
             ORDER BY name, algorithm DESC, selector
            "#,
        )
        .fetch_all(self.reader())
        .await?;
        let keys = rows.into_iter().map(|(domain, selector, word, key)| {
            Ok(SigningKey {
                domain,
                selector,
                algorithm: algorithm(&word)?,
                private_key: key.into(),
            })
        });
        keys.collect()
    }

    /// Lets a key sign no longer and forgets its private half.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`KeyError::Retired`].
    pub async fn retire_dkim_key(
        &self,
        domain: &Domain,
        selector: &str,
        now: SystemTime,
    ) -> Result<(), KeyError> {
        let name = domain.canonical();
        let mut change = self.change().await?;
        let row: Option<(i64, Option<i64>)> = sqlx::query_as(
            r#"
            SELECT domain_id, retired_at
              FROM dkim_keys
              JOIN domains USING (domain_id)
             WHERE name = $1 AND selector = $2
            "#,
        )
        .bind(&name)
        .bind(selector)
        .fetch_optional(&mut *change)
        .await?;
        let selector = selector.to_owned();
        let id = match row {
            None => {
                return Err(AccountError::NotFound(format!("key {selector} of {name}")).into());
            }
            Some((_, Some(_))) => {
                return Err(KeyError::Retired {
                    domain: name,
                    selector,
                });
            }
            Some((id, None)) => id,
        };
        sqlx::query(
            r#"
            UPDATE dkim_keys
               SET private_key = NULL, retired_at = $3
             WHERE domain_id = $1 AND selector = $2
            "#,
        )
        .bind(id)
        .bind(&selector)
        .bind(seconds(now))
        .execute(&mut *change)
        .await?;
        Ok(change.commit().await?)
    }
}

fn algorithm(word: &str) -> Result<Algorithm, StoreError> {
    let unknown = || StoreError::Database(format!("stored key of unknown algorithm {word:?}"));
    Algorithm::parse(word).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(selector: &str) -> NewKey {
        NewKey {
            selector: selector.into(),
            algorithm: Algorithm::Ed25519,
            private_key: vec![1, 2, 3].into(),
            public_key: vec![4, 5],
        }
    }

    #[tokio::test]
    async fn keys_sign_until_they_are_retired_and_selectors_are_used_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("db")).await.unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let ours = Domain::parse("Ours.example").unwrap();
        let unknown = store.add_dkim_keys(&ours, &[key("a")], at(1)).await;
        assert!(matches!(
            unknown,
            Err(KeyError::Account(AccountError::UnknownDomain(_)))
        ));
        store.add_domain(&ours, at(1)).await.unwrap();
        let both = [key("a"), key("b")];
        store.add_dkim_keys(&ours, &both, at(2)).await.unwrap();
        // All or none.
        let again = store
            .add_dkim_keys(&ours, &[key("c"), key("a")], at(3))
            .await;
        assert!(matches!(
            again,
            Err(KeyError::Account(AccountError::AlreadyExists(_)))
        ));
        let signing = store.dkim_signing_keys().await.unwrap();
        let selectors: Vec<_> = signing.iter().map(|key| key.selector.as_str()).collect();
        assert_eq!(selectors, ["a", "b"]);
        assert_eq!(signing[0].private_key.expose_secret(), [1, 2, 3]);

        store.retire_dkim_key(&ours, "a", at(4)).await.unwrap();
        let twice = store.retire_dkim_key(&ours, "a", at(5)).await;
        assert!(matches!(twice, Err(KeyError::Retired { .. })));
        let none = store.retire_dkim_key(&ours, "x", at(5)).await;
        assert!(matches!(
            none,
            Err(KeyError::Account(AccountError::NotFound(_)))
        ));
        assert_eq!(store.dkim_signing_keys().await.unwrap().len(), 1);
        let listed = store.dkim_keys(Some(&ours)).await.unwrap();
        assert_eq!(listed[1].selector, "a");
        assert_eq!(listed[1].retired_at, Some(at(4)));
        assert_eq!(store.dkim_keys(None).await.unwrap(), listed);
        let reused = store.add_dkim_keys(&ours, &[key("a")], at(6)).await;
        assert!(reused.is_err());

        let many: Vec<_> = (0..ACTIVE_MOST).map(|n| key(&format!("m{n}"))).collect();
        let many = store.add_dkim_keys(&ours, &many, at(7)).await;
        assert!(matches!(many, Err(KeyError::TooMany(_))));
        store.remove_domain(&ours).await.unwrap();
        assert_eq!(store.dkim_keys(None).await.unwrap(), []);
        store.close().await;
    }
}
