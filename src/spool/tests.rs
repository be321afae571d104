//! Custody from the outside: what is taken, claimed, recorded, held and set aside.

mod crash;
mod faults;
mod files;
mod settle;
mod tools;

use std::{path::Path, sync::LazyLock, time::UNIX_EPOCH};

use super::*;
use crate::{
    envelope::{AccountId, BodyType, Deadline, Envelope, Identity, Link, Outcome, Status},
    smtp::{
        DeliverBy, EnhancedCode, EnvelopeId, FutureRelease, Mailbox, OriginalRecipient, Priority,
        Return, ReversePath,
    },
    store::queue::{Change, Filter, QueueEntry, Verb},
};

/// A spool of its own directory and database.
struct House {
    directory: tempfile::TempDir,
    store: Store,
    spool: Arc<Spool>,
    fresh: Fresh,
}

/// Small enough that a test can pass it.
const INLINE: usize = 1000;

fn options(directory: &Path) -> Options {
    Options {
        directory: directory.join("spool"),
        inline_octets: INLINE,
        batch: 256,
        reserve_octets: 0,
        reserve_inodes: 0,
        fresh: 64,
        node: "here".to_owned(),
    }
}

impl House {
    async fn new() -> House {
        House::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> House {
        House::at(tempfile::tempdir().unwrap(), change).await
    }

    async fn at(directory: tempfile::TempDir, change: impl FnOnce(&mut Options)) -> House {
        let mut options = options(directory.path());
        change(&mut options);
        let store = Store::open(&directory.path().join("gatepost.sqlite"))
            .await
            .unwrap();
        let (spool, fresh) = Spool::open(store.clone(), options, now()).await.unwrap();
        House {
            directory,
            store,
            spool,
            fresh,
        }
    }

    /// As after `kill -9`: nothing is told to the database, and another process takes over.
    async fn killed(self) -> House {
        // The lock goes with the process; the row of its node stays, as nobody signs off.
        let House {
            directory,
            store,
            spool,
            fresh,
        } = self;
        spool.writer.lock().await.take().unwrap().abort();
        drop((spool, fresh));
        drop(store);
        House::at(directory, |_| {}).await
    }

    async fn message(&self, id: u64, body: &[u8]) -> NewMessage {
        let mut writer = self.spool.body();
        for piece in body.chunks(700) {
            writer.write(piece).await.unwrap();
        }
        message(id, writer.finish().await.unwrap())
    }

    async fn commit(&self, id: u64, body: &[u8]) -> Result<(), CustodyError> {
        let message = self.message(id, body).await;
        self.spool.commit(message).await
    }

    async fn listed(&self, limit: u32) -> Vec<QueueEntry> {
        let anything = Filter::default();
        let listed = self.store.queue_list(&anything, now(), 0, limit).await;
        listed.unwrap()
    }

    fn bodies(&self) -> Vec<String> {
        bodies(self.directory.path())
    }
}

fn bodies(directory: &Path) -> Vec<String> {
    let list = std::fs::read_dir(directory.join("spool/bodies")).unwrap();
    let names = list.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Of this run, in whole seconds, as the spool compares with the real clock in one place.
fn now() -> SystemTime {
    static NOW: LazyLock<SystemTime> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        UNIX_EPOCH + Duration::from_secs(since.as_secs())
    });
    *NOW
}

fn id(number: u64) -> QueueId {
    QueueId::new(ulid::Ulid(u128::from(number)))
}

fn message(number: u64, body: Body) -> NewMessage {
    NewMessage {
        release_at: None,
        release_request: None,
        id: id(number),
        account: Some(Identity {
            account: AccountId(7),
            name: "alice".into(),
            app_password: None,
        }),
        report_of: None,
        message_id: Some("<1@example.org>".into()),
        envelope: Envelope {
            sender: ReversePath::parse("alice@example.org").unwrap(),
            recipients: vec![
                Mailbox::parse("bob@example.net").unwrap().into(),
                Mailbox::parse("\"c\\\"d\"@example.net").unwrap().into(),
            ],
            body: BodyType::EightBitMime,
            smtputf8: true,
            ret: Some(Return::Headers),
            envelope_id: EnvelopeId::parse("Q+2B1"),
            protection: Default::default(),
            timing: Default::default(),
        },
        header: b"Subject: x\r\n\r\n".to_vec(),
        body,
        received_at: now(),
        start: Default::default(),
        sent: None,
    }
}

fn attempt(number: u64, recipient: u32, outcome: Outcome, next: Next) -> AttemptRecord {
    AttemptRecord {
        id: id(number),
        recipient,
        next_hop: "maildir".into(),
        link: None,
        in_vain: Arc::default(),
        started_at: now(),
        ended_at: now(),
        outcome,
        next,
        tells_delay: false,
        unprotected_since: None,
        trace: Trace::Kept,
    }
}

fn deferred() -> Outcome {
    Outcome::Deferred(Status::new(
        EnhancedCode::new(4, 2, 0),
        "disk \"full\"\u{0}\r\n",
    ))
}

fn delivered() -> Outcome {
    Outcome::Delivered(Status::new(EnhancedCode::new(2, 0, 0), "new/1"))
}

/// Header and body as the queue would read them.
fn octets(content: &Content) -> Vec<u8> {
    let mut all = content.header.to_vec();
    match &content.body {
        StoredBody::Memory(octets) => all.extend_from_slice(octets),
        StoredBody::File { path, .. } => all.extend(std::fs::read(path).unwrap()),
    }
    all
}

async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..500 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_fresh_message_reaches_the_queue_in_memory_and_claimed() {
    let mut house = House::new().await;
    house.commit(1, b"hello").await.unwrap();
    let claim = house.fresh.recv().await.unwrap();
    assert_eq!(claim.id, id(1));
    assert_eq!(claim.recipients.len(), 2);
    assert_eq!(
        octets(&claim.content.unwrap()),
        b"Subject: x\r\n\r\nhello".to_vec()
    );
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    assert_eq!(house.spool.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_finished_body_can_be_read_before_its_commit() {
    let house = House::with(|options| options.inline_octets = 10).await;
    for body in [&b"small"[..], b"too large for a row"] {
        let mut writer = house.spool.body();
        writer.write(body).await.unwrap();
        let finished = writer.finish().await.unwrap();
        let content = Content {
            header: Default::default(),
            body: house.spool.place_of(&finished),
        };
        let in_file = matches!(content.body, StoredBody::File { .. });
        assert_eq!(in_file, body.len() > 10);
        let mut read = Vec::new();
        content.body.open().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, body);
    }
    // Nothing of them was committed.
    assert!(eventually(|| house.bodies().is_empty()).await);
}

#[tokio::test]
async fn a_message_that_the_queue_had_no_room_for_is_claimed_from_the_database() {
    let house = House::with(|options| options.fresh = 1).await;
    for number in 1..=3 {
        house.commit(number, b"hello").await.unwrap();
    }
    house.spool.unclaimed().await;
    assert_eq!(house.spool.next_due().await.unwrap(), Some(now()));
    let claims = house.spool.claim(now(), 10).await.unwrap();
    assert_eq!(claims.len(), 2);
    let claim = &claims[0];
    assert_eq!(claim.id, id(2));
    assert_eq!(claim.sender.to_string(), "alice@example.org");
    assert_eq!(claim.body, BodyType::EightBitMime);
    assert!(claim.smtputf8);
    assert_eq!(claim.received_at, now());
    let addresses: Vec<String> = claim
        .recipients
        .iter()
        .map(|recipient| recipient.address.to_string())
        .collect();
    assert_eq!(addresses, ["bob@example.net", "\"c\\\"d\"@example.net"]);
    let content = house.spool.content(&id(2)).await.unwrap();
    assert_eq!(octets(&content), b"Subject: x\r\n\r\nhello".to_vec());
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn claims_are_oldest_due_first_and_no_more_than_asked_for() {
    let house = House::new().await;
    house.spool.hold(true);
    for (number, age) in [(1, 10), (2, 30), (3, 20)] {
        let mut message = house.message(number, b"x").await;
        message.received_at = now() - Duration::from_secs(age);
        house.spool.commit(message).await.unwrap();
    }
    house.spool.hold(false);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let claims = house.spool.claim(now(), 1).await.unwrap();
        assert_eq!(claims.len(), 1);
        ids.push(claims[0].id.clone());
    }
    assert_eq!(ids, [id(2), id(3), id(1)]);
}

#[tokio::test]
async fn a_message_leaves_with_its_last_recipient_and_not_before() {
    let house = House::new().await;
    house.commit(1, &[b'x'; 3 * INLINE]).await.unwrap();
    let done = |recipient| vec![attempt(1, recipient, delivered(), Next::Done)];

    house.spool.record(done(0).into()).await.unwrap();
    let left = house.listed(10).await;
    assert_eq!(left[0].recipients.len(), 1);
    assert_eq!(left[0].recipients[0].number, 1);
    assert_eq!(house.bodies().len(), 1);

    house.spool.record(done(1).into()).await.unwrap();
    assert!(house.listed(10).await.is_empty());
    assert!(eventually(|| house.bodies().is_empty()).await);
    assert!(house.store.content(&id(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_deferred_recipient_comes_back_when_due_with_its_history() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    let later = now() + Duration::from_secs(600);
    house
        .spool
        .record(
            vec![
                attempt(1, 0, deferred(), Next::At(later)),
                attempt(1, 1, deferred(), Next::Held),
            ]
            .into(),
        )
        .await
        .unwrap();

    let listed = house.listed(10).await;
    let [first, second] = &listed[0].recipients[..] else {
        panic!("two recipients are left");
    };
    use crate::store::queue::RecipientState;
    assert_eq!(first.state, RecipientState::Deferred);
    assert_eq!(first.next_attempt_at, later);
    assert_eq!(first.last_code.as_deref(), Some("4.2.0"));
    assert!(
        first
            .last_text
            .as_deref()
            .unwrap()
            .starts_with("disk \"full\"")
    );
    assert_eq!(second.state, RecipientState::Held);

    assert_eq!(house.spool.next_due().await.unwrap(), Some(later));
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    let claims = house.spool.claim(later, 10).await.unwrap();
    assert_eq!(claims[0].recipients.len(), 1);
    assert_eq!(claims[0].recipients[0].number, 0);
    assert_eq!(claims[0].recipients[0].attempts, 1);
    let counts = house.spool.counts().await.unwrap();
    assert_eq!((counts.messages, counts.claimed, counts.held), (1, 1, 1));
}

#[tokio::test]
async fn what_was_released_is_due_at_once() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    house.spool.release(&id(1)).await.unwrap();
    let claims = house.spool.claim(now(), 10).await.unwrap();
    assert_eq!(claims[0].recipients.len(), 2);
    assert_eq!(claims[0].recipients[0].attempts, 0);
}

#[tokio::test]
async fn claims_of_a_killed_process_are_free_and_those_of_a_live_node_are_not() {
    let house = House::new().await;
    house.commit(1, b"x").await.unwrap();
    house.commit(2, &[b'y'; 2 * INLINE]).await.unwrap();
    let house = house.killed().await;
    assert!(house.spool.next_due().await.unwrap().is_some());
    let claims = house.spool.claim(now(), 10).await.unwrap();
    assert_eq!(claims.len(), 2);
    for (claim, body) in claims.iter().zip([vec![b'x'], vec![b'y'; 2 * INLINE]]) {
        let content = house.spool.content(&claim.id).await.unwrap();
        assert!(octets(&content).ends_with(&body));
    }
    // Another node sees our claims as ours, until we are silent for too long.
    let (other, _) = house.store.begin_incarnation("there", now()).await.unwrap();
    let claim = |at| house.store.claim_due(other, at, LONGEST_RETRY, 10);
    assert!(claim(now()).await.unwrap().is_empty());
    let much_later = now() + Duration::from_secs(3600);
    assert_eq!(claim(much_later).await.unwrap().len(), 2);
}

/// Due times further off than the longest retry count as due.
#[tokio::test]
async fn a_clock_that_was_stepped_back_strands_nothing() {
    let house = House::new().await;
    house.spool.hold(true);
    let mut ahead = house.message(1, b"x").await;
    ahead.received_at = now() + 400 * LONGEST_RETRY;
    house.spool.commit(ahead).await.unwrap();
    house.spool.hold(false);
    assert!(house.spool.next_due().await.unwrap().unwrap() <= SystemTime::now());
    assert_eq!(house.spool.claim(now(), 10).await.unwrap().len(), 1);
    // And no retry is put further off than that.
    let never = Next::At(now() + 400 * LONGEST_RETRY);
    house
        .spool
        .record(vec![attempt(1, 0, deferred(), never)].into())
        .await
        .unwrap();
    let listed = house.listed(10).await;
    let next = listed[0].recipients[0].next_attempt_at;
    assert_eq!(next, now() + LONGEST_RETRY);
}

/// R4865-4.2d, R4865-6b: not even where the clock was stepped back since.
#[tokio::test]
async fn mail_for_later_does_not_go_before_its_time() {
    let mut house = House::new().await;
    let at = now() + 400 * LONGEST_RETRY;
    let mut later = house.message(1, b"x").await;
    later.release_at = Some(at);
    later.release_request = FutureRelease::parse("for;60");
    house.spool.commit(later).await.unwrap();
    assert!(house.fresh.0.try_recv().is_err());
    assert_eq!(house.spool.next_due().await.unwrap(), Some(at));
    let before = at - Duration::from_millis(1);
    for early in [now() - 400 * LONGEST_RETRY, now(), before] {
        assert!(house.spool.claim(early, 10).await.unwrap().is_empty());
    }
    // A hold and its end do not bring it forward.
    assert_eq!(house.spool.hold_mail_of("alice").await.unwrap(), 2);
    let release = Change {
        verb: Verb::Release,
        filter: Filter::default(),
    };
    house.spool.change(&release, None, now()).await.unwrap();
    assert!(house.spool.claim(before, 10).await.unwrap().is_empty());
    let claimed = house.spool.claim(at, 10).await.unwrap().remove(0);
    assert_eq!(claimed.recipients.len(), 2);
    // Its age counts from there.
    assert_eq!((claimed.received_at, claimed.released_at), (now(), at));
    assert_eq!(claimed.release_request, FutureRelease::parse("for;60"));
}

/// Mail that was held for long is not given up at once.
#[tokio::test]
async fn released_mail_is_young_again() {
    let house = House::new().await;
    let mut held = house.message(1, b"x").await;
    held.start = Start::Held;
    held.received_at = now() - 30 * LONGEST_RETRY;
    house.spool.commit(held).await.unwrap();
    let release = Change {
        verb: Verb::Release,
        filter: Filter::default(),
    };
    house.spool.change(&release, None, now()).await.unwrap();
    let claimed = house.spool.claim(now(), 10).await.unwrap().remove(0);
    assert_eq!(claimed.released_at, now());
}

#[tokio::test]
async fn held_mail_is_accepted_and_not_handed_out() {
    let mut house = House::new().await;
    house.spool.hold(true);
    house.commit(1, b"x").await.unwrap();
    assert!(house.spool.claim(now(), 10).await.unwrap().is_empty());
    assert_eq!(house.spool.next_due().await.unwrap(), None);
    house.spool.hold(false);
    assert_eq!(house.spool.claim(now(), 10).await.unwrap().len(), 1);
    assert!(house.fresh.0.try_recv().is_err());
}

/// S6, and the goal of few syncs: those who finish together share a commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commits_share_transactions() {
    const TASKS: u64 = 64;
    const EACH: u64 = 20;
    let house = Arc::new(House::with(|options| options.fresh = 10).await);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let house = house.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    house.commit(1 + task * EACH + number, b"x").await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counts = house.spool.counts().await.unwrap();
    assert_eq!(counts.messages, TASKS * EACH);
    let commits = house.spool.shared.commits.load(Relaxed);
    assert!(commits < TASKS * EACH / 2, "{commits} commits");
}

#[tokio::test]
async fn a_duplicate_id_is_refused_alone() {
    let house = House::new().await;
    house.commit(1, b"first").await.unwrap();
    let (again, other) = tokio::join!(house.commit(1, b"second"), house.commit(2, b"x"));
    assert!(matches!(again, Err(CustodyError::Failed(_))));
    assert_eq!(other, Ok(()));
    let content = house.spool.content(&id(1)).await.unwrap();
    assert!(octets(&content).ends_with(b"first"));
}

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let house = House::new().await;
    let message = house.message(1, b"x").await;
    let spool = house.spool.clone();
    let task = tokio::spawn(async move { spool.commit(message).await });
    // On one thread: it runs up to its wait for the writer, and then it is gone.
    tokio::task::yield_now().await;
    task.abort();
    house.spool.close().await;
    assert_eq!(house.listed(10).await.len(), 1);
}

#[tokio::test]
async fn closing_commits_what_waits_and_takes_no_more() {
    let house = House::new().await;
    let mut messages = Vec::new();
    for number in 1..=5 {
        messages.push(house.message(number, b"x").await);
    }
    let late = house.message(9, b"x").await;
    let commits: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let spool = house.spool.clone();
            tokio::spawn(async move { spool.commit(message).await })
        })
        .collect();
    tokio::task::yield_now().await;
    house.spool.close().await;
    for commit in commits {
        assert_eq!(commit.await.unwrap(), Ok(()));
    }
    assert!(house.spool.commit(late).await.is_err());
    house.spool.close().await;
}

#[tokio::test]
async fn a_second_process_is_kept_out_of_the_directory() {
    let house = House::new().await;
    let second = Spool::open(house.store.clone(), options(house.directory.path()), now()).await;
    assert!(matches!(second, Err(CustodyError::Failed(_))));
}

/// S36.
#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let house = House::new().await;
    house.spool.hold(true);
    for number in 1..=5 {
        house.commit(number, b"x").await.unwrap();
    }
    house.commit(6, &[b'x'; 2 * INLINE]).await.unwrap();
    house.commit(7, &[b'x'; 2 * INLINE]).await.unwrap();
    let damage = [
        "UPDATE messages SET sender = CAST(x'ff40' AS TEXT) WHERE number = 1",
        "UPDATE recipients SET address = 'nobody' WHERE message = 2",
        "UPDATE messages SET id = 'x' WHERE number = 3",
        "UPDATE contents SET body = x'' WHERE message = 4",
        "DELETE FROM contents WHERE message = 5",
    ];
    for statement in damage {
        house.store.execute(statement).await;
    }
    for name in house.bodies() {
        let path = house.spool.shared.bodies.join(name);
        std::fs::write(path, b"short").unwrap();
    }
    let house = house.killed().await;
    house.commit(8, b"sound").await.unwrap();
    house.spool.release(&id(8)).await.unwrap();
    let claims = house.spool.claim(now(), 20).await.unwrap();
    let ids: Vec<_> = claims.iter().map(|claim| claim.id.clone()).collect();
    assert_eq!(ids, [id(4), id(5), id(6), id(7), id(8)]);
    for number in 4..=7 {
        assert!(house.spool.content(&id(number)).await.is_err(), "{number}");
    }
    assert!(house.spool.content(&id(8)).await.is_ok());
    let counts = house.spool.counts().await.unwrap();
    assert_eq!((counts.messages, counts.aside), (8, 14));
    // A later outcome does not bring them back.
    let later = Next::At(now());
    house
        .spool
        .record(vec![attempt(4, 0, deferred(), later)].into())
        .await
        .unwrap();
    assert!(house.spool.claim(now(), 20).await.unwrap().is_empty());
}

/// Octets in are octets out, whichever way the body travels and however it comes in pieces.
#[test]
fn content_comes_back_as_it_went_in() {
    use proptest::{collection::vec, prelude::any, test_runner::*};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let house = runtime.block_on(House::new());
    let sizes = [0, 1, INLINE - 1, INLINE, INLINE + 1, 300 * 1024];
    let mut number = 0;
    let mut round_trip = |octets: &[u8], pieces: usize| {
        number += 1;
        runtime.block_on(async {
            let mut writer = house.spool.body();
            for piece in octets.chunks(pieces) {
                writer.write(piece).await.unwrap();
            }
            assert_eq!(writer.len(), octets.len() as u64);
            let mut message = message(number, writer.finish().await.unwrap());
            message.header = octets.iter().rev().copied().chain(*b"\r\n").collect();
            let mut expected = message.header.clone();
            house.spool.commit(message).await.unwrap();
            let content = house.spool.content(&id(number)).await.unwrap();
            let in_file = matches!(content.body, StoredBody::File { .. });
            assert_eq!(in_file, octets.len() > INLINE);
            expected.extend_from_slice(octets);
            assert!(super::tests::octets(&content) == expected);
        });
    };
    for size in sizes {
        round_trip(&vec![b'x'; size], 4096);
    }
    let round_trip = std::cell::RefCell::new(round_trip);
    TestRunner::new(Config::with_cases(48))
        .run(
            &(vec(any::<u8>(), 0..2 * INLINE), 1..2 * INLINE),
            |(octets, pieces)| {
                (round_trip.borrow_mut())(&octets, pieces);
                Ok(())
            },
        )
        .unwrap();
}

/// R6710-5.1a: what is more urgent is handed out first, however long other mail has waited.
#[tokio::test]
async fn the_most_urgent_mail_is_claimed_first() {
    let house = House::new().await;
    house.spool.hold(true);
    for (number, priority, age) in [(1, -9, 60), (2, 0, 50), (3, 9, 0), (4, 4, 10), (5, 0, 30)] {
        let mut urgent = house.message(number, b"x").await;
        urgent.envelope.timing.priority = Priority::new(priority);
        urgent.received_at = now() - Duration::from_secs(age);
        house.spool.commit(urgent).await.unwrap();
    }
    house.spool.hold(false);
    let mut order = Vec::new();
    loop {
        let claims = house.spool.claim(now(), 1).await.unwrap();
        let Some(claim) = claims.into_iter().next() else {
            break;
        };
        let priority = claim.timing.priority.map(Priority::number);
        order.push((claim.id, priority));
    }
    let expected = [(3, 9), (4, 4), (2, 0), (5, 0), (1, -9)];
    assert_eq!(order, expected.map(|(number, it)| (id(number), Some(it))));
    // Mail of any priority wakes the queue.
    let mut slow = house.message(6, b"x").await;
    slow.envelope.timing.priority = Priority::new(-3);
    house.spool.hold(true);
    house.spool.commit(slow).await.unwrap();
    house.spool.hold(false);
    assert_eq!(house.spool.next_due().await.unwrap(), Some(now()));
}

/// What cannot be read of a deadline is not guessed at.
#[tokio::test]
async fn a_deadline_survives_a_restart() {
    let house = House::new().await;
    let mut due = house.message(1, b"x").await;
    let by = DeliverBy::parse("100;RT").unwrap();
    due.envelope.timing.deadline = Some(Deadline::of(by, now()));
    let expected = due.envelope.timing;
    house.spool.commit(due).await.unwrap();
    let house = house.killed().await;
    let claims = house.spool.claim(now(), 9).await.unwrap();
    assert_eq!(claims[0].timing, expected);
}
