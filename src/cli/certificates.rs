//! `gatepost user certificate`: which certificate of a client opens which account.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Subcommand};
use data_encoding::HEXLOWER;
use serde_json::json;

use super::{
    accounts::{changed, login},
    answer::{Answer, columns},
    timestamp,
};
use crate::{
    config::Loaded,
    store::{Store, certificates::StoredCertificate},
    tls::{fingerprint, parse_fingerprint, read_pem},
};

/// Characters of a label at most.
const LABEL_MAX: usize = 64;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Let a certificate open an account (client_certificates.ask must be on).
    #[command(group(ArgGroup::new("which").required(true)))]
    Add {
        /// The account's login name.
        user: String,
        /// What it is for, such as printer.
        #[arg(long)]
        label: String,
        /// PEM file of the certificate.
        #[arg(long, group = "which")]
        file: Option<PathBuf>,
        /// Its SHA-256 fingerprint, as openssl x509 -fingerprint -sha256 shows it.
        #[arg(long, group = "which", value_name = "HEX")]
        fingerprint: Option<String>,
    },
    /// List an account's.
    List {
        /// The account's login name.
        user: String,
    },
    /// Take one away; sessions that signed in with it end with their connection.
    Remove {
        /// The account's login name.
        user: String,
        /// As listed.
        fingerprint: String,
    },
}

impl CertificateCommand {
    /// Does it.
    pub async fn run(self, store: Store, loaded: &Loaded) -> Result<Answer> {
        let answer = match self {
            CertificateCommand::List { user } => {
                return Ok(list(&store.certificates(&login(&user)?).await?));
            }
            CertificateCommand::Add {
                user,
                label,
                file,
                fingerprint: given,
            } => {
                let sound = !label.trim().is_empty() && !label.chars().any(char::is_control);
                ensure!(
                    sound && label.chars().count() <= LABEL_MAX,
                    "a label has 1 to {LABEL_MAX} characters"
                );
                let octets =
                    match (file, given) {
                        (Some(file), _) => {
                            let pem = read_pem(&file)?;
                            let leaf = pem.certificates.first();
                            fingerprint(leaf.with_context(|| {
                                format!("{} holds no certificate", file.display())
                            })?)
                        }
                        (None, given) => parse_fingerprint(&given.unwrap_or_default())?,
                    };
                let name = login(&user)?;
                let now = SystemTime::now();
                store.add_certificate(&name, &octets, &label, now).await?;
                let shown = HEXLOWER.encode(&octets);
                Answer::done(
                    format!("Certificate {shown} opens {name}."),
                    json!({
                        "done": "certificate added",
                        "name": name,
                        "label": label,
                        "fingerprint": shown,
                    }),
                )
            }
            CertificateCommand::Remove {
                user,
                fingerprint: given,
            } => {
                let (name, octets) = (login(&user)?, parse_fingerprint(&given)?);
                store.remove_certificate(&name, &octets).await?;
                let shown = HEXLOWER.encode(&octets);
                Answer::done(
                    format!("Certificate {shown} no longer opens {name}."),
                    json!({ "done": "certificate removed", "name": name, "fingerprint": shown }),
                )
            }
        };
        changed(store, loaded).await?;
        Ok(answer)
    }
}

fn list(certificates: &[StoredCertificate]) -> Answer {
    let shown = certificates.iter().map(|certificate| {
        [
            certificate.label.clone(),
            timestamp(certificate.created_at),
            HEXLOWER.encode(&certificate.fingerprint),
        ]
    });
    let objects = shown.clone().map(|[label, added, fingerprint]| {
        json!({ "label": label, "added": added, "fingerprint": fingerprint })
    });
    Answer {
        objects: objects.collect(),
        text: columns(["LABEL", "ADDED", "FINGERPRINT"], shown),
    }
}
