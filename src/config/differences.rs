//! What two configurations differ in.

use super::schema::Config;

/// Keys, or whole tables, that are read at the start only; each one's own description says so.
const FIXED: [&str; 9] = [
    "data_dir",
    "user",
    "node",
    "spool",
    "client_certificates",
    "mta_sts",
    "tls_reports",
    "log",
    "http",
];

/// The keys whose values differ, with their tables, in alphabetical order.
pub fn differences(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if let (Ok(old), Ok(new)) = (toml::Value::try_from(old), toml::Value::try_from(new)) {
        compare("", &old, &new, &mut keys);
    }
    keys
}

/// Whether a change of `key` acts at the next start only.
pub fn needs_restart(key: &str) -> bool {
    let first = key.split('.').next();
    FIXED.iter().any(|fixed| first == Some(fixed))
}

fn compare(path: &str, old: &toml::Value, new: &toml::Value, keys: &mut Vec<String>) {
    let (toml::Value::Table(old), toml::Value::Table(new)) = (old, new) else {
        if old != new {
            keys.push(path.to_owned());
        }
        return;
    };
    for (key, old) in old {
        let here = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        match new.get(key) {
            Some(new) => compare(&here, old, new, keys),
            None => keys.push(here),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_their_tables() {
        let old = Config::default();
        let mut new = old.clone();
        assert!(differences(&old, &new).is_empty());
        new.limits.recipients = 7;
        new.node = "other".into();
        new.auth.throttle.name.hour = 1;
        new.http.listen.clear();
        let keys = differences(&old, &new);
        assert_eq!(
            keys,
            [
                "auth.throttle.name.hour",
                "http.listen",
                "limits.recipients",
                "node"
            ]
        );
        let fixed: Vec<_> = keys.iter().filter(|key| needs_restart(key)).collect();
        assert_eq!(fixed, ["http.listen", "node"]);
    }

    #[test]
    fn a_key_that_needs_a_restart_says_so() {
        use super::super::fields::Table;
        for entry in Config::default().entries() {
            let table = match entry.key {
                "spool" => super::super::schema::Spool::DOC,
                "client_certificates" => super::super::schema::ClientCertificates::DOC,
                "mta_sts" => super::super::schema::MtaSts::DOC,
                "tls_reports" => super::super::schema::TlsReports::DOC,
                "log" => super::super::schema::Log::DOC,
                "http" => super::super::schema::Http::DOC,
                _ => entry.doc,
            };
            assert_eq!(
                table.contains("restart"),
                needs_restart(entry.key),
                "{}",
                entry.key
            );
        }
    }
}
