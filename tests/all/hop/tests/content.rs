//! What may happen to a message: in the middle of it, behind it, and to some of its recipients.

use std::{io::Write, net::TcpStream, time::Duration};

use super::*;

#[test]
fn a_hop_takes_the_data_command_and_drops_the_connection() {
    for (act, said) in [
        (Act::Close, &b""[..]),
        (
            Act::last("421 4.3.2 Going down"),
            b"421 4.3.2 Going down\r\n",
        ),
    ] {
        let hop = Hop::start(Behaviour::plain().in_content(0, act));
        let mut client = reach(&hop, Phase::Data);
        assert!(client.reply().unwrap()[0].starts_with("354 "));
        assert_eq!(client.closed().unwrap(), said);
        drop(client);
        let transaction = hop.wait_for_ends(1).connections[0].transactions.remove(0);
        assert_eq!(transaction.progress, Progress::Content);
        assert!(!transaction.is_taken() && transaction.content.is_empty());
    }
}

#[test]
fn a_hop_acts_in_the_middle_of_a_message() {
    for (act, said) in [
        (Act::Close, &b""[..]),
        (Act::Hang, b""),
        (Act::last("552 5.3.4 Too big"), b"552 5.3.4 Too big\r\n"),
    ] {
        for chunked in [false, true] {
            let hop = Hop::start(Behaviour::plain().in_content(10, act.clone()));
            let mut client = reach(&hop, Phase::Rcpt);
            client.reply().unwrap();
            let ahead = if chunked { "BDAT 100 LAST" } else { "DATA" };
            client.send(format!("{ahead}\r\n").as_bytes()).unwrap();
            if !chunked {
                assert!(client.reply().unwrap()[0].starts_with("354 "));
            }
            client.send(b"Subject: half of").unwrap();
            hop.wait("the half", |transcript| {
                transcript.connections[0].transactions[0].content == b"Subject: half of"
            });
            client.half_close().unwrap();
            assert_eq!(client.closed().unwrap(), said, "{act:?}");
            drop(client);
            let transcript = hop.wait_for_ends(1);
            assert!(transcript.messages().is_empty());
            let progress = transcript.connections[0].transactions[0].progress;
            assert_eq!(progress, Progress::Content);
        }
    }
}

#[test]
fn a_hop_stops_reading_in_the_middle_of_a_message() {
    let hop = Hop::start(Behaviour::plain().in_content(10, Act::StopReading));
    let mut client = TcpStream::connect(hop.address()).unwrap();
    let dialogue = format!(
        "{}\r\n{}\r\n{}\r\nDATA\r\nSubject: half of",
        line(Phase::Hello),
        line(Phase::Mail),
        line(Phase::Rcpt)
    );
    client.write_all(dialogue.as_bytes()).unwrap();
    client.set_nonblocking(true).unwrap();
    // The buffers on the way fill up, and then nothing moves any more.
    let (mut sent, mut stuck) = (0, 0);
    while stuck < 5 {
        match client.write(&[b'x'; 65_536]) {
            Ok(count) => (sent, stuck) = (sent + count, 0),
            Err(_) => stuck += 1,
        }
        assert!(sent < 200_000_000, "it reads on");
        if stuck > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    drop(client);
    let transcript = hop.wait_for_ends(1);
    assert!(transcript.connections[0].transactions[0].content.len() < 200_000);
    assert_eq!(
        transcript.connections[0].closed.as_ref().unwrap().1,
        End::ByPeer
    );
}

#[test]
fn only_so_many_recipients_of_a_transaction_are_taken() {
    let hop = Hop::start(Behaviour::plain().recipients_at_most(2));
    let mut client = greeted(&hop);
    let rcpt = line(Phase::Rcpt);
    let lines = [&line(Phase::Mail), &rcpt, &rcpt, &rcpt, &rcpt];
    let replies = ask_all(&mut client, &lines.map(String::as_str));
    assert_eq!(codes(&replies), ["250", "250", "250", "452", "452"]);
    assert!(replies[4].starts_with("452 4.5.3 "), "{replies:?}");
    ask_all(&mut client, &["DATA", "Subject: x\r\n."]);
    let message = hop.wait_for_messages(1).remove(0);
    assert_eq!((message.recipients.len(), message.refused.len()), (2, 2));
    // The next transaction has room again.
    let replies = ask_all(&mut client, &[&line(Phase::Mail), &rcpt]);
    assert_eq!(codes(&replies), ["250", "250"]);
}

#[test]
fn chosen_recipients_are_refused() {
    let behaviour = Behaviour::plain()
        .for_recipient(Phase::Rcpt, "bob@", Act::reply("550 5.1.1 No bob here"))
        .for_recipient(Phase::Rcpt, "@slow.example", Act::reply("451 4.2.1 Later"));
    let hop = Hop::start(behaviour);
    let mut client = greeted(&hop);
    let replies = ask_all(
        &mut client,
        &[
            &line(Phase::Mail),
            "RCPT TO:<bob@any.example>",
            "RCPT TO:<cy@slow.example>",
            "RCPT TO:<dora@any.example>",
            "DATA",
            "Subject: x\r\n.",
        ],
    );
    assert_eq!(codes(&replies), ["250", "550", "451", "250", "354", "250"]);
    let message = hop.wait_for_messages(1).remove(0);
    assert_eq!(message.to(), ["dora@any.example"]);
    let refused: Vec<_> = message.refused.iter().map(|path| &path.address).collect();
    assert_eq!(refused, ["bob@any.example", "cy@slow.example"]);
}

#[test]
fn size_may_be_a_limit_or_a_lie() {
    let honest = Hop::start(Behaviour::plain().offers("SIZE 10"));
    assert!(send(&mut greeted(&honest)).starts_with("552 5.3.4"));
    let big = Act::reply("552 5.3.4 Too big after all");
    let liar = Behaviour::plain()
        .offers("SIZE 100000000")
        .at(Phase::EndOfData, big);
    let liar = Hop::start(liar);
    assert_eq!(send(&mut greeted(&liar)), "552 5.3.4 Too big after all");
    for hop in [honest, liar] {
        let transaction = hop.transcript().connections[0].transactions.remove(0);
        assert_eq!(transaction.progress, Progress::Whole);
        assert!(!transaction.is_taken(), "{transaction:?}");
    }
}

#[test]
fn a_hop_closes_behind_so_many_messages() {
    let hop = Hop::start(Behaviour::plain().messages_at_most(2));
    let mut client = greeted(&hop);
    assert!(send(&mut client).starts_with("250"));
    assert!(send(&mut client).starts_with("250"));
    assert_eq!(client.closed().unwrap(), b"");
    drop(client);
    let transcript = hop.wait_for_ends(1);
    assert_eq!(transcript.connections[0].transactions.len(), 2);
}

#[test]
fn dots_are_unstuffed_and_only_the_true_end_ends() {
    let hop = Hop::start(Behaviour::plain());
    let mut client = reach(&hop, Phase::Data);
    client.reply().unwrap();
    // A lone LF begins no line, so a dot behind one is content.
    for piece in ["..a\n.\r\n.", "..\n.\n\r\n", ".", "\r", "\nNOOP\r\n"] {
        client.send(piece.as_bytes()).unwrap();
    }
    assert!(client.reply().unwrap()[0].starts_with("250 2.0.0 Taken"));
    assert!(client.reply().unwrap()[0].starts_with("250 2.0.0 Nothing"));
    let message = hop.wait_for_messages(1).remove(0);
    assert_eq!(message.content, b".a\n.\r\n..\n.\n\r\n");
}
