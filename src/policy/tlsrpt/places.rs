//! Where reports go (RFC 8460 §3).

use std::fmt;

use crate::smtp::Mailbox;

/// Places that one domain's reports go to at most.
const PLACES: usize = 4;
/// Octets of a place, decoded.
const PLACE_MOST: usize = 500;

/// Where reports on a domain go.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// To an address.
    Mail(Mailbox),
    /// To a web server, by POST.
    Https(String),
}

impl fmt::Display for Place {
    /// As the record has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Mail(mailbox) => write!(f, "mailto:{mailbox}"),
            Place::Https(url) => f.write_str(url),
        }
    }
}

impl Place {
    /// Reads one URI; none where it is of another kind, or nobody's.
    pub fn parse(uri: &str) -> Option<Self> {
        let uri = uri.trim();
        let is_of = |scheme: &str| {
            let begins = uri.get(..scheme.len());
            begins.is_some_and(|begins| begins.eq_ignore_ascii_case(scheme))
        };
        let decoded = decoded(uri)?;
        if is_of("mailto:") {
            let address = decoded["mailto:".len()..].split('?').next()?;
            let mailbox = Mailbox::parse(address).ok()?;
            // Nobody needs more for a report.
            return address.is_ascii().then_some(Place::Mail(mailbox));
        }
        // What is encoded in a path has to stay so.
        let is_plain = uri.bytes().all(|octet| octet.is_ascii_graphic());
        (is_of("https://") && is_plain).then(|| Place::Https(uri.to_owned()))
    }
}

/// Where reports go, by the texts at `_smtp._tls.<domain>` (RFC 8460 §3): nowhere unless exactly one of
/// them is such a record and names a place that we know how to reach.
pub fn places<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Place> {
    let mut records = texts.filter_map(|text| {
        let rest = text.trim_start().strip_prefix("v=TLSRPTv1")?;
        rest.trim_start().strip_prefix(';')
    });
    let (Some(record), None) = (records.next(), records.next()) else {
        return Vec::new();
    };
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let mut rua = tags.filter(|(name, _)| name.trim() == "rua");
    let uris = rua.next().map_or("", |(_, value)| value).split(',');
    let mut places = Vec::new();
    for place in uris.filter_map(Place::parse) {
        if places.len() < PLACES && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// A URI with its percent signs resolved (RFC 3986 §2.1).
fn decoded(uri: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(uri.len());
    let mut rest = uri.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let digits = rest.get(..2)?;
        octets.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    let text = String::from_utf8(octets).ok()?;
    (text.len() <= PLACE_MOST && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R8460-3a.
    #[test]
    fn records_say_where_reports_go() {
        let of = |texts: &[&str]| -> Vec<String> {
            let places = places(texts.iter().copied());
            places.iter().map(Place::to_string).collect()
        };
        for (texts, expected) in [
            (
                &["v=TLSRPTv1; rua=mailto:reports@example.com"][..],
                &["mailto:reports@example.com"][..],
            ),
            (
                &["v=TLSRPTv1;rua=https://a.example/v1?x=%20y, MAILTO:r@b.example;"],
                &["https://a.example/v1?x=%20y", "mailto:r@b.example"],
            ),
            (
                &[
                    "v=spf1 -all",
                    "v=TLSRPTv1; new=thing; rua=mailto:a%2Bb@c.example?subject=x",
                ],
                &["mailto:a+b@c.example"],
            ),
            (
                &[
                    "v=TLSRPTv1; rua=ftp://x.example/,http://x.example/,mailto:a@b.example,mailto:a@b.example",
                ],
                &["mailto:a@b.example"],
            ),
            (&["v=TLSRPTv1; rua=mailto:nobody"], &[]),
            (&["v=TLSRPTv1; rua=https://x.example/\u{e4}"], &[]),
            (&["v=TLSRPTv1; rua=mailto:a%0A@b.example"], &[]),
            (&["v=TLSRPTv1; rua=mailto:a%zz@b.example"], &[]),
            (&["v=TLSRPTv2; rua=mailto:a@b.example"], &[]),
            (&["v=TLSRPTv10; rua=mailto:a@b.example"], &[]),
            (&["v=TLSRPTv1; rua="], &[]),
            (
                &[
                    "v=TLSRPTv1; rua=mailto:a@b.example",
                    "v=TLSRPTv1; rua=mailto:c@b.example",
                ],
                &[],
            ),
            (&[], &[]),
        ] {
            assert_eq!(of(texts), expected, "{texts:?}");
        }
        let many = (0..9).map(|n| format!("mailto:a{n}@b.example"));
        let many = format!("v=TLSRPTv1; rua={}", many.collect::<Vec<_>>().join(","));
        assert_eq!(of(&[&many]).len(), PLACES);
        let long = format!("v=TLSRPTv1; rua=https://b.example/{}", "a".repeat(600));
        assert!(of(&[&long]).is_empty());
    }
}
