//! Disks that fail: nothing acknowledged is lost, what fails is told, and it ends with the fault.

use rustix::io::Errno;

use super::{
    files::{Event, Operation},
    *,
};

const LARGE: [u8; 3 * INLINE] = [b'x'; 3 * INLINE];

async fn attempt_large(house: &House, number: u64) -> Result<(), CustodyError> {
    let mut writer = house.spool.body();
    // Several pieces, so that a write fails before the end.
    for _ in 0..300 {
        writer.write(&LARGE).await?;
    }
    let body = writer.finish().await?;
    house.spool.commit(message(number, body)).await
}

fn no_room(result: &Result<(), CustodyError>) -> bool {
    matches!(result, Err(CustodyError::NoRoom))
}

fn failed(result: &Result<(), CustodyError>) -> bool {
    matches!(result, Err(CustodyError::Failed(_)))
}

/// S4, S37.
#[tokio::test]
async fn a_failing_disk_refuses_large_mail_and_recovers() {
    type Meaning = fn(&Result<(), CustodyError>) -> bool;
    let table: [(Operation, Errno, Meaning); 10] = [
        (Operation::Create, Errno::NOSPC, no_room),
        (Operation::Create, Errno::DQUOT, no_room),
        (Operation::Create, Errno::ROFS, failed),
        (Operation::Create, Errno::MFILE, failed),
        (Operation::Write, Errno::NOSPC, no_room),
        (Operation::Write, Errno::IO, failed),
        (Operation::Sync, Errno::IO, failed),
        (Operation::Sync, Errno::NOSPC, no_room),
        (Operation::SyncDirectory, Errno::IO, failed),
        (Operation::SyncDirectory, Errno::NOSPC, no_room),
    ];
    let (house, state) = House::watched(|_| {}).await;
    for (number, (operation, errno, means)) in (1..).zip(table) {
        state.lock().unwrap().fault = Some((operation, errno));
        let result = attempt_large(&house, number).await;
        assert!(means(&result), "{operation:?} {errno}: {result:?}");
        assert!(
            eventually(|| house.bodies().is_empty()).await,
            "{operation:?} {errno} left a file"
        );
        state.lock().unwrap().fault = None;
    }
    assert!(house.listed(10).await.is_empty());
    attempt_large(&house, 99).await.unwrap();
    // No file was ever synced twice.
    let events = state.lock().unwrap().events.clone();
    for event in &events {
        if let Event::Synced(_) = event {
            let same = events.iter().filter(|other| *other == event);
            assert_eq!(same.count(), 1, "{event:?}");
        }
    }
}

#[tokio::test]
async fn after_a_failed_write_every_call_fails_alike() {
    let (house, state) = House::watched(|_| {}).await;
    state.lock().unwrap().fault = Some((Operation::Write, Errno::NOSPC));
    let mut writer = house.spool.body();
    let mut first = Ok(());
    for _ in 0..1000 {
        first = writer.write(&LARGE).await;
        if first.is_err() {
            break;
        }
    }
    assert!(no_room(&first));
    state.lock().unwrap().fault = None;
    assert_eq!(writer.write(b"x").await, first);
    assert_eq!(writer.finish().await.map(|_| ()), first);
}

#[tokio::test]
async fn a_failing_directory_does_not_refuse_small_mail() {
    let (house, state) = House::watched(|_| {}).await;
    state.lock().unwrap().fault = Some((Operation::SyncDirectory, Errno::IO));
    let (small, large) = tokio::join!(house.commit(1, b"x"), house.commit(2, &LARGE));
    assert_eq!(small, Ok(()));
    assert!(failed(&large));
}

/// The database is as full as it may get; the error is SQLITE_FULL, in the middle of a transaction.
#[tokio::test]
async fn a_full_database_refuses_and_recovers() {
    let house = House::new().await;
    house.commit(1, b"kept").await.unwrap();
    house.store.execute("PRAGMA max_page_count = 1").await;
    let results = [
        house.commit(2, &[b'x'; INLINE]).await,
        house.commit(3, &[b'x'; INLINE]).await,
        house.commit(4, &[b'x'; INLINE]).await,
        house.commit(5, &[b'x'; INLINE]).await,
        house.commit(6, &[b'x'; INLINE]).await,
        house.commit(7, &[b'x'; INLINE]).await,
        house.commit(8, &[b'x'; INLINE]).await,
    ];
    assert!(results.iter().any(no_room), "{results:?}");
    assert!(
        results
            .iter()
            .all(|result| result.is_ok() || no_room(result))
    );
    house.store.execute("PRAGMA max_page_count = 1000000").await;
    house.commit(9, b"x").await.unwrap();
    let accepted = 2 + results.iter().filter(|result| result.is_ok()).count();
    let house = house.killed().await;
    let listed = house.listed(20).await;
    assert_eq!(listed.len(), accepted);
}

#[tokio::test]
async fn a_connection_that_cannot_write_is_replaced() {
    let house = House::new().await;
    house.store.execute("PRAGMA query_only = 1").await;
    assert!(failed(&house.commit(1, b"x").await));
    house.commit(2, b"x").await.unwrap();
    let listed = house.listed(10).await;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_database_locked_by_another_process_refuses_and_recovers() {
    let house = House::new().await;
    house.store.execute("PRAGMA busy_timeout = 100").await;
    let path = house.directory.path().join("gatepost.sqlite");
    let other = Store::open(&path).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await;
    assert!(failed(&house.commit(1, b"x").await));
    let done = vec![attempt(1, 0, delivered(), Next::Done)];
    assert!(failed(&house.spool.record(done.into()).await));
    other.execute("ROLLBACK").await;
    house.commit(2, b"x").await.unwrap();
    assert_eq!(house.listed(10).await.len(), 1);
}

/// S37: refused before the content comes, and taken again soon after there is room.
#[tokio::test]
async fn room_is_refused_beside_the_reserve_and_comes_back() {
    let (house, state) = House::watched(|options| {
        options.reserve_octets = 1000;
        options.reserve_inodes = 10;
    })
    .await;
    let free = |octets, inodes| state.lock().unwrap().free = Free { octets, inodes };
    assert_eq!(house.spool.room_for(1 << 40), Ok(()));
    let seen = |octets, has: bool| {
        let spool = house.spool.clone();
        eventually(move || spool.room_for(octets).is_ok() == has)
    };
    free(1500, 100);
    assert!(seen(501, false).await, "octets");
    assert_eq!(house.spool.room_for(500), Ok(()));
    free(1500, 9);
    assert!(seen(0, false).await, "inodes");
    free(1 << 30, 100);
    assert!(seen(501, true).await, "room again");
}

/// A real file system that is really full, with bodies and database on it.
#[tokio::test]
async fn a_full_file_system_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
        .arg(directory.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED a_full_file_system_refuses_and_recovers: no right to mount a tmpfs");
        return;
    }
    let path = directory.path().to_owned();
    let house = House::at(directory, |_| {}).await;
    house.commit(1, b"kept").await.unwrap();
    let hog = path.join("hog");
    // Takes all that is left.
    let _ = std::fs::write(&hog, vec![0; 4 << 20]);
    let mut refused = 0;
    for number in 2..40 {
        let size = if number % 2 == 0 { INLINE } else { 3 * INLINE };
        match house.commit_or_refuse(number, &vec![b'x'; size]).await {
            Ok(()) => {}
            Err(CustodyError::NoRoom) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    std::fs::remove_file(&hog).unwrap();
    let again = house.commit_or_refuse(99, &LARGE).await;
    let listed = house.listed(100).await;
    house.spool.close().await;
    house.store.close().await;
    let unmounted = std::process::Command::new("umount")
        .arg("--lazy")
        .arg(&path)
        .status();
    assert!(unmounted.unwrap().success());
    assert!(refused > 10, "only {refused} refused");
    assert_eq!(again, Ok(()));
    assert_eq!(listed.len(), 1 + (38 - refused) + 1);
}

impl House {
    async fn commit_or_refuse(&self, number: u64, octets: &[u8]) -> Result<(), CustodyError> {
        let mut writer = self.spool.body();
        writer.write(octets).await?;
        self.spool
            .commit(message(number, writer.finish().await?))
            .await
    }
}
