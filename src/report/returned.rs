//! What of the message goes back: all of it, or its header (RFC 3461 §6.2, RFC 6522 §3 and §4,
//! RFC 6533 §4).

use super::{Incident, Kind, ReturnChannel, quoted_printable};
use crate::smtp::Return;

/// Octets of a message, header section included, that is returned whole; of a larger one the
/// header goes back (RFC 3461 §6.2).
pub const RETURN_MAX_OCTETS: u64 = 1 << 20;

/// Octets of a line at most, CRLF excluded (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

/// Whether a report of this kind returns the body of a message of `size_octets`, so that it is
/// worth reading.
///
/// Without RET it does (RFC 6522 §3); where nothing failed it never does (RFC 3461 §6.2).
pub fn returns_body(kind: Kind, ret: Option<Return>, size_octets: u64) -> bool {
    kind == Kind::Failure && ret != Some(Return::Headers) && size_octets <= RETURN_MAX_OCTETS
}

/// The third part of a report.
#[derive(Debug)]
pub(super) struct Returned {
    /// Its media type.
    pub media_type: &'static str,
    /// Its transfer encoding.
    pub encoding: Encoding,
    /// What stands in the part, encoded.
    pub octets: Vec<u8>,
    /// The body is in it.
    pub is_whole: bool,
}

/// A transfer encoding that a report uses (RFC 2045 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    SevenBit,
    EightBit,
    QuotedPrintable,
}

impl Encoding {
    /// As it is registered.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7bit",
            Encoding::EightBit => "8bit",
            Encoding::QuotedPrintable => "quoted-printable",
        }
    }
}

/// Chooses and writes what goes back.
pub(super) fn write(incident: &Incident<'_>, kind: Kind) -> Returned {
    let header = incident.header;
    if let Some(body) = incident.body {
        let size = u64::try_from(header.len() + 2 + body.len()).unwrap_or(u64::MAX);
        if returns_body(kind, incident.ret, size)
            && let Some(whole) = whole(header, body, incident.channel)
        {
            return whole;
        }
    }
    header_only(header, incident.channel)
}

/// The whole message, where the way back carries it.
fn whole(header: &[u8], body: &[u8], channel: ReturnChannel) -> Option<Returned> {
    let octets = [header, b"\r\n", body].concat();
    let is_text = is_text(&octets);
    if header.is_ascii() {
        // This type may not be encoded as a whole (RFC 2046 §5.2.1): what does not travel as it
        // is goes back as its header (RFC 6522 §3).
        let encoding = if octets.is_ascii() {
            Encoding::SevenBit
        } else {
            Encoding::EightBit
        };
        let travels = encoding == Encoding::SevenBit || channel != ReturnChannel::SevenBit;
        return (is_text && travels).then_some(Returned {
            media_type: "message/rfc822",
            encoding,
            octets,
            is_whole: true,
        });
    }
    std::str::from_utf8(header).ok()?;
    Some(global("message/global", octets, is_text, channel, true))
}

fn header_only(header: &[u8], channel: ReturnChannel) -> Returned {
    let is_text = is_text(header);
    if !header.is_ascii() && std::str::from_utf8(header).is_ok() {
        let octets = header.to_vec();
        return global("message/global-headers", octets, is_text, channel, false);
    }
    let (encoding, octets) = if header.is_ascii() && is_text {
        (Encoding::SevenBit, header.to_vec())
    } else {
        (Encoding::QuotedPrintable, quoted_printable::encode(header))
    };
    Returned {
        media_type: "text/rfc822-headers",
        encoding,
        octets,
        is_whole: false,
    }
}

/// A part with a header beyond ASCII: as it is where SMTPUTF8 leads back, else encoded
/// (RFC 6533 §4.5).
fn global(
    media_type: &'static str,
    octets: Vec<u8>,
    is_text: bool,
    channel: ReturnChannel,
    is_whole: bool,
) -> Returned {
    let (encoding, octets) = if channel == ReturnChannel::Utf8 && is_text {
        (Encoding::EightBit, octets)
    } else {
        (Encoding::QuotedPrintable, quoted_printable::encode(&octets))
    };
    Returned {
        media_type,
        encoding,
        octets,
        is_whole,
    }
}

/// Whether it is lines that a 7bit or 8bit part can hold: ended by CRLF, not too long, no CR, LF
/// or NUL elsewhere (RFC 2045 §2.7, §2.8).
fn is_text(octets: &[u8]) -> bool {
    let mut lines = octets.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = match (lines.peek(), line) {
            (None, line) => line,
            (Some(_), [line @ .., b'\r']) => line,
            (Some(_), _) => return false,
        };
        if line.len() > LINE_MAX || memchr::memchr2(b'\r', 0, line).is_some() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R3461-6.2a, R3461-6.2b, R6522-3b.
    #[test]
    fn only_a_failure_returns_the_body() {
        for (kind, ret, size, expected) in [
            (Kind::Failure, None, 100, true),
            (Kind::Failure, Some(Return::Full), RETURN_MAX_OCTETS, true),
            (
                Kind::Failure,
                Some(Return::Full),
                RETURN_MAX_OCTETS + 1,
                false,
            ),
            (Kind::Failure, Some(Return::Headers), 100, false),
            (Kind::Delay, Some(Return::Full), 100, false),
            (Kind::Success, Some(Return::Full), 100, false),
            (Kind::Success, None, 100, false),
        ] {
            assert_eq!(
                returns_body(kind, ret, size),
                expected,
                "{kind:?} {ret:?} {size}"
            );
        }
    }

    /// R6522-3c, R6522-4a, R6533-4a, R6533-4.5a.
    #[test]
    fn types_and_encodings_follow_content_and_channel() {
        use Encoding::{EightBit, QuotedPrintable, SevenBit};
        use ReturnChannel as Channel;
        let long = "x".repeat(999);
        for (header, body, channel, media_type, encoding) in [
            (
                "A: b\r\n",
                "x\r\n",
                Channel::SevenBit,
                "message/rfc822",
                SevenBit,
            ),
            (
                "A: b\r\n",
                "x",
                Channel::SevenBit,
                "message/rfc822",
                SevenBit,
            ),
            (
                "A: b\r\n",
                "\u{fc}",
                Channel::EightBit,
                "message/rfc822",
                EightBit,
            ),
            (
                "A: b\r\n",
                "\u{fc}",
                Channel::Utf8,
                "message/rfc822",
                EightBit,
            ),
            (
                "A: b\r\n",
                "\u{fc}",
                Channel::SevenBit,
                "text/rfc822-headers",
                SevenBit,
            ),
            (
                "A: b\r\n",
                "x\ny",
                Channel::Utf8,
                "text/rfc822-headers",
                SevenBit,
            ),
            (
                "A: b\r\n",
                "x\0y",
                Channel::Utf8,
                "text/rfc822-headers",
                SevenBit,
            ),
            (
                "A: b\r\n",
                &long,
                Channel::Utf8,
                "text/rfc822-headers",
                SevenBit,
            ),
            (
                "A: \u{fc}\r\n",
                "x",
                Channel::Utf8,
                "message/global",
                EightBit,
            ),
            (
                "A: \u{fc}\r\n",
                "x",
                Channel::EightBit,
                "message/global",
                QuotedPrintable,
            ),
            (
                "A: \u{fc}\r\n",
                &long,
                Channel::Utf8,
                "message/global",
                QuotedPrintable,
            ),
        ] {
            let part = whole(header.as_bytes(), body.as_bytes(), channel)
                .unwrap_or_else(|| header_only(header.as_bytes(), channel));
            let found = (part.media_type, part.encoding);
            assert_eq!(
                found,
                (media_type, encoding),
                "{header:?} {body:?} {channel:?}"
            );
        }
        for (header, channel, media_type, encoding) in [
            (
                &b"A: b\r\n"[..],
                Channel::SevenBit,
                "text/rfc822-headers",
                SevenBit,
            ),
            (
                b"A: \xc3\xbc\r\n",
                Channel::Utf8,
                "message/global-headers",
                EightBit,
            ),
            (
                b"A: \xc3\xbc\r\n",
                Channel::SevenBit,
                "message/global-headers",
                QuotedPrintable,
            ),
            (
                b"A: \xfc\r\n",
                Channel::Utf8,
                "text/rfc822-headers",
                QuotedPrintable,
            ),
            (
                b"A: b\rc\r\n",
                Channel::Utf8,
                "text/rfc822-headers",
                QuotedPrintable,
            ),
        ] {
            let part = header_only(header, channel);
            assert_eq!(
                (part.media_type, part.encoding),
                (media_type, encoding),
                "{header:?}"
            );
        }
    }
}
