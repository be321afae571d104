//! The whole way: what changes, what stays, and that both decode to the same.

use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

/// `L` stands for a line of 1,200 octets, `Ü` is as it is.
fn long(text: &str) -> String {
    text.replace('L', &"lorem ipsum ".repeat(100))
}

fn split(content: &str) -> (&str, &str) {
    let end = content.find("\r\n\r\n").map_or(content.len(), |at| at + 4);
    content.split_at(end)
}

fn convert(goal: Goal, content: &str) -> Result<Option<String>, CannotConvert> {
    let content = long(content);
    let (header, body) = split(&content);
    let copied = copy(goal, header.as_bytes(), body.as_bytes())?;
    Ok(copied.map(|copy| String::from_utf8([copy.header, copy.body].concat()).unwrap()))
}

/// Every part as an independent reader decodes it.
fn decoded(content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let message = MessageParser::default().parse(content).expect("a message");
    let mut found = Vec::new();
    collect(&message, &mut found);
    found
}

fn collect(message: &Message<'_>, found: &mut Vec<(String, Vec<u8>)>) {
    for part in &message.parts {
        let kind = part.content_type().map_or("none".to_owned(), |kind| {
            format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default())
        });
        match &part.body {
            PartType::Message(inner) => {
                found.push((kind, Vec::new()));
                collect(inner, found);
            }
            PartType::Multipart(_) => found.push((kind, Vec::new())),
            PartType::Text(text) | PartType::Html(text) => {
                found.push(("text".to_owned(), text.as_bytes().to_vec()));
            }
            PartType::Binary(octets) | PartType::InlineBinary(octets) => {
                found.push((kind, octets.to_vec()));
            }
        }
    }
}

fn longest_line(content: &[u8]) -> usize {
    content
        .split(|octet| *octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).len())
        .max()
        .unwrap_or_default()
}

/// R2045-6.2a, R2045-6.4a, R6152-3c.
#[test]
fn copies_are_these() {
    let lorem = "lorem ipsum ".repeat(100);
    for (goal, content, expected) in [
        (
            Goal::SevenBit,
            "A: b\r\n\r\nGrün ist die Farbe \r\nx=y\r\n",
            "A: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BCn ist die Farbe=20\r\nx=3Dy\r\n",
        ),
        (
            Goal::SevenBit,
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\nA: b\r\n\r\nÜÜÜ\r\n",
            "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\nA: b\r\n\r\nw5zDnMOcDQo=\r\n",
        ),
        (
            Goal::SevenBit,
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\npreamble\r\n\
             --x\r\n\r\nplain\r\n--x \r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrün, grün\r\n\
             --x\r\nContent-Type: application/octet-stream\r\n\r\nÜ\r\n--x--\r\nepilogue\r\n",
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\npreamble\r\n\
             --x\r\n\r\nplain\r\n--x \r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nR3LDvG4sIGdyw7xu\r\n\
             --x\r\nContent-Type: application/octet-stream\r\n\
             Content-Transfer-Encoding: base64\r\n\r\nw5w=\r\n--x--\r\nepilogue\r\n",
        ),
        // A message inside is mended as itself, and its container's label made true.
        (
            Goal::SevenBit,
            "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\
             Content-Transfer-Encoding: binary\r\n\r\nSubject: inner\r\n\r\nGrün ist die Farbe\r\n",
            "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BCn ist die Farbe\r\n",
        ),
        // What shows nowhere and bears no encoding is left out.
        (
            Goal::SevenBit,
            "Content-Type: multipart/mixed; boundary=x\r\n\r\nÜ\r\n--x\r\n\r\ny\r\n--x--\r\nÜ\r\n",
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n\r\n--x\r\n\r\ny\r\n--x--\r\n",
        ),
        // One part is too long, another keeps its octets; the container says so.
        (
            Goal::ShortLines,
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
             --x\r\n\r\nÜ\r\n--x\r\nContent-Type: application/json\r\n\r\nL\r\n--x--\r\n",
            &format!(
                "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\
                 Content-Transfer-Encoding: 8bit\r\n\r\n--x\r\n\r\nÜ\r\n--x\r\n\
                 Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--x--\r\n",
                base64_lines(lorem.as_bytes())
            ),
        ),
        // Base64 in one line is a common way to make long ones.
        (
            Goal::ShortLines,
            &format!(
                "MIME-Version: 1.0\r\nContent-Type: image/png\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                base64_lines(lorem.as_bytes()).replace("\r\n", "")
            ),
            &format!(
                "MIME-Version: 1.0\r\nContent-Type: image/png\r\n\
                 Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
                base64_lines(lorem.as_bytes())
            ),
        ),
    ] {
        assert_eq!(
            convert(goal, content).unwrap().as_deref(),
            Some(expected),
            "{content:?}"
        );
    }
}

/// R3030-3e: nothing that is no line is left, and no label says so.
#[test]
fn binary_parts_are_encoded() {
    let copied = |content: &[u8]| {
        let end = memchr::memmem::find(content, b"\r\n\r\n").unwrap() + 4;
        let (header, body) = content.split_at(end);
        let copied = copy(Goal::SevenBit, header, body)?;
        Ok(copied.map(|copy| String::from_utf8([copy.header, copy.body].concat()).unwrap()))
    };
    let octets = "\0\r\n\r\r\n\n.\r\n";
    let encoded = base64_lines(octets.as_bytes());
    let binary = "Content-Transfer-Encoding: binary\r\n";
    let parts = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n";
    let octet_stream = "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n";
    let base64 = "Content-Transfer-Encoding: base64\r\n";
    let seven = "Content-Transfer-Encoding: 7bit\r\n";
    let cms = "MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime\r\n";
    for (content, expected) in [
        (
            format!("{octet_stream}{binary}\r\n{octets}"),
            format!("{octet_stream}{base64}\r\n{encoded}\r\n"),
        ),
        (
            format!(
                "{parts}{binary}\r\n\0\r\n--x\r\n{octet_stream}{binary}\r\n{octets}\r\n--x\r\n\
                 {binary}\r\nplain\r\n--x\r\nContent-Type: message/rfc822\r\n{binary}\r\n\
                 {octet_stream}{binary}\r\n{octets}\r\n--x--\r\n\0"
            ),
            format!(
                "{parts}{seven}\r\n\r\n--x\r\n{octet_stream}{base64}\r\n{encoded}\r\n--x\r\n\
                 {seven}\r\nplain\r\n--x\r\nContent-Type: message/rfc822\r\n{seven}\r\n\
                 {octet_stream}{base64}\r\n{encoded}\r\n--x--\r\n"
            ),
        ),
        // What is sealed as one stretch of octets is sealed whatever carries them.
        (
            format!("{cms}{binary}\r\n{octets}"),
            format!("{cms}{base64}\r\n{encoded}\r\n"),
        ),
        // A label alone.
        (
            format!("{octet_stream}{binary}\r\nplain\r\n"),
            format!("{octet_stream}{seven}\r\nplain\r\n"),
        ),
    ] {
        assert_eq!(
            copied(content.as_bytes()),
            Ok(Some(expected)),
            "{content:?}"
        );
    }
    for (content, why) in [
        (
            format!("Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\n{octets}"),
            CannotConvert::Sealed,
        ),
        (
            format!("Content-Type: message/rfc822\r\n{binary}\r\nA: \r\r\n\r\nx"),
            CannotConvert::PartHeader,
        ),
    ] {
        assert_eq!(copied(content.as_bytes()), Err(why), "{content:?}");
    }
}

fn base64_lines(octets: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(octets);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(76)
        .map(|l| str::from_utf8(l).unwrap())
        .collect();
    lines.join("\r\n")
}

#[test]
fn who_named_no_character_set_is_given_the_one_that_is_there() {
    for (body, charset) in [
        (&b"x"[..], "us-ascii"),
        ("ü".as_bytes(), "utf-8"),
        (b"\xfc", "unknown-8bit"),
        (b"\xc3", "unknown-8bit"),
    ] {
        for size in [1, 2, 5_000] {
            let body = [body, &[b'x'; 1_000], b"\r\n", body, b"\r\n"].concat();
            let mut survey = Survey::new(Goal::ShortLines, b"A: b\r\n\r\n");
            body.chunks(size).for_each(|piece| survey.push(piece));
            let recoding = survey.finish().unwrap().unwrap();
            let (header, _) = Recoder::new(recoding, b"A: b\r\n\r\n");
            let expected = format!("Content-Type: text/plain; charset={charset}\r\n");
            let header = String::from_utf8(header).unwrap();
            assert!(header.contains(&expected), "{body:?}: {header}");
        }
    }
}

/// What is escaped or broken never becomes a delimiter, whatever the boundary.
#[test]
fn encoding_makes_no_delimiter() {
    let x = "x".repeat(73);
    for (boundary, line) in [
        ("=C3=BC", "--\u{fc}".to_owned()),
        ("=3D", "--=".to_owned()),
        (&format!("{x}="), format!("--{}", "x".repeat(1_000))),
        ("y", format!("{}--y", "x".repeat(75))),
    ] {
        let content = format!(
            "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\n\r\n{line}\r\nand so on, without anything to escape, \u{fc}\r\n\
             --{boundary}--\r\n"
        );
        let copy = convert(Goal::SevenBit, &content).unwrap().unwrap();
        assert!(copy.contains("quoted-printable"), "{copy}");
        let text = format!("{line}\r\nand so on, without anything to escape, \u{fc}");
        assert_eq!(decoded(copy.as_bytes())[1].1, text.as_bytes(), "{copy}");
        let delimiters = copy.lines().filter(|line| line.starts_with("--"));
        assert_eq!(delimiters.count(), 2, "{copy}");
    }
}

#[test]
fn what_needs_no_change_is_left_alone() {
    for (goal, content) in [
        (Goal::SevenBit, ""),
        (Goal::SevenBit, "A: b\r\n\r\n"),
        (
            Goal::SevenBit,
            "Content-Transfer-Encoding: 8bit\r\n\r\nx\r\n",
        ),
        (
            Goal::ShortLines,
            "Content-Transfer-Encoding: 7bit\r\n\r\nÜ\r\n",
        ),
        (
            Goal::ShortLines,
            "Content-Type: multipart/signed; boundary=x\r\n\r\nÜ",
        ),
        // Not even where nobody knows what it is.
        (
            Goal::SevenBit,
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nno field\r\n--xy\r\n",
        ),
    ] {
        assert_eq!(convert(goal, content), Ok(None), "{content:?}");
    }
}

/// R6152-3c: what cannot be converted is said to be, and nothing is guessed.
#[test]
fn what_cannot_be_encoded_is_refused() {
    use CannotConvert::*;
    let mixed = "Content-Type: multipart/mixed; boundary=x\r\n\r\n";
    for (goal, content, why) in [
        (
            Goal::ShortLines,
            "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nL\r\n",
            Sealed,
        ),
        (
            Goal::SevenBit,
            "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nÜ\r\n",
            Sealed,
        ),
        (
            Goal::SevenBit,
            "Content-Type: multipart/encrypted; boundary=x\r\n\r\nÜ\r\n",
            Sealed,
        ),
        (
            Goal::ShortLines,
            "Content-Type: application/pkcs7-mime\r\n\r\nL\r\n",
            Sealed,
        ),
        (
            Goal::ShortLines,
            &format!(
                "{mixed}--x\r\nContent-Type: multipart/signed; boundary=y\r\n\r\n--y\r\n\r\nL\r\n--y--\r\n--x--\r\n"
            ),
            Sealed,
        ),
        (
            Goal::SevenBit,
            "Content-Type: message/partial\r\n\r\nÜ\r\n",
            Unencodable,
        ),
        (
            Goal::SevenBit,
            "Content-Transfer-Encoding: x-uuencode\r\n\r\nÜ\r\n",
            UnknownEncoding,
        ),
        (
            Goal::SevenBit,
            "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\nÜ\r\n",
            UnknownEncoding,
        ),
        (Goal::SevenBit, "Subject: Ü\r\n\r\nx\r\n", PartHeader),
        (
            Goal::SevenBit,
            &format!("{mixed}--x\r\nA: Ü\r\n\r\ny\r\n--x--\r\n"),
            PartHeader,
        ),
        (
            Goal::ShortLines,
            &format!("{mixed}--x\r\nA: L\r\n\r\ny\r\n--x--\r\n"),
            PartHeader,
        ),
        (
            Goal::ShortLines,
            &format!("{mixed}--x\r\nno field\r\n\r\nL\r\n--x--\r\n"),
            PartHeader,
        ),
        (
            Goal::SevenBit,
            "Content-Type: multipart/mixed\r\n\r\nÜ\r\n",
            Structure,
        ),
        (
            Goal::SevenBit,
            &format!("{mixed}Ü and no part\r\n"),
            Structure,
        ),
        (
            Goal::SevenBit,
            &format!("{mixed}--x\r\n\r\nÜ\r\n--xy\r\n"),
            Structure,
        ),
        (
            Goal::SevenBit,
            &format!("{mixed}--x\r\n\r\nÜ\r\n--x--\r\n--x\r\n\r\ny\r\n"),
            Structure,
        ),
        (
            Goal::SevenBit,
            &format!("{mixed}--x\r\n{mixed}--x\r\n\r\nÜ\r\n--x--\r\n"),
            Structure,
        ),
    ] {
        assert_eq!(convert(goal, content), Err(why), "{content:?}");
    }
}

/// S1, S2: structures without end cost no more than their octets, whatever they need.
#[test]
fn hostile_structures_are_bounded() {
    let nested_messages = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    let nested_parts: String = (0..100_000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}",
        "--x\r\n\r\ny\r\n".repeat(100_000)
    );
    let fields = format!(
        "Content-Type: message/rfc822\r\n\r\n{}",
        "A: b\r\n".repeat(1_000_000)
    );
    let hyphens = format!(
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n{}",
        "--".repeat(1_000_000)
    );
    for content in [nested_messages, nested_parts, parts, fields] {
        assert_eq!(convert(Goal::SevenBit, &content), Ok(None));
        let needy = format!("{content}\r\n\r\nÜ\r\n");
        assert_eq!(
            convert(Goal::SevenBit, &needy),
            Err(CannotConvert::TooComplex)
        );
    }
    assert_eq!(
        convert(Goal::ShortLines, &hyphens),
        Err(CannotConvert::Structure)
    );
}

/// A message as it might be built, in pieces that are put together by [`Tree::write`].
#[derive(Clone, Debug)]
enum Tree {
    Leaf {
        kind: &'static str,
        label: &'static str,
        lines: Vec<String>,
    },
    Multipart {
        label: &'static str,
        parts: Vec<Tree>,
    },
    Message(Box<Tree>),
}

impl Tree {
    fn write(&self, boundaries: &mut u32, out: &mut String) {
        match self {
            Tree::Leaf { kind, label, lines } => {
                out.push_str(kind);
                let text = lines.join("\r\n");
                out.push_str(label);
                out.push_str("\r\n");
                match *label {
                    BASE64 => out.push_str(&data_encoding::BASE64.encode(text.as_bytes())),
                    QUOTED_PRINTABLE => out.push_str(&one_line_quoted_printable(&text)),
                    _ => out.push_str(&text),
                }
            }
            Tree::Multipart { label, parts } => {
                *boundaries += 1;
                let boundary = format!("=_{boundaries}_=");
                out.push_str(&format!(
                    "Content-Type: multipart/mixed;\r\n boundary=\"{boundary}\"\r\n{label}\r\n"
                ));
                for part in parts {
                    out.push_str(&format!("\r\n--{boundary}\r\n"));
                    part.write(boundaries, out);
                }
                out.push_str(&format!("\r\n--{boundary}--"));
            }
            Tree::Message(inner) => {
                out.push_str("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n");
                inner.write(boundaries, out);
            }
        }
    }

    fn message(&self) -> (String, String) {
        let mut content = "From: a@b.example\r\nMIME-Version: 1.0\r\n".to_owned();
        self.write(&mut 0, &mut content);
        content.push_str("\r\n");
        let (header, body) = split(&content);
        (header.to_owned(), body.to_owned())
    }
}

const BASE64: &str = "Content-Transfer-Encoding: base64\r\n";
const QUOTED_PRINTABLE: &str = "Content-Transfer-Encoding: quoted-printable\r\n";

/// As some programs write it: never folded.
fn one_line_quoted_printable(text: &str) -> String {
    text.bytes()
        .map(|octet| match octet {
            b'\r' | b'\n' => char::from(octet).to_string(),
            b'0'..=b'9' | b'a'..=b'z' => char::from(octet).to_string(),
            _ => format!("={octet:02X}"),
        })
        .collect()
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~\t]{0,90}",
        2 => "[ a-zäöü€=\t.-]{0,60}",
        1 => "[a-z =-]{990,1100}",
        1 => "[a-zÜ \u{1}]{900,1100}",
        1 => Just("--=_1_".to_owned()),
        1 => Just("From me".to_owned()),
    ]
}

fn leaf() -> impl Strategy<Value = Tree> {
    let kinds = prop::sample::select(vec![
        "",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Content-Type: text/html; charset=\"utf-8\"\r\n",
        "Content-Type: application/octet-stream\r\n",
        "Content-Type: image/png; name=x\r\n",
    ]);
    let labels = prop::sample::select(vec![
        "",
        "Content-Transfer-Encoding: 7bit\r\n",
        "Content-Transfer-Encoding: 8bit\r\n",
        "Content-Transfer-Encoding: binary\r\n",
        BASE64,
        QUOTED_PRINTABLE,
    ]);
    let lines = prop::collection::vec(line(), 0..5);
    (kinds, labels, lines).prop_map(|(kind, label, lines)| Tree::Leaf { kind, label, lines })
}

fn tree() -> impl Strategy<Value = Tree> {
    leaf().prop_recursive(4, 12, 4, |inner| {
        let labels = prop::sample::select(vec![
            "",
            "Content-Transfer-Encoding: 8bit\r\n",
            "Content-Transfer-Encoding: binary\r\n",
        ]);
        prop_oneof![
            3 => (labels, prop::collection::vec(inner.clone(), 1..4)).prop_map(
                |(label, parts)| Tree::Multipart { label, parts }
            ),
            1 => inner.prop_map(|inner| match inner {
                // A message directly in a message makes mail-parser's full parse panic.
                Tree::Message(_) => inner,
                inner => Tree::Message(Box::new(inner)),
            }),
        ]
    })
}

proptest! {
    /// R2045-6.2a, R6152-3c, R6409-8.4a: an independent reader finds the same parts in the copy.
    #[test]
    fn copies_decode_to_the_same(tree in tree()) {
        let (header, body) = tree.message();
        let before = [header.as_bytes(), body.as_bytes()].concat();
        for goal in [Goal::ShortLines, Goal::SevenBit] {
            let Some(Encoded { header: h, body: b }) = copy(goal, header.as_bytes(), body.as_bytes()).unwrap() else {
                prop_assert!(longest_line(&before) <= 998);
                prop_assert!(goal == Goal::ShortLines || before.is_ascii());
                continue;
            };
            let after = [&h[..], &b].concat();
            prop_assert!(longest_line(&after) <= 998);
            prop_assert!(goal == Goal::ShortLines || after.is_ascii());
            prop_assert_eq!(decoded(&before), decoded(&after), "{}", String::from_utf8_lossy(&after));
            prop_assert_eq!(copy(goal, &h, &b), Ok(None));
        }
    }

    #[test]
    fn any_division_of_the_body_gives_the_same_copy(
        tree in tree(),
        sizes in prop::collection::vec(1_usize..50, 1..5),
    ) {
        let (header, body) = tree.message();
        let whole = copy(Goal::SevenBit, header.as_bytes(), body.as_bytes());
        prop_assert_eq!(whole, in_pieces(header.as_bytes(), body.as_bytes(), &sizes));
    }

    #[test]
    fn no_octets_make_it_panic(
        header in prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n",
            "Content-Type: message/rfc822\r\n\r\n",
            "",
        ]),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "--x", "--x--", "--y", "-", "\r\n", "\r", "\n", " ", "=", "\u{fc}", "a: b", ":",
            "\r\n--x\r\n", "\r\n--x--\r\n", "Content-Type: multipart/mixed; boundary=y\r\n",
            "Content-Type: message/rfc822\r\n\r\n", "Content-Transfer-Encoding: base64\r\n",
            "Content-Transfer-Encoding: quoted-printable\r\n", "\0",
        ]), 0..40),
        sizes in prop::collection::vec(1_usize..9, 1..4),
    ) {
        let body = pieces.concat();
        let whole = copy(Goal::SevenBit, header.as_bytes(), body.as_bytes());
        prop_assert_eq!(&whole, &in_pieces(header.as_bytes(), body.as_bytes(), &sizes));
        if let Ok(Some(Encoded { header, body })) = whole {
            prop_assert!(header.is_ascii() && body.is_ascii());
        }
    }

    /// A recoding of nothing gives back every octet, whatever it is.
    #[test]
    fn what_is_kept_is_kept(body in "[x:\r\n -]{0,60}|(--x(--)?|\r\n|a: b|-|\r|\n){0,30}") {
        let recoding = Recoding { fates: Vec::new(), eight_bit: false };
        let header = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n";
        let (header_copy, mut recoder) = Recoder::new(recoding, header);
        let mut out = Vec::new();
        recoder.push(body.as_bytes(), &mut out);
        recoder.finish(&mut out);
        prop_assert_eq!(header_copy, header);
        prop_assert_eq!(out, body.as_bytes());
    }
}

fn in_pieces(
    header: &[u8],
    body: &[u8],
    sizes: &[usize],
) -> Result<Option<Encoded>, CannotConvert> {
    let mut pieces = Vec::new();
    let mut rest = body;
    for size in sizes.iter().cycle().take(body.len()) {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    let mut survey = Survey::new(Goal::SevenBit, header);
    pieces.iter().for_each(|piece| survey.push(piece));
    let Some(recoding) = survey.finish()? else {
        return Ok(None);
    };
    let (header, mut recoder) = Recoder::new(recoding, header);
    let mut out = Vec::new();
    pieces
        .iter()
        .for_each(|piece| recoder.push(piece, &mut out));
    recoder.finish(&mut out);
    Ok(Some(Encoded { header, body: out }))
}
