//! AUTH (RFC 4954): from the command to the question whether the credentials are good.

use crate::{
    envelope::{Identity, Moment},
    sasl::{self, Exchange, Mechanism, Step, Surroundings},
    smtp::Reply,
};

use super::{Asking, Channel, KeysVerdict, Phase, Question, Session, SignInVerdict, replies};

/// An exchange under way. A fresh one for each AUTH (S17).
#[derive(Debug)]
pub(super) struct SignIn {
    mechanism: Mechanism,
    exchange: Exchange,
    pub(super) began: Moment,
    /// Who has signed in, once the client has heard the other side's proof too.
    granted: Option<Identity>,
    /// It has failed, and the client is told why first.
    refused: bool,
}

impl Session {
    pub(super) fn auth(&mut self, argument: &str) {
        if self.identity.is_some() {
            return self.refuse(replies::already_signed_in());
        }
        if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            return self.refuse(replies::send_ehlo_first());
        }
        if self.counters.sign_in_failures >= self.options.sign_in_failures {
            return self.give_up(replies::too_many_sign_ins(&self.options));
        }
        let mut words = argument.split_ascii_whitespace();
        let (name, initial, surplus) = (words.next(), words.next(), words.next());
        let Some(name) = name.filter(|_| surplus.is_none()) else {
            return self.refuse(replies::auth_usage());
        };
        let Channel::Secure(secured) = &self.channel else {
            return self.refuse(replies::start_tls_first());
        };
        let offered: Vec<_> = self.options.offered(secured).collect();
        let can_bind = offered.iter().any(|mechanism| mechanism.is_bound());
        let Some(mechanism) = Mechanism::parse(name).filter(|it| offered.contains(it)) else {
            return self.refuse(replies::unknown_mechanism());
        };
        let decoded = match initial {
            None => None,
            // An empty initial response, as opposed to none (RFC 4954 §4).
            Some("=") => Some(Vec::new()),
            Some(text) => match sasl::decode_base64(text.as_bytes()) {
                Some(octets) => Some(octets),
                None => return self.sign_in_failed(replies::not_base64()),
            },
        };
        let around = Surroundings {
            bindings: can_bind.then_some(&secured.bindings),
            certificate: secured.certificate.as_ref(),
            hosts: [
                Some(self.options.hostname.as_str()),
                secured.facts.server_name.as_deref(),
            ],
            port: secured.port,
        };
        let began = self.clocks.touched;
        let (exchange, step) = Exchange::start(mechanism, decoded.as_deref(), around);
        wipe(decoded);
        self.take_step(
            SignIn {
                mechanism,
                exchange,
                began,
                granted: None,
                refused: false,
            },
            step,
        );
    }

    /// A line of the exchange, whatever it says: a command here is simply no base64.
    pub(super) fn response(&mut self, line: &[u8]) {
        let Phase::SignIn(sign_in) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return self.close();
        };
        if line == b"*" {
            return self.sign_in_failed(replies::sign_in_cancelled());
        }
        if sign_in.refused {
            return self.sign_in_failed(replies::sign_in_refused());
        }
        let Some(response) = sasl::decode_base64(line) else {
            return self.sign_in_failed(replies::not_base64());
        };
        let mut sign_in = *sign_in;
        if let Some(identity) = sign_in.granted.take() {
            return self.concluded(identity, &response);
        }
        let step = sign_in.exchange.respond(&response);
        wipe(Some(response));
        self.take_step(sign_in, step);
    }

    fn take_step(&mut self, sign_in: SignIn, step: Step) {
        match step {
            Step::Challenge(challenge) => {
                self.phase = Phase::SignIn(Box::new(sign_in));
                self.send(Reply::bare(334, sasl::encode_base64(&challenge)));
            }
            Step::Need(lookup) => {
                self.ask(Asking::Keys(Box::new(sign_in)), Question::Keys(lookup));
            }
            Step::Done(claim) => {
                let mechanism = sign_in.mechanism;
                self.ask(
                    Asking::SignIn(Box::new(sign_in)),
                    Question::SignIn { mechanism, claim },
                );
            }
            Step::Failed => self.sign_in_failed(replies::sign_in_refused()),
        }
    }

    fn sign_in_failed(&mut self, reply: Reply) {
        self.counters.sign_in_failures += 1;
        self.refuse(reply);
    }

    pub(super) fn keys_given(&mut self, mut sign_in: SignIn, verdict: KeysVerdict) {
        match verdict {
            KeysVerdict::Given { ring, random } => {
                let step = sign_in.exchange.keys(ring, &random);
                self.take_step(sign_in, step);
            }
            KeysVerdict::Relayed { relay, challenge } => {
                let step = sign_in.exchange.relayed(relay, challenge);
                self.take_step(sign_in, step);
            }
            KeysVerdict::Unavailable => self.send(replies::sign_in_unavailable()),
        }
    }

    pub(super) fn signed_in(&mut self, mut sign_in: SignIn, verdict: SignInVerdict) {
        match verdict {
            SignInVerdict::Granted(identity) => match sign_in.exchange.conclusion() {
                Some(proof) => {
                    sign_in.granted = Some(identity);
                    self.take_step(sign_in, Step::Challenge(proof));
                }
                None => self.admit(identity),
            },
            SignInVerdict::Proved { identity, proof } => {
                sign_in.granted = Some(identity);
                self.take_step(sign_in, Step::Challenge(proof));
            }
            SignInVerdict::Refused => match sign_in.exchange.objection(&self.options.advice) {
                Some(why) => {
                    sign_in.refused = true;
                    self.take_step(sign_in, Step::Challenge(why));
                }
                None => self.sign_in_failed(replies::sign_in_refused()),
            },
            SignInVerdict::Throttled => self.sign_in_failed(replies::sign_in_throttled()),
            SignInVerdict::Unavailable => self.send(replies::sign_in_unavailable()),
        }
    }
}

impl Session {
    /// The client has heard our proof. It has nothing more to say, and if it thinks otherwise the
    /// two sides do not speak of the same exchange.
    fn concluded(&mut self, identity: Identity, response: &[u8]) {
        if response.is_empty() {
            self.admit(identity);
        } else {
            self.sign_in_failed(replies::sign_in_refused());
        }
    }

    fn admit(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.counters.sign_in_failures = 0;
        self.send(replies::signed_in());
    }
}

/// Overwrites a decoded response: it may hold a password.
fn wipe(octets: Option<Vec<u8>>) {
    drop(octets.map(zeroize::Zeroizing::new));
}
