//! Records in the form of a zone file (RFC 1035 §5.1).

use std::fmt;

use crate::{dns::Srv, envelope::Tlsa};

/// Octets of one string of a TXT record.
const STRING_MOST: usize = 255;

/// A record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Without the last dot.
    pub name: String,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Data {
    /// TXT; visible ASCII and spaces.
    Text(String),
    /// SRV.
    Service(Srv),
    /// TLSA.
    Tlsa(Tlsa),
}

impl Data {
    /// The type.
    pub fn kind(&self) -> &'static str {
        match self {
            Data::Text(_) => "TXT",
            Data::Service(_) => "SRV",
            Data::Tlsa(_) => "TLSA",
        }
    }

    /// What it says, as programs that manage zones want it: a text without quotes.
    pub fn value(&self) -> String {
        match self {
            Data::Text(text) => text.clone(),
            Data::Service(srv) => format!(
                "{} {} {} {}.",
                srv.priority, srv.weight, srv.port, srv.target
            ),
            Data::Tlsa(tlsa) => tlsa.to_string(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, kind) = (&self.name, self.data.kind());
        let Data::Text(text) = &self.data else {
            return write!(f, "{name}. IN {kind} {}", self.data.value());
        };
        let quoted: Vec<_> = text
            .as_bytes()
            .chunks(STRING_MOST)
            .map(|chunk| {
                let chunk = String::from_utf8_lossy(chunk);
                format!("\"{}\"", chunk.replace('\\', "\\\\").replace('"', "\\\""))
            })
            .collect();
        match quoted.as_slice() {
            [only] => write!(f, "{name}. IN TXT {only}"),
            several => write!(f, "{name}. IN TXT ( {} )", several.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_as_zone_files_have_them() {
        let line = |data| Line {
            name: "a.example".into(),
            data,
        };
        let text = line(Data::Text("v=x \"y\"".into()));
        assert_eq!(text.to_string(), r#"a.example. IN TXT "v=x \"y\"""#);
        let long = line(Data::Text("a".repeat(256))).to_string();
        assert_eq!(
            long,
            format!("a.example. IN TXT ( \"{}\" \"a\" )", "a".repeat(255))
        );
        let srv = |target: &str| Srv {
            priority: 0,
            weight: 1,
            port: 465,
            target: target.into(),
        };
        let some = line(Data::Service(srv("mail.example")));
        assert_eq!(some.to_string(), "a.example. IN SRV 0 1 465 mail.example.");
        let none = line(Data::Service(srv("")));
        assert_eq!(none.to_string(), "a.example. IN SRV 0 1 465 .");
    }
}
