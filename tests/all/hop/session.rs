//! One connection of a scripted next hop, from the greeting to the end.
//!
//! A strict server: it takes no more than it offers.

use std::{convert::Infallible, io, sync::Arc};

use super::{
    act::{Act, Phase},
    link::Link,
    record::{Channel, Command, Connection, End, Handshake, Record},
    reply::Answer,
    script::{Behaviour, Hello, Protocol, Tls},
};

/// A command line at most; RFC 4954 §4.6 asks for this much in AUTH.
const LINE_MAX: usize = 12_288;

pub struct Session {
    pub link: Link,
    pub behaviour: Behaviour,
    record: Arc<Record>,
    number: usize,
    /// Replies so far, by phase.
    pub counts: Vec<(Phase, usize)>,
    pub greeted: bool,
    pub signed_in: bool,
    /// A MAIL was taken; its transaction is the last in the record.
    pub in_transaction: bool,
    /// Recipients taken in this transaction.
    pub recipients: Vec<String>,
    /// Content of BDAT so far.
    pub chunks: Vec<u8>,
    pub messages: usize,
    pub has_replied: bool,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => End::ByPeer,
            _ => End::Failed(error.to_string()),
        }
    }
}

impl Session {
    pub fn new(link: Link, behaviour: Behaviour, record: Arc<Record>, number: usize) -> Session {
        Session {
            link,
            behaviour,
            record,
            number,
            counts: Vec::new(),
            greeted: false,
            signed_in: false,
            in_transaction: false,
            recipients: Vec::new(),
            chunks: Vec::new(),
            messages: 0,
            has_replied: false,
        }
    }

    /// Serves until the connection ends; says how it did.
    pub fn run(mut self) -> End {
        match self.serve() {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    fn serve(&mut self) -> Result<Infallible, End> {
        if self.behaviour.tls == Tls::Implicit {
            self.handshake()?;
        }
        self.answer(Phase::Greeting, "220 hop.example ready")?;
        loop {
            let line = self.command()?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" if self.behaviour.protocol == Protocol::Smtp => self.hello(true)?,
                "LHLO" if self.behaviour.protocol == Protocol::Lmtp => self.hello(true)?,
                "HELO" if self.behaviour.protocol == Protocol::Smtp => self.hello(false)?,
                "STARTTLS" => self.starttls()?,
                "AUTH" => self.auth(rest)?,
                "MAIL" => self.mail(rest)?,
                "RCPT" => self.rcpt(rest)?,
                "DATA" => self.data()?,
                "BDAT" => self.bdat(rest)?,
                "RSET" => {
                    self.forget();
                    self.answer(Phase::Reset, "250 2.0.0 Forgotten")?;
                }
                "NOOP" => self.say("250 2.0.0 Nothing done")?,
                "QUIT" => {
                    self.answer(Phase::Quit, "221 2.0.0 Bye")?;
                    return Err(self.finish(End::Quit));
                }
                _ => self.say("500 5.5.2 Unknown command")?,
            }
        }
    }

    fn hello(&mut self, extended: bool) -> Result<(), End> {
        self.forget();
        if extended && self.behaviour.hello == Hello::HeloOnly {
            self.answer(Phase::Hello, "502 Unknown command")?;
            return Ok(());
        }
        let mut lines = vec!["hop.example".to_owned()];
        if extended {
            if self.offers_starttls() {
                lines.push("STARTTLS".to_owned());
            }
            lines.extend(self.behaviour.keywords.iter().cloned());
        }
        let last = lines.len() - 1;
        let lines = lines.iter().enumerate().map(|(n, line)| {
            let mark = if n == last { ' ' } else { '-' };
            format!("250{mark}{line}")
        });
        let text = lines.collect::<Vec<_>>().join("\r\n");
        self.greeted = self.answer(Phase::Hello, &text)? == Answer::Taken;
        Ok(())
    }

    fn offers_starttls(&self) -> bool {
        let clear = self.link.channel() == Channel::Clear;
        self.behaviour.tls == Tls::Starttls && clear
    }

    fn starttls(&mut self) -> Result<(), End> {
        if !self.offers_starttls() {
            return self.say("502 5.5.1 Not offered");
        }
        if self.answer(Phase::StartTls, "220 2.0.0 Go ahead")? == Answer::Taken {
            // What was sent behind the command is in the record, and no command (RFC 3207 §4.2).
            self.link.unread.clear();
            self.handshake()?;
            self.forget();
            (self.greeted, self.signed_in, self.has_replied) = (false, false, false);
        }
        Ok(())
    }

    fn handshake(&mut self) -> Result<(), End> {
        let count = self.count(Phase::Handshake);
        if let Some(act) = self.behaviour.act(Phase::Handshake, count, "") {
            if !matches!(act, Act::Hang | Act::StopReading) {
                // Behind the client's first octets, or it would look as if they belonged to the 220.
                self.read()?;
            }
            // Octets that are no handshake leave nothing to go on with.
            self.perform(act, "")?;
            return Err(self.finish(End::ByScript));
        }
        let config = self.behaviour.certificate.server();
        match self.link.handshake(config) {
            Ok(connection) => {
                let done = Handshake::Done {
                    name: connection.server_name().map(str::to_owned),
                    version: format!("{:?}", connection.protocol_version().unwrap()),
                };
                self.note(|connection| connection.handshake = done);
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                self.note(|connection| connection.handshake = Handshake::Failed(why.clone()));
                Err(End::Failed(why))
            }
        }
    }

    /// Ends the transaction, if there is one.
    pub fn forget(&mut self) {
        self.in_transaction = false;
        self.recipients.clear();
        self.chunks.clear();
    }

    pub fn note(&self, note: impl FnOnce(&mut Connection)) {
        self.record.note(self.number, note);
    }

    /// Reads more, which is noted where it is in the clear.
    pub fn read(&mut self) -> Result<(), End> {
        let before = self.link.unread.len();
        let count = self.link.read()?;
        if count == 0 {
            return Err(End::ByPeer);
        }
        if self.link.channel() == Channel::Clear {
            let clear = self.link.unread[before..].to_vec();
            self.note(|connection| connection.clear.extend(clear));
        }
        Ok(())
    }

    /// The next line without its CRLF.
    pub fn line(&mut self) -> Result<String, End> {
        loop {
            let unread = &mut self.link.unread;
            if let Some(end) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if unread.len() > LINE_MAX {
                return Err(End::Failed("a line without end".to_owned()));
            }
            self.read()?;
        }
    }

    fn command(&mut self) -> Result<String, End> {
        let pipelined = self.has_replied && !self.link.unread.is_empty();
        let line = match self.behaviour.idle.clone() {
            None => self.line()?,
            Some((after, act)) => {
                self.link.patience(Some(after))?;
                match self.line() {
                    Ok(line) => {
                        self.link.patience(None)?;
                        line
                    }
                    Err(End::Failed(_)) => {
                        self.perform(act, "421 4.4.2 Idle for too long")?;
                        return Err(self.finish(End::ByScript));
                    }
                    Err(other) => return Err(other),
                }
            }
        };
        let command = Command {
            line: line.clone(),
            channel: self.link.channel(),
            pipelined,
        };
        self.note(|connection| connection.commands.push(command));
        Ok(line)
    }
}
