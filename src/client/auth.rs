//! AUTH (RFC 4954) from the side of the one who signs in.

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{
    Cause, Channel, Client, Credentials, Failure, Output, Phase, Secret, Security,
    commands::Vouching, verdict,
};
use crate::{
    envelope::{Moment, Status},
    sasl::{DerivedKey, ScramClient, decode_base64, encode_base64},
    smtp::{ReceivedReply, ReplyClass},
};

/// Octets of a command line that every server takes (RFC 5321 §4.5.3.1.4); a longer initial
/// response waits for its challenge (RFC 4954 §4).
const COMMAND_MAX: usize = 512;

/// Mechanisms by which we can sign in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// RFC 7677: the password is proved, not said.
    ScramSha256,
    /// RFC 4616.
    Plain,
    /// The old two-prompt exchange.
    Login,
}

impl Mechanism {
    /// The best first.
    const PREFERENCE: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// Reads a mechanism's name, in any case (RFC 4954 §8).
    pub fn parse(name: &str) -> Option<Self> {
        Self::PREFERENCE
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The name in EHLO and AUTH.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
        }
    }
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct SignIn {
    mechanism: Mechanism,
    step: Step,
}

/// What the next reply is to be.
#[derive(Debug)]
enum Step {
    /// A challenge, to be answered with this: PLAIN's only response, or LOGIN's name.
    Say(Secret),
    /// LOGIN's second challenge.
    Password,
    /// SCRAM's server-first.
    ServerFirst(Box<ScramClient>),
    /// None: the key is being worked out.
    Deriving(Box<ScramClient>),
    /// SCRAM's server-final.
    ServerFinal(Box<ScramClient>),
    /// 235.
    Success,
    /// The answer to `*`, whatever it says.
    Cancelled(Failure),
}

impl SignIn {
    pub(super) fn answers_due(&self) -> usize {
        match self.step {
            Step::Deriving(_) => 0,
            _ => 1,
        }
    }

    pub(super) fn is_deriving(&self) -> bool {
        matches!(self.step, Step::Deriving(_))
    }
}

impl Client {
    /// Signs in if there is somebody to sign in as; only where nobody else can listen.
    pub(super) fn sign_in(&mut self) {
        if self.options.credentials.is_none() {
            return self.ready();
        }
        let may_be_said = match self.channel {
            Channel::Proved => true,
            Channel::Plain => self.options.security == Security::Plaintext,
            Channel::Unproved => false,
        };
        if !may_be_said {
            let text = "credentials are not sent to a host that has not proved its name";
            return self.refuse_hop(Cause::SignIn, verdict::ours(7, 0, text));
        }
        if !self.extensions.auth {
            let text = "the next hop does not offer AUTH, and a sign-in is required";
            return self.refuse_hop(Cause::SignIn, verdict::ours(7, 0, text));
        }
        self.try_from(&Mechanism::PREFERENCE, None);
    }

    /// Begins with the first of these mechanisms that is offered.
    fn try_from(&mut self, mechanisms: &[Mechanism], why_again: Option<Status>) {
        let offered = mechanisms
            .iter()
            .find(|mechanism| self.extensions.mechanisms.contains(mechanism));
        match (offered, self.options.credentials.clone()) {
            (Some(mechanism), Some(credentials)) => self.start(*mechanism, &credentials),
            _ => {
                let text = "the next hop offers no AUTH mechanism that is known here";
                let status = why_again.unwrap_or_else(|| verdict::ours(7, 0, text));
                self.refuse_hop(Cause::SignIn, status);
            }
        }
    }

    fn start(&mut self, mechanism: Mechanism, credentials: &Credentials) {
        let step = match mechanism {
            Mechanism::ScramSha256 => match ScramClient::start(&credentials.name, &self.nonce) {
                Ok((scram, first)) => {
                    self.send(&format!("AUTH SCRAM-SHA-256 {}", encode_base64(&first)));
                    Step::ServerFirst(Box::new(scram))
                }
                Err(fault) => {
                    let status = verdict::ours(7, 0, fault.to_string());
                    return self.refuse_hop(Cause::SignIn, status);
                }
            },
            Mechanism::Plain => {
                let response = Zeroizing::new(
                    [
                        b"\0",
                        credentials.name.as_bytes(),
                        b"\0",
                        credentials.password.expose_secret().as_bytes(),
                    ]
                    .concat(),
                );
                let command = Zeroizing::new(format!("AUTH PLAIN {}", encode_base64(&response)));
                if command.len() + 2 > COMMAND_MAX {
                    self.send("AUTH PLAIN");
                    Step::Say(Secret::new(response.to_vec()))
                } else {
                    self.send_secret(&command);
                    Step::Success
                }
            }
            Mechanism::Login => {
                self.send("AUTH LOGIN");
                Step::Say(Secret::new(credentials.name.as_bytes().to_vec()))
            }
        };
        self.phase = Phase::SignIn(Box::new(SignIn { mechanism, step }));
    }

    fn send_secret(&mut self, line: &str) {
        let octets = [line.as_bytes(), b"\r\n"].concat();
        self.outputs
            .push_back(Output::SendSecret(Secret::new(octets)));
    }

    fn respond(&mut self, mechanism: Mechanism, response: &[u8], step: Step) {
        self.send_secret(&Zeroizing::new(encode_base64(response)));
        self.phase = Phase::SignIn(Box::new(SignIn { mechanism, step }));
    }

    pub(super) fn sign_in_answered(&mut self, reply: &ReceivedReply) {
        let Phase::SignIn(sign_in) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            return;
        };
        let SignIn { mechanism, step } = *sign_in;
        if let Step::Cancelled(failure) = step {
            return self.refuse_hop(failure.cause, failure.status);
        }
        match reply.class() {
            ReplyClass::Intermediate => {
                // A prompt of LOGIN may be anything; SCRAM's messages are read.
                let line = reply.lines().next().unwrap_or_default();
                let challenge = decode_base64(line.trim_ascii());
                self.challenged(mechanism, step, challenge.as_deref().unwrap_or_default());
            }
            ReplyClass::Positive => match step {
                Step::Success => {
                    self.signed_in = true;
                    self.vouching = Vouching::Told;
                    self.ready();
                }
                // A success that was not earned: a server that does not know the password.
                _ => {
                    let text = format!("success before the sign-in was over: {}", reply.text());
                    self.fail(Cause::SignIn, verdict::ours(7, 0, text));
                }
            },
            // This mechanism is not to be had after all (RFC 4954 §4, §6).
            ReplyClass::Permanent if matches!(reply.code(), 504 | 534) => {
                let rest = Mechanism::PREFERENCE
                    .iter()
                    .position(|known| *known == mechanism)
                    .map_or(&[][..], |at| &Mechanism::PREFERENCE[at + 1..]);
                self.try_from(rest, Some(verdict::transient(reply)));
            }
            ReplyClass::Transient | ReplyClass::Permanent => {
                let mut status = verdict::transient(reply);
                if reply.enhanced().is_none() {
                    status.code = verdict::ours(7, 8, "").code;
                }
                self.refuse_hop(Cause::SignIn, status);
            }
            ReplyClass::Foreign => {
                // Back to where a failure finds its place.
                self.phase = Phase::SignIn(Box::new(SignIn { mechanism, step }));
                self.out_of_place(reply);
            }
        }
    }

    fn challenged(&mut self, mechanism: Mechanism, step: Step, challenge: &[u8]) {
        let Some(credentials) = self.options.credentials.clone() else {
            return self.cancel(mechanism, "there are no credentials");
        };
        match step {
            Step::Say(response) if mechanism == Mechanism::Login => {
                self.respond(mechanism, &response, Step::Password);
            }
            Step::Say(response) => self.respond(mechanism, &response, Step::Success),
            Step::Password => {
                let password = credentials.password.expose_secret();
                self.respond(mechanism, password.as_bytes(), Step::Success);
            }
            Step::ServerFirst(mut scram) => {
                match scram.challenged(challenge, &credentials.password) {
                    Ok(derivation) => {
                        let step = Step::Deriving(scram);
                        self.phase = Phase::SignIn(Box::new(SignIn { mechanism, step }));
                        self.outputs.push_back(Output::Derive(derivation));
                    }
                    Err(fault) => self.cancel(mechanism, &fault.to_string()),
                }
            }
            Step::ServerFinal(mut scram) => match scram.verified(challenge) {
                Ok(()) => self.respond(mechanism, b"", Step::Success),
                Err(fault) => self.cancel(mechanism, &fault.to_string()),
            },
            Step::Success | Step::Deriving(_) | Step::Cancelled(_) => {
                self.cancel(
                    mechanism,
                    "the next hop asks for more than the mechanism has",
                );
            }
        }
    }

    /// Breaks off an exchange (RFC 4954 §4).
    fn cancel(&mut self, mechanism: Mechanism, why: &str) {
        self.send("*");
        let failure = Failure {
            cause: Cause::SignIn,
            status: verdict::ours(7, 0, format!("sign-in broken off: {why}")),
        };
        let step = Step::Cancelled(failure);
        self.phase = Phase::SignIn(Box::new(SignIn { mechanism, step }));
    }

    /// The key is worked out. Of no effect where it is not waited for any more.
    pub fn derived(&mut self, now: Moment, key: &DerivedKey) {
        let phase = std::mem::replace(&mut self.phase, Phase::Ready);
        match phase {
            Phase::SignIn(sign_in) if sign_in.is_deriving() => {
                self.since = now;
                if let Step::Deriving(mut scram) = sign_in.step {
                    let response = scram.derived(key);
                    self.respond(sign_in.mechanism, &response, Step::ServerFinal(scram));
                }
            }
            other => self.phase = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanism_names_are_read_in_any_case() {
        for mechanism in Mechanism::PREFERENCE {
            let name = mechanism.name().to_ascii_lowercase();
            assert_eq!(Mechanism::parse(&name), Some(mechanism));
        }
        assert_eq!(Mechanism::parse("SCRAM-SHA-256-PLUS"), None);
    }
}
