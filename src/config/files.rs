//! The files that the configuration names, as this process finds them.

use super::{
    Finding, Level, Loaded,
    directory::secret_files,
    oauth::secret_file,
    passwords::{PasswordError, credentials_directory},
    routes::password_files,
};
use crate::tls;

/// What cannot be used is an error; what only the service can tell, or others can read, a warning.
pub(super) fn inspect(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    let directory = credentials_directory();
    let files = password_files(&loaded.config).into_iter();
    let others = secret_file(&loaded.config).into_iter();
    let others = others.chain(secret_files(&loaded.config));
    for (key, file) in files.chain(others) {
        match file.read(directory.as_deref()) {
            Ok(_) => {}
            Err(error @ PasswordError::NoDirectory(_)) => {
                let text = format!("not looked at: {error}");
                findings.push(loaded.finding(&key, text, Level::Warning));
            }
            Err(error) => findings.push(loaded.finding(&key, error.to_string(), Level::Error)),
        }
        if let Some(text) = file.permission_warning() {
            findings.push(loaded.finding(&key, text, Level::Warning));
        }
    }
    for (n, route) in loaded.config.routes.iter().enumerate() {
        if !route.ca.as_os_str().is_empty()
            && let Err(error) = tls::Client::open(tls::Trust::Ca(route.ca.clone()))
        {
            let key = format!("routes.{n}.ca");
            findings.push(loaded.finding(&key, error.to_string(), Level::Error));
        }
    }
    for (key, ca) in [
        ("oauth.ca", &loaded.config.oauth.ca),
        ("directory.ca", &loaded.config.directory.ca),
        (
            "client_certificates.ca",
            &loaded.config.client_certificates.ca,
        ),
    ] {
        if !ca.as_os_str().is_empty()
            && let Err(error) = tls::Client::open(tls::Trust::Ca(ca.clone()))
        {
            findings.push(loaded.finding(key, error.to_string(), Level::Error));
        }
    }
    findings
}
