//! Quoted-printable for lines of text (RFC 2045 §6.7).

/// Octets of an encoded line at most, CRLF excluded.
const LINE_MAX: usize = 76;

/// Encodes any octets; CRLF stays a line end, a CR or LF alone is encoded.
pub(super) fn encode(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 8);
    let mut column = 0;
    let mut rest = octets;
    while let Some((&octet, behind)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            column = 0;
            rest = &rest[2..];
            continue;
        }
        let ends_line = behind.is_empty() || behind.starts_with(b"\r\n");
        let is_plain = match octet {
            b'=' => false,
            b'!'..=b'~' => true,
            b' ' | b'\t' => !ends_line,
            _ => false,
        };
        let width = if is_plain { 1 } else { 3 };
        // The last octet of a line needs no room for the mark of a soft break.
        let room = if ends_line { LINE_MAX } else { LINE_MAX - 1 };
        if column + width > room {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_plain {
            out.push(octet);
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        column += width;
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(encoded: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = encoded;
        while let Some((&octet, behind)) = rest.split_first() {
            if let Some(next) = rest.strip_prefix(b"=\r\n") {
                rest = next;
            } else if octet == b'=' {
                let digits = std::str::from_utf8(&behind[..2]).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &behind[2..];
            } else {
                out.push(octet);
                rest = behind;
            }
        }
        out
    }

    #[test]
    fn plain_text_stays_plain() {
        for (text, encoded) in [
            ("Hello.\r\n", "Hello.\r\n"),
            ("a=b", "a=3Db"),
            ("a \r\n\tb\t", "a=20\r\n\tb=09"),
            ("gr\u{fc}n\r\n", "gr=C3=BCn\r\n"),
            ("a\rb\nc", "a=0Db=0Ac"),
        ] {
            assert_eq!(encode(text.as_bytes()), encoded.as_bytes());
        }
        let long = "x".repeat(76);
        assert_eq!(encode(long.as_bytes()), long.as_bytes());
        let longer = encode("x".repeat(77).as_bytes());
        assert_eq!(longer, format!("{}=\r\nxx", "x".repeat(75)).as_bytes());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding_and_lines_are_short(
            octets in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b' ')], 0..400)
        ) {
            let encoded = encode(&octets);
            prop_assert!(encoded.is_ascii());
            for line in encoded.split(|octet| *octet == b'\n') {
                prop_assert!(line.len() <= LINE_MAX + 1);
                prop_assert!(!line.ends_with(b" \r") && !line.ends_with(b" "));
            }
            prop_assert_eq!(decode(&encoded), octets);
        }
    }
}
