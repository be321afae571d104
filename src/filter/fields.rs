//! A header section as filters see it: fields in a list, to be changed by name and number.

/// One field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Field {
    pub name: Vec<u8>,
    /// Behind the colon, with the space in front and the line ends within, without the last one.
    pub value: Vec<u8>,
}

/// Why a change cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a field of the filter's can stand in no message")]
pub(super) struct BadField;

/// Octets of a line at most (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

/// The fields of a section with its blank line.
pub(super) fn split(section: &[u8]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for line in section.split_inclusive(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        match (line.first(), fields.last_mut()) {
            (None, _) => break,
            (Some(b' ' | b'\t'), Some(field)) => {
                field.value.extend_from_slice(b"\r\n");
                field.value.extend_from_slice(line);
            }
            _ => {
                let colon = memchr::memchr(b':', line).unwrap_or(line.len());
                fields.push(Field {
                    name: line[..colon].to_vec(),
                    value: line.get(colon + 1..).unwrap_or_default().to_vec(),
                });
            }
        }
    }
    fields
}

/// The section again, with its blank line.
pub(super) fn join(fields: &[Field]) -> Vec<u8> {
    let mut section = Vec::new();
    for field in fields {
        section.extend_from_slice(&field.name);
        section.push(b':');
        section.extend_from_slice(&field.value);
        section.extend_from_slice(b"\r\n");
    }
    section.extend_from_slice(b"\r\n");
    section
}

/// A field of a filter's making, with its line ends put right.
pub(super) fn made(name: &[u8], value: &[u8], leading_space: bool) -> Result<Field, BadField> {
    let is_name = |octet: &u8| (b'!'..=b'~').contains(octet) && *octet != b':';
    if name.is_empty() || !name.iter().all(is_name) {
        return Err(BadField);
    }
    let mut field = Field {
        name: name.to_vec(),
        value: Vec::with_capacity(value.len() + 1),
    };
    if !leading_space && !value.starts_with(b" ") {
        field.value.push(b' ');
    }
    let mut first = true;
    // One at least, and all but the first are folded.
    for line in value.split(|&octet| octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_folded = line
            .first()
            .is_some_and(|octet| matches!(octet, b' ' | b'\t'));
        let length = line.len() + if first { name.len() + 2 } else { 0 };
        if line.contains(&b'\r') || line.contains(&0) || length > LINE_MAX {
            return Err(BadField);
        }
        if !first {
            let is_blank = line.iter().all(|octet| matches!(octet, b' ' | b'\t'));
            if !is_folded || is_blank {
                return Err(BadField);
            }
            field.value.extend_from_slice(b"\r\n");
        }
        field.value.extend_from_slice(line);
        first = false;
    }
    Ok(field)
}

/// Puts a field before the one with this number.
pub(super) fn insert(fields: &mut Vec<Field>, at: u32, field: Field) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(fields.len());
    fields.insert(at, field);
}

/// Changes the field with this number, from 1, of those with the name; with no value it goes. What
/// is not there is added.
pub(super) fn change(fields: &mut Vec<Field>, number: u32, name: &[u8], field: Option<Field>) {
    let wanted = usize::try_from(number.max(1) - 1).unwrap_or(usize::MAX);
    let mut same = fields
        .iter()
        .enumerate()
        .filter(|(_, other)| other.name.eq_ignore_ascii_case(name));
    let found = same.nth(wanted).map(|(at, _)| at);
    match (found, field) {
        (Some(at), Some(field)) => fields[at].value = field.value,
        (Some(at), None) => drop(fields.remove(at)),
        (None, Some(field)) => fields.push(field),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &[u8] =
        b"From: a@b.c\r\nX-A: one\r\nSubject: long\r\n\tand longer\r\nx-a:two\r\n\r\n";

    #[test]
    fn a_section_survives_its_taking_apart() {
        let fields = split(SECTION);
        assert_eq!(fields.len(), 4);
        assert_eq!(fields[2].value, b" long\r\n\tand longer");
        assert_eq!(join(&fields), SECTION);
        assert_eq!(join(&split(b"\r\n")), b"\r\n");
    }

    #[test]
    fn fields_are_changed_by_name_and_number() {
        let field = |value: &[u8]| Some(made(b"X-A", value, false).unwrap());
        for (number, value, left) in [
            (0, field(b"new"), &b"X-A: new\r\nx-a:two\r\n"[..]),
            (1, field(b"new"), b"X-A: new\r\nx-a:two\r\n"),
            (2, field(b"new"), b"X-A: one\r\nx-a: new\r\n"),
            (3, field(b"new"), b"X-A: one\r\nx-a:two\r\nX-A: new\r\n"),
            (1, None, b"x-a:two\r\n"),
            (3, None, b"X-A: one\r\nx-a:two\r\n"),
            (u32::MAX, None, b"X-A: one\r\nx-a:two\r\n"),
        ] {
            let mut fields = split(SECTION);
            change(&mut fields, number, b"X-a", value);
            fields.retain(|field| field.name.eq_ignore_ascii_case(b"x-a"));
            let shown = join(&fields);
            assert_eq!(shown.strip_suffix(b"\r\n").unwrap(), left, "{number}");
        }
        let mut fields = split(SECTION);
        insert(&mut fields, 1, made(b"X-B", b"b", false).unwrap());
        insert(&mut fields, 99, made(b"X-C", b" c", true).unwrap());
        let shown = join(&fields);
        assert!(shown.starts_with(b"From: a@b.c\r\nX-B: b\r\nX-A: one\r\n"));
        assert!(shown.ends_with(b"X-C: c\r\n\r\n"));
    }

    #[test]
    fn no_field_of_a_filters_breaks_out() {
        for (name, value, made_as) in [
            (&b"X-A"[..], &b"a\n\tb"[..], Some(&b" a\r\n\tb"[..])),
            (b"X-A", b"a\r\n b", Some(b" a\r\n b")),
            (b"X-A", b"", Some(b" ")),
            (b"X-A", b"a\nBcc: x@y.z", None),
            (b"X-A", b"a\n\n", None),
            (b"X-A", b"a\n \n\tb", None),
            (b"X-A", b"a\rb", None),
            (b"X-A", b"a\0b", None),
            (b"X A", b"a", None),
            (b"X:A", b"a", None),
            (b"", b"a", None),
            (b"X-A", &[b'a'; 1000], None),
        ] {
            let field = made(name, value, false).ok().map(|field| field.value);
            assert_eq!(field.as_deref(), made_as, "{}", value.escape_ascii());
        }
    }
}
