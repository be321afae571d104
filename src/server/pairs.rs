//! Certificates as the configuration names them: what is wrong with each, and at which key.

use std::time::SystemTime;

use crate::{
    config::{ConfigError, Finding, Level, Loaded},
    tls::{self, Inspection, PairFiles, TlsError},
};

/// Looks at every pair, in the order of the file.
pub fn inspect_pairs(loaded: &Loaded, now: SystemTime) -> Vec<Result<Inspection, Finding>> {
    let pairs = loaded.config.certificates.iter().enumerate();
    pairs
        .map(|(n, pair)| {
            let files = PairFiles {
                chain: pair.cert.clone(),
                key: pair.key.clone(),
            };
            tls::inspect(&files, now).map_err(|error| {
                let key = match &error {
                    TlsError::Read { path, .. } | TlsError::NoKey(path) if *path == pair.key => {
                        "key"
                    }
                    _ => "cert",
                };
                let key = format!("certificates.{n}.{key}");
                loaded.finding(&key, error.to_string(), Level::Error)
            })
        })
        .collect()
}

/// Whether all of them can be used.
///
/// # Errors
/// [`ConfigError`] with each pair that cannot.
pub(super) fn check_pairs(loaded: &Loaded) -> Result<(), ConfigError> {
    let inspected = inspect_pairs(loaded, SystemTime::now());
    let faults: Vec<_> = inspected.into_iter().filter_map(Result::err).collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(ConfigError(faults)),
    }
}
