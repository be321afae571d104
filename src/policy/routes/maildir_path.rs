//! From a path template and a recipient to a Maildir.
//!
//! Pure text. It knows no files: a path made here may or may not exist. That a path never leaves
//! the directory that its template names (S11) is proved here and relied on by `deliver`.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::smtp::Mailbox;

/// Why a Maildir path template is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// It would depend on where the server was started.
    #[error("it is not absolute")]
    NotAbsolute,
    /// A component that stays or climbs, or nothing between two slashes.
    #[error("it has an empty component, `.` or `..`")]
    Component,
    /// Something else in braces, or a lone brace.
    #[error("{0} is none of {{domain}}, {{local}} and {{address}}")]
    Placeholder(String),
    /// Without a separator that no address holds, two addresses could share a path.
    #[error("two placeholders stand in one component; {{address}} is local@domain")]
    TwoPlaceholders,
    /// All mail of the route would go to one Maildir.
    #[error("it has neither {{local}} nor {{address}}, so all recipients would share one Maildir")]
    NotPerAddress,
    /// Not enough is left for the address, or for the whole.
    #[error(
        "a component's own text is longer than {LITERAL_MAX} octets, or the whole than {TEMPLATE_MAX}"
    )]
    TooLong,
    /// NUL ends a path for the system.
    #[error("it holds a control character")]
    Control,
}

/// Octets that a component's own text may have beside the placeholder.
const LITERAL_MAX: usize = 100;
/// Octets of a whole template.
const TEMPLATE_MAX: usize = 1024;
/// Octets of one file name on the file systems in use.
const NAME_MAX: usize = 255;

/// Whether a Maildir path template can be used for every address.
///
/// # Errors
/// [`TemplateError`] with the first thing found wrong.
pub fn check_template(template: &str) -> Result<(), TemplateError> {
    let path = template
        .strip_prefix('/')
        .ok_or(TemplateError::NotAbsolute)?;
    if template.len() > TEMPLATE_MAX {
        return Err(TemplateError::TooLong);
    }
    if template.chars().any(char::is_control) {
        return Err(TemplateError::Control);
    }
    let mut per_address = false;
    for component in path.strip_suffix('/').unwrap_or(path).split('/') {
        if matches!(component, "" | "." | "..") {
            return Err(TemplateError::Component);
        }
        let mut placeholders = 0;
        let mut literal_octets = 0;
        for piece in Pieces(component) {
            match piece {
                Piece::Literal(text) => literal_octets += text.len(),
                Piece::Domain => placeholders += 1,
                Piece::Local | Piece::Address => {
                    placeholders += 1;
                    per_address = true;
                }
                Piece::Unknown(text) => return Err(TemplateError::Placeholder(text.into())),
            }
        }
        if placeholders > 1 {
            return Err(TemplateError::TwoPlaceholders);
        }
        if literal_octets > LITERAL_MAX {
            return Err(TemplateError::TooLong);
        }
    }
    per_address
        .then_some(())
        .ok_or(TemplateError::NotPerAddress)
}

/// Fills a Maildir path template for one address; never leaves the template's directory (S11).
///
/// `{local}` is the local part without quotes and in lower case, `{domain}` the canonical domain,
/// `{address}` both with `@` between them. Octets that a file name cannot or should not hold (`/`,
/// control characters, a leading dot) are written `%` and two hexadecimal digits, and so is `%`
/// itself: two mailboxes share a value only if their folded keys are equal. A value too long for a
/// file name is cut and ends in `%-` and its SHA-256.
///
/// The template must have passed [`check_template`], as those of a [`RouteTable`](super::RouteTable) have; braces
/// that name nothing are copied.
pub fn maildir_path(template: &str, recipient: &Mailbox) -> PathBuf {
    let domain = recipient.domain().canonical();
    let local = recipient.unquoted_local_part().to_lowercase();
    let mut path = String::with_capacity(template.len() + local.len() + domain.len());
    for component in template.split('/').filter(|c| !c.is_empty()) {
        let literal: usize = Pieces(component)
            .map(|piece| match piece {
                Piece::Literal(text) | Piece::Unknown(text) => text.len(),
                Piece::Domain | Piece::Local | Piece::Address => 0,
            })
            .sum();
        let room = NAME_MAX.saturating_sub(literal);
        path.push('/');
        for piece in Pieces(component) {
            match piece {
                Piece::Literal(text) | Piece::Unknown(text) => path.push_str(text),
                Piece::Domain => path.push_str(&file_name(&domain, room)),
                Piece::Local => path.push_str(&file_name(&local, room)),
                Piece::Address => path.push_str(&file_name(&format!("{local}@{domain}"), room)),
            }
        }
    }
    PathBuf::from(path)
}

/// `value` as a file name, or part of one, of at most `room` octets.
fn file_name(value: &str, room: usize) -> String {
    let mut name = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        if c == '/' || c == '%' || c.is_control() || (c == '.' && at == 0) {
            let mut octets = [0; 4];
            for octet in c.encode_utf8(&mut octets).bytes() {
                name.push_str(&format!("%{octet:02x}"));
            }
        } else {
            name.push(c);
        }
    }
    if name.len() <= room {
        return name;
    }
    // `%-` is never written above, so a cut name is never equal to a whole one.
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(value.as_bytes()));
    let mut keep = room.saturating_sub(digest.len() + 2);
    while !name.is_char_boundary(keep) {
        keep -= 1;
    }
    name.truncate(keep);
    name + "%-" + &digest
}

/// A part of a template's component.
enum Piece<'a> {
    Literal(&'a str),
    Domain,
    Local,
    Address,
    /// Braces, whole or lone, that name nothing.
    Unknown(&'a str),
}

/// Reads a component from its front.
struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.0;
        let length = match rest.find(['{', '}']) {
            _ if rest.is_empty() => return None,
            None => rest.len(),
            Some(0) if rest.starts_with('{') => rest.find('}').map_or(rest.len(), |end| end + 1),
            Some(0) => 1,
            Some(brace) => brace,
        };
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some(match piece {
            "{domain}" => Piece::Domain,
            "{local}" => Piece::Local,
            "{address}" => Piece::Address,
            _ if piece.starts_with(['{', '}']) => Piece::Unknown(piece),
            _ => Piece::Literal(piece),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    #[test]
    fn templates_are_checked() {
        let long = format!("/m/{}{{local}}", "x".repeat(LITERAL_MAX + 1));
        for (template, expected) in [
            ("/var/mail/{domain}/{local}", Ok(())),
            ("/var/mail/{address}/", Ok(())),
            ("/var/mail/x-{local}-y/Maildir", Ok(())),
            ("var/mail/{address}", Err(TemplateError::NotAbsolute)),
            ("{address}", Err(TemplateError::NotAbsolute)),
            ("/", Err(TemplateError::Component)),
            ("/var//{address}", Err(TemplateError::Component)),
            ("/var/../{address}", Err(TemplateError::Component)),
            ("/var/./{address}", Err(TemplateError::Component)),
            (
                "/var/{user}",
                Err(TemplateError::Placeholder("{user}".into())),
            ),
            (
                "/var/{Local}",
                Err(TemplateError::Placeholder("{Local}".into())),
            ),
            (
                "/var/{local",
                Err(TemplateError::Placeholder("{local".into())),
            ),
            ("/var/local}", Err(TemplateError::Placeholder("}".into()))),
            ("/var/{local}-{domain}", Err(TemplateError::TwoPlaceholders)),
            ("/var/mail/{domain}", Err(TemplateError::NotPerAddress)),
            ("/var/\0/{local}", Err(TemplateError::Control)),
            (long.as_str(), Err(TemplateError::TooLong)),
        ] {
            assert_eq!(check_template(template), expected, "{template:?}");
        }
    }

    /// S11.
    #[test]
    fn paths_stay_below_their_template() {
        for (template, address, path) in [
            (
                "/m/{domain}/{local}",
                "alice@Ours.Example",
                "/m/ours.example/alice",
            ),
            (
                "/m/{address}/",
                "Alice@ours.example",
                "/m/alice@ours.example",
            ),
            (
                "/m/{local}/Maildir",
                "a+b=c@ours.example",
                "/m/a+b=c/Maildir",
            ),
            ("/m/{local}", "\"..\"@ours.example", "/m/%2e."),
            ("/m/{local}", "\".\"@ours.example", "/m/%2e"),
            ("/m/.{local}", "\".\"@ours.example", "/m/.%2e"),
            (
                "/m/{local}",
                "\"../../etc\"@ours.example",
                "/m/%2e.%2f..%2fetc",
            ),
            ("/m/{local}", "o'brien/x@ours.example", "/m/o'brien%2fx"),
            ("/m/{local}", "\"joe bloggs\"@ours.example", "/m/joe bloggs"),
            ("/m/{local}", "\"joe\"@ours.example", "/m/joe"),
            ("/m/{local}", "a%2fb@ours.example", "/m/a%252fb"),
            ("/m/{local}", "Ü@ours.example", "/m/ü"),
            (
                "/m/{domain}/{local}",
                "u@[IPv6:2001:db8::1]",
                "/m/[ipv6:2001:db8::1]/u",
            ),
        ] {
            assert_eq!(
                maildir_path(template, &mailbox(address)),
                Path::new(path),
                "{address}"
            );
        }
    }

    #[test]
    fn names_too_long_for_a_file_are_cut_and_stay_apart() {
        let domain =
            [&"d".repeat(63), "d", "d"].join(".") + &format!(".{}", "e".repeat(63)).repeat(2);
        let of = |local: &str| maildir_path("/m/{address}", &mailbox(&format!("{local}@{domain}")));
        let (one, two) = (of(&"%".repeat(60)), of(&("%".repeat(59) + "!")));
        for path in [&one, &two] {
            assert_eq!(path.file_name().unwrap().len(), NAME_MAX);
        }
        assert_ne!(one, two);
    }

    fn address() -> impl Strategy<Value = String> {
        let local = prop_oneof![
            "[a-c%2fF./]{1,8}".prop_map(|l| format!("\"{l}\"")),
            "[a-cA-C%/+]{1,64}",
            "[ab%/üÜİ]{1,20}",
            "\"[ -!#-\\[\\]-~]{1,40}\"",
        ];
        let domain = prop_oneof!["[a-b]{1,2}\\.[a-b]{1,63}", "[a-z]{63}(\\.[a-z]{60}){2}"];
        (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"))
    }

    proptest! {
        #[test]
        fn two_mailboxes_share_a_path_only_if_they_are_one(one in address(), two in address()) {
            let (Ok(one), Ok(two)) = (Mailbox::parse(&one), Mailbox::parse(&two)) else {
                return Ok(());
            };
            for template in ["/m/{domain}/{local}", "/m/x{address}y", "/m/{local}/.{domain}"] {
                prop_assert_eq!(
                    maildir_path(template, &one) == maildir_path(template, &two),
                    one.folded_key() == two.folded_key(),
                );
            }
        }

        /// S11.
        #[test]
        fn every_path_is_the_templates_directory_and_plain_names(address in address()) {
            let Ok(mailbox) = Mailbox::parse(&address) else { return Ok(()) };
            let path = maildir_path("/m/{domain}/x{local}", &mailbox);
            let names: Vec<_> = path.components().collect();
            prop_assert_eq!(names.len(), 4);
            prop_assert!(path.starts_with("/m"));
            for name in &names[1..] {
                prop_assert!(matches!(name, Component::Normal(n) if n.len() <= NAME_MAX));
            }
        }
    }
}
