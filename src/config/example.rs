//! The annotated example, made from the fields' own descriptions.

use std::{collections::HashSet, fmt::Write, path::PathBuf};

use super::{
    fields::{Entry, Table},
    routes::fits,
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
            ..Route::default()
        }],
        ..Config::default()
    }
}

/// Routes that the example shows without having them, each with what it is good for.
pub(super) fn offers() -> [(&'static str, Route); 3] {
    let smarthost = Route {
        name: "smarthost".into(),
        domains: vec!["*".into()],
        senders: vec!["office.example".into(), "shop.example".into()],
        transport: "relay".into(),
        hosts: vec![RouteHost::Plain("smtp.provider.example:465".into())],
        tls: Some(RouteTls::Implicit),
        user: "example.org".into(),
        password_file: "/etc/gatepost/smarthost.password".into(),
        credentials: vec![RouteCredential {
            senders: vec!["shop.example".into()],
            user: "shop.example".into(),
            password_file: "/etc/gatepost/shop.password".into(),
            ..RouteCredential::default()
        }],
        ..Route::default()
    };
    let dovecot = Route {
        name: "dovecot".into(),
        domains: vec!["example.net".into()],
        transport: "lmtp".into(),
        hosts: vec![RouteHost::Plain("unix:/run/dovecot/lmtp".into())],
        ..Route::default()
    };
    let mail_hosts = Route {
        name: "mx".into(),
        domains: vec!["*".into()],
        transport: "mx".into(),
        ..Route::default()
    };
    [
        (
            "Straight to the mail hosts of all other domains. Take the \"#\" from the lines without a space \
             behind it.",
            mail_hosts,
        ),
        (
            "A smarthost, here for the mail of some of our domains. Without senders it takes everybody's, and \
             the route above has to go.",
            smarthost,
        ),
        ("Mailboxes that another program keeps.", dovecot),
    ]
}

/// The annotated configuration file with every key at its default.
pub fn example() -> String {
    let sample = sample();
    let mut text = String::from(
        "# Gatepost's configuration. Every key is shown; those left out have the value shown here.\n\
         # `gatepost check` explains mistakes.\n\n",
    );
    for entry in sample.entries() {
        // A key and a table of one name exclude each other: whoever adds a table must find none.
        if !is_table(&entry) && entry.key != "filters" {
            write_entry(&mut text, &entry);
        }
    }
    table(&mut text, "[listeners]", &sample.listeners);
    for certificate in &sample.certificates {
        table(&mut text, "[[certificates]]", certificate);
    }
    routes(&mut text, &sample.routes);
    table(&mut text, "[limits]", &sample.limits);
    table(&mut text, "[timeouts]", &sample.timeouts);
    table(&mut text, "[auth]", &sample.auth);
    table(&mut text, "[auth.throttle]", &sample.auth.throttle);
    table(&mut text, "[oauth]", &sample.oauth);
    table(&mut text, "[directory]", &sample.directory);
    table(
        &mut text,
        "[client_certificates]",
        &sample.client_certificates,
    );
    table(&mut text, "[brake]", &sample.brake);
    table(&mut text, "[intake]", &sample.intake);
    filters(&mut text);
    table(&mut text, "[queue]", &sample.queue);
    table(&mut text, "[delivery]", &sample.delivery);
    table(&mut text, "[dns]", &sample.dns);
    table(&mut text, "[mta_sts]", &sample.mta_sts);
    table(&mut text, "[tls_reports]", &sample.tls_reports);
    table(&mut text, "[security]", &sample.security);
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

/// None is in force: the table stands behind marks.
fn filters(text: &mut String) {
    comment(text, Filter::DOC);
    text.push_str("# [[filters]]\n\n");
    let mut keys = String::new();
    let filter = Filter::default();
    filter
        .entries()
        .iter()
        .for_each(|entry| write_entry(&mut keys, entry));
    for line in keys.lines() {
        if !line.is_empty() && !line.starts_with('#') {
            text.push_str("# ");
        }
        text.push_str(line);
        text.push('\n');
    }
}

/// Those in force with all their keys, then the offers with what was not shown before them.
fn routes(text: &mut String, routes: &[Route]) {
    comment(text, Route::DOC);
    let mut described = HashSet::new();
    for route in routes {
        text.push_str("[[routes]]\n\n");
        for entry in entries(route) {
            described.insert(entry.key);
            write_entry(text, &entry);
        }
    }
    let unset = Route::default().entries();
    for (about, route) in offers() {
        comment(text, about);
        text.push_str("#[[routes]]\n\n");
        for entry in entries(&route) {
            let is_unset = unset
                .iter()
                .any(|it| it.key == entry.key && it.value == entry.value);
            match described.insert(entry.key) {
                true => comment(text, entry.doc),
                false if is_unset => continue,
                false => {}
            }
            write_value(text, "#", &entry);
        }
        for credential in &route.credentials {
            comment(text, RouteCredential::DOC);
            text.push_str("#[[routes.credentials]]\n\n");
            for entry in credential.entries() {
                comment(text, entry.doc);
                write_value(text, "#", &entry);
            }
        }
    }
}

/// The keys that mean something to this route; its credentials are tables of their own.
fn entries(route: &Route) -> impl Iterator<Item = Entry> {
    let entries = route.entries().into_iter();
    entries.filter(|entry| entry.key != "credentials" && fits(&route.transport, entry.key))
}

fn write_entry(text: &mut String, entry: &Entry) {
    comment(text, entry.doc);
    write_value(text, "", entry);
}

fn write_value(text: &mut String, mark: &str, entry: &Entry) {
    let value = entry.value.as_ref().map(ToString::to_string);
    // Writing to a String cannot fail.
    let _ = match value {
        Some(value) => writeln!(text, "{mark}{} = {value}\n", entry.key),
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
