//! Command lines: verb, argument, path (RFC 5321 §4.1.1).
//!
//! Only the verb is recognised here, and only the shape of an argument: whether a command may come
//! at all is decided before its argument is looked at, so that a client that has not signed in
//! learns nothing about syntax.

/// A command's verb.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// RFC 5321 §4.1.1.1.
    Ehlo,
    /// RFC 5321 §4.1.1.1.
    Helo,
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth,
    /// RFC 5321 §4.1.1.2.
    Mail,
    /// RFC 5321 §4.1.1.3.
    Rcpt,
    /// RFC 5321 §4.1.1.4.
    Data,
    /// RFC 3030.
    Bdat,
    /// RFC 5321 §4.1.1.5.
    Rset,
    /// RFC 5321 §4.1.1.9.
    Noop,
    /// RFC 5321 §4.1.1.6.
    Vrfy,
    /// RFC 5321 §4.1.1.7; known and not implemented.
    Expn,
    /// RFC 5321 §4.1.1.8.
    Help,
    /// RFC 5321 §4.1.1.10.
    Quit,
    /// RFC 4468; known and not implemented.
    Burl,
    /// SEND, SOML, SAML, TURN, ETRN, ATRN: known and not part of submission.
    Foreign(&'static str),
    /// The greeting of LMTP (RFC 2033).
    Lhlo,
    /// A request line of HTTP: a browser or a probe, not a mail client (S10).
    Http,
    /// Anything else.
    Unknown,
}

/// Verbs by name; looked up without regard to case.
const VERBS: [(&str, Verb); 22] = [
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("QUIT", Verb::Quit),
    ("BURL", Verb::Burl),
    ("SEND", Verb::Foreign("SEND")),
    ("SOML", Verb::Foreign("SOML")),
    ("SAML", Verb::Foreign("SAML")),
    ("TURN", Verb::Foreign("TURN")),
    ("ETRN", Verb::Foreign("ETRN")),
    ("ATRN", Verb::Foreign("ATRN")),
    ("LHLO", Verb::Lhlo),
];

/// Request methods of HTTP (RFC 9110 §9).
const METHODS: [&str; 9] = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH",
];

impl Verb {
    /// Splits a line without its CRLF into verb and argument.
    ///
    /// White space around the argument is dropped: real clients send runs of spaces between verb
    /// and argument and behind the argument.
    pub fn split(line: &[u8]) -> (Verb, &[u8]) {
        let line = line.trim_ascii_end();
        let end = line
            .iter()
            .position(|b| *b == b' ' || *b == b'\t')
            .unwrap_or(line.len());
        let (word, argument) = (&line[..end], line[end..].trim_ascii_start());
        let found = VERBS
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        let verb = match found {
            Some((_, verb)) => *verb,
            None if is_http(word, argument) => Verb::Http,
            None => Verb::Unknown,
        };
        (verb, argument)
    }
}

fn is_http(word: &[u8], argument: &[u8]) -> bool {
    METHODS.iter().any(|method| word == method.as_bytes())
        && (argument.starts_with(b"/") || memchr::memmem::find(argument, b"HTTP/").is_some())
}

/// The two halves of a MAIL or RCPT argument.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathArgument<'a> {
    /// What stands between the brackets.
    pub path: &'a str,
    /// What follows them, without the space in front.
    pub parameters: &'a str,
}

impl<'a> PathArgument<'a> {
    /// Reads `KEYWORD:<path> parameters`, with spaces tolerated around the colon.
    ///
    /// Returns `None` where the keyword, the colon or a bracket is missing, or where something is
    /// glued to the closing bracket.
    pub fn parse(argument: &'a str, keyword: &str) -> Option<Self> {
        let head = argument.get(..keyword.len())?;
        if !head.eq_ignore_ascii_case(keyword) {
            return None;
        }
        let path = argument[keyword.len()..]
            .trim_start()
            .strip_prefix(':')?
            .trim_start();
        let (path, rest) = super::split_path(path)?;
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return None;
        }
        Some(PathArgument {
            path,
            parameters: rest.trim(),
        })
    }
}

/// The argument of BDAT (RFC 3030 §2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkArgument {
    /// Octets that follow the command's CRLF. More than fit are counted as `u64::MAX`.
    pub octets: u64,
    /// Whether this chunk ends the message.
    pub last: bool,
}

impl ChunkArgument {
    /// Reads `size [LAST]`; at most 20 digits, and no size wraps.
    pub fn parse(argument: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(argument).ok()?;
        let mut words = text.split_ascii_whitespace();
        let octets = parse_size(words.next()?)?;
        let last = match words.next() {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("LAST") => true,
            Some(_) => return None,
        };
        words
            .next()
            .is_none()
            .then_some(ChunkArgument { octets, last })
    }
}

/// 1 to 20 digits as a count of octets; a number past 64 bits is the largest one (RFC 1870 §3).
pub(super) fn parse_size(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R5321-2.4a, R5321-4.1.1a, R4954-8a.
    #[test]
    fn verbs_are_found_in_any_case_and_spacing() {
        for (line, verb, argument) in [
            ("EHLO mail.example", Verb::Ehlo, "mail.example"),
            ("eHlO  mail.example  ", Verb::Ehlo, "mail.example"),
            ("AUTH  PLAIN", Verb::Auth, "PLAIN"),
            ("quit", Verb::Quit, ""),
            ("NOOP   ", Verb::Noop, ""),
            ("DATA x", Verb::Data, "x"),
            ("STARTTLS", Verb::StartTls, ""),
            ("STARTTLSX", Verb::Unknown, ""),
            ("ETRN x", Verb::Foreign("ETRN"), "x"),
            ("", Verb::Unknown, ""),
            (" NOOP", Verb::Unknown, "NOOP"),
            ("GET / HTTP/1.1", Verb::Http, "/ HTTP/1.1"),
            ("GET", Verb::Unknown, ""),
            ("CONNECT a:25 HTTP/1.1", Verb::Http, "a:25 HTTP/1.1"),
        ] {
            assert_eq!(
                Verb::split(line.as_bytes()),
                (verb, argument.as_bytes()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn path_arguments() {
        for (argument, expected) in [
            ("FROM:<a@b.c>", Some(("a@b.c", ""))),
            (
                "from: <a@b.c>  SIZE=1  BODY=7BIT ",
                Some(("a@b.c", "SIZE=1  BODY=7BIT")),
            ),
            ("FROM :<>", Some(("", ""))),
            ("FROM:<\"a>b\"@c.d> X", Some(("\"a>b\"@c.d", "X"))),
            ("FROM:a@b.c", None),
            ("FROM:<a@b.c", None),
            ("FROM<a@b.c>", None),
            ("TO:<a@b.c>", None),
            ("FROM:<a@b.c>SIZE=1", None),
            ("FROM:", None),
            ("FR", None),
            ("", None),
            ("é", None),
        ] {
            let parsed = PathArgument::parse(argument, "FROM");
            let halves = parsed.map(|p| (p.path, p.parameters));
            assert_eq!(halves, expected, "{argument:?}");
        }
    }

    /// R3030-2c.
    #[test]
    fn chunk_sizes_never_wrap() {
        for (argument, expected) in [
            ("5", Some((5, false))),
            ("0 LAST", Some((0, true))),
            ("86  last", Some((86, true))),
            ("18446744073709551615", Some((u64::MAX, false))),
            ("18446744073709551616", Some((u64::MAX, false))),
            ("99999999999999999999", Some((u64::MAX, false))),
            ("100000000000000000000", None),
            ("-1", None),
            ("+1", None),
            ("0x10", None),
            ("5 LAST x", None),
            ("5 FIRST", None),
            ("LAST", None),
            ("", None),
            ("1\u{e9}", None),
        ] {
            let parsed = ChunkArgument::parse(argument.as_bytes()).map(|c| (c.octets, c.last));
            assert_eq!(parsed, expected, "{argument:?}");
        }
    }
}
