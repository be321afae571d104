//! `gatepost check`: mistakes in the configuration and around it.

use std::{net::TcpListener, path::Path, process::ExitCode, time::SystemTime};

use crate::{
    config::{ConfigError, Finding, Level, Loaded},
    tls,
};

/// Prints all findings; fails where one would keep the server from starting.
pub fn check(path: &Path, json: bool) -> ExitCode {
    let findings = match Loaded::read(path) {
        Ok(loaded) => around(&loaded),
        Err(ConfigError(findings)) => findings,
    };
    for finding in &findings {
        match serde_json::to_string(finding) {
            Ok(line) if json => println!("{line}"),
            _ => println!("{finding}"),
        }
    }
    if findings.iter().any(|finding| finding.level == Level::Error) {
        return ExitCode::FAILURE;
    }
    if !json {
        println!("{}: good", path.display());
    }
    ExitCode::SUCCESS
}

fn around(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = false;
    for (n, pair) in loaded.config.certificates.iter().enumerate() {
        let key = format!("certificates.{n}.cert");
        let files = tls::PairFiles {
            chain: pair.cert.clone(),
            key: pair.key.clone(),
        };
        match tls::inspect(&files, SystemTime::now()) {
            Ok(found) => {
                named |= found
                    .certificate
                    .names
                    .iter()
                    .any(|name| covers(name, &loaded.config.hostname));
                let warnings = found.warnings.into_iter();
                findings.extend(warnings.map(|text| loaded.finding(&key, text, Level::Warning)));
            }
            Err(error) => {
                named = true;
                findings.push(loaded.finding(&key, error.to_string(), Level::Error));
            }
        }
    }
    if !named {
        findings.push(loaded.finding("hostname", "no certificate names this host", Level::Warning));
    }
    let listeners = &loaded.config.listeners;
    for (name, addresses) in [
        ("submissions", &listeners.submissions),
        ("submission", &listeners.submission),
    ] {
        for (n, address) in addresses.iter().enumerate() {
            if let Err(error) = TcpListener::bind(address) {
                let text =
                    format!("cannot listen on {address} (in order while the server runs): {error}");
                findings.push(loaded.finding(
                    &format!("listeners.{name}.{n}"),
                    text,
                    Level::Warning,
                ));
            }
        }
    }
    match std::fs::metadata(&loaded.config.data_dir) {
        Ok(data) if data.is_dir() => {
            use std::os::unix::fs::PermissionsExt;
            if data.permissions().mode() & 0o007 != 0 {
                findings.push(loaded.finding(
                    "data_dir",
                    "is open to every user; chmod 0700",
                    Level::Warning,
                ));
            }
        }
        Ok(_) => findings.push(loaded.finding("data_dir", "is no directory", Level::Error)),
        Err(error) => findings.push(loaded.finding(
            "data_dir",
            format!("is not there yet: {error}"),
            Level::Warning,
        )),
    }
    findings
}

/// A certificate's name, perhaps with a first label `*` (RFC 6125 §6.4.3).
fn covers(name: &str, host: &str) -> bool {
    let below = |rest: &str| {
        host.split_once('.')
            .is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest))
    };
    name.eq_ignore_ascii_case(host) || name.strip_prefix("*.").is_some_and(below)
}
