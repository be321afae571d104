//! A proxy's header, octet by octet: HAProxy's PROXY protocol, version 1 (text) and 2 (binary).
//!
//! Knows no socket. It takes what belongs to the header and nothing behind it, for a ClientHello or
//! a command may stand in the same segment. What follows the addresses in version 2 (TLVs) is
//! skipped. A CRC32C among them is not checked: TCP has a checksum of its own, and this one keeps
//! nobody from making a header up.

use std::net::{IpAddr, SocketAddr};

/// Longest header of version 1, its CRLF included ("The PROXY protocol", §2.1).
const TEXT_OCTETS: usize = 107;

/// Longest header of version 2 that is taken: what a TCP segment carries on every path.
pub(super) const BINARY_OCTETS: usize = 536;

/// Signature, version and command, family, and the length of the rest (§2.2).
const BINARY_FIXED: usize = 16;

const TEXT_START: &[u8] = b"PROXY ";
const BINARY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whose connection it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// A client's, from this address; IPv4 is IPv4, also where it came mapped into IPv6.
    Client(SocketAddr),
    /// The proxy's own (LOCAL), or it does not know whose (UNKNOWN): the peer is who it seems.
    Peer,
}

/// Why octets are no header that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// They do not begin as one.
    #[error("no header")]
    Missing,
    /// It begins as one, and then breaks the rules.
    #[error("{0}")]
    Malformed(&'static str),
    /// It would be longer than any that is needed.
    #[error("header is longer than {max} octets")]
    TooLong {
        /// The most that is taken.
        max: usize,
    },
    /// It speaks of something else than TCP over IPv4 or IPv6.
    #[error("no TCP over IPv4 or IPv6")]
    Unsupported,
}

/// A header as far as it has come.
#[derive(Default)]
pub struct Header(Vec<u8>);

impl Header {
    /// Takes what belongs to the header: how many octets that were, and whose connection it is once
    /// the header is whole. All octets are taken until then.
    ///
    /// # Errors
    /// [`HeaderError`] as soon as no further octet could make it right.
    pub fn take(&mut self, arrived: &[u8]) -> Result<(usize, Option<Source>), HeaderError> {
        for (taken, octet) in (1..).zip(arrived) {
            self.0.push(*octet);
            if let Some(source) = self.whole()? {
                return Ok((taken, Some(source)));
            }
        }
        Ok((arrived.len(), None))
    }

    fn whole(&self) -> Result<Option<Source>, HeaderError> {
        let begins = |start: &[u8]| self.0.iter().zip(start).all(|(octet, due)| octet == due);
        if begins(BINARY_START) {
            binary(&self.0)
        } else if begins(TEXT_START) {
            text(&self.0)
        } else {
            Err(HeaderError::Missing)
        }
    }
}

/// Version 1 (§2.1): words with one space between them, and CRLF.
fn text(octets: &[u8]) -> Result<Option<Source>, HeaderError> {
    if octets.last() != Some(&b'\n') {
        return match octets.len() < TEXT_OCTETS {
            true => Ok(None),
            false => Err(HeaderError::TooLong { max: TEXT_OCTETS }),
        };
    }
    let line = octets
        .strip_suffix(b"\r\n")
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(HeaderError::Malformed("line does not end in CRLF"))?;
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    match words[..] {
        // Whatever follows is to be ignored.
        ["UNKNOWN", ..] => Ok(Some(Source::Peer)),
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let is_of_family = |address: &IpAddr| address.is_ipv4() == (family == "TCP4");
            let address = |word: &str| {
                let address = word.parse().ok().filter(is_of_family);
                address.ok_or(HeaderError::Malformed("address is not of its family"))
            };
            let (from, _) = (address(from)?, address(to)?);
            let (from_port, _) = (port(from_port)?, port(to_port)?);
            Ok(Some(client(from, from_port)))
        }
        ["TCP4" | "TCP6", ..] => Err(HeaderError::Malformed("not two addresses and two ports")),
        _ => Err(HeaderError::Unsupported),
    }
}

fn port(word: &str) -> Result<u16, HeaderError> {
    let is_plain =
        word.bytes().all(|c| c.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    let port = word.parse().ok().filter(|_| is_plain);
    port.ok_or(HeaderError::Malformed("port is no number from 0 to 65535"))
}

/// Version 2 (§2.2).
fn binary(octets: &[u8]) -> Result<Option<Source>, HeaderError> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    let Some((fixed, rest)) = octets.split_first_chunk::<BINARY_FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let read: fn(&[u8]) -> Result<Source, HeaderError> = match (command, family) {
        (LOCAL, _) => |_| Ok(Source::Peer),
        (PROXY, TCP4) => addresses::<4>,
        (PROXY, TCP6) => addresses::<16>,
        (PROXY, _) => return Err(HeaderError::Unsupported),
        _ => return Err(HeaderError::Malformed("version or command is unknown")),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if BINARY_FIXED + length > BINARY_OCTETS {
        return Err(HeaderError::TooLong { max: BINARY_OCTETS });
    }
    match rest.len() < length {
        true => Ok(None),
        false => read(rest).map(Some),
    }
}

/// Two addresses of `N` octets, the client's first, and their ports; perhaps more behind them.
fn addresses<const N: usize>(rest: &[u8]) -> Result<Source, HeaderError>
where
    IpAddr: From<[u8; N]>,
{
    let from = rest.first_chunk::<N>();
    let ports = rest.get(2 * N..).and_then(|rest| rest.first_chunk::<4>());
    let (Some(from), Some([high, low, ..])) = (from, ports) else {
        return Err(HeaderError::Malformed("no room for its addresses"));
    };
    Ok(client((*from).into(), u16::from_be_bytes([*high, *low])))
}

fn client(address: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(octets: &[u8]) -> Result<(usize, Option<Source>), HeaderError> {
        Header::default().take(octets)
    }

    fn from(address: &str) -> Source {
        Source::Client(address.parse().unwrap())
    }

    /// Version 2 with a body of its own length.
    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [BINARY_START, &[command, family], &length, body].concat()
    }

    const FOUR: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 0x01, 0xd1];

    fn six(start: &[u8]) -> Vec<u8> {
        [start, &[0; 32][start.len()..], &[0x13, 0x88, 0x01, 0xd1]].concat()
    }

    /// Headers that are right, and whose connection they say it is.
    fn good() -> Vec<(Vec<u8>, Source)> {
        let tlvs = [FOUR, b"\x04\x00\x01x\x03\x00\x04\xde\xad\xbe\xef"].concat();
        let most = [FOUR, &[0; BINARY_OCTETS - BINARY_FIXED - 12]].concat();
        let mapped = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07";
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let texts = [
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 5000 465\r\n",
                from("192.0.2.7:5000"),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n",
                from("192.0.2.7:0"),
            ),
            (
                "PROXY TCP6 2001:db8::7 ::1 5000 465\r\n",
                from("[2001:db8::7]:5000"),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.7 ::1 5000 465\r\n",
                from("192.0.2.7:5000"),
            ),
            (
                longest,
                from("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            ("PROXY UNKNOWN\r\n", Source::Peer),
            (
                "PROXY UNKNOWN ::1 ::1 1 2 and more than that is said\r\n",
                Source::Peer,
            ),
        ];
        let binaries = [
            (binary(0x21, 0x11, FOUR), from("192.0.2.7:5000")),
            (binary(0x21, 0x11, &tlvs), from("192.0.2.7:5000")),
            (binary(0x21, 0x11, &most), from("192.0.2.7:5000")),
            (
                binary(0x21, 0x21, &six(b"\x20\x01\x0d\xb8")),
                from("[2001:db8::]:5000"),
            ),
            (binary(0x21, 0x21, &six(mapped)), from("192.0.2.7:5000")),
            (binary(0x20, 0x00, b""), Source::Peer),
            (binary(0x20, 0x11, FOUR), Source::Peer),
            (binary(0x20, 0x31, &[0; 216]), Source::Peer),
        ];
        let texts = texts.map(|(text, source)| (text.as_bytes().to_vec(), source));
        texts.into_iter().chain(binaries).collect()
    }

    #[test]
    fn headers_name_the_client_and_end_where_they_end() {
        for (header, source) in good() {
            for behind in [&b""[..], b"\x16\x03\x01", b"EHLO a\r\n", b"\r\n\r\n\0"] {
                let arrived = [&header[..], behind].concat();
                let shown = arrived.escape_ascii();
                assert_eq!(whole(&arrived), Ok((header.len(), Some(source))), "{shown}");
            }
        }
        assert_eq!(TEXT_OCTETS, good()[4].0.len() + 3);
    }

    #[test]
    fn a_header_cut_anywhere_waits_for_the_rest() {
        for (header, source) in good() {
            for cut in 0..header.len() {
                let mut reader = Header::default();
                let (first, second) = header.split_at(cut);
                assert_eq!(
                    reader.take(first),
                    Ok((cut, None)),
                    "{}",
                    first.escape_ascii()
                );
                assert_eq!(reader.take(second), Ok((second.len(), Some(source))));
            }
            let mut reader = Header::default();
            let mut last = None;
            for octet in header {
                assert_eq!(last, None);
                last = reader.take(&[octet]).unwrap().1;
            }
            assert_eq!(last, Some(source));
        }
    }

    #[test]
    fn what_is_no_header_is_told_apart() {
        use HeaderError::*;
        let malformed = |error| matches!(error, Malformed(_));
        let missing = |error| error == Missing;
        let unsupported = |error| error == Unsupported;
        let too_long = |error| matches!(error, TooLong { .. });
        type Is = fn(HeaderError) -> bool;
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat();
        let over = [FOUR, &[0; BINARY_OCTETS - BINARY_FIXED - 11]].concat();
        let rows: [(&[u8], Is); 29] = [
            (b"EHLO client.example\r\n", missing),
            (b"\x16\x03\x01\x02\x00", missing),
            (b"proxy TCP4 192.0.2.7 198.51.100.1 5000 465\r\n", missing),
            (b"PROXYTCP4", missing),
            (b"\r\n\r\n\0\r\nQUIT\r", missing),
            (b"\n", missing),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 465\n", malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n", malformed),
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 465 1\r\n",
                malformed,
            ),
            (
                b"PROXY TCP4  192.0.2.7 198.51.100.1 5000 465\r\n",
                malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 465 \r\n",
                malformed,
            ),
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 465\r\n",
                malformed,
            ),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 +500 465\r\n", malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 0500 465\r\n", malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1  465\r\n", malformed),
            (
                b"PROXY TCP4 192.0.2.07 198.51.100.1 5000 465\r\n",
                malformed,
            ),
            (
                b"PROXY TCP4 2001:db8::7 198.51.100.1 5000 465\r\n",
                malformed,
            ),
            (
                b"PROXY TCP6 2001:db8::7 198.51.100.1 5000 465\r\n",
                malformed,
            ),
            (b"PROXY TCP6 fe80::7%eth0 ::1 5000 465\r\n", malformed),
            (b"PROXY UNKNOWN \xff\r\n", malformed),
            (
                b"PROXY UDP4 192.0.2.7 198.51.100.1 5000 465\r\n",
                unsupported,
            ),
            (b"PROXY \r\n", unsupported),
            (&long, too_long),
            (&binary(0x21, 0x31, &[0; 216]), unsupported),
            (&binary(0x21, 0x12, FOUR), unsupported),
            (&binary(0x21, 0x00, b""), unsupported),
            (&binary(0x22, 0x11, FOUR), malformed),
            (&binary(0x11, 0x11, FOUR), malformed),
            (&binary(0x21, 0x11, &over), too_long),
        ];
        for (octets, is) in rows {
            let found = whole(octets);
            let shown = octets.escape_ascii();
            assert!(found.is_err_and(is), "{shown}: {found:?}");
        }
        for (family, addresses) in [(0x11, 12), (0x21, 36)] {
            for length in 0..addresses {
                let short = binary(0x21, family, &vec![1; length]);
                assert!(whole(&short).is_err_and(malformed), "{family} {length}");
            }
        }
    }

    /// A stranger's octets are kept up to the longest header, whatever lengths they claim.
    #[test]
    fn no_more_is_kept_than_a_header_needs() {
        for start in [&b"PROXY "[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\xff\xff"] {
            let mut header = Header::default();
            let flood = [start, &[b' '; 10_000]].concat();
            assert!(matches!(
                header.take(&flood),
                Err(HeaderError::TooLong { .. })
            ));
            assert!(header.0.len() <= BINARY_OCTETS);
        }
    }
}
