//! Fields of a header section or of a status part, folded (RFC 5322 §2.2.3, RFC 3464 §2.1.1).

/// Octets of a line, where folding can keep to it.
const LINE_GOAL: usize = 76;
/// Octets of a word that is left whole.
pub(super) const WORD_MAX: usize = 900;

/// Appends `name: text` with its CRLF, folded at blanks.
///
/// `text` holds no control characters: what it is made of has been through a parser or through
/// `printable`. Should one be there all the same, it becomes a question mark.
pub(super) fn write(out: &mut String, name: &str, text: &str) {
    write_lines(out, name, &[text]);
}

/// As [`write`]; each further line of `lines` stands on a line of its own.
pub(super) fn write_lines(out: &mut String, name: &str, lines: &[impl AsRef<str>]) {
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push_str("\r\n");
            column = 0;
        }
        write_folded(out, &mut column, line.as_ref());
    }
    out.push_str("\r\n");
}

/// The text behind one blank, folded before a blank where the line grows too long.
fn write_folded(out: &mut String, column: &mut usize, text: &str) {
    let mut blanks = 1;
    let mut is_first = true;
    for word in text.split(' ') {
        if word.is_empty() {
            blanks += 1;
            continue;
        }
        for piece in pieces(word) {
            let width = blanks + piece.len();
            // Never right behind the name: many readers take that for an empty field.
            if !is_first && *column + width > LINE_GOAL {
                out.push_str("\r\n");
                *column = 0;
            }
            out.extend(std::iter::repeat_n(' ', blanks));
            out.extend(piece.chars().map(|c| if c.is_control() { '?' } else { c }));
            *column += width;
            blanks = 1;
            is_first = false;
        }
    }
}

/// A word in pieces that fit into a line, however long it is.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(WORD_MAX));
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write(&mut out, "Name", text);
        out
    }

    #[test]
    fn long_values_fold_at_blanks_and_unfold_to_the_same() {
        assert_eq!(written("a b"), "Name: a b\r\n");
        assert_eq!(written(""), "Name:\r\n");
        let text = "word  ".repeat(40);
        let field = written(text.trim_end());
        assert!(field.lines().all(|line| line.len() <= LINE_GOAL), "{field}");
        assert_eq!(
            field.replace("\r\n ", " "),
            format!("Name: {}\r\n", text.trim_end()).replace("\r\n ", " ")
        );
    }

    /// S21.
    #[test]
    fn no_text_makes_a_second_field_or_a_long_line() {
        assert_eq!(written("a\r\nBcc: b\0"), "Name: a??Bcc: b?\r\n");
        let field = written(&"\u{fc}".repeat(3_000));
        assert!(field.lines().all(|line| line.len() <= 998));
        assert!(field.lines().skip(1).all(|line| line.starts_with(' ')));
    }
}
