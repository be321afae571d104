//! A hop that speaks LMTP (RFC 2033).

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::{Command, Stdio},
};

use super::*;
use crate::clients::{answers, present, script};

/// A dialogue through a Unix socket, said at once; all that was answered.
fn dialogue(hop: &Hop, text: &str) -> String {
    let mut socket = UnixStream::connect(hop.path()).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

const TWO: &str = "LHLO client.example\r\nMAIL FROM:<ann@example.org>\r\n\
                   RCPT TO:<bob@any.example>\r\nRCPT TO:<cy@any.example>\r\n\
                   DATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n";

#[test]
fn each_recipient_has_a_reply_of_its_own() {
    let refusal = Act::reply("452 4.2.2 bob is full");
    let hop = Hop::unix(Behaviour::lmtp().for_recipient(Phase::EndOfData, "bob@", refusal));
    let answer = dialogue(&hop, TWO);
    let last: Vec<_> = answer.lines().rev().take(3).collect();
    assert_eq!(
        last,
        [
            "221 2.0.0 Bye",
            "250 2.0.0 Taken as 1 for <cy@any.example>",
            "452 4.2.2 bob is full",
        ]
    );
    let message = hop.wait_for_messages(1).remove(0);
    assert_eq!(message.to(), ["bob@any.example", "cy@any.example"]);
    assert_eq!(message.replies.len(), 2);
    assert!(message.replies[0].starts_with("452"), "{message:?}");
}

#[test]
fn a_hop_may_close_between_the_replies() {
    let hop = Hop::unix(Behaviour::lmtp().at_nth(Phase::EndOfData, 2, Act::Close));
    let answer = dialogue(&hop, TWO);
    assert!(answer.ends_with("for <bob@any.example>\r\n"), "{answer}");
}

#[test]
fn a_hop_on_a_unix_socket_hangs_and_ends_as_one_on_a_port() {
    for act in [Act::Hang, Act::StopReading, Act::Close, Act::Reset] {
        let hop = Hop::unix(Behaviour::lmtp().at(Phase::Greeting, act.clone()));
        assert_eq!(dialogue(&hop, ""), "", "{act:?}");
        hop.wait_for_ends(1);
    }
}

#[test]
fn lmtp_knows_no_ehlo_and_smtp_no_lhlo() {
    let lmtp = Hop::start(Behaviour::lmtp());
    assert!(reach(&lmtp, Phase::Hello).reply().unwrap()[0].starts_with("500"));
    let smtp = Hop::start(Behaviour::plain());
    let mut client = Client::plain(smtp.address()).unwrap();
    client.reply().unwrap();
    assert!(
        client
            .ask("LHLO client.example")
            .unwrap()
            .starts_with("500")
    );
}

#[test]
fn smtplib_sends_to_an_lmtp_hop() {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return;
    }
    let refusal = Act::reply("550 5.1.1 No cy here");
    let behaviour = Behaviour::lmtp().for_recipient(Phase::Rcpt, "cy@", refusal);
    let (port, unix) = (Hop::start(behaviour.clone()), Hop::unix(behaviour));
    for (place, hop) in [
        (port.address().port().to_string(), &port),
        (unix.path().display().to_string(), &unix),
    ] {
        let output = Command::new("python3")
            .arg(script("send_lmtp.py"))
            .args([
                &place,
                "ann@example.org",
                "Hello",
                "bob@any.example",
                "cy@any.example",
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place}: {failed}");
        assert_eq!(said, "cy@any.example 550 5.1.1 No cy here\n");
        let message = hop.wait_for_messages(1).remove(0);
        assert_eq!(message.to(), ["bob@any.example"]);
    }
}
