//! The good server that a hop is where nothing else was said.

use std::process::{Command, Stdio};

use super::*;
use crate::{
    clients::{answers, present, script},
    server::sign_in_scram,
};

#[test]
fn a_message_is_recorded_with_its_envelope_and_parameters() {
    let hop = Hop::start(Behaviour::plain());
    let mut client = greeted(&hop);
    let replies = ask_all(
        &mut client,
        &[
            "MAIL FROM:<ann@example.org> SIZE=40 BODY=8BITMIME RET=HDRS ENVID=q1",
            "RCPT TO:<bob@any.example> NOTIFY=NEVER",
            "rcpt to:<\"c> d\"@any.example>",
            "DATA",
            &line(Phase::EndOfData),
            "RSET",
            "QUIT",
        ],
    );
    assert_eq!(
        codes(&replies),
        ["250", "250", "250", "354", "250", "250", "221"]
    );
    assert_eq!(client.closed().unwrap(), b"");
    drop(client);

    let transcript = hop.wait_for_ends(1);
    let connection = &transcript.connections[0];
    let (closed, end) = connection.closed.clone().unwrap();
    assert_eq!(end, End::Quit);
    assert!(connection.opened <= closed);
    assert_eq!(
        connection.verbs(),
        ["EHLO", "MAIL", "RCPT", "RCPT", "DATA", "RSET", "QUIT"]
    );
    assert_eq!(connection.handshake, Handshake::None);
    let [message] = &transcript.messages()[..] else {
        panic!("{transcript:?}");
    };
    assert_eq!(message.sender.address, "ann@example.org");
    assert_eq!(
        message.sender.parameters,
        ["SIZE=40", "BODY=8BITMIME", "RET=HDRS", "ENVID=q1"]
    );
    assert_eq!(message.to(), ["bob@any.example", "\"c> d\"@any.example"]);
    assert_eq!(message.recipients[0].parameters, ["NOTIFY=NEVER"]);
    assert_eq!(message.content, CONTENT.as_bytes());
    assert_eq!(message.replies, ["250 2.0.0 Taken as 1"]);
    assert_eq!(message.channel, Channel::Clear);
}

#[test]
fn chunks_are_counted_and_put_together() {
    let hop = Hop::start(Behaviour::plain());
    let mut client = greeted(&hop);
    ask_all(&mut client, &[&line(Phase::Mail), &line(Phase::Rcpt)]);
    client
        .send(b"BDAT 9\r\nSubject: BDAT 11\r\n x\r\n\r\n.\r\n\r\nBDAT 0 LAST\r\n")
        .unwrap();
    let replies: Vec<_> = (0..3).map(|_| client.reply().unwrap().remove(0)).collect();
    assert_eq!(codes(&replies), ["250", "250", "250"], "{replies:?}");
    assert_eq!(
        hop.wait_for_messages(1)[0].content,
        b"Subject:  x\r\n\r\n.\r\n\r\n"
    );
    let commands = hop.transcript().connections.remove(0).commands;
    assert_eq!(commands[3].line, "BDAT 9");
    assert!(!commands[3].pipelined && commands[4].pipelined && commands[5].pipelined);
}

#[test]
fn what_is_not_offered_is_refused() {
    let refused = |behaviour: Behaviour, lines: &[&str]| {
        let hop = Hop::start(behaviour);
        let mut client = greeted(&hop);
        ask_all(&mut client, lines).pop().unwrap()
    };
    let mail = |parameters: &str| format!("MAIL FROM:<ann@example.org> {parameters}");
    for (keyword, parameters) in [
        ("8BITMIME", "BODY=8BITMIME"),
        ("SMTPUTF8", "SMTPUTF8"),
        ("DSN", "RET=FULL"),
        ("SIZE", "SIZE=3"),
    ] {
        let reply = refused(Behaviour::plain().without(keyword), &[&mail(parameters)]);
        assert!(reply.starts_with("555 5.5.4"), "{keyword}: {reply}");
    }
    for (behaviour, lines, code) in [
        (Behaviour::plain(), vec![mail("X=1")], "555"),
        (Behaviour::plain(), vec![mail("REQUIRETLS")], "555"),
        (
            Behaviour::plain().offers("REQUIRETLS"),
            vec![mail("REQUIRETLS")],
            "250",
        ),
        (
            Behaviour::plain().offers("SIZE 100"),
            vec![mail("SIZE=101")],
            "552",
        ),
        (
            Behaviour::plain().without("CHUNKING"),
            vec!["BDAT 0".into()],
            "500",
        ),
        (Behaviour::plain(), vec!["STARTTLS".into()], "502"),
        (
            Behaviour::plain().without("AUTH"),
            vec![line(Phase::SignIn)],
            "502",
        ),
        (Behaviour::plain().needs_sign_in(), vec![mail("")], "530"),
        (
            Behaviour::plain().needs_sign_in(),
            vec![line(Phase::SignIn), mail("")],
            "250",
        ),
        (
            Behaviour::plain().without("SMTPUTF8"),
            vec![mail(""), "RCPT TO:<b\u{f6}b@any.example>".into()],
            "553",
        ),
        (Behaviour::plain(), vec!["DATA".into()], "503"),
        (
            Behaviour::plain(),
            vec!["RCPT TO:<a@b.example>".into()],
            "503",
        ),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let reply = refused(behaviour, &lines);
        assert!(reply.starts_with(code), "{lines:?}: {reply}");
    }
}

#[test]
fn a_hop_of_old_knows_helo_only() {
    let hop = Hop::start(Behaviour::plain().helo_only());
    let mut client = Client::plain(hop.address()).unwrap();
    client.reply().unwrap();
    assert!(
        client
            .ask("EHLO client.example")
            .unwrap()
            .starts_with("502 ")
    );
    client.send(b"HELO client.example\r\n").unwrap();
    assert_eq!(client.reply().unwrap(), ["250 hop.example"]);
    assert!(send(&mut client).starts_with("250"));
}

#[test]
fn the_account_may_sign_in_by_each_mechanism_and_nobody_else() {
    let hop = Hop::start(Behaviour::plain().account("ann", "tulips"));
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let login = ["AUTH LOGIN".to_owned(), base64("ann"), base64("tulips")];
    let wrong = ["AUTH LOGIN".to_owned(), base64("ann"), base64("roses")];
    for (lines, codes_wanted) in [
        (
            &[format!("AUTH PLAIN {}", plain("ann", "tulips"))][..],
            &["235"][..],
        ),
        (
            &["AUTH PLAIN".to_owned(), plain("ann", "tulips")],
            &["334", "235"],
        ),
        (&login, &["334", "334", "235"]),
        (&wrong, &["334", "334", "535"]),
        (&["AUTH PLAIN".to_owned(), "*".to_owned()], &["334", "501"]),
        (&["AUTH CRAM-MD5".to_owned()], &["504"]),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let replies = ask_all(&mut greeted(&hop), &lines);
        assert_eq!(codes(&replies), codes_wanted, "{lines:?}: {replies:?}");
    }
    let transcript = hop.transcript();
    let sign_ins = transcript.connections.iter().flat_map(|one| &one.sign_ins);
    let heard: Vec<_> = sign_ins
        .map(|one| {
            assert_eq!((one.name.as_str(), one.channel), ("ann", Channel::Clear));
            (one.mechanism.as_str(), one.password.as_deref(), one.right)
        })
        .collect();
    assert_eq!(
        heard,
        [
            ("PLAIN", Some("tulips"), true),
            ("PLAIN", Some("tulips"), true),
            ("LOGIN", Some("tulips"), true),
            ("LOGIN", Some("roses"), false),
        ]
    );
}

#[test]
fn scram_shows_no_password() {
    let hop = Hop::start(Behaviour::plain());
    for (password, code) in [(PASSWORD, "235"), ("wrong", "535")] {
        let mut client = greeted(&hop);
        let reply = sign_in_scram(&mut client, NAME, password);
        assert!(reply.starts_with(code), "{reply}");
    }
    for (connection, right) in hop.transcript().connections.iter().zip([true, false]) {
        let sign_in = &connection.sign_ins[0];
        assert_eq!((sign_in.right, sign_in.password.as_deref()), (right, None));
        assert!(!connection.clear.windows(5).any(|five| five == b"seven"));
    }
}

#[test]
fn connections_at_one_time_are_counted() {
    let hop = Hop::start(Behaviour::plain());
    let three: Vec<_> = (0..3).map(|_| greeted(&hop)).collect();
    drop(three);
    hop.wait_for_ends(3);
    drop(greeted(&hop));
    let transcript = hop.wait_for_ends(4);
    assert_eq!((transcript.connections.len(), transcript.peak), (4, 3));
}

#[test]
fn smtplib_sends_to_a_hop_through_tls_and_auth() {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return;
    }
    for (mode, behaviour) in [
        ("starttls", Behaviour::starttls()),
        ("implicit", Behaviour::implicit()),
    ] {
        let hop = Hop::start(behaviour.needs_sign_in());
        let output = Command::new("python3")
            .arg(script("send_smtplib.py"))
            .args([mode, &hop.address().port().to_string()])
            .arg(authority())
            .args([NAME, "ann@example.org", "bob@any.example", "Hello"])
            .env("GATEPOST_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {said}");
        let message = hop.wait_for_messages(1).remove(0);
        assert_eq!(message.channel, Channel::Tls);
        assert_eq!(message.to(), ["bob@any.example"]);
        let text = String::from_utf8(message.content).unwrap();
        assert!(text.contains("Subject: Hello\r\n"), "{text}");
        let connection = hop.transcript().connections.remove(0);
        assert!(connection.sign_ins[0].right, "{connection:?}");
        assert_eq!(connection.sign_ins[0].channel, Channel::Tls);
    }
}
