//! What a next hop offers in its answer to EHLO or LHLO (RFC 5321 §4.1.1.1).

use crate::smtp::ReceivedReply;

use super::auth::Mechanism;

/// The service extensions of a next hop, as far as they mean something to us.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extensions {
    /// SIZE with a limit, in octets; none where it is offered without one (RFC 1870 §3).
    pub size: Option<Option<u64>>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531), and the 8BITMIME that must come with it.
    pub smtputf8: bool,
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030 §3), and the CHUNKING that must come with it.
    pub binary_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// DELIVERBY with the least time of mail that is to be returned, in seconds; none where it is
    /// offered without one (RFC 2852 §2).
    pub deliver_by: Option<Option<u32>>,
    /// MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// Mechanisms of AUTH that we know, in no order (RFC 4954 §3).
    pub mechanisms: Vec<Mechanism>,
    /// AUTH in whatever form.
    pub auth: bool,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// What a next hop says it takes at most (RFC 9422 §4); at least 1 each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// RCPT commands in one transaction.
    pub recipients: Option<usize>,
    /// MAIL commands in one session.
    pub mails: Option<usize>,
    /// Different domains of recipients in one session.
    pub recipient_domains: Option<usize>,
}

impl Extensions {
    /// Reads the lines behind the first one; what is unknown or malformed is passed over.
    pub fn read(reply: &ReceivedReply) -> Self {
        let mut extensions = Extensions::default();
        for line in reply.lines().skip(1) {
            if let Ok(line) = std::str::from_utf8(line) {
                extensions.line(line);
            }
        }
        extensions.smtputf8 &= extensions.eight_bit_mime;
        extensions.binary_mime &= extensions.chunking;
        extensions
    }

    /// The extensions as EHLO lines, without those that mean nothing to us.
    pub fn keywords(&self) -> Vec<String> {
        let plain = [
            ("PIPELINING", self.pipelining),
            ("8BITMIME", self.eight_bit_mime),
            ("SMTPUTF8", self.smtputf8),
            ("CHUNKING", self.chunking),
            ("BINARYMIME", self.binary_mime),
            ("DSN", self.dsn),
            ("STARTTLS", self.starttls),
            ("REQUIRETLS", self.requiretls),
            ("MT-PRIORITY", self.mt_priority),
            ("ENHANCEDSTATUSCODES", self.enhanced_status_codes),
        ];
        let offered = plain.iter().filter(|(_, is_offered)| *is_offered);
        let mut lines: Vec<String> = offered.map(|(name, _)| (*name).to_owned()).collect();
        if let Some(limit) = self.size {
            lines.push(limit.map_or("SIZE".to_owned(), |octets| format!("SIZE {octets}")));
        }
        if let Some(least) = self.deliver_by {
            lines.push(least.map_or("DELIVERBY".to_owned(), |least| format!("DELIVERBY {least}")));
        }
        if self.auth {
            let names = self.mechanisms.iter().map(|it| it.name());
            lines.push(
                ["AUTH"]
                    .into_iter()
                    .chain(names)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        let limits = [
            ("MAILMAX", self.limits.mails),
            ("RCPTMAX", self.limits.recipients),
            ("RCPTDOMAINMAX", self.limits.recipient_domains),
        ];
        let mut values = limits
            .iter()
            .filter_map(|(name, most)| Some(format!("{name}={}", (*most)?)))
            .peekable();
        if values.peek().is_some() {
            lines.push(format!("LIMITS {}", values.collect::<Vec<_>>().join(" ")));
        }
        lines
    }

    fn line(&mut self, line: &str) {
        // Servers of old wrote `AUTH=LOGIN` for clients older still.
        let mut words = line.split(|c: char| c.is_ascii_whitespace() || c == '=');
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        let words = words.filter(|word| !word.is_empty());
        match keyword.as_str() {
            "SIZE" => {
                let limit = words.map(parse_size).next().flatten();
                self.size = Some(limit.filter(|limit| *limit > 0));
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "PIPELINING" => self.pipelining = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary_mime = true,
            "DSN" => self.dsn = true,
            "STARTTLS" => self.starttls = true,
            "REQUIRETLS" => self.requiretls = true,
            "DELIVERBY" => {
                // Behind a comma come options that nobody has defined.
                let mut words = line.split([' ', '\t', ',']).skip(1);
                let digits =
                    |word: &&str| word.len() <= 9 && word.bytes().all(|b| b.is_ascii_digit());
                let least = words.next().filter(digits);
                self.deliver_by = Some(least.and_then(|least| least.parse().ok()));
            }
            "MT-PRIORITY" => self.mt_priority = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "AUTH" => {
                self.auth = true;
                for mechanism in words.filter_map(Mechanism::parse) {
                    if !self.mechanisms.contains(&mechanism) {
                        self.mechanisms.push(mechanism);
                    }
                }
            }
            "LIMITS" => {
                let values = line.split_ascii_whitespace().skip(1);
                values.for_each(|value| self.limits.value(value));
            }
            _ => {}
        }
    }
}

impl Limits {
    fn value(&mut self, text: &str) {
        let Some((name, value)) = text.split_once('=') else {
            return;
        };
        let digits = (1..=6).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        let Some(value) = value.parse::<usize>().ok().filter(|_| digits) else {
            return;
        };
        // A host that takes nothing at all would not be here.
        let value = Some(value.max(1));
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.recipients = value,
            "MAILMAX" => self.mails = value,
            "RCPTDOMAINMAX" => self.recipient_domains = value,
            _ => {}
        }
    }
}

/// A number past what we count with is no limit for us.
fn parse_size(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::ReplyReader;

    fn read(lines: &[&str]) -> Extensions {
        let mut octets = b"250-hop.example\r\n".to_vec();
        for line in lines {
            octets.extend(format!("250-{line}\r\n").into_bytes());
        }
        octets.extend(b"250 HELP\r\n");
        Extensions::read(&ReplyReader::default().read(&octets).1.unwrap().unwrap())
    }

    #[test]
    fn what_is_written_of_extensions_is_read_back() {
        for lines in [
            &["HELP", "X-UNKNOWN"][..],
            &["SIZE", "AUTH", "8BITMIME", "SMTPUTF8"],
            &[
                "SIZE 1000",
                "PIPELINING",
                "CHUNKING",
                "BINARYMIME",
                "DSN",
                "STARTTLS",
                "REQUIRETLS",
                "DELIVERBY",
                "MT-PRIORITY",
            ],
            &["DELIVERBY 240"],
            &[
                "AUTH PLAIN SCRAM-SHA-256",
                "LIMITS RCPTMAX=9 MAILMAX=3 RCPTDOMAINMAX=1",
            ],
        ] {
            let extensions = read(lines);
            let written = extensions.keywords();
            let written: Vec<&str> = written.iter().map(String::as_str).collect();
            assert_eq!(read(&written), extensions, "{lines:?}");
        }
        assert!(read(&["HELP"]).keywords().is_empty());
    }

    #[test]
    fn keywords_are_read_in_any_case_and_order() {
        let all = read(&[
            "size 1000",
            "8bitmime",
            "SMTPUTF8",
            "Pipelining",
            "CHUNKING",
            "BINARYMIME",
            "DSN",
            "STARTTLS",
            "REQUIRETLS",
            "DELIVERBY 30,X-MORE",
            "MT-PRIORITY MIXER",
            "ENHANCEDSTATUSCODES",
            "AUTH plain SCRAM-SHA-256 CRAM-MD5",
            "LIMITS MAILMAX=5 RCPTMAX=100 RCPTDOMAINMAX=1 NEWMAX=3",
        ]);
        let expected = Extensions {
            size: Some(Some(1_000)),
            eight_bit_mime: true,
            smtputf8: true,
            pipelining: true,
            chunking: true,
            binary_mime: true,
            dsn: true,
            starttls: true,
            requiretls: true,
            deliver_by: Some(Some(30)),
            mt_priority: true,
            enhanced_status_codes: true,
            mechanisms: vec![Mechanism::Plain, Mechanism::ScramSha256],
            auth: true,
            limits: Limits {
                recipients: Some(100),
                mails: Some(5),
                recipient_domains: Some(1),
            },
        };
        assert_eq!(all, expected);
        assert_eq!(
            read(&["", "X", "XSIZE 5", "PIPELININGX"]),
            Extensions::default()
        );
    }

    /// R1870-7a.
    #[test]
    fn size_limits() {
        for (line, size) in [
            ("SIZE", Some(None)),
            ("SIZE 0", Some(None)),
            ("SIZE 5", Some(Some(5))),
            ("SIZE=5", Some(Some(5))),
            ("SIZE x", Some(None)),
            ("SIZE -1", Some(None)),
            ("SIZE 99999999999999999999", Some(None)),
            ("SIZE 18446744073709551615", Some(Some(u64::MAX))),
            ("SIZES 5", None),
        ] {
            assert_eq!(read(&[line]).size, size, "{line}");
        }
    }

    #[test]
    fn the_least_time_of_deliverby() {
        for (line, deliver_by) in [
            ("DELIVERBY", Some(None)),
            ("DELIVERBY 240", Some(Some(240))),
            ("DELIVERBY ,X", Some(None)),
            ("DELIVERBY x", Some(None)),
            ("DELIVERBY 1234567890", Some(None)),
            ("DELIVERBYE 5", None),
        ] {
            assert_eq!(read(&[line]).deliver_by, deliver_by, "{line}");
        }
    }

    /// R9422-3.7a.
    #[test]
    fn odd_lists() {
        assert_eq!(
            read(&["AUTH=LOGIN PLAIN"]).mechanisms,
            [Mechanism::Login, Mechanism::Plain]
        );
        assert!(read(&["AUTH"]).auth);
        assert!(read(&["AUTH"]).mechanisms.is_empty());
        let limits = read(&["LIMITS RCPTMAX=0 MAILMAX=9999999 RCPTDOMAINMAX=x"]).limits;
        assert_eq!(limits.recipients, Some(1));
        assert_eq!((limits.mails, limits.recipient_domains), (None, None));
    }

    /// RFC 6531 §3.1 (8) asks for both; one alone could not carry the message.
    #[test]
    fn what_needs_another_extension_counts_only_with_it() {
        assert!(!read(&["BINARYMIME"]).binary_mime);
        assert!(read(&["BINARYMIME", "CHUNKING"]).binary_mime);
        assert!(!read(&["SMTPUTF8"]).smtputf8);
        assert!(read(&["SMTPUTF8", "8BITMIME"]).smtputf8);
    }
}
