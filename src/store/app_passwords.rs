//! SQL of app passwords: what each is known by, what it is narrowed to, and when it was used.

use std::time::SystemTime;

use sqlx::SqliteConnection;

use super::{
    Store, StoreError,
    accounts::{AccountError, id_and_address, seconds, taken, time, touched_one},
    limits,
};
use crate::{
    envelope::{AccountId, AppPasswordId},
    policy::{allowance::LimitKind, throttle::Network},
    sasl::ScramKeys,
    smtp::{Domain, Mailbox},
};

/// What an app password is narrowed to. An empty list narrows nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Narrowing {
    /// The only addresses it may send as, of those that its account may.
    pub send_as: Vec<Mailbox>,
    /// The only domains it may send to.
    pub to: Vec<Domain>,
    /// The only networks it may be used from.
    pub networks: Vec<Network>,
    /// All its mail goes as with REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// All its mail waits until an operator releases it.
    pub hold: bool,
    /// When it ends.
    pub expires_at: Option<SystemTime>,
    /// Whether copies of its mail are filed; none: as the account has it.
    pub files_copies: Option<bool>,
}

/// An app password to be added.
#[derive(Debug)]
pub struct NewAppPassword<'a> {
    /// What its owner calls it.
    pub label: &'a str,
    /// Keyed hash.
    pub keyed_hash: [u8; 32],
    /// Salt that its keys were made with: the account's, where it has one.
    pub salt: &'a [u8],
    /// Iteration count that its keys were made with: the account's, where it has one.
    pub iterations: u32,
    /// What proves it.
    pub keys: &'a ScramKeys,
    /// What it is narrowed to.
    pub narrowing: &'a Narrowing,
    /// Messages within any day at most.
    pub per_day: Option<u64>,
}

/// An app password as stored.
#[derive(Clone, Debug)]
pub struct StoredAppPassword {
    /// Key; never used again.
    pub id: AppPasswordId,
    /// What its owner calls it.
    pub label: String,
    /// Keyed hash.
    pub keyed_hash: [u8; 32],
    /// What proves it.
    pub keys: ScramKeys,
    /// What it is narrowed to.
    pub narrowing: Narrowing,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it last signed in, and from where.
    pub last_used: Option<(SystemTime, Network)>,
    /// How often it signed in.
    pub uses: u64,
}

/// Sign-ins by one app password that are to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// How many.
    pub count: u32,
    /// The last of them.
    pub at: SystemTime,
    /// From where it came.
    pub from: Network,
}

type Row = (
    i64,
    String,
    Vec<u8>,
    Vec<u8>,
    Vec<u8>,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i64,
    i64,
    Option<bool>,
);

impl Store {
    /// Adds an app password to an account, and gives the account its salt where it has none yet.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::AlreadyExists`] (the label),
    /// [`AccountError::Changed`] where the account has another salt by now.
    pub async fn add_app_password(
        &self,
        name: &str,
        new: NewAppPassword<'_>,
        now: SystemTime,
    ) -> Result<AppPasswordId, AccountError> {
        let mut change = self.change().await?;
        let (account, _) = id_and_address(&mut change, name).await?;
        let done = sqlx::query(
            r#"
            UPDATE accounts
               SET scram_salt = $2, scram_iterations = $3
             WHERE account_id = $1
               AND (scram_salt IS NULL OR (scram_salt = $2 AND scram_iterations = $3))
            "#,
        )
        .bind(account.0)
        .bind(new.salt)
        .bind(i64::from(new.iterations))
        .execute(&mut *change)
        .await?;
        if done.rows_affected() == 0 {
            return Err(AccountError::Changed(format!("account {name}")));
        }
        let (id,): (i64,) = sqlx::query_as(
            r#"
            INSERT INTO app_passwords
                   (account_id, label, keyed_hash, scram_stored_key, scram_server_key,
                    require_tls, created_at, expires_at, hold, files_copies)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
            RETURNING app_password_id
            "#,
        )
        .bind(account.0)
        .bind(new.label)
        .bind(&new.keyed_hash[..])
        .bind(&new.keys.stored_key()[..])
        .bind(&new.keys.server_key()[..])
        .bind(i64::from(new.narrowing.require_tls))
        .bind(seconds(now))
        .bind(new.narrowing.expires_at.map(seconds))
        .bind(i64::from(new.narrowing.hold))
        .bind(new.narrowing.files_copies)
        .fetch_one(&mut *change)
        .await
        .map_err(|error| taken(error, &format!("app password {:?} of {name}", new.label)))?;
        for (kind, value) in narrowed(new.narrowing) {
            sqlx::query(
                r#"
                INSERT INTO app_password_limits (app_password_id, kind, value)
                VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING
                "#,
            )
            .bind(id)
            .bind(kind)
            .bind(value)
            .execute(&mut *change)
            .await?;
        }
        let kind = LimitKind::MessagesDay;
        limits::put(&mut change, "app-password", id, kind, new.per_day).await?;
        change.commit().await?;
        Ok(AppPasswordId(id))
    }

    /// The app passwords of an account, by label; those that have ended too.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn app_passwords(
        &self,
        account: AccountId,
    ) -> Result<Vec<StoredAppPassword>, AccountError> {
        // One snapshot for the passwords and what they are narrowed to.
        let mut reader = self.reader().begin().await?;
        let rows: Vec<Row> = sqlx::query_as(
            r#"
            SELECT app_password_id, label, keyed_hash, scram_stored_key, scram_server_key,
                   require_tls, created_at, expires_at, last_used_at, last_network, uses, hold,
                   files_copies
              FROM app_passwords
             WHERE account_id = $1
             ORDER BY label
            "#,
        )
        .bind(account.0)
        .fetch_all(&mut *reader)
        .await?;
        let mut passwords = Vec::with_capacity(rows.len());
        for row in rows {
            passwords.push(whole(&mut reader, row).await?);
        }
        Ok(passwords)
    }

    /// Takes an app password away.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn remove_app_password(&self, name: &str, label: &str) -> Result<(), AccountError> {
        let done = sqlx::query(
            r#"
            DELETE FROM app_passwords
             WHERE label = $2
               AND account_id = (SELECT account_id FROM accounts WHERE name = $1)
            "#,
        )
        .bind(name)
        .bind(label)
        .execute(self.writer())
        .await?;
        touched_one(done.rows_affected(), || {
            format!("app password {label:?} of {name}")
        })
    }

    /// Has an account refuse its own password, or take it again.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_app_passwords_only(&self, name: &str, only: bool) -> Result<(), AccountError> {
        let done = sqlx::query("UPDATE accounts SET app_passwords_only = $2 WHERE name = $1")
            .bind(name)
            .bind(i64::from(only))
            .execute(self.writer())
            .await?;
        touched_one(done.rows_affected(), || format!("account {name}"))
    }

    /// Writes down that app passwords were used; those that are gone are no error.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn record_uses(
        &self,
        uses: impl IntoIterator<Item = (AppPasswordId, Uses)>,
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        for (id, used) in uses {
            sqlx::query(
                r#"
                UPDATE app_passwords
                   SET uses = uses + $2, last_used_at = $3, last_network = $4
                 WHERE app_password_id = $1
                "#,
            )
            .bind(id.0)
            .bind(i64::from(used.count))
            .bind(seconds(used.at))
            .bind(used.from.to_string())
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }
}

fn narrowed(narrowing: &Narrowing) -> impl Iterator<Item = (&'static str, String)> + '_ {
    let send_as = narrowing
        .send_as
        .iter()
        .map(|it| ("send-as", it.to_string()));
    let to = narrowing.to.iter().map(|it| ("to", it.canonical()));
    let networks = narrowing
        .networks
        .iter()
        .map(|it| ("network", it.to_string()));
    send_as.chain(to).chain(networks)
}

async fn whole(reader: &mut SqliteConnection, row: Row) -> Result<StoredAppPassword, AccountError> {
    let (
        id,
        label,
        keyed_hash,
        stored,
        server,
        require_tls,
        created_at,
        expires_at,
        last_used_at,
        last_network,
        uses,
        hold,
        files_copies,
    ) = row;
    let rows: Vec<(String, String)> = sqlx::query_as(
        r#"
        SELECT kind, value
          FROM app_password_limits
         WHERE app_password_id = $1
         ORDER BY kind, value
        "#,
    )
    .bind(id)
    .fetch_all(reader)
    .await?;
    let mut narrowing = Narrowing {
        require_tls: require_tls != 0,
        hold: hold != 0,
        expires_at: expires_at.map(time),
        files_copies,
        ..Narrowing::default()
    };
    for (kind, value) in rows {
        // What cannot be read narrows to nothing known, so the password is not usable at all.
        match kind.as_str() {
            "send-as" => narrowing
                .send_as
                .push(Mailbox::parse(&value).map_err(|error| unread(&value, error))?),
            "to" => narrowing
                .to
                .push(Domain::parse(&value).map_err(|error| unread(&value, error))?),
            _ => narrowing
                .networks
                .push(value.parse().map_err(|error| unread(&value, error))?),
        }
    }
    let octets = |octets: Vec<u8>| {
        let fixed: Result<[u8; 32], _> = octets.try_into();
        fixed.map_err(|_| unread(&label, "a key of another length than 32"))
    };
    let last_network = last_network.and_then(|network| network.parse().ok());
    Ok(StoredAppPassword {
        id: AppPasswordId(id),
        keyed_hash: octets(keyed_hash)?,
        keys: ScramKeys::new(octets(stored)?, octets(server)?),
        narrowing,
        created_at: time(created_at),
        last_used: last_used_at.map(time).zip(last_network),
        uses: uses.unsigned_abs(),
        label,
    })
}

fn unread(value: &str, error: impl std::fmt::Display) -> AccountError {
    StoreError::Database(format!("stored app password, {value:?}: {error}")).into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{accounts::NewAccount, credentials::ScramCredential};

    const NAME: &str = "alice@example.org";
    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    async fn store() -> (Store, AccountId, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("test.sqlite"))
            .await
            .unwrap();
        let domain = Domain::parse("example.org").unwrap();
        store.add_domain(&domain, NOW).await.unwrap();
        let account = NewAccount {
            name: NAME,
            password_hash: &"$one".into(),
            scram: None,
            address: &Mailbox::parse(NAME).unwrap(),
        };
        let id = store.add_account(account, NOW).await.unwrap();
        (store, id, folder)
    }

    fn keys(octet: u8) -> ScramKeys {
        ScramKeys::new([octet; 32], [octet + 1; 32])
    }

    async fn add(store: &Store, label: &str, salt: u8) -> Result<AppPasswordId, AccountError> {
        let narrowing = Narrowing::default();
        let new = NewAppPassword {
            label,
            keyed_hash: [9; 32],
            salt: &[salt; 16],
            iterations: 4_096,
            keys: &keys(3),
            narrowing: &narrowing,
            per_day: None,
        };
        store.add_app_password(NAME, new, NOW).await
    }

    #[tokio::test]
    async fn an_app_password_is_kept_with_all_that_it_is_narrowed_to() {
        let (store, account, _folder) = store().await;
        let narrowing = Narrowing {
            send_as: vec![Mailbox::parse("scanner@example.org").unwrap()],
            to: vec![Domain::parse("B\u{fc}cher.example").unwrap()],
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            hold: true,
            files_copies: Some(false),
            require_tls: true,
            expires_at: Some(NOW + Duration::from_secs(60)),
        };
        let new = NewAppPassword {
            label: "scanner",
            keyed_hash: [9; 32],
            salt: &[1; 16],
            iterations: 4_096,
            keys: &keys(3),
            narrowing: &narrowing,
            per_day: None,
        };
        let id = store.add_app_password(NAME, new, NOW).await.unwrap();
        let stored = &store.app_passwords(account).await.unwrap()[0];
        assert_eq!((stored.id, &*stored.label, stored.uses), (id, "scanner", 0));
        assert_eq!(stored.narrowing.send_as, narrowing.send_as);
        assert_eq!(stored.narrowing.to[0].canonical(), "xn--bcher-kva.example");
        assert_eq!(stored.narrowing.networks, narrowing.networks);
        assert!(stored.narrowing.require_tls && stored.keys.same(&keys(3)));
        assert_eq!(stored.narrowing.expires_at, narrowing.expires_at);
        let from = "192.0.2.1".parse().unwrap();
        let used = |count, second| Uses {
            count,
            at: NOW + Duration::from_secs(second),
            from,
        };
        let gone = AppPasswordId(99);
        let uses = [(id, used(2, 5)), (gone, used(1, 5))];
        store.record_uses(uses).await.unwrap();
        store.record_uses([(id, used(1, 7))]).await.unwrap();
        let stored = &store.app_passwords(account).await.unwrap()[0];
        let last = NOW + Duration::from_secs(7);
        assert_eq!((stored.uses, stored.last_used), (3, Some((last, from))));
    }

    #[tokio::test]
    async fn labels_are_unique_within_an_account_and_go_with_it() {
        let (store, account, _folder) = store().await;
        add(&store, "phone", 1).await.unwrap();
        let again = add(&store, "phone", 1).await;
        assert!(matches!(again, Err(AccountError::AlreadyExists(_))));
        add(&store, "printer", 1).await.unwrap();
        store.remove_app_password(NAME, "phone").await.unwrap();
        let gone = store.remove_app_password(NAME, "phone").await;
        assert!(matches!(gone, Err(AccountError::NotFound(_))));
        assert_eq!(store.app_passwords(account).await.unwrap().len(), 1);
        store.remove_account(NAME).await.unwrap();
        assert!(store.app_passwords(account).await.unwrap().is_empty());
        let nobody = add(&store, "phone", 1).await;
        assert!(matches!(nobody, Err(AccountError::NotFound(_))));
    }

    /// One salt serves all: it is said before it can be known which password is meant.
    #[tokio::test]
    async fn what_an_account_signs_in_with_shares_one_salt() {
        let (store, _, _folder) = store().await;
        add(&store, "phone", 1).await.unwrap();
        let other = add(&store, "printer", 2).await;
        assert!(matches!(other, Err(AccountError::Changed(_))));
        let scram = async || {
            let account = store.account_by_name(NAME).await.unwrap().unwrap();
            account.scram.map(|it| (it.salt[0], it.keys.is_some()))
        };
        assert_eq!(scram().await, Some((1, false)));
        let credential = |octet| ScramCredential {
            salt: Box::new([octet; 16]),
            iterations: 4_096,
            keys: Some(keys(octet)),
        };
        let hash = "$two".into();
        for (made_with, kept) in [(Some(1), true), (Some(2), false), (None, false)] {
            let made = made_with.map(credential);
            store
                .set_password(NAME, &hash, made.as_ref(), NOW)
                .await
                .unwrap();
            assert_eq!(scram().await, Some((1, kept)), "{made_with:?}");
        }
        store.remove_app_password(NAME, "phone").await.unwrap();
        let made = credential(2);
        store
            .set_password(NAME, &hash, Some(&made), NOW)
            .await
            .unwrap();
        assert_eq!(scram().await, Some((2, true)));
    }

    #[tokio::test]
    async fn an_account_can_be_kept_from_its_own_password() {
        let (store, _, _folder) = store().await;
        for only in [true, false] {
            store.set_app_passwords_only(NAME, only).await.unwrap();
            let account = store.account_by_name(NAME).await.unwrap().unwrap();
            assert_eq!(account.app_passwords_only, only);
        }
        let nobody = store.set_app_passwords_only("nobody", true).await;
        assert!(matches!(nobody, Err(AccountError::NotFound(_))));
    }
}
