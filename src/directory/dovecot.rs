//! Dovecot's authentication protocol for clients, version 1: lines of fields between tabs.
//!
//! ```text
//! we: VERSION, CPID      it: VERSION, MECH …, SPID, CUID, COOKIE, DONE
//! we: AUTH 1 PLAIN …     it: OK 1 user=… | FAIL 1 … | CONT (which PLAIN has none of)
//! ```

use std::path::Path;

use data_encoding::BASE64;
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};
use zeroize::Zeroizing;

use super::{Found, Question, Trouble};
use crate::smtp::Mailbox;

/// Octets of all that it says at most.
const ANSWER_MAX: u64 = 64 << 10;

pub(super) async fn check(socket: &Path, question: &Question) -> Result<Option<Found>, Trouble> {
    let trouble = |error| Trouble::of(&socket.display().to_string(), error);
    let stream = UnixStream::connect(socket).await.map_err(trouble)?;
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader.take(ANSWER_MAX)).lines();
    let hello = format!("VERSION\t1\t2\nCPID\t{}\n", std::process::id());
    writer.write_all(hello.as_bytes()).await.map_err(trouble)?;
    let mut knows_plain = false;
    loop {
        let Some(line) = lines.next_line().await.map_err(trouble)? else {
            return Err(Trouble("Dovecot closed the connection".to_owned()));
        };
        let mut fields = line.split('\t');
        match (fields.next(), fields.next()) {
            (Some("VERSION"), Some("1")) => {}
            (Some("VERSION"), _) => {
                return Err(Trouble(format!(
                    "unknown version of the protocol: {line:?}"
                )));
            }
            (Some("MECH"), Some("PLAIN")) => knows_plain = true,
            (Some("DONE"), _) => break,
            _ => {}
        }
    }
    if !knows_plain {
        return Err(Trouble("Dovecot does not offer PLAIN".to_owned()));
    }
    let ask = request(question);
    writer.write_all(ask.as_bytes()).await.map_err(trouble)?;
    loop {
        let Some(line) = lines.next_line().await.map_err(trouble)? else {
            return Err(Trouble("Dovecot closed the connection".to_owned()));
        };
        if let Some(answer) = read(&line) {
            return answer;
        }
    }
}

/// The password is the last field, as the protocol has it.
fn request(question: &Question) -> Zeroizing<String> {
    let password = question.password.expose_secret();
    let response = Zeroizing::new(format!("\0{}\0{password}", question.name));
    let encoded = Zeroizing::new(BASE64.encode(response.as_bytes()));
    let peer = question.peer;
    Zeroizing::new(format!(
        "AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\trip={peer}\tresp={}\n",
        encoded.as_str()
    ))
}

/// What an answer to our one request says; nothing where it is about something else.
fn read(line: &str) -> Option<Result<Option<Found>, Trouble>> {
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
    match word {
        // Right, and yet it is not to sign in.
        "OK" if has("nologin") => Some(Ok(None)),
        "OK" => {
            let mut names = parameters.iter().filter_map(|it| it.strip_prefix("user="));
            let address = names.next().and_then(|name| Mailbox::parse(name).ok());
            Some(Ok(Some(Found { address })))
        }
        "FAIL" if has("temp") => Some(Err(Trouble("Dovecot cannot tell now".to_owned()))),
        "FAIL" => Some(Ok(None)),
        "CONT" => Some(Err(Trouble("Dovecot asks for more".to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_whatever_the_password() {
        let question = Question {
            name: "alice@example.org".to_owned(),
            password: "a\tb\nc".into(),
            peer: "192.0.2.1".parse().unwrap(),
        };
        let request = request(&question);
        assert_eq!(
            request.as_str(),
            "AUTH\t1\tPLAIN\tservice=smtp\tsecured\tnologin\trip=192.0.2.1\t\
             resp=AGFsaWNlQGV4YW1wbGUub3JnAGEJYgpj\n"
        );
    }

    #[test]
    fn answers() {
        let found = |address: Option<&str>| {
            let address = address.map(|it| Mailbox::parse(it).unwrap());
            Some(Ok(Some(Found { address })))
        };
        for (line, answer) in [
            ("OK\t1\tuser=a@b.example", found(Some("a@b.example"))),
            ("OK\t1\tuser=alice\toriginal_user=x", found(None)),
            ("OK\t1\tuser=a@b.example\tnologin=closed", Some(Ok(None))),
            ("OK\t2\tuser=a@b.example", None),
            ("FAIL\t1\tuser=a@b.example", Some(Ok(None))),
            ("FAIL\t1\tuser=a@b.example\tuser_disabled", Some(Ok(None))),
            ("SPID\t1", None),
            ("", None),
        ] {
            assert_eq!(read(line), answer, "{line}");
        }
        for line in ["FAIL\t1\tuser=a@b.example\ttemp", "CONT\t1\tAA=="] {
            assert!(read(line).unwrap().is_err(), "{line}");
        }
    }
}
