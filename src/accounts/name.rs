//! Login names in the one form in which they are stored and looked up (S18).

use crate::{
    sasl::{NAME_MAX, prepare},
    smtp::Mailbox,
};

/// Prepares (RFC 4013) and folds a login name; `None` where it has a character that none may have.
///
/// A name with `@` is read as a mailbox, so that its domain counts in any spelling; one without is
/// taken too (RFC 6186 §4 has mail programs try both), and is then a name of its own: it is never
/// completed to an address.
pub fn login_name(text: &str) -> Option<String> {
    if text.len() > NAME_MAX {
        return None;
    }
    let folded = prepare(&prepare(text)?.to_lowercase())?;
    let name = if folded.contains('@') {
        Mailbox::parse(&folded).ok()?.folded_key()
    } else {
        folded
    };
    let at_most_one = name.matches('@').count() <= 1;
    (at_most_one && name.len() <= NAME_MAX && name.chars().all(is_allowed)).then_some(name)
}

/// Letters and digits of any script, and the marks that a dot-string may have (RFC 5321 §4.1.2).
fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || ".@!#$%&'*+-/=?^_`{|}~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// S18, R4954-4l, R6186-4a.
    #[test]
    fn login_names() {
        let long = "a".repeat(256);
        for (text, name) in [
            ("alice@example.org", Some("alice@example.org")),
            ("Alice@EXAMPLE.org", Some("alice@example.org")),
            ("\u{ff41}lice@example.org", Some("alice@example.org")),
            ("al\u{ad}ice@example.org", Some("alice@example.org")),
            ("\"alice\"@example.org", Some("alice@example.org")),
            ("ü@ü.example", Some("ü@xn--tda.example")),
            ("u\u{308}@xn--tda.example", Some("ü@xn--tda.example")),
            ("alice+tag@example.org", Some("alice+tag@example.org")),
            ("alice", Some("alice")),
            ("O'Brien", Some("o'brien")),
            ("", None),
            ("alice bob", None),
            ("\"alice bob\"@example.org", None),
            ("\"a@b\"@example.org", None),
            ("alice@", None),
            ("@example.org", None),
            ("a@b@c.example", None),
            ("alice\u{202e}", None),
            ("alice\0", None),
            ("alice)(uid=*", None),
            ("alice\\", None),
            ("alice\"", None),
            ("alice;drop", None),
            (&long, None),
        ] {
            assert_eq!(login_name(text).as_deref(), name, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_folded_name_is_its_own_folded_form(
            text in "[a-zA-Züß.\u{130}\u{2168}+@\"-]{1,12}|.{0,20}",
        ) {
            if let Some(name) = login_name(&text) {
                prop_assert_eq!(login_name(&name), Some(name));
            }
        }
    }
}
