//! Opening: what is refused, and that refusing changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use super::*;

async fn created() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/gatepost.sqlite");
    Store::open(&path).await.unwrap().close().await;
    (directory, path)
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let list = fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    list.collect()
}

async fn altered(path: &Path, statement: &'static str) {
    let store = Store::open(path).await.unwrap();
    sqlx::query(statement)
        .execute(store.writer())
        .await
        .unwrap();
    store.close().await;
}

#[tokio::test]
async fn files_are_for_the_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/gatepost.sqlite");
    let store = Store::open(&path).await.unwrap();
    sqlx::query("INSERT INTO nodes (name, seen_at) VALUES ('a', 1)")
        .execute(store.writer())
        .await
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for (name, _) in files(path.parent().unwrap()) {
        assert_eq!(mode(&path.with_file_name(&name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_writer_is_durable_and_strict() {
    let (_directory, path) = created().await;
    let store = Store::open(&path).await.unwrap();
    for (pragma, value) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA busy_timeout", "5000"),
        ("PRAGMA page_size", "4096"),
        ("PRAGMA wal_autocheckpoint", "1000"),
    ] {
        use sqlx::Row;
        let row = sqlx::query(pragma).fetch_one(store.writer()).await.unwrap();
        let found = row
            .try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
        assert_eq!(found.unwrap(), value, "{pragma}");
    }
}

#[tokio::test]
async fn a_second_start_finds_the_schema_in_place() {
    let (_directory, path) = created().await;
    let store = Store::open(&path).await.unwrap();
    let steps: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
        .fetch_one(store.reader())
        .await
        .unwrap();
    assert_eq!(steps, 19);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let (_directory, path) = created().await;
    altered(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'later', 1, x'00', 0)",
    )
    .await;
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooNew { found: 999, .. }),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn damage_is_refused_and_left_alone() {
    let (_directory, path) = created().await;
    let whole = fs::read(&path).unwrap();
    let mut no_header = whole.clone();
    no_header[..64].fill(0xaa);
    let mut no_schema = whole.clone();
    no_schema[100..4096].fill(0xff);
    let cases: [(&str, Vec<u8>); 4] = [
        ("no database at all", b"Subject: hello\r\n".repeat(300)),
        ("overwritten header", no_header),
        ("overwritten schema page", no_schema),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
    ];
    for (shows, octets) in cases {
        fs::write(&path, &octets).unwrap();
        let error = Store::open(&path).await.expect_err(shows);
        assert!(matches!(error, StoreError::Corrupt(_)), "{shows}: {error}");
        assert_eq!(fs::read(&path).unwrap(), octets, "{shows}");
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.sqlite");
    let mut other = options(&path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::query("CREATE TABLE bookmarks (url TEXT)")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let before = files(directory.path());
    assert!(matches!(Store::open(&path).await, Err(StoreError::Foreign)));
    assert_eq!(files(directory.path()), before);
}

#[tokio::test]
async fn reading_beside_the_server_creates_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gatepost.sqlite");
    assert!(matches!(
        Store::open_read_only(&path).await,
        Err(StoreError::NotFound)
    ));
    assert!(!path.exists());

    let server = Store::open(&path).await.unwrap();
    let other = Store::open_read_only(&path).await.unwrap();
    let write = sqlx::query("INSERT INTO nodes (name, seen_at) VALUES ('a', 1)")
        .execute(other.writer())
        .await;
    let error = StoreError::from(write.unwrap_err());
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
    server.close().await;
}

/// A queue and accounts of an earlier program: nothing is lost, and later columns have their values.
#[tokio::test]
async fn what_an_earlier_program_left_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gatepost.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .foreign_keys(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    migrations::migrate_to(&pool, 14).await.unwrap();
    let mut filled = vec![
        "INSERT INTO domains (name, created_at) VALUES ('example.org', 1)".to_owned(),
        "INSERT INTO accounts (name, password_hash, address, created_at, password_changed_at)
         VALUES ('alice', '$x', 'alice@example.org', 1, 1), ('bob', '$x', 'bob@example.org', 1, 1)"
            .to_owned(),
    ];
    for number in 1..=50 {
        filled.push(format!(
            "INSERT INTO messages (number, id, sender, body_type, smtputf8, size_octets, received_at)
             VALUES ({number}, '{number:026}', 'alice@example.org', '8bitmime', 0, 9, {number})"
        ));
        filled.push(format!(
            "INSERT INTO contents (message, header, body, body_octets)
             VALUES ({number}, x'0d0a', x'78', 1)"
        ));
        for recipient in 0..3 {
            filled.push(format!(
                "INSERT INTO recipients (message, number, address, status, next_attempt_at,
                                         attempts, last_code, last_text, notify, original,
                                         delay_told_at, unprotected_since)
                 VALUES ({number}, {recipient}, 'c@d.example', 'due', {number}, {recipient},
                         '4.2.1', 'busy', 'DELAY', 'rfc822;c@d.example', 7, 8)"
            ));
        }
    }
    for statement in filled {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&pool)
            .await
            .unwrap();
    }
    // The settings of two accounts, as the steps in between kept them.
    migrations::migrate_to(&pool, 16).await.unwrap();
    for statement in [
        "INSERT INTO undo_windows VALUES (1, 30)",
        "INSERT INTO forced_from VALUES (2)",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    let store = Store::open(&path).await.unwrap();
    let rows: Vec<(i64, i64, i64, String, i64, bool, i64)> = sqlx::query_as(
        "SELECT message, number, attempts, original, priority, is_copy, unprotected_since
           FROM recipients
          WHERE status = 'due' AND last_text = 'busy' AND next_attempt_at = message
          ORDER BY message, number",
    )
    .fetch_all(store.reader())
    .await
    .unwrap();
    assert_eq!(rows.len(), 150);
    for (at, row) in rows.iter().enumerate() {
        let (message, number) = (at as i64 / 3 + 1, at as i64 % 3);
        let original = "rfc822;c@d.example".to_owned();
        assert_eq!(*row, (message, number, number, original, 0, false, 8));
    }
    let (incarnation, next) = store
        .begin_incarnation("a", SystemTime::now())
        .await
        .unwrap();
    assert_eq!(next, 51);
    let longest = Duration::from_secs(3600);
    let claimed = store
        .claim_due(incarnation, SystemTime::now(), longest, 1_000)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 50);
    let first = &claimed[0];
    assert_eq!((first.priority, first.is_binary), (None, false));
    assert!(first.deadline.is_none() && first.release_at.is_none());
    // A message takes its rows with it.
    sqlx::query("DELETE FROM messages WHERE number = 1")
        .execute(store.writer())
        .await
        .unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM recipients")
        .fetch_one(store.reader())
        .await
        .unwrap();
    assert_eq!(left, 147);
    let habits = async |name: &str| {
        let account = store.account_by_name(name).await.unwrap().unwrap();
        let habits = store.habits(account.id).await.unwrap();
        (
            habits.undo.as_secs(),
            habits.forces_from,
            habits.priority.number(),
        )
    };
    assert_eq!(habits("alice").await, (30, false, 0));
    assert_eq!(habits("bob").await, (0, true, 0));
}
