//! What it costs to pick up due mail from queues of 10,000, 100,000 and 1,000,000 messages for
//! 10,000 destinations, and to look what is due next.
//!
//! The figure of the pick-up is time for a look of 256 messages, which are given back afterwards.

use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion};
use gatepost::{
    envelope::{BodyType, Envelope, QueueId},
    smtp::{Mailbox, ReversePath},
    store::{
        Store,
        queue::{Batch, BodyRow, Incarnation, MessageRow},
    },
};

const DESTINATIONS: u64 = 10_000;
/// Messages claimed in one look.
const LOOK: usize = 256;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    pick_up(&mut criterion);
    criterion.final_summary();
}

fn pick_up(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("gatepost.sqlite");
    let (store, incarnation) = runtime.block_on(async {
        let store = Store::open(&path).await.expect("a database");
        let begun = store.begin_incarnation("bench", SystemTime::now()).await;
        (store, begun.expect("an incarnation").0)
    });
    let mut filled = 0;
    for messages in [10_000_u64, 100_000, 1_000_000] {
        runtime.block_on(fill(&store, incarnation, filled..messages));
        filled = messages;
        let mut group = criterion.benchmark_group("queue");
        group.bench_function(BenchmarkId::new("pick up 256 of", messages), |bencher| {
            bencher.iter_custom(|looks| runtime.block_on(claim(&store, incarnation, looks)));
        });
        group.bench_function(BenchmarkId::new("next due of", messages), |bencher| {
            bencher.iter_custom(|looks| runtime.block_on(next_due(&store, incarnation, looks)));
        });
        group.finish();
    }
}

/// Messages due in turn over the past hour.
async fn fill(store: &Store, incarnation: Incarnation, numbers: std::ops::Range<u64>) {
    let now = SystemTime::now();
    let numbers: Vec<u64> = numbers.collect();
    for chunk in numbers.chunks(5_000) {
        let mut batch = Batch::default();
        for n in chunk {
            let to = format!("user@dest{}.example", n % DESTINATIONS);
            let envelope = Envelope {
                sender: ReversePath::parse("alice@example.org").expect("a sender"),
                recipients: vec![Mailbox::parse(&to).expect("a recipient").into()],
                body: BodyType::SevenBit,
                smtputf8: false,
                ret: None,
                envelope_id: None,
                protection: Default::default(),
                timing: Default::default(),
            };
            batch.message(&MessageRow {
                release_at: None,
                release_request: None,
                number: i64::try_from(n + 1).expect("a number"),
                id: &QueueId::new(ulid::Ulid(u128::from(n + 1))),
                account: None,
                report_of: None,
                message_id: None,
                envelope: &envelope,
                header: b"Subject: bench\r\n\r\n",
                body: BodyRow::Inline(&[b'x'; 200]),
                received_at: now - Duration::from_millis(n % 3_600_000),
                claimed_by: None,
                is_held: false,
                due_at: None,
                sent: None,
            });
        }
        store.commit(batch, incarnation).await.expect("a commit");
    }
}

async fn claim(store: &Store, incarnation: Incarnation, looks: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..looks {
        let started = Instant::now();
        let claimed = store
            .claim_due(incarnation, SystemTime::now(), LONGEST, LOOK)
            .await
            .expect("a look");
        took += started.elapsed();
        assert_eq!(claimed.len(), LOOK);
        let mut batch = Batch::default();
        for message in claimed {
            batch.release(&QueueId::parse(&message.id).expect("an id"));
        }
        store.commit(batch, incarnation).await.expect("a commit");
    }
    took
}

async fn next_due(store: &Store, incarnation: Incarnation, looks: u64) -> Duration {
    let started = Instant::now();
    for _ in 0..looks {
        let next = store
            .next_due(incarnation, SystemTime::now(), LONGEST)
            .await;
        assert!(next.expect("a look").is_some());
    }
    started.elapsed()
}
