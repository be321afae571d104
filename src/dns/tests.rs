//! Answers as they come, as they should not, and as somebody may have forged them.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{self, RData, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

use super::*;

/// Answers from a table, and counts the questions.
#[derive(Default)]
struct Table {
    replies: HashMap<(String, Kind), Result<Reply, DnsError>>,
    asked: AtomicUsize,
    slow: Option<Duration>,
}

impl Source for Table {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asked<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if let Some(wait) = self.slow {
                tokio::time::sleep(wait).await;
            }
            let reply = self.replies.get(&(name.to_owned(), kind)).cloned();
            reply.unwrap_or_else(|| Ok(absent(Absence::Name, Verdict::Insecure)))
        })
    }
}

fn absent(absence: Absence, verdict: Verdict) -> Reply {
    Reply {
        records: Vec::new(),
        absence: Some(absence),
        verdict,
        is_trusted: true,
        absent_for: Duration::from_secs(60),
    }
}

fn record(owner: &str, data: Data) -> Record {
    Record {
        owner: owner.into(),
        ttl: Duration::from_secs(300),
        data,
    }
}

fn found(records: Vec<Record>, verdict: Verdict) -> Reply {
    Reply {
        records,
        absence: None,
        verdict,
        is_trusted: true,
        absent_for: Duration::ZERO,
    }
}

fn alias(owner: &str, target: &str) -> Record {
    record(owner, Data::Alias(target.into()))
}

fn v4(owner: &str, last: u8) -> Record {
    record(owner, Data::Address(IpAddr::from([192, 0, 2, last])))
}

fn bogus(name: &str) -> DnsError {
    DnsError::Bogus { name: name.into() }
}

impl Table {
    fn with(mut self, name: &str, kind: Kind, reply: Reply) -> Self {
        self.replies.insert((name.to_owned(), kind), Ok(reply));
        self
    }

    fn failing(mut self, name: &str, kind: Kind, error: DnsError) -> Self {
        self.replies.insert((name.to_owned(), kind), Err(error));
        self
    }

    fn dns(self) -> (Dns, Arc<Table>) {
        let table = Arc::new(self);
        (Dns::with_source(table.clone(), Options::default()), table)
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

/// R7672-2.1.3a: one step that is not signed makes everything behind it unsigned.
#[tokio::test]
async fn aliases_are_followed_and_the_weakest_step_counts() {
    use Verdict::{Insecure, Secure};
    for (first, second, expected) in [
        (Secure, Secure, Secure),
        (Secure, Insecure, Insecure),
        (Insecure, Secure, Insecure),
    ] {
        let nothing = absent(Absence::Type, Secure);
        let (dns, _) = Table::default()
            .with(
                "a.example",
                Kind::A,
                found(vec![alias("a.example", "b.example")], first),
            )
            .with(
                "b.example",
                Kind::A,
                found(vec![v4("b.example", 1)], second),
            )
            .with("a.example", Kind::Aaaa, nothing.clone())
            .dns();
        let answer = dns.addresses(&domain("A.example")).await.unwrap();
        assert_eq!(answer.verdict, expected);
        assert_eq!(&*answer.canonical, "b.example");
        assert!(answer.aliased);
        assert_eq!(answer.records, [IpAddr::from([192, 0, 2, 1])]);
    }
}

#[tokio::test]
async fn an_alias_and_its_end_may_come_in_one_answer() {
    let records = vec![
        v4("c.example", 3),
        alias("b.example", "c.example"),
        alias("a.example", "b.example"),
        v4("other.example", 9),
    ];
    let (dns, table) = Table::default()
        .with("a.example", Kind::A, found(records, Verdict::Secure))
        .dns();
    let chased = dns.chase("a.example", Kind::A).await.unwrap();
    assert_eq!(chased.data, [Data::Address(IpAddr::from([192, 0, 2, 3]))]);
    assert_eq!(table.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn aliases_in_a_circle_are_no_answer() {
    let (dns, _) = Table::default()
        .with(
            "a.example",
            Kind::Mx,
            found(vec![alias("a.example", "b.example")], Verdict::Secure),
        )
        .with(
            "b.example",
            Kind::Mx,
            found(vec![alias("b.example", "a.example")], Verdict::Secure),
        )
        .dns();
    let error = dns.mx(&domain("a.example")).await.unwrap_err();
    assert!(matches!(error, DnsError::Indeterminate { .. }), "{error}");
}

/// R7672-2.1.2a: what cannot be had is never taken for an absence.
#[tokio::test]
async fn a_failure_of_one_kind_of_address_is_a_failure_of_both() {
    let (dns, _) = Table::default()
        .with(
            "a.example",
            Kind::A,
            found(vec![v4("a.example", 1)], Verdict::Secure),
        )
        .failing("a.example", Kind::Aaaa, bogus("a.example"))
        .dns();
    let error = dns.addresses(&domain("a.example")).await.unwrap_err();
    assert_eq!(error, bogus("a.example"));
}

#[tokio::test]
async fn absences_keep_their_kind_and_their_verdict() {
    let (dns, _) = Table::default()
        .with(
            "no.example",
            Kind::Mx,
            absent(Absence::Name, Verdict::Secure),
        )
        .with(
            "bare.example",
            Kind::Mx,
            absent(Absence::Type, Verdict::Insecure),
        )
        .dns();
    let no = dns.mx(&domain("no.example")).await.unwrap();
    assert_eq!(
        (no.absence, no.verdict),
        (Some(Absence::Name), Verdict::Secure)
    );
    let bare = dns.mx(&domain("bare.example")).await.unwrap();
    assert_eq!(
        (bare.absence, bare.verdict),
        (Some(Absence::Type), Verdict::Insecure)
    );
}

/// R7505-3a.
#[tokio::test]
async fn a_null_mx_is_one_record_alone() {
    let mx = |preference, host: &str| record("a.example", Data::Mx(preference, host.into()));
    for (records, null, hosts) in [
        (vec![mx(0, "")], true, 0),
        (vec![mx(10, "")], true, 0),
        (vec![mx(0, ""), mx(10, "mx.example")], false, 1),
        (vec![mx(10, "mx.example"), mx(10, "mx.example")], false, 1),
        // No host can be called so.
        (vec![mx(10, "not a host"), mx(20, "mx.example")], false, 1),
    ] {
        let (dns, _) = Table::default()
            .with("a.example", Kind::Mx, found(records, Verdict::Insecure))
            .dns();
        let answer = dns.mx(&domain("a.example")).await.unwrap();
        assert_eq!(is_null_mx(&answer.records), null);
        let named = answer
            .records
            .iter()
            .filter(|mx| mx.exchange != Exchange::Null);
        assert_eq!(named.count(), hosts);
    }
}

#[tokio::test]
async fn the_texts_of_a_name_and_its_tlsa_records_are_found() {
    let tlsa = Tlsa {
        usage: 3,
        selector: 1,
        matching: 1,
        data: [7; 32].into(),
    };
    let name = "_25._tcp.mx.example";
    let (dns, _) = Table::default()
        .with(
            name,
            Kind::Tlsa,
            found(
                vec![record(name, Data::Tlsa(tlsa.clone()))],
                Verdict::Secure,
            ),
        )
        .with(
            "_x.example",
            Kind::Txt,
            found(
                vec![record("_x.example", Data::Txt("v=1".into()))],
                Verdict::Insecure,
            ),
        )
        .dns();
    assert_eq!(
        dns.tlsa(&domain("MX.example"), 25).await.unwrap().records,
        [tlsa]
    );
    assert_eq!(dns.txt("_X.example").await.unwrap().records, ["v=1"]);
}

/// Answers are remembered, absences too, and whoever asks at the same time shares a question.
#[tokio::test(start_paused = true)]
async fn one_question_serves_everybody() {
    let mut table = Table::default().with(
        "a.example",
        Kind::Mx,
        absent(Absence::Type, Verdict::Insecure),
    );
    table.slow = Some(Duration::from_secs(1));
    let (dns, table) = table.dns();
    let name = domain("a.example");
    let (one, other) = tokio::join!(dns.mx(&name), dns.mx(&name));
    assert_eq!(one.unwrap().absence, other.unwrap().absence);
    dns.mx(&name).await.unwrap();
    assert_eq!(table.asked.load(Ordering::Relaxed), 1);
    // Whoever goes away leaves the question to the next one.
    let other = domain("b.example");
    let left = tokio::time::timeout(Duration::from_millis(10), dns.mx(&other)).await;
    assert!(left.is_err());
    dns.mx(&other).await.unwrap();
    assert_eq!(table.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn memory_is_bounded() {
    let options = Options {
        entries: 100,
        ..Options::default()
    };
    let dns = Dns::with_source(Arc::new(Table::default()), options);
    for n in 0..1000 {
        let _ = dns.mx(&domain(&format!("d{n}.example"))).await;
    }
    assert!(dns.0.load().cache.len() <= 100);
}

/// What a server of ours says to a question.
type Script = Box<dyn Fn(&Message, Transport) -> Vec<Message> + Send + Sync>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    Udp,
    Tcp,
}

/// A resolver on loopback that plays a script; remembers the questions.
struct Played {
    address: std::net::SocketAddr,
    questions: Arc<Mutex<Vec<(Message, Transport)>>>,
}

async fn play(script: Script) -> Played {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // The port may be taken for the other transport.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let questions: Arc<Mutex<Vec<_>>> = Arc::default();
    let (script, noted) = (Arc::new(script), questions.clone());
    let (script_too, noted_too) = (script.clone(), questions.clone());
    tokio::spawn(async move {
        let mut octets = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut octets).await.unwrap();
            let question = Message::from_vec(&octets[..length]).unwrap();
            let answers = script(&question, Transport::Udp);
            noted.lock().unwrap().push((question, Transport::Udp));
            for answer in answers {
                udp.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut octets = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut octets).await.unwrap();
            let question = Message::from_vec(&octets).unwrap();
            let answers = script_too(&question, Transport::Tcp);
            noted_too.lock().unwrap().push((question, Transport::Tcp));
            for answer in answers {
                let octets = answer.to_vec().unwrap();
                stream.write_u16(octets.len() as u16).await.unwrap();
                stream.write_all(&octets).await.unwrap();
            }
        }
    });
    Played { address, questions }
}

fn answer_to(question: &Message) -> Message {
    let mut answer = Message::new(question.id, MessageType::Response, question.op_code);
    answer.add_query(question.queries[0].clone());
    answer.metadata.recursion_available = true;
    answer
}

fn mx_answer(question: &Message, hosts: u16) -> Message {
    let mut answer = answer_to(question);
    for n in 0..hosts {
        let host = rr::Name::from_ascii(format!("MX{n}.Example.")).unwrap();
        let data = RData::MX(rdata::MX::new(n, host));
        let owner = question.queries[0].name().clone();
        answer.add_answer(rr::Record::from_rdata(owner, 60, data));
    }
    answer
}

fn asking(played: &Played, change: impl FnOnce(&mut Options)) -> Dns {
    let mut options = Options {
        servers: vec![played.address],
        timeout: Duration::from_millis(400),
        ..Options::default()
    };
    change(&mut options);
    Dns::new(options)
}

#[tokio::test]
async fn the_ad_bit_of_a_resolver_on_this_machine_is_believed() {
    for authentic in [true, false] {
        let played = play(Box::new(move |question, _| {
            let mut answer = mx_answer(question, 2);
            answer.metadata.authentic_data = authentic;
            vec![answer]
        }))
        .await;
        let dns = asking(&played, |_| {});
        let answer = dns.mx(&domain("a.example")).await.unwrap();
        assert_eq!(answer.verdict == Verdict::Secure, authentic);
        assert_eq!(
            answer.records[1].exchange,
            Exchange::Host(domain("mx1.example"))
        );
        let questions = played.questions.lock().unwrap();
        let (question, transport) = &questions[0];
        assert_eq!(*transport, Transport::Udp);
        // R7672-2.1.1a: without DO no resolver tells.
        assert!(question.edns.as_ref().unwrap().flags().dnssec_ok);
        assert!(question.metadata.recursion_desired && !question.metadata.checking_disabled);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let played = play(Box::new(|question, transport| {
        let mut answer = match transport {
            Transport::Udp => answer_to(question),
            Transport::Tcp => mx_answer(question, 100),
        };
        answer.metadata.truncation = transport == Transport::Udp;
        vec![answer]
    }))
    .await;
    let answer = asking(&played, |_| {})
        .mx(&domain("a.example"))
        .await
        .unwrap();
    assert_eq!(answer.records.len(), 100);
}

/// Whoever cannot see our question cannot answer it.
#[tokio::test]
async fn answers_to_other_questions_are_passed_over() {
    let played = play(Box::new(|question, _| {
        let mut other_id = mx_answer(question, 3);
        other_id.metadata.id = question.id.wrapping_add(1);
        let mut other_name = question.clone();
        other_name.queries[0].set_name(rr::Name::from_ascii("b.example.").unwrap());
        let other_name = mx_answer(&other_name, 4);
        let mut other_type = question.clone();
        other_type.queries[0].set_query_type(RecordType::A);
        let other_type = mx_answer(&other_type, 5);
        vec![other_id, other_name, other_type, mx_answer(question, 1)]
    }))
    .await;
    let answer = asking(&played, |_| {})
        .mx(&domain("a.example"))
        .await
        .unwrap();
    assert_eq!(answer.records.len(), 1);
}

/// R7672-2.1.1b: a resolver says SERVFAIL to both; only with CD it shows which of them it was.
#[tokio::test]
async fn what_is_bogus_and_what_is_broken_are_told_apart() {
    for (unchecked, expected) in [
        (ResponseCode::NoError, true),
        (ResponseCode::NXDomain, true),
        (ResponseCode::ServFail, false),
        (ResponseCode::Refused, false),
    ] {
        let played = play(Box::new(move |question, _| {
            let mut answer = answer_to(question);
            answer.metadata.response_code = match question.metadata.checking_disabled {
                true => unchecked,
                false => ResponseCode::ServFail,
            };
            vec![answer]
        }))
        .await;
        let error = asking(&played, |_| {})
            .mx(&domain("a.example"))
            .await
            .unwrap_err();
        assert_eq!(matches!(error, DnsError::Bogus { .. }), expected, "{error}");
    }
}

#[tokio::test]
async fn refusals_and_silence_are_no_absence_and_the_next_resolver_is_asked() {
    let refusing = play(Box::new(|question, _| {
        let mut answer = answer_to(question);
        answer.metadata.response_code = ResponseCode::Refused;
        vec![answer]
    }))
    .await;
    let silent = play(Box::new(|_, _| Vec::new())).await;
    let answering = play(Box::new(|question, _| vec![mx_answer(question, 1)])).await;
    for played in [&refusing, &silent] {
        let error = asking(played, |_| {})
            .mx(&domain("a.example"))
            .await
            .unwrap_err();
        assert!(matches!(error, DnsError::Indeterminate { .. }), "{error}");
        let dns = asking(played, |options| options.servers.push(answering.address));
        assert_eq!(dns.mx(&domain("a.example")).await.unwrap().records.len(), 1);
    }
}

#[tokio::test]
async fn the_resolver_must_vouch_for_the_root() {
    for (authentic, expected) in [(true, Validation::Works), (false, Validation::Missing)] {
        let played = play(Box::new(move |question, _| {
            let mut answer = answer_to(question);
            let name = rr::Name::root();
            let zone = rdata::SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, 1);
            answer.add_answer(rr::Record::from_rdata(name, 60, RData::SOA(zone)));
            answer.metadata.authentic_data = authentic;
            vec![answer]
        }))
        .await;
        assert_eq!(asking(&played, |_| {}).validation().await, expected);
    }
    let silent = play(Box::new(|_, _| Vec::new())).await;
    let validation = asking(&silent, |_| {}).validation().await;
    assert!(matches!(validation, Validation::Unreachable(_)));
    assert!(validation.why_not().is_some());
}
