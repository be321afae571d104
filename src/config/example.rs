//! The annotated example, made from the fields' own descriptions.

use std::{fmt::Write, path::PathBuf};

use super::{
    fields::{Entry, Table},
    schema::*,
};

/// What the example holds: the defaults, and one certificate and one route to be adapted.
pub(super) fn sample() -> Config {
    Config {
        hostname: "mail.example.org".into(),
        postmaster: "postmaster@example.org".into(),
        certificates: vec![Certificate {
            cert: PathBuf::from("/etc/gatepost/cert.pem"),
            key: PathBuf::from("/etc/gatepost/key.pem"),
            default: false,
        }],
        routes: vec![Route {
            name: "local".into(),
            domains: vec!["example.org".into()],
            transport: "maildir".into(),
            path: "/var/mail/{domain}/{local}".into(),
            recipients: Recipients::Accounts,
        }],
        ..Config::default()
    }
}

/// The annotated configuration file with every key at its default.
pub fn example() -> String {
    let sample = sample();
    let mut text = String::from(
        "# Gatepost's configuration. Every key is shown; those left out have the value shown here.\n\
         # `gatepost check` explains mistakes.\n\n",
    );
    for entry in sample.entries() {
        if !is_table(&entry) {
            write_entry(&mut text, &entry);
        }
    }
    table(&mut text, "[listeners]", &sample.listeners);
    for certificate in &sample.certificates {
        table(&mut text, "[[certificates]]", certificate);
    }
    for route in &sample.routes {
        table(&mut text, "[[routes]]", route);
    }
    table(&mut text, "[limits]", &sample.limits);
    table(&mut text, "[timeouts]", &sample.timeouts);
    table(&mut text, "[auth]", &sample.auth);
    table(&mut text, "[auth.throttle]", &sample.auth.throttle);
    table(&mut text, "[intake]", &sample.intake);
    table(&mut text, "[queue]", &sample.queue);
    table(&mut text, "[delivery]", &sample.delivery);
    table(&mut text, "[spool]", &sample.spool);
    table(&mut text, "[log]", &sample.log);
    table(&mut text, "[http]", &sample.http);
    text
}

/// Tables that get a heading of their own; the throttle's limits are short and stand in line.
fn is_table(entry: &Entry) -> bool {
    let inline = matches!(entry.key, "address" | "network" | "name");
    match &entry.value {
        Some(toml::Value::Table(_)) => !inline,
        Some(toml::Value::Array(items)) => items.iter().any(toml::Value::is_table),
        _ => false,
    }
}

fn table<T: Table>(text: &mut String, heading: &str, table: &T) {
    comment(text, T::DOC);
    text.push_str(heading);
    text.push_str("\n\n");
    for entry in table.entries() {
        if !is_table(&entry) {
            write_entry(text, &entry);
        }
    }
}

fn write_entry(text: &mut String, entry: &Entry) {
    comment(text, entry.doc);
    let value = entry.value.as_ref().map(ToString::to_string);
    // Writing to a String cannot fail.
    let _ = match value {
        Some(value) => writeln!(text, "{} = {value}\n", entry.key),
        None => writeln!(text, "# {} =\n", entry.key),
    };
}

fn comment(text: &mut String, doc: &str) {
    for line in doc.lines() {
        text.push_str(match line.trim() {
            "" => "#",
            _ => "# ",
        });
        text.push_str(line.trim());
        text.push('\n');
    }
}
