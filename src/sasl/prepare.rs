//! SASLprep (RFC 4013), the one form in which names and passwords are compared.

/// Prepares a name or a password; `None` where that fails or nothing is left (RFC 4954 §4).
pub fn prepare(text: &str) -> Option<String> {
    let prepared = stringprep::saslprep(text).ok()?;
    (!prepared.is_empty()).then(|| prepared.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R4954-4l; the first five rows are the examples of RFC 4013 §3.
    #[test]
    fn preparation() {
        for (text, prepared) in [
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}1", None),
            ("", None),
            ("\u{ad}", None),
            ("\u{ff41}\u{ff42}", Some("ab")),
            ("a\u{a0}b", Some("a b")),
            ("u\u{308}", Some("\u{fc}")),
            ("tab\there", None),
            ("nul\0", None),
            ("\u{202e}abc", None),
            ("\u{e000}", None),
        ] {
            assert_eq!(prepare(text).as_deref(), prepared, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_prepared_or_refused(text in any::<String>()) {
            if let Some(prepared) = prepare(&text) {
                prop_assert!(!prepared.is_empty() && !prepared.contains('\0'));
            }
        }
    }
}
