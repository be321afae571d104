//! The format of a transcript of the client's side.
//!
//! ```text
//! # What it shows. (IDs)
//! @ ready PIPELINING, SIZE 5   begins behind EHLO on a proved channel; the hop offers these
//! @ lmtp                       the hop speaks LMTP
//! @ channel plain              plain | unproved | proved (how the connection begins)
//! @ security proved            proved | encrypted | if-offered | plaintext
//! @ sign-in alice pw           with these credentials
//! @ chunks 10                  octets of a chunk at most
//! @ hold                       content is given by G: only
//! @ whole why                  not cut into pieces, for the reason given behind
//! S: 220 hop.example           the hop sends this line
//! S~ 250 a\r\n250              the hop sends exactly these octets (\r \n \0 \t \\ \xNN)
//! S* 5000 x                    the hop sends 5,000 times x
//! C: EHLO client.example       we have sent this line
//! C~ a\r\n.\r\n                we have sent exactly these octets
//! TLS proved                   the handshake, and what it proved
//! M: a@b.c -> d@e.f, g@h.i     a message is begun (words behind |: see below)
//! 7:                           … and the hop needs it in seven bits
//! G: 5                         so many octets of the content are given
//! =: failed 5.1.1 550          the fate of the next recipient, whose text begins so
//! !: tls 4.7.10 the next       the connection is of no use, for this cause and text
//! R:                           ready for a message
//! T: 301                       so many seconds pass
//! Q:                           no more messages are wanted
//! F:                           the hop closes
//! E:                           the client has closed
//! ```
//!
//! Words behind a message: `8bit`, `utf8`, `text=…` (the content, escaped), `size=…` (what is said
//! of its length), `ret=…`, `envid=…`, `notify=…`, `orcpt=…`.

use std::{fs, path::Path};

use gatepost::client::{Channel, Protocol, Security};

#[derive(Clone, Debug)]
pub enum Step {
    /// The hop sends.
    Hop(Vec<u8>),
    /// The client has sent.
    Client(Vec<u8>),
    Handshake(Channel),
    Message(String),
    SevenBit,
    Give(usize),
    Fate(String),
    Failure(String),
    Ready,
    Wait(u64),
    Quit,
    HopCloses,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub ready: Option<Vec<String>>,
    pub protocol: Protocol,
    pub channel: Channel,
    pub security: Security,
    pub sign_in: Option<(String, String)>,
    pub chunks: Option<u64>,
    pub hold: bool,
    pub whole_only: bool,
    pub steps: Vec<(usize, Step)>,
}

impl Script {
    /// Every transcript; a file holds one or more, each begun by its claim.
    pub fn all() -> Vec<Script> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts-client");
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let mut scripts = Vec::new();
        for path in paths {
            let file = path.file_stem().unwrap().to_string_lossy().into_owned();
            parse(&file, &fs::read_to_string(&path).unwrap(), &mut scripts);
        }
        scripts
    }

    fn new(name: String) -> Script {
        Script {
            name,
            ready: None,
            protocol: Protocol::Smtp,
            channel: Channel::Proved,
            security: Security::Proved,
            sign_in: None,
            chunks: None,
            hold: false,
            whole_only: false,
            steps: Vec::new(),
        }
    }

    fn set(&mut self, setting: &str) -> Option<()> {
        let (name, value) = setting.split_once(' ').unwrap_or((setting, ""));
        match name {
            "ready" => {
                let keywords = value.split(", ").filter(|word| !word.is_empty());
                self.ready = Some(keywords.map(str::to_string).collect());
            }
            "lmtp" => self.protocol = Protocol::Lmtp,
            "channel" => self.channel = channel(value)?,
            "security" => {
                self.security = match value {
                    "proved" => Security::Proved,
                    "encrypted" => Security::Encrypted,
                    "if-offered" => Security::IfOffered,
                    "plaintext" => Security::Plaintext,
                    _ => return None,
                }
            }
            "sign-in" => {
                let (name, password) = value.split_once(' ')?;
                self.sign_in = Some((name.into(), password.into()));
            }
            "chunks" => self.chunks = Some(value.parse().ok()?),
            "hold" => self.hold = true,
            "whole" if !value.is_empty() => self.whole_only = true,
            _ => return None,
        }
        Some(())
    }
}

fn channel(word: &str) -> Option<Channel> {
    Some(match word {
        "plain" => Channel::Plain,
        "unproved" => Channel::Unproved,
        "proved" => Channel::Proved,
        _ => return None,
    })
}

fn parse(file: &str, text: &str, scripts: &mut Vec<Script>) {
    let mut in_claim = false;
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if let Some(claim) = line.strip_prefix("# ") {
            if !in_claim {
                scripts.push(Script::new(format!("{file}:{number} {claim}")));
            }
            in_claim = true;
            continue;
        }
        in_claim = false;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = format!("{file}:{number}: {line}");
        let script = scripts.last_mut().expect(&wrong);
        if let Some(setting) = line.strip_prefix("@ ") {
            script.set(setting).expect(&wrong);
            continue;
        }
        let step = step(line).expect(&wrong);
        match (script.steps.last_mut(), step) {
            (Some((_, Step::Hop(sent))), Step::Hop(more)) => sent.extend(more),
            (_, step) => script.steps.push((number, step)),
        }
    }
}

fn step(line: &str) -> Option<Step> {
    if let Some(word) = line.strip_prefix("TLS ") {
        return channel(word).map(Step::Handshake);
    }
    let (kind, rest) = line.split_at_checked(2)?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let line = || [rest.as_bytes(), b"\r\n"].concat();
    Some(match kind {
        "S:" => Step::Hop(line()),
        "S~" => Step::Hop(unescape(rest)),
        "S*" => {
            let (count, what) = rest.split_once(' ')?;
            Step::Hop(unescape(what).repeat(count.parse().ok()?))
        }
        "C:" => Step::Client(line()),
        "C~" => Step::Client(unescape(rest)),
        "M:" => Step::Message(rest.into()),
        "7:" => Step::SevenBit,
        "G:" => Step::Give(rest.parse().ok()?),
        "=:" => Step::Fate(rest.into()),
        "!:" => Step::Failure(rest.into()),
        "R:" => Step::Ready,
        "T:" => Step::Wait(rest.parse().ok()?),
        "Q:" => Step::Quit,
        "F:" => Step::HopCloses,
        "E:" => Step::Closed,
        _ => return None,
    })
}

pub fn unescape(text: &str) -> Vec<u8> {
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
            b's' => b' ',
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("escape {}", char::from(other)),
        });
    }
    octets
}
