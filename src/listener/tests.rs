//! The driver over real sockets, with a script in the session's place.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    desk::{About, Decide, House},
    driver::{Driver, Machine, Surroundings},
    hangup::Hangup,
    link::Link,
    seats::{Limits, Phase},
};
use crate::{
    cli::dialogue,
    envelope::{Identity, Moment, TlsFacts},
    session::{Output, Question, RecipientVerdict, Secured, Verdict},
    smtp::{Mailbox, Reply, ReversePath},
    tls,
};

/// Answers each line: `ASK` asks, `STARTTLS` upgrades, `FILL` says very much, `QUIT` ends.
#[derive(Default)]
struct Script {
    line: Vec<u8>,
    outputs: std::collections::VecDeque<Output>,
    asking: bool,
    upgrading: bool,
    patient: bool,
    idle: Option<Moment>,
    facts: Option<TlsFacts>,
}

impl Script {
    fn say(&mut self, code: u16, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.outputs
            .push_back(Output::Send(Reply::bare(code, text)));
    }

    fn end(&mut self, code: u16) {
        self.say(code, "end");
        self.outputs.push_back(Output::Close);
    }
}

impl Machine for Script {
    fn receive(&mut self, _: Moment, octets: &[u8]) -> usize {
        let mut taken = 0;
        if self.upgrading {
            self.end(554);
            return octets.len();
        }
        for octet in octets {
            if self.asking || self.upgrading {
                break;
            }
            taken += 1;
            self.line.push(*octet);
            if *octet != b'\n' {
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
            match line.trim_end() {
                "QUIT" => self.end(221),
                "ASK" => {
                    self.asking = true;
                    self.outputs.push_back(Output::Ask(Question::Recipient {
                        before: 0,
                        by: Identity {
                            account: crate::envelope::AccountId(1),
                            name: "ann".into(),
                            app_password: None,
                        },
                        sender: ReversePath::Null,
                        recipient: Mailbox::parse("bob@example.org").unwrap(),
                        protection: Default::default(),
                    }));
                }
                "STARTTLS" => {
                    self.upgrading = true;
                    let reply = Reply::bare(220, "go");
                    self.outputs.push_back(Output::StartTls(reply));
                }
                "FILL" => (0..40_000).for_each(|_| self.say(250, "x".repeat(400))),
                other => self.say(250, other.to_owned()),
            }
        }
        taken
    }
    fn eof(&mut self, _: Moment) {
        if !self.asking {
            self.outputs.push_back(Output::Close);
        }
    }
    fn secured(&mut self, _: Moment, secured: Secured) {
        self.upgrading = false;
        self.facts = Some(secured.facts);
    }
    fn answer(&mut self, _: Moment, verdict: Verdict) {
        assert!(matches!(
            verdict,
            Verdict::Recipient(RecipientVerdict::Granted)
        ));
        self.asking = false;
        self.say(250, "granted");
    }
    fn timeout(&mut self, _: Moment) {
        self.idle = None;
        self.end(421);
    }
    fn shutdown(&mut self, _: Moment) {
        if std::mem::take(&mut self.patient) {
            return;
        }
        self.end(421);
    }
    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    fn deadline(&self) -> Option<Moment> {
        self.idle
    }
    fn wants_input(&self) -> bool {
        !self.asking && !self.upgrading && self.outputs.is_empty()
    }
    fn identity(&self) -> Option<&Identity> {
        None
    }
    fn client_name(&self) -> Option<&str> {
        None
    }
    fn tls(&self) -> Option<&TlsFacts> {
        self.facts.as_ref()
    }
}

/// Grants everything after a moment.
struct Kind;

impl Decide for Kind {
    type Draft = ();
    fn draft(&self) {}
    fn hint(&self, _: &crate::smtp::Domain) {}
    async fn write((): &mut (), _: &[u8]) {}
    async fn decide(&self, _: About<'_>, question: Question, _: Option<()>) -> Verdict {
        assert!(matches!(question, Question::Recipient { .. }));
        tokio::time::sleep(Duration::from_millis(50)).await;
        Verdict::Recipient(RecipientVerdict::Granted)
    }
}

struct Stage {
    client: TcpStream,
    house: Arc<House>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<(Hangup, Script)>,
    trust: Arc<rustls::ClientConfig>,
    _directory: tempfile::TempDir,
}

async fn stage(script: Script, limits: Limits) -> Stage {
    let directory = tempfile::tempdir().unwrap();
    let made = tls::dev::certificate(directory.path(), SystemTime::now()).unwrap();
    let server = tls::Server::open(&[made.pair], &tls::Visitors::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (tcp, peer): (TcpStream, SocketAddr) = listener.accept().await.unwrap();
    let house = Arc::new(House::new());
    let place = house.admit(&limits, peer.ip(), Phase::Unproven).unwrap();
    let stop = CancellationToken::new();
    let around = Surroundings {
        desk: Arc::new(Kind),
        tls: server,
        limits: Arc::new(limits),
        place,
        peer,
        stop: stop.clone(),
    };
    let link = Link::Plain(tcp, Vec::new());
    let driver = Driver::new(around, script, link, Instant::now());
    let ended = tokio::spawn(async move {
        let (cause, script, _) = driver.run().await;
        (cause, *script)
    });
    Stage {
        client,
        house,
        stop,
        ended,
        trust: dialogue::trusting(&made.ca).unwrap(),
        _directory: directory,
    }
}

async fn all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut said = String::new();
    timeout(Duration::from_secs(5), stream.read_to_string(&mut said))
        .await
        .unwrap()
        .unwrap();
    said
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_across_a_question() {
    let mut stage = stage(Script::default(), Limits::default()).await;
    stage
        .client
        .write_all(b"a\r\nASK\r\nb\r\nQUIT\r\nlost\r\n")
        .await
        .unwrap();
    let said = all(&mut stage.client).await;
    assert_eq!(said, "250 a\r\n250 granted\r\n250 b\r\n221 end\r\n");
    drop(stage.client);
    assert!(matches!(stage.ended.await.unwrap().0, Hangup::Closed));
}

/// Client quirk: half the clients close their side before the last answer; silence would make them
/// send the message again.
#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    let mut stage = stage(Script::default(), Limits::default()).await;
    stage.client.write_all(b"a\r\nASK\r\n").await.unwrap();
    stage.client.shutdown().await.unwrap();
    assert_eq!(all(&mut stage.client).await, "250 a\r\n250 granted\r\n");
    assert!(matches!(stage.ended.await.unwrap().0, Hangup::Left));
}

/// R3207-4.2d, S8: whatever comes behind STARTTLS in the clear ends the connection without a 220.
#[tokio::test]
async fn octets_behind_starttls_are_never_taken_into_the_handshake() {
    for injected in [&b"STARTTLS\r\nNOOP\r\n"[..], b"STARTTLS\r\n\x16\x03\x01"] {
        let mut stage = stage(Script::default(), Limits::default()).await;
        stage.client.write_all(injected).await.unwrap();
        assert_eq!(all(&mut stage.client).await, "554 end\r\n");
        assert!(stage.ended.await.unwrap().1.facts.is_none());
    }
}

/// S8: octets that only the kernel knows of are found, and a silent wire is not waited for.
#[tokio::test]
async fn the_kernel_is_asked_for_octets_behind_starttls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let mut link = Link::Plain(tcp, Vec::new());
    assert_eq!(link.behind_starttls(), None);
    // No await from here on: the runtime cannot have heard of these.
    std::io::Write::write_all(&mut client, b"NOOP").unwrap();
    assert_eq!(link.behind_starttls(), Some(b"NOOP".to_vec()));
    drop(client);
    assert_eq!(link.behind_starttls(), Some(Vec::new()));
}

/// A thousand idle sessions cost their TLS state and little else.
#[tokio::test]
async fn an_idle_session_is_small() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let limits = Limits::default();
    let house = Arc::new(House::new());
    let directory = tempfile::tempdir().unwrap();
    let made = tls::dev::certificate(directory.path(), SystemTime::now()).unwrap();
    let around = Surroundings {
        desk: Arc::new(Kind),
        tls: tls::Server::open(&[made.pair], &tls::Visitors::default()).unwrap(),
        place: house
            .admit(&limits, [192, 0, 2, 1].into(), Phase::Unproven)
            .unwrap(),
        limits: Arc::new(limits),
        peer: client.local_addr().unwrap(),
        stop: CancellationToken::new(),
    };
    let link = Link::Plain(client, Vec::new());
    let driver = Driver::new(around, Script::default(), link, Instant::now());
    let task = driver.run();
    assert!(size_of_val(&task) <= 512, "{}", size_of_val(&task));
}

#[tokio::test]
async fn starttls_secures_and_close_notify_comes_last() {
    let mut stage = stage(Script::default(), Limits::default()).await;
    stage.client.write_all(b"STARTTLS\r\n").await.unwrap();
    let mut go = [0; 8];
    stage.client.read_exact(&mut go).await.unwrap();
    assert_eq!(&go, b"220 go\r\n");
    let name = "localhost".try_into().unwrap();
    let mut secured = TlsConnector::from(stage.trust)
        .connect(name, stage.client)
        .await
        .unwrap();
    secured.write_all(b"a\r\nASK\r\nQUIT\r\n").await.unwrap();
    // Without close_notify this read would fail.
    let said = all(&mut secured).await;
    assert_eq!(said, "250 a\r\n250 granted\r\n221 end\r\n");
    drop(secured);
    let (cause, script) = stage.ended.await.unwrap();
    assert!(matches!(cause, Hangup::Closed));
    assert!(script.facts.is_some_and(|facts| facts.group.is_some()));
}

/// S32: the session's deadline is kept, also against a client that says nothing.
#[tokio::test]
async fn a_silent_client_is_told_and_left() {
    let script = Script {
        idle: Some(Moment(Duration::from_millis(50))),
        ..Script::default()
    };
    let mut stage = stage(script, Limits::default()).await;
    assert_eq!(all(&mut stage.client).await, "421 end\r\n");
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let mut stage = stage(Script::default(), Limits::default()).await;
    stage.stop.cancel();
    assert_eq!(all(&mut stage.client).await, "421 end\r\n");
}

/// The second word of a stopping server cuts short what the first let go on.
#[tokio::test]
async fn a_stopping_server_waits_only_so_long() {
    let limits = Limits {
        finish: Duration::from_millis(100),
        ..Limits::default()
    };
    let script = Script {
        patient: true,
        ..Script::default()
    };
    let mut stage = stage(script, limits).await;
    stage.stop.cancel();
    assert_eq!(all(&mut stage.client).await, "421 end\r\n");
}

/// S33: replies that nobody takes do not hold a session for ever.
#[tokio::test]
async fn a_client_that_does_not_read_is_given_up() {
    let limits = Limits {
        write: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut stage = stage(Script::default(), limits).await;
    stage.client.write_all(b"FILL\r\n").await.unwrap();
    let ended = timeout(Duration::from_secs(5), stage.ended).await.unwrap();
    assert!(matches!(ended.unwrap().0, Hangup::Unread(_)));
}

#[tokio::test]
async fn a_handshake_that_never_comes_ends_in_time() {
    let limits = Limits {
        handshake: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut stage = stage(Script::default(), limits).await;
    stage.client.write_all(b"STARTTLS\r\n").await.unwrap();
    assert_eq!(all(&mut stage.client).await, "220 go\r\n");
    assert!(matches!(
        stage.ended.await.unwrap().0,
        Hangup::Handshake(super::secure::Failure::Timeout)
    ));
}

#[tokio::test]
async fn the_oldest_unproven_session_gives_way() {
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    let stage = stage(Script::default(), limits.clone()).await;
    let newcomer = [192, 0, 2, 1].into();
    assert!(
        stage
            .house
            .admit(&limits, newcomer, Phase::Unproven)
            .is_some()
    );
    let ended = timeout(Duration::from_secs(5), stage.ended).await.unwrap();
    assert!(matches!(ended.unwrap().0, Hangup::Shed));
}

/// R8314-3b: what is spoken in the clear to the port of implicit TLS is known by its name.
#[tokio::test]
async fn plain_speech_to_a_handshake_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let made = tls::dev::certificate(directory.path(), SystemTime::now()).unwrap();
    let server = tls::Server::open(&[made.pair], &tls::Visitors::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let house = Arc::new(House::new());
    for (spoken, language) in [("EHLO a\r\n", "SMTP"), ("GET / HTTP/1.1\r\n", "HTTP")] {
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (tcp, peer) = listener.accept().await.unwrap();
        let place = house
            .admit(&Limits::default(), peer.ip(), Phase::Handshake)
            .unwrap();
        client.write_all(spoken.as_bytes()).await.unwrap();
        let limit = Duration::from_secs(5);
        let failure = super::secure::handshake(tcp, server.acceptor(), &place, limit)
            .await
            .err();
        assert!(
            matches!(failure, Some(super::secure::Failure::Plaintext(found)) if found == language),
            "{failure:?}"
        );
    }
}
