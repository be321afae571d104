//! What senders are told, from the hop's word to their own Maildir, as Python's email package reads
//! it.

use std::process::Command;

use serde_json::Value;

use super::{drained, letter, mailboxes, open_relay, relay, settings, submit};
use crate::{
    clients::{answers, present, script},
    hop::{Act, Behaviour, Hop, Phase},
    server::{ALICE, BOB, Server, free_address, wait_for},
};

/// Alice's reports as Python finds them; none where there is no Python.
pub fn reports(server: &Server) -> Option<Vec<Value>> {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return None;
    }
    let folder = server.path("mail").join(ALICE).join("new");
    let mut paths: Vec<_> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let output = Command::new("python3")
            .env("PYTHONIOENCODING", "utf-8")
            .arg(script("read_report.py"))
            .arg(path)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["type"], "multipart/report");
        assert_eq!(report["report_type"], "delivery-status");
        assert_eq!(report["to"], ALICE);
        assert_eq!(report["defects"], serde_json::json!([]), "{report:#}");
        report
    };
    Some(paths.iter().map(read).collect())
}

/// Action, recipient and status of each group for a recipient.
fn told(report: &Value) -> Vec<[String; 3]> {
    let groups = report["status"].as_array().unwrap();
    let field = |group: &Value, name: &str| group[name].as_str().unwrap_or_default().to_owned();
    let groups = groups[1..].iter();
    groups
        .map(|group| {
            let recipient = field(group, "Final-Recipient");
            let address = recipient.split_once("; ").unwrap().1.to_owned();
            [field(group, "Action"), address, field(group, "Status")]
        })
        .collect()
}

fn row(action: &str, address: &str, status: &str) -> [String; 3] {
    [action.into(), address.into(), status.into()]
}

/// Failures of one message at one next hop and at another are one report; whoever got it is not in
/// it.
#[test]
fn failures_of_a_message_are_told_in_one_report() {
    let hop = Hop::start(
        Behaviour::starttls()
            .for_recipient(Phase::Rcpt, "a@", Act::reply("550 5.1.1 No a here"))
            .for_recipient(Phase::Rcpt, "b@", Act::reply("553 5.1.3 No b here")),
    );
    let spam = Hop::start(Behaviour::plain().at(Phase::EndOfData, Act::reply("554 5.7.1 Spam")));
    let lmtp = Hop::start(Behaviour::lmtp().for_recipient(
        Phase::EndOfData,
        "full",
        Act::reply("552 5.2.2 Mailbox full"),
    ));
    let server = Server::with(
        settings()
            .route(&relay("far.example", &hop, "starttls", ""))
            .route(&open_relay("spam.example", &spam))
            .route(&mailboxes("lmtp.example", &lmtp)),
    );
    let to = [
        "<a@far.example> ORCPT=rfc822;Old+2Ba@far.example",
        "<b@far.example>",
        "<c@far.example>",
        "<bob@spam.example>",
        "<full@lmtp.example>",
        "<fine@lmtp.example>",
        "<quiet@spam.example> NOTIFY=NEVER",
    ];
    let from = format!("<{ALICE}> RET=HDRS ENVID=Q+2B7");
    let content = letter("one-report", "secret-text\r\n");
    submit(&mut server.signed_in(), &from, &to, &content);
    drained(&server);
    assert_eq!(server.mail(ALICE).len(), 1, "{}", server.log());
    let raw = String::from_utf8(server.mail(ALICE).remove(0)).unwrap();
    assert!(raw.starts_with("Return-Path: <>\n"), "{raw}");
    assert!(!raw.contains("secret-text"), "{raw}");
    let Some(reports) = reports(&server) else {
        return;
    };
    let mut groups = told(&reports[0]);
    groups.sort();
    assert_eq!(
        groups,
        [
            row("failed", "a@far.example", "5.1.1"),
            row("failed", "b@far.example", "5.1.3"),
            row("failed", "bob@spam.example", "5.7.1"),
            row("failed", "full@lmtp.example", "5.2.2"),
        ]
    );
    let message = &reports[0]["status"][0];
    assert_eq!(message["Original-Envelope-Id"], "Q+7");
    assert_eq!(message["Reporting-MTA"], "dns; mail.example.org");
    assert_eq!(reports[0]["subject"], "one-report");
    assert_eq!(reports[0]["parts"][2], "text/rfc822-headers");
    let status = reports[0]["status"].as_array().unwrap();
    let a = status
        .iter()
        .find(|group| group["Final-Recipient"] == "rfc822; a@far.example");
    let a = a.unwrap();
    assert_eq!(a["Original-Recipient"], "rfc822; Old+a@far.example");
    assert_eq!(a["Diagnostic-Code"], "smtp; 550 5.1.1 No a here");
    assert!(
        a["Remote-MTA"]
            .as_str()
            .unwrap()
            .starts_with("dns; localhost"),
        "{a}"
    );
}

/// A word in the middle of a message that it is not wanted is as good as one behind it; and what
/// comes back of a large one is its header.
#[test]
fn a_refusal_within_a_large_message_is_told_once() {
    let early = Behaviour::starttls().in_content(100_000, Act::last("552 5.3.4 Too big"));
    let hop = Hop::start(early);
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", "")));
    let content = letter("large", &"Hello.\r\n".repeat(300_000));
    let from = format!("<{ALICE}> RET=FULL");
    submit(
        &mut server.signed_in(),
        &from,
        &["<bob@far.example>"],
        &content,
    );
    drained(&server);
    assert_eq!(hop.transcript().connections.len(), 1);
    assert!(server.only(ALICE).len() < 100_000);
    let Some(reports) = reports(&server) else {
        return;
    };
    assert_eq!(
        told(&reports[0]),
        [row("failed", "bob@far.example", "5.3.4")]
    );
    assert_eq!(reports[0]["subject"], "large");
}

/// A hop that is never there: first a notice of the delay, then the end of it; neither twice.
#[test]
fn a_delay_is_told_and_then_the_end() {
    let dead = free_address();
    let hop = Hop::start(Behaviour::plain().at(Phase::Rcpt, Act::reply("450 4.2.1 Not now")));
    let place = super::route("dead.example", "relay", &dead.to_string(), "tls = \"none\"");
    let server = Server::with(
        settings()
            .with("queue", "delay_notice = \"1s\"")
            .with("queue", "give_up_after = \"4s\"")
            .route(&open_relay("later.example", &hop))
            .route(&place),
    );
    let mut client = server.signed_in();
    for to in ["<bob@dead.example>", "<bob@later.example>"] {
        let content = letter("waiting", "Hello.\r\n");
        submit(&mut client, &format!("<{ALICE}>"), &[to], &content);
    }
    // Whoever does not want to hear of delays hears of the end alone.
    let to = "<quiet@later.example> NOTIFY=FAILURE";
    let content = letter("waiting", "Hello.\r\n");
    submit(&mut client, &format!("<{ALICE}>"), &[to], &content);
    drained(&server);
    assert_eq!(server.mail(ALICE).len(), 5);
    let Some(reports) = reports(&server) else {
        return;
    };
    let mut groups: Vec<_> = reports.iter().flat_map(told).collect();
    groups.sort();
    assert_eq!(
        groups,
        [
            row("delayed", "bob@dead.example", "4.4.1"),
            row("delayed", "bob@later.example", "4.2.1"),
            row("failed", "bob@dead.example", "4.4.7"),
            row("failed", "bob@later.example", "4.4.7"),
            row("failed", "quiet@later.example", "4.4.7"),
        ]
    );
    for report in &reports {
        let groups = report["status"].as_array().unwrap();
        let is_delay = groups[1]["Action"] == "delayed";
        assert_eq!(
            groups[1]["Will-Retry-Until"].is_string(),
            is_delay,
            "{report:#}"
        );
    }
}

/// RFC 3461 §5.2: success is told by whoever is the last to know of it.
#[test]
fn success_is_told_where_nobody_else_will() {
    let without = Hop::start(Behaviour::starttls().without("DSN"));
    let with = Hop::start(Behaviour::starttls());
    let lmtp = Hop::start(Behaviour::lmtp());
    let server = Server::with(
        settings()
            .route(&relay("without.example", &without, "starttls", ""))
            .route(&relay("with.example", &with, "starttls", ""))
            .route(&mailboxes("lmtp.example", &lmtp)),
    );
    let mut client = server.signed_in();
    for (at, to) in [
        "bob@without.example",
        "bob@with.example",
        "bob@lmtp.example",
        BOB,
    ]
    .into_iter()
    .enumerate()
    {
        for notify in ["SUCCESS", "FAILURE"] {
            let to = format!("<{to}> NOTIFY={notify}");
            let content = letter(&format!("asked{at}"), "Hello.\r\n");
            submit(&mut client, &format!("<{ALICE}>"), &[&to], &content);
        }
    }
    drained(&server);
    assert_eq!(server.mail(ALICE).len(), 3);
    let asked = with.messages();
    let notify = asked
        .iter()
        .flat_map(|it| it.recipients[0].parameters.clone());
    assert!(
        notify.clone().any(|it| it == "NOTIFY=SUCCESS"),
        "{asked:#?}"
    );
    let Some(reports) = reports(&server) else {
        return;
    };
    let mut groups: Vec<_> = reports.iter().flat_map(told).collect();
    groups.sort();
    assert_eq!(
        groups,
        [
            row("delivered", BOB, "2.0.0"),
            row("delivered", "bob@lmtp.example", "2.0.0"),
            row("relayed", "bob@without.example", "2.0.0"),
        ]
    );
}

/// RFC 5321 §6.1: a report that cannot be delivered makes no other one; it ends, and its account can
/// hear of it.
#[test]
fn there_is_no_report_of_a_report() {
    let hop = Hop::start(Behaviour::plain().at(Phase::Rcpt, Act::reply("550 5.1.1 Nobody")));
    let server = Server::with(
        settings()
            .route(&open_relay("far.example", &hop))
            .route(&open_relay("wonder.example", &hop)),
    );
    let content = String::from_utf8(letter("lost", "Hello.\r\n")).unwrap();
    let content = content.replacen(ALICE, "a@wonder.example", 1);
    let mut client = server.signed_in();
    let to = ["<bob@far.example>"];
    submit(&mut client, "<a@wonder.example>", &to, content.as_bytes());
    drained(&server);
    let log = server.log();
    assert_eq!(log.matches("\"report made\"").count(), 1, "{log}");
    assert_eq!(log.matches("delivery given up").count(), 2, "{log}");
    let transcript = hop.transcript();
    let transactions = transcript
        .connections
        .iter()
        .flat_map(|it| &it.transactions);
    let senders: Vec<_> = transactions.map(|it| it.sender.address.as_str()).collect();
    assert_eq!(senders, ["a@wonder.example", ""]);
    assert!(server.mail(ALICE).is_empty());
    if present("python3", answers(Command::new("python3").arg("--version"))) {
        let events = wait_for("the event", || {
            let events = events(&server);
            (!events.is_empty()).then_some(events)
        });
        assert_eq!(
            events,
            "undeliverable alice@example.org a@wonder.example 5.1.1\n"
        );
    }
}

/// What accounts should know of, as the database has it.
fn events(server: &Server) -> String {
    let program = "import sqlite3, sys\n\
        names = 'kind, account_name, recipient, code'\n\
        rows = sqlite3.connect(sys.argv[1]).execute(f'SELECT {names} FROM events')\n\
        for row in rows: print(*row)";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(server.path("data/gatepost.sqlite"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}
