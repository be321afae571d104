//! Packets of the milter protocol, version 6: a length, a letter, and what belongs to it.

/// The version that we speak; filters of version 2 on are understood.
pub(super) const VERSION: u32 = 6;
/// The oldest version that is understood.
pub(super) const VERSION_MIN: u32 = 2;
/// Octets of a packet at most, as sent by a filter.
pub(super) const PACKET_MAX: u32 = 1 << 20;
/// Octets of a body at once.
pub(super) const CHUNK: usize = 65_535;

/// What we let a filter change: fields, body, recipients, sender; and quarantine.
pub(super) const ACTIONS: u32 = 0xff;

/// Steps that a filter may do without, and answers that it may save.
pub(super) mod step {
    pub const NO_CONNECT: u32 = 0x1;
    pub const NO_HELO: u32 = 0x2;
    pub const NO_MAIL: u32 = 0x4;
    pub const NO_RCPT: u32 = 0x8;
    pub const NO_BODY: u32 = 0x10;
    pub const NO_HEADERS: u32 = 0x20;
    pub const NO_END_OF_HEADERS: u32 = 0x40;
    pub const SILENT_HEADER: u32 = 0x80;
    pub const NO_UNKNOWN: u32 = 0x100;
    pub const NO_DATA: u32 = 0x200;
    pub const SKIP: u32 = 0x400;
    pub const SILENT_CONNECT: u32 = 0x1000;
    pub const SILENT_HELO: u32 = 0x2000;
    pub const SILENT_MAIL: u32 = 0x4000;
    pub const SILENT_RCPT: u32 = 0x8000;
    pub const SILENT_DATA: u32 = 0x1_0000;
    pub const SILENT_UNKNOWN: u32 = 0x2_0000;
    pub const SILENT_END_OF_HEADERS: u32 = 0x4_0000;
    pub const SILENT_BODY: u32 = 0x8_0000;
    /// Values of fields with the space in front of them.
    pub const LEADING_SPACE: u32 = 0x10_0000;

    /// Everything that we can do.
    pub const ALL: u32 = NO_CONNECT
        | NO_HELO
        | NO_MAIL
        | NO_RCPT
        | NO_BODY
        | NO_HEADERS
        | NO_END_OF_HEADERS
        | SILENT_HEADER
        | NO_UNKNOWN
        | NO_DATA
        | SKIP
        | SILENT_CONNECT
        | SILENT_HELO
        | SILENT_MAIL
        | SILENT_RCPT
        | SILENT_DATA
        | SILENT_UNKNOWN
        | SILENT_END_OF_HEADERS
        | SILENT_BODY
        | LEADING_SPACE;
}

/// Writes a packet.
pub(super) fn write(out: &mut Vec<u8>, letter: u8, parts: &[&[u8]]) {
    let octets: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(octets + 1).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(letter);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Writes what is offered at the start.
pub(super) fn write_offer(out: &mut Vec<u8>) {
    let parts = [VERSION, ACTIONS, step::ALL].map(u32::to_be_bytes);
    write(out, b'O', &[&parts[0], &parts[1], &parts[2]]);
}

/// What a filter wants of the offer: which steps are done, and which answers come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Agreement {
    pub steps: u32,
}

impl Agreement {
    /// Reads the answer to the offer.
    pub fn read(data: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let octets = data.get(at..at + 4)?;
            Some(u32::from_be_bytes(octets.try_into().ok()?))
        };
        let (version, actions, steps) = (number(0)?, number(4)?, number(8)?);
        let fits = (VERSION_MIN..=VERSION).contains(&version)
            && actions & !ACTIONS == 0
            && steps & !step::ALL == 0;
        fits.then_some(Agreement { steps })
    }

    pub fn has(self, steps: u32) -> bool {
        self.steps & steps != 0
    }
}

/// What a filter says.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Said<'a> {
    Continue,
    Accept,
    Reject,
    TempFail,
    Discard,
    /// The reply that the client is to hear.
    ReplyCode(&'a [u8]),
    /// It is at work.
    Progress,
    /// It has seen enough of the body.
    Skip,
    AddField(&'a [u8], &'a [u8]),
    InsertField(u32, &'a [u8], &'a [u8]),
    ChangeField(u32, &'a [u8], &'a [u8]),
    AddRecipient(&'a [u8]),
    RemoveRecipient(&'a [u8]),
    Body(&'a [u8]),
    Sender(&'a [u8]),
    Quarantine(&'a [u8]),
}

impl<'a> Said<'a> {
    /// Reads a packet behind its length; `None` where it is none that we know, or is broken.
    pub fn read(letter: u8, data: &'a [u8]) -> Option<Self> {
        Some(match letter {
            b'c' => Said::Continue,
            b'a' => Said::Accept,
            b'r' => Said::Reject,
            // A filter that gives up on the connection, or on itself.
            b't' | b'f' | b'4' => Said::TempFail,
            b'd' => Said::Discard,
            b'p' => Said::Progress,
            b's' => Said::Skip,
            b'y' => Said::ReplyCode(text(data)?.0),
            b'h' => {
                let (name, rest) = text(data)?;
                Said::AddField(name, text(rest)?.0)
            }
            b'i' | b'm' => {
                let (index, rest) = data.split_at_checked(4)?;
                let index = u32::from_be_bytes(index.try_into().ok()?);
                let (name, rest) = text(rest)?;
                let (value, _) = text(rest)?;
                match letter {
                    b'i' => Said::InsertField(index, name, value),
                    _ => Said::ChangeField(index, name, value),
                }
            }
            // Parameters behind the address are left out.
            b'+' | b'2' => Said::AddRecipient(text(data)?.0),
            b'-' => Said::RemoveRecipient(text(data)?.0),
            b'b' => Said::Body(data),
            b'e' => Said::Sender(text(data)?.0),
            b'q' => Said::Quarantine(text(data)?.0),
            _ => return None,
        })
    }
}

/// Up to the NUL that ends it, and what follows.
fn text(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    Some((&data[..end], &data[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_written() {
        let mut out = Vec::new();
        write(&mut out, b'H', &[b"laptop", b"\0"]);
        assert_eq!(out, b"\0\0\0\x08Hlaptop\0");
        out.clear();
        write_offer(&mut out);
        assert_eq!(out, b"\0\0\0\x0dO\0\0\0\x06\0\0\0\xff\0\x1f\xf7\xff");
    }

    #[test]
    fn agreements_are_read() {
        let read = |data: &[u8]| Agreement::read(data).map(|it| it.steps);
        assert_eq!(read(b"\0\0\0\x06\0\0\0\x11\0\0\0\x42"), Some(0x42));
        assert_eq!(read(b"\0\0\0\x02\0\0\0\0\0\0\0\0"), Some(0));
        // Another version, an action or a step that was not offered, a packet cut short.
        assert_eq!(read(b"\0\0\0\x07\0\0\0\0\0\0\0\0"), None);
        assert_eq!(read(b"\0\0\0\x06\0\0\x01\0\0\0\0\0"), None);
        assert_eq!(read(b"\0\0\0\x06\0\0\0\0\x10\0\0\0"), None);
        assert_eq!(read(b"\0\0\0\x06\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn answers_are_read() {
        for (letter, data, said) in [
            (b'c', &b""[..], Some(Said::Continue)),
            (
                b'y',
                b"550 5.7.1 no\0",
                Some(Said::ReplyCode(b"550 5.7.1 no")),
            ),
            (b'h', b"X-A\0b\0", Some(Said::AddField(b"X-A", b"b"))),
            (
                b'i',
                b"\0\0\0\x01X-A\0b\0",
                Some(Said::InsertField(1, b"X-A", b"b")),
            ),
            (
                b'm',
                b"\0\0\0\x02X-A\0\0",
                Some(Said::ChangeField(2, b"X-A", b"")),
            ),
            (
                b'2',
                b"<a@b.c>\0SIZE=1\0",
                Some(Said::AddRecipient(b"<a@b.c>")),
            ),
            (b'b', b"x\0y", Some(Said::Body(b"x\0y"))),
            (b'h', b"X-A\0b", None),
            (b'm', b"\0\0\0", None),
            (b'l', b"", None),
        ] {
            assert_eq!(Said::read(letter, data), said, "{}", letter.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(letter: u8, data: Vec<u8>) {
            let _ = Said::read(letter, &data);
            let _ = Agreement::read(&data);
        }
    }
}
