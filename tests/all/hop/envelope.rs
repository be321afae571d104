//! MAIL and RCPT at a scripted next hop, and which parameters they may have (RFC 5321 §4.1.1).

use super::{
    act::Phase,
    record::{End, Path, Progress, Transaction},
    reply::Answer,
    script::Hello,
    session::Session,
};

impl Session {
    pub fn mail(&mut self, rest: &str) -> Result<(), End> {
        let path = read("FROM:", rest);
        let usual = match &path {
            _ if !self.greeted && self.behaviour.hello == Hello::Extended => "503 5.5.1 EHLO first",
            _ if self.in_transaction => "503 5.5.1 One at a time",
            _ if self.behaviour.needs_sign_in && !self.signed_in => "530 5.7.0 Sign in first",
            None => "501 5.5.4 No path",
            Some(path) => self
                .unknown_parameter(path)
                .unwrap_or("250 2.1.0 Sender taken"),
        };
        let answer = self.answer(Phase::Mail, usual)?;
        if let (Answer::Taken, Some(sender)) = (answer, path) {
            self.in_transaction = true;
            let channel = self.link.channel();
            self.note(|connection| {
                connection.transactions.push(Transaction {
                    sender,
                    recipients: Vec::new(),
                    refused: Vec::new(),
                    content: Vec::new(),
                    progress: Progress::Envelope,
                    replies: Vec::new(),
                    channel,
                });
            });
        }
        Ok(())
    }

    pub fn rcpt(&mut self, rest: &str) -> Result<(), End> {
        let path = read("TO:", rest);
        let usual = match &path {
            _ if !self.in_transaction => "503 5.5.1 MAIL first",
            _ if self.recipients.len() >= self.behaviour.recipients_max => {
                "452 4.5.3 Too many recipients"
            }
            Some(path) if !path.address.is_empty() => {
                let refusal = self.unknown_parameter(path);
                refusal.unwrap_or("250 2.1.5 Recipient taken")
            }
            _ => "501 5.5.4 No path",
        };
        let path = path.unwrap_or_default();
        let answer = self.answer_for(Phase::Rcpt, &path.address, usual)?;
        if self.in_transaction {
            if answer == Answer::Taken {
                self.recipients.push(path.address.clone());
            }
            self.note(|connection| {
                let transaction = connection.transactions.last_mut().unwrap();
                match answer {
                    Answer::Taken => transaction.recipients.push(path),
                    Answer::Refused => transaction.refused.push(path),
                }
            });
        }
        Ok(())
    }

    /// The refusal where a parameter belongs to no extension that is offered.
    fn unknown_parameter(&self, path: &Path) -> Option<&'static str> {
        for parameter in &path.parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let keyword = match name.to_ascii_uppercase().as_str() {
                "BODY" if value.eq_ignore_ascii_case("BINARYMIME") => "BINARYMIME",
                "BODY" => "8BITMIME",
                "RET" | "ENVID" | "NOTIFY" | "ORCPT" => "DSN",
                "AUTH" => "AUTH",
                "SIZE" => {
                    if value
                        .parse()
                        .is_ok_and(|size: usize| size > self.behaviour.size_max())
                    {
                        return Some("552 5.3.4 Too big");
                    }
                    "SIZE"
                }
                "SMTPUTF8" => "SMTPUTF8",
                "REQUIRETLS" => "REQUIRETLS",
                "BY" => "DELIVERBY",
                "MT-PRIORITY" => "MT-PRIORITY",
                _ => "",
            };
            if keyword.is_empty() || self.behaviour.offered(keyword).is_none() {
                return Some("555 5.5.4 Unknown parameter");
            }
        }
        let ascii = path.address.is_ascii();
        let offered = self.behaviour.offered("SMTPUTF8").is_some();
        (!ascii && !offered).then_some("553 5.6.7 Not an address in ASCII")
    }
}

/// `FROM:<path> parameters`, the word in any case.
fn read(word: &str, rest: &str) -> Option<Path> {
    let head = rest.get(..word.len())?;
    let rest = rest[word.len()..].trim_start().strip_prefix('<')?;
    if !head.eq_ignore_ascii_case(word) {
        return None;
    }
    // A quoted local part may hold an angle bracket.
    let mut quoted = false;
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            '>' => return !quoted,
            _ => {}
        }
        false
    });
    let (address, parameters) = rest.split_at(end?.0);
    let parameters = parameters[1..].split(' ').filter(|word| !word.is_empty());
    Some(Path {
        address: address.to_owned(),
        parameters: parameters.map(str::to_owned).collect(),
    })
}

#[test]
fn a_path_ends_at_the_bracket_that_is_not_quoted() {
    let path = read("FROM:", r#"from:<"a>\">b"@example.org> SIZE=3  BODY=7BIT"#).unwrap();
    assert_eq!(path.address, r#""a>\">b"@example.org"#);
    assert_eq!(path.parameters, ["SIZE=3", "BODY=7BIT"]);
    assert_eq!(read("TO:", "TO:<>").unwrap(), Path::default());
    for wrong in ["", "TO", "TO:a@b", "FROM:<a@b>", "TO:<a@b"] {
        assert_eq!(read("TO:", wrong), None, "{wrong}");
    }
}
