//! Conversations with a filter that follows a script.

use std::{net::SocketAddr, sync::Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::smtp::EnhancedCode;

type Answers = Vec<(u8, &'static [u8])>;

/// What a filter heard, and what it says.
struct Script {
    /// Its answer to the offer.
    agrees: (u32, u32, u32),
    /// To a step, by its letter; `c` to all others.
    answers: Vec<(u8, Answers)>,
    /// Steps that get no answer, by agreement.
    silent: &'static [u8],
}

impl Default for Script {
    fn default() -> Self {
        Script {
            agrees: (6, 0xff, 0),
            answers: Vec::new(),
            silent: b"",
        }
    }
}

async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let length = stream.read_u32().await.ok()?;
    let letter = stream.read_u8().await.ok()?;
    let mut data = vec![0; usize::try_from(length).unwrap() - 1];
    stream.read_exact(&mut data).await.ok()?;
    Some((letter, data))
}

async fn say(stream: &mut TcpStream, letter: u8, data: &[u8]) {
    let mut out = Vec::new();
    packet::write(&mut out, letter, &[data]);
    // Who went away does not hear it.
    let _ = stream.write_all(&out).await;
}

type Heard = Arc<Mutex<Vec<(u8, Vec<u8>)>>>;

async fn follow(script: Script) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Heard::default();
    let hears = Arc::clone(&heard);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Some((letter, data)) = packet(&mut stream).await {
            hears.lock().unwrap().push((letter, data));
            if letter == b'O' {
                let (version, actions, steps) = script.agrees;
                let parts = [version, actions, steps].map(u32::to_be_bytes).concat();
                say(&mut stream, b'O', &parts).await;
                continue;
            }
            if letter == b'D' || letter == b'Q' || script.silent.contains(&letter) {
                continue;
            }
            match script.answers.iter().find(|(to, _)| *to == letter) {
                Some((_, answers)) => {
                    for (letter, data) in answers {
                        say(&mut stream, *letter, data).await;
                    }
                }
                None => say(&mut stream, b'c', b"").await,
            }
        }
    });
    (address, heard)
}

const HEADER: &[u8] = b"From: a@ours.example\r\nSubject: long\r\n\tand longer\r\n\r\n";

async fn examine(script: Script) -> (Result<Word, Away>, Vec<(u8, Vec<u8>)>) {
    let (address, heard) = follow(script).await;
    let filter = Filter {
        name: "f".into(),
        address: Address::Tcp(address.ip().to_string(), address.port()),
        limit: Duration::from_secs(5),
        when_away: WhenAway::Defer,
        body_max: 10,
    };
    let word = filter.examine(&shown()).await;
    let heard = heard.lock().unwrap().clone();
    (word, heard)
}

fn shown() -> Shown<'static> {
    static HOST: std::sync::LazyLock<Domain> =
        std::sync::LazyLock::new(|| Domain::parse("mail.ours.example").unwrap());
    static SENDER: std::sync::LazyLock<ReversePath> =
        std::sync::LazyLock::new(|| ReversePath::parse("a@ours.example").unwrap());
    static TO: std::sync::LazyLock<[Mailbox; 2]> = std::sync::LazyLock::new(|| {
        ["b@their.example", "c@their.example"].map(|text| Mailbox::parse(text).unwrap())
    });
    Shown {
        hostname: &HOST,
        queue_id: "01Q",
        peer: "192.0.2.7:1025".parse().unwrap(),
        client_name: "laptop",
        account: "a",
        tls: Some(("TLSv1.3".into(), "TLS_AES_256_GCM_SHA384")),
        sender: &SENDER,
        recipients: &*TO,
        header: HEADER,
        smtputf8: false,
        body: Arc::new(|| Ok(Box::new(&b"Hello\r\n"[..]))),
    }
}

fn passes(changes: Changes) -> Word {
    Word::Pass(Box::new(changes))
}

#[tokio::test]
async fn a_filter_is_shown_everything_in_order() {
    let (word, heard) = examine(Script::default()).await;
    assert_eq!(word.unwrap(), passes(Changes::default()));
    let steps: Vec<_> = heard.iter().filter(|(letter, _)| *letter != b'D').collect();
    let letters: Vec<u8> = steps.iter().map(|(letter, _)| *letter).collect();
    // The last one may still be on its way.
    assert_eq!(&letters[..12], b"OCHMRRTLLNBE");
    let data: Vec<_> = steps.iter().map(|(_, data)| data.as_slice()).collect();
    assert_eq!(data[1], b"[192.0.2.7]\x004\x04\x01192.0.2.7\0");
    assert_eq!(data[2], b"laptop\0");
    assert_eq!(data[3], b"<a@ours.example>\0");
    assert_eq!(data[5], b"<c@their.example>\0");
    assert_eq!(data[8], b"Subject\0long\n\tand longer\0");
    assert_eq!(data[10], b"Hello\r\n");
    let macros: Vec<_> = heard.iter().filter(|(letter, _)| *letter == b'D').collect();
    let at_mail = b"Mi\x0001Q\0{auth_authen}\0a\0{auth_type}\0AUTH\0{mail_addr}\0a@ours.example\0";
    assert!(macros.iter().any(|(_, data)| data == at_mail), "{macros:?}");
}

#[tokio::test]
async fn a_filter_is_spared_what_it_does_without() {
    let without = packet::step::NO_CONNECT
        | packet::step::NO_HELO
        | packet::step::NO_DATA
        | packet::step::NO_BODY
        | packet::step::SILENT_HEADER
        | packet::step::SILENT_RCPT
        | packet::step::LEADING_SPACE;
    let script = Script {
        agrees: (6, 0, without),
        silent: b"LR",
        ..Script::default()
    };
    let (word, heard) = examine(script).await;
    assert_eq!(word.unwrap(), passes(Changes::default()));
    let steps: Vec<_> = heard.iter().filter(|(letter, _)| *letter != b'D').collect();
    let letters: Vec<u8> = steps.iter().map(|(letter, _)| *letter).collect();
    assert_eq!(&letters[..8], b"OMRRLLNE");
    assert_eq!(steps[5].1, b"Subject\0 long\n\tand longer\0");
}

#[tokio::test]
async fn changes_are_gathered() {
    let answers = vec![(
        b'E',
        vec![
            (b'p', &b""[..]),
            (b'h', b"X-Spam\0no\0"),
            (b'i', b"\0\0\0\0X-First\0one\n\ttwo\0"),
            (b'm', b"\0\0\0\x01Subject\0[x] long\0"),
            (b'+', b"<d@their.example>\0"),
            (b'-', b"b@their.example\0"),
            (b'e', b"<bounce@ours.example>\0"),
            (b'b', b"new "),
            (b'b', b"body\n"),
            (b'q', b"looks odd\0"),
            (b'c', b""),
        ],
    )];
    let (word, _) = examine(Script {
        answers,
        ..Script::default()
    })
    .await;
    let expected =
        "X-First: one\r\n\ttwo\r\nFrom: a@ours.example\r\nSubject: [x] long\r\nX-Spam: no\r\n\r\n";
    assert_eq!(
        word.unwrap(),
        passes(Changes {
            header: Some(expected.into()),
            body: Some(b"new body\n".to_vec()),
            sender: Some(ReversePath::parse("bounce@ours.example").unwrap()),
            added: vec![Mailbox::parse("d@their.example").unwrap()],
            removed: vec![Mailbox::parse("b@their.example").unwrap()],
            hold: Some("looks odd".into()),
        })
    );
}

#[tokio::test]
async fn a_word_at_any_step_is_the_last() {
    let reply = |code, enhanced: (u8, u16, u16), lines: &[&'static str]| {
        let mut reply = Reply::new(code, 7, 1, lines[0]);
        reply.enhanced = Some(EnhancedCode::new(enhanced.0, enhanced.1, enhanced.2));
        reply.lines = lines.iter().map(|line| (*line).into()).collect();
        Word::Refuse(reply)
    };
    let held = passes(Changes {
        hold: Some("the filter would discard it".into()),
        ..Changes::default()
    });
    for (step, letter, data, word) in [
        (b'C', b'a', &b""[..], passes(Changes::default())),
        (
            b'M',
            b'r',
            b"",
            reply(550, (5, 7, 1), &["Message refused by a filter"]),
        ),
        (
            b'R',
            b'y',
            b"550 5.1.1 no such user\0",
            reply(550, (5, 1, 1), &["no such user"]),
        ),
        (b'L', b'y', b"452 full\0", reply(452, (4, 7, 1), &["full"])),
        (b'B', b'd', b"", held),
        (
            b'E',
            b'y',
            b"554-5.7.0 two\r\n554 5.7.0 lines\0",
            reply(554, (5, 7, 0), &["two", "lines"]),
        ),
        (
            b'E',
            b'y',
            b"421 4.3.0 bye\0",
            reply(451, (4, 3, 0), &["bye"]),
        ),
        // The class of another code is not believed.
        (
            b'E',
            b'y',
            b"550 4.7.0 odd\0",
            reply(550, (5, 7, 1), &["4.7.0 odd"]),
        ),
    ] {
        let script = Script {
            answers: vec![(step, vec![(letter, data)])],
            ..Script::default()
        };
        let (said, _) = examine(script).await;
        assert_eq!(said.unwrap(), word, "{}", data.escape_ascii());
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_no_word() {
    for (step, answers) in [
        (b'M', vec![(b'h', &b"X-A\0b\0"[..])]),
        (b'M', vec![(b'?', b"")]),
        (b'E', vec![(b'h', b"X-A\0b\nBcc: x@y.z\0"), (b'c', b"")]),
        (b'E', vec![(b'b', b"more than ten octets"), (b'c', b"")]),
        (b'E', vec![(b'b', b"a\0b"), (b'c', b"")]),
        (b'E', vec![(b'h', b"X-A\0\xc3\xa9\0"), (b'c', b"")]),
        (
            b'E',
            vec![(b'+', b"<\xc3\xa9@their.example>\0"), (b'c', b"")],
        ),
        (b'E', vec![(b'+', b"<nobody>\0"), (b'c', b"")]),
        (b'E', vec![(b'e', b"<no address>\0"), (b'c', b"")]),
        (b'E', vec![(b'y', b"250 fine\0")]),
        (b'E', vec![(b'y', b"x\0")]),
        (b'E', vec![(b's', b"")]),
    ] {
        let script = Script {
            answers: vec![(step, answers.clone())],
            ..Script::default()
        };
        let (said, _) = examine(script).await;
        assert!(
            matches!(said, Err(Away::Nonsense(_))),
            "{answers:?}: {said:?}"
        );
    }
    for agrees in [(9, 0, 0), (6, 0x100, 0), (6, 0, 1 << 28)] {
        let script = Script {
            agrees,
            ..Script::default()
        };
        assert!(
            matches!(examine(script).await.0, Err(Away::Nonsense(_))),
            "{agrees:?}"
        );
    }
}

#[tokio::test]
async fn a_filter_that_is_away_or_slow_is_no_word() {
    let mut filter = Filter {
        name: "f".into(),
        address: Address::Tcp("127.0.0.1".into(), 1),
        limit: Duration::from_millis(200),
        when_away: WhenAway::Defer,
        body_max: 10,
    };
    assert!(matches!(filter.examine(&shown()).await, Err(Away::Io(_))));
    filter.address = Address::Unix("/nonexistent/socket".into());
    assert!(matches!(filter.examine(&shown()).await, Err(Away::Io(_))));
    // It takes the connection and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    filter.address = Address::Tcp("127.0.0.1".into(), listener.local_addr().unwrap().port());
    assert!(matches!(
        filter.examine(&shown()).await,
        Err(Away::TooSlow(_))
    ));
}

#[test]
fn addresses_are_read() {
    for text in [
        "inet:127.0.0.1:8891",
        "inet:[::1]:8891",
        "inet:rspamd:11332",
        "unix:/run/f",
    ] {
        assert_eq!(Address::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "inet:",
        "inet:8891",
        "inet::8891",
        "inet:a:0",
        "inet:a:x",
        "inet:::1:8891",
        "inet:[::1:8891",
        "unix:",
        "unix:relative",
        "local:/run/f",
        "inet:[a]:1",
    ] {
        assert_eq!(Address::parse(text), None, "{text}");
    }
}
