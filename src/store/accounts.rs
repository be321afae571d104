//! SQL of domains, accounts, addresses and known networks.
//!
//! Knows nothing of passwords beyond the text of their hash, and folds no name: keys come in as
//! they are compared. Every change is one short transaction, begun as a writer's, so that it can
//! wait for another writer but never fails half-way for one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::{Store, StoreError, credentials::ScramCredential};
use crate::{
    envelope::{AccountId, AccountProtection, AccountTls, Level},
    policy::{sending::AddressPattern, throttle::Network},
    smtp::{Domain, Mailbox},
};

/// Why an account or a domain was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no account, domain or address of this name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There is one already.
    #[error("{0} exists already")]
    AlreadyExists(String),
    /// Accounts have addresses in the domain.
    #[error("domain {domain} is in use by {accounts} account(s)")]
    InUse {
        /// The domain.
        domain: String,
        /// How many accounts.
        accounts: u64,
    },
    /// The address's domain is none that we send for.
    #[error("domain {0} has not been added")]
    UnknownDomain(String),
    /// An account keeps its own address as long as it lives.
    #[error("{0} is the account's own address")]
    OwnAddress(String),
    /// Somebody else changed it meanwhile.
    #[error("{0} was changed meanwhile, try again")]
    Changed(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        AccountError::Store(error.into())
    }
}

/// In the place of a hash: the account has no password of ours.
pub const NO_PASSWORD: &str = "$directory";

/// An account to be added.
#[derive(Debug)]
pub struct NewAccount<'a> {
    /// Login name, prepared and folded.
    pub name: &'a str,
    /// PHC string.
    pub password_hash: &'a SecretString,
    /// What proves the password, where that is wanted.
    pub scram: Option<&'a ScramCredential>,
    /// Own address; the account may send as it from the start.
    pub address: &'a Mailbox,
}

/// An account as stored.
#[derive(Clone, Debug)]
pub struct StoredAccount {
    /// Key; never used again for another account.
    pub id: AccountId,
    /// Login name, prepared and folded.
    pub name: String,
    /// PHC string; wrapped because a leaked hash can be guessed at.
    pub password_hash: SecretString,
    /// What proves its passwords, where something does.
    pub scram: Option<ScramCredential>,
    /// Whether its own password is refused.
    pub app_passwords_only: bool,
    /// Whether it may sign in and receive mail.
    pub enabled: bool,
    /// Own address.
    pub address: Mailbox,
    /// All that it may send as, its own address included, ordered by key.
    pub patterns: Vec<AddressPattern>,
    /// What it may send as until some time, ordered by key; what has ended too.
    pub grants: Vec<(AddressPattern, SystemTime)>,
    /// When it was added.
    pub created_at: SystemTime,
    /// When its password was last set by a person.
    pub password_changed_at: SystemTime,
    /// What holds for all its mail.
    pub protection: AccountProtection,
}

type Row = (
    i64,
    String,
    String,
    i64,
    String,
    i64,
    i64,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
);

impl Store {
    /// Adds a domain.
    ///
    /// # Errors
    /// [`AccountError::AlreadyExists`].
    pub async fn add_domain(&self, domain: &Domain, now: SystemTime) -> Result<(), AccountError> {
        let name = domain.canonical();
        sqlx::query("INSERT INTO domains (name, created_at) VALUES ($1, $2)")
            .bind(&name)
            .bind(seconds(now))
            .execute(self.writer())
            .await
            .map_err(|error| taken(error, &format!("domain {name}")))?;
        Ok(())
    }

    /// All domains in canonical form, in alphabetical order.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn domains(&self) -> Result<Vec<String>, AccountError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM domains ORDER BY name")
            .fetch_all(self.reader())
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Removes a domain that no account has an address in.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::InUse`].
    pub async fn remove_domain(&self, domain: &Domain) -> Result<(), AccountError> {
        let name = domain.canonical();
        let mut change = self.change().await?;
        let (accounts,): (i64,) = sqlx::query_as(
            r#"
            SELECT COUNT(DISTINCT account_id)
              FROM account_addresses
              JOIN domains USING (domain_id)
             WHERE name = $1
            "#,
        )
        .bind(&name)
        .fetch_one(&mut *change)
        .await?;
        if accounts > 0 {
            return Err(AccountError::InUse {
                domain: name,
                accounts: accounts.unsigned_abs(),
            });
        }
        let done = sqlx::query("DELETE FROM domains WHERE name = $1")
            .bind(&name)
            .execute(&mut *change)
            .await?;
        touched_one(done.rows_affected(), || format!("domain {name}"))?;
        Ok(change.commit().await?)
    }

    /// Adds an enabled account with its own address.
    ///
    /// # Errors
    /// [`AccountError::AlreadyExists`], [`AccountError::UnknownDomain`].
    pub async fn add_account(
        &self,
        account: NewAccount<'_>,
        now: SystemTime,
    ) -> Result<AccountId, AccountError> {
        let scram = ScramCredential::columns(account.scram);
        let mut change = self.change().await?;
        let (id,): (i64,) = sqlx::query_as(
            r#"
            INSERT INTO accounts
                   (name, password_hash, address, created_at, password_changed_at,
                    scram_salt, scram_iterations, scram_stored_key, scram_server_key)
            VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)
            RETURNING account_id
            "#,
        )
        .bind(account.name)
        .bind(account.password_hash.expose_secret())
        .bind(account.address.to_string())
        .bind(seconds(now))
        .bind(scram.salt)
        .bind(scram.iterations)
        .bind(scram.stored)
        .bind(scram.server)
        .fetch_one(&mut *change)
        .await
        .map_err(|error| taken(error, &format!("account {}", account.name)))?;
        let own = AddressPattern::Exact(account.address.clone());
        insert_address(&mut change, AccountId(id), &own, None).await?;
        change.commit().await?;
        Ok(AccountId(id))
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn accounts(&self) -> Result<Vec<StoredAccount>, AccountError> {
        let mut reader = self.reader().begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            r#"
            SELECT account_id, name, password_hash, enabled, address, created_at,
                   password_changed_at, level, tls, scram_salt, scram_iterations,
                   scram_stored_key, scram_server_key, app_passwords_only
              FROM accounts
             ORDER BY name
            "#,
        )
        .fetch_all(&mut *reader)
        .await?;
        let mut accounts = Vec::with_capacity(rows.len());
        for row in rows {
            accounts.push(whole(&mut reader, row).await?);
        }
        Ok(accounts)
    }

    /// The account of this login name, prepared and folded.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn account_by_name(&self, name: &str) -> Result<Option<StoredAccount>, AccountError> {
        // One snapshot for the account and its addresses.
        let mut reader = self.reader().begin().await?;
        let row: Option<Row> = sqlx::query_as(
            r#"
            SELECT account_id, name, password_hash, enabled, address, created_at,
                   password_changed_at, level, tls, scram_salt, scram_iterations,
                   scram_stored_key, scram_server_key, app_passwords_only
              FROM accounts
             WHERE name = $1
            "#,
        )
        .bind(name)
        .fetch_optional(&mut *reader)
        .await?;
        match row {
            Some(row) => Ok(Some(whole(&mut reader, row).await?)),
            None => Ok(None),
        }
    }

    /// The account of this key.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn account_by_id(
        &self,
        id: AccountId,
    ) -> Result<Option<StoredAccount>, AccountError> {
        let mut reader = self.reader().begin().await?;
        let row: Option<Row> = sqlx::query_as(
            r#"
            SELECT account_id, name, password_hash, enabled, address, created_at,
                   password_changed_at, level, tls, scram_salt, scram_iterations,
                   scram_stored_key, scram_server_key, app_passwords_only
              FROM accounts
             WHERE account_id = $1
            "#,
        )
        .bind(id.0)
        .fetch_optional(&mut *reader)
        .await?;
        match row {
            Some(row) => Ok(Some(whole(&mut reader, row).await?)),
            None => Ok(None),
        }
    }

    /// Replaces the hash of an unchanged password by one with other parameters.
    ///
    /// Gives whether it did: not where the password was changed meanwhile.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn upgrade_hash(
        &self,
        id: AccountId,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<bool, AccountError> {
        let done = sqlx::query(
            r#"
            UPDATE accounts
               SET password_hash = $3
             WHERE account_id = $1
               AND password_hash = $2     -- else the password is a new one
            "#,
        )
        .bind(id.0)
        .bind(old.expose_secret())
        .bind(new.expose_secret())
        .execute(self.writer())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Sets what holds for all mail of an account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_protection(
        &self,
        name: &str,
        protection: AccountProtection,
    ) -> Result<(), AccountError> {
        let done = sqlx::query("UPDATE accounts SET level = $2, tls = $3 WHERE name = $1")
            .bind(name)
            .bind(protection.level.map(Level::as_str))
            .bind(match protection.tls {
                AccountTls::AsAsked => None,
                tls => Some(tls.as_str()),
            })
            .execute(self.writer())
            .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// Lets an account sign in, or stops it.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<(), AccountError> {
        let done = sqlx::query("UPDATE accounts SET enabled = $2 WHERE name = $1")
            .bind(name)
            .bind(i64::from(enabled))
            .execute(self.writer())
            .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// Removes an account with its addresses and known networks.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn remove_account(&self, name: &str) -> Result<(), AccountError> {
        let done = sqlx::query("DELETE FROM accounts WHERE name = $1")
            .bind(name)
            .execute(self.writer())
            .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// Lets an account send as what `pattern` matches.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::AlreadyExists`], [`AccountError::UnknownDomain`].
    pub async fn add_address(
        &self,
        name: &str,
        pattern: &AddressPattern,
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (id, _) = id_and_address(&mut change, name).await?;
        insert_address(&mut change, id, pattern, None).await?;
        Ok(change.commit().await?)
    }

    /// The same until some time; a grant that is there already ends then.
    ///
    /// # Errors
    /// As [`Store::add_address`]; what the account may send as for ever is not shortened.
    pub async fn grant_address(
        &self,
        name: &str,
        pattern: &AddressPattern,
        until: SystemTime,
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (id, _) = id_and_address(&mut change, name).await?;
        insert_address(&mut change, id, pattern, Some(until)).await?;
        Ok(change.commit().await?)
    }

    /// Takes an address away; the account's own stays.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::OwnAddress`].
    pub async fn remove_address(
        &self,
        name: &str,
        pattern: &AddressPattern,
    ) -> Result<(), AccountError> {
        let (kind, key) = (kind(pattern), pattern.key());
        let mut change = self.change().await?;
        let (id, own) = id_and_address(&mut change, name).await?;
        if matches!(pattern, AddressPattern::Exact(_)) && own.folded_key() == key {
            return Err(AccountError::OwnAddress(key));
        }
        let done = sqlx::query(
            r#"
            DELETE FROM account_addresses
             WHERE account_id = $1
               AND kind = $2
               AND folded = $3
            "#,
        )
        .bind(id.0)
        .bind(kind)
        .bind(&key)
        .execute(&mut *change)
        .await?;
        touched_one(done.rows_affected(), || format!("address {key}"))?;
        Ok(change.commit().await?)
    }

    /// Whether any account, a disabled one too, has this address as its own or may send as it by
    /// name. `folded` is its [`Mailbox::folded_key`].
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn is_address_taken(&self, folded: &str) -> Result<bool, AccountError> {
        let taken: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM account_addresses WHERE folded = $1 AND kind = 'exact')",
        )
        .bind(folded)
        .fetch_one(self.reader())
        .await?;
        Ok(taken)
    }

    /// Whether an enabled account has this mailbox as an exact address, or it is the postmaster of
    /// one of our domains (RFC 5321 §4.5.1). `folded` is its [`Mailbox::folded_key`].
    ///
    /// A whole domain that an account may send as makes no mailboxes: else each typing mistake
    /// would be one. Neither does an address that it may send as for a time.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn has_mailbox(&self, folded: &str) -> Result<bool, AccountError> {
        let (found,): (i64,) = sqlx::query_as(
            r#"
            SELECT EXISTS (
                       SELECT 1
                         FROM account_addresses
                         JOIN accounts USING (account_id)
                        WHERE folded = $1
                          AND kind = 'exact'
                          AND expires_at IS NULL
                          AND enabled = 1)
                OR EXISTS (
                       SELECT 1
                         FROM domains
                        WHERE 'postmaster@' || name = $1)
            "#,
        )
        .bind(folded)
        .fetch_one(self.reader())
        .await?;
        Ok(found != 0)
    }

    /// Notes that an account signed in well from `network`; the latest time stays.
    ///
    /// An account that is gone by now is no error.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn record_known_network(
        &self,
        id: AccountId,
        network: Network,
        now: SystemTime,
    ) -> Result<(), AccountError> {
        sqlx::query(
            r#"
            INSERT INTO known_networks (account_id, network, last_good_at, first_good_at)
            SELECT account_id, $2, $3, $3
              FROM accounts
             WHERE account_id = $1
            ON CONFLICT (account_id, network)
            DO UPDATE SET last_good_at = max(last_good_at, excluded.last_good_at)
            "#,
        )
        .bind(id.0)
        .bind(network.to_string())
        .bind(seconds(now))
        .execute(self.writer())
        .await?;
        Ok(())
    }

    /// The networks from which an account signed in well since `since`, the latest `most` of them.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn known_networks(
        &self,
        id: AccountId,
        since: SystemTime,
        most: u32,
    ) -> Result<Vec<(Network, SystemTime)>, AccountError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            r#"
            SELECT network, last_good_at
              FROM known_networks
             WHERE account_id = $1
               AND last_good_at >= $2
             ORDER BY last_good_at DESC
             LIMIT $3
            "#,
        )
        .bind(id.0)
        .bind(seconds(since))
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await?;
        // A text that is no network helps nobody in; it goes when it is old enough.
        Ok(rows
            .into_iter()
            .filter_map(|(network, at)| Some((network.parse().ok()?, time(at))))
            .collect())
    }

    /// Forgets known networks not seen since `before`; gives how many.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn prune_known_networks(&self, before: SystemTime) -> Result<u64, AccountError> {
        let done = sqlx::query("DELETE FROM known_networks WHERE last_good_at < $1")
            .bind(seconds(before))
            .execute(self.writer())
            .await?;
        Ok(done.rows_affected())
    }

    /// Makes everything fail from here on.
    #[cfg(test)]
    pub(crate) async fn cut_off(&self) {
        self.reader().close().await;
        self.writer().close().await;
    }

    /// A change of several steps, begun as a writer's.
    pub(super) async fn change(&self) -> Result<Transaction<'static, Sqlite>, AccountError> {
        Ok(self.writer().begin_with("BEGIN IMMEDIATE").await?)
    }
}

async fn whole(reader: &mut SqliteConnection, row: Row) -> Result<StoredAccount, AccountError> {
    let (
        id,
        name,
        password_hash,
        enabled,
        address,
        created_at,
        password_changed_at,
        level,
        tls,
        salt,
        iterations,
        stored,
        server,
        app_passwords_only,
    ) = row;
    let rows: Vec<(String, String, Option<i64>)> = sqlx::query_as(
        r#"
        SELECT kind, address, expires_at
          FROM account_addresses
         WHERE account_id = $1
         ORDER BY folded, kind
        "#,
    )
    .bind(id)
    .fetch_all(reader)
    .await?;
    let (mut patterns, mut grants) = (Vec::with_capacity(rows.len()), Vec::new());
    for (kind, text, expires_at) in rows {
        let pattern = match kind.as_str() {
            "domain" => AddressPattern::Domain(parsed(&text)?),
            "subdomains" => AddressPattern::Subdomains(parsed(&text)?),
            "tagged" => AddressPattern::Tagged(mailbox(&text)?),
            _ => AddressPattern::Exact(mailbox(&text)?),
        };
        match expires_at {
            None => patterns.push(pattern),
            Some(until) => grants.push((pattern, time(until))),
        }
    }
    Ok(StoredAccount {
        id: AccountId(id),
        name,
        password_hash: password_hash.into(),
        scram: ScramCredential::read(salt, iterations, stored, server),
        app_passwords_only: app_passwords_only != 0,
        enabled: enabled != 0,
        address: mailbox(&address)?,
        patterns,
        grants,
        created_at: time(created_at),
        password_changed_at: time(password_changed_at),
        // The schema takes no other words.
        protection: AccountProtection {
            level: level.as_deref().and_then(Level::parse),
            tls: tls
                .as_deref()
                .and_then(AccountTls::parse)
                .unwrap_or_default(),
        },
    })
}

pub(super) async fn id_and_address(
    change: &mut SqliteConnection,
    name: &str,
) -> Result<(AccountId, Mailbox), AccountError> {
    let row: Option<(i64, String)> =
        sqlx::query_as("SELECT account_id, address FROM accounts WHERE name = $1")
            .bind(name)
            .fetch_optional(change)
            .await?;
    match row {
        Some((id, address)) => Ok((AccountId(id), mailbox(&address)?)),
        None => Err(AccountError::NotFound(format!("account {name}"))),
    }
}

async fn insert_address(
    change: &mut SqliteConnection,
    id: AccountId,
    pattern: &AddressPattern,
    until: Option<SystemTime>,
) -> Result<(), AccountError> {
    let (domain, text) = match pattern {
        AddressPattern::Exact(mailbox) | AddressPattern::Tagged(mailbox) => {
            (mailbox.domain(), mailbox.to_string())
        }
        AddressPattern::Domain(domain) | AddressPattern::Subdomains(domain) => {
            (domain, domain.to_string())
        }
    };
    let done = sqlx::query(
        r#"
        INSERT INTO account_addresses (account_id, kind, folded, address, domain_id, expires_at)
        SELECT $1, $2, $3, $4, domain_id, $6
          FROM domains
         WHERE name = $5
            ON CONFLICT (account_id, kind, folded) DO UPDATE
           SET expires_at = excluded.expires_at
         WHERE expires_at IS NOT NULL
        "#,
    )
    .bind(id.0)
    .bind(kind(pattern))
    .bind(pattern.key())
    .bind(text)
    .bind(domain.canonical())
    .bind(until.map(seconds))
    .execute(&mut *change)
    .await?;
    if done.rows_affected() == 1 {
        return Ok(());
    }
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM domains WHERE name = $1")
        .bind(domain.canonical())
        .fetch_optional(change)
        .await?;
    Err(match known {
        Some(_) => AccountError::AlreadyExists(format!("address {}", pattern.key())),
        None => AccountError::UnknownDomain(domain.canonical()),
    })
}

fn kind(pattern: &AddressPattern) -> &'static str {
    match pattern {
        AddressPattern::Exact(_) => "exact",
        AddressPattern::Tagged(_) => "tagged",
        AddressPattern::Domain(_) => "domain",
        AddressPattern::Subdomains(_) => "subdomains",
    }
}

pub(super) fn touched_one(rows: u64, what: impl FnOnce() -> String) -> Result<(), AccountError> {
    match rows {
        0 => Err(AccountError::NotFound(what())),
        _ => Ok(()),
    }
}

pub(super) fn taken(error: sqlx::Error, what: &str) -> AccountError {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => {
            AccountError::AlreadyExists(what.to_owned())
        }
        _ => error.into(),
    }
}

fn parsed(text: &str) -> Result<Domain, AccountError> {
    Domain::parse(text).map_err(|error| unread(text, error))
}

fn mailbox(text: &str) -> Result<Mailbox, AccountError> {
    Mailbox::parse(text).map_err(|error| unread(text, error))
}

fn unread(text: &str, error: impl std::fmt::Display) -> AccountError {
    StoreError::Database(format!("stored address {text:?}: {error}")).into()
}

pub(super) fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs())
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
