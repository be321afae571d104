//! How fast queued 4 KiB messages reach a smarthost over TLS, and the mail host of their recipients'
//! domain by STARTTLS and DANE, with 1, 16 and 64 connections that are used again, and without use
//! again.
//!
//! The messages lie in a real spool, durable; the other side is a sink in this process that takes
//! everything, so its work is part of the time. The DNS answers from a table. The figure is time per
//! message.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use gatepost::{
    client::Timeouts,
    deliver::{self, Deliver, hop},
    dkim::Dkim,
    dns::{Absence, Asked, Data, Dns, Kind, Record, Reply, Source, Verdict},
    envelope::{BodyType, Envelope, QueueId, Tlsa},
    policy::routes::{
        DomainPattern, Encryption, Hop, Host, Mx, Place, Route, RouteTable, Transport, Trust,
    },
    queue::{self, Queue},
    reach::Reach,
    smtp::{Domain, Mailbox, ReversePath},
    spool::{Fresh, NewMessage, Options, Spool},
    store::Store,
    tls,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

const HEADER: &[u8] = b"Subject: bench\r\nFrom: alice@example.org\r\nTo: bob@example.net\r\n\r\n";
const LINE: &[u8] = b"Sixty-two octets of text that are as good as any other text..\r\n";
/// Submitters that fill the spool.
const SUBMITTERS: usize = 64;

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    relayed(&mut criterion);
    criterion.final_summary();
}

fn relayed(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let certificates = directory.path().join("certs");
    tls::dev::certificate(&certificates, SystemTime::now()).expect("certificates");
    for (name, to) in [("relay/tls", To::Smarthost), ("mx/dane", To::MailHost)] {
        let sink = runtime.block_on(Sink::start(&certificates, to));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for (connections, messages) in [(1, 1_000), (16, 1_000), (64, 1_000), (16, 1)] {
            let reused = if messages > 1 { "reused" } else { "fresh" };
            let id = BenchmarkId::new(reused, connections);
            let way = Way {
                to,
                connections,
                messages,
            };
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|count| {
                    runtime.block_on(carry(directory.path(), &certificates, &sink, way, count))
                });
            });
        }
        group.finish();
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum To {
    /// By TLS from the first octet.
    Smarthost,
    /// By STARTTLS, proved by a TLSA record.
    MailHost,
}

#[derive(Clone, Copy)]
struct Way {
    to: To,
    connections: usize,
    /// Messages that one connection carries.
    messages: u32,
}

/// Queues `count` messages, and measures from the moment they may leave until the last is taken.
async fn carry(
    directory: &Path,
    certificates: &Path,
    sink: &Sink,
    way: Way,
    count: u64,
) -> Duration {
    let here = tempfile::tempdir_in(directory).expect("a directory");
    let (spool, fresh) = open(here.path()).await;
    fill(&spool, count).await;
    sink.expect(count);
    let cancel = CancellationToken::new();
    let started = Instant::now();
    let queue = start(certificates, sink, way, &spool, fresh, cancel.clone());
    sink.full.notified().await;
    let took = started.elapsed();
    cancel.cancel();
    queue.stopped().await;
    spool.close().await;
    took
}

async fn open(directory: &Path) -> (Arc<Spool>, Fresh) {
    let path = directory.join("gatepost.sqlite");
    let store = Store::open(&path).await.expect("a database");
    let options = Options {
        directory: directory.join("spool"),
        inline_octets: 65_536,
        batch: 256,
        reserve_octets: 0,
        reserve_inodes: 0,
        fresh: 1024,
        node: "bench".to_owned(),
    };
    let opened = Spool::open(store, options, SystemTime::now()).await;
    opened.expect("a spool")
}

async fn fill(spool: &Arc<Spool>, count: u64) {
    spool.hold(true);
    let body = LINE.repeat(4096 / LINE.len());
    let tasks: Vec<_> = (0..SUBMITTERS as u64)
        .map(|n| {
            let (spool, body) = (spool.clone(), body.clone());
            tokio::spawn(async move {
                for _ in (n..count).step_by(SUBMITTERS) {
                    let mut writer = spool.body();
                    writer.write(&body).await.expect("room");
                    let body = writer.finish().await.expect("a body");
                    spool.commit(message(body)).await.expect("custody");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a submitter");
    }
}

fn message(body: gatepost::spool::Body) -> NewMessage {
    let recipient = Mailbox::parse("bob@example.net").expect("a recipient");
    NewMessage {
        release_at: None,
        release_request: None,
        id: QueueId::new(ulid::Ulid::generate()),
        account: None,
        report_of: None,
        message_id: None,
        envelope: Envelope {
            sender: ReversePath::parse("alice@example.org").expect("a sender"),
            recipients: vec![recipient.into()],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envelope_id: None,
            protection: Default::default(),
            timing: Default::default(),
        },
        header: HEADER.to_vec(),
        body,
        received_at: SystemTime::now(),
        start: Default::default(),
        sent: None,
    }
}

fn start(
    certificates: &Path,
    sink: &Sink,
    way: Way,
    spool: &Arc<Spool>,
    fresh: Fresh,
    cancel: CancellationToken,
) -> Queue {
    let hostname = Domain::parse("mail.example.org").expect("a name");
    let (transport, dns) = match way.to {
        To::Smarthost => (
            smarthost(certificates, sink, way),
            Dns::new(Default::default()),
        ),
        To::MailHost => (mail_hosts(sink, way), table(certificates)),
    };
    let route = Route {
        name: "away".to_owned(),
        domains: vec![DomainPattern::Any],
        origins: Vec::new(),
        transport,
    };
    let deliver = deliver::Options {
        hostname: hostname.to_string(),
        maildir_writers: 1,
        hops: hop::Options {
            hello_name: hostname.clone(),
            connect: Duration::from_secs(5),
            opening: Duration::from_secs(5),
            timeouts: Timeouts::default(),
            waits: hop::Waits::default(),
            scratch: certificates.join("scratch"),
            own_ports: Arc::default(),
        },
        levels: Default::default(),
    };
    let deliver = Deliver::new(deliver, Reach::new(dns, None), Dkim::silent());
    let options = queue::Options {
        routes: RouteTable::new(vec![route]).expect("a route"),
        attempts: way.connections,
        attempts_per_hop: way.connections,
        ..queue::Options::new(hostname)
    };
    spool.hold(false);
    Queue::start(
        options,
        deliver,
        Dkim::silent(),
        spool.clone(),
        fresh,
        cancel,
    )
}

fn smarthost(certificates: &Path, sink: &Sink, way: Way) -> Transport {
    let host = Host {
        place: Place::Tcp {
            host: "localhost".to_owned(),
            port: sink.port,
        },
        encryption: Encryption::Implicit,
        order: 0,
        weight: 1,
    };
    Transport::Relay(Hop {
        hosts: vec![host],
        trust: Trust::Authorities(certificates.join("ca.pem")),
        credentials: Vec::new(),
        connections: way.connections,
        messages_per_connection: way.messages,
        idle: Duration::from_secs(15),
    })
}

fn mail_hosts(sink: &Sink, way: Way) -> Transport {
    Transport::Mx(Mx {
        port: sink.port,
        connections: way.connections,
        messages_per_connection: way.messages,
        ..Mx::default()
    })
}

/// A signed DNS in which example.net has one mail host, with a TLSA record of the sink's key.
fn table(certificates: &Path) -> Dns {
    let pem = tls::read_pem(&certificates.join("cert.pem")).expect("a certificate");
    let tlsa = tls::tlsa(&pem.certificates[0]).expect("a key");
    Dns::with_source(Arc::new(Table(tlsa)), Default::default())
}

struct Table(Tlsa);

impl Source for Table {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asked<'a> {
        let data = match kind {
            Kind::Mx => Some(Data::Mx(10, "mx.example.net".into())),
            Kind::A => Some(Data::Address([127, 0, 0, 1].into())),
            Kind::Tlsa => Some(Data::Tlsa(self.0.clone())),
            _ => None,
        };
        let records: Vec<_> = data
            .map(|data| Record {
                owner: name.into(),
                ttl: Duration::from_secs(3600),
                data,
            })
            .into_iter()
            .collect();
        let reply = Reply {
            absence: records.is_empty().then_some(Absence::Type),
            records,
            verdict: Verdict::Secure,
            is_trusted: true,
            absent_for: Duration::from_secs(3600),
        };
        Box::pin(async move { Ok(reply) })
    }
}

/// Takes every message and counts it.
struct Sink {
    port: u16,
    left: Arc<AtomicU64>,
    full: Arc<Notify>,
}

impl Sink {
    async fn start(certificates: &Path, to: To) -> Sink {
        let files = tls::PairFiles {
            chain: certificates.join("cert.pem"),
            key: certificates.join("key.pem"),
        };
        let server = tls::Server::open(&[files], &tls::Visitors::default()).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let sink = Sink {
            port: listener.local_addr().expect("an address").port(),
            left: Arc::default(),
            full: Arc::default(),
        };
        let (left, full) = (sink.left.clone(), sink.full.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, left, full) =
                    (server.acceptor().clone(), left.clone(), full.clone());
                tokio::spawn(async move {
                    let _ = socket.set_nodelay(true);
                    let socket = match to {
                        To::Smarthost => socket,
                        To::MailHost => match until_starttls(socket).await {
                            Ok(socket) => socket,
                            Err(_) => return,
                        },
                    };
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = converse(stream, to, &left, &full).await;
                    }
                });
            }
        });
        sink
    }

    fn expect(&self, count: u64) {
        self.left.store(count, Ordering::SeqCst);
    }
}

/// The conversation before TLS.
async fn until_starttls(mut socket: TcpStream) -> std::io::Result<TcpStream> {
    socket.write_all(b"220 sink ready\r\n").await?;
    let mut piece = [0; 1024];
    let count = socket.read(&mut piece).await?;
    assert!(piece[..count].starts_with(b"EHLO "), "a greeting");
    socket.write_all(b"250-sink\r\n250 STARTTLS\r\n").await?;
    let count = socket.read(&mut piece).await?;
    assert_eq!(&piece[..count], b"STARTTLS\r\n");
    socket.write_all(b"220 go on\r\n").await?;
    Ok(socket)
}

async fn converse<S>(stream: S, to: To, left: &AtomicU64, full: &Notify) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    if to == To::Smarthost {
        stream.write_all(b"220 sink ready\r\n").await?;
        stream.flush().await?;
    }
    let (mut buffer, mut in_content) = (Vec::new(), false);
    let mut piece = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&piece[..count]);
        let mut replies = Vec::new();
        loop {
            if in_content {
                let Some(end) = memchr::memmem::find(&buffer, b"\r\n.\r\n") else {
                    break;
                };
                buffer.drain(..end + 5);
                in_content = false;
                replies.extend_from_slice(b"250 2.0.0 Taken\r\n");
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    full.notify_one();
                }
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', &buffer) else {
                break;
            };
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                b"EHLO" => b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n",
                b"DATA" => b"354 Go on\r\n",
                b"QUIT" => b"221 Bye\r\n",
                _ => b"250 2.0.0 Ok\r\n",
            };
            in_content = reply.starts_with(b"354");
            replies.extend_from_slice(reply);
        }
        stream.write_all(&replies).await?;
        stream.flush().await?;
    }
}
