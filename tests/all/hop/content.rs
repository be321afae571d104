//! Content at a scripted next hop: DATA with its dots (RFC 5321 §4.5.2), BDAT with its counts
//! (RFC 3030). It is read by other means than Gatepost's own.

use super::{
    act::Phase,
    record::{End, Progress},
    reply::Answer,
    script::Protocol,
    session::Session,
};

impl Session {
    pub fn data(&mut self) -> Result<(), End> {
        let usual = match self.recipients.is_empty() || !self.chunks.is_empty() {
            true => "503 5.5.1 Not here",
            false => "354 Go ahead, end with a dot",
        };
        if self.answer(Phase::Data, usual)? == Answer::Refused || !self.in_transaction {
            return Ok(());
        }
        let raw = self.until_dot()?;
        let mut content = Vec::with_capacity(raw.len());
        for line in raw.split_inclusive(|octet| *octet == b'\n') {
            // Only what follows CRLF is a line; a lone LF begins none.
            let begins_line = content.is_empty() || content.ends_with(b"\r\n");
            let stuffed = begins_line && line.starts_with(b".");
            content.extend_from_slice(&line[usize::from(stuffed)..]);
        }
        self.taken(content)
    }

    /// Content as it comes, up to the dot and without it.
    fn until_dot(&mut self) -> Result<Vec<u8>, End> {
        let mut raw = Vec::new();
        self.seen(&[], 0)?;
        loop {
            let from = raw.len().saturating_sub(4);
            let piece = std::mem::take(&mut self.link.unread);
            raw.extend_from_slice(&piece);
            let found = match raw.starts_with(b".\r\n") {
                true => Some((0, 3)),
                false => {
                    let mut windows = raw[from..].windows(5);
                    let at = windows.position(|five| five == b"\r\n.\r\n");
                    at.map(|at| (from + at + 2, from + at + 5))
                }
            };
            if let Some((end, next)) = found {
                self.link.unread = raw.split_off(next);
                raw.truncate(end);
                return Ok(raw);
            }
            self.seen(&piece, raw.len())?;
            self.read()?;
        }
    }

    /// Notes a piece of content, and acts where the script wants it in the middle.
    fn seen(&mut self, piece: &[u8], total: usize) -> Result<(), End> {
        self.note(|connection| {
            let transaction = connection.transactions.last_mut().unwrap();
            transaction.content.extend_from_slice(piece);
            transaction.progress = Progress::Content;
        });
        match self.behaviour.in_content.clone() {
            Some((after, act)) if total >= after => {
                self.perform(act, "451 4.3.0 No more of it")?;
                // Whatever was said, there is no way back into the dialogue.
                Err(self.finish(End::ByScript))
            }
            _ => Ok(()),
        }
    }

    pub fn bdat(&mut self, rest: &str) -> Result<(), End> {
        let mut words = rest.split(' ');
        let octets = words.next().and_then(|count| count.parse::<usize>().ok());
        let last = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        let Some(octets) = octets.filter(|_| self.behaviour.offered("CHUNKING").is_some()) else {
            return self.say("500 5.5.2 Unknown command");
        };
        let is_open = !self.recipients.is_empty();
        let mut left = octets;
        loop {
            let rest = self.link.unread.split_off(left.min(self.link.unread.len()));
            let piece = std::mem::replace(&mut self.link.unread, rest);
            left -= piece.len();
            if is_open {
                self.chunks.extend_from_slice(&piece);
                self.seen(&piece, self.chunks.len())?;
            }
            if left == 0 {
                break;
            }
            self.read()?;
        }
        if !is_open {
            return self.say("503 5.5.1 Not here");
        }
        match last {
            true => {
                let content = std::mem::take(&mut self.chunks);
                self.taken(content)
            }
            false => {
                if self.answer(Phase::Data, "250 2.0.0 Chunk taken")? == Answer::Refused {
                    self.forget();
                }
                Ok(())
            }
        }
    }

    /// Answers a whole message.
    fn taken(&mut self, content: Vec<u8>) -> Result<(), End> {
        let too_big = content.len() > self.behaviour.size_max();
        self.note(|connection| {
            let transaction = connection.transactions.last_mut().unwrap();
            transaction.content = content;
            transaction.progress = Progress::Whole;
        });
        let recipients = std::mem::take(&mut self.recipients);
        self.forget();
        self.messages += 1;
        let usual = match too_big {
            true => "552 5.3.4 Too big".to_owned(),
            false => format!("250 2.0.0 Taken as {}", self.messages),
        };
        match self.behaviour.protocol {
            Protocol::Smtp => {
                self.answer(Phase::EndOfData, &usual)?;
            }
            Protocol::Lmtp => {
                for recipient in recipients {
                    let usual = format!("{usual} for <{recipient}>");
                    self.answer_for(Phase::EndOfData, &recipient, &usual)?;
                }
            }
        }
        match self.messages >= self.behaviour.messages_max {
            true => Err(self.finish(End::ByScript)),
            false => Ok(()),
        }
    }
}
