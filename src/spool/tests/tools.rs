//! What an operator's commands do to custody, with a server and after one.

use super::*;
use crate::store::queue::{Part, RecipientState};

const LARGE: [u8; 3 * INLINE] = [b'x'; 3 * INLINE];

fn everything(verb: Verb) -> Change {
    Change {
        verb,
        filter: Filter::default(),
    }
}

async fn change(house: &House, verb: Verb) -> Part {
    let change = everything(verb);
    house.spool.change(&change, None, now()).await.unwrap()
}

async fn states(house: &House) -> Vec<RecipientState> {
    let listed = house.listed(10).await;
    let recipients = listed.iter().flat_map(|entry| &entry.recipients);
    recipients.map(|to| to.state).collect()
}

/// What the queue has in hand is let be, down to its body file; what it gave back is gone.
#[tokio::test]
async fn a_cancelled_message_leaves_with_its_file_and_a_claimed_one_stays() {
    let mut house = House::new().await;
    house.commit(1, &LARGE).await.unwrap();
    let claim = house.fresh.recv().await.unwrap();
    let part = change(&house, Verb::Cancel).await;
    assert_eq!((part.tally.recipients, part.tally.under_way), (0, 2));
    assert_eq!(house.bodies().len(), 1);
    assert!(house.spool.content(&claim.id).await.is_ok());

    house.spool.release(&claim.id).await.unwrap();
    let part = change(&house, Verb::Cancel).await;
    assert_eq!((part.tally.recipients, part.tally.under_way), (2, 0));
    assert!(part.ended_files.is_empty());
    assert!(eventually(|| house.bodies().is_empty()).await);
    assert!(house.listed(10).await.is_empty());
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    // An outcome that comes too late brings nothing back.
    let late = attempt(1, 0, deferred(), Next::At(now()));
    house.spool.record(vec![late].into()).await.unwrap();
    assert!(house.listed(10).await.is_empty());
}

#[tokio::test]
async fn held_mail_is_not_handed_out_until_it_is_released() {
    let house = House::with(|options| options.fresh = 1).await;
    house.commit(1, b"takes the only place").await.unwrap();
    house.commit(2, b"x").await.unwrap();
    change(&house, Verb::Hold).await;
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    assert_eq!(house.spool.next_due().await.unwrap(), None);
    change(&house, Verb::Release).await;
    let claims = house.spool.claim(now(), 10).await.unwrap();
    assert_eq!(claims.len(), 1);
    assert_eq!((&claims[0].id, claims[0].recipients.len()), (&id(2), 2));
}

#[tokio::test]
async fn what_is_retried_is_due_at_once() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    let later = Next::At(now() + Duration::from_secs(3600));
    let records = vec![
        attempt(1, 0, deferred(), later),
        attempt(1, 1, delivered(), Next::Done),
    ];
    house.spool.record(records.into()).await.unwrap();
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    let oldest = house.spool.oldest_due().await.unwrap();
    assert_eq!(oldest, Some(now() + Duration::from_secs(3600)));
    let part = change(&house, Verb::Retry).await;
    assert_eq!((part.tally.recipients, part.tally.messages), (1, 1));
    assert_eq!(house.spool.oldest_due().await.unwrap(), Some(now()));
    assert_eq!(house.spool.claim(now(), 10).await.unwrap().len(), 1);
}

/// A database that refuses leaves everything as it was.
#[tokio::test]
async fn a_change_that_fails_changes_nothing() {
    let house = House::new().await;
    house.commit(1, &LARGE).await.unwrap();
    house.spool.release(&id(1)).await.unwrap();
    house
        .store
        .execute("ALTER TABLE departed RENAME TO away")
        .await;
    let cancel = everything(Verb::Cancel);
    assert!(house.spool.change(&cancel, None, now()).await.is_err());
    assert_eq!(states(&house).await, [RecipientState::Due; 2]);
    assert_eq!(house.bodies().len(), 1);
    house
        .store
        .execute("ALTER TABLE away RENAME TO departed")
        .await;
    house.commit(2, b"x").await.unwrap();
}

/// A process that is gone has no claims, however lately it was seen; one that is there keeps its
/// directory.
#[tokio::test]
async fn at_rest_the_claims_of_the_last_server_are_free() {
    let house = House::new().await;
    house.commit(1, &LARGE).await.unwrap();
    let path = house.directory.path().join("spool");
    let busy = AtRest::open(house.store.clone(), &path, "here").await;
    assert!(matches!(busy, Err(CustodyError::Failed(_))));

    let House {
        directory,
        store,
        spool,
        fresh,
    } = house;
    spool.writer.lock().await.take().unwrap().abort();
    drop((spool, fresh));
    let path = directory.path().join("spool");
    let rest = AtRest::open(store.clone(), &path, "here").await.unwrap();
    let part = rest.change(&everything(Verb::Hold), None, now()).await;
    assert_eq!(part.unwrap().tally.recipients, 2);

    // Nothing is in the way of the next server, and what it finds is held.
    drop(store);
    let house = House::at(directory, |_| {}).await;
    assert_eq!(states(&house).await, [RecipientState::Held; 2]);
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    let part = rest.change(&everything(Verb::Cancel), None, now()).await;
    assert_eq!(part.unwrap().tally.recipients, 2);
    assert!(house.bodies().is_empty(), "removed when it returns");
}

/// Whatever of it is left can be saved.
#[tokio::test]
async fn remains_are_read_whole_or_not() {
    let house = House::new().await;
    house.commit(1, &LARGE).await.unwrap();
    house.commit(2, b"small").await.unwrap();
    let path = house.directory.path().join("spool");
    let read = async |number| {
        remains(&house.store, &path, id(number).as_str())
            .await
            .unwrap()
    };
    for (number, body) in [(1, &LARGE[..]), (2, b"small")] {
        let left = read(number).await.unwrap();
        let mut octets = Vec::new();
        assert_eq!(left.write_to(&mut octets).unwrap(), left.body_octets);
        assert_eq!(octets, [b"Subject: x\r\n\r\n", body].concat());
    }
    std::fs::write(path.join("bodies").join(&house.bodies()[0]), b"short").unwrap();
    let left = read(1).await.unwrap();
    assert_eq!(left.write_to(&mut Vec::new()).unwrap(), 5);
    assert_eq!(left.body_octets, LARGE.len() as u64);
    std::fs::remove_file(path.join("bodies").join(&house.bodies()[0])).unwrap();
    assert!(read(1).await.unwrap().write_to(&mut Vec::new()).is_err());
    assert!(read(3).await.is_none());
}

/// Delivery and an operator go for the same mail at the same time: each recipient falls to exactly
/// one of them, and none to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_cancels_at_once_share_the_mail_out() {
    const MESSAGES: u64 = 120;
    let house = Arc::new(House::new().await);
    house.spool.hold(true);
    for number in 1..=MESSAGES {
        house.commit(number, b"x").await.unwrap();
    }
    house.spool.hold(false);
    let claim = async |house: &House| {
        let claims = house.spool.claim(now(), 5).await.unwrap();
        claims.iter().map(|it| it.recipients.len()).sum::<usize>() as u64
    };
    let mut claimed = claim(&house).await;
    let others = tokio::spawn({
        let house = house.clone();
        async move {
            let (mut sum, mut found) = (0, 1);
            while found > 0 {
                found = claim(&house).await;
                sum += found;
            }
            sum
        }
    });
    let (mut cancelled, mut under_way) = (0, 0);
    // Newest first, so that they meet in the middle.
    for number in (1..=MESSAGES).rev() {
        let mut cancel = everything(Verb::Cancel);
        cancel.filter.ids = vec![id(number).to_string()];
        let part = house.spool.change(&cancel, None, now()).await.unwrap();
        cancelled += part.tally.recipients;
        under_way += part.tally.under_way;
    }
    claimed += others.await.unwrap();
    assert_eq!(claimed + cancelled, 2 * MESSAGES);
    assert_eq!(under_way, claimed);
}
