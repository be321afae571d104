//! LMTP (RFC 2033): a reply for each recipient behind the content.

use super::{as_submitted, drained, impatient, letter, mailboxes, route, send, settings, submit};
use crate::{
    hop::{Act, Behaviour, Hop, Phase, Script},
    server::{ALICE, Server},
};

/// Over TCP and over a Unix socket; the others are delivered once, whatever becomes of one.
#[test]
fn every_recipient_has_its_own_reply() {
    let behaviour = || {
        Behaviour::lmtp()
            .for_recipient(Phase::Rcpt, "nobody", Act::reply("550 5.1.1 Who?"))
            .for_recipient(Phase::EndOfData, "full", Act::reply("552 5.2.2 Full"))
            .at_nth(Phase::EndOfData, 3, Act::reply("452 4.2.2 Busy"))
    };
    let tcp = Hop::start(behaviour());
    let unix = Hop::unix(behaviour());
    let place = format!("unix:{}", unix.path().display());
    let server = Server::with(
        settings()
            .route(&mailboxes("tcp.example", &tcp))
            .route(&route(
                "unix.example",
                "lmtp",
                &place,
                "recipients = \"any\"",
            )),
    );
    for (domain, hop) in [("tcp.example", &tcp), ("unix.example", &unix)] {
        let names = ["ann", "full", "busy", "nobody", "cy"];
        let to = names.map(|name| format!("<{name}@{domain}>"));
        let to: Vec<_> = to.iter().map(String::as_str).collect();
        let content = letter("each", "Hello.\r\n");
        submit(
            &mut server.signed_in(),
            &format!("<{ALICE}>"),
            &to,
            &content,
        );
        drained(&server);
        let at = |name: &str| format!("{name}@{domain}");
        let messages = hop.messages();
        let [first, second] = &messages[..] else {
            panic!("{:#?}", hop.transcript());
        };
        assert_eq!(first.to(), ["ann", "full", "busy", "cy"].map(at));
        assert_eq!(second.to(), [at("busy")]);
        for message in [first, second] {
            assert_eq!(as_submitted(&message.content), content);
        }
        let said = |name: &str, words: &str| {
            server.logged(&[&format!("\"to\":\"{}\"", at(name)), words]);
        };
        said("ann", "\"delivered\"");
        said("cy", "\"delivered\"");
        said("full", "\"failed\"");
        said("nobody", "\"failed\"");
        said("busy", "\"deferred\"");
        said("busy", "\"delivered\"");
    }
    // Both failures of a message in one report.
    let reports = server.mail(ALICE);
    assert_eq!(reports.len(), 2);
}

/// The greeting and the words of SMTP are not those of LMTP.
#[test]
fn an_smtp_server_on_an_lmtp_route_gets_nothing() {
    let hop = Hop::start(Behaviour::plain());
    let server = Server::with(settings().route(&mailboxes("far.example", &hop)));
    send(&server, &["bob@far.example"], "lost");
    server.logged(&["delivery attempt", "bob@far.example", "deferred"]);
    hop.transcript().assert_nothing_given_away();
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
