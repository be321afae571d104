//! Next hops that hang, close, talk nonsense or never end, at every point of the dialogue: nothing
//! is lost, and nothing comes twice but where the connection broke behind the end of the message.

use std::fmt::Debug;

use super::{drained, letter, relay, route, settings, sign_in, submit};
use crate::{
    hop::{Act, Behaviour, Hop, NAME, PASSWORD, Phase, Progress, Script, Transcript, authority},
    server::{ALICE, Server, Settings},
};

/// Waits of two seconds for everything.
fn impatient() -> Settings {
    let keys = [
        "connect",
        "opening",
        "command",
        "handshake",
        "block",
        "end_of_data",
    ];
    let short = |settings: Settings, key| settings.with("delivery", &format!("{key} = \"2s\""));
    keys.into_iter().fold(settings(), short)
}

/// What a case is about, and the hop that does it once and is well ever after.
struct Case {
    what: String,
    hop: Hop,
    /// Whether the broken connection had the whole message.
    may_repeat: bool,
    /// Whether that one took it, whatever it did then.
    is_taken: bool,
    /// Whether it was broken before its host had proved who it is.
    unproved: bool,
}

impl Case {
    fn new(what: impl Debug, broken: Behaviour, well: Behaviour) -> Case {
        Case {
            what: format!("{what:?}"),
            hop: Hop::start(Script::of([broken, well])),
            may_repeat: false,
            is_taken: false,
            unproved: false,
        }
    }
}

/// Sends a message to each, and looks at what every hop has got.
fn all_recover(cases: &[Case], content: &[u8], route: impl Fn(&str, &Hop) -> String) {
    let domain = |at: usize| format!("case{at}.example");
    let numbered = cases.iter().enumerate();
    let settings = numbered.fold(impatient(), |settings, (at, case)| {
        settings.route(&route(&domain(at), &case.hop))
    });
    let server = Server::with(settings);
    let mut client = server.signed_in();
    for at in 0..cases.len() {
        let to = [format!("<a@{}>", domain(at)), format!("<b@{}>", domain(at))];
        let to = to.each_ref().map(String::as_str);
        submit(&mut client, &format!("<{ALICE}>"), &to, content);
    }
    drained(&server);
    for case in cases {
        let transcript = case.hop.transcript();
        look_at(case, &transcript, content);
    }
    let reports = server.mail(ALICE);
    assert!(
        reports.is_empty(),
        "{}",
        String::from_utf8_lossy(&reports[0])
    );
}

fn look_at(case: &Case, transcript: &Transcript, content: &[u8]) {
    let what = &case.what;
    let shown = shown(transcript);
    assert!(
        transcript.connections.len() > 1 || case.is_taken,
        "{what}: {shown}"
    );
    let messages = transcript.messages();
    let [.., last] = &messages[..] else {
        panic!("{what}: {shown}");
    };
    assert!(messages.len() == 1 || case.may_repeat, "{what}: {shown}");
    assert_eq!(last.to().len(), 2, "{what}");
    assert!(last.content.ends_with(content), "{what}");
    let all = transcript
        .connections
        .iter()
        .flat_map(|it| &it.transactions);
    let whole = all.filter(|it| it.progress == Progress::Whole).count();
    assert_eq!(whole, 1 + usize::from(case.may_repeat), "{what}: {shown}");
    if case.unproved {
        let mut first = transcript.clone();
        first.connections.truncate(1);
        first.assert_nothing_given_away();
    }
}

/// A transcript without content.
fn shown(transcript: &Transcript) -> String {
    let mut text = String::new();
    for connection in &transcript.connections {
        text += &format!("{:?} {:?}", connection.verbs(), connection.closed);
        for one in &connection.transactions {
            let octets = one.content.len();
            text += &format!("\n  {:?} {octets} {:?}", one.progress, one.replies);
        }
        text += "\n";
    }
    text
}

fn faults() -> Vec<Act> {
    vec![
        Act::Hang,
        Act::StopReading,
        Act::Close,
        Act::Reset,
        Act::HalfReply,
        Act::last("421 4.3.2 Going down"),
        Act::reply("421 4.3.2 Going down, but not yet"),
        Act::nonsense(),
        Act::Endless("250"),
        Act::Endless("451"),
        Act::lines("250", 20_000),
        Act::long_line("250", 100_000),
        Act::Say(b"250-one code\r\n251 another code\r\n".to_vec()),
        Act::Say(b"250 out of place\r\n250 and one too many\r\n".to_vec()),
        Act::control_octets("451"),
        Act::Say(vec![0; 5000]),
    ]
}

/// Whether this is a good answer there after all.
fn is_fine(phase: Phase, act: &Act) -> bool {
    let Act::Say(octets) = act else {
        return false;
    };
    // One long line of a good reply.
    octets.len() > 90_000 && octets.starts_with(b"250 ") && phase != Phase::Hello
}

/// Whether there is a whole answer in it, whatever follows.
fn is_whole(act: &Act) -> bool {
    matches!(act, Act::Say(octets) if octets.starts_with(b"250 "))
}

fn cases_at(phase: Phase, nth: usize, behaviour: impl Fn() -> Behaviour) -> Vec<Case> {
    let faults = faults().into_iter().filter(|act| !is_fine(phase, act));
    faults
        .map(|act| {
            let mut what = format!("{phase:?} {nth}: {act:?}");
            what.truncate(100);
            Case {
                // The answer was lost, not the message.
                may_repeat: phase == Phase::EndOfData && !is_whole(&act),
                is_taken: phase == Phase::EndOfData && is_whole(&act),
                unproved: match phase {
                    Phase::Greeting | Phase::StartTls | Phase::Handshake => true,
                    Phase::Hello => nth == 1,
                    _ => false,
                },
                ..Case::new(what, behaviour().at_nth(phase, nth, act), behaviour())
            }
        })
        .collect()
}

fn signed(domain: &str, hop: &Hop) -> String {
    relay(domain, hop, "starttls", &sign_in(NAME, PASSWORD))
}

/// DATA behind STARTTLS and AUTH.
fn usual() -> Behaviour {
    chunks().without("CHUNKING")
}

/// The same with BDAT.
fn chunks() -> Behaviour {
    // SCRAM is slow in a build for tests.
    Behaviour::starttls().needs_sign_in().offers("AUTH PLAIN")
}

#[test]
fn faults_before_tls_lose_nothing_and_get_nothing() {
    let mut cases = Vec::new();
    for (phase, nth) in [
        (Phase::Greeting, 1),
        (Phase::Hello, 1),
        (Phase::StartTls, 1),
        (Phase::Handshake, 1),
    ] {
        cases.extend(cases_at(phase, nth, usual));
    }
    all_recover(&cases, &letter("before", "Hello.\r\n"), signed);
}

#[test]
fn faults_before_the_message_lose_nothing() {
    let mut cases = Vec::new();
    for (phase, nth) in [(Phase::Hello, 2), (Phase::SignIn, 1), (Phase::Mail, 1)] {
        cases.extend(cases_at(phase, nth, usual));
    }
    all_recover(&cases, &letter("opening", "Hello.\r\n"), signed);
}

#[test]
fn faults_around_the_message_lose_nothing() {
    let mut cases = Vec::new();
    for (phase, nth) in [
        (Phase::Rcpt, 1),
        (Phase::Rcpt, 2),
        (Phase::Data, 1),
        (Phase::EndOfData, 1),
    ] {
        cases.extend(cases_at(phase, nth, usual));
    }
    all_recover(&cases, &letter("around", "Hello.\r\n"), signed);
}

/// In the middle of a message, by DATA and by BDAT.
#[test]
fn faults_within_the_message_lose_nothing() {
    let mut cases = Vec::new();
    for act in [
        Act::Hang,
        Act::Close,
        Act::Reset,
        Act::last("421 4.3.2 Going down"),
        Act::last("451 4.3.0 No room"),
        Act::nonsense(),
        Act::Endless("250"),
        Act::reply("250 2.0.0 Taken already"),
    ] {
        for after in [0, 100_000] {
            for behaviour in [usual(), chunks()] {
                let broken = behaviour.clone().in_content(after, act.clone());
                cases.push(Case::new((after, &act), broken, behaviour));
            }
        }
    }
    all_recover(&cases, &long_letter(1 << 20), signed);
}

/// A message that no buffer holds, to a hop that does not read it.
#[test]
fn a_hop_that_stops_reading_is_given_up() {
    let cases = [usual(), chunks()].map(|behaviour| {
        let broken = behaviour.clone().in_content(100_000, Act::StopReading);
        Case::new("stops reading", broken, behaviour)
    });
    all_recover(&cases, &long_letter(16 << 20), signed);
}

fn long_letter(octets: usize) -> Vec<u8> {
    let line = "0123456789".repeat(7) + "\r\n";
    letter("long", &line.repeat(octets / line.len()))
}

/// LMTP: what was said of one recipient stands, whatever happens before the next is spoken of.
#[test]
fn an_lmtp_connection_that_breaks_between_replies_decides_for_whom_it_spoke() {
    let broken = |act: Act| Behaviour::lmtp().at_nth(Phase::EndOfData, 2, act);
    let hops: Vec<_> = [
        Act::Close,
        Act::Reset,
        Act::Hang,
        Act::HalfReply,
        Act::nonsense(),
        Act::last("421 4.3.2 Going down"),
    ]
    .into_iter()
    .map(|act| Hop::start(Script::of([broken(act), Behaviour::lmtp()])))
    .collect();
    let domain = |at: usize| format!("case{at}.example");
    let settings = hops.iter().enumerate().fold(impatient(), |it, (at, hop)| {
        let place = hop.address().to_string();
        it.route(&route(&domain(at), "lmtp", &place, "recipients = \"any\""))
    });
    let server = Server::with(settings);
    let mut client = server.signed_in();
    for at in 0..hops.len() {
        let to = ["a", "b", "c"].map(|name| format!("<{name}@{}>", domain(at)));
        let to = to.each_ref().map(String::as_str);
        let content = letter("spoken", "Hello.\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &to, &content);
    }
    drained(&server);
    for (at, hop) in hops.iter().enumerate() {
        let messages = hop.messages();
        let [first, second] = &messages[..] else {
            panic!("{:#?}", hop.transcript());
        };
        let address = |name: &str| format!("{name}@{}", domain(at));
        assert_eq!(first.to(), ["a", "b", "c"].map(address));
        assert_eq!(second.to(), ["b", "c"].map(address));
    }
    assert!(server.mail(ALICE).is_empty());
}

/// Links that prove nothing: neither a credential nor a word of a message goes there, and the sender
/// hears of it.
#[test]
fn links_that_prove_nothing_get_nothing() {
    use crate::hop::{Certificate, Tls};
    let starttls = Behaviour::starttls;
    let injected = b"220 2.0.0 Go ahead\r\n250-hop.example\r\n250 AUTH PLAIN\r\n".to_vec();
    let ca = format!("ca = \"{}\"\n", authority().display());
    let other_pin = format!("pins = [\"{}\"]\n", "00".repeat(32));
    let cases = [
        ("not offered", "starttls", Behaviour::plain(), &ca),
        ("helo only", "starttls", Behaviour::plain().helo_only(), &ca),
        (
            "put off",
            "starttls",
            starttls().at(Phase::StartTls, Act::reply("454 4.7.0 Not now")),
            &ca,
        ),
        (
            "refused",
            "starttls",
            starttls().at(Phase::StartTls, Act::reply("554 5.7.0 Never")),
            &ca,
        ),
        (
            "garbage",
            "starttls",
            starttls().at(Phase::Handshake, Act::nonsense()),
            &ca,
        ),
        (
            "zeros",
            "starttls",
            starttls().at(Phase::Handshake, Act::Say(vec![0; 64])),
            &ca,
        ),
        (
            "injected",
            "starttls",
            starttls().at(Phase::StartTls, Act::Say(injected)),
            &ca,
        ),
        (
            "wrong name",
            "starttls",
            starttls().certificate(Certificate::WrongName),
            &ca,
        ),
        (
            "expired",
            "starttls",
            starttls().certificate(Certificate::Expired),
            &ca,
        ),
        (
            "self-signed",
            "starttls",
            starttls().certificate(Certificate::SelfSigned),
            &ca,
        ),
        (
            "other authority",
            "starttls",
            starttls().certificate(Certificate::OtherAuthority),
            &ca,
        ),
        ("other pin", "starttls", starttls(), &other_pin),
        (
            "no roots of the system",
            "starttls",
            starttls(),
            &String::new(),
        ),
        ("in the clear", "implicit", Behaviour::plain(), &ca),
        ("starttls instead", "implicit", starttls(), &ca),
        (
            "wrong name at once",
            "implicit",
            Behaviour::implicit().certificate(Certificate::WrongName),
            &ca,
        ),
        (
            "other pin at once",
            "implicit",
            Behaviour::implicit(),
            &other_pin,
        ),
        ("lmtp without", "starttls", Behaviour::lmtp(), &ca),
        (
            "lmtp expired",
            "starttls",
            Behaviour::lmtp()
                .tls(Tls::Starttls)
                .certificate(Certificate::Expired),
            &ca,
        ),
    ];
    let cases = cases.map(|(what, tls, behaviour, trust)| {
        let more = format!("tls = \"{tls}\"\n{trust}{}", sign_in(NAME, PASSWORD));
        (what, Hop::start(behaviour), more)
    });
    let domain = |what: &str| format!("{}.example", what.replace(' ', "-"));
    let settings = cases
        .iter()
        .fold(impatient(), |settings, (what, hop, more)| {
            let place = format!("localhost:{}", hop.address().port());
            let (transport, more) = match what.starts_with("lmtp") {
                true => ("lmtp", &format!("recipients = \"any\"\n{more}")),
                false => ("relay", more),
            };
            settings.route(&route(&domain(what), transport, &place, more))
        });
    let server = Server::with(settings.with("queue", "give_up_after = \"2s\""));
    let mut client = server.signed_in();
    for (what, ..) in &cases {
        let to = format!("<bob@{}>", domain(what));
        let content = letter("secret-subject", "secret-text\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
    }
    drained(&server);
    let reports = server.mail(ALICE);
    let reports: Vec<_> = reports
        .iter()
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    assert_eq!(reports.len(), cases.len());
    for (what, hop, _) in &cases {
        let transcript = hop.transcript();
        assert!(!transcript.connections.is_empty(), "{what}");
        transcript.assert_nothing_given_away();
        let told = format!("\nFinal-Recipient: rfc822; bob@{}\n", domain(what));
        let report = reports.iter().find(|report| report.contains(&told));
        let report = report.unwrap_or_else(|| panic!("{what}: {reports:#?}"));
        assert!(report.contains("\nStatus: 4.4.7\n"), "{what}: {report}");
        let line = server.logged(&[
            "next hop cannot be used",
            &format!("\"route\":\"{}\"", domain(what)),
        ]);
        let tls = ["Tls(", "Hop(Tls)"]
            .iter()
            .any(|cause| line.contains(cause));
        assert!(tls || line.contains("Hop("), "{what}: {line}");
    }
    let log = server.log();
    for secret in [PASSWORD, "secret-subject", "secret-text"] {
        assert!(!log.contains(secret), "{secret}");
    }
}
