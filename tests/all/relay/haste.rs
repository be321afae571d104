//! Mail that is to arrive by a time (RFC 2852), or before other mail (RFC 6710).

use std::time::Duration;

use serde_json::Value;

use super::{drained, letter, open_relay, relay, reports::reports, settings, subject, submit};
use crate::{
    hop::{Act, Behaviour, Hop, MailPath, Phase},
    server::{ALICE, Server},
};

/// A message from Alice with these parameters of MAIL.
fn ask(server: &Server, parameters: &str, to: &str, subject: &str) {
    let content = letter(subject, "Hello.\r\n");
    let from = format!("<{ALICE}> {parameters}");
    submit(&mut server.signed_in(), &from, &[to], &content);
}

/// The value of a parameter.
fn value<'a>(path: &'a MailPath, name: &str) -> Option<&'a str> {
    let mut parameters = path.parameters.iter();
    parameters.find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
}

/// Action and status of each recipient in each report.
fn told(reports: &[Value]) -> Vec<[String; 2]> {
    let text = |group: &Value, name: &str| group[name].as_str().unwrap().to_owned();
    let groups = reports.iter().flat_map(|report| {
        let groups = report["status"].as_array().unwrap();
        assert!(groups[0]["Deliver-By-Date"].is_string(), "{report:#}");
        assert!(groups[0]["Arrival-Date"].is_string(), "{report:#}");
        groups[1..].iter()
    });
    groups
        .map(|group| [text(group, "Action"), text(group, "Status")])
        .collect()
}

fn row(action: &str, status: &str) -> [String; 2] {
    [action.into(), status.into()]
}

/// R2852-4.1.4a, R2852-4.1.4b: what is left is passed on, and a traced hand-over is told of.
#[test]
fn a_hop_that_knows_deadlines_gets_what_is_left() {
    let hop = Hop::start(Behaviour::starttls().offers("DELIVERBY 30"));
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", "")));
    ask(&server, "BY=1000;RT", "<bob@far.example>", "traced");
    ask(&server, "BY=-5;N", "<bob@far.example>", "late");
    drained(&server);
    let messages = hop.wait_for_messages(2);
    let by = |wanted: &str| {
        let message = messages.iter().find(|it| subject(it) == wanted).unwrap();
        let (seconds, mode) = value(&message.sender, "BY")
            .unwrap()
            .split_once(';')
            .unwrap();
        (seconds.parse::<i64>().unwrap(), mode.to_owned())
    };
    let (seconds, mode) = by("traced");
    assert!(
        (900..=1000).contains(&seconds) && mode == "RT",
        "{seconds} {mode}"
    );
    let (seconds, mode) = by("late");
    assert!(
        (-100..=-5).contains(&seconds) && mode == "N",
        "{seconds} {mode}"
    );
    if let Some(reports) = reports(&server) {
        assert_eq!(told(&reports), [row("relayed", "2.0.0")]);
    }
}

/// R2852-4.1.4.1a, R2852-7a: nothing of the message is said, and no other host is looked for.
#[test]
fn a_hop_that_promises_no_time_does_not_get_mail_to_be_returned() {
    let lacks = Hop::start(Behaviour::plain());
    let slow = Hop::start(Behaviour::plain().offers("DELIVERBY 2000"));
    let offers = Hop::start(Behaviour::plain().offers("DELIVERBY"));
    let both = |name: &str, first: &Hop| {
        let ports = [first, &offers].map(|hop| hop.address().port());
        format!(
            "name = \"{name}\"\ndomains = [\"{name}\"]\ntransport = \"relay\"\ntls = \"none\"\n\
             hosts = [\"localhost:{}\", \"localhost:{}\"]\n",
            ports[0], ports[1]
        )
    };
    let server = Server::with(
        settings()
            .route(&both("lacks.example", &lacks))
            .route(&both("slow.example", &slow)),
    );
    ask(&server, "BY=1000;R", "<bob@lacks.example>", "one");
    ask(&server, "BY=1000;R", "<bob@slow.example>", "two");
    drained(&server);
    lacks.transcript().assert_nothing_given_away();
    slow.transcript().assert_nothing_given_away();
    assert!(offers.messages().is_empty());
    if let Some(reports) = reports(&server) {
        assert_eq!(
            told(&reports),
            [row("failed", "5.3.3"), row("failed", "5.3.3")]
        );
    }
}

/// R2852-4.1.4.2a.
#[test]
fn a_hop_without_deadlines_is_asked_to_tell_of_delays() {
    let hop = Hop::start(Behaviour::plain());
    let server = Server::with(settings().route(&open_relay("far.example", &hop)));
    let content = letter("notify", "Hello.\r\n");
    let to = [
        "<a@far.example>",
        "<b@far.example> NOTIFY=SUCCESS",
        "<c@far.example> NOTIFY=NEVER",
    ];
    let from = format!("<{ALICE}> BY=1000;N");
    submit(&mut server.signed_in(), &from, &to, &content);
    drained(&server);
    let message = hop.wait_for_messages(1).remove(0);
    let asked: Vec<_> = message
        .recipients
        .iter()
        .map(|it| value(it, "NOTIFY"))
        .collect();
    let expected = ["FAILURE,DELAY", "SUCCESS,DELAY", "NEVER"].map(Some);
    assert_eq!(asked, expected);
    assert_eq!(value(&message.sender, "BY"), None);
    if let Some(reports) = reports(&server) {
        let relayed = row("relayed", "2.0.0");
        assert_eq!(told(&reports), [relayed.clone(), relayed]);
    }
}

/// R2852-4.1.3a.
#[test]
fn mail_goes_back_at_its_deadline() {
    let busy = Act::reply("450 4.2.1 Not now");
    let hop = Hop::start(Behaviour::plain().offers("DELIVERBY").at(Phase::Rcpt, busy));
    let server = Server::with(settings().route(&open_relay("far.example", &hop)));
    ask(&server, "BY=2;R", "<bob@far.example>", "soon");
    drained(&server);
    assert!(hop.messages().is_empty());
    if let Some(reports) = reports(&server) {
        assert_eq!(told(&reports), [row("failed", "5.4.7")]);
    }
    let trace = server.manage(&["trace", "soon@laptop.example"]);
    assert!(trace.contains("expired"), "{trace}");
}

/// R6710-4.1b, R6710-4.1e, R6710-4.2a, R6710-5.1a: in order under a backlog, as far as the account may.
#[test]
fn urgent_mail_overtakes() {
    let hop = Hop::start(
        Behaviour::plain()
            .offers("MT-PRIORITY MIXER")
            .slow(Duration::from_millis(300)),
    );
    let route = open_relay("far.example", &hop) + "connections = 1\n";
    let server = Server::with(settings().route(&route));
    server.manage(&["user", "priority", ALICE, "4"]);
    let shown = server.manage(&["user", "show", ALICE]);
    assert!(shown.contains("priority      4 at most"), "{shown}");
    let mut client = server.signed_in();
    let mut send = |subject: &str, parameter: &str, answer: &str| {
        let content = letter(subject, "Hello.\r\n");
        let commands = format!(
            "MAIL FROM:<{ALICE}>{parameter}\r\nRCPT TO:<bob@far.example>\r\nBDAT {} LAST\r\n",
            content.len()
        );
        client
            .send(&[commands.as_bytes(), &content].concat())
            .unwrap();
        let replies: Vec<_> = (0..3).map(|_| client.reply().unwrap().remove(0)).collect();
        assert!(replies[0].starts_with(answer), "{replies:?}");
        assert!(replies[2].starts_with("250 2.0.0"), "{replies:?}");
    };
    send("first", "", "250 2.1.0");
    hop.wait("the first connection", |it| !it.connections.is_empty());
    send("usual", "", "250 2.1.0");
    send("slow", " MT-PRIORITY=-4", "250 2.1.0");
    send("brisk", " MT-PRIORITY=2", "250 2.1.0");
    send(
        "most",
        " MT-PRIORITY=9",
        "250 2.3.6 4 is the priority now in force",
    );
    let messages = hop.wait_for_messages(5);
    let order: Vec<_> = messages
        .iter()
        .map(|it| (subject(it), value(&it.sender, "MT-PRIORITY")))
        .collect();
    let expected = [
        ("first", None),
        ("most", Some("4")),
        ("brisk", Some("2")),
        ("usual", None),
        ("slow", Some("-4")),
    ];
    assert_eq!(
        order,
        expected.map(|(subject, it)| (subject.to_owned(), it))
    );
    let text = String::from_utf8_lossy(&messages[1].content).into_owned();
    assert!(
        text.replace("\r\n\t", " ").contains(" PRIORITY 4 "),
        "{text}"
    );
}
