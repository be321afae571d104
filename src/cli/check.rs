//! `gatepost check`: mistakes in the configuration and around it. Changes nothing.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Result;
use clap::Args;
use nix::unistd::{Uid, User};
use serde_json::json;

use super::answer::Answer;
use crate::{
    accounts::login_name,
    admin::control::{self, Request},
    config::{ConfigError, Finding, Level, Loaded},
    dns::Dns,
    listener::{Activated, Endpoint, Kind, Listeners},
    policy::routes::{Encryption, LocalRecipients, Origin, Transport, Trust},
    server::{DATABASE, inspect_pairs, leave_root},
    smtp::Mailbox,
    store::{Store, StoreError, accounts::StoredAccount},
    tls,
};

/// Settings of the check.
#[derive(Args, Debug)]
pub struct Check {
    /// Do not try the ports: sockets will be passed in, or the start will tell.
    #[arg(long)]
    no_ports: bool,
}

/// Prints all findings; fails where one would keep the server from starting.
///
/// # Errors
/// Standard output cannot be written to.
pub async fn check(path: &Path, settings: &Check, json: bool) -> Result<ExitCode> {
    // What the files of passwords hold is looked at with the other files.
    let mut findings = match Loaded::read_without_passwords(path) {
        Ok(loaded) => around(path, &loaded, settings).await,
        Err(ConfigError(findings)) => findings,
    };
    findings.sort_by_key(|finding| (finding.line, finding.column));
    let bad = errors(&findings).next().is_some();
    let mut answer = Answer {
        text: findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect(),
        objects: findings.iter().map(|finding| json!(finding)).collect(),
    };
    if !bad {
        answer.text.push_str(&format!("{}: good\n", path.display()));
    }
    answer.print(json)?;
    Ok(match bad {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// In the order of a start: what root may be needed for, then what the service's user must do.
async fn around(path: &Path, loaded: &Loaded, settings: &Check) -> Vec<Finding> {
    let mut findings = certificates(loaded);
    findings.extend(loaded.cautions());
    findings.extend(loaded.inspect_files());
    if !settings.no_ports {
        findings.extend(ports(loaded));
    }
    // What root cannot read either was told already.
    let known: Vec<String> = errors(&findings)
        .map(|finding| finding.key.clone())
        .collect();
    let of_user = as_user(path, loaded).into_iter();
    findings.extend(of_user.filter(|finding| !known.contains(&finding.key)));
    findings.extend(data_dir(loaded));
    findings.extend(postmaster(loaded).await);
    findings.extend(provable(loaded).await);
    findings.extend(authorities(loaded));
    findings.extend(resolver(loaded).await);
    findings.extend(accounts(loaded).await);
    findings
}

fn errors(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    let findings = findings.iter();
    findings.filter(|finding| finding.level == Level::Error)
}

fn certificates(loaded: &Loaded) -> Vec<Finding> {
    let host = &loaded.config.hostname;
    let (mut findings, mut named) = (Vec::new(), false);
    for (n, pair) in inspect_pairs(loaded, SystemTime::now())
        .into_iter()
        .enumerate()
    {
        let found = match pair {
            Ok(found) => found,
            Err(finding) => {
                // What it names cannot be known.
                named = true;
                findings.push(finding);
                continue;
            }
        };
        let names = &found.certificate.names;
        named |= names.iter().any(|name| covers(name, host));
        let key = format!("certificates.{n}.cert");
        let warnings = found.warnings.into_iter();
        findings.extend(warnings.map(|text| loaded.finding(&key, text, Level::Warning)));
    }
    if !named {
        let text = "no certificate names this host";
        findings.push(loaded.finding("hostname", text, Level::Warning));
    }
    findings
}

/// A certificate's name, perhaps with a first label `*` (RFC 6125 §6.4.3).
pub(super) fn covers(name: &str, host: &str) -> bool {
    let below = |rest: &str| {
        host.split_once('.')
            .is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest))
    };
    name.eq_ignore_ascii_case(host) || name.strip_prefix("*.").is_some_and(below)
}

/// Tries every address that the server of this directory does not hold already.
fn ports(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let held = match control::ask(&config.data_dir, Request::Addresses) {
        Ok(Some(control::Answer::Addresses(held))) => held,
        Ok(_) | Err(_) => Vec::new(),
    };
    let lists = [
        ("listeners.submissions", &config.listeners.submissions),
        ("listeners.submission", &config.listeners.submission),
        ("http.listen", &config.http.listen),
    ];
    let mut findings = Vec::new();
    for (list, addresses) in lists {
        for (n, address) in addresses.iter().enumerate() {
            if !held.contains(address)
                && let Some((text, level)) = cannot_listen(*address)
            {
                findings.push(loaded.finding(&format!("{list}.{n}"), text, level));
            }
        }
    }
    findings
}

fn cannot_listen(address: SocketAddr) -> Option<(String, Level)> {
    let endpoint = Endpoint {
        address,
        kind: Kind::Implicit,
    };
    let error = Listeners::open(&[endpoint], Activated::default()).err()?;
    Some(match error.source.kind() {
        std::io::ErrorKind::PermissionDenied => (
            format!("{error}; whether the port is free was not tried, root would know"),
            Level::Warning,
        ),
        _ => (error.to_string(), Level::Error),
    })
}

/// Becomes the service's user, where that is asked for and we may, and looks whether it can read
/// what a reload reads.
fn as_user(path: &Path, loaded: &Loaded) -> Vec<Finding> {
    let name = &loaded.config.user;
    if name.is_empty() {
        return Vec::new();
    }
    let about_user = |text: String, level| vec![loaded.finding("user", text, level)];
    match User::from_name(name) {
        Ok(Some(user)) if user.uid == Uid::effective() => {}
        Ok(Some(_)) if !Uid::effective().is_root() => {
            let text = "what this user can read was not looked at, root would know";
            return about_user(text.to_owned(), Level::Warning);
        }
        Ok(Some(user)) => {
            if let Err(error) = leave_root(&user) {
                return about_user(format!("{error:#}"), Level::Error);
            }
        }
        Ok(None) => return about_user(format!("there is no user {name}"), Level::Error),
        Err(error) => {
            return about_user(
                format!("failed to look up user {name}: {error}"),
                Level::Error,
            );
        }
    }
    let pairs = inspect_pairs(loaded, SystemTime::now()).into_iter();
    let files = loaded.inspect_files();
    let mut findings: Vec<Finding> = pairs
        .filter_map(Result::err)
        .chain(errors(&files).cloned())
        .collect();
    for finding in &mut findings {
        let text = &mut finding.text;
        text.push_str(&format!("; user {name} must be able to read it"));
    }
    if let Err(error) = fs::File::open(path) {
        let text = format!(
            "user {name} cannot read {}, so reloads fail: {error}",
            path.display()
        );
        findings.extend(about_user(text, Level::Warning));
    }
    findings
}

fn data_dir(loaded: &Loaded) -> Vec<Finding> {
    let one = |text: String, level| vec![loaded.finding("data_dir", text, level)];
    let found = match fs::metadata(&loaded.config.data_dir) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = "is not there yet; the server makes it where it may";
            return one(text.to_owned(), Level::Warning);
        }
        Err(error) => return one(format!("cannot be looked at: {error}"), Level::Error),
    };
    if !found.is_dir() {
        return one("is no directory".to_owned(), Level::Error);
    }
    let mut findings = Vec::new();
    let me = Uid::effective();
    if !me.is_root() && found.uid() != me.as_raw() {
        let text = format!(
            "belongs to another user ({}) than this one ({me})",
            found.uid()
        );
        findings.extend(one(text, Level::Warning));
    }
    if found.permissions().mode() & 0o077 != 0 {
        let text = "is open to other users; chmod 0700";
        findings.extend(one(text.to_owned(), Level::Warning));
    }
    findings
}

/// Its route was looked at with the file; here is its mailbox.
async fn postmaster(loaded: &Loaded) -> Vec<Finding> {
    let postmaster = &loaded.options.session.postmaster;
    let table = &loaded.options.queue.routes;
    let route = table.lookup(postmaster, &Origin::default());
    match route.map(|route| route.transport.recipients()) {
        Some(LocalRecipients::Accounts) => {}
        Some(LocalRecipients::Any) | None => return Vec::new(),
    }
    let path = loaded.config.data_dir.join(DATABASE);
    let (key, text, level) = match has_mailbox(&path, postmaster).await {
        Ok(true) => return Vec::new(),
        Ok(false) => (
            "postmaster",
            format!("{postmaster} has no mailbox yet; add its domain or account"),
            Level::Warning,
        ),
        Err(StoreError::NotFound) => (
            "postmaster",
            format!("{postmaster} has no mailbox yet: there are no accounts"),
            Level::Warning,
        ),
        Err(error) => {
            let level = match error {
                StoreError::Corrupt(_) | StoreError::TooNew { .. } | StoreError::Foreign => {
                    Level::Error
                }
                _ => Level::Warning,
            };
            (
                "data_dir",
                format!("{DATABASE} was not read: {error}"),
                level,
            )
        }
    };
    vec![loaded.finding(key, text, level)]
}

/// Whose mail programs would be refused for preferring SCRAM. What is wrong with the database itself
/// was told with the postmaster.
async fn provable(loaded: &Loaded) -> Option<Finding> {
    if !loaded.options.accounts.scram {
        return None;
    }
    let path = loaded.config.data_dir.join(DATABASE);
    let store = Store::open_read_only(&path).await.ok()?;
    let accounts = store.accounts().await;
    store.close().await;
    let lacks = |account: &&StoredAccount| {
        let scram = account.scram.as_ref();
        !account.app_passwords_only && scram.is_none_or(|scram| scram.keys.is_none())
    };
    let accounts = accounts.ok()?;
    let without: Vec<_> = accounts.iter().filter(lacks).collect();
    let first = without.first()?;
    let text = format!(
        "{} of {} accounts, such as {}, cannot prove their password, and programs that prefer \
         SCRAM are refused; set it anew",
        without.len(),
        accounts.len(),
        first.name
    );
    Some(loaded.finding("auth.scram", text, Level::Warning))
}

/// Whether this system trusts anybody, where a route relies on that.
fn authorities(loaded: &Loaded) -> Option<Finding> {
    let mut routes = loaded.options.queue.routes.routes().iter();
    let n = routes.position(|route| {
        match &route.transport {
            // Where a policy (MTA-STS) asks for it.
            Transport::Mx(_) => true,
            transport => transport.hop().is_some_and(|hop| {
                let mut hosts = hop.hosts.iter();
                hop.trust == Trust::System && hosts.any(|it| it.encryption != Encryption::Plaintext)
            }),
        }
    })?;
    let error = tls::Client::open(tls::Trust::SystemRoots).err()?;
    let key = format!("routes.{n}.ca");
    Some(loaded.finding(&key, error.to_string(), Level::Warning))
}

/// Without a resolver that validates there is no DANE, and mail that must be verified waits.
async fn resolver(loaded: &Loaded) -> Option<Finding> {
    let mut routes = loaded.options.queue.routes.routes().iter();
    routes.find(|route| matches!(route.transport, Transport::Mx(_)))?;
    let dns = Dns::new(loaded.options.dns.clone());
    let why = dns.validation().await.why_not()?;
    let suffers = match loaded.options.forecast.levels.has_strict() {
        true => "mail that must be verified waits unless MTA-STS vouches for its hosts",
        false => "DANE is not in use",
    };
    Some(loaded.finding("dns.servers", format!("{why}; {suffers}"), Level::Warning))
}

/// A slip in an account's name would send its mail another way, and nothing would tell.
async fn accounts(loaded: &Loaded) -> Vec<Finding> {
    let named = loaded.config.routes.iter().enumerate().flat_map(|(n, it)| {
        let own = (format!("routes.{n}.accounts"), &it.accounts);
        let more = it.credentials.iter().enumerate().map(move |(m, it)| {
            let key = format!("routes.{n}.credentials.{m}.accounts");
            (key, &it.accounts)
        });
        [own].into_iter().chain(more)
    });
    let named: Vec<_> = named.filter(|(_, names)| !names.is_empty()).collect();
    if named.is_empty() {
        return Vec::new();
    }
    // What keeps it from being read was told with the postmaster, or is that there is none yet.
    let Ok(store) = Store::open_read_only(&loaded.config.data_dir.join(DATABASE)).await else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (key, names) in named {
        for name in names.iter().filter_map(|name| login_name(name)) {
            if let Ok(None) = store.account_by_name(&name).await {
                let text = format!("there is no account {name}");
                findings.push(loaded.finding(&key, text, Level::Warning));
            }
        }
    }
    store.close().await;
    findings
}

async fn has_mailbox(database: &Path, address: &Mailbox) -> Result<bool, StoreError> {
    use crate::store::accounts::AccountError;
    let store = Store::open_read_only(database).await?;
    let found = store.has_mailbox(&address.folded_key()).await;
    store.close().await;
    found.map_err(|error| match error {
        AccountError::Store(error) => error,
        other => StoreError::Database(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (name, host, same) in [
            ("mail.example.org", "MAIL.example.org", true),
            ("*.example.org", "mail.example.org", true),
            ("*.example.org", "a.mail.example.org", false),
            ("*.example.org", "example.org", false),
            ("example.org", "mail.example.org", false),
        ] {
            assert_eq!(covers(name, host), same, "{name} {host}");
        }
    }

    #[tokio::test]
    async fn a_port_that_another_holds_is_an_error_with_its_address() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let (text, level) = cannot_listen(address).unwrap();
        assert!(text.contains(&address.to_string()) && level == Level::Error);
        assert!(cannot_listen("127.0.0.1:0".parse().unwrap()).is_none());
        // TEST-NET-1: no interface has it.
        let (_, level) = cannot_listen("192.0.2.1:0".parse().unwrap()).unwrap();
        assert_eq!(level, Level::Error);
    }
}
