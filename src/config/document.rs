//! The file as text: where each key stands, and which keys nobody knows.

use std::{collections::HashMap, ops::Range};

use toml::de::{DeTable, DeValue};

use super::{Finding, Level, fields::Table, schema::*};

/// Keys with their places.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    text: String,
    places: HashMap<String, Range<usize>>,
}

/// The file is read by too many, and copied too often, to hold passwords.
const NO_PASSWORDS: &str = "passwords do not stand in this file; put it alone into a file that \
    only the server's user can read, and write password_file = \"/path/of/it\"";

fn is_password(name: &str, known: &[&str]) -> bool {
    let words = ["password", "passwd", "pass", "secret"];
    known.contains(&"password_file") && words.contains(&name.to_ascii_lowercase().as_str())
}

/// The keys that a table may hold; tables in an array stand under the array's name.
fn keys_of(table: &str) -> Option<&'static [&'static str]> {
    Some(match table {
        "" => Config::KEYS,
        "listeners" => Listeners::KEYS,
        "certificates" => Certificate::KEYS,
        "limits" => Limits::KEYS,
        "timeouts" => Timeouts::KEYS,
        "auth" => Auth::KEYS,
        "auth.throttle" => Throttle::KEYS,
        "auth.throttle.address" | "auth.throttle.network" | "auth.throttle.name" => {
            ThrottleLimit::KEYS
        }
        "intake" => Intake::KEYS,
        "routes" => Route::KEYS,
        "routes.hosts" => HostTable::KEYS,
        "routes.credentials" => RouteCredential::KEYS,
        "queue" => Queue::KEYS,
        "delivery" => Delivery::KEYS,
        "dns" => Dns::KEYS,
        "mta_sts" => MtaSts::KEYS,
        "tls_reports" => TlsReports::KEYS,
        "security" => Security::KEYS,
        "spool" => Spool::KEYS,
        "log" => Log::KEYS,
        "http" => Http::KEYS,
        _ => return None,
    })
}

impl Document {
    /// Reads the syntax and looks for keys that mean nothing.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let mut document = Document {
            file: file.to_owned(),
            text: text.to_owned(),
            places: HashMap::new(),
        };
        let root = DeTable::parse(text).map_err(|error| vec![document.typed(&error)])?;
        let mut unknown = Vec::new();
        document.walk("", "", root.get_ref(), &mut unknown);
        if unknown.is_empty() {
            Ok(document)
        } else {
            unknown.sort_by_key(|finding| (finding.line, finding.column));
            Err(unknown)
        }
    }

    fn walk(&mut self, table: &str, path: &str, found: &DeTable<'_>, unknown: &mut Vec<Finding>) {
        let Some(known) = keys_of(table) else { return };
        for (key, value) in found {
            let name: &str = key.get_ref();
            let here = join(path, name);
            let below = join(table, name);
            self.places.insert(here.clone(), key.span());
            if !known.contains(&name) {
                let text = match nearest(name, known) {
                    _ if is_password(name, known) => NO_PASSWORDS.to_owned(),
                    Some(right) => format!("no such key; did you mean \"{right}\"?"),
                    None => format!("no such key; known here are {}", known.join(", ")),
                };
                unknown.push(self.finding(&here, text, Level::Error));
                continue;
            }
            match value.get_ref() {
                DeValue::Table(inner) => self.walk(&below, &here, inner, unknown),
                DeValue::Array(items) => {
                    for (n, item) in items.iter().enumerate() {
                        let place = join(&here, &n.to_string());
                        self.places.insert(place.clone(), item.span());
                        if let DeValue::Table(inner) = item.get_ref() {
                            self.walk(&below, &place, inner, unknown);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// What the parser said, with its place and the key that stands there.
    pub fn typed(&self, error: &toml::de::Error) -> Finding {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = self.line_and_column(at);
        let key = self
            .places
            .iter()
            // The last key on the way to the fault; of two that start together the inner one.
            .filter(|(_, place)| place.start <= at)
            .max_by_key(|(key, place)| (place.start, key.len()))
            .map_or(String::new(), |(key, _)| key.clone());
        Finding {
            file: self.file.clone(),
            line,
            column,
            key,
            text: error.message().to_owned(),
            level: Level::Error,
        }
    }

    /// A finding about `key`; where the key is not in the file, its nearest table says where.
    pub fn finding(&self, key: &str, text: String, level: Level) -> Finding {
        let mut path = key;
        let place = loop {
            if let Some(place) = self.places.get(path) {
                break Some(place.start);
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None => break None,
            }
        };
        let (line, column) = place.map_or((0, 0), |at| self.line_and_column(at));
        Finding {
            file: self.file.clone(),
            line,
            column,
            key: key.to_owned(),
            text,
            level,
        }
    }

    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The known key that was most likely meant.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let asked = name.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(&asked, key), *key))
        .min()
        .filter(|(steps, key)| *steps <= 1 + key.len() / 3)
        .map(|(_, key)| key)
}
