//! Addresses: domains, mailboxes, paths (RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3).
//!
//! A value of these types has been through the parser; there is no other way to make one (S12).
//! UTF-8 is read wherever RFC 6531 allows it; whether the transaction may use it is the session's
//! question, answered from [`Mailbox::is_ascii`].

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// Octets of a local part at most (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_MAX: usize = 64;
/// Octets of a domain at most (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
/// Octets of a path at most, with its brackets (RFC 5321 §4.5.3.1.3).
pub const PATH_MAX: usize = 256;
/// Octets of one label of a domain (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Why an address was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing behind it.
    #[error("address has no domain")]
    NoDomain,
    /// A local part that is neither a dot-string nor a quoted string.
    #[error("local part is not a dot-string or quoted string")]
    LocalPart,
    /// RFC 5321 §4.5.3.1.1.
    #[error("local part is {len} octets long, the limit is {LOCAL_PART_MAX}")]
    LocalPartTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// A label with a character or hyphen where none may be.
    #[error("domain is not made of letters, digits and inner hyphens")]
    Domain,
    /// RFC 5321 §4.5.3.1.2.
    #[error("domain is {len} octets long, the limit is {DOMAIN_MAX}")]
    DomainTooLong {
        /// Its length in octets.
        len: usize,
    },
    /// Something in brackets that is no IPv4 or IPv6 address.
    #[error("address literal is not [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal,
    /// RFC 5321 §4.5.3.1.3.
    #[error("path is {len} octets long, the limit is {PATH_MAX}")]
    PathTooLong {
        /// Its length in octets, brackets included.
        len: usize,
    },
    /// A source route in front of the mailbox that does not parse.
    #[error("source route is not @domain,@domain:")]
    SourceRoute,
}

/// A domain name or an address literal, as given.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a domain name or, in square brackets, an address literal.
    ///
    /// # Errors
    /// [`AddressError`] where a label or the literal does not follow RFC 5321 §4.1.2 and §4.1.3,
    /// or where an internationalized label does not survive conversion and back (S23).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > DOMAIN_MAX {
            return Err(AddressError::DomainTooLong { len: text.len() });
        }
        if text.is_empty() {
            return Err(AddressError::NoDomain);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(AddressError::Literal)?;
            literal(inner).ok_or(AddressError::Literal)?;
        } else {
            if !text.split('.').all(is_label) {
                return Err(AddressError::Domain);
            }
            if needs_idna(text) && to_ascii(text).is_none() {
                return Err(AddressError::Domain);
            }
        }
        Ok(Domain(text.into()))
    }

    /// Reads the name of a host as the DNS gives it: ASCII, and with the underscores that some mail
    /// hosts bear although no host should (RFC 1123 §2.1). Whoever fails there fails needlessly.
    ///
    /// # Errors
    /// As [`Domain::parse`]; literals and names beyond ASCII are none.
    pub fn parse_host(text: &str) -> Result<Self, AddressError> {
        if text.len() > DOMAIN_MAX {
            return Err(AddressError::DomainTooLong { len: text.len() });
        }
        let is_name = |label: &str| {
            (1..=LABEL_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
        };
        match text.split('.').all(is_name) {
            true => Ok(Domain(text.into())),
            false => Err(AddressError::Domain),
        }
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address inside an address literal.
    pub fn literal(&self) -> Option<IpAddr> {
        literal(self.0.strip_prefix('[')?.strip_suffix(']')?)
    }

    /// Whether it is a name of at least two labels, or a literal (RFC 6409 §4.2).
    pub fn is_fully_qualified(&self) -> bool {
        self.0.contains('.') || self.0.starts_with('[')
    }

    /// The one form in which two domains are compared: A-labels, lower case (S23).
    pub fn canonical(&self) -> String {
        if needs_idna(&self.0)
            && let Some(ascii) = to_ascii(&self.0)
        {
            return ascii;
        }
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn literal(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse().ok().map(IpAddr::V4),
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii())
}

fn needs_idna(name: &str) -> bool {
    !name.is_ascii()
        || name.split('.').any(|l| {
            l.get(..4)
                .is_some_and(|head| head.eq_ignore_ascii_case("xn--"))
        })
}

/// A-labels of `name`, where the conversion there and back agrees with itself.
fn to_ascii(name: &str) -> Option<String> {
    let ascii = idna::domain_to_ascii_strict(name).ok()?;
    let (unicode, result) = idna::domain_to_unicode(&ascii);
    result.ok()?;
    (idna::domain_to_ascii_strict(&unicode).ok()? == ascii).then_some(ascii)
}

/// `local-part@domain`.
///
/// Both halves are kept as given: a local part means something to its own domain only
/// (RFC 5321 §2.3.11). Compare with [`Mailbox::key`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Mailbox {
    local: Box<str>,
    domain: Domain,
}

impl Mailbox {
    /// Reads `local-part@domain` without brackets.
    ///
    /// # Errors
    /// [`AddressError`] where either half is missing, too long or not of the grammar.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let at = local_part_end(text)?;
        let domain = text[at..].strip_prefix('@').ok_or(AddressError::NoDomain)?;
        if at > LOCAL_PART_MAX {
            return Err(AddressError::LocalPartTooLong { len: at });
        }
        Ok(Mailbox {
            local: text[..at].into(),
            domain: Domain::parse(domain)?,
        })
    }

    /// The local part as given, quotes included.
    pub fn local_part(&self) -> &str {
        &self.local
    }

    /// The same with a detail behind its local part (RFC 5233 §1), `alice+Sent@…`; itself where no
    /// address would come of that.
    pub fn with_detail(&self, detail: &str) -> Self {
        let local = format!("{}+{detail}", self.unquoted_local_part());
        let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
        let domain = &self.domain;
        let spelled = [
            format!("{local}@{domain}"),
            format!("\"{quoted}\"@{domain}"),
        ];
        let mut found = spelled.iter().filter_map(|it| Mailbox::parse(it).ok());
        let same = |it: &Mailbox| it.unquoted_local_part() == local;
        found.find(same).unwrap_or_else(|| self.clone())
    }

    /// The local part as its domain's host sees it: without quotes and backslashes.
    pub fn unquoted_local_part(&self) -> String {
        let Some(inner) = self
            .local
            .strip_prefix('"')
            .and_then(|l| l.strip_suffix('"'))
        else {
            return self.local.to_string();
        };
        let mut plain = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            plain.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        plain
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether both halves can travel without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.0.is_ascii()
    }

    /// The form in which two mailboxes are compared: quotes removed, domain canonical, case of
    /// the local part kept (RFC 5321 §4.1.2, §2.4).
    pub fn key(&self) -> String {
        format!("{}@{}", self.unquoted_local_part(), self.domain.canonical())
    }

    /// The form in which addresses of our own domains are compared: as [`Mailbox::key`], with the
    /// local part in lower case too.
    pub fn folded_key(&self) -> String {
        format!(
            "{}@{}",
            self.unquoted_local_part().to_lowercase(),
            self.domain.canonical()
        )
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl std::str::FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Mailbox::parse(text)
    }
}

/// Where the local part at the front of `text` ends.
fn local_part_end(text: &str) -> Result<usize, AddressError> {
    if text.starts_with('"') {
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    if !(' '..='~').contains(&c) {
                        return Err(AddressError::LocalPart);
                    }
                    escaped = false;
                }
                '\\' => escaped = true,
                // An empty quoted string is within the grammar but names nobody.
                '"' if at == 1 => return Err(AddressError::LocalPart),
                '"' => return Ok(at + 1),
                c if c.is_control() => return Err(AddressError::LocalPart),
                _ => {}
            }
        }
        return Err(AddressError::LocalPart);
    }
    let end = text
        .find(|c| !is_atext(c) && c != '.')
        .unwrap_or(text.len());
    if text[..end].split('.').any(str::is_empty) {
        return Err(AddressError::LocalPart);
    }
    Ok(end)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control())
}

/// Where reports about a message go (RFC 5321 §4.1.1.2).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ReversePath {
    /// `<>`: no report is to be sent.
    Null,
    /// The sender's mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, if there is one.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Reads what stands between `<` and `>`; a source route is dropped (RFC 5321 §3.3).
    ///
    /// # Errors
    /// [`AddressError`] where it is neither empty nor a mailbox.
    pub fn parse(inner: &str) -> Result<Self, AddressError> {
        if inner.is_empty() {
            return Ok(ReversePath::Null);
        }
        Ok(ReversePath::Mailbox(mailbox_of_path(inner)?))
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Mailbox(mailbox) => write!(f, "{mailbox}"),
        }
    }
}

/// Where a message is to go (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain, in any case (RFC 5321 §4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads what stands between `<` and `>`; a source route is dropped (RFC 5321 §3.3).
    ///
    /// # Errors
    /// [`AddressError`] where it is no mailbox.
    pub fn parse(inner: &str) -> Result<Self, AddressError> {
        if inner.eq_ignore_ascii_case("postmaster") {
            return Ok(ForwardPath::Postmaster);
        }
        Ok(ForwardPath::Mailbox(mailbox_of_path(inner)?))
    }
}

fn mailbox_of_path(inner: &str) -> Result<Mailbox, AddressError> {
    let len = inner.len() + 2;
    if len > PATH_MAX {
        return Err(AddressError::PathTooLong { len });
    }
    if !inner.starts_with('@') {
        return Mailbox::parse(inner);
    }
    let (route, mailbox) = inner.split_once(':').ok_or(AddressError::SourceRoute)?;
    // An IPv6 literal in a route holds colons of its own; nobody has sent one since routes died.
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').ok_or(AddressError::SourceRoute)?;
        Domain::parse(domain).map_err(|_| AddressError::SourceRoute)?;
    }
    Mailbox::parse(mailbox)
}

/// Splits `<path>rest` behind the closing bracket, with quoted strings respected.
///
/// Returns what stands between the brackets and what follows them; `None` without brackets.
pub fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some((&inner[..at], &inner[at + 1..])),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_dns_may_bear_underscores() {
        for (text, good) in [
            ("mx.example", true),
            ("_dc-mx.4a.example", true),
            ("-odd-.example", true),
            ("xn--mnchen-3ya.example", true),
            ("", false),
            ("mx..example", false),
            ("m x.example", false),
            ("m\\032x.example", false),
            ("m\u{fc}.example", false),
            ("[192.0.2.1]", false),
        ] {
            assert_eq!(Domain::parse_host(text).is_ok(), good, "{text:?}");
        }
        assert_eq!(
            Domain::parse_host("_A.example").unwrap().canonical(),
            "_a.example"
        );
        assert!(Domain::parse_host(&"a".repeat(64)).is_err());
        assert!(Domain::parse("_dc-mx.example").is_err());
    }

    #[test]
    fn mailboxes_are_read_and_written_alike() {
        let local64 = "l".repeat(64) + "@example.org";
        for text in [
            "alice@example.org",
            "MiXeD@Example.ORG",
            "\"joe bloggs\"@example.org",
            "\"a\\\"b@c\"@example.org",
            "user+tag@a.b.c.example",
            "o'brien/x=y@example.org",
            "u@[192.0.2.1]",
            "u@[IPv6:2001:db8::1]",
            "ü@ü.example",
            "u@xn--tda.example",
            "single@host",
            &local64,
        ] {
            assert_eq!(
                Mailbox::parse(text).map(|m| m.to_string()),
                Ok(text.to_string())
            );
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        let long = "l".repeat(65) + "@example.org";
        for text in [
            "",
            "alice",
            "@example.org",
            "alice@",
            "a..b@c.example",
            ".a@c.example",
            "a.@c.example",
            "a b@c.example",
            "a@b_c.example",
            "a@-b.example",
            "a@b-.example",
            "a@b..example",
            "a@b.example.",
            "a@[300.1.1.1]",
            "a@[192.0.2.1",
            "a@[IPv6:xyz]",
            "\"a@c.example",
            "\"a\"b@c.example",
            "\"\"@c.example",
            "a\r@c.example",
            "\"a\nb\"@c.example",
            "a@c.example\0",
            "a@b@c.example",
            "a@c.example x",
            &long,
            "a@xn--a.example",
            "a@exa\u{202e}mple.org",
            "a<b@c.example",
        ] {
            assert!(Mailbox::parse(text).is_err(), "{text:?} was taken");
        }
    }

    /// R5321-4.1.2a, S23.
    #[test]
    fn equal_mailboxes_have_equal_keys() {
        for (left, right) in [
            ("joe@ours.example", "\"joe\"@OURS.example"),
            ("joe@ours.example", "\"j\\oe\"@ours.example"),
            ("ü@ü.example", "ü@xn--tda.example"),
        ] {
            let key = |text| Mailbox::parse(text).unwrap().key();
            assert_eq!(key(left), key(right), "{left} {right}");
        }
        let key = |text| Mailbox::parse(text).unwrap().key();
        assert_ne!(key("Joe@ours.example"), key("joe@ours.example"));
        let folded = |text| Mailbox::parse(text).unwrap().folded_key();
        assert_eq!(folded("Joe@ours.example"), folded("joe@OURS.example"));
    }

    /// R5321-3.3d, R5321-3.3e, R5321-2.3.5b.
    #[test]
    fn forward_paths() {
        let route = ForwardPath::parse("@a.example,@b.example:u@c.example").unwrap();
        assert_eq!(
            route,
            ForwardPath::Mailbox(Mailbox::parse("u@c.example").unwrap())
        );
        assert_eq!(
            ForwardPath::parse("PostMaster"),
            Ok(ForwardPath::Postmaster)
        );
        for bad in [
            "",
            "@a.example",
            "@a.example:",
            "@a_b.example:u@c.example",
            "@a.example,:u@c",
        ] {
            assert!(ForwardPath::parse(bad).is_err(), "{bad}");
        }
    }

    /// R5321-4.5.3.1b, R5321-4.5.3.1c.
    #[test]
    fn lengths_at_their_limits() {
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "d".repeat(63));
        assert_eq!(domain.len(), 255);
        assert!(Domain::parse(&domain).is_ok());
        assert!(Domain::parse(&format!("{domain}d")).is_err());
        let of = |n: usize| format!("{}@{}", "l".repeat(n - 2 - 1 - 189), &domain[66..]);
        assert_eq!(of(255).len(), 253);
        assert!(ForwardPath::parse(&of(256)).is_ok());
        assert_eq!(
            ForwardPath::parse(&of(257)),
            Err(AddressError::PathTooLong { len: 257 })
        );
    }

    #[test]
    fn a_path_ends_at_its_own_bracket() {
        assert_eq!(split_path("<a@b.c> SIZE=1"), Some(("a@b.c", " SIZE=1")));
        assert_eq!(split_path("<\"a>b\"@c.d>"), Some(("\"a>b\"@c.d", "")));
        assert_eq!(
            split_path("<\"a\\\">b\"@c.d>x"),
            Some(("\"a\\\">b\"@c.d", "x"))
        );
        assert_eq!(split_path("a@b.c"), None);
        assert_eq!(split_path("<a@b.c"), None);
    }

    #[test]
    fn details_stand_behind_the_local_part() {
        let long = "a".repeat(LOCAL_PART_MAX);
        for (address, detail, expected) in [
            ("alice@b.example", "Sent", "alice+Sent@b.example"),
            (
                "alice@b.example",
                "Sent Items",
                "\"alice+Sent Items\"@b.example",
            ),
            (
                "\"a \\\"b\"@b.example",
                "Sent",
                "\"a \\\"b+Sent\"@b.example",
            ),
            (
                &format!("{long}@b.example"),
                "Sent",
                &format!("{long}@b.example"),
            ),
        ] {
            let mailbox = Mailbox::parse(address).unwrap();
            assert_eq!(mailbox.with_detail(detail).to_string(), expected);
        }
    }
}
