//! One sign-in, response by response.
//!
//! ```text
//! PLAIN   (no initial response) -> Challenge("")          -> response -> Done | Failed
//!         initial response                                            -> Done | Failed
//! LOGIN   (no initial response) -> Challenge("Username:") -> name
//!         name                  -> Challenge("Password:") -> password -> Done | Failed
//! ```

use std::{fmt, mem, str};

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Credentials, Mechanism, NAME_MAX, PASSWORD_MAX, RESPONSE_MAX, prepare};

/// What an exchange wants next; all octets are decoded ones.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Send this challenge, which may be empty, in a 334.
    Challenge(Vec<u8>),
    /// These are to be verified.
    Done(Credentials),
    /// The response was malformed or could not be prepared: a failed sign-in, not a syntax error.
    Failed,
}

/// One exchange; each AUTH command gets a fresh one (S17).
pub struct Exchange(State);

enum State {
    PlainResponse,
    LoginName,
    LoginPassword { name: String },
    Finished,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::PlainResponse => "Exchange(PlainResponse)",
            State::LoginName => "Exchange(LoginName)",
            State::LoginPassword { .. } => "Exchange(LoginPassword)",
            State::Finished => "Exchange(Finished)",
        })
    }
}

impl Exchange {
    /// Begins; `initial` is the decoded initial response if there was one (`=` gives an empty one).
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> (Self, Step) {
        let (state, challenge) = match mechanism {
            Mechanism::Plain => (State::PlainResponse, &b""[..]),
            // Programs compare the prompts with exactly these texts.
            Mechanism::Login => (State::LoginName, &b"Username:"[..]),
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
            State::Finished => Step::Failed,
        }
    }
}

fn done(credentials: Option<Credentials>) -> Step {
    credentials.map_or(Step::Failed, Step::Done)
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

fn prepared_name(octets: &[u8]) -> Option<String> {
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
            Step::Done(c) => format!(
                "{}/{}/{}",
                c.authzid.unwrap_or_default(),
                c.authcid,
                c.password.expose_secret()
            ),
            Step::Failed => "failed".into(),
        }
    }

    fn plain(response: &[u8]) -> String {
        shown(Exchange::start(Mechanism::Plain, Some(response)).1)
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
        let (mut exchange, step) = Exchange::start(Mechanism::Plain, None);
        assert_eq!(shown(step), "?");
        assert_eq!(shown(exchange.respond(b"\0alice\0pw")), "/alice/pw");
        assert_eq!(shown(exchange.respond(b"\0alice\0pw")), "failed");
    }

    #[test]
    fn login_asks_with_the_prompts_that_programs_compare() {
        let (mut exchange, step) = Exchange::start(Mechanism::Login, None);
        assert_eq!(shown(step), "?Username:");
        assert_eq!(shown(exchange.respond(b"alice")), "?Password:");
        assert_eq!(shown(exchange.respond(b"pw")), "/alice/pw");
        assert_eq!(shown(exchange.respond(b"pw")), "failed");
    }

    #[test]
    fn login_takes_the_name_as_initial_response() {
        let (mut exchange, step) = Exchange::start(Mechanism::Login, Some(b"alice"));
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
            let (mut exchange, _) = Exchange::start(Mechanism::Login, Some(name));
            assert_eq!(shown(exchange.respond(password)), "failed");
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
            login in any::<bool>(),
            responses in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..40), 0..5),
        ) {
            let mechanism = Mechanism::ALL[usize::from(login)];
            let mut responses = responses.iter();
            let (mut exchange, _) = Exchange::start(mechanism, responses.next().map(|r| &r[..]));
            for response in responses {
                let _ = exchange.respond(response);
            }
        }
    }
}
