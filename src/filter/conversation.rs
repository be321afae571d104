//! One conversation with a filter, on a connection of its own.

use std::net::IpAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::spawn_blocking,
};

use super::{
    Address, Away, Changes, Filter, Shown, Word,
    fields::{self, Field},
    packet::{self, Agreement, CHUNK, PACKET_MAX, Said, step},
};
use crate::smtp::{EnhancedCode, Mailbox, Reply, ReversePath};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What an answer leads to.
enum Next {
    GoOn,
    /// No more of the body is wanted.
    Skip,
    Ends(Word),
}

/// From the connection to the word.
pub(super) async fn hold(filter: &Filter, shown: &Shown<'_>) -> Result<Word, Away> {
    let stream: Box<dyn Stream> = match &filter.address {
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    let mut talk = Talk {
        stream,
        out: Vec::new(),
        packet: Vec::new(),
        agreed: Agreement { steps: 0 },
        body_max: filter.body_max,
    };
    talk.agree().await?;
    let word = talk.show(shown).await?;
    packet::write(&mut talk.out, b'Q', &[]);
    // It has said all that we need.
    let _ = talk.flush().await;
    Ok(word)
}

struct Talk {
    stream: Box<dyn Stream>,
    out: Vec<u8>,
    packet: Vec<u8>,
    agreed: Agreement,
    body_max: usize,
}

impl Talk {
    async fn agree(&mut self) -> Result<(), Away> {
        packet::write_offer(&mut self.out);
        self.flush().await?;
        let letter = self.read().await?;
        let agreed = Agreement::read(&self.packet).filter(|_| letter == b'O');
        self.agreed = agreed.ok_or(Away::Nonsense("the filter wants what was not offered"))?;
        Ok(())
    }

    /// Everything in order, until a word ends it.
    async fn show(&mut self, shown: &Shown<'_>) -> Result<Word, Away> {
        let hostname = shown.hostname.canonical();
        let address = shown.peer.ip().to_canonical();
        let shown_address = address.to_string();
        let client = format!("[{shown_address}]");
        self.macros(
            b'C',
            &[
                ("j", &hostname),
                ("{daemon_name}", "gatepost"),
                ("v", "Gatepost"),
            ],
        );
        let family: &[u8] = match address {
            IpAddr::V4(_) => b"4",
            IpAddr::V6(_) => b"6",
        };
        let port = shown.peer.port().to_be_bytes();
        let connect: [&[u8]; 6] = [
            client.as_bytes(),
            b"\0",
            family,
            &port,
            shown_address.as_bytes(),
            b"\0",
        ];
        if let Some(word) = self
            .say(b'C', &connect, step::NO_CONNECT, step::SILENT_CONNECT)
            .await?
        {
            return Ok(word);
        }
        let tls = shown.tls.as_ref();
        let version = tls.map_or("", |(version, _)| version.as_str());
        let suite = tls.map_or("", |(_, suite)| suite);
        self.macros(b'H', &[("{tls_version}", version), ("{cipher}", suite)]);
        let helo: [&[u8]; 2] = [shown.client_name.as_bytes(), b"\0"];
        if let Some(word) = self
            .say(b'H', &helo, step::NO_HELO, step::SILENT_HELO)
            .await?
        {
            return Ok(word);
        }
        let sender = match shown.sender.mailbox() {
            Some(mailbox) => mailbox.to_string(),
            None => String::new(),
        };
        let id = shown.queue_id;
        self.macros(
            b'M',
            &[
                ("i", id),
                ("{auth_authen}", shown.account),
                ("{auth_type}", "AUTH"),
                ("{mail_addr}", &sender),
            ],
        );
        let mail = format!("<{sender}>\0");
        if let Some(word) = self
            .say(b'M', &[mail.as_bytes()], step::NO_MAIL, step::SILENT_MAIL)
            .await?
        {
            return Ok(word);
        }
        for recipient in shown.recipients {
            let recipient = recipient.to_string();
            self.macros(b'R', &[("i", id), ("{rcpt_addr}", &recipient)]);
            let rcpt = format!("<{recipient}>\0");
            if let Some(word) = self
                .say(b'R', &[rcpt.as_bytes()], step::NO_RCPT, step::SILENT_RCPT)
                .await?
            {
                return Ok(word);
            }
        }
        self.macros(b'T', &[("i", id)]);
        if let Some(word) = self
            .say(b'T', &[], step::NO_DATA, step::SILENT_DATA)
            .await?
        {
            return Ok(word);
        }
        let mut fields = fields::split(shown.header);
        if let Some(word) = self.show_fields(&fields).await? {
            return Ok(word);
        }
        self.macros(b'N', &[("i", id)]);
        let silent = step::SILENT_END_OF_HEADERS;
        if let Some(word) = self.say(b'N', &[], step::NO_END_OF_HEADERS, silent).await? {
            return Ok(word);
        }
        if let Some(word) = self.show_body(shown).await? {
            return Ok(word);
        }
        self.macros(b'E', &[("i", id)]);
        packet::write(&mut self.out, b'E', &[]);
        self.flush().await?;
        self.end(&mut fields, shown.smtputf8).await
    }

    async fn show_fields(&mut self, fields: &[Field]) -> Result<Option<Word>, Away> {
        for field in fields {
            let mut value = field.value.as_slice();
            if !self.agreed.has(step::LEADING_SPACE) {
                value = value.strip_prefix(b" ").unwrap_or(value);
            }
            // Filters see lines as their own system ends them.
            let value: Vec<u8> = value
                .iter()
                .copied()
                .filter(|&octet| octet != b'\r')
                .collect();
            let parts: [&[u8]; 4] = [&field.name, b"\0", &value, b"\0"];
            let said = self
                .say(b'L', &parts, step::NO_HEADERS, step::SILENT_HEADER)
                .await?;
            if said.is_some() {
                return Ok(said);
            }
        }
        Ok(None)
    }

    async fn show_body(&mut self, shown: &Shown<'_>) -> Result<Option<Word>, Away> {
        if self.agreed.has(step::NO_BODY) {
            return Ok(None);
        }
        let source = shown.body.clone();
        let mut reader = blocking(move || source()).await??;
        loop {
            let read = blocking(move || {
                let mut chunk = Vec::with_capacity(CHUNK);
                let mut some = std::io::Read::take(&mut reader, CHUNK as u64);
                let read = std::io::Read::read_to_end(&mut some, &mut chunk);
                read.map(|_| (reader, chunk))
            });
            let chunk;
            (reader, chunk) = read.await??;
            if chunk.is_empty() {
                return Ok(None);
            }
            packet::write(&mut self.out, b'B', &[&chunk]);
            if self.agreed.has(step::SILENT_BODY) {
                self.flush().await?;
                continue;
            }
            self.flush().await?;
            match self.answer().await? {
                Next::GoOn => {}
                Next::Skip => return Ok(None),
                Next::Ends(word) => return Ok(Some(word)),
            }
        }
    }

    /// Changes, and then the word.
    async fn end(&mut self, shown: &mut Vec<Field>, utf8: bool) -> Result<Word, Away> {
        let mut changes = Changes::default();
        let (mut is_changed, mut octets) = (false, 0);
        loop {
            let letter = self.read().await?;
            // Bounds fields and recipients, which are many small things, as well as the body.
            octets += self.packet.len() + 1;
            if octets > self.body_max + PACKET_MAX as usize {
                return Err(Away::Nonsense("changes without end"));
            }
            let text = match letter {
                b'b' | b'q' | b'y' => &[][..],
                // Behind the number.
                b'i' | b'm' => self.packet.get(4..).unwrap_or_default(),
                _ => &self.packet,
            };
            let is_beyond = !text.is_ascii();
            if is_beyond && !(utf8 && std::str::from_utf8(text).is_ok()) {
                return Err(Away::Nonsense(
                    "text beyond ASCII in a message that holds none",
                ));
            }
            let leading = self.agreed.has(step::LEADING_SPACE);
            let made = |name, value| {
                let field = fields::made(name, value, leading);
                field.map_err(|_| Away::Nonsense("a field that can stand in no message"))
            };
            let said = Said::read(letter, &self.packet);
            match said.ok_or(Away::Nonsense("an answer that is none"))? {
                Said::Progress => {}
                Said::AddField(name, value) => {
                    shown.push(made(name, value)?);
                    is_changed = true;
                }
                Said::InsertField(at, name, value) => {
                    fields::insert(shown, at, made(name, value)?);
                    is_changed = true;
                }
                Said::ChangeField(number, name, value) => {
                    let field = match value {
                        b"" => None,
                        value => Some(made(name, value)?),
                    };
                    fields::change(shown, number, name, field);
                    is_changed = true;
                }
                Said::Body(octets) => {
                    let body = changes.body.get_or_insert_default();
                    if memchr::memchr(0, octets).is_some() {
                        return Err(Away::Nonsense("a body with a NUL"));
                    }
                    if body.len() + octets.len() > self.body_max {
                        return Err(Away::Nonsense("a body that is too large"));
                    }
                    body.extend_from_slice(octets);
                }
                Said::AddRecipient(path) => {
                    let mailbox = mailbox(path)?;
                    changes.removed.retain(|other| *other != mailbox);
                    changes.added.push(mailbox);
                }
                Said::RemoveRecipient(path) => {
                    let mailbox = mailbox(path)?;
                    changes.added.retain(|other| *other != mailbox);
                    changes.removed.push(mailbox);
                }
                Said::Sender(path) => {
                    let path = ReversePath::parse(inner(path)?);
                    let path = path.map_err(|_| Away::Nonsense("a sender that is no address"))?;
                    changes.sender = Some(path);
                }
                Said::Quarantine(reason) => {
                    changes.hold = Some(String::from_utf8_lossy(reason).into_owned());
                }
                Said::Skip => return Err(Away::Nonsense("skip, where nothing is left")),
                last => {
                    if is_changed {
                        changes.header = Some(fields::join(shown));
                    }
                    return Ok(match ends(&last, changes)? {
                        Some(word) => word,
                        None => return Err(Away::Nonsense("no end")),
                    });
                }
            }
        }
    }

    /// Says something unless the filter does without, and takes its answer where it gives one.
    async fn say(
        &mut self,
        letter: u8,
        parts: &[&[u8]],
        without: u32,
        silent: u32,
    ) -> Result<Option<Word>, Away> {
        if self.agreed.has(without) {
            return Ok(None);
        }
        packet::write(&mut self.out, letter, parts);
        if self.agreed.has(silent) {
            return Ok(None);
        }
        self.flush().await?;
        match self.answer().await? {
            Next::GoOn | Next::Skip => Ok(None),
            Next::Ends(word) => Ok(Some(word)),
        }
    }

    async fn answer(&mut self) -> Result<Next, Away> {
        loop {
            let letter = self.read().await?;
            let said = Said::read(letter, &self.packet);
            match said.ok_or(Away::Nonsense("an answer that is none"))? {
                Said::Progress => {}
                Said::Continue => return Ok(Next::GoOn),
                Said::Skip => return Ok(Next::Skip),
                last => {
                    return match ends(&last, Changes::default())? {
                        Some(word) => Ok(Next::Ends(word)),
                        None => Err(Away::Nonsense("a change before the end of the message")),
                    };
                }
            }
        }
    }

    fn macros(&mut self, letter: u8, pairs: &[(&str, &str)]) {
        let mut data = vec![letter];
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            // A NUL would end the value early.
            for text in [name, value] {
                data.extend(text.bytes().filter(|&octet| octet != 0));
                data.push(0);
            }
        }
        packet::write(&mut self.out, b'D', &[&data]);
    }

    async fn flush(&mut self) -> Result<(), Away> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(self.stream.flush().await?)
    }

    /// The next packet: its letter, and its data in `packet`.
    async fn read(&mut self) -> Result<u8, Away> {
        let length = self.stream.read_u32().await?;
        if !(1..=PACKET_MAX).contains(&length) {
            return Err(Away::Nonsense("a packet of a length that no packet has"));
        }
        let letter = self.stream.read_u8().await?;
        let length = usize::try_from(length - 1).unwrap_or_default();
        self.packet.clear();
        let read = (&mut self.stream)
            .take(length as u64)
            .read_to_end(&mut self.packet)
            .await?;
        if read < length {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(letter)
    }
}

/// The word that an answer makes; `None` where it makes none.
fn ends(said: &Said<'_>, mut changes: Changes) -> Result<Option<Word>, Away> {
    Ok(Some(match said {
        Said::Continue | Said::Accept => Word::Pass(Box::new(changes)),
        Said::Discard => {
            changes.hold = Some("the filter would discard it".to_owned());
            Word::Pass(Box::new(changes))
        }
        Said::Reject => Word::Refuse(Reply::new(550, 7, 1, "Message refused by a filter")),
        Said::TempFail => {
            let text = "A filter cannot take the message now, try again later";
            Word::Refuse(Reply::new(451, 7, 1, text))
        }
        Said::ReplyCode(text) => Word::Refuse(reply(text)?),
        _ => return Ok(None),
    }))
}

/// A filter's own reply, of one line or more.
fn reply(text: &[u8]) -> Result<Reply, Away> {
    let nonsense = || Away::Nonsense("a reply that is none");
    let text = String::from_utf8_lossy(text);
    let mut reply: Option<Reply> = None;
    for line in text.lines() {
        let (code, rest) = line.split_at_checked(3).ok_or_else(nonsense)?;
        let code: u16 = code.parse().map_err(|_| nonsense())?;
        if !(400..600).contains(&code) {
            return Err(nonsense());
        }
        // A filter does not close our sessions.
        let code = if code == 421 { 451 } else { code };
        let rest = rest.get(1..).unwrap_or_default();
        let class = u8::try_from(code / 100).unwrap_or(5);
        let (enhanced, words) = match rest.split_once(' ') {
            Some((first, words)) => (EnhancedCode::parse(first), words),
            None => (EnhancedCode::parse(rest), ""),
        };
        let enhanced = enhanced.filter(|it| it.to_string().starts_with(char::from(b'0' + class)));
        let words = if enhanced.is_some() { words } else { rest };
        match &mut reply {
            Some(reply) => reply.lines.push(words.to_owned().into()),
            None => {
                let mut first = Reply::new(code, 7, 1, words.to_owned());
                first.enhanced = enhanced.or(first.enhanced);
                reply = Some(first);
            }
        }
    }
    reply.ok_or_else(nonsense)
}

fn mailbox(path: &[u8]) -> Result<Mailbox, Away> {
    let nonsense = Away::Nonsense("a recipient that is no address");
    match Mailbox::parse(inner(path)?) {
        Ok(mailbox) if mailbox.domain().is_fully_qualified() => Ok(mailbox),
        Ok(_) | Err(_) => Err(nonsense),
    }
}

/// What stands between the brackets, which some filters leave out.
fn inner(path: &[u8]) -> Result<&str, Away> {
    let text = std::str::from_utf8(path).map_err(|_| Away::Nonsense("an address in no UTF-8"))?;
    let text = text.trim();
    let bare = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    Ok(bare.unwrap_or(text))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Away> {
    let done = spawn_blocking(work).await;
    done.map_err(|_| Away::Nonsense("reading the body panicked"))
}
