//! As whom to sign in at a next hop: `user`, `password_file`, and `[[routes.credentials]]`.

use std::sync::Arc;

use secrecy::SecretString;

use super::{Complaints, origins::origins};
use crate::{
    config::{
        passwords::{PasswordFile, Passwords},
        schema::{Config, Route},
    },
    policy::routes::Credential,
};

/// Credentials of one route; each attempt looks through them.
const CREDENTIALS_MAX: usize = 1000;

/// Every sign-in of a route, with its password.
pub(super) fn credentials(
    route: &Route,
    passwords: &Passwords,
    complaints: &mut Complaints<'_>,
) -> Vec<Credential> {
    let mut credentials = Vec::new();
    let is_set = !route.user.is_empty() || !route.password_file.is_empty();
    if is_set
        && let Some(password) =
            sign_in("", &route.user, &route.password_file, passwords, complaints)
    {
        credentials.push(Credential {
            origin: None,
            name: route.user.clone(),
            password,
        });
    }
    for (n, written) in route.credentials.iter().enumerate() {
        let table = format!("credentials.{n}.");
        if written.senders.is_empty() && written.accounts.is_empty() {
            let text = "names neither senders nor accounts; a sign-in for everybody's mail is the \
                        route's own user and password_file";
            complaints.about(&format!("credentials.{n}"), text);
        }
        let origins = origins(&table, &written.senders, &written.accounts, complaints);
        let Some(password) = sign_in(
            &table,
            &written.user,
            &written.password_file,
            passwords,
            complaints,
        ) else {
            continue;
        };
        credentials.extend(origins.into_iter().map(|origin| Credential {
            origin: Some(origin),
            name: written.user.clone(),
            password: Arc::clone(&password),
        }));
    }
    if credentials.len() > CREDENTIALS_MAX {
        let text = format!("are for more than {CREDENTIALS_MAX} senders and accounts");
        complaints.about("credentials", text);
    }
    credentials
}

fn sign_in(
    table: &str,
    user: &str,
    file: &str,
    passwords: &Passwords,
    complaints: &mut Complaints<'_>,
) -> Option<Arc<SecretString>> {
    let file_key = format!("{table}password_file");
    if user.is_empty() {
        complaints.about(
            &format!("{table}user"),
            "is missing: the name to sign in with",
        );
    } else if user.chars().any(char::is_control) {
        complaints.about(&format!("{table}user"), "must not hold control characters");
    }
    if file.is_empty() {
        let text =
            "is missing: where the password is, such as \"/etc/gatepost/smarthost.password\"";
        complaints.about(&file_key, text);
        return None;
    }
    match PasswordFile::parse(file).and_then(|file| passwords.take(&file)) {
        Ok(password) => Some(Arc::new(password)),
        Err(error) => {
            complaints.about(&file_key, error.to_string());
            None
        }
    }
}

/// Every password file that routes name, with its key.
pub(in crate::config) fn password_files(config: &Config) -> Vec<(String, PasswordFile)> {
    let routes = config.routes.iter().enumerate();
    let named = routes.flat_map(|(n, route)| {
        let own = (format!("routes.{n}.password_file"), &route.password_file);
        let more = route.credentials.iter().enumerate().map(move |(m, it)| {
            let key = format!("routes.{n}.credentials.{m}.password_file");
            (key, &it.password_file)
        });
        [own].into_iter().chain(more)
    });
    named
        .filter_map(|(key, text)| Some((key, PasswordFile::parse(text).ok()?)))
        .collect()
}
