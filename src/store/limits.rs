//! SQL of limits and destinations, and of what was sent to hold them against.

use std::{collections::HashMap, time::SystemTime};

use sqlx::SqliteConnection;

use super::{
    Store,
    accounts::{AccountError, seconds},
};
use crate::{
    envelope::{AccountId, AppPasswordId},
    policy::allowance::{Counts, LimitKind, Limits, Scope},
    smtp::Domain,
};

/// Whose limits are meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// All mail together.
    Site,
    /// Each account that has no limit of its own.
    EachAccount,
    /// All accounts together whose own address is in this domain (canonical).
    Domain(String),
    /// The account of this login name.
    Account(String),
    /// An app password, by login name and label.
    AppPassword(String, String),
}

/// A recipient domain that mail may go to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Destination {
    /// All domains that are ours.
    Ours,
    /// This one, in canonical form.
    Domain(String),
}

/// Limits and destinations of one subject.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubjectLimits {
    /// How much.
    pub limits: Limits,
    /// Where to; none for everywhere.
    pub destinations: Vec<Destination>,
}

/// Those that hold for an account.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AccountLimits {
    /// The site's.
    pub site: SubjectLimits,
    /// Each account's, where its own say nothing.
    pub each_account: SubjectLimits,
    /// Its domain's.
    pub domain: SubjectLimits,
    /// Its own.
    pub account: SubjectLimits,
    /// Those of the app password that was asked for.
    pub app_password: Limits,
}

/// A message that was accepted, as the counts need it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Who sent it.
    pub account: AccountId,
    /// For whom it counts.
    pub scopes: Vec<Scope>,
    /// When, in slots.
    pub slot: u32,
    /// What it adds.
    pub counts: Counts,
    /// Hashes of the recipients outside that were not yet written down today.
    pub correspondents: Vec<i64>,
}

impl Sent {
    /// Days since 1970.
    pub fn day(&self) -> u32 {
        self.slot / crate::policy::allowance::DAY
    }
}

impl Store {
    /// Sets limits of a subject; `None` takes one away.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_limits(
        &self,
        subject: &Subject,
        limits: &[(LimitKind, Option<u64>)],
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (scope, key) = key_of(&mut change, subject).await?;
        for (kind, most) in limits {
            put(&mut change, scope, key, *kind, *most).await?;
        }
        Ok(change.commit().await?)
    }

    /// Sets where mail of a subject may go; no destination: everywhere.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn set_destinations(
        &self,
        subject: &Subject,
        destinations: &[Destination],
    ) -> Result<(), AccountError> {
        let mut change = self.change().await?;
        let (scope, key) = key_of(&mut change, subject).await?;
        sqlx::query("DELETE FROM sending_destinations WHERE scope = $1 AND subject = $2")
            .bind(scope)
            .bind(key)
            .execute(&mut *change)
            .await?;
        for destination in destinations {
            sqlx::query(
                r#"
                INSERT INTO sending_destinations (scope, subject, domain)
                VALUES ($1, $2, $3)
                ON CONFLICT DO NOTHING
                "#,
            )
            .bind(scope)
            .bind(key)
            .bind(match destination {
                Destination::Ours => "",
                Destination::Domain(name) => name,
            })
            .execute(&mut *change)
            .await?;
        }
        Ok(change.commit().await?)
    }

    /// Every subject that has limits or destinations, in a stable order.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn limits(&self) -> Result<Vec<(Subject, SubjectLimits)>, AccountError> {
        let mut reader = self.reader().begin().await?;
        let subjects: Vec<(String, i64, Option<String>, Option<String>)> = sqlx::query_as(
            r#"
            SELECT s.scope, s.subject,
                   CASE s.scope
                        WHEN 'domain' THEN (SELECT name FROM domains WHERE domain_id = s.subject)
                        WHEN 'account' THEN (SELECT name FROM accounts WHERE account_id = s.subject)
                        WHEN 'app-password' THEN (SELECT a.name
                                                    FROM app_passwords AS p
                                                    JOIN accounts AS a USING (account_id)
                                                   WHERE p.app_password_id = s.subject)
                   END,
                   CASE WHEN s.scope = 'app-password'
                        THEN (SELECT label FROM app_passwords WHERE app_password_id = s.subject)
                   END
              FROM (SELECT scope, subject FROM sending_limits
                     UNION
                    SELECT scope, subject FROM sending_destinations) AS s
             ORDER BY CASE s.scope
                           WHEN 'site' THEN 0
                           WHEN 'each-account' THEN 1
                           WHEN 'domain' THEN 2
                           WHEN 'account' THEN 3
                           ELSE 4
                      END, 3, 4
            "#,
        )
        .fetch_all(&mut *reader)
        .await?;
        let mut found = Vec::with_capacity(subjects.len());
        for (scope, key, name, label) in subjects {
            let name = name.unwrap_or_default();
            let subject = match scope.as_str() {
                "site" => Subject::Site,
                "each-account" => Subject::EachAccount,
                "domain" => Subject::Domain(name),
                "account" => Subject::Account(name),
                _ => Subject::AppPassword(name, label.unwrap_or_default()),
            };
            found.push((subject, subject_limits(&mut reader, &scope, key).await?));
        }
        Ok(found)
    }

    /// What holds for an account whose own address is in `domain`, and for one of its app passwords.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn limits_of(
        &self,
        account: AccountId,
        domain: &Domain,
        app_password: Option<AppPasswordId>,
    ) -> Result<AccountLimits, AccountError> {
        let mut reader = self.reader().begin().await?;
        let domain: Option<i64> =
            sqlx::query_scalar("SELECT domain_id FROM domains WHERE name = $1")
                .bind(domain.canonical())
                .fetch_optional(&mut *reader)
                .await?;
        let mut found = AccountLimits {
            site: subject_limits(&mut reader, "site", 0).await?,
            each_account: subject_limits(&mut reader, "each-account", 0).await?,
            account: subject_limits(&mut reader, "account", account.0).await?,
            ..AccountLimits::default()
        };
        if let Some(domain) = domain {
            found.domain = subject_limits(&mut reader, "domain", domain).await?;
        }
        if let Some(id) = app_password {
            found.app_password = subject_limits(&mut reader, "app-password", id.0)
                .await?
                .limits;
        }
        Ok(found)
    }

    /// What a scope sent, by slot from `since` on, in order of time.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn sent_volumes(
        &self,
        scope: &Scope,
        since: u32,
    ) -> Result<Vec<(u32, Counts)>, AccountError> {
        let rows: Vec<(i64, i64, i64, i64, i64, i64)> = sqlx::query_as(
            r#"
            SELECT slot, messages, recipients, outside, first_time, failed
              FROM sent_volumes
             WHERE scope = $1
               AND slot >= $2
             ORDER BY slot
            "#,
        )
        .bind(scope.to_string())
        .bind(i64::from(since))
        .fetch_all(self.reader())
        .await?;
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        let slots = rows.into_iter().map(|row| {
            let counts = Counts {
                messages: unsigned(row.1),
                recipients: unsigned(row.2),
                outside: unsigned(row.3),
                first_time: unsigned(row.4),
                failed: unsigned(row.5),
            };
            (u32::try_from(row.0).unwrap_or(0), counts)
        });
        Ok(slots.collect())
    }

    /// Which of these recipients an account never wrote to.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn first_time(
        &self,
        account: AccountId,
        recipients: &[i64],
    ) -> Result<Vec<i64>, AccountError> {
        let found = sqlx::query_scalar(
            r#"
            SELECT value
              FROM json_each($2)
             WHERE NOT EXISTS (SELECT 1
                                 FROM correspondents
                                WHERE account_id = $1
                                  AND recipient = value)
            "#,
        )
        .bind(account.0)
        .bind(serde_json::json!(recipients).to_string())
        .fetch_all(self.reader())
        .await?;
        Ok(found)
    }

    /// Forgets volumes and correspondents that are older than anybody asks for.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub async fn prune_volumes(&self, now: SystemTime) -> Result<(), AccountError> {
        let now = seconds(now);
        sqlx::query("DELETE FROM sent_volumes WHERE slot < $1")
            .bind(now / 600 - VOLUMES_KEPT)
            .execute(self.writer())
            .await?;
        sqlx::query("DELETE FROM correspondents WHERE last_day < $1")
            .bind(now / 86_400 - CORRESPONDENTS_KEPT)
            .execute(self.writer())
            .await?;
        Ok(())
    }
}

/// Slots for which volumes are kept: 35 days.
const VOLUMES_KEPT: i64 = 35 * 144;
/// Days for which an account is remembered to have written to somebody.
const CORRESPONDENTS_KEPT: i64 = 400;

/// The scope's word and the key of a subject.
async fn key_of(
    change: &mut SqliteConnection,
    subject: &Subject,
) -> Result<(&'static str, i64), AccountError> {
    let found: Option<i64> = match subject {
        Subject::Site => return Ok(("site", 0)),
        Subject::EachAccount => return Ok(("each-account", 0)),
        Subject::Domain(name) => {
            let query = sqlx::query_scalar("SELECT domain_id FROM domains WHERE name = $1");
            query.bind(name).fetch_optional(change).await?
        }
        Subject::Account(name) => {
            let query = sqlx::query_scalar("SELECT account_id FROM accounts WHERE name = $1");
            query.bind(name).fetch_optional(change).await?
        }
        Subject::AppPassword(name, label) => {
            sqlx::query_scalar(
                r#"
                SELECT app_password_id
                  FROM app_passwords
                  JOIN accounts USING (account_id)
                 WHERE name = $1
                   AND label = $2
                "#,
            )
            .bind(name)
            .bind(label)
            .fetch_optional(change)
            .await?
        }
    };
    let (scope, what) = match subject {
        Subject::Domain(name) => ("domain", format!("domain {name}")),
        Subject::Account(name) => ("account", format!("account {name}")),
        Subject::AppPassword(name, label) => {
            ("app-password", format!("app password {label:?} of {name}"))
        }
        Subject::Site | Subject::EachAccount => ("site", String::new()),
    };
    match found {
        Some(key) => Ok((scope, key)),
        None => Err(AccountError::NotFound(what)),
    }
}

pub(super) async fn put(
    change: &mut SqliteConnection,
    scope: &'static str,
    subject: i64,
    kind: LimitKind,
    most: Option<u64>,
) -> Result<(), AccountError> {
    match most {
        Some(most) => {
            sqlx::query(
                r#"
                INSERT INTO sending_limits (scope, subject, kind, most)
                VALUES ($1, $2, $3, $4)
                ON CONFLICT (scope, subject, kind) DO UPDATE SET most = excluded.most
                "#,
            )
            .bind(scope)
            .bind(subject)
            .bind(kind.as_str())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .execute(change)
            .await?;
        }
        None => {
            sqlx::query(
                "DELETE FROM sending_limits WHERE scope = $1 AND subject = $2 AND kind = $3",
            )
            .bind(scope)
            .bind(subject)
            .bind(kind.as_str())
            .execute(change)
            .await?;
        }
    }
    Ok(())
}

async fn subject_limits(
    reader: &mut SqliteConnection,
    scope: &str,
    subject: i64,
) -> Result<SubjectLimits, AccountError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT kind, most FROM sending_limits WHERE scope = $1 AND subject = $2")
            .bind(scope)
            .bind(subject)
            .fetch_all(&mut *reader)
            .await?;
    let mut limits = Limits::default();
    for (kind, most) in rows {
        // The schema takes no other words.
        if let Some(kind) = LimitKind::parse(&kind) {
            limits.set(kind, u64::try_from(most).ok());
        }
    }
    let domains: Vec<String> = sqlx::query_scalar(
        r#"
        SELECT domain
          FROM sending_destinations
         WHERE scope = $1
           AND subject = $2
         ORDER BY domain
        "#,
    )
    .bind(scope)
    .bind(subject)
    .fetch_all(reader)
    .await?;
    let destinations = domains.into_iter().map(|name| match name.as_str() {
        "" => Destination::Ours,
        _ => Destination::Domain(name),
    });
    Ok(SubjectLimits {
        limits,
        destinations: destinations.collect(),
    })
}

/// Volumes of many messages, added up by scope and slot: the rows of one commit.
#[derive(Debug, Default)]
pub(super) struct Volumes(HashMap<(Scope, u32), Counts>);

impl Volumes {
    pub(super) fn add(&mut self, sent: &Sent) {
        for scope in &sent.scopes {
            let sum = self.0.entry((scope.clone(), sent.slot)).or_default();
            sum.add(&sent.counts);
        }
    }

    pub(super) fn rows(self) -> impl Iterator<Item = (String, u32, Counts)> {
        let rows = self.0.into_iter();
        rows.map(|((scope, slot), counts)| (scope.to_string(), slot, counts))
    }
}
