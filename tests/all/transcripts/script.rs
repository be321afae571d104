//! The format of a transcript.
//!
//! ```text
//! # What it shows. (IDs)
//! @ tls                      where it begins: plain | tls | ready (signed in as alice)
//! @ bare                     played against the bare session only, for the reason given behind
//! C: EHLO client.example     the client sends this line
//! C~ a\r\n.\r\n              the client sends exactly these octets (\r \n \0 \t \\ \xNN)
//! C* 5000 x                  the client sends 5,000 times x
//! TLS                        the client begins the handshake behind a 220
//! ?: sender a@b.c -> refuse  this is asked, and answered so
//! S: 250 2.1.0 Sender        a reply with this code and, where given, this enhanced code and text
//! S+ SIZE 1000               the reply just read has a line that begins so
//! S- AUTH                    … and none that begins so
//! T: 301                     so many seconds pass
//! F:                         the client closes its sending side
//! E:                         the server closes
//! ```
//!
//! Lines of the client that follow one another are sent in one piece.

use std::{fs, path::Path};

/// Where a dialogue begins; what comes before is played silently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Right behind the greeting on port 587.
    Plain,
    /// Right behind the greeting inside TLS.
    Tls,
    /// Behind EHLO and a good sign-in as alice@example.org.
    Ready,
}

/// One line of a transcript.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Send(Vec<u8>),
    Handshake,
    Question { asked: String, answer: String },
    Reply(String),
    ReplyHas(String),
    ReplyLacks(String),
    Wait(u64),
    HalfClose,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub start: Start,
    /// Why it cannot be played against the running server, if so.
    pub bare_only: Option<String>,
    pub steps: Vec<(usize, Step)>,
}

impl Script {
    /// Every transcript; a file holds one or more, each begun by its claim.
    pub fn all() -> Vec<Script> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
            .collect();
        paths.sort();
        let mut scripts = Vec::new();
        for path in paths {
            let file = path.file_stem().unwrap().to_string_lossy().into_owned();
            parse(&file, &fs::read_to_string(&path).unwrap(), &mut scripts);
        }
        scripts
    }
}

fn parse(file: &str, text: &str, scripts: &mut Vec<Script>) {
    let mut in_claim = false;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let line = line.trim_end_matches('\r');
        if let Some(claim) = line.strip_prefix("# ") {
            if !in_claim {
                scripts.push(Script {
                    name: format!("{file}:{number} {claim}"),
                    start: Start::Ready,
                    bare_only: None,
                    steps: Vec::new(),
                });
            }
            in_claim = true;
            continue;
        }
        in_claim = false;
        if line.trim().is_empty() {
            continue;
        }
        let script = scripts
            .last_mut()
            .unwrap_or_else(|| panic!("{file}: no claim first"));
        if let Some(setting) = line.strip_prefix("@ ") {
            match setting.split_once(' ').unwrap_or((setting, "")) {
                ("plain", _) => script.start = Start::Plain,
                ("tls", _) => script.start = Start::Tls,
                ("ready", _) => script.start = Start::Ready,
                ("bare", why) => script.bare_only = Some(why.to_string()),
                _ => panic!("{file}:{number}: {line}"),
            }
            continue;
        }
        let (kind, rest) = line.split_at(line.len().min(2));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let step = match kind {
            "C:" => Step::Send([rest.as_bytes(), b"\r\n"].concat()),
            "C~" => Step::Send(unescape(rest)),
            "C*" => {
                let (count, what) = rest.split_once(' ').unwrap();
                Step::Send(unescape(what).repeat(count.parse().unwrap()))
            }
            "TL" => Step::Handshake,
            "?:" => {
                let (asked, answer) = rest.split_once(" -> ").unwrap();
                Step::Question {
                    asked: asked.into(),
                    answer: answer.into(),
                }
            }
            "S:" => Step::Reply(rest.into()),
            "S+" => Step::ReplyHas(rest.into()),
            "S-" => Step::ReplyLacks(rest.into()),
            "T:" => Step::Wait(rest.parse().unwrap()),
            "F:" => Step::HalfClose,
            "E:" => Step::Closed,
            _ => panic!("{file}:{number}: {line}"),
        };
        match (script.steps.last_mut(), step) {
            (Some((_, Step::Send(sent))), Step::Send(more)) => sent.extend(more),
            (_, step) => script.steps.push((number, step)),
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            octets.push(octet);
            continue;
        }
        octets.push(match rest.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b's' => b' ',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("escape {}", char::from(other)),
        });
    }
    octets
}

/// Whether a reply, given as its lines without CRLF, is the one expected: same code, and the text
/// of its last line begins as asked. Says what is wrong with the form of any reply.
pub fn matches(reply: &[String], expected: &str) -> Result<(), String> {
    check_form(reply)?;
    let (code, text) = expected.split_once(' ').unwrap_or((expected, ""));
    let last = &reply[reply.len() - 1];
    if &last[..3] != code || !last[4..].starts_with(text) {
        return Err(format!("expected {expected:?}, got {reply:?}"));
    }
    Ok(())
}

/// What holds for every reply (R2034-4a, R2034-4b, R2034-4c, R2034-4d, R5321-4.2b, R5321-4.5.3.1e,
/// R5321-4.2.1a, R6531-3.7.4a, R3463-2a).
fn check_form(reply: &[String]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {reply:?}"));
    let last = reply.len() - 1;
    for (at, line) in reply.iter().enumerate() {
        if line.len() > 510 {
            return wrong("line over 512 octets");
        }
        if !line.is_ascii() || line.bytes().any(|b| b < b' ' || b == 127) {
            return wrong("not printable ASCII");
        }
        if line.len() < 4 || line[..3] != reply[0][..3] || !"2345".contains(&line[..1]) {
            return wrong("code");
        }
        if (&line[3..4] == " ") != (at == last) {
            return wrong("separator");
        }
        if line.starts_with('3') && enhanced(line).is_some() {
            return wrong("enhanced code on 3yz");
        }
        if let Some(class) = enhanced(line)
            && class != &line[..1]
        {
            return wrong("class of the enhanced code");
        }
        if enhanced(line).is_some() != enhanced(&reply[0]).is_some() {
            return wrong("enhanced code on some lines only");
        }
    }
    Ok(())
}

fn enhanced(line: &str) -> Option<&str> {
    let word = line[4..].split(' ').next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let numbers = parts
        .iter()
        .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    (parts.len() == 3 && numbers).then(|| parts[0])
}
