//! Base64 as RFC 4954 §4 wants it: nothing is skipped, guessed or repaired.

use data_encoding::BASE64;

use super::RESPONSE_MAX;

/// Decodes strict base64: no foreign character, `=` at the end only, right length, no stray bits.
///
/// `None` too where more than [`RESPONSE_MAX`] octets would come out.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    // The decoder would take two padded texts in a row as one.
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    let body = &text[..text.len() - padding];
    if padding > 2
        || body.contains(&b'=')
        || body.len() / 4 * 3 + body.len() % 4 * 3 / 4 > RESPONSE_MAX
    {
        return None;
    }
    BASE64.decode(text).ok()
}

/// Encodes with padding and without line ends.
pub fn encode_base64(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R4954-4i.
    #[test]
    fn what_is_not_strict_base64_is_refused() {
        for text in [
            "=AAA", "AAA=BBB", "AA!A", "AAA", "A", "=", "==", "====", "AA==AA==", "AAA=AAA=",
            "AAAA=", "AAAA==", "AAAA====", "AA=A", "AA==\n", "AA\n==", " AAAA", "AAA_", "AAA-",
            "AB==", "*",
        ] {
            assert_eq!(decode_base64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decode_base64(b"\xffAAA"), None);
    }

    #[test]
    fn base64_in_plain_cases() {
        for (text, octets) in [
            ("", &b""[..]),
            ("AA==", b"\0"),
            ("VXNlcm5hbWU6", b"Username:"),
            ("AGFsaWNlAHB3", b"\0alice\0pw"),
        ] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(octets));
            assert_eq!(encode_base64(octets), text);
        }
    }

    /// R4954-4j, S15.
    #[test]
    fn a_response_of_12288_octets_is_read_and_one_more_is_not() {
        for (len, taken) in [(RESPONSE_MAX, true), (RESPONSE_MAX + 1, false)] {
            let text = encode_base64(&vec![7; len]);
            assert_eq!(decode_base64(text.as_bytes()).is_some(), taken, "{len}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(decode_base64(encode_base64(&octets).as_bytes()), Some(octets));
        }

        #[test]
        fn encoding_undoes_decoding(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(octets) = decode_base64(&text) {
                prop_assert_eq!(encode_base64(&octets).into_bytes(), text);
            }
        }

        #[test]
        fn what_looks_like_base64_does_not_panic(text in "[A-Za-z0-9+/=]{0,24}") {
            if let Some(octets) = decode_base64(text.as_bytes()) {
                prop_assert_eq!(encode_base64(&octets), text);
            }
        }
    }
}
