//! In which domains' names a message speaks (RFC 5322 §3.6.2).

use super::{AddressList, fields};
use crate::smtp::Domain;

/// The domains of the mailboxes in From, each once, in their order; the header section comes with or
/// without its blank line. Nothing where there is no From that can be read.
pub fn author_domains(header: &[u8]) -> Vec<Domain> {
    let section = match header.strip_suffix(b"\r\n\r\n") {
        Some(fields) => &header[..fields.len() + 2],
        None => header,
    };
    let mut domains: Vec<Domain> = Vec::new();
    for field in fields(section).unwrap_or_default() {
        if !section[field.name.clone()].eq_ignore_ascii_case(b"from") {
            continue;
        }
        let value = str::from_utf8(&section[field.value.clone()]).unwrap_or_default();
        let Ok(list) = AddressList::parse(value) else {
            continue;
        };
        for mailbox in list.mailboxes {
            let domain = mailbox.domain();
            if domains
                .iter()
                .all(|it| it.canonical() != domain.canonical())
            {
                domains.push(domain.clone());
            }
        }
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_domains_are_found_once_each() {
        let of = |header: &str| -> Vec<String> {
            let domains = author_domains(header.as_bytes());
            domains.iter().map(Domain::canonical).collect()
        };
        let many = "To: x@c.example\r\nFROM: A <a@A.example>,\r\n b@b.example, c@a.EXAMPLE\r\n\r\n";
        assert_eq!(of(many), ["a.example", "b.example"]);
        assert_eq!(of("From: a@a.example\r\n"), ["a.example"]);
        for header in [
            "",
            "To: x@c.example\r\n\r\n",
            "From: nobody\r\n",
            "no field\r\n",
        ] {
            assert!(of(header).is_empty(), "{header:?}");
        }
    }
}
