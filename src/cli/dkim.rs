//! `gatepost domain dkim`: the keys by which a domain's mail is signed.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;

use super::{
    answer::{Answer, columns},
    dns::zone::{Data, Line},
    timestamp,
};
use crate::{
    dkim::{KeyPair, record},
    smtp::Domain,
    store::{
        Store,
        dkim::{Algorithm, NewKey, StoredKey},
    },
    tls::read_pem,
};

/// Mail on its way is verified within days; until then the record of a retired key has to stay.
pub(super) const RECORD_STAYS: Duration = Duration::from_secs(14 * 24 * 3600);
/// Octets of a selector: it is a label, or several, of a name.
const SELECTOR_MOST: usize = 63;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// Make keys, or take one that was made elsewhere; they sign from now on. Publish the records
    /// that are printed.
    Add {
        /// A domain that was added.
        domain: String,
        /// The name under _domainkey; made of the date by default. Two keys get it with their
        /// algorithm behind it.
        #[arg(long)]
        selector: Option<String>,
        /// Which keys to make: RSA for all who verify, Ed25519 beside it for those who know it.
        #[arg(long, value_enum, default_value = "both", conflicts_with = "key")]
        algorithm: Which,
        /// A private key in PEM (PKCS #8 or PKCS #1) that is to be taken over.
        #[arg(long, value_name = "FILE", requires = "selector")]
        key: Option<PathBuf>,
    },
    /// List keys, those that sign first.
    List {
        /// Of this domain only.
        domain: Option<String>,
    },
    /// Let a key sign no longer; its record must stay for two weeks.
    Retire {
        /// Whose.
        domain: String,
        /// Which, as listed.
        selector: String,
    },
}

/// Which keys to make.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Which {
    /// One of each.
    Both,
    /// Of 2048 bits.
    Rsa,
    /// RFC 8463.
    Ed25519,
}

impl DkimCommand {
    /// Does it; also gives whether anything was changed.
    ///
    /// # Errors
    /// What was asked for cannot be done; nothing is changed then.
    pub(super) async fn run(self, store: &Store) -> Result<(Answer, bool)> {
        let now = SystemTime::now();
        match self {
            DkimCommand::Add {
                domain,
                selector,
                algorithm,
                key,
            } => {
                let domain = parse(&domain)?;
                let keys = match (&key, selector) {
                    (Some(path), Some(selector)) => vec![taken_over(path, selector)?],
                    (_, selector) => {
                        let known = store.dkim_keys(Some(&domain)).await?;
                        made(algorithm, selector, &known, now)?
                    }
                };
                for key in &keys {
                    check_selector(&key.selector)?;
                }
                store.add_dkim_keys(&domain, &keys, now).await?;
                Ok((added(&domain, &keys), true))
            }
            DkimCommand::List { domain } => {
                let domain = domain.as_deref().map(parse).transpose()?;
                Ok((listed(&store.dkim_keys(domain.as_ref()).await?), false))
            }
            DkimCommand::Retire { domain, selector } => {
                let domain = parse(&domain)?;
                let selector = selector.to_ascii_lowercase();
                store.retire_dkim_key(&domain, &selector, now).await?;
                let stays = timestamp(now + RECORD_STAYS);
                let name = domain.canonical();
                let text = format!(
                    "Retired key {selector} of {name}. Leave its record \
                     {selector}._domainkey.{name} in the DNS until {stays}: mail on its way is \
                     verified by it."
                );
                let object = json!({
                    "done": "key retired",
                    "domain": name,
                    "selector": selector,
                    "record_until": stays,
                });
                Ok((Answer::done(text, object), true))
            }
        }
    }
}

fn parse(text: &str) -> Result<Domain> {
    Domain::parse(text).with_context(|| format!("{text} is no domain"))
}

fn taken_over(path: &Path, selector: String) -> Result<NewKey> {
    let pem = read_pem(path)?;
    let Some(der) = pem.key else {
        bail!("{} holds no private key", path.display());
    };
    let pair = KeyPair::read(&der).with_context(|| format!("{}", path.display()))?;
    Ok(named(pair, selector.to_ascii_lowercase()))
}

fn made(
    which: Which,
    selector: Option<String>,
    known: &[StoredKey],
    now: SystemTime,
) -> Result<Vec<NewKey>> {
    let kinds: &[Algorithm] = match which {
        Which::Both => &[Algorithm::Rsa, Algorithm::Ed25519],
        Which::Rsa => &[Algorithm::Rsa],
        Which::Ed25519 => &[Algorithm::Ed25519],
    };
    let is_one = kinds.len() == 1;
    let name = |base: &str, kind: Algorithm| match selector.is_some() && is_one {
        true => base.to_owned(),
        false => format!("{base}-{}", kind.as_str()),
    };
    let base = match &selector {
        Some(selector) => selector.to_ascii_lowercase(),
        None => {
            let is_free = |base: &String| {
                let taken = |kind: &Algorithm| {
                    let name = name(base, *kind);
                    known.iter().any(|key| key.selector == name)
                };
                !kinds.iter().any(taken)
            };
            let day = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
            let day = day.strftime("%Y%m%d").to_string();
            let bases = (1..).map(|number| match number {
                1 => format!("gp{day}"),
                number => format!("gp{day}x{number}"),
            });
            let mut free = bases.take(known.len() + 1).filter(is_free);
            free.next().context("no selector is free today")?
        }
    };
    let keys = kinds.iter().map(|kind| {
        let pair = KeyPair::generate(*kind)?;
        Ok(named(pair, name(&base, *kind)))
    });
    keys.collect()
}

fn named(pair: KeyPair, selector: String) -> NewKey {
    NewKey {
        selector,
        algorithm: pair.algorithm,
        private_key: pair.private_key,
        public_key: pair.public_key,
    }
}

/// Labels of letters, digits and hyphens (RFC 6376 §3.1).
fn check_selector(selector: &str) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    if selector.len() <= SELECTOR_MOST && selector.split('.').all(is_label) {
        return Ok(());
    }
    bail!("{selector:?} can be no selector: letters, digits and hyphens, {SELECTOR_MOST} at most")
}

/// The line of a zone file that publishes a key.
pub(super) fn line(domain: &str, selector: &str, algorithm: Algorithm, key: &[u8]) -> Line {
    Line {
        name: format!("{selector}._domainkey.{domain}"),
        data: Data::Text(record(algorithm, key)),
    }
}

fn added(domain: &Domain, keys: &[NewKey]) -> Answer {
    let name = domain.canonical();
    let mut text = format!("Added, and sign from now on. Publish in the DNS of {name}:\n\n");
    let mut objects = Vec::new();
    for key in keys {
        let line = line(&name, &key.selector, key.algorithm, &key.public_key);
        text.push_str(&format!("{line}\n"));
        objects.push(json!({
            "done": "key added",
            "domain": name,
            "selector": key.selector,
            "algorithm": key.algorithm.as_str(),
            "name": line.name,
            "type": "TXT",
            "value": line.data.value(),
        }));
    }
    text.push_str(&format!(
        "\nSee whether they are there with: gatepost dns {name} --check\n"
    ));
    Answer { text, objects }
}

fn listed(keys: &[StoredKey]) -> Answer {
    let state = |key: &StoredKey| match key.retired_at {
        None => "signs".to_owned(),
        Some(at) => format!("retired {}", timestamp(at)),
    };
    let rows = keys.iter().map(|key| {
        [
            key.domain.clone(),
            key.selector.clone(),
            key.algorithm.as_str().to_owned(),
            timestamp(key.created_at),
            state(key),
        ]
    });
    let heading = ["DOMAIN", "SELECTOR", "ALGORITHM", "ADDED", "STATE"];
    let objects = keys.iter().map(|key| {
        json!({
            "domain": key.domain,
            "selector": key.selector,
            "algorithm": key.algorithm.as_str(),
            "created_at": timestamp(key.created_at),
            "retired_at": key.retired_at.map(timestamp),
            "value": record(key.algorithm, &key.public_key),
        })
    });
    Answer {
        text: columns(heading, rows),
        objects: objects.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_labels() {
        for (selector, good) in [
            ("a", true),
            ("gp20261126-rsa", true),
            ("a.b", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a-", false),
            ("a_b", false),
            ("ä", false),
            ("a b", false),
        ] {
            assert_eq!(check_selector(selector).is_ok(), good, "{selector:?}");
        }
        assert!(check_selector(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_second_pair_of_a_day_has_other_selectors() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let names = |which, selector: Option<&str>, known: &[StoredKey]| -> Vec<String> {
            let made = made(which, selector.map(str::to_owned), known, now).unwrap();
            made.into_iter().map(|key| key.selector).collect()
        };
        let both = names(Which::Both, None, &[]);
        assert_eq!(both, ["gp19700102-rsa", "gp19700102-ed25519"]);
        let known = |selector: &str| StoredKey {
            domain: "ours.example".into(),
            selector: selector.into(),
            algorithm: Algorithm::Ed25519,
            public_key: Vec::new(),
            created_at: now,
            retired_at: Some(now),
        };
        let first = [known("gp19700102-ed25519"), known("gp19700102x2-rsa")];
        let second = names(Which::Ed25519, None, &first);
        assert_eq!(second, ["gp19700102x2-ed25519"]);
        assert_eq!(names(Which::Ed25519, Some("S1"), &[]), ["s1"]);
    }
}
