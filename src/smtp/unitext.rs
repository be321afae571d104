//! Addresses beyond ASCII in parameters: `\x{FC}` for a character (RFC 6533 §3).

/// Reads the value of an address of type `utf-8`, in any of its three forms; characters may stand
/// for themselves or be embedded.
///
/// `None` where a character must be embedded and is not, or where an embedding is not of the
/// grammar. What is embedded may be a control character: nothing decoded here is safe to print.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(embedded) = rest.strip_prefix("\\x{") {
            let (digits, behind) = embedded.split_once('}')?;
            decoded.push(point(digits)?);
            rest = behind;
        } else if stands_for_itself(c) {
            decoded.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            return None;
        }
    }
    Some(decoded)
}

/// Writes `text` in ASCII: the form for a command or a field that cannot carry more.
///
/// `text` holds no control characters, as no mailbox does; most of them have no embedding.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && stands_for_itself(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("\\x{{{:02X}}}", u32::from(c)));
        }
    }
    encoded
}

fn stands_for_itself(c: char) -> bool {
    match c {
        '\\' | '+' | '=' => false,
        '!'..='~' => true,
        _ => !c.is_ascii() && !c.is_control(),
    }
}

/// HEXPOINT: no leading zero beyond two digits, and in ASCII only what could not stand for itself.
fn point(digits: &str) -> Option<char> {
    let well_formed = (2..=6).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        && (digits.len() == 2 || !digits.starts_with('0'));
    if !well_formed {
        return None;
    }
    let point = u32::from_str_radix(digits, 16).ok()?;
    match point {
        0x01..=0x09 | 0x10..=0x19 | 0x20 | 0x2B | 0x3D | 0x5C | 0x7F | 0x80.. => {
            char::from_u32(point)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R6533-3a.
    #[test]
    fn three_forms_read_alike() {
        for text in ["j\u{fc}@b.c", "j\\x{FC}@b.c", "j\\x{fc}@b.c"] {
            assert_eq!(decode(text).as_deref(), Some("j\u{fc}@b.c"), "{text}");
        }
        assert_eq!(decode("a\\x{2B}b\\x{20}").as_deref(), Some("a+b "));
        assert_eq!(decode("\\x{1F600}").as_deref(), Some("\u{1f600}"));
        assert_eq!(decode("\\x{10FFFF}").as_deref(), Some("\u{10ffff}"));
    }

    /// R6533-3a.
    #[test]
    fn what_is_not_of_the_grammar_is_not_read() {
        for text in [
            "a+b",
            "a=b",
            "a b",
            "a\\b",
            "\\x{}",
            "\\x{F}",
            "\\x{0FC}",
            "\\x{41}",
            "\\x{0A}",
            "\\x{0D}",
            "\\x{00}",
            "\\x{D800}",
            "\\x{110000}",
            "\\x{1F6000}",
            "\\x{FC",
            "\\x{+C}",
            "\\x{G0}",
            "a\tb",
            "a\u{7f}b",
            "a\u{85}b",
        ] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in "[ -~\u{a0}-\u{10ffff}]{0,40}") {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii() && !encoded.contains([' ', '+', '=']));
            prop_assert_eq!(decode(&encoded), Some(text));
        }
    }
}
