//! Sizes and times as people write them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Octets: a number, or a text such as `"50 MiB"`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Octets(pub u64);

/// A length of time: a text such as `"5m"` or `"1h 30m"`, in whole seconds or milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span(pub Duration);

/// A resolver: an address such as `"127.0.0.1"`, or one with a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resolver(pub SocketAddr);

/// The port where resolvers listen.
const DNS_PORT: u16 = 53;

impl FromStr for Resolver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Resolver(SocketAddr::new(address, DNS_PORT)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Resolver(address)),
            Ok(_) | Err(_) => Err(format!(
                "\"{text}\" is no resolver: write an address such as \"127.0.0.1\", \"::1\" or \
                 \"[::1]:5353\""
            )),
        }
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            DNS_PORT => write!(f, "{}", self.0.ip()),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Resolver {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Resolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

const SIZES: [(&str, u64); 8] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
    ("", 1),
];

/// Longest first, as they are written.
const TIMES: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl FromStr for Octets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no size: write a number of octets or such as \"50 MiB\"");
        let (digits, unit) = split(text).ok_or_else(wrong)?;
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = SIZES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        digits.checked_mul(*factor).map(Octets).ok_or_else(wrong)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no time: write such as \"30s\", \"5m\" or \"72h\"");
        let (mut rest, mut total) = (text.trim(), 0u64);
        while !rest.is_empty() {
            let (number, behind) = split(rest).ok_or_else(wrong)?;
            let behind = behind.trim_start();
            let end = behind
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(behind.len());
            let (_, factor) = TIMES
                .iter()
                .find(|(name, _)| *name == &behind[..end])
                .ok_or_else(wrong)?;
            let part = number.checked_mul(*factor).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = behind[end..].trim_start();
        }
        match text.trim() {
            "" => Err(wrong()),
            // Ten years: longer is a slip, and sums of times must not wrap.
            _ if total > 315_360_000_000 => Err(wrong()),
            _ => Ok(Span(Duration::from_millis(total))),
        }
    }
}

/// Digits (underscores between them are fine) and what follows.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let number = text[..end].replace('_', "").parse().ok()?;
    Some((number, &text[end..]))
}

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 > 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{} {name}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        // Days only where hours would be hard to read.
        for (name, factor) in TIMES {
            if millis > 0 && millis.is_multiple_of(factor) {
                return write!(f, "{}{name}", millis / factor);
            }
        }
        write!(f, "0s")
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct OctetsVisitor;

impl de::Visitor<'_> for OctetsVisitor {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of octets, or a text such as \"50 MiB\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Octets, E> {
        u64::try_from(value)
            .map(Octets)
            .map_err(|_| E::custom("a size cannot be negative"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Octets, E> {
        Ok(Octets(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Octets, E> {
        value.parse().map_err(E::custom)
    }
}

struct SpanVisitor;

impl de::Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time with its unit, such as \"30s\", \"5m\" or \"72h\"")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Span, E> {
        value.parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OctetsVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, octets) in [
            ("0", Some(0)),
            ("65536", Some(65_536)),
            ("65_536", Some(65_536)),
            ("50 MiB", Some(50 << 20)),
            ("50MiB", Some(50 << 20)),
            ("1 gib", Some(1 << 30)),
            ("10 kB", Some(10_000)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5 MiB", None),
            ("5 MiX", None),
            ("99999999999 GiB", None),
        ] {
            assert_eq!(text.parse::<Octets>().ok(), octets.map(Octets), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [
            ("1s", Some(1_000)),
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("72h", Some(259_200_000)),
            ("1h 30m", Some(5_400_000)),
            ("5d", Some(432_000_000)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5 minutes", None),
            ("-5s", None),
            ("99999d", None),
            ("18446744073709551615d", None),
        ] {
            let found = text.parse::<Span>().ok().map(|span| span.0);
            assert_eq!(found, millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn written_and_read_again_is_the_same() {
        for octets in [0, 1, 1024, 1025, 50 << 20, 1 << 30].map(Octets) {
            assert_eq!(octets.to_string().parse(), Ok(octets));
        }
        for span in
            [0, 1, 1_000, 90_000, 3_600_000, 432_000_000].map(|n| Span(Duration::from_millis(n)))
        {
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn a_resolver_is_an_address_with_or_without_a_port() {
        for (text, address, shown) in [
            ("127.0.0.1", "127.0.0.1:53", "127.0.0.1"),
            ("::1", "[::1]:53", "::1"),
            ("[::1]", "[::1]:53", "::1"),
            ("[::1]:5353", "[::1]:5353", "[::1]:5353"),
            ("127.0.0.1:5353", "127.0.0.1:5353", "127.0.0.1:5353"),
        ] {
            let resolver: Resolver = text.parse().unwrap();
            assert_eq!(resolver.0.to_string(), address);
            assert_eq!(resolver.to_string(), shown);
        }
        for text in [
            "",
            "localhost",
            "dns.example:53",
            "127.0.0.1:0",
            "[127.0.0.1",
        ] {
            assert!(text.parse::<Resolver>().is_err(), "{text}");
        }
    }
}
