//! How long each thing may take (RFC 5321 §4.5.3.2, S32).

use std::time::Duration;

use crate::{envelope::Moment, smtp::Reply};

use super::{Options, Phase, Session, replies};

/// A deadline and what is said when it passes.
#[derive(Clone, Copy)]
struct Limit {
    at: Moment,
    reply: fn(&Options) -> Reply,
}

impl Limit {
    fn or(self, other: Limit) -> Limit {
        if other.at < self.at { other } else { self }
    }
}

impl Session {
    /// When `timeout` is to be called unless something else happens first.
    ///
    /// None while a question is open: whoever answers it has deadlines of their own, and a message
    /// on its way into custody is never cut off.
    pub fn deadline(&self) -> Option<Moment> {
        self.limit().map(|limit| limit.at)
    }

    /// A deadline may have passed: if so the client is told, and the session closes.
    pub fn timeout(&mut self, now: Moment) {
        if let Some(limit) = self.limit()
            && limit.at <= now
        {
            let reply = (limit.reply)(&self.options);
            self.reset();
            self.give_up(reply);
        }
    }

    /// The nearest deadline.
    fn limit(&self) -> Option<Limit> {
        let (options, clocks) = (&self.options, &self.clocks);
        let whole = Limit {
            at: clocks.began + options.session,
            reply: replies::session_too_long,
        };
        let stalled = Limit {
            at: clocks.touched + options.data,
            reply: replies::data_stalled,
        };
        let idle = |at| Limit {
            at,
            reply: replies::idle_too_long,
        };
        match &self.phase {
            Phase::Asking(_) | Phase::Closed | Phase::Upgrading => None,
            Phase::Data(data) => Some(stalled.or(self.pace(data.began, data.received))),
            Phase::Chunk(chunk) => Some(stalled.or(self.pace(chunk.began, chunk.received))),
            Phase::Swallow(_) => Some(stalled.or(whole)),
            Phase::SignIn(sign_in) => {
                let at = sign_in.began + options.sign_in;
                Some(
                    Limit {
                        at,
                        reply: replies::sign_in_too_long,
                    }
                    .or(whole),
                )
            }
            Phase::Ready | Phase::Envelope(_) if self.reader.is_mid_line() => {
                Some(idle(clocks.line_began + options.line).or(whole))
            }
            Phase::Ready | Phase::Envelope(_) => {
                Some(idle(clocks.idle_since + options.idle).or(whole))
            }
        }
    }

    /// Content must not crawl either: a client that sends one octet now and then would otherwise
    /// hold its session for days.
    fn pace(&self, began: Moment, received: u64) -> Limit {
        let earned = match self.options.data_rate {
            0 => Duration::MAX,
            rate => Duration::from_secs(received / u64::from(rate)),
        };
        let at = began + self.options.data.saturating_add(earned);
        Limit {
            at,
            reply: replies::data_too_slow,
        }
    }
}
