//! AUTH at a scripted next hop (RFC 4954): PLAIN, LOGIN and SCRAM-SHA-256.

use data_encoding::BASE64;

use super::{
    act::Phase,
    record::{End, SignIn},
    reply::Answer,
    scram::{self, Exchange},
    session::Session,
};

/// Why an exchange ends early; the reply.
type Refusal = &'static str;

const MALFORMED: Refusal = "501 5.5.2 Malformed";

/// What an exchange came to.
struct Outcome {
    name: String,
    password: Option<String>,
    right: bool,
}

impl Session {
    pub fn auth(&mut self, rest: &str) -> Result<(), End> {
        let mut words = rest.split(' ');
        let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
        let initial = words.next().map(str::to_owned);
        let Some(offered) = self.behaviour.offered("AUTH") else {
            return self.say("502 5.5.1 Not offered");
        };
        if !offered.split(' ').any(|other| other == mechanism) {
            return self.say("504 5.5.4 Unknown mechanism");
        }
        if self.signed_in || self.in_transaction || !self.greeted {
            return self.say("503 5.5.1 Not here");
        }
        let outcome = match mechanism.as_str() {
            "PLAIN" => self.plain(initial)?,
            "LOGIN" => self.login(initial)?,
            "SCRAM-SHA-256" => self.scram(initial)?,
            _ => Err("504 5.7.4 Offered, but not spoken"),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(refusal) => return self.say(refusal),
        };
        let channel = self.link.channel();
        self.note(|connection| {
            connection.sign_ins.push(SignIn {
                mechanism,
                name: outcome.name,
                password: outcome.password,
                right: outcome.right,
                channel,
            });
        });
        let usual = match outcome.right {
            true => "235 2.7.0 Signed in",
            false => "535 5.7.8 Wrong name or password",
        };
        self.signed_in = self.answer(Phase::SignIn, usual)? == Answer::Taken;
        Ok(())
    }

    /// Challenges with `text`; the response, decoded.
    fn challenge(&mut self, text: &[u8]) -> Result<Result<String, Refusal>, End> {
        self.say(&format!("334 {}", BASE64.encode(text)))?;
        let line = self.line()?;
        if line == "*" {
            return Ok(Err("501 5.7.0 Broken off"));
        }
        Ok(decode(&line))
    }

    /// The initial response, or what answers an empty challenge.
    fn first(&mut self, initial: Option<String>) -> Result<Result<String, Refusal>, End> {
        match initial.as_deref() {
            Some("=") => Ok(Ok(String::new())),
            Some(initial) => Ok(decode(initial)),
            None => self.challenge(b""),
        }
    }

    fn outcome(&self, name: &str, password: &str) -> Outcome {
        let given = (name.to_owned(), password.to_owned());
        Outcome {
            right: self.behaviour.account == given,
            name: given.0,
            password: Some(given.1),
        }
    }

    fn plain(&mut self, initial: Option<String>) -> Result<Result<Outcome, Refusal>, End> {
        let response = match self.first(initial)? {
            Ok(response) => response,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let parts: Vec<_> = response.split('\0').collect();
        let [_, name, password] = parts[..] else {
            return Ok(Err(MALFORMED));
        };
        Ok(Ok(self.outcome(name, password)))
    }

    fn login(&mut self, initial: Option<String>) -> Result<Result<Outcome, Refusal>, End> {
        let name = match initial {
            Some(initial) => decode(&initial),
            None => self.challenge(b"Username:")?,
        };
        let name = match name {
            Ok(name) => name,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(match self.challenge(b"Password:")? {
            Ok(password) => Ok(self.outcome(&name, &password)),
            Err(refusal) => Err(refusal),
        })
    }

    fn scram(&mut self, initial: Option<String>) -> Result<Result<Outcome, Refusal>, End> {
        let client_first = match self.first(initial)? {
            Ok(message) => message,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(exchange) = Exchange::begin(&client_first, scram::NONCE, scram::SALT) else {
            return Ok(Err(MALFORMED));
        };
        let client_final = match self.challenge(exchange.server_first.as_bytes())? {
            Ok(message) => message,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (name, password) = self.behaviour.account.clone();
        let signature = exchange.finish(&client_final, &password);
        let right = exchange.name == name && signature.is_some();
        if let (true, Some(signature)) = (right, signature) {
            // RFC 4954 §4: the last word of the server is a challenge with an empty answer.
            if let Err(refusal) = self.challenge(signature.as_bytes())? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(Outcome {
            name: exchange.name,
            password: None,
            right,
        }))
    }
}

fn decode(line: &str) -> Result<String, Refusal> {
    let octets = BASE64.decode(line.as_bytes()).map_err(|_| MALFORMED)?;
    String::from_utf8(octets).map_err(|_| MALFORMED)
}
