//! Next hops that hang, close, talk nonsense or never end, at every point of the dialogue: nothing
//! is lost, and nothing comes twice but where the connection broke behind the end of the message.

use std::fmt::Debug;

use super::{drained, impatient, letter, relay, sign_in, submit};
use crate::{
    hop::{Act, Behaviour, Hop, NAME, PASSWORD, Phase, Progress, Script, Transcript},
    server::{ALICE, Server},
};

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

/// A message that no buffer holds, to hops that do not read it: one says nothing, the other that it
/// has taken what it cannot know.
#[test]
fn a_hop_that_stops_reading_has_not_got_the_message() {
    let mut cases = Vec::new();
    for act in [Act::StopReading, Act::reply("250 2.0.0 Taken already")] {
        for behaviour in [usual(), chunks()] {
            let broken = behaviour.clone().in_content(100_000, act.clone());
            cases.push(Case::new(&act, broken, behaviour));
        }
    }
    all_recover(&cases, &long_letter(16 << 20), signed);
}

fn long_letter(octets: usize) -> Vec<u8> {
    let line = "0123456789".repeat(7) + "\r\n";
    letter("long", &line.repeat(octets / line.len()))
}
