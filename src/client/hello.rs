//! The greeting, EHLO, HELO and LHLO (RFC 5321 §3.1, §3.2; RFC 2033 §4.1).

use crate::smtp::{ReceivedReply, ReplyClass};

use super::{Cause, Channel, Client, Extensions, Phase, Protocol, Security, verdict};

/// With which word we introduce ourselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Ehlo,
    /// For hosts that know no extensions.
    Helo,
    Lhlo,
}

impl Word {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Word::Ehlo => "EHLO",
            Word::Helo => "HELO",
            Word::Lhlo => "LHLO",
        }
    }
}

impl Client {
    pub(super) fn greeted(&mut self, reply: &ReceivedReply) {
        match reply.class() {
            ReplyClass::Positive => self.say_hello(),
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.refuse_hop(Cause::Greeting, verdict::transient(reply));
            }
            ReplyClass::Intermediate | ReplyClass::Foreign => self.out_of_place(reply),
        }
    }

    pub(super) fn say_hello(&mut self) {
        self.say(match self.options.protocol {
            Protocol::Smtp => Word::Ehlo,
            Protocol::Lmtp => Word::Lhlo,
        });
    }

    fn say(&mut self, word: Word) {
        let name = self.options.hello_name.canonical();
        self.send(&format!("{} {name}", word.as_str()));
        self.phase = Phase::Hello(word);
    }

    pub(super) fn helloed(&mut self, word: Word, reply: &ReceivedReply) {
        match reply.class() {
            ReplyClass::Positive => {
                self.extensions = match word {
                    Word::Helo => Extensions::default(),
                    Word::Ehlo | Word::Lhlo => Extensions::read(reply),
                };
                self.make_secure();
            }
            ReplyClass::Permanent if word == Word::Ehlo && self.may_do_without_extensions() => {
                self.say(Word::Helo);
            }
            ReplyClass::Permanent if word == Word::Ehlo && self.needs_starttls() => {
                let text = format!(
                    "the next hop does not know EHLO, and so no STARTTLS, and TLS is required: {}",
                    reply.text()
                );
                self.refuse_hop(Cause::Tls, verdict::ours(7, 10, text));
            }
            ReplyClass::Transient | ReplyClass::Permanent => {
                self.refuse_hop(Cause::Hello, verdict::transient(reply));
            }
            ReplyClass::Intermediate | ReplyClass::Foreign => self.out_of_place(reply),
        }
    }

    /// HELO offers neither STARTTLS nor AUTH.
    fn may_do_without_extensions(&self) -> bool {
        !self.needs_starttls() && self.options.credentials.is_none()
    }

    /// Whether the channel is not yet what it must be.
    fn needs_starttls(&self) -> bool {
        match self.options.security {
            Security::Proved | Security::Encrypted => self.channel == Channel::Plain,
            Security::IfOffered | Security::Plaintext => false,
        }
    }
}
