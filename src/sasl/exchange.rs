//! One sign-in, response by response.
//!
//! ```text
//! PLAIN   (no initial response) -> Challenge("")          -> response -> Done | Failed
//!         initial response                                            -> Done | Failed
//! LOGIN   (no initial response) -> Challenge("Username:") -> name
//!         name                  -> Challenge("Password:") -> password -> Done | Failed
//! SCRAM   (no initial response) -> Challenge("")          -> client-first
//!         client-first          -> Need(name) -> keys     -> Challenge(server-first)
//!         client-final          -> Done(Proof | Unproved); conclusion() is the server-final
//! OAUTHBEARER, XOAUTH2
//!         (no initial response) -> Challenge("")          -> response
//!         response              -> Done(Token); where it is refused, objection() says why
//! EXTERNAL
//!         (no initial response) -> Challenge("")          -> response -> Done | Failed
//! ```

use std::{fmt, mem, str, sync::Arc};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{
    Claim, ClientCertificate, Credentials, Mechanism, NAME_MAX, PASSWORD_MAX, Proof, RESPONSE_MAX,
    Relay, TokenAdvice,
    oauth::{self, Style},
    prepare,
    scram::{self, Bindings, Demand, Ring, SERVER_NONCE_OCTETS, ServerFinal, ServerFirst},
};

/// What an exchange wants next; all octets are decoded ones.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Send this challenge, which may be empty, in a 334.
    Challenge(Vec<u8>),
    /// Look up what this name can prove itself with, and go on with [`Exchange::keys`].
    Need(Lookup),
    /// This is to be verified.
    Done(Claim),
    /// The response was malformed or could not be prepared: a failed sign-in, not a syntax error.
    Failed,
}

/// Whose keys are needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    /// Authentication identity, prepared.
    pub authcid: String,
    /// The client's first message, where somebody else may go on with it: it is bound to nothing, and
    /// the client wants to be nobody else.
    pub first: Option<Box<[u8]>>,
}

/// What an exchange may lean on beside what the client says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// What the channel can be bound to, where a mechanism that binds is on offer.
    pub bindings: Option<&'a Arc<Bindings>>,
    /// What the client proved to be in the handshake.
    pub certificate: Option<&'a Arc<ClientCertificate>>,
    /// The names that we may be called by: our own, and the one that TLS was asked for.
    pub hosts: [Option<&'a str>; 2],
    /// The port that the client came to; the usual ones may have been forwarded to it.
    pub port: Option<u16>,
}

/// One exchange; each AUTH command gets a fresh one (S17).
pub struct Exchange(State);

enum State {
    PlainResponse,
    LoginName,
    LoginPassword {
        name: String,
    },
    ScramFirst {
        /// -PLUS was chosen.
        bound: bool,
        /// What -PLUS would be bound to; `None` where it is not on offer.
        bindings: Option<Arc<Bindings>>,
    },
    ScramKeys(Box<ServerFirst>),
    ScramFinal(Box<ServerFinal>),
    Concluding(Vec<u8>),
    /// Somebody else judges the response.
    ScramRelayed {
        authcid: String,
        relay: Relay,
    },
    TokenResponse(Style, oauth::Place),
    TokenGiven(Style),
    External(Option<Arc<ClientCertificate>>),
    Finished,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::PlainResponse => "Exchange(PlainResponse)",
            State::LoginName => "Exchange(LoginName)",
            State::LoginPassword { .. } => "Exchange(LoginPassword)",
            State::ScramFirst { .. } => "Exchange(ScramFirst)",
            State::ScramKeys(_) => "Exchange(ScramKeys)",
            State::ScramFinal(_) => "Exchange(ScramFinal)",
            State::Concluding(_) => "Exchange(Concluding)",
            State::ScramRelayed { .. } => "Exchange(ScramRelayed)",
            State::TokenResponse(..) => "Exchange(TokenResponse)",
            State::TokenGiven(_) => "Exchange(TokenGiven)",
            State::External(_) => "Exchange(External)",
            State::Finished => "Exchange(Finished)",
        })
    }
}

impl Exchange {
    /// Begins; `initial` is the decoded initial response if there was one (`=` gives an empty one).
    pub fn start(
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        around: Surroundings<'_>,
    ) -> (Self, Step) {
        let scram = |bound| State::ScramFirst {
            bound,
            bindings: around.bindings.cloned(),
        };
        let token = |style| State::TokenResponse(style, oauth::Place::of(around));
        let (state, challenge) = match mechanism {
            Mechanism::Plain => (State::PlainResponse, &b""[..]),
            // Programs compare the prompts with exactly these texts.
            Mechanism::Login => (State::LoginName, &b"Username:"[..]),
            Mechanism::ScramSha256 => (scram(false), &b""[..]),
            Mechanism::ScramSha256Plus => (scram(true), &b""[..]),
            Mechanism::OAuthBearer => (token(Style::Bearer), &b""[..]),
            Mechanism::XOAuth2 => (token(Style::XOAuth2), &b""[..]),
            Mechanism::External => (State::External(around.certificate.cloned()), &b""[..]),
        };
        let mut exchange = Exchange(state);
        let step = match initial {
            Some(response) => exchange.respond(response),
            None => Step::Challenge(challenge.to_vec()),
        };
        (exchange, step)
    }

    /// Takes the client's next decoded response; after `Done` or `Failed` every other one fails.
    pub fn respond(&mut self, response: &[u8]) -> Step {
        let state = mem::replace(&mut self.0, State::Finished);
        if response.len() > RESPONSE_MAX {
            return Step::Failed;
        }
        match state {
            State::PlainResponse => done(plain(response)),
            State::LoginName => match prepared_name(response) {
                Some(name) => {
                    self.0 = State::LoginPassword { name };
                    Step::Challenge(b"Password:".to_vec())
                }
                None => Step::Failed,
            },
            State::LoginPassword { name } => {
                done(prepared_password(response).map(|password| Credentials {
                    authzid: None,
                    authcid: name,
                    password,
                }))
            }
            State::ScramFirst { bound, bindings } => {
                let demand = match (bound, &bindings) {
                    (true, Some(bindings)) => Demand::Bound(bindings),
                    (true, None) => return Step::Failed,
                    (false, Some(_)) => Demand::UnboundByChoice,
                    (false, None) => Demand::Unbound,
                };
                match scram::first(response, demand) {
                    Some(first) => {
                        let authcid = first.authcid.clone();
                        let relays = !bound && first.authzid.is_none();
                        self.0 = State::ScramKeys(Box::new(first));
                        Step::Need(Lookup {
                            authcid,
                            first: relays.then(|| response.into()),
                        })
                    }
                    None => Step::Failed,
                }
            }
            State::ScramFinal(server) => match server.check(response) {
                Some(answer) => {
                    self.0 = State::Concluding(answer.message);
                    Step::Done(Claim::Proof(Proof {
                        authzid: server.authzid,
                        authcid: server.authcid,
                        label: answer.label,
                        keys: answer.keys,
                    }))
                }
                None => Step::Done(Claim::Unproved {
                    authcid: server.authcid,
                }),
            },
            State::ScramRelayed { authcid, relay } => Step::Done(Claim::Relayed {
                authcid,
                relay,
                response: response.into(),
            }),
            State::TokenResponse(style, place) => match oauth::token(style, response, &place) {
                Some(token) => {
                    self.0 = State::TokenGiven(style);
                    Step::Done(Claim::Token(token))
                }
                None => Step::Failed,
            },
            State::External(certificate) => match (certificate, external(response)) {
                (Some(certificate), Some(authzid)) => Step::Done(Claim::External {
                    authzid,
                    certificate,
                }),
                _ => Step::Failed,
            },
            State::ScramKeys(_) | State::Concluding(_) | State::TokenGiven(_) | State::Finished => {
                Step::Failed
            }
        }
    }

    /// Takes what [`Step::Need`] asked for, with fresh random octets.
    pub fn keys(&mut self, ring: Ring, random: &[u8; SERVER_NONCE_OCTETS]) -> Step {
        match mem::replace(&mut self.0, State::Finished) {
            State::ScramKeys(first) => {
                let (server, challenge) = first.challenge(ring, random);
                self.0 = State::ScramFinal(Box::new(server));
                Step::Challenge(challenge)
            }
            _ => Step::Failed,
        }
    }

    /// Goes on with a challenge of somebody else, in place of keys.
    pub fn relayed(&mut self, relay: Relay, challenge: Vec<u8>) -> Step {
        match mem::replace(&mut self.0, State::Finished) {
            State::ScramKeys(first) => {
                self.0 = State::ScramRelayed {
                    authcid: first.authcid,
                    relay,
                };
                Step::Challenge(challenge)
            }
            _ => Step::Failed,
        }
    }

    /// What the client must hear, in a challenge that it answers with an empty response, before it is
    /// told that it has signed in: 235 carries no data (RFC 4954 §4).
    pub fn conclusion(&mut self) -> Option<Vec<u8>> {
        match mem::replace(&mut self.0, State::Finished) {
            State::Concluding(message) => Some(message),
            _ => None,
        }
    }
}

impl Exchange {
    /// What a client whose token was refused must hear, in a challenge, before it is told that it has
    /// failed: its answer to that says nothing (RFC 7628 §3.2.3).
    pub fn objection(&mut self, advice: &TokenAdvice) -> Option<Vec<u8>> {
        match mem::replace(&mut self.0, State::Finished) {
            State::TokenGiven(style) => Some(oauth::objection(style, advice)),
            _ => None,
        }
    }
}

/// The authorization identity, or nothing (RFC 4422 appendix A.1).
fn external(response: &[u8]) -> Option<Option<String>> {
    match response {
        b"" => Some(None),
        name => prepared_name(name).map(Some),
    }
}

fn done(credentials: Option<Credentials>) -> Step {
    credentials.map_or(Step::Failed, |it| Step::Done(Claim::Password(it)))
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.split(|&octet| octet == 0);
    let (authzid, authcid, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some(Credentials {
        authzid: match authzid {
            b"" => None,
            name => Some(prepared_name(name)?),
        },
        authcid: prepared_name(authcid)?,
        password: prepared_password(password)?,
    })
}

pub(super) fn prepared_name(octets: &[u8]) -> Option<String> {
    if octets.len() > NAME_MAX {
        return None;
    }
    prepare(str::from_utf8(octets).ok()?).filter(|name| name.len() <= NAME_MAX)
}

fn prepared_password(octets: &[u8]) -> Option<SecretString> {
    if octets.len() > PASSWORD_MAX {
        return None;
    }
    let prepared = Zeroizing::new(prepare(str::from_utf8(octets).ok()?)?);
    // Copied, because shrinking a string to fit may leave its old place unwiped.
    (prepared.len() <= PASSWORD_MAX).then(|| SecretString::from(prepared.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    /// A step in short: `?challenge`, `authzid/authcid/password` or `failed`.
    fn shown(step: Step) -> String {
        match step {
            Step::Challenge(text) => format!("?{}", String::from_utf8(text).unwrap()),
            Step::Need(lookup) => format!("need {}", lookup.authcid),
            Step::Done(Claim::Password(c)) => format!(
                "{}/{}/{}",
                c.authzid.unwrap_or_default(),
                c.authcid,
                c.password.expose_secret()
            ),
            Step::Done(Claim::Proof(proof)) => format!("proof {} {}", proof.authcid, proof.label),
            Step::Done(Claim::Relayed { authcid, .. }) => format!("relayed {authcid}"),
            Step::Done(Claim::Token(token)) => format!(
                "token {} {}",
                token.authzid.unwrap_or_default(),
                token.token.expose_secret()
            ),
            Step::Done(Claim::External { authzid, .. }) => {
                format!("external {}", authzid.unwrap_or_default())
            }
            Step::Done(Claim::Unproved { authcid }) => format!("unproved {authcid}"),
            Step::Failed => "failed".into(),
        }
    }

    fn plain(response: &[u8]) -> String {
        shown(Exchange::start(Mechanism::Plain, Some(response), Surroundings::default()).1)
    }

    /// R4616-2b, R4616-2c, R4954-4l.
    #[test]
    fn plain_responses() {
        for (response, step) in [
            (&b"\0alice\0secret"[..], "/alice/secret"),
            (b"bob\0alice\0secret", "bob/alice/secret"),
            (b"\0alice\0 spaces in it ", "/alice/ spaces in it "),
            (b"\0I\xc2\xadX\0p\xc2\xa0w", "/IX/p w"),
            (b"", "failed"),
            (b"alice", "failed"),
            (b"alice\0secret", "failed"),
            (b"\0alice\0secret\0", "failed"),
            (b"\0alice\0sec\0ret", "failed"),
            (b"\0\0secret", "failed"),
            (b"\0alice\0", "failed"),
            (b"\0\xc2\xad\0secret", "failed"),
            (b"\0alice\0\xc2\xad", "failed"),
            (b"\0alice\0sec\x07ret", "failed"),
            (b"\xc2\xad\0alice\0secret", "failed"),
            (b"\0alice\0\xff\xfe", "failed"),
            (b"\0al\xffice\0secret", "failed"),
        ] {
            assert_eq!(plain(response), step, "{:?}", response.escape_ascii());
        }
    }

    /// R4616-2a, S27.
    #[test]
    fn plain_takes_each_part_up_to_its_limit() {
        for (authzid, authcid, password, taken) in [
            (255, 255, 255, true),
            (0, 1, 1024, true),
            (256, 1, 1, false),
            (0, 256, 1, false),
            (0, 1, 1025, false),
        ] {
            let response = [
                "z".repeat(authzid),
                "c".repeat(authcid),
                "p".repeat(password),
            ]
            .join("\0");
            assert_eq!(
                plain(response.as_bytes()) != "failed",
                taken,
                "{authzid} {authcid} {password}"
            );
        }
        // One sign of three octets that becomes eighteen when prepared.
        assert_eq!(
            plain(format!("\0{}\0p", "\u{fdfa}".repeat(40)).as_bytes()),
            "failed"
        );
    }

    /// R4954-4f.
    #[test]
    fn plain_without_initial_response_gets_an_empty_challenge() {
        let (mut exchange, step) = Exchange::start(Mechanism::Plain, None, Surroundings::default());
        assert_eq!(shown(step), "?");
        assert_eq!(shown(exchange.respond(b"\0alice\0pw")), "/alice/pw");
        assert_eq!(shown(exchange.respond(b"\0alice\0pw")), "failed");
    }

    #[test]
    fn login_asks_with_the_prompts_that_programs_compare() {
        let (mut exchange, step) = Exchange::start(Mechanism::Login, None, Surroundings::default());
        assert_eq!(shown(step), "?Username:");
        assert_eq!(shown(exchange.respond(b"alice")), "?Password:");
        assert_eq!(shown(exchange.respond(b"pw")), "/alice/pw");
        assert_eq!(shown(exchange.respond(b"pw")), "failed");
    }

    #[test]
    fn login_takes_the_name_as_initial_response() {
        let (mut exchange, step) =
            Exchange::start(Mechanism::Login, Some(b"alice"), Surroundings::default());
        assert_eq!(shown(step), "?Password:");
        assert_eq!(shown(exchange.respond(b"pw")), "/alice/pw");
    }

    #[test]
    fn login_fails_where_name_or_password_cannot_be_prepared() {
        for (name, password) in [
            (&b""[..], &b"pw"[..]),
            (b"\xff", b"pw"),
            (b"al\0ice", b"pw"),
            (b"alice", b""),
            (b"alice", b"\xff"),
            (b"alice", b"p\0w"),
            (b"alice", &[b'p'; 1025]),
            (&[b'n'; 256], b"pw"),
        ] {
            let (mut exchange, _) =
                Exchange::start(Mechanism::Login, Some(name), Surroundings::default());
            assert_eq!(shown(exchange.respond(password)), "failed");
        }
    }

    fn ring(password: &str) -> Ring {
        let keys = scram::Derivation::new(password.into(), vec![1; 16], 4_096)
            .run()
            .keys();
        Ring {
            salt: Box::new([1; 16]),
            iterations: 4_096,
            keys: vec![scram::LabelledKeys { label: 7, keys }],
        }
    }

    /// R5802-5.1f, R4954-4n.
    #[test]
    fn scram_proves_both_sides_or_fails() {
        for (password, step) in [("pencil", "proof user 7"), ("pen", "unproved user")] {
            let (mut exchange, begun) =
                Exchange::start(Mechanism::ScramSha256, None, Surroundings::default());
            assert_eq!(shown(begun), "?");
            let (mut client, said) = scram::ScramClient::start("user", &[3; 24]).unwrap();
            assert_eq!(shown(exchange.respond(&said)), "need user");
            let Step::Challenge(said) = exchange.keys(ring("pencil"), &[9; SERVER_NONCE_OCTETS])
            else {
                panic!("no challenge");
            };
            let derivation = client.challenged(&said, &password.into()).unwrap();
            let said = client.derived(&derivation.run());
            assert_eq!(shown(exchange.respond(&said)), step);
            let conclusion = exchange.conclusion();
            assert_eq!(conclusion.is_some(), step.starts_with("proof"));
            if let Some(message) = conclusion {
                assert_eq!(client.verified(&message), Ok(()));
            }
            assert_eq!(shown(exchange.respond(&said)), "failed");
            assert!(exchange.conclusion().is_none());
        }
    }

    #[test]
    fn scram_keys_that_nobody_asked_for_end_the_exchange() {
        let (mut exchange, _) = Exchange::start(Mechanism::Plain, None, Surroundings::default());
        let step = exchange.keys(ring("pencil"), &[9; SERVER_NONCE_OCTETS]);
        assert_eq!(shown(step), "failed");
    }

    /// R5802-6b: with -PLUS on offer, whoever says that it was not is refused.
    #[test]
    fn scram_sees_a_downgrade() {
        let bindings = Arc::new(Bindings {
            exporter: Some([4; 32]),
            server_end_point: None,
        });
        for (mechanism, bindings, flag, step) in [
            (Mechanism::ScramSha256, None, "y", "need user"),
            (Mechanism::ScramSha256, Some(&bindings), "y", "failed"),
            (Mechanism::ScramSha256, Some(&bindings), "n", "need user"),
            (
                Mechanism::ScramSha256Plus,
                Some(&bindings),
                "p=tls-exporter",
                "need user",
            ),
            (Mechanism::ScramSha256Plus, Some(&bindings), "n", "failed"),
            (Mechanism::ScramSha256Plus, None, "p=tls-exporter", "failed"),
        ] {
            let response = format!("{flag},,n=user,r=abc");
            let (_, took) = Exchange::start(
                mechanism,
                Some(response.as_bytes()),
                Surroundings {
                    bindings,
                    ..Surroundings::default()
                },
            );
            assert_eq!(shown(took), step, "{mechanism:?} {flag}");
        }
    }

    /// S15.
    #[test]
    fn a_response_over_the_cap_fails() {
        assert_eq!(plain(&[b'a'; RESPONSE_MAX + 1]), "failed");
    }

    proptest! {
        #[test]
        fn no_response_panics(
            mechanism in proptest::sample::select(&Mechanism::ALL[..]),
            responses in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..40), 0..5),
        ) {
            let mut responses = responses.iter();
            let initial = responses.next().map(|r| &r[..]);
            let (mut exchange, _) = Exchange::start(mechanism, initial, Surroundings::default());
            for response in responses {
                let _ = exchange.respond(response);
            }
        }
    }

    /// An exchange that somebody else goes on with.
    #[test]
    fn relayed_exchanges() {
        let begin = |mechanism, first: &[u8]| {
            let (exchange, step) = Exchange::start(mechanism, Some(first), Surroundings::default());
            match step {
                Step::Need(lookup) => (exchange, lookup.first),
                other => panic!("{other:?}"),
            }
        };
        let first = b"n,,n=alice,r=abcdefgh";
        let (mut exchange, relays) = begin(Mechanism::ScramSha256, first);
        assert_eq!(relays.as_deref(), Some(&first[..]));
        let step = exchange.relayed(Relay(7), b"server-first".to_vec());
        assert_eq!(shown(step), "?server-first");
        match exchange.respond(b"client-final") {
            Step::Done(Claim::Relayed {
                authcid,
                relay: Relay(7),
                response,
            }) => assert_eq!((&*authcid, &*response), ("alice", &b"client-final"[..])),
            other => panic!("{other:?}"),
        }
        assert_eq!(exchange.conclusion(), None);
        assert_eq!(shown(exchange.respond(b"more")), "failed");
        // Who wants to be somebody else is looked at here.
        let (_, relays) = begin(Mechanism::ScramSha256, b"n,a=bob,n=alice,r=abcdefgh");
        assert_eq!(relays, None);
        let (mut plain, _) = Exchange::start(Mechanism::Plain, None, Surroundings::default());
        assert_eq!(shown(plain.relayed(Relay(7), Vec::new())), "failed");
    }
}
