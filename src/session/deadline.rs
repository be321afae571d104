//! How long each thing may take (RFC 5321 §4.5.3.2, S32).

use std::time::Duration;

use crate::{envelope::Moment, smtp::Reply};

use super::{Phase, Session, replies};

impl Session {
    /// When `timeout` is to be called unless something else happens first.
    ///
    /// None while a question is open: whoever answers it has deadlines of their own, and a message
    /// on its way into custody is never cut off.
    pub fn deadline(&self) -> Option<Moment> {
        self.limit().map(|(moment, _)| moment)
    }

    /// A deadline may have passed: if so the client is told, and the session closes.
    pub fn timeout(&mut self, now: Moment) {
        if let Some((moment, reply)) = self.limit()
            && moment <= now
        {
            let reply = reply(self);
            self.reset();
            self.give_up(reply);
        }
    }

    /// The nearest deadline and what is said when it passes.
    fn limit(&self) -> Option<(Moment, fn(&Session) -> Reply)> {
        let options = &self.options;
        let clocks = &self.clocks;
        let whole: (Moment, fn(&Session) -> Reply) = (clocks.began + options.session, |s| {
            replies::session_too_long(&s.options)
        });
        let stalled: (Moment, fn(&Session) -> Reply) = (clocks.touched + options.data, |s| {
            replies::data_stalled(&s.options)
        });
        let idle = |s: &Session| replies::idle_too_long(&s.options);
        match &self.phase {
            Phase::Asking(_) | Phase::Closed | Phase::Upgrading => None,
            Phase::Data(data) => Some(self.paced(data.began, data.received, stalled)),
            Phase::Chunk(chunk) => Some(self.paced(chunk.began, chunk.received, stalled)),
            Phase::Swallow(_) => Some(earlier(stalled, whole)),
            Phase::SignIn(sign_in) => {
                let end = sign_in.began + options.sign_in;
                Some(earlier(
                    (end, |s| replies::sign_in_too_long(&s.options)),
                    whole,
                ))
            }
            Phase::Ready | Phase::Envelope(_) if self.reader.is_mid_line() => {
                Some(earlier((clocks.line_began + options.line, idle), whole))
            }
            Phase::Ready | Phase::Envelope(_) => {
                Some(earlier((clocks.idle_since + options.idle, idle), whole))
            }
        }
    }

    /// Content must neither stall nor crawl: a client that sends one octet now and then would
    /// otherwise hold its session for days.
    fn paced(
        &self,
        began: Moment,
        received: u64,
        stalled: (Moment, fn(&Session) -> Reply),
    ) -> (Moment, fn(&Session) -> Reply) {
        if self.options.data_rate == 0 {
            return stalled;
        }
        let earned = Duration::from_secs(received / u64::from(self.options.data_rate));
        let end = began + self.options.data.saturating_add(earned);
        earlier(stalled, (end, |s| replies::data_too_slow(&s.options)))
    }
}

fn earlier<T>(left: (Moment, T), right: (Moment, T)) -> (Moment, T) {
    if left.0 <= right.0 { left } else { right }
}
