//! Words from the network made safe to show: printable ASCII of bounded length.

/// `octets` or a text in printable ASCII, everything else as `\xNN`; what is longer than `max`
/// octets is cut.
pub(super) fn printable(text: impl AsRef<[u8]>, max: usize) -> String {
    let mut shown = String::new();
    for octet in text.as_ref() {
        if shown.len() >= max {
            shown.push_str(" [...]");
            break;
        }
        match octet {
            b' '..=b'~' => shown.push(char::from(*octet)),
            octet => shown.push_str(&format!("\\x{octet:02X}")),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S21.
    #[test]
    fn nothing_shown_can_act() {
        for (text, shown) in [
            (&b"220 mail ESMTP"[..], "220 mail ESMTP"),
            (b"\x1b[31m\r\n", "\\x1B[31m\\x0D\\x0A"),
            ("g\u{fc}".as_bytes(), "g\\xC3\\xBC"),
            (b"", ""),
        ] {
            assert_eq!(printable(text, 50), shown);
        }
        assert_eq!(printable("abcdef", 3), "abc [...]");
        assert_eq!(printable("abc", 3), "abc");
    }
}
