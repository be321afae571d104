//! The map of `src/lib.rs`, held against the code: who may import whom, and what a pure room may
//! not know.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const WORDS: &[&str] = &["smtp", "sasl", "envelope", "message"];
const MACHINES: &[&str] = &["session", "client", "policy", "report"];

/// Each room, and the rooms that it may import beside itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("smtp", &[]),
    ("sasl", &[]),
    ("envelope", &["smtp"]),
    ("message", &["smtp", "envelope"]),
    ("session", &["smtp", "sasl", "envelope"]),
    ("client", &["smtp", "sasl", "envelope"]),
    ("policy", &["smtp", "envelope", "message"]),
    ("report", &["smtp", "envelope", "message"]),
    ("store", &["smtp", "sasl", "envelope", "policy"]),
    ("spool", &["smtp", "envelope", "store"]),
    (
        "accounts",
        &[
            "smtp",
            "sasl",
            "envelope",
            "policy",
            "store",
            "session",
            "oauth",
            "directory",
        ],
    ),
    ("tls", &["envelope"]),
    ("web", &["tls"]),
    ("filter", &["smtp"]),
    ("oauth", &["tls", "web"]),
    ("directory", &["smtp", "tls", "web"]),
    ("dkim", &["smtp", "message", "store"]),
    ("dns", &["smtp", "envelope"]),
    (
        "reach",
        &["smtp", "envelope", "policy", "dns", "tls", "store"],
    ),
    (
        "listener",
        &[
            "smtp", "sasl", "envelope", "message", "session", "policy", "accounts", "tls", "intake",
        ],
    ),
    (
        "intake",
        &[
            "smtp", "sasl", "envelope", "message", "session", "policy", "report", "accounts",
            "filter", "dkim", "spool",
        ],
    ),
    (
        "deliver",
        &[
            "smtp", "sasl", "envelope", "message", "session", "client", "policy", "dkim", "dns",
            "reach", "tls", "store", "spool",
        ],
    ),
    (
        "queue",
        &[
            "smtp", "envelope", "message", "session", "policy", "report", "dkim", "spool",
            "deliver",
        ],
    ),
    (
        "tlsrpt",
        &[
            "smtp", "envelope", "policy", "report", "dkim", "dns", "reach", "tls", "store",
            "spool", "deliver",
        ],
    ),
];

/// What the words and the machines do not know, and the mark by which it would show.
const OUTSIDE: &[(&str, &str)] = &[
    ("tokio", "tokio::"),
    ("files", "std::fs"),
    ("files", "File::"),
    ("sockets", "TcpStream"),
    ("sockets", "UdpSocket"),
    ("a clock", "SystemTime::now"),
    ("a clock", "Instant::now"),
    ("randomness", "getrandom"),
    ("a log", "tracing::"),
    ("counters", "metrics::"),
    ("SQL", "sqlx"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The code of a room's files without their tests and comments.
fn code_of(room: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room);
    let mut paths = Vec::new();
    sources(&folder, &mut paths);
    paths.retain(|path| {
        !path.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            name == "tests" || name.ends_with("tests.rs")
        })
    });
    assert!(!paths.is_empty(), "{room} has no files");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            (path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// The rooms that a piece of code names behind `crate::`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(word(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut expects_name = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expects_name = true,
                        c if c.is_alphabetic() && depth == 0 && expects_name => {
                            rooms.insert(word(&list[at..]));
                            expects_name = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        for (path, code) in code_of(room) {
            for import in imports(&code) {
                if import != *room && !allowed.contains(&import.as_str()) {
                    wrong.push(format!("{} imports {import}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_know_nothing_of_the_outside() {
    let mut wrong = Vec::new();
    for room in WORDS.iter().chain(MACHINES) {
        for (path, code) in code_of(room) {
            for (what, mark) in OUTSIDE {
                if code.contains(mark) {
                    wrong.push(format!("{} knows {what}: {mark}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_store_knows_sql() {
    let mut wrong = Vec::new();
    for (room, _) in MAY_IMPORT.iter().filter(|(room, _)| *room != "store") {
        for (path, code) in code_of(room) {
            if code.contains("sqlx") {
                wrong.push(path);
            }
        }
    }
    for room in ["config", "admin", "cli", "server"] {
        wrong.extend(
            code_of(room)
                .into_iter()
                .filter(|(_, c)| c.contains("sqlx"))
                .map(|f| f.0),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_import_reader_sees_every_form() {
    let code =
        "use crate::{\n  a::{b, c},\n  d,\n  e::f,\n};\nuse crate::g::h;\nlet x = crate::i();";
    let rooms: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(rooms, ["a", "d", "e", "g", "i"]);
}
