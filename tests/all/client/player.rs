//! Plays a transcript against a client alone, with a clock turned by hand.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use gatepost::{
    client::{
        Client, Credentials, Failure, Fate, Message, NeedsSevenBit, Options, Output,
        ParameterValue, Protocol, Recipient,
    },
    envelope::{BodyType, Moment},
    smtp::{Domain, Mailbox, ReversePath},
};

use super::script::{Script, Step, unescape};

const CONTENT: &[u8] = b"Subject: x\r\n\r\n.hi\r\n";

pub fn options() -> Options {
    Options::new(Domain::parse("client.example").unwrap())
}

/// What the client has told, beside octets to send.
#[derive(Debug)]
enum Told {
    Ready,
    StartTls,
    Fate(Fate),
    Failure(Failure),
}

struct Player {
    client: Client,
    now: Moment,
    pieces: usize,
    hold: bool,
    sent: Vec<u8>,
    told: VecDeque<Told>,
    seven_bit: Option<Box<Message>>,
    content: Vec<u8>,
    asked: bool,
    closed: bool,
}

pub fn play(script: &Script, pieces: usize) -> Result<(), String> {
    let mut options = options();
    options.protocol = script.protocol;
    options.security = script.security;
    options.chunk_octets = script.chunks.unwrap_or(options.chunk_octets);
    options.credentials = script.sign_in.as_ref().map(|(name, password)| Credentials {
        name: name.clone(),
        password: password.as_str().into(),
    });
    let now = Moment(Duration::from_secs(1_000));
    let mut player = Player {
        client: Client::new(script.channel, Arc::new(options), [0; 24], now),
        now,
        pieces,
        hold: script.hold,
        sent: Vec::new(),
        told: VecDeque::new(),
        seven_bit: None,
        content: Vec::new(),
        asked: false,
        closed: false,
    };
    if let Some(keywords) = &script.ready {
        player.begin_behind_hello(keywords, script.protocol)?;
    }
    for (line, step) in &script.steps {
        player
            .step(step)
            .map_err(|why| format!("line {line}: {why}"))?;
    }
    player.nothing_left()?;
    match player.told.pop_front() {
        None | Some(Told::Ready) => Ok(()),
        Some(told) => Err(format!("told beyond the script: {told:?}")),
    }
}

impl Player {
    fn begin_behind_hello(
        &mut self,
        keywords: &[String],
        protocol: Protocol,
    ) -> Result<(), String> {
        self.hop(b"220 hop.example\r\n")?;
        let word = match protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        self.step(&Step::Client(
            format!("{word} client.example\r\n").into_bytes(),
        ))?;
        let mut lines = vec!["hop.example".to_string()];
        lines.extend(keywords.iter().cloned());
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let separator = if at == last { ' ' } else { '-' };
            self.hop(format!("250{separator}{line}\r\n").as_bytes())?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Hop(octets) => {
                self.nothing_left()?;
                self.hop(octets)
            }
            Step::Client(expected) => {
                if !self.sent.starts_with(expected) {
                    return Err(format!(
                        "expected {:?}, sent {:?}",
                        String::from_utf8_lossy(expected),
                        String::from_utf8_lossy(&self.sent)
                    ));
                }
                self.sent.drain(..expected.len());
                Ok(())
            }
            Step::Handshake(channel) => match self.told.pop_front() {
                Some(Told::StartTls) => {
                    self.client.secured(self.now, *channel);
                    self.drain()
                }
                other => Err(format!("no handshake is due but {other:?}")),
            },
            Step::Message(text) => self.begin(text),
            Step::SevenBit => match self.seven_bit.take() {
                Some(_) => {
                    self.told.push_back(Told::Ready);
                    Ok(())
                }
                None => Err("seven bits were not asked for".into()),
            },
            Step::Give(count) => {
                if !std::mem::take(&mut self.asked) {
                    return Err("no content was asked for".into());
                }
                let count = (*count).min(self.content.len());
                let piece: Vec<u8> = self.content.drain(..count).collect();
                self.client.content(self.now, &piece);
                self.drain()
            }
            Step::Fate(expected) => match self.told.pop_front() {
                Some(Told::Fate(fate)) => agree(&shown(&fate), expected),
                other => Err(format!("expected {expected:?}, told {other:?}")),
            },
            // It may have been ready in between.
            Step::Failure(expected) if matches!(self.told.front(), Some(Told::Ready)) => {
                self.told.pop_front();
                self.step(&Step::Failure(expected.clone()))
            }
            Step::Failure(expected) => match self.told.pop_front() {
                Some(Told::Failure(failure)) => {
                    let cause = format!("{:?}", failure.cause).to_lowercase();
                    agree(&format!("{cause} {}", failure.status), expected)
                }
                other => Err(format!("expected {expected:?}, told {other:?}")),
            },
            Step::Ready => match self.told.pop_front() {
                Some(Told::Ready) => Ok(()),
                other => Err(format!("not ready but {other:?}")),
            },
            Step::Wait(seconds) => {
                self.nothing_left()?;
                self.now = self.now + Duration::from_secs(*seconds);
                self.client.timeout(self.now);
                self.drain()
            }
            Step::Quit => {
                self.client.quit(self.now);
                self.drain()
            }
            Step::HopCloses => {
                self.client.eof(self.now);
                self.drain()
            }
            Step::Closed if self.closed => Ok(()),
            Step::Closed => Err("still open".into()),
        }
    }

    fn nothing_left(&self) -> Result<(), String> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let sent = String::from_utf8_lossy(&self.sent);
        Err(format!("also sent: {sent:?}"))
    }

    fn hop(&mut self, octets: &[u8]) -> Result<(), String> {
        for piece in octets.chunks(self.pieces.min(octets.len()).max(1)) {
            let consumed = self.client.receive(self.now, piece);
            if consumed != piece.len() && !self.client.is_closed() {
                return Err("the client left octets behind".into());
            }
            self.drain()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        while let Some(output) = self.client.poll() {
            if self.closed {
                return Err(format!("after close: {output:?}"));
            }
            match output {
                Output::Send(octets) => self.sent.extend(octets),
                Output::SendSecret(octets) => self.sent.extend_from_slice(&octets),
                Output::StartTls => self.told.push_back(Told::StartTls),
                Output::Derive(derivation) => self.client.derived(self.now, &derivation.run()),
                Output::Ready => self.told.push_back(Told::Ready),
                Output::NeedContent if self.hold => self.asked = true,
                Output::NeedContent => {
                    let count = self.pieces.min(self.content.len());
                    let piece: Vec<u8> = self.content.drain(..count).collect();
                    self.client.content(self.now, &piece);
                }
                Output::Done(fates) => self.told.extend(fates.into_iter().map(Told::Fate)),
                Output::Failed(failure) => self.told.push_back(Told::Failure(failure)),
                Output::Close => self.closed = true,
            }
        }
        // A handshake that is not to be made any more.
        if self.closed {
            self.told.retain(|told| !matches!(told, Told::StartTls));
        }
        Ok(())
    }

    fn begin(&mut self, text: &str) -> Result<(), String> {
        match self.told.pop_front() {
            Some(Told::Ready) => {}
            other => return Err(format!("not ready but {other:?}")),
        }
        let message = self.message(text);
        if let Err(NeedsSevenBit(message)) = self.client.begin(self.now, message) {
            self.seven_bit = Some(message);
        }
        self.drain()
    }

    fn message(&mut self, text: &str) -> Message {
        let (paths, words) = text.split_once(" | ").unwrap_or((text, ""));
        let (sender, recipients) = paths.split_once(" -> ").unwrap();
        let words: Vec<&str> = words.split(' ').collect();
        let value = |name: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let parameter = |name: &str| value(name).map(|v| ParameterValue::parse(v).unwrap());
        self.content = value("text").map_or(CONTENT.to_vec(), unescape);
        let size = value("size").map(|size| size.parse().unwrap());
        let recipient = |text: &str| Recipient {
            mailbox: Mailbox::parse(text).unwrap(),
            notify: parameter("notify"),
            orcpt: parameter("orcpt"),
        };
        Message {
            sender: ReversePath::parse(sender.trim_matches(['<', '>'])).unwrap(),
            recipients: recipients.split(", ").map(recipient).collect(),
            size_octets: size.unwrap_or(self.content.len() as u64),
            body: if words.contains(&"8bit") {
                BodyType::EightBitMime
            } else {
                BodyType::SevenBit
            },
            utf8_header: words.contains(&"utf8"),
            ret: parameter("ret"),
            envid: parameter("envid"),
            requiretls: false,
            by: None,
            priority: None,
        }
    }
}

fn shown(fate: &Fate) -> String {
    match fate {
        Fate::Accepted(status) => format!("accepted {status}"),
        Fate::Again(status) => format!("again {status}"),
        Fate::Deferred(status) => format!("deferred {status}"),
        Fate::Failed(status) => format!("failed {status}"),
    }
}

fn agree(told: &str, expected: &str) -> Result<(), String> {
    if told.starts_with(expected) {
        return Ok(());
    }
    Err(format!("expected {expected:?}, told {told:?}"))
}
