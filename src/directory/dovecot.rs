//! Dovecot's authentication protocol for clients, version 1: lines of fields between tabs.
//!
//! ```text
//! we: VERSION, CPID       it: VERSION, MECH …, SPID, CUID, COOKIE, DONE
//! we: AUTH 1 PLAIN …      it: OK 1 user=… | FAIL 1 …
//! we: AUTH 1 SCRAM-… …    it: CONT 1 server-first | FAIL 1 …
//! we: CONT 1 client-final it: CONT 1 server-final | FAIL 1 …
//! we: CONT 1              it: OK 1 user=… | FAIL 1 …
//! ```

use std::{net::IpAddr, path::Path};

use data_encoding::BASE64;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use zeroize::Zeroizing;

use super::{Found, Question, Trouble};
use crate::smtp::Mailbox;

/// Octets of all that it says on a connection at most.
const ANSWERS_MAX: u64 = 64 << 10;

/// What an answer to our one request says.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    /// Yes, and what the client is to hear besides.
    Right(Found, Option<Vec<u8>>),
    Wrong,
    /// The exchange goes on with this.
    More(Vec<u8>),
}

pub(super) async fn check(socket: &Path, question: &Question) -> Result<Option<Found>, Trouble> {
    let mut conversation = Conversation::open(socket, "PLAIN").await?;
    let password = question.password.expose_secret();
    let response = Zeroizing::new(format!("\0{}\0{password}", question.name));
    let request = request("PLAIN", question.peer, response.as_bytes());
    match conversation.ask(&request).await? {
        Answer::Right(found, _) => Ok(Some(found)),
        Answer::Wrong => Ok(None),
        Answer::More(_) => Err(Trouble("Dovecot asks for more".to_owned())),
    }
}

/// An exchange of SCRAM-SHA-256 under way: the client has the word.
pub struct Conversation {
    lines: Lines<BufReader<Take<OwnedReadHalf>>>,
    writer: OwnedWriteHalf,
}

/// Begins SCRAM-SHA-256 with the client's first message; `None` where that leads nowhere, else with
/// the answer to it.
pub(super) async fn begin(
    socket: &Path,
    peer: IpAddr,
    first: &[u8],
) -> Result<Option<(Conversation, Vec<u8>)>, Trouble> {
    let mut conversation = Conversation::open(socket, "SCRAM-SHA-256").await?;
    let request = request("SCRAM-SHA-256", peer, first);
    match conversation.ask(&request).await? {
        Answer::More(challenge) => Ok(Some((conversation, challenge))),
        Answer::Wrong => Ok(None),
        Answer::Right(..) => Err(Trouble("Dovecot asks for no proof".to_owned())),
    }
}

impl Conversation {
    async fn open(socket: &Path, mechanism: &str) -> Result<Self, Trouble> {
        let trouble = |error| Trouble::of(&socket.display().to_string(), error);
        let stream = UnixStream::connect(socket).await.map_err(trouble)?;
        let (reader, writer) = stream.into_split();
        let mut conversation = Conversation {
            lines: BufReader::new(reader.take(ANSWERS_MAX)).lines(),
            writer,
        };
        let hello = format!("VERSION\t1\t2\nCPID\t{}\n", std::process::id());
        conversation.write(&hello).await?;
        let mut is_known = false;
        loop {
            let line = conversation.line().await?;
            let mut fields = line.split('\t');
            match (fields.next(), fields.next()) {
                (Some("VERSION"), Some("1")) => {}
                (Some("VERSION"), _) => {
                    return Err(Trouble(format!(
                        "unknown version of the protocol: {line:?}"
                    )));
                }
                (Some("MECH"), Some(name)) => is_known |= name == mechanism,
                (Some("DONE"), _) => break,
                _ => {}
            }
        }
        match is_known {
            true => Ok(conversation),
            false => Err(Trouble(format!("Dovecot does not offer {mechanism}"))),
        }
    }

    /// Ends an exchange with the client's last message: who it was, and what the client is to hear.
    pub(super) async fn finish(
        mut self,
        response: &[u8],
    ) -> Result<Option<(Found, Vec<u8>)>, Trouble> {
        let more = format!("CONT\t1\t{}\n", BASE64.encode(response));
        let proof = match self.ask(&more).await? {
            Answer::Wrong => return Ok(None),
            Answer::Right(found, Some(proof)) => return Ok(Some((found, proof))),
            Answer::Right(_, None) => return Err(Trouble("Dovecot gives no proof".to_owned())),
            Answer::More(proof) => proof,
        };
        match self.ask("CONT\t1\t\n").await? {
            Answer::Right(found, _) => Ok(Some((found, proof))),
            Answer::Wrong => Ok(None),
            Answer::More(_) => Err(Trouble("Dovecot asks for more".to_owned())),
        }
    }

    async fn ask(&mut self, request: &str) -> Result<Answer, Trouble> {
        self.write(request).await?;
        loop {
            let line = self.line().await?;
            if let Some(answer) = read(&line) {
                return answer;
            }
        }
    }

    async fn write(&mut self, text: &str) -> Result<(), Trouble> {
        let written = self.writer.write_all(text.as_bytes()).await;
        written.map_err(|error| Trouble::of("Dovecot", error))
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        let line = self.lines.next_line().await;
        let line = line.map_err(|error| Trouble::of("Dovecot", error))?;
        line.ok_or_else(|| Trouble("Dovecot closed the connection".to_owned()))
    }
}

/// The response is the last field, as the protocol has it.
fn request(mechanism: &str, peer: IpAddr, response: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(BASE64.encode(response));
    Zeroizing::new(format!(
        "AUTH\t1\t{mechanism}\tservice=smtp\tsecured\tnologin\trip={peer}\tresp={}\n",
        encoded.as_str()
    ))
}

/// What a line says of our one request; nothing where it is about something else.
fn read(line: &str) -> Option<Result<Answer, Trouble>> {
    let mut fields = line.split('\t');
    let (word, id) = (fields.next()?, fields.next()?);
    if id != "1" {
        return None;
    }
    let parameters: Vec<&str> = fields.collect();
    let has = |name: &str| {
        let mut all = parameters.iter();
        all.any(|it| it.split('=').next() == Some(name))
    };
    let value = |name: &str| {
        let mut all = parameters.iter();
        all.find_map(|it| it.strip_prefix(name))
    };
    let decoded = |text: &str| BASE64.decode(text.as_bytes());
    Some(match word {
        // Right, and yet it is not to sign in.
        "OK" if has("nologin") => Ok(Answer::Wrong),
        "OK" => {
            let address = value("user=").and_then(|name| Mailbox::parse(name).ok());
            let proof = value("resp=").and_then(|text| decoded(text).ok());
            Ok(Answer::Right(Found { address }, proof))
        }
        "FAIL" if has("temp") => Err(Trouble("Dovecot cannot tell now".to_owned())),
        "FAIL" => Ok(Answer::Wrong),
        "CONT" => match decoded(parameters.first().unwrap_or(&"")) {
            Ok(challenge) => Ok(Answer::More(challenge)),
            Err(error) => Err(Trouble::of("Dovecot's challenge", error)),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_whatever_the_password() {
        let peer = "192.0.2.1".parse().unwrap();
        let request = request("PLAIN", peer, b"\0alice@example.org\0a\tb\nc");
        assert_eq!(
            request.as_str(),
            "AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\trip=192.0.2.1\t\
             resp=AGFsaWNlQGV4YW1wbGUub3JnAGEJYgpj\n"
        );
    }

    #[test]
    fn answers() {
        let right = |address: Option<&str>, proof: Option<&[u8]>| {
            let address = address.map(|it| Mailbox::parse(it).unwrap());
            Some(Ok(Answer::Right(
                Found { address },
                proof.map(<[u8]>::to_vec),
            )))
        };
        for (line, answer) in [
            ("OK\t1\tuser=a@b.example", right(Some("a@b.example"), None)),
            ("OK\t1\tuser=alice\toriginal_user=x", right(None, None)),
            (
                "OK\t1\tuser=a@b.example\tresp=dj14",
                right(Some("a@b.example"), Some(b"v=x")),
            ),
            (
                "OK\t1\tuser=a@b.example\tnologin=closed",
                Some(Ok(Answer::Wrong)),
            ),
            ("OK\t2\tuser=a@b.example", None),
            ("FAIL\t1\tuser=a@b.example", Some(Ok(Answer::Wrong))),
            (
                "FAIL\t1\tuser=a@b.example\tuser_disabled",
                Some(Ok(Answer::Wrong)),
            ),
            ("CONT\t1\tcj14", Some(Ok(Answer::More(b"r=x".to_vec())))),
            ("CONT\t1", Some(Ok(Answer::More(Vec::new())))),
            ("SPID\t1", None),
            ("", None),
        ] {
            assert_eq!(read(line), answer, "{line}");
        }
        for line in ["FAIL\t1\tuser=a@b.example\ttemp", "CONT\t1\t*"] {
            assert!(read(line).unwrap().is_err(), "{line}");
        }
    }
}
