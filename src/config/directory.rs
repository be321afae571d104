//! The table `directory`: whose users may sign in beside our own.

use std::path::PathBuf;

use secrecy::SecretString;

use super::{
    options::{Wrong, complain, is_plain},
    passwords::{PasswordFile, Passwords},
    schema::{Config, Directory},
};
use crate::{
    directory::{BindDn, FilterPattern, Https, Ldap, Options, Search, Service, ldap_url},
    smtp::Domain,
    web,
};

/// The room's options; none while no kind is named.
pub(super) fn directory(
    config: &Config,
    passwords: &Passwords,
    wrong: &mut Wrong,
) -> Option<Options> {
    let table = &config.directory;
    let service = match table.kind.as_str() {
        "" => return None,
        "dovecot" => dovecot(table, wrong),
        "ldap" => ldap(table, passwords, wrong),
        "https" => https(table, passwords, wrong),
        other => {
            let text = format!(
                "\"{other}\" is unknown; here there are \"dovecot\", \"ldap\" and \"https\""
            );
            complain(wrong, "directory.kind", text);
            None
        }
    };
    if !table.domain.is_empty() && Domain::parse(&table.domain).is_err() {
        complain(wrong, "directory.domain", "is no domain");
    }
    Some(Options {
        service: service?,
        creates: table.create,
        domain: table.domain.clone(),
        remember: table.remember.0,
        limit: table.timeout.0,
        at_once: table.at_once,
    })
}

/// The files that our own passwords there are in, for those who look at files.
pub(super) fn secret_files(config: &Config) -> Vec<(String, PasswordFile)> {
    let table = &config.directory;
    [
        (
            "directory.search_password_file",
            &table.search_password_file,
        ),
        ("directory.token_file", &table.token_file),
    ]
    .into_iter()
    .filter_map(|(key, text)| Some((key.to_owned(), PasswordFile::parse(text).ok()?)))
    .collect()
}

fn authorities(table: &Directory) -> Option<PathBuf> {
    (!table.ca.as_os_str().is_empty()).then(|| table.ca.clone())
}

fn dovecot(table: &Directory, wrong: &mut Wrong) -> Option<Service> {
    if !is_plain(&table.socket) {
        complain(wrong, "directory.socket", "must be an absolute path");
        return None;
    }
    Some(Service::Dovecot(table.socket.clone()))
}

fn ldap(table: &Directory, passwords: &Passwords, wrong: &mut Wrong) -> Option<Service> {
    let url = ldap_url(&table.url, table.starttls);
    let url = url.map_err(|error| complain(wrong, "directory.url", error));
    let knows_name = |text: &str| text.contains("{user}") || text.contains("{local}");
    let who = match (table.bind_dn.as_str(), table.base.as_str()) {
        ("", "") => {
            let text = "must say as whom to bind, or directory.base where to search";
            complain(wrong, "directory.bind_dn", text);
            return None;
        }
        (dn, "") => {
            if !knows_name(dn) {
                complain(
                    wrong,
                    "directory.bind_dn",
                    "holds neither {user} nor {local}",
                );
            }
            Search::Name(BindDn(dn.to_owned()))
        }
        ("", base) => {
            if !knows_name(&table.filter) {
                complain(
                    wrong,
                    "directory.filter",
                    "holds neither {user} nor {local}",
                );
            }
            Search::Filter {
                base: base.to_owned(),
                filter: FilterPattern(table.filter.clone()),
                search_dn: table.search_dn.clone(),
                search_password: match table.search_dn.as_str() {
                    "" => SecretString::default(),
                    _ => secret(
                        "directory.search_password_file",
                        &table.search_password_file,
                        passwords,
                        wrong,
                    ),
                },
            }
        }
        (_, _) => {
            let text =
                "means nothing beside directory.bind_dn; one of them says how users are found";
            complain(wrong, "directory.base", text);
            return None;
        }
    };
    let (url, starttls) = url.ok()?;
    Some(Service::Ldap(Ldap {
        url,
        starttls,
        who,
        address_attribute: table.address_attribute.clone(),
        authorities: authorities(table),
    }))
}

fn https(table: &Directory, passwords: &Passwords, wrong: &mut Wrong) -> Option<Service> {
    let url = web::address(&table.url);
    let url = url.map_err(|error| complain(wrong, "directory.url", error));
    let token = (!table.token_file.is_empty())
        .then(|| secret("directory.token_file", &table.token_file, passwords, wrong));
    Some(Service::Https(Https {
        url: url.ok()?,
        token,
        authorities: authorities(table),
    }))
}

fn secret(key: &str, file: &str, passwords: &Passwords, wrong: &mut Wrong) -> SecretString {
    PasswordFile::parse(file)
        .and_then(|file| passwords.take(&file))
        .unwrap_or_else(|error| {
            complain(wrong, key, error.to_string());
            SecretString::default()
        })
}
