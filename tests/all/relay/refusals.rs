//! Words of next hops on their way to people: replies with whatever octets, in the log, in reports
//! and in the list of the queue.

use super::{drained, letter, mailboxes, open_relay, send, settings, submit};
use crate::{
    hop::{Act, Behaviour, Hop, Phase, Script},
    server::{ALICE, Server, wait_for},
};

/// Refusals at every point: those that are final are told in one report for each message, those for
/// now are tried again.
#[test]
fn a_refusal_is_final_or_not_by_its_first_digit() {
    let cases = [
        (Phase::Mail, "550 5.7.1 Not you", true),
        (Phase::Mail, "451 4.3.0 Later", false),
        (Phase::Rcpt, "550 5.1.1 Nobody", true),
        (Phase::Rcpt, "450 4.2.0 Greylisted", false),
        (Phase::Data, "554 5.5.1 No", true),
        (Phase::Data, "451 4.3.0 Later", false),
        (Phase::EndOfData, "554 5.7.1 Spam", true),
        (Phase::EndOfData, "451 4.3.0 Later", false),
        // What the operator can mend is no fault of the message's.
        (Phase::Greeting, "554 5.3.2 Not today", false),
        (Phase::Hello, "550 5.7.1 Not you", false),
        (Phase::Mail, "530 5.7.0 Sign in first", false),
    ];
    let hops = cases.map(|(phase, reply, _)| {
        let good = Behaviour::plain().without("CHUNKING");
        // Once in all, though the connection may serve again.
        let once = good.clone().at_nth(phase, 1, Act::reply(reply));
        Hop::start(Script::of([once, good]))
    });
    let domain = |at: usize| format!("case{at}.example");
    let numbered = hops.iter().enumerate();
    let settings = numbered.fold(settings(), |settings, (at, hop)| {
        settings.route(&open_relay(&domain(at), hop))
    });
    let server = Server::with(settings);
    let mut client = server.signed_in();
    for at in 0..cases.len() {
        let to = format!("<bob@{}>", domain(at));
        let content = letter("refused", "Hello.\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
    }
    drained(&server);
    let reports = server.mail(ALICE);
    let reports: Vec<_> = reports
        .iter()
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    for (at, (phase, reply, is_final)) in cases.into_iter().enumerate() {
        let what = format!("{phase:?} {reply}");
        let taken = hops[at].messages().len();
        assert_eq!(taken, usize::from(!is_final), "{what}");
        let to = format!("\nFinal-Recipient: rfc822; bob@{}\n", domain(at));
        let told: Vec<_> = reports
            .iter()
            .filter(|report| report.contains(&to))
            .collect();
        assert_eq!(told.len(), usize::from(is_final), "{what}");
        if let [report] = told[..] {
            let (_, rest) = reply.split_once(' ').unwrap();
            let (code, _) = rest.split_once(' ').unwrap();
            assert!(report.contains(&format!("\nStatus: {code}\n")), "{report}");
            assert!(
                report.contains(&format!("\nDiagnostic-Code: smtp; {reply}\n")),
                "{report}"
            );
        }
    }
}

/// S22: a reply with control characters, octets that are no UTF-8 and a line that looks like a reply
/// of its own reaches nobody as it came.
#[test]
fn hostile_octets_of_replies_are_made_harmless() {
    let said = |code| Act::control_octets(code);
    let hops = [
        Hop::start(Behaviour::plain().at(Phase::Rcpt, said("550 5.1.1"))),
        Hop::start(Behaviour::plain().at(Phase::EndOfData, said("554 5.7.1"))),
        Hop::start(Behaviour::plain().at(Phase::Greeting, said("554"))),
        Hop::start(Behaviour::plain().at(Phase::Mail, said("550"))),
        Hop::start(Behaviour::plain().at(Phase::Hello, Act::nonsense())),
        Hop::start(Behaviour::plain().at(
            Phase::EndOfData,
            Act::Say("550 5.7.1 \u{202e}txt.exe\u{9b}2J \u{fc}\r\n".into()),
        )),
    ];
    let lmtp = Hop::start(Behaviour::lmtp().at(Phase::EndOfData, said("552 5.2.2")));
    let domain = |at: usize| format!("case{at}.example");
    let settings = settings().with("queue", "give_up_after = \"2s\"");
    let numbered = hops.iter().enumerate();
    let settings = numbered.fold(settings, |settings, (at, hop)| {
        settings.route(&open_relay(&domain(at), hop))
    });
    let server = Server::with(settings.route(&mailboxes("lmtp.example", &lmtp)));
    for at in 0..hops.len() {
        send(&server, &[&format!("bob@{}", domain(at))], "hostile");
    }
    send(&server, &["bob@lmtp.example"], "hostile");
    drained(&server);
    let reports = server.mail(ALICE);
    assert_eq!(reports.len(), hops.len() + 1);
    for report in &reports {
        let harmless = |octet: &u8| matches!(octet, b' '..=b'~' | b'\n' | b'\t');
        let text = String::from_utf8_lossy(report);
        assert!(report.iter().all(harmless), "{text}");
        assert!(!text.contains("\nforged line"), "{text}");
    }
    for c in server.log().chars().filter(|c| *c != '\n') {
        let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}');
        assert!(!c.is_control() && !direction, "{c:?}");
    }
}

/// The same for whoever looks at the queue.
#[test]
fn hostile_octets_of_replies_are_made_harmless_in_the_list() {
    let hop = Hop::start(Behaviour::plain().at(Phase::Mail, Act::control_octets("451")));
    let server = Server::with(settings().route(&open_relay("far.example", &hop)));
    send(&server, &["bob@far.example"], "hostile");
    server.logged(&["delivery attempt", "bob@far.example", "deferred"]);
    for arguments in [&["queue", "list"][..], &["queue", "list", "--json"]] {
        let shown = wait_for("the reply in the list", || {
            let shown = server.manage(arguments);
            shown.contains("red").then_some(shown)
        });
        assert!(!shown.contains("\nforged"), "{shown}");
        for c in shown.chars().filter(|c| *c != '\n') {
            assert!(!c.is_control(), "{c:?} in {shown}");
        }
    }
}
