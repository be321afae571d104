//! Rows: what is claimed, what ends, and that no statement walks the queue.

mod changes;

use super::{
    claim::{CLAIM, NEXT_DUE},
    statements::EVERYTHING,
    *,
};
use crate::{
    envelope::{BodyType, Envelope, QueueId},
    smtp::{Mailbox, ReversePath},
};
use sqlx::Row;

async fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("gatepost.sqlite"))
        .await
        .unwrap();
    (directory, store)
}

/// Fills the queue without going through the writer.
async fn fill(store: &Store, messages: i64) {
    for statement in [
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1)
         INSERT INTO messages (number, id, account, sender, body_type, smtputf8, size_octets,
                               received_at)
         SELECT n, printf('%026d', n), NULL, '', '7bit', 0, 10, n FROM n",
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1)
         INSERT INTO contents SELECT n, x'00', x'00', NULL, 1 FROM n",
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1)
         INSERT INTO recipients (message, number, address, status, next_attempt_at)
         SELECT n, 0, 'a@example.org', 'due', n FROM n",
    ] {
        sqlx::query(statement)
            .bind(messages)
            .execute(store.writer())
            .await
            .unwrap();
    }
}

/// The cost of a message stays flat as the queue grows.
#[tokio::test]
async fn no_statement_of_the_hot_path_walks_the_queue() {
    let (_directory, store) = store().await;
    fill(&store, 2000).await;
    let statements = EVERYTHING.split(';').chain([CLAIM, NEXT_DUE]);
    for statement in statements {
        let statement = statement.trim();
        if statement.is_empty() || statement.starts_with("BEGIN") || statement == "COMMIT" {
            continue;
        }
        let explain = format!("EXPLAIN QUERY PLAN {statement}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(explain))
            .fetch_all(store.writer())
            .await
            .unwrap();
        for row in rows {
            let step: String = row.get("detail");
            // A walk along the due index stops at its first row or at the limit.
            let walk = step.starts_with("SCAN")
                && !step.contains("VIRTUAL TABLE")
                && !step.contains("nodes")
                && !step.contains("CONSTANT ROW")
                && !step.starts_with("SCAN (subquery")
                && !step.starts_with("SCAN s");
            assert!(!walk, "{step}\nin {statement}");
        }
    }
}

#[test]
fn times_survive_the_way_through_a_column() {
    for milliseconds in [i64::MIN + 1, -1, 0, 1, 1_800_000_000_000] {
        let at = time(milliseconds);
        if at != UNIX_EPOCH {
            assert_eq!(super::milliseconds(at), milliseconds);
        }
    }
}

#[tokio::test]
async fn old_attempts_go_with_the_heartbeat_and_new_ones_stay() {
    let (_directory, store) = store().await;
    let now = time(1_800_000_000_000);
    let (incarnation, _) = store.begin_incarnation("a", now).await.unwrap();
    let day = 24 * 3600 * 1000;
    for age in [30 * day, 15 * day, 13 * day, 0] {
        sqlx::query(
            "INSERT INTO tries (queue_id, recipient, address, next_hop,
                                started_at, ended_at, outcome, text, said_by)
             VALUES ('x', 0, 'a@example.org', 'hop', $1, $1, 'deferred', '', 'us')",
        )
        .bind(super::milliseconds(now) - age)
        .execute(store.writer())
        .await
        .unwrap();
    }
    store.heartbeat(incarnation, now).await.unwrap();
    let left: Vec<i64> = sqlx::query_scalar("SELECT ended_at FROM tries ORDER BY number")
        .fetch_all(store.reader())
        .await
        .unwrap();
    let now = super::milliseconds(now);
    assert_eq!(left, [now - 13 * day, now]);
}

#[tokio::test]
async fn each_process_is_a_new_incarnation_of_its_node() {
    let (_directory, store) = store().await;
    let now = time(1_800_000_000_000);
    let (first, _) = store.begin_incarnation("a", now).await.unwrap();
    let (other, _) = store.begin_incarnation("b", now).await.unwrap();
    let (second, _) = store.begin_incarnation("a", now).await.unwrap();
    assert!(second != first && second != other);
    let live: Vec<i64> = sqlx::query_scalar("SELECT incarnation FROM nodes ORDER BY incarnation")
        .fetch_all(store.reader())
        .await
        .unwrap();
    assert_eq!(live, [other.0, second.0]);
}

fn batch(number: i64, id: &QueueId) -> Batch {
    let envelope = Envelope {
        sender: ReversePath::Null,
        recipients: vec![Mailbox::parse("a@example.org").unwrap().into()],
        body: BodyType::SevenBit,
        smtputf8: false,
        ret: None,
        envelope_id: None,
        protection: Default::default(),
        timing: Default::default(),
    };
    let mut batch = Batch::default();
    batch.message(&MessageRow {
        release_at: None,
        release_request: None,
        number,
        id,
        account: None,
        report_of: None,
        message_id: None,
        envelope: &envelope,
        header: b"\r\n",
        body: BodyRow::Inline(&[b'x'; 20_000]),
        received_at: UNIX_EPOCH,
        claimed_by: None,
        is_held: false,
        due_at: None,
        sent: None,
    });
    batch
}

fn queue_id(number: u64) -> QueueId {
    QueueId::new(ulid::Ulid(u128::from(number)))
}

async fn messages(store: &Store) -> u64 {
    store.queue_counts(UNIX_EPOCH).await.unwrap().messages
}

/// S4.
#[tokio::test]
async fn after_an_input_output_error_the_connection_is_a_new_one() {
    let (_directory, store) = store().await;
    let (incarnation, _) = store.begin_incarnation("a", UNIX_EPOCH).await.unwrap();
    let mut connection = store.writer().acquire().await.unwrap();
    for statement in [
        "PRAGMA busy_timeout = 123",
        "BEGIN IMMEDIATE",
        "INSERT INTO messages (number, id, sender, body_type, smtputf8, size_octets, received_at)
         VALUES (1, 'x', '', '7bit', 0, 10, 0)",
    ] {
        sqlx::query(statement)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    let error = StoreError::Io("sync".to_owned());
    let result = store.undo(connection, incarnation, None, error).await;
    assert!(matches!(result, Err(StoreError::Io(_))), "{result:?}");
    let busy: i64 = sqlx::query_scalar("PRAGMA busy_timeout")
        .fetch_one(store.writer())
        .await
        .unwrap();
    // A server's patience, not what was set on the old one.
    assert_eq!(busy, 600);
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(store.writer())
        .await
        .unwrap();
    assert_eq!(synchronous, 2);
    assert_eq!(messages(&store).await, 0);
}

#[tokio::test]
async fn a_commit_that_took_place_in_spite_of_an_error_counts() {
    let (_directory, store) = store().await;
    let (incarnation, _) = store.begin_incarnation("a", UNIX_EPOCH).await.unwrap();
    fill(&store, 1).await;
    for (id, counts) in [(format!("{:026}", 1), true), ("another".to_owned(), false)] {
        let connection = store.writer().acquire().await.unwrap();
        let error = StoreError::Io("sync".to_owned());
        let first = Some((1, id));
        let result = store.undo(connection, incarnation, first, error).await;
        assert_eq!(result.is_ok(), counts);
    }
}

/// A transaction whose sync failed may be in the log as a whole. What we write over it makes sure
/// that a crash does not bring a refused message back.
#[tokio::test]
async fn a_refused_message_in_the_log_does_not_come_back_after_a_crash() {
    let (directory, store) = store().await;
    store.close().await;
    let path = directory.path().join("gatepost.sqlite");
    let store = Store::open(&path).await.unwrap();
    let log = |directory: &tempfile::TempDir| {
        std::fs::read(directory.path().join("gatepost.sqlite-wal")).unwrap()
    };
    let database = std::fs::read(&path).unwrap();
    let (incarnation, number) = store.begin_incarnation("a", UNIX_EPOCH).await.unwrap();
    let first = batch(number, &queue_id(1));
    store.commit(first, incarnation).await.unwrap();
    let before = log(&directory).len();
    let second = batch(number + 1, &queue_id(2));
    store.commit(second, incarnation).await.unwrap();
    let whole = log(&directory);

    let crashed = |log: Vec<u8>| {
        let copy = tempfile::tempdir().unwrap();
        std::fs::write(copy.path().join("gatepost.sqlite"), &database).unwrap();
        std::fs::write(copy.path().join("gatepost.sqlite-wal"), log).unwrap();
        copy
    };
    let open = async |copy: &tempfile::TempDir| {
        Store::open(&copy.path().join("gatepost.sqlite"))
            .await
            .unwrap()
    };
    // Without more, the second message would be back.
    let copy = crashed(whole.clone());
    assert_eq!(messages(&open(&copy).await).await, 2);

    // SQLite goes on from the end of the first, as it does after a failed sync.
    let copy = crashed(whole[..before].to_vec());
    let store = open(&copy).await;
    let connection = store.writer().acquire().await.unwrap();
    let error = StoreError::NoRoom;
    assert!(
        store
            .undo(connection, incarnation, None, error)
            .await
            .is_err()
    );
    let mut spliced = log(&copy);
    assert!(
        before < spliced.len() && spliced.len() < whole.len(),
        "{before} {} {}",
        spliced.len(),
        whole.len()
    );
    spliced.extend_from_slice(&whole[spliced.len()..]);
    let copy = crashed(spliced);
    assert_eq!(messages(&open(&copy).await).await, 1);
}

/// Mail of a process that was killed lags like any other, though its claims still name it.
#[tokio::test]
async fn what_a_dead_process_had_claimed_lags_too() {
    let (_directory, store) = store().await;
    fill(&store, 3).await;
    for statement in [
        "UPDATE recipients SET claimed_by = 77 WHERE message = 1",
        "UPDATE recipients SET next_attempt_at = 500 WHERE message <> 1",
    ] {
        sqlx::query(statement)
            .execute(store.writer())
            .await
            .unwrap();
    }
    assert_eq!(store.oldest_due().await.unwrap(), Some(time(1)));
    store.begin_incarnation("a", UNIX_EPOCH).await.unwrap();
    let alive = "UPDATE recipients SET claimed_by = (SELECT max(incarnation) FROM nodes)
                  WHERE message = 1";
    sqlx::query(alive).execute(store.writer()).await.unwrap();
    assert_eq!(store.oldest_due().await.unwrap(), Some(time(500)));
}

/// S4: what an operator was told has failed does not come to be by a crash.
#[tokio::test]
async fn after_a_failed_commit_of_a_change_the_log_is_written_over() {
    let (directory, store) = store().await;
    fill(&store, 1).await;
    let log = || {
        std::fs::metadata(directory.path().join("gatepost.sqlite-wal"))
            .unwrap()
            .len()
    };
    let before = log();
    let error = store.uncommitted(StoreError::NoRoom).await;
    assert!(matches!(error, StoreError::NoRoom));
    assert!(log() > before, "nothing was written");
    let nodes: i64 = sqlx::query_scalar("SELECT count(*) FROM nodes")
        .fetch_one(store.reader())
        .await
        .unwrap();
    assert_eq!(nodes, 0);
}
