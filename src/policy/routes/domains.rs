//! Recipient domains as a route names them.

use std::fmt;

use crate::smtp::{AddressError, Domain};

/// Some of all recipient domains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DomainPattern {
    /// This domain, or this address literal, and nothing besides.
    Exact(Domain),
    /// Every domain below this one, at any depth, and not the domain itself (`*.example.org`).
    Below(Domain),
    /// Every domain (`*`).
    Any,
}

impl DomainPattern {
    /// Reads a domain, an address literal, `*.` in front of a domain, or `*`.
    ///
    /// # Errors
    /// [`AddressError`] where what stands there, or behind `*.`, is no domain.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('*') {
            Some("") => Ok(DomainPattern::Any),
            Some(rest) => {
                let parent = rest.strip_prefix('.').ok_or(AddressError::Domain)?;
                let parent = Domain::parse(parent)?;
                match parent.literal() {
                    // Nothing lies below an address.
                    Some(_) => Err(AddressError::Domain),
                    None => Ok(DomainPattern::Below(parent)),
                }
            }
            None => Domain::parse(text).map(DomainPattern::Exact),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainPattern::Exact(domain) => write!(f, "{domain}"),
            DomainPattern::Below(domain) => write!(f, "*.{domain}"),
            DomainPattern::Any => f.write_str("*"),
        }
    }
}

/// The one form in which recipient domains are compared: canonical, an address in one spelling.
pub(in crate::policy) fn key(domain: &Domain) -> String {
    match domain.literal() {
        Some(address) => format!("[{address}]"),
        None => domain.canonical(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_they_are_written() {
        for (text, good) in [
            ("example.org", true),
            ("*.example.org", true),
            ("*.org", true),
            ("*", true),
            ("[192.0.2.1]", true),
            ("[IPv6:2001:db8::1]", true),
            ("", false),
            ("*.", false),
            ("**", false),
            ("*example.org", false),
            ("a.*.example.org", false),
            ("*.*.example.org", false),
            ("*.[192.0.2.1]", false),
            (".example.org", false),
        ] {
            let read = DomainPattern::parse(text);
            assert_eq!(read.is_ok(), good, "{text}");
            if let Ok(pattern) = read {
                assert_eq!(pattern.to_string(), text);
            }
        }
    }

    #[test]
    fn an_address_has_one_key_however_it_is_written() {
        let key = |text| key(&Domain::parse(text).unwrap());
        assert_eq!(key("[IPv6:2001:DB8:0::1]"), key("[ipv6:2001:db8::0001]"));
        assert_ne!(key("[IPv6:2001:db8::1]"), key("[IPv6:2001:db8::2]"));
        assert_eq!(key("Ü.example"), "xn--tda.example");
    }
}
