//! The trace field that goes on top of an accepted message (RFC 5321 §4.4, RFC 8314 §4.3).

use std::net::IpAddr;

use crate::{
    envelope::{QueueId, TlsFacts},
    smtp::{Domain, Mailbox, Priority},
};

/// Octets of a line, where folding can keep to it (RFC 5322 §2.1.1).
const LINE_GOAL: usize = 78;

/// What the field tells. Every part is of a type that cannot hold CR, LF or NUL (S21).
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// Our own name, after `by`, and after `from` too unless `client` is told.
    pub hostname: &'a Domain,
    /// The client, where it is to be shown.
    pub client: Option<Client>,
    /// Facts of the channel; without them it was not encrypted.
    pub tls: Option<&'a TlsFacts>,
    /// The client asked for SMTPUTF8 (RFC 6531 §4.3).
    pub smtputf8: bool,
    /// The message's queue id.
    pub id: &'a QueueId,
    /// MT-PRIORITY, where it is in force (RFC 6710 §7).
    pub priority: Option<Priority>,
    /// The recipient, where there is exactly one: more would tell them of each other.
    pub only_recipient: Option<&'a Mailbox>,
    /// As `date` writes it.
    pub date: &'a str,
}

/// The client's own name and address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// What it gave in EHLO, where that is a domain or an address literal.
    pub name: Option<Domain>,
    /// The address it connected from.
    pub address: IpAddr,
}

impl Trace<'_> {
    /// Appends the field with its CRLF.
    ///
    /// It is always ASCII. RFC 6531 §3.7.3 would rather have names beyond it as they are where the
    /// client asked for SMTPUTF8; but many ask always, and mail must not fail at a next hop without
    /// SMTPUTF8 for nothing but what we wrote on it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Folded { column: 0, out };
        line.word("Received: from");
        match &self.client {
            None => line.word(&self.hostname.canonical()),
            Some(client) => {
                let literal = match client.address.to_canonical() {
                    IpAddr::V4(v4) => format!("[{v4}]"),
                    IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
                };
                match &client.name {
                    Some(name) => line.word(&name.canonical()),
                    None => line.word(&literal),
                }
                line.word(&format!("({literal})"));
            }
        }
        line.clause("by", &self.hostname.canonical());
        line.clause(
            "with",
            match (self.smtputf8, self.tls.is_some()) {
                (false, true) => "ESMTPSA",
                (false, false) => "ESMTPA",
                (true, true) => "UTF8SMTPSA",
                (true, false) => "UTF8SMTPA",
            },
        );
        line.clause("id", self.id.as_str());
        if let Some(recipient) = self.only_recipient
            && recipient.local_part().is_ascii()
        {
            let (local, domain) = (recipient.local_part(), recipient.domain().canonical());
            line.clause("for", &format!("<{local}@{domain}>"));
        }
        if let Some(priority) = self.priority {
            line.clause("PRIORITY", &priority.to_string());
        }
        if let Some(tls) = self.tls {
            line.clause("tls", tls.suite);
            if let Some(group) = tls.group {
                line.clause("group", group);
            }
        }
        line.out.push(b';');
        line.column += 1;
        line.word(self.date);
        line.out.extend_from_slice(b"\r\n");
    }
}

struct Folded<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl Folded<'_> {
    fn clause(&mut self, name: &str, value: &str) {
        self.word(&format!("{name} {value}"));
    }

    /// A piece that stays on one line, with a blank or a fold in front.
    fn word(&mut self, text: &str) {
        if self.column > 0 {
            // One octet is left for the semicolon.
            if self.column + 1 + text.len() + 1 > LINE_GOAL {
                self.out.extend_from_slice(b"\r\n\t");
                self.column = 1;
            } else {
                self.out.push(b' ');
                self.column += 1;
            }
        }
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::TlsVersion;

    fn write(smtputf8: bool, recipient: Option<&str>, client: Option<Client>) -> String {
        let recipient = recipient.map(|text| Mailbox::parse(text).unwrap());
        let tls = TlsFacts {
            version: TlsVersion::V13,
            suite: "TLS_AES_256_GCM_SHA384",
            group: Some("X25519MLKEM768"),
            server_name: None,
            resumed: false,
        };
        let mut out = Vec::new();
        Trace {
            hostname: &Domain::parse("mail.ours.example").unwrap(),
            client,
            tls: Some(&tls),
            smtputf8,
            id: &QueueId::new(ulid::Ulid(0)),
            priority: Priority::parse(if smtputf8 { "-3" } else { "" }),
            only_recipient: recipient.as_ref(),
            date: "Thu, 28 May 2026 20:26:40 +0000",
        }
        .write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// R5321-4.4b, R5321-4.4d, R3848-2a, R6531-4.3a, R6710-4.1e.
    #[test]
    fn the_field_has_its_clauses_and_short_lines() {
        let plain = write(false, None, None);
        assert_eq!(
            plain,
            "Received: from mail.ours.example by mail.ours.example with ESMTPSA\r\n\
             \tid 00000000000000000000000000 tls TLS_AES_256_GCM_SHA384\r\n\
             \tgroup X25519MLKEM768; Thu, 28 May 2026 20:26:40 +0000\r\n"
        );
        let one = write(true, Some("a@b.example"), None);
        assert!(one.contains(" for <a@b.example>"), "{one}");
        assert!(one.contains("with UTF8SMTPSA"), "{one}");
        assert!(one.contains(" PRIORITY -3"), "{one}");
        assert!(one.lines().all(|line| line.len() <= LINE_GOAL));
    }

    /// R6531-3.2c: what had a form in ASCII without it must keep it.
    #[test]
    fn the_field_never_needs_smtputf8() {
        for smtputf8 in [false, true] {
            let client = Client {
                name: Domain::parse("\u{fc}.example").ok(),
                address: "192.0.2.7".parse().unwrap(),
            };
            let domain = write(smtputf8, Some("a@\u{fc}.example"), Some(client));
            assert!(domain.starts_with("Received: from xn--tda.example "));
            assert!(domain.contains(" for <a@xn--tda.example>"), "{domain}");
            let local = write(smtputf8, Some("\u{fc}@b.example"), None);
            assert!(local.is_ascii() && !local.contains(" for "), "{local}");
        }
    }

    /// R5321-4.4c, S21.
    #[test]
    fn the_client_is_shown_only_where_asked() {
        let client = Client {
            name: Domain::parse("laptop.example").ok(),
            address: "::ffff:192.0.2.7".parse().unwrap(),
        };
        let shown = write(false, None, Some(client));
        assert!(
            shown.starts_with("Received: from laptop.example ([192.0.2.7])"),
            "{shown}"
        );
        let nameless = Client {
            name: None,
            address: "2001:db8::7".parse().unwrap(),
        };
        let shown = write(false, None, Some(nameless));
        assert!(
            shown.starts_with("Received: from [IPv6:2001:db8::7] ([IPv6:2001:db8::7])"),
            "{shown}"
        );
    }
}
