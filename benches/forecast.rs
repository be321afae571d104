//! What the look ahead at RCPT costs: MX, addresses, TLSA and the look for a policy, of domains whose
//! answers are remembered, and of such as nobody has asked for, with a resolver on this machine that
//! answers at once.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use criterion::{Criterion, Throughput};
use gatepost::{
    dns::{Dns, Options},
    envelope::{Level, Protection},
    policy::security::Requirement,
    reach::{Outlook, Reach, sts},
    smtp::Domain,
    store::Store,
};
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use tokio::net::UdpSocket;

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    forecast(&mut criterion);
    criterion.final_summary();
}

fn forecast(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let reach = runtime.block_on(async {
        let resolver = answer().await;
        let dns = Dns::new(Options {
            servers: vec![resolver],
            entries: 1_000_000,
            ..Options::default()
        });
        let store = Store::open(&directory.path().join("db")).await;
        let store = store.expect("a database");
        let now = SystemTime::now();
        let sts = sts::Sts::open(sts::Options::default(), dns.clone(), store, now).await;
        Reach::new(dns, Some(sts.expect("policies")))
    });
    let mut group = criterion.benchmark_group("forecast");
    group.throughput(Throughput::Elements(1));
    group.bench_function("remembered", |bencher| {
        let known = Domain::parse("known.example").expect("a domain");
        bencher.iter(|| runtime.block_on(look(reach.clone(), known.clone())));
    });
    let next = AtomicU64::new(0);
    let new = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        Domain::parse(&format!("d{number}.example")).expect("a domain")
    };
    group.bench_function("asked", |bencher| {
        bencher.iter(|| runtime.block_on(look(reach.clone(), new())));
    });
    // As many as a client may send in one go, looked up side by side.
    group.throughput(Throughput::Elements(50));
    group.bench_function("asked/50 at once", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let looks = (0..50).map(|_| tokio::spawn(look(reach.clone(), new())));
                for task in looks.collect::<Vec<_>>() {
                    task.await.expect("a look");
                }
            });
        });
    });
    group.finish();
}

async fn look(reach: Reach, domain: Domain) {
    let required = Requirement::of(Protection::default(), Level::Encrypted, None);
    let found = reach
        .forecast(&domain, required, 25, SystemTime::now())
        .await;
    assert_eq!(found.outlook(), Outlook::Fair);
}

/// A resolver: every domain has a mail host of its own, with an address and no TLSA record.
async fn answer() -> SocketAddr {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port"));
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut octets).await {
            let Ok(question) = Message::from_vec(&octets[..length]) else {
                continue;
            };
            let octets = reply(&question).to_vec().expect("a reply");
            let _ = socket.send_to(&octets, from).await;
        }
    });
    address
}

fn reply(question: &Message) -> Message {
    let mut answer = Message::new(question.id, MessageType::Response, question.op_code);
    let query = question.queries[0].clone();
    let name = query.name().clone();
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = true;
    let data = match query.query_type() {
        RecordType::MX => {
            let host = Name::from_ascii(format!("mx.{name}")).expect("a name");
            Some(RData::MX(rdata::MX::new(10, host)))
        }
        RecordType::A => Some(RData::A(rdata::A(Ipv4Addr::LOCALHOST))),
        _ => None,
    };
    match data {
        Some(data) => drop(answer.add_answer(Record::from_rdata(name, 3600, data))),
        None if query.query_type() == RecordType::AAAA => {}
        None => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.add_query(query);
    answer
}
