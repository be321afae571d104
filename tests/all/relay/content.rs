//! Octets in are octets out, and what a next hop cannot take is converted or told.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::{as_submitted, drained, letter, open_relay, relay, settings, subject, submit};
use crate::{
    clients::{answers, present, script},
    hop::{Act, Behaviour, Hop, Phase, Progress, Transaction},
    server::{ALICE, Server},
};

/// A body of so many octets with whatever may go wrong in transit: dots, blanks, empty lines.
fn awkward(octets: usize) -> String {
    let lines = [
        ".",
        "..",
        "...",
        ".leading",
        "",
        "trailing  ",
        "\tFrom here",
        "From there",
        "=3D not encoded =",
        "BDAT 3 LAST",
        ".\t",
    ];
    let mut body = String::with_capacity(octets + 100);
    for line in lines.iter().cycle() {
        body.push_str(line);
        body.push_str("\r\n");
        if body.len() >= octets {
            break;
        }
    }
    body + ".\r\n"
}

/// R5321-3.6.3c: by DATA and by BDAT, in the database and in a file, over TLS and without.
#[test]
fn octets_in_are_octets_out() {
    let chunks = Hop::start(Behaviour::starttls());
    let dots = Hop::start(Behaviour::starttls().without("CHUNKING"));
    let one_by_one = Hop::start(Behaviour::plain().without("CHUNKING").without("PIPELINING"));
    let lmtp = Hop::start(Behaviour::lmtp().without("CHUNKING"));
    let server = Server::with(
        settings()
            .route(&relay("chunks.example", &chunks, "starttls", ""))
            .route(&relay("dots.example", &dots, "starttls", ""))
            .route(&open_relay("slow.example", &one_by_one))
            .route(&super::mailboxes("lmtp.example", &lmtp)),
    );
    let mut sent = Vec::new();
    for (name, octets) in [("small", 100), ("medium", 90_000), ("large", 5 << 20)] {
        let mut content = letter(name, &awkward(octets));
        // Folded and odd fields are nobody's business.
        let odd = b"X-Odd:\t a\r\n\tb  \r\nX-Odd: \r\n c\r\nMIME-Version: 1.0\r\n";
        content.splice(0..0, odd.iter().copied());
        let to = [
            "<bob@chunks.example>",
            "<bob@dots.example>",
            "<bob@slow.example>",
            "<bob@lmtp.example>",
        ];
        submit(
            &mut server.signed_in(),
            &format!("<{ALICE}>"),
            &to,
            &content,
        );
        sent.push(content);
    }
    drained(&server);
    for (hop, verb) in [
        (&chunks, "BDAT"),
        (&dots, "DATA"),
        (&one_by_one, "DATA"),
        (&lmtp, "DATA"),
    ] {
        let messages = hop.messages();
        assert_eq!(messages.len(), sent.len());
        for content in &sent {
            let found = messages
                .iter()
                .find(|message| as_submitted(&message.content) == content);
            assert!(found.is_some(), "{} octets by {verb}", content.len());
        }
        for connection in hop.transcript().connections {
            let verbs = connection.verbs();
            assert!(verbs.iter().any(|it| it == verb), "{verbs:?}");
        }
    }
    let pipelined = |hop: &Hop| {
        let connections = hop.transcript().connections;
        let mut commands = connections.iter().flat_map(|one| &one.commands);
        commands.any(|command| command.pipelined)
    };
    assert!(pipelined(&dots) && pipelined(&chunks));
    assert!(!pipelined(&one_by_one));
}

/// A last line without an end gets one where DATA needs it, and has none where nobody counts lines;
/// a message may be nothing but a header; a body may begin with a dot.
#[test]
fn odd_ends_arrive_whole() {
    let chunks = Hop::start(Behaviour::plain());
    let dots = Hop::start(Behaviour::plain().without("CHUNKING"));
    let server = Server::with(
        settings()
            .route(&open_relay("chunks.example", &chunks))
            .route(&open_relay("dots.example", &dots)),
    );
    let mut client = server.signed_in();
    let to = ["<bob@chunks.example>", "<bob@dots.example>"];
    let cases = [
        ("no-end", "Hello", "Hello", "Hello\r\n"),
        ("lone-dot", ".", ".", ".\r\n"),
        ("dots", "..\r\n.\r\n", "..\r\n.\r\n", "..\r\n.\r\n"),
        ("bare", "a\n.\nb\n", "a\r\n.\r\nb\r\n", "a\r\n.\r\nb\r\n"),
        ("empty", "", "", ""),
    ];
    for (name, body, ..) in cases {
        let content = letter(name, body);
        submit(&mut client, &format!("<{ALICE}>"), &to, &content);
        drained(&server);
    }
    let (chunks, dots) = (chunks.messages(), dots.messages());
    assert_eq!((chunks.len(), dots.len()), (cases.len(), cases.len()));
    for (at, (name, _, counted, dotted)) in cases.into_iter().enumerate() {
        for (message, body) in [(&chunks[at], counted), (&dots[at], dotted)] {
            let found = String::from_utf8_lossy(as_submitted(&message.content)).into_owned();
            assert_eq!(found.as_bytes(), letter(name, body), "{found:?}");
        }
    }
}

/// BODY=8BITMIME where there are such octets and it is offered; the octets stay.
#[test]
fn eight_bit_octets_stay_where_they_may() {
    let hop = Hop::start(Behaviour::starttls());
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", "")));
    let eight = letter("eight", "Gr\u{fc}\u{df}e\r\n");
    let seven = letter("seven", "Hello\r\n");
    for content in [&eight, &seven] {
        let from = format!("<{ALICE}> BODY=8BITMIME");
        submit(
            &mut server.signed_in(),
            &from,
            &["<bob@far.example>"],
            content,
        );
        drained(&server);
    }
    let [first, second] = &hop.messages()[..] else {
        panic!("two messages");
    };
    assert_eq!(as_submitted(&first.content), eight);
    assert!(
        first
            .sender
            .parameters
            .contains(&"BODY=8BITMIME".to_owned())
    );
    assert_eq!(as_submitted(&second.content), seven);
}

/// R3030-3e: a hop without 8BITMIME gets a 7-bit copy whose parts are the same to Python.
#[test]
fn a_seven_bit_copy_holds_the_same() {
    if !present("python3", answers(Command::new("python3").arg("--version"))) {
        return;
    }
    let hop = Hop::start(Behaviour::starttls().without("8BITMIME"));
    let server = Server::with(settings().route(&relay("far.example", &hop, "starttls", "")));
    let mime = |subject: &str, kind: &str, body: &str| {
        let mut content = letter(subject, body);
        let fields = format!(
            "MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: 8bit\r\n"
        );
        content.splice(0..0, fields.bytes());
        content
    };
    let parts = |filler: &str| {
        format!(
            "--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             Gr\u{fc}\u{df}e = viele\r\n.\r\n{filler}\r\n--x\r\nContent-Type: application/octet-stream\r\n\
             Content-Transfer-Encoding: 8bit\r\nContent-Disposition: attachment; filename=a\r\n\r\n\
             {}\r\n--x\r\nContent-Type: text/plain\r\n\r\nplain\r\n--x--\r\n",
            "\u{fc}\u{e9}\u{df}".repeat(50)
        )
    };
    let sent = [
        mime("text", "text/plain; charset=utf-8", "Gr\u{fc}\u{df}e\r\n"),
        mime("parts", "multipart/mixed; boundary=x", &parts("short")),
        mime(
            "large",
            "multipart/mixed; boundary=x",
            &parts(&"gro\u{df} und lang\r\n".repeat(30_000)),
        ),
    ];
    let from = format!("<{ALICE}> BODY=8BITMIME");
    for content in &sent {
        submit(
            &mut server.signed_in(),
            &from,
            &["<bob@far.example>"],
            content,
        );
        drained(&server);
    }
    let messages = hop.messages();
    assert_eq!(messages.len(), sent.len());
    let mut pairs = String::new();
    for (before, after) in sent.iter().zip(&messages) {
        assert!(after.content.is_ascii(), "{}", subject(after));
        let is_body = |parameter: &String| parameter.starts_with("BODY=");
        assert!(!after.sender.parameters.iter().any(is_body));
        let encode = |octets: &[u8]| data_encoding::BASE64.encode(octets);
        pairs += &format!("{} {}\n", encode(before), encode(&after.content));
    }
    let mut python = Command::new("python3")
        .arg(script("same_parts.py"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(pairs.as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    // Nothing of the large copy stays behind.
    let scratch = server.path("data/spool/scratch");
    let left = std::fs::read_dir(scratch).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

/// What cannot be converted without breaking a signature is told to its sender (RFC 3463 §3.7), and
/// so is what the hop has no room for; neither is sent.
#[test]
fn what_does_not_fit_is_reported_and_not_sent() {
    let old = Hop::start(Behaviour::starttls().without("8BITMIME"));
    let small = Hop::start(Behaviour::starttls().offers("SIZE 2000"));
    let ascii = Hop::start(Behaviour::starttls().without("SMTPUTF8"));
    let server = Server::with(
        settings()
            .route(&relay("old.example", &old, "starttls", ""))
            .route(&relay("small.example", &small, "starttls", ""))
            .route(&relay("ascii.example", &ascii, "starttls", "")),
    );
    let signed = "--s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                  Gr\u{fc}\u{df}e\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\nabc\r\n--s--\r\n";
    let mut content = letter("signed", signed);
    content.splice(
        0..0,
        "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; micalg=pgp-sha256; \
         protocol=\"application/pgp-signature\"\r\n"
            .bytes(),
    );
    let plain = format!("<{ALICE}>");
    let utf8 = format!("<{ALICE}> SMTPUTF8");
    for (from, to, content, status) in [
        (&plain, "<bob@old.example>", content, "5.6.3"),
        (
            &plain,
            "<bob@small.example>",
            letter("big", &awkward(4000)),
            "5.3.4",
        ),
        (
            &utf8,
            "<j\u{fc}rgen@ascii.example>",
            letter("utf8", "Hello\r\n"),
            "5.6.7",
        ),
    ] {
        let before = server.mail(ALICE).len();
        submit(&mut server.signed_in(), from, &[to], &content);
        drained(&server);
        let reports = server.mail(ALICE);
        assert_eq!(reports.len(), before + 1, "{status}: {}", server.log());
        let found = reports.iter().any(|report| {
            String::from_utf8_lossy(report).contains(&format!("\nStatus: {status}\n"))
        });
        assert!(found, "{status}");
    }
    // Python reads them all.
    let _ = super::reports::reports(&server);
    for hop in [&old, &small, &ascii] {
        let transcript = hop.transcript();
        let verbs: Vec<_> = transcript
            .connections
            .iter()
            .flat_map(|it| it.verbs())
            .collect();
        assert!(!verbs.contains(&"MAIL".to_owned()), "{verbs:?}");
    }
}

/// R6532-3.7a: SMTPUTF8 is asked for where an address or a field needs it, and only there.
#[test]
fn smtputf8_travels_only_where_it_is_needed() {
    let hop = Hop::start(Behaviour::starttls());
    let ascii = Hop::start(Behaviour::starttls().without("SMTPUTF8"));
    let server = Server::with(
        settings()
            .route(&relay("far.example", &hop, "starttls", ""))
            .route(&relay("b\u{fc}cher.example", &ascii, "starttls", "")),
    );
    let from = format!("<{ALICE}> SMTPUTF8");
    let mut client = server.signed_in();
    for (name, to) in [
        ("unneeded", "<bob@far.example>"),
        ("needed", "<j\u{fc}rgen@far.example>"),
        ("domain", "<bob@b\u{fc}cher.example>"),
    ] {
        submit(&mut client, &from, &[to], &letter(name, "Hello\r\n"));
        drained(&server);
    }
    let asked = |hop: &Hop| -> Vec<bool> {
        let messages = hop.messages();
        let has =
            |message: &Transaction| message.sender.parameters.contains(&"SMTPUTF8".to_owned());
        messages.iter().map(has).collect()
    };
    assert_eq!(asked(&hop), [false, true]);
    assert_eq!(hop.messages()[1].to(), ["j\u{fc}rgen@far.example"]);
    // A domain has a form in ASCII.
    assert_eq!(asked(&ascii), [false]);
    assert_eq!(ascii.messages()[0].to(), ["bob@xn--bcher-kva.example"]);
}

/// A message for which there is room by EHLO and none in the end is refused behind its content: told once.
#[test]
fn a_size_that_was_not_told_is_found_out_once() {
    let lies = Hop::start(
        Behaviour::plain()
            .offers("SIZE")
            .at(Phase::EndOfData, Act::reply("552 5.3.4 Too big after all")),
    );
    let server = Server::with(settings().route(&open_relay("lies.example", &lies)));
    submit(
        &mut server.signed_in(),
        &format!("<{ALICE}>"),
        &["<bob@lies.example>"],
        &letter("big", &awkward(4000)),
    );
    drained(&server);
    assert_eq!(server.mail(ALICE).len(), 1);
    let all = lies.transcript();
    let transactions: Vec<_> = all
        .connections
        .iter()
        .flat_map(|it| &it.transactions)
        .collect();
    assert_eq!(transactions.len(), 1);
    assert_eq!(transactions[0].progress, Progress::Whole);
    assert!(lies.messages().is_empty());
}

/// Octets of every kind, which no line could hold.
fn no_lines(octets: usize) -> Vec<u8> {
    let every = (0..=255_u8)
        .rev()
        .chain([b'\r', b'\n', b'.', b'\r', b'\n', b'\n']);
    every.cycle().take(octets).collect()
}

/// Alice's message with a part of these octets.
fn attached(subject: &str, octets: &[u8]) -> Vec<u8> {
    let head = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n\
         Content-Transfer-Encoding: binary\r\n{}",
        String::from_utf8(letter(subject, "")).unwrap()
    );
    let part = "--limit\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: binary\r\n\r\n";
    [
        head.as_bytes(),
        part.as_bytes(),
        octets,
        b"\r\n--limit--\r\n",
    ]
    .concat()
}

/// The attachment as another reader decodes it.
fn attachment(content: &[u8]) -> Vec<u8> {
    let message = mail_parser::MessageParser::default()
        .parse(content)
        .unwrap();
    message.attachment(0).unwrap().contents().to_vec()
}

/// R3030-3c, R3030-3d, R3030-3e: bit for bit where that is taken, else encoded, in memory and in files.
#[test]
fn binary_content_is_kept_or_encoded() {
    let takes = Hop::start(Behaviour::starttls().offers("BINARYMIME"));
    let chunks_only = Hop::start(Behaviour::starttls());
    let without_chunks = Hop::start(Behaviour::plain().offers("BINARYMIME").without("CHUNKING"));
    let seven_bit = Hop::start(Behaviour::plain().without("8BITMIME"));
    let lmtp = Hop::start(Behaviour::lmtp());
    let server = Server::with(
        settings()
            .route(&relay("takes.example", &takes, "starttls", ""))
            .route(&relay("chunks.example", &chunks_only, "starttls", ""))
            .route(&open_relay("without.example", &without_chunks))
            .route(&open_relay("seven.example", &seven_bit))
            .route(&super::mailboxes("lmtp.example", &lmtp)),
    );
    let names = ["takes", "chunks", "without", "seven", "lmtp"];
    let others = names.map(|name| format!("<bob@{name}.example>"));
    let own = format!("<{ALICE}>");
    let to: Vec<_> = others.iter().chain([&own]).map(String::as_str).collect();
    for (subject, octets) in [("small", 300), ("large", 3 << 20)] {
        let octets = no_lines(octets);
        let content = attached(subject, &octets);
        let from = format!("<{ALICE}> BODY=BINARYMIME");
        submit(&mut server.signed_in(), &from, &to, &content);
        drained(&server);
        let last = |hop: &Hop| hop.messages().pop().unwrap();
        let message = last(&takes);
        assert!(
            message
                .sender
                .parameters
                .iter()
                .any(|it| it == "BODY=BINARYMIME")
        );
        assert_eq!(as_submitted(&message.content), content, "{subject}");
        for hop in [&chunks_only, &without_chunks, &seven_bit, &lmtp] {
            let message = last(hop);
            let parameters = &message.sender.parameters;
            assert!(
                !parameters.iter().any(|it| it.starts_with("BODY=")),
                "{parameters:?}"
            );
            assert!(message.content.is_ascii());
            assert_eq!(attachment(&message.content), octets, "{subject}");
        }
        let kept = server.mail(ALICE).into_iter().find(|mail| {
            let subject = format!("\nSubject: {subject}\n");
            memchr::memmem::find(mail, subject.as_bytes()).is_some()
        });
        let kept = kept.unwrap();
        assert!(kept.is_ascii());
        assert_eq!(attachment(&kept), octets, "{subject}");
    }
}

/// R3030-3d, R3030-3e: what is signed cannot be encoded, and is not sent as it is.
#[test]
fn binary_content_that_bears_no_encoding_comes_back() {
    let hop = Hop::start(Behaviour::plain());
    let server = Server::with(settings().route(&open_relay("far.example", &hop)));
    let content = String::from_utf8(letter("sealed", "")).unwrap();
    let head = "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=limit\r\n";
    let part = b"--limit\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r\r\n--limit--\r\n";
    let content = [head.as_bytes(), content.as_bytes(), part].concat();
    let from = format!("<{ALICE}> BODY=BINARYMIME");
    submit(
        &mut server.signed_in(),
        &from,
        &["<bob@far.example>"],
        &content,
    );
    drained(&server);
    assert!(hop.messages().is_empty());
    let report = String::from_utf8(server.mail(ALICE).remove(0)).unwrap();
    assert!(report.contains("Status: 5.6.3"), "{report}");
}
