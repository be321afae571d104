//! What the header section of a message or part says about the octets behind it (RFC 2045 §3).

use super::{
    CannotConvert,
    content_type::{Boundary, ContentType, Label},
};
use crate::{message::fields, smtp::LINE_MAX};

/// A message or part, as its header section tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entity {
    pub nature: Nature,
    pub label: Label,
    /// A whole message, not a part of one.
    pub is_message: bool,
    pub has_type: bool,
    pub has_mime_version: bool,
    /// The section has a line over 998 octets, or octets that no line may hold.
    pub long_header: bool,
    /// The section has octets above 127.
    pub eight_bit_header: bool,
}

/// What stands behind a header section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Nature {
    /// Text in lines, whose octets may be encoded.
    Text,
    /// Other octets that may be encoded.
    Data,
    /// Parts between these boundaries.
    Multipart {
        boundary: Vec<u8>,
        /// Parts without Content-Type are messages (RFC 2046 §5.1.5).
        is_digest: bool,
    },
    /// A message with a header section of its own.
    Message,
    /// Nothing that may be changed, and why.
    Closed(CannotConvert),
}

/// Where an entity stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// It is the message, or a message inside it.
    Message,
    /// It is part of a multipart.
    Part,
    /// It is part of a digest.
    DigestPart,
}

impl Entity {
    /// Reads a section of whole lines; a blank line at its end is passed over.
    pub(super) fn read(section: &[u8], place: Place) -> Self {
        let lines = section.strip_suffix(b"\r\n").unwrap_or(section);
        let has_blank = lines.is_empty() || lines.ends_with(b"\r\n");
        let section = if has_blank { lines } else { section };
        let is_unfit = |line: &[u8]| {
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            text.len() > LINE_MAX || memchr::memchr3(b'\r', b'\n', 0, text).is_some()
        };
        let mut entity = Entity {
            nature: Nature::Text,
            label: Label::Absent,
            is_message: place == Place::Message,
            has_type: false,
            has_mime_version: false,
            long_header: section
                .split_inclusive(|octet| *octet == b'\n')
                .any(is_unfit),
            eight_bit_header: !section.is_ascii(),
        };
        let Ok(found) = fields(section) else {
            entity.nature = Nature::Closed(CannotConvert::PartHeader);
            return entity;
        };
        let mut kind = None;
        for field in found {
            let name = &section[field.name];
            let value = &section[field.value];
            if name.eq_ignore_ascii_case(b"Content-Type") {
                // Readers differ in which of two they take.
                if kind.replace(ContentType::parse(value)).is_some() {
                    entity.nature = Nature::Closed(CannotConvert::Structure);
                }
            } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
                entity.label = match entity.label {
                    Label::Absent => Label::parse(value),
                    _ => Label::Unclear,
                };
            } else if name.eq_ignore_ascii_case(b"MIME-Version") {
                entity.has_mime_version = true;
            }
        }
        entity.has_type = kind.is_some();
        if entity.nature == Nature::Text {
            entity.nature = match kind {
                Some(kind) => nature(kind, entity.label),
                None if place == Place::DigestPart => message(entity.label),
                None => Nature::Text,
            };
        }
        entity
    }
}

fn nature(kind: ContentType, label: Label) -> Nature {
    match (&kind.main[..], &kind.sub[..]) {
        ("multipart", "signed" | "encrypted") => Nature::Closed(CannotConvert::Sealed),
        ("multipart", sub) => match kind.boundary {
            Boundary::Given(boundary) => Nature::Multipart {
                boundary,
                is_digest: sub == "digest",
            },
            Boundary::Missing | Boundary::Unclear => Nature::Closed(CannotConvert::Structure),
        },
        ("message", "rfc822") => message(label),
        // These bear any encoding, for they may hold UTF-8 in their header (RFC 6532 §3.7, 6533).
        ("message", sub) if sub.starts_with("global") => Nature::Data,
        ("message", _) => Nature::Closed(CannotConvert::Unencodable),
        // Sealed octets that came without an encoding bear one: what is signed is what they decode to.
        ("application", "pkcs7-mime" | "x-pkcs7-mime") if label == Label::Binary => Nature::Data,
        (
            "application",
            "pkcs7-mime" | "x-pkcs7-mime" | "pkcs7-signature" | "x-pkcs7-signature"
            | "pgp-encrypted" | "pgp-signature",
        ) => Nature::Closed(CannotConvert::Sealed),
        ("text", _) => Nature::Text,
        _ => Nature::Data,
    }
}

/// A message that somebody encoded all the same (RFC 2045 §6.4 forbids it) is no message to us.
fn message(label: Label) -> Nature {
    match label {
        Label::Absent | Label::SevenBit | Label::EightBit | Label::Binary => Nature::Message,
        Label::QuotedPrintable | Label::Base64 | Label::Unclear => Nature::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natures_follow_type_place_and_label() {
        let closed = Nature::Closed;
        for (section, place, nature) in [
            ("", Place::Message, Nature::Text),
            ("", Place::Part, Nature::Text),
            ("", Place::DigestPart, Nature::Message),
            (
                "Content-Type: text/html\r\n",
                Place::DigestPart,
                Nature::Text,
            ),
            ("Content-Type: image/png\r\n", Place::Part, Nature::Data),
            (
                "Content-Type: message/rfc822\r\n",
                Place::Part,
                Nature::Message,
            ),
            (
                "content-type: message/rfc822\r\ncontent-transfer-encoding: base64\r\n",
                Place::Part,
                Nature::Data,
            ),
            (
                "Content-Type: message/global\r\n",
                Place::Part,
                Nature::Data,
            ),
            (
                "Content-Type: message/partial\r\n",
                Place::Part,
                closed(CannotConvert::Unencodable),
            ),
            (
                "Content-Type: multipart/signed; boundary=x\r\n",
                Place::Message,
                closed(CannotConvert::Sealed),
            ),
            (
                "Content-Type: application/pkcs7-mime\r\n",
                Place::Message,
                closed(CannotConvert::Sealed),
            ),
            (
                "Content-Type: multipart/mixed\r\n",
                Place::Part,
                closed(CannotConvert::Structure),
            ),
            (
                "Content-Type: text/plain\r\nContent-Type: text/html\r\n",
                Place::Part,
                closed(CannotConvert::Structure),
            ),
            (
                "no field\r\n",
                Place::Part,
                closed(CannotConvert::PartHeader),
            ),
            (
                "Content-Type: multipart/digest; boundary=x\r\n\r\n",
                Place::Part,
                Nature::Multipart {
                    boundary: b"x".to_vec(),
                    is_digest: true,
                },
            ),
        ] {
            assert_eq!(
                Entity::read(section.as_bytes(), place).nature,
                nature,
                "{section:?}"
            );
        }
        let twice = b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
        assert_eq!(Entity::read(twice, Place::Part).label, Label::Unclear);
    }
}
