//! How long a server takes to serve with 10,000 accounts and 100,000 queued messages, and to scrape
//! its metrics then.
//!
//! Each start is followed by a stop, which is not counted. With `GATEPOST_BENCH_KEEP=DIRECTORY` the
//! directory is made there and stays, for a look at the program itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use criterion::Criterion;
use gatepost::{
    config::Loaded,
    envelope::{BodyType, Envelope, QueueId},
    server::{DATABASE, Server},
    smtp::{Domain, Mailbox, ReversePath},
    spool::{NewMessage, Spool},
    store::{Store, accounts::NewAccount},
    tls::dev,
};
use tokio::runtime::Runtime;

const ACCOUNTS: usize = 10_000;
const MESSAGES: usize = 100_000;
/// Hands that submit at once, so that commits are full.
const SUBMITTERS: usize = 256;

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let temporary = tempfile::tempdir().expect("a directory");
    let kept = std::env::var_os("GATEPOST_BENCH_KEEP").map(PathBuf::from);
    let place = kept.unwrap_or_else(|| temporary.path().to_owned());
    let loaded = prepare(&runtime, &place);

    criterion.bench_function("start/10,000 accounts, 100,000 messages", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(starts(&loaded, times)));
    });
    criterion.bench_function("queue counts/100,000 messages", |bencher| {
        let path = loaded.config.data_dir.join(DATABASE);
        let store = runtime
            .block_on(Store::open_read_only(&path))
            .expect("a database");
        bencher.iter(|| {
            let counted = store.queue_counts(SystemTime::now());
            let counts = runtime.block_on(counted).expect("counts");
            assert_eq!(counts.messages, MESSAGES as u64);
        });
        runtime.block_on(store.close());
    });
    criterion.final_summary();
}

async fn starts(loaded: &Loaded, times: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let begun = Instant::now();
        let running = Server::start(loaded.clone(), None).await.expect("a server");
        total += begun.elapsed();
        running.stop().await;
    }
    total
}

fn prepare(runtime: &Runtime, place: &Path) -> Loaded {
    let now = SystemTime::now();
    let made = dev::certificate(&place.join("certs"), now).expect("a certificate");
    let (here, cert, key) = (
        place.display(),
        made.pair.chain.display(),
        made.pair.key.display(),
    );
    let text = format!(
        r#"hostname = "localhost"
data_dir = "{here}/data"
listeners = {{ submissions = ["127.0.0.1:0"], submission = ["127.0.0.1:0"] }}
http = {{ listen = ["127.0.0.1:0"] }}
queue = {{ hold = true }}
spool = {{ reserve = 0, reserve_inodes = 0 }}
[[certificates]]
cert = "{cert}"
key = "{key}"
[[routes]]
name = "local"
domains = ["*", "example.org"]
path = "{here}/mail/{{address}}"
recipients = "any"
"#
    );
    std::fs::write(place.join("gatepost.toml"), &text).expect("a file");
    let loaded = Loaded::parse("bench", &text).expect("a configuration");
    runtime.block_on(fill(&loaded));
    loaded
}

async fn fill(loaded: &Loaded) {
    let now = SystemTime::now();
    let path = loaded.config.data_dir.join(DATABASE);
    let store = Store::open(&path).await.expect("a database");
    let domain = Domain::parse("example.org").expect("a domain");
    store.add_domain(&domain, now).await.expect("a domain");
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA".into();
    for n in 0..ACCOUNTS {
        let name = format!("user{n}@example.org");
        let address = Mailbox::parse(&name).expect("an address");
        let account = NewAccount {
            name: &name,
            password_hash: &hash,
            scram: None,
            address: &address,
        };
        store.add_account(account, now).await.expect("an account");
    }
    let (spool, fresh) = Spool::open(store.clone(), loaded.options.spool.clone(), now)
        .await
        .expect("a spool");
    drop(fresh);
    spool.hold(true);
    let tasks: Vec<_> = (0..SUBMITTERS)
        .map(|n| {
            tokio::spawn(submit(
                Arc::clone(&spool),
                (n..MESSAGES).step_by(SUBMITTERS).count(),
            ))
        })
        .collect();
    for task in tasks {
        task.await.expect("a submitter");
    }
    spool.close().await;
    store.close().await;
}

async fn submit(spool: Arc<Spool>, messages: usize) {
    for _ in 0..messages {
        let mut body = spool.body();
        body.write(&[b'x'; 1024]).await.expect("room");
        let message = NewMessage {
            release_at: None,
            release_request: None,
            id: QueueId::new(ulid::Ulid::generate()),
            account: None,
            report_of: None,
            message_id: None,
            envelope: Envelope {
                sender: ReversePath::parse("user1@example.org").expect("a sender"),
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
            header: b"Subject: bench\r\nFrom: user1@example.org\r\n\r\n".to_vec(),
            body: body.finish().await.expect("a body"),
            received_at: SystemTime::now(),
            start: Default::default(),
            sent: None,
        };
        spool.commit(message).await.expect("custody");
    }
}
