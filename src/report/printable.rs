//! Other people's words made safe to show.
//!
//! An escaped character looks like `\x{1B}`. What is escaped stays readable and can do nothing:
//! neither end a line, nor move a cursor, nor turn the direction of writing.

/// What stands in for the rest of a text that is too long.
const CUT: &str = " [...]";

/// `text` in printable ASCII; blanks of every kind are one blank each.
///
/// More than `max` octets are cut.
pub(super) fn ascii(text: &str, max: usize) -> String {
    written(text, max, |c| matches!(c, ' '..='~'))
}

/// `text` as people read it: letters of every script stay, controls and invisible characters are
/// escaped.
///
/// More than `max` octets are cut.
pub(super) fn readable(text: &str, max: usize) -> String {
    written(text, max, |c| !c.is_control() && !is_invisible(c))
}

/// The lines of a reply, each in printable ASCII; empty ones are left out.
///
/// More than `max` octets in all are cut.
pub(super) fn reply_lines(reply: &str, max: usize) -> Vec<String> {
    let mut left = max;
    let mut lines = Vec::new();
    for line in reply.split('\n') {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() {
            continue;
        }
        if left == 0 {
            lines.push(CUT.trim_start().to_owned());
            break;
        }
        let line = ascii(line, left);
        left = left.saturating_sub(line.len());
        lines.push(line);
    }
    lines
}

fn written(text: &str, max: usize, stays: impl Fn(char) -> bool) -> String {
    let mut written = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if written.len() >= max {
            written.push_str(CUT);
            break;
        }
        match c {
            '\t' => written.push(' '),
            c if stays(c) => written.push(c),
            c => written.push_str(&format!("\\x{{{:02X}}}", u32::from(c))),
        }
    }
    written
}

/// Characters that show nothing or turn the direction of what does (S22).
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S21, S22.
    #[test]
    fn words_of_others_cannot_act() {
        for (text, in_ascii, in_any_script) in [
            ("550 No such user", "550 No such user", "550 No such user"),
            ("a\tb", "a b", "a b"),
            (
                "\x1b[31mred\u{7}",
                "\\x{1B}[31mred\\x{07}",
                "\\x{1B}[31mred\\x{07}",
            ),
            (
                "x\r\nBcc: y",
                "x\\x{0D}\\x{0A}Bcc: y",
                "x\\x{0D}\\x{0A}Bcc: y",
            ),
            ("gr\u{fc}n", "gr\\x{FC}n", "gr\u{fc}n"),
            ("a\u{202e}b", "a\\x{202E}b", "a\\x{202E}b"),
            ("\u{9b}A\u{7f}", "\\x{9B}A\\x{7F}", "\\x{9B}A\\x{7F}"),
        ] {
            assert_eq!(ascii(text, 100), in_ascii);
            assert_eq!(readable(text, 100), in_any_script);
        }
        assert_eq!(ascii("abcdef", 3), "abc [...]");
        assert_eq!(ascii("abc", 3), "abc");
    }

    #[test]
    fn a_reply_keeps_its_lines() {
        assert_eq!(
            reply_lines("550-5.1.1 one\r\n550-\n\n550 5.1.1 tw\ro \r\n", 100),
            ["550-5.1.1 one", "550-", "550 5.1.1 tw\\x{0D}o"]
        );
        assert_eq!(reply_lines("", 100), Vec::<String>::new());
        assert_eq!(reply_lines("abc\ndef\nghi", 4), ["abc", "d [...]", "[...]"]);
    }
}
