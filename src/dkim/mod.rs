//! DKIM signatures (RFC 6376): our domains answer for the mail that they send.
//!
//! Keys lie in the store and in this room's memory, nowhere else. A message is signed for the domain
//! of each author (From), by every key of that domain: RSA for all who verify, Ed25519 beside it
//! (RFC 8463 §3). A domain without keys of its own uses those of the domain above it, which DMARC
//! takes for the same (RFC 7489 §3.1.1).
//!
//! Signing reads the finished message (RFC 6376 §5.3): nothing may be changed behind it. mail-auth
//! does the work and reads the clock for `t=`, so this is no pure room.

mod fields;
mod key;
mod sign;

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

pub use key::{KeyFault, KeyPair, record};
pub use sign::{SignError, Signers, unsigned};

use self::sign::Signer;
use crate::{
    message::author_domains,
    smtp::Domain,
    store::{Store, StoreError},
};

/// Domains that one message is signed for at most.
const DOMAINS_MOST: usize = 3;

/// The keeper of keys.
#[derive(Default)]
pub struct Dkim {
    store: Option<Store>,
    domains: ArcSwap<HashMap<Box<str>, Arc<[Signer]>>>,
}

impl Dkim {
    /// A keeper with the keys of the store.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(store: Store) -> Result<Arc<Self>, StoreError> {
        let keeper = Dkim {
            store: Some(store),
            ..Dkim::default()
        };
        keeper.reload().await?;
        Ok(Arc::new(keeper))
    }

    /// A keeper without keys: it signs nothing.
    pub fn silent() -> Arc<Self> {
        Arc::default()
    }

    /// Reads the keys anew. One that cannot be used is logged, and the others sign.
    ///
    /// # Errors
    /// The database cannot be read; the keys stay as they were.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let mut domains: HashMap<Box<str>, Vec<Signer>> = HashMap::new();
        for key in store.dkim_signing_keys().await? {
            match Signer::new(&key) {
                Ok(signer) => {
                    let domain = key.domain.into_boxed_str();
                    domains.entry(domain).or_default().push(signer);
                }
                Err(fault) => tracing::error!(
                    domain = key.domain,
                    selector = key.selector,
                    %fault,
                    "key cannot be used, mail is not signed by it"
                ),
            }
        }
        let domains = domains
            .into_iter()
            .map(|(domain, signers)| (domain, signers.into()));
        self.domains.store(Arc::new(domains.collect()));
        Ok(())
    }

    /// Who signs a message with this header section; nobody where its authors' domains have no key.
    pub fn signers(&self, header: &[u8]) -> Signers {
        let domains = self.domains.load();
        if domains.is_empty() {
            return Signers::default();
        }
        let mut signing: Vec<(Box<str>, Arc<[Signer]>)> = Vec::new();
        for author in author_domains(header) {
            if let Some((domain, signers)) = nearest(&domains, &author)
                && signing.iter().all(|(known, _)| **known != *domain)
                && signing.len() < DOMAINS_MOST
            {
                signing.push((domain.into(), signers.clone()));
            }
        }
        Signers::new(signing)
    }
}

/// The keys of a domain or of the nearest one above it.
fn nearest<'a>(
    domains: &'a HashMap<Box<str>, Arc<[Signer]>>,
    author: &Domain,
) -> Option<(&'a str, &'a Arc<[Signer]>)> {
    let name = author.canonical();
    let mut rest = name.as_str();
    loop {
        if let Some((domain, signers)) = domains.get_key_value(rest) {
            return Some((domain, signers));
        }
        rest = rest.split_once('.')?.1;
    }
}

#[cfg(test)]
mod tests;
