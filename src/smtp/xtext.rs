//! xtext: how parameters carry octets that a command line cannot (RFC 3461 §4).

/// Decodes strictly: `+` and two upper-case hexadecimal digits, nothing outside `!` to `~`, and
/// neither `+` nor `=` in the clear. `None` where the text is otherwise.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => decoded.push(hex(octets.next()?)? << 4 | hex(octets.next()?)?),
            b'=' => return None,
            b'!'..=b'~' => decoded.push(octet),
            _ => return None,
        }
    }
    Some(decoded)
}

/// Encodes any octets.
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for octet in octets {
        match octet {
            b'+' | b'=' => text.push_str(&format!("+{octet:02X}")),
            b'!'..=b'~' => text.push(char::from(*octet)),
            _ => text.push_str(&format!("+{octet:02X}")),
        }
    }
    text
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R3461-4a, R5321-4.1.2d.
    #[test]
    fn decoding_is_strict() {
        assert_eq!(decode("a+40b"), Some(b"a@b".to_vec()));
        assert_eq!(decode("<>"), Some(b"<>".to_vec()));
        assert_eq!(decode(""), Some(vec![]));
        for bad in ["a+4", "a+", "a+3d", "a=b", "a b", "é", "a+4G"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(octets: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&octets)), Some(octets));
        }
    }
}
