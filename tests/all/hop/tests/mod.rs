//! The scripted next hop itself: each behaviour seen from a client, so that a fault of the hop's
//! does not look like one of Gatepost's.

mod content;
mod good;
mod lmtp;
mod phases;
mod replies;
mod tls;

use std::path::Path;

use super::*;
use crate::wire::{self, Client};

/// The phases that a reply to a line is due in, in the order of a session.
const PHASES: [Phase; 10] = [
    Phase::Greeting,
    Phase::Hello,
    Phase::StartTls,
    Phase::SignIn,
    Phase::Mail,
    Phase::Rcpt,
    Phase::Data,
    Phase::EndOfData,
    Phase::Reset,
    Phase::Quit,
];

const CONTENT: &str = "Subject: x\r\n\r\n.\r\n..two\r\nend\r\n";

/// The line to which a reply is due in this phase.
fn line(phase: Phase) -> String {
    match phase {
        Phase::Greeting | Phase::Handshake => unreachable!("no line of ours"),
        Phase::Hello => "EHLO client.example".to_owned(),
        Phase::StartTls => "STARTTLS".to_owned(),
        Phase::SignIn => format!("AUTH PLAIN {}", plain(NAME, PASSWORD)),
        Phase::Mail => "MAIL FROM:<ann@example.org>".to_owned(),
        Phase::Rcpt => "RCPT TO:<bob@any.example>".to_owned(),
        Phase::Data => "DATA".to_owned(),
        Phase::EndOfData => stuffed(CONTENT) + ".",
        Phase::Reset => "RSET".to_owned(),
        Phase::Quit => "QUIT".to_owned(),
    }
}

fn plain(name: &str, password: &str) -> String {
    data_encoding::BASE64.encode(format!("\0{name}\0{password}").as_bytes())
}

fn stuffed(content: &str) -> String {
    let lines = content.split_inclusive("\r\n");
    lines
        .map(|line| match line.starts_with('.') {
            true => format!(".{line}"),
            false => line.to_owned(),
        })
        .collect()
}

/// Connects and says, in the clear, everything that leads up to this phase, its line included.
fn reach(hop: &Hop, phase: Phase) -> Client {
    let mut client = Client::plain(hop.address()).unwrap();
    if phase == Phase::Greeting {
        return client;
    }
    assert_eq!(client.reply().unwrap(), ["220 hop.example ready"]);
    let ahead: &[Phase] = match phase {
        Phase::Hello | Phase::Quit => &[],
        Phase::StartTls | Phase::SignIn | Phase::Mail => &[Phase::Hello],
        Phase::Rcpt | Phase::Reset => &[Phase::Hello, Phase::Mail],
        Phase::Data => &[Phase::Hello, Phase::Mail, Phase::Rcpt],
        _ => &[Phase::Hello, Phase::Mail, Phase::Rcpt, Phase::Data],
    };
    for phase in ahead {
        let reply = client.ask(&line(*phase)).unwrap();
        assert!(reply.starts_with(['2', '3']), "{phase:?}: {reply}");
    }
    client.send((line(phase) + "\r\n").as_bytes()).unwrap();
    client
}

/// A client behind EHLO, in the clear.
fn greeted(hop: &Hop) -> Client {
    let mut client = reach(hop, Phase::Hello);
    client.reply().unwrap();
    client
}

/// The last lines of the replies to these lines.
fn ask_all(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let lines = lines.iter();
    lines.map(|line| client.ask(line).unwrap()).collect()
}

fn codes(replies: &[String]) -> Vec<&str> {
    replies.iter().map(|reply| &reply[..3]).collect()
}

/// One message to bob; the reply behind it.
fn send(client: &mut Client) -> String {
    for phase in [Phase::Mail, Phase::Rcpt, Phase::Data] {
        let reply = client.ask(&line(phase)).unwrap();
        assert!(reply.starts_with(['2', '3']), "{phase:?}: {reply}");
    }
    client.ask(&line(Phase::EndOfData)).unwrap()
}

fn trusting(authority: &Path) -> std::sync::Arc<rustls::ClientConfig> {
    wire::trust(authority)
}
