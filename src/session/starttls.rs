//! STARTTLS (RFC 3207).

use crate::envelope::Moment;

use super::{Channel, Clocks, Output, Phase, Secured, Session, replies};

impl Session {
    pub(super) fn starttls(&mut self, argument: &str) {
        if matches!(self.channel, Channel::Secure(_)) {
            return self.refuse(replies::tls_is_active());
        }
        if !argument.is_empty() {
            return self.refuse(replies::starttls_argument());
        }
        if self.hello.is_none() {
            return self.refuse(replies::send_ehlo_first());
        }
        self.phase = Phase::Upgrading;
        self.outputs
            .push_back(Output::StartTls(replies::start_tls()));
    }

    /// Octets came behind STARTTLS and before the handshake: somebody in the middle may have put
    /// them there, so they are never looked at (S8). The 220 has not been sent yet.
    pub(super) fn injected(&mut self, octets: &[u8]) -> usize {
        if matches!(self.outputs.back(), Some(Output::StartTls(_))) {
            self.outputs.pop_back();
        }
        self.give_up(replies::octets_behind_starttls());
        octets.len()
    }

    /// The handshake is done. Everything learnt before it is forgotten (RFC 3207 §4.2), but for
    /// what protects us: the counters.
    pub fn secured(&mut self, now: Moment, secured: Secured) {
        if !matches!(self.phase, Phase::Upgrading) {
            return self.close();
        }
        self.channel = Channel::Secure(secured);
        self.hello = None;
        self.reader.clear();
        self.phase = Phase::Ready;
        let began = self.clocks.began;
        self.clocks = Clocks {
            began,
            idle_since: now,
            line_began: now,
            touched: now,
        };
    }
}
