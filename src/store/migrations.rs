//! The schema's history, embedded in the program. A released text is never edited.

use std::borrow::Cow;

use sqlx::{
    SqlSafeStr, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
};

use super::StoreError;

/// Version, name and text of each step, in order.
const MIGRATIONS: [(i64, &str, &str); 19] = [
    (
        1,
        "accounts",
        include_str!("../../migrations/sqlite/0001_accounts.sql"),
    ),
    (
        2,
        "queue",
        include_str!("../../migrations/sqlite/0002_queue.sql"),
    ),
    (
        3,
        "handoff",
        include_str!("../../migrations/sqlite/0003_handoff.sql"),
    ),
    (
        4,
        "protection",
        include_str!("../../migrations/sqlite/0004_protection.sql"),
    ),
    (
        5,
        "sts",
        include_str!("../../migrations/sqlite/0005_sts.sql"),
    ),
    (
        6,
        "dkim",
        include_str!("../../migrations/sqlite/0006_dkim.sql"),
    ),
    (
        7,
        "tls_reports",
        include_str!("../../migrations/sqlite/0007_tls_reports.sql"),
    ),
    (
        8,
        "scram",
        include_str!("../../migrations/sqlite/0008_scram.sql"),
    ),
    (
        9,
        "app_passwords",
        include_str!("../../migrations/sqlite/0009_app_passwords.sql"),
    ),
    (
        10,
        "address_kinds",
        include_str!("../../migrations/sqlite/0010_address_kinds.sql"),
    ),
    (
        11,
        "limits",
        include_str!("../../migrations/sqlite/0011_limits.sql"),
    ),
    (
        12,
        "brake",
        include_str!("../../migrations/sqlite/0012_brake.sql"),
    ),
    (
        13,
        "grants",
        include_str!("../../migrations/sqlite/0013_grants.sql"),
    ),
    (
        14,
        "certificates",
        include_str!("../../migrations/sqlite/0014_certificates.sql"),
    ),
    (
        15,
        "later",
        include_str!("../../migrations/sqlite/0015_later.sql"),
    ),
    (
        16,
        "force from",
        include_str!("../../migrations/sqlite/0016_force_from.sql"),
    ),
    (
        17,
        "priority_and_deadline",
        include_str!("../../migrations/sqlite/0017_priority_and_deadline.sql"),
    ),
    (
        18,
        "binary",
        include_str!("../../migrations/sqlite/0018_binary.sql"),
    ),
    (
        19,
        "sent_copies",
        include_str!("../../migrations/sqlite/0019_sent_copies.sql"),
    ),
];

/// Marks the file as ours (`PRAGMA application_id`): "GATE".
const APPLICATION_ID: i64 = 0x4741_5445;

/// The schema that this program works with.
const fn known() -> i64 {
    MIGRATIONS[MIGRATIONS.len() - 1].0
}

/// Reads, through a connection that cannot write, which schema a file has; 0 for an empty file.
///
/// # Errors
/// `Corrupt` where SQLite cannot read it, `Foreign` where it belongs to another program, `TooNew`
/// where a later release wrote it.
pub(super) async fn inspect(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await?;
    let (tables, ours): (i64, i64) = sqlx::query_as(
        r#"
        SELECT count(*),
               count(*) FILTER (WHERE name = '_sqlx_migrations')
          FROM sqlite_schema
        "#,
    )
    .fetch_one(&mut *connection)
    .await?;
    let foreign_mark = application != 0 && application != APPLICATION_ID;
    if foreign_mark || (tables > 0 && ours == 0) {
        return Err(StoreError::Foreign);
    }
    if ours == 0 {
        return Ok(0);
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await?;
    if found > known() {
        return Err(StoreError::TooNew {
            found,
            known: known(),
        });
    }
    Ok(found)
}

/// Refuses a file that only a start of the server would bring up to date.
pub(super) fn require_current(found: i64) -> Result<(), StoreError> {
    if found == known() {
        return Ok(());
    }
    Err(StoreError::TooOld {
        found,
        known: known(),
    })
}

/// Applies what is missing, each step in a transaction of its own.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    migrate_to(pool, known()).await
}

/// The same up to this version: a database as an earlier program left it.
pub(super) async fn migrate_to(pool: &SqlitePool, last: i64) -> Result<(), StoreError> {
    let steps: Vec<Migration> = MIGRATIONS
        .into_iter()
        .filter(|(version, ..)| *version <= last)
        .map(|(version, name, text)| {
            let text = text.into_sql_str();
            Migration::new(
                version,
                Cow::Borrowed(name),
                MigrationType::Simple,
                text,
                false,
            )
        })
        .collect();
    Migrator::with_migrations(steps).run(pool).await?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(pool)
        .await?;
    if application != APPLICATION_ID {
        // A pragma takes no parameters; the number is that of APPLICATION_ID.
        sqlx::query("PRAGMA application_id = 1195463749")
            .execute(pool)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_from_one() {
        for (at, (version, name, _)) in MIGRATIONS.into_iter().enumerate() {
            assert_eq!(usize::try_from(version), Ok(at + 1), "{name}");
        }
    }

    #[test]
    fn the_mark_in_the_pragma_is_the_constant() {
        assert_eq!(APPLICATION_ID, 1_195_463_749);
    }
}
