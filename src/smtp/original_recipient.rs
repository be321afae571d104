//! ORCPT: the recipient as the sender wrote it (RFC 3461 §4.2, RFC 6533 §3).
//!
//! The spelling is kept, for a next hop gets the same octets (RFC 3461 §5.2.1 (d)). Whether the
//! transaction may use characters beyond ASCII is the session's question, answered from
//! [`OriginalRecipient::is_ascii`].

use std::{borrow::Cow, fmt};

use super::{Mailbox, dsn::printable, unitext, xtext};

/// A value of ORCPT: an address type and an address in that type's encoding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginalRecipient {
    text: Box<str>,
    /// Where the semicolon stands.
    semicolon: usize,
}

impl OriginalRecipient {
    /// Octets of the value at most, as spelled (RFC 3461 §4.2, §5.4).
    pub const MAX: usize = 500;

    /// Reads a value of ORCPT: an atom, a semicolon, and xtext of printable ASCII or, where the
    /// type is `utf-8`, one of the forms of RFC 6533 §3.
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > Self::MAX {
            return None;
        }
        let (address_type, address) = value.split_once(';')?;
        if address_type.is_empty() || !address_type.bytes().all(is_atom) {
            return None;
        }
        if is_utf8(address_type) {
            if address.is_empty() {
                return None;
            }
            unitext::decode(address)?;
        } else {
            printable(address)?;
        }
        Some(OriginalRecipient {
            text: value.into(),
            semicolon: address_type.len(),
        })
    }

    /// The value that tells of the address given with RCPT (RFC 3461 §5.2.1 (d)).
    pub fn of(mailbox: &Mailbox) -> Self {
        let address = mailbox.to_string();
        let (address_type, encoded) = if mailbox.is_ascii() {
            ("rfc822", xtext::encode(address.as_bytes()))
        } else {
            ("utf-8", unitext::encode(&address))
        };
        OriginalRecipient {
            text: format!("{address_type};{encoded}").into(),
            semicolon: address_type.len(),
        }
    }

    /// As spelled by the client.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Such as `rfc822`; compared without regard to case.
    pub fn address_type(&self) -> &str {
        &self.text[..self.semicolon]
    }

    /// The address without its encoding; no control character is in it.
    ///
    /// An address of type `utf-8` that names no mailbox once decoded stays as spelled
    /// (RFC 6533 §3).
    pub fn address(&self) -> String {
        let address = self.encoded();
        let decoded = if is_utf8(self.address_type()) {
            unitext::decode(address).filter(|decoded| Mailbox::parse(decoded).is_ok())
        } else {
            printable(address)
        };
        decoded.unwrap_or_else(|| address.to_owned())
    }

    /// Whether the value can travel without SMTPUTF8 as it is spelled.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// The value for a next hop without SMTPUTF8: as spelled, or in the 7-bit form of RFC 6533 §3.
    pub fn to_ascii(&self) -> Cow<'_, str> {
        if self.is_ascii() {
            return Cow::Borrowed(&self.text);
        }
        let decoded = unitext::decode(self.encoded()).unwrap_or_default();
        Cow::Owned(format!(
            "{};{}",
            self.address_type(),
            unitext::encode(&decoded)
        ))
    }

    fn encoded(&self) -> &str {
        &self.text[self.semicolon + 1..]
    }
}

impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn is_utf8(address_type: &str) -> bool {
    address_type.eq_ignore_ascii_case("utf-8")
}

/// An octet of an atom (RFC 822 §3.3) that a parameter's value may hold.
fn is_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\".[]=".contains(&octet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R3461-4.2a, R3461-4.2b, R6533-3a.
    #[test]
    fn type_and_address() {
        for (value, address_type, address) in [
            ("rfc822;Bob@B.example", "rfc822", "Bob@B.example"),
            ("RFC822;a+2Bb@b.c", "RFC822", "a+b@b.c"),
            ("rfc822;+22a+20b+22@b.c", "rfc822", "\"a b\"@b.c"),
            ("rfc822;", "rfc822", ""),
            ("x400;/c=us/", "", ""),
            ("x400;/c+3Dus/;x", "x400", "/c=us/;x"),
            ("utf-8;j\u{fc}@b.c", "utf-8", "j\u{fc}@b.c"),
            ("UTF-8;j\\x{FC}@b.c", "UTF-8", "j\u{fc}@b.c"),
            ("utf-8;plain@b.c", "utf-8", "plain@b.c"),
            // No mailbox: as spelled.
            ("utf-8;j\\x{FC}", "utf-8", "j\\x{FC}"),
            ("utf-8;a\\x{01}b@b.c", "utf-8", "a\\x{01}b@b.c"),
        ] {
            let read = OriginalRecipient::parse(value);
            let parts = read
                .as_ref()
                .map(|read| (read.address_type(), read.address()));
            let (read_type, read_address) = parts.unwrap_or_default();
            assert_eq!(
                (read_type, &*read_address),
                (address_type, address),
                "{value}"
            );
            if let Some(read) = read {
                assert_eq!(read.as_str(), value);
            }
        }
    }

    /// R3461-4.2a, R3461-4.2b, S21.
    #[test]
    fn other_values_are_refused() {
        for bad in [
            "",
            ";",
            "rfc822",
            "rfc822@b.c",
            ";a@b.c",
            "a.b;c",
            "rfc 822;a@b.c",
            "rfc822;a+07b",
            "rfc822;a+0D+0AX-Y:+20z",
            "rfc822;a+7Fb",
            "rfc822;a+C3+BC",
            "rfc822;a+3d",
            "rfc822;a=b",
            "rfc822;\u{fc}@b.c",
            "utf\u{2010}8;a@b.c",
            "utf-8;",
            "utf-8;a+40b.c",
            "utf-8;a=b@c",
            "utf-8;a\\x{0A}b@c",
        ] {
            assert_eq!(OriginalRecipient::parse(bad), None, "{bad}");
        }
        let long = |octets: usize| format!("rfc822;{}", "x".repeat(octets - 7));
        assert!(OriginalRecipient::parse(&long(500)).is_some());
        assert_eq!(OriginalRecipient::parse(&long(501)), None);
    }

    /// R6533-3b, R3461-5.2.1b.
    #[test]
    fn a_hop_without_smtputf8_gets_the_form_of_seven_bits() {
        for (value, ascii) in [
            ("rfc822;A+40b", "rfc822;A+40b"),
            ("utf-8;j\\x{fc}@b.c", "utf-8;j\\x{fc}@b.c"),
            ("Utf-8;j\u{fc}\\x{2B}@b.c", "Utf-8;j\\x{FC}\\x{2B}@b.c"),
        ] {
            let read = OriginalRecipient::parse(value).unwrap();
            assert_eq!(read.to_ascii(), ascii);
        }
    }

    /// R3461-5.2.1c.
    #[test]
    fn made_of_a_mailbox() {
        for (address, value) in [
            ("a+b@c.d", "rfc822;a+2Bb@c.d"),
            ("\"a b\"@c.d", "rfc822;\"a+20b\"@c.d"),
            ("j\u{fc}+x@c.d", "utf-8;j\\x{FC}\\x{2B}x@c.d"),
        ] {
            let made = OriginalRecipient::of(&Mailbox::parse(address).unwrap());
            assert_eq!(made.as_str(), value);
            assert_eq!(made.address(), address);
            assert_eq!(OriginalRecipient::parse(value), Some(made));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            address_type in "[a-z0-9]{1,8}(-[a-z0-9]{1,3})?",
            address in "[ -~]{1,60}",
        ) {
            prop_assume!(!is_utf8(&address_type));
            let value = format!("{address_type};{}", xtext::encode(address.as_bytes()));
            let read = OriginalRecipient::parse(&value).unwrap();
            prop_assert_eq!(read.address(), address);
            prop_assert_eq!(OriginalRecipient::parse(&read.to_string()), Some(read));
        }

        #[test]
        fn no_value_panics_or_holds_a_control(
            value in "(utf-8|rfc822|[a-z]{1,3});(\\PC|\\\\x\\{[0-9A-F]{1,6}\\}|\\+[0-9A-F]{2}){0,20}"
        ) {
            if let Some(read) = OriginalRecipient::parse(&value) {
                prop_assert!(!read.address().contains(char::is_control));
                prop_assert!(read.to_ascii().is_ascii());
                prop_assert!(OriginalRecipient::parse(&read.to_ascii()).is_some() || read.to_ascii().len() > OriginalRecipient::MAX);
            }
        }
    }
}
