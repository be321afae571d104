//! The replies of a scripted next hop, and what is done in the place of one, in all phases alike.

use std::time::{Duration, Instant};

use super::{
    act::{Act, Phase},
    record::End,
    session::Session,
};

/// How long is listened behind our own end, so that what we said is not lost in a reset.
const LINGER: Duration = Duration::from_secs(2);

/// Whether a reply let the client go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    Taken,
    Refused,
}

impl Session {
    /// The number of the reply that is due in this phase.
    pub fn count(&mut self, phase: Phase) -> usize {
        if let Some((_, count)) = self.counts.iter_mut().find(|(other, _)| *other == phase) {
            *count += 1;
            return *count;
        }
        self.counts.push((phase, 1));
        1
    }

    /// Gives the usual reply, or does what the script puts in its place.
    pub fn answer(&mut self, phase: Phase, usual: &str) -> Result<Answer, End> {
        self.answer_for(phase, "", usual)
    }

    /// The same, where the reply is about one recipient.
    pub fn answer_for(&mut self, phase: Phase, to: &str, usual: &str) -> Result<Answer, End> {
        let count = self.count(phase);
        let act = self.behaviour.act(phase, count, to);
        if phase == Phase::EndOfData {
            // Before it is said: whoever has read the reply finds it in the record.
            let reply = match &act {
                None => usual.to_owned(),
                Some(Act::Say(text) | Act::SayAndClose(text)) => {
                    String::from_utf8_lossy(text).trim_end().to_owned()
                }
                Some(other) => format!("({other:?})"),
            };
            self.note(|connection| {
                connection
                    .transactions
                    .last_mut()
                    .unwrap()
                    .replies
                    .push(reply)
            });
        }
        match act {
            Some(act) => self.perform(act, usual),
            None => {
                self.say(usual)?;
                Ok(match usual.as_bytes()[0] {
                    b'2' | b'3' => Answer::Taken,
                    _ => Answer::Refused,
                })
            }
        }
    }

    /// Sends one line or more; the last line end is added.
    pub fn say(&mut self, text: &str) -> Result<(), End> {
        self.send(format!("{text}\r\n").as_bytes())
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), End> {
        std::thread::sleep(self.behaviour.delay);
        self.has_replied = true;
        Ok(self.link.write(octets)?)
    }

    pub fn perform(&mut self, act: Act, usual: &str) -> Result<Answer, End> {
        match act {
            Act::Say(octets) => {
                self.send(&octets)?;
                return Ok(match octets.first() {
                    Some(b'2' | b'3') => Answer::Taken,
                    _ => Answer::Refused,
                });
            }
            Act::SayAndClose(octets) => {
                self.send(&octets)?;
                return Err(self.finish(End::ByScript));
            }
            Act::HalfReply => self.send(&usual.as_bytes()[..usual.len() / 2])?,
            Act::Close => {}
            Act::Endless(code) => {
                let piece = format!("{code}-and so on\r\n").repeat(64);
                loop {
                    self.send(piece.as_bytes())?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Act::Hang => {
                self.listen(None)?;
                return Err(End::ByPeer);
            }
            Act::StopReading => {
                self.link.wait_for_close()?;
                return Err(End::ByPeer);
            }
            Act::Reset => {
                self.link.reset()?;
                return Err(End::ByScript);
            }
        }
        // The end comes without a word, so within TLS too.
        self.link.half_close()?;
        self.listen(Some(LINGER))?;
        Err(End::ByScript)
    }

    /// Ends the connection in good order.
    pub fn finish(&mut self, end: End) -> End {
        // The other side may have gone by now, which changes nothing.
        let _ = self.link.notify().and_then(|()| self.link.half_close());
        let _ = self.listen(Some(LINGER));
        end
    }

    /// Notes what comes until the other side closes, or for so long.
    fn listen(&mut self, at_most: Option<Duration>) -> Result<(), End> {
        let begun = Instant::now();
        loop {
            let late = std::mem::take(&mut self.link.unread);
            self.note(|connection| connection.late.extend(late));
            if let Some(at_most) = at_most {
                let Some(left) = at_most.checked_sub(begun.elapsed()) else {
                    return Ok(());
                };
                self.link
                    .patience(Some(left.max(Duration::from_millis(1))))?;
            }
            match self.read() {
                Ok(()) => {}
                Err(End::ByPeer) => return Ok(()),
                Err(_) if at_most.is_some() => return Ok(()),
                Err(other) => return Err(other),
            }
        }
    }
}
