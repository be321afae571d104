//! What custody of a 4 KiB message costs with 1, 16 and 64 sessions handing in at once.
//!
//! Mail is held, so that nothing but acceptance is measured. The figure is time per message.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use gatepost::{
    envelope::{BodyType, Envelope, QueueId},
    smtp::{Mailbox, ReversePath},
    spool::{NewMessage, Options, Spool},
    store::Store,
};

const BODY: [u8; 4096] = [b'x'; 4096];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    commits(&mut criterion);
    criterion.final_summary();
}

fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("spool/commit");
    group.throughput(Throughput::Elements(1));
    for submitters in [1, 16, 64] {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = runtime.block_on(open(directory.path()));
        let id = BenchmarkId::from_parameter(submitters);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|messages| {
                runtime.block_on(submit(spool.clone(), submitters, messages))
            });
        });
        runtime.block_on(spool.close());
    }
    group.finish();
}

async fn open(directory: &Path) -> Arc<Spool> {
    let store = Store::open(&directory.join("gatepost.sqlite"))
        .await
        .expect("a database");
    let options = Options {
        directory: directory.join("spool"),
        inline_octets: 65_536,
        batch: 256,
        reserve_octets: 0,
        reserve_inodes: 0,
        fresh: 1,
        node: "bench".to_owned(),
    };
    let (spool, _) = Spool::open(store, options, SystemTime::now())
        .await
        .expect("a spool");
    spool.hold(true);
    spool
}

/// Hands in so many messages, divided among the submitters.
async fn submit(spool: Arc<Spool>, submitters: u64, messages: u64) -> Duration {
    let started = Instant::now();
    let tasks: Vec<_> = (0..submitters)
        .map(|number| {
            let spool = spool.clone();
            let share = messages / submitters + u64::from(number < messages % submitters);
            tokio::spawn(async move {
                for _ in 0..share {
                    one(&spool).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a submitter");
    }
    started.elapsed()
}

async fn one(spool: &Spool) {
    let mut body = spool.body();
    body.write(&BODY).await.expect("room");
    let message = NewMessage {
        release_at: None,
        release_request: None,
        id: QueueId::new(ulid::Ulid::generate()),
        account: None,
        report_of: None,
        message_id: None,
        envelope: Envelope {
            sender: ReversePath::parse("alice@example.org").expect("a sender"),
            recipients: vec![
                Mailbox::parse("bob@example.net")
                    .expect("a recipient")
                    .into(),
            ],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envelope_id: None,
            protection: Default::default(),
            timing: Default::default(),
        },
        header: b"Subject: bench\r\nFrom: alice@example.org\r\n\r\n".repeat(8),
        body: body.finish().await.expect("a body"),
        received_at: SystemTime::now(),
        start: Default::default(),
        sent: None,
    };
    spool.commit(message).await.expect("custody");
}
