//! Power cuts and kills: what was answered is there, what was not is there whole or not at all.

use std::{collections::BTreeMap, fs};

use super::*;

const LARGE: [u8; 3 * INLINE] = [b'x'; 3 * INLINE];

/// The queue after a restart: queue ids with the content they have.
async fn queue(house: &House) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in house.listed(1000).await {
        assert_eq!(entry.recipients.len(), 2, "{}", entry.id);
        let content = house
            .spool
            .content(&QueueId::parse(&entry.id).unwrap())
            .await
            .unwrap();
        found.insert(entry.id, octets(&content));
    }
    found
}

/// S3: the log of the database is cut at any octet, or its tail is garbage, as a disk
/// may leave it when the power goes. Every message answered before the cut is there and whole.
#[tokio::test]
async fn a_log_torn_at_any_octet_keeps_every_answered_message() {
    let house = House::new().await;
    house.spool.close().await;
    house.store.close().await;
    let House {
        directory,
        store,
        spool,
        fresh,
    } = house;
    drop((store, spool, fresh));
    let house = House::at(directory, |_| {}).await;
    let base = house.directory.path().to_owned();
    let log = base.join("gatepost.sqlite-wal");

    // Length of the log when each message was answered.
    let mut answered = Vec::new();
    for number in 1..=6 {
        let begun = fs::metadata(&log).unwrap().len();
        let body = vec![b'a' + number as u8; 300 * number as usize];
        house.commit(number, &body).await.unwrap();
        answered.push((
            id(number).to_string(),
            begun,
            fs::metadata(&log).unwrap().len(),
        ));
    }
    let database = fs::read(base.join("gatepost.sqlite")).unwrap();
    let log = fs::read(&log).unwrap();

    // Header of 32 octets, frames of 24 and a page.
    let frames = (0..)
        .map(|n| 32 + n * (24 + 4096))
        .take_while(|end| *end <= log.len());
    let cuts: Vec<usize> = frames
        .flat_map(|end| [end.saturating_sub(1), end, end + 13])
        .filter(|cut| *cut <= log.len())
        .collect();
    assert!(cuts.len() > 60, "the log has {} octets", log.len());
    for cut in cuts {
        for garbage in [false, true] {
            let copy = tempfile::tempdir().unwrap();
            fs::write(copy.path().join("gatepost.sqlite"), &database).unwrap();
            let mut torn = log[..cut].to_vec();
            if garbage {
                torn.resize(log.len(), 0x5a);
            }
            fs::write(copy.path().join("gatepost.sqlite-wal"), torn).unwrap();
            for name in house.bodies() {
                let to = copy.path().join("spool/bodies");
                fs::create_dir_all(&to).unwrap();
                fs::copy(base.join("spool/bodies").join(&name), to.join(&name)).unwrap();
            }
            let restarted = House::at(copy, |_| {}).await;
            let found = queue(&restarted).await;
            for (number, (id, begun, ended)) in (1..).zip(&answered) {
                let body = found.get(id);
                if *ended <= cut as u64 {
                    let body = body.unwrap_or_else(|| panic!("{id} lost at {cut}"));
                    assert!(body.ends_with(&vec![b'a' + number as u8; 300 * number]));
                }
                if cut as u64 <= *begun {
                    assert!(body.is_none(), "{id} is there before it was committed");
                }
            }
        }
    }
}

/// The table at the top of `spool`: a kill at each step of a large message.
#[tokio::test]
async fn a_kill_at_any_step_of_a_large_message_leaves_all_or_nothing() {
    // While the body arrives: part of a file.
    let house = House::new().await;
    let mut writer = house.spool.body();
    for _ in 0..200 {
        writer.write(&LARGE).await.unwrap();
    }
    assert!(eventually(|| house.bodies().len() == 1).await);
    // A killed process tidies nothing up.
    std::mem::forget(writer);
    let house = house.killed().await;
    assert!(eventually(|| house.bodies().is_empty()).await);
    assert!(queue(&house).await.is_empty());

    // After the file's sync, before the rows.
    let body = house.message(1, &LARGE).await;
    std::mem::forget(body);
    let house = house.killed().await;
    assert!(eventually(|| house.bodies().is_empty()).await);
    assert!(queue(&house).await.is_empty());

    // After the commit.
    house.commit(2, &LARGE).await.unwrap();
    let house = house.killed().await;
    let found = queue(&house).await;
    assert_eq!(found.len(), 1);
    assert!(found[id(2).as_str()].ends_with(&LARGE));
    assert_eq!(house.bodies().len(), 1);

    // After one outcome: the other recipient is served again, the first is not.
    house
        .spool
        .record(vec![attempt(2, 0, delivered(), Next::Done)].into())
        .await
        .unwrap();
    let house = house.killed().await;
    let claims = house.spool.claim(now(), 10).await.unwrap();
    let numbers: Vec<u32> = claims[0].recipients.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1]);

    // After the last outcome, before its file was removed.
    let kept = house.spool.shared.bodies.join(&house.bodies()[0]);
    house
        .spool
        .record(vec![attempt(2, 1, delivered(), Next::Done)].into())
        .await
        .unwrap();
    assert!(eventually(|| house.bodies().is_empty()).await);
    fs::write(&kept, LARGE).unwrap();
    let house = house.killed().await;
    assert!(eventually(|| house.bodies().is_empty()).await);
    assert!(queue(&house).await.is_empty());
}

#[tokio::test]
async fn files_that_are_not_ours_survive_the_search_for_orphans() {
    let house = House::new().await;
    let bodies = house.spool.shared.bodies.clone();
    fs::write(bodies.join("notes.txt"), b"mine").unwrap();
    let orphan = format!("0-{}", ulid::Ulid::generate());
    fs::write(bodies.join(&orphan), b"x").unwrap();
    house.commit(1, &LARGE).await.unwrap();
    let house = house.killed().await;
    assert!(eventually(|| !bodies.join(&orphan).exists()).await);
    assert_eq!(house.bodies().len(), 2);
    assert!(bodies.join("notes.txt").exists());
}

/// The transaction fails halfway and stays open; the next one must not carry its rows along.
#[tokio::test]
async fn a_message_refused_halfway_does_not_come_back() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    // FAIL keeps what the statement did before.
    house
        .store
        .execute(
            "CREATE TEMP TRIGGER refuse AFTER INSERT ON main.recipients
             WHEN NEW.number = 1
             BEGIN SELECT RAISE(FAIL, 'refused'); END",
        )
        .await;
    assert!(house.commit(2, b"x").await.is_err());
    house.store.execute("DROP TRIGGER refuse").await;
    house.commit(3, b"x").await.unwrap();
    let house = house.killed().await;
    let ids: Vec<String> = queue(&house).await.into_keys().collect();
    assert_eq!(ids, [id(1).to_string(), id(3).to_string()]);
}
