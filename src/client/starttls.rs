//! STARTTLS (RFC 3207), and what the channel must be before anything of worth travels.

use crate::{
    envelope::Moment,
    smtp::{ReceivedReply, ReplyClass},
};

use super::{Cause, Channel, Client, Extensions, Output, Phase, Security, verdict};

impl Client {
    /// After the hop has said what it offers: STARTTLS, or on to the sign-in.
    pub(super) fn make_secure(&mut self) {
        let offered = self.extensions.starttls;
        match (self.channel, self.options.security) {
            (Channel::Plain, Security::Proved | Security::Encrypted) if !offered => {
                let text = "the next hop does not offer STARTTLS, and TLS is required";
                self.refuse_hop(Cause::Tls, verdict::ours(7, 10, text));
            }
            (Channel::Plain, Security::Proved | Security::Encrypted | Security::IfOffered)
                if offered =>
            {
                self.send("STARTTLS");
                self.phase = Phase::StartTls;
            }
            (Channel::Unproved, Security::Proved) => self.not_proved(),
            (Channel::Plain | Channel::Unproved | Channel::Proved, _) => self.sign_in(),
        }
    }

    fn not_proved(&mut self) {
        let text = "the next hop did not prove its name, and that is required";
        self.fail(Cause::Tls, verdict::ours(7, 5, text));
    }

    pub(super) fn starttls_answered(&mut self, reply: &ReceivedReply) {
        let goes_on_without = self.options.security == Security::IfOffered;
        match reply.class() {
            ReplyClass::Positive => {
                self.phase = Phase::Upgrading;
                self.outputs.push_back(Output::StartTls);
            }
            ReplyClass::Transient | ReplyClass::Permanent if goes_on_without => self.sign_in(),
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.refuse_hop(Cause::Tls, verdict::transient(reply));
            }
            ReplyClass::Intermediate | ReplyClass::Foreign => self.out_of_place(reply),
        }
    }

    /// Octets came in the clear behind the 220: somebody in the middle may have put them there to
    /// be taken for the hop's word once the channel is encrypted. They are never looked at (S9).
    pub(super) fn injected(&mut self) {
        let text = "octets followed the reply to STARTTLS before the handshake";
        self.fail(Cause::Tls, verdict::ours(7, 5, text));
    }

    /// The handshake is done. Everything learnt before it is forgotten (RFC 3207 §4.2).
    ///
    /// A handshake that fails is told by [`abort`](Client::abort) instead.
    pub fn secured(&mut self, now: Moment, channel: Channel) {
        if !matches!(self.phase, Phase::Upgrading) || channel == Channel::Plain {
            return self.abort(now, "the handshake was out of place");
        }
        self.since = now;
        self.channel = channel;
        self.extensions = Extensions::default();
        self.reader.clear();
        if channel == Channel::Unproved && self.options.security == Security::Proved {
            return self.not_proved();
        }
        self.say_hello();
    }
}
