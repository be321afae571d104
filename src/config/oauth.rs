//! The table `oauth`: whose tokens are taken.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{
    options::{Wrong, complain, is_plain},
    passwords::{PasswordFile, Passwords},
    schema::Config,
};
use crate::{
    oauth::{Introspection, KeySource, Options},
    smtp::Domain,
    web,
};

/// The room's options; none while the table names nobody to ask.
pub(super) fn oauth(config: &Config, passwords: &Passwords, wrong: &mut Wrong) -> Option<Options> {
    let table = &config.oauth;
    if table.keys.is_empty() && table.introspection.is_empty() {
        return None;
    }
    if table.issuer.is_empty() {
        complain(wrong, "oauth.issuer", "must say who issues the tokens");
    }
    if table.audience.is_empty() {
        complain(
            wrong,
            "oauth.audience",
            "must say for whom tokens are: one for another service would open accounts here",
        );
    }
    if table.claim.is_empty() {
        complain(
            wrong,
            "oauth.claim",
            "must name the claim that holds the login name",
        );
    }
    if !table.domain.is_empty() && Domain::parse(&table.domain).is_err() {
        complain(wrong, "oauth.domain", "is no domain");
    }
    Some(Options {
        issuer: table.issuer.clone(),
        audiences: table.audience.clone(),
        keys: keys(&table.keys, wrong),
        introspection: introspection(config, passwords, wrong),
        claim: table.claim.clone(),
        domain: table.domain.clone(),
        scope: table.scope.clone(),
        authorities: (!table.ca.as_os_str().is_empty()).then(|| table.ca.clone()),
        limit: table.timeout.0,
    })
}

/// The file that our secret with the issuer is in, for those who look at files.
pub(super) fn secret_file(config: &Config) -> Option<(String, PasswordFile)> {
    let file = PasswordFile::parse(&config.oauth.client_secret_file).ok()?;
    Some(("oauth.client_secret_file".to_owned(), file))
}

fn keys(text: &str, wrong: &mut Wrong) -> Option<KeySource> {
    if text.is_empty() {
        return None;
    }
    let path = Path::new(text);
    if is_plain(path) {
        return Some(KeySource::File(PathBuf::from(path)));
    }
    match web::address(text) {
        Ok(uri) => Some(KeySource::Url(uri)),
        Err(error) => {
            let text = format!("must be a URL or an absolute path: {error}");
            complain(wrong, "oauth.keys", text);
            None
        }
    }
}

fn introspection(
    config: &Config,
    passwords: &Passwords,
    wrong: &mut Wrong,
) -> Option<Introspection> {
    let table = &config.oauth;
    if table.introspection.is_empty() {
        return None;
    }
    let url = web::address(&table.introspection);
    let url = url.map_err(|error| complain(wrong, "oauth.introspection", error));
    let secret = PasswordFile::parse(&table.client_secret_file)
        .and_then(|file| passwords.take(&file))
        .unwrap_or_else(|error| {
            complain(wrong, "oauth.client_secret_file", error.to_string());
            SecretString::default()
        });
    Some(Introspection {
        url: url.ok()?,
        client_id: table.client_id.clone(),
        client_secret: secret,
        remember: table.remember.0,
    })
}
