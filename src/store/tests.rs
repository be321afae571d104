//! Opening: what is refused, and that refusing changes nothing.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

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
