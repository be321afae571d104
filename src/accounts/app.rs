//! App passwords: made here, known again by a keyed hash, and what they narrow an account to.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Account, generate_password,
    password::SALT,
    random,
    secret::{Purpose, Secret},
};
use crate::{
    envelope::{AccountTls, AppPasswordId},
    policy::sending::AddressPattern,
    sasl::{Derivation, ScramKeys},
    smtp::Domain,
    store::{
        Store,
        accounts::{AccountError, StoredAccount},
        app_passwords::StoredAppPassword,
    },
};

/// An app password that nobody has seen yet.
#[derive(Debug)]
pub struct MadeAppPassword {
    /// To be shown once.
    pub password: SecretString,
    /// To be kept.
    pub keyed_hash: [u8; 32],
    /// Salt of `keys`: the account's, where it has one.
    pub salt: Box<[u8]>,
    /// Iteration count of `keys`: the account's, where it has one.
    pub iterations: u32,
    /// To be kept.
    pub keys: ScramKeys,
}

/// Makes one for `account`; blocks for as long as `iterations` take.
///
/// # Errors
/// [`AccountError::Store`].
pub async fn make_app_password(
    store: &Store,
    account: &StoredAccount,
    iterations: u32,
) -> Result<MadeAppPassword, AccountError> {
    let secret = Secret::read(store).await?;
    let password = generate_password(random());
    let (salt, iterations) = match &account.scram {
        Some(scram) => (scram.salt.clone(), scram.iterations),
        None => (random::<SALT>().into(), iterations),
    };
    let derivation = Derivation::new(password.clone(), salt.to_vec(), iterations);
    Ok(MadeAppPassword {
        keyed_hash: keyed_hash(&secret, &password),
        keys: derivation.run().keys(),
        password,
        salt,
        iterations,
    })
}

/// Of the password without what people leave out or put in when they copy it by hand.
pub(super) fn keyed_hash(secret: &Secret, prepared: &SecretString) -> [u8; 32] {
    let typed = prepared.expose_secret().bytes();
    let plain: Zeroizing<Vec<u8>> = Zeroizing::new(
        typed
            .filter(|octet| !matches!(octet, b'-' | b' '))
            .map(|octet| octet.to_ascii_lowercase())
            .collect(),
    );
    secret.hash(Purpose::AppPassword, &plain)
}

/// The app password of this hash.
pub(super) fn find<'a>(
    passwords: &'a [StoredAppPassword],
    keyed_hash: &[u8; 32],
) -> Option<&'a StoredAppPassword> {
    let mut found = None;
    // All of them, so that the time tells no place in the list.
    for password in passwords {
        if password.keyed_hash.ct_eq(keyed_hash).into() {
            found = Some(password);
        }
    }
    found
}

/// Whether it may be used from there, now.
pub(super) fn serves(password: &StoredAppPassword, peer: IpAddr, now: SystemTime) -> bool {
    let narrowing = &password.narrowing;
    let networks = &narrowing.networks;
    narrowing.expires_at.is_none_or(|end| now < end)
        && (networks.is_empty() || networks.iter().any(|network| network.contains(peer)))
}

/// The account as far as somebody can use it who signed in with this.
pub(super) fn narrowed(account: &Account, password: &StoredAppPassword) -> Account {
    let mut narrowed = account.clone();
    let narrowing = &password.narrowing;
    if let Some(first) = narrowing.send_as.first() {
        let only = narrowing.send_as.iter().cloned();
        narrowed.rights = account
            .rights
            .only(only.map(AddressPattern::Exact).collect());
        if !narrowed.rights.may_send_as(&account.address) {
            narrowed.address = first.clone();
        }
    }
    if !narrowing.to.is_empty() {
        let domains = narrowing.to.iter().map(Domain::canonical);
        narrowed.destinations.narrow(domains.collect());
    }
    if narrowing.require_tls {
        narrowed.protection.tls = AccountTls::Require;
    }
    if let Some(files_copies) = narrowing.files_copies {
        narrowed.habits.files_copies = files_copies;
    }
    narrowed.hold = narrowing.hold;
    narrowed.ends_at = narrowing.expires_at;
    narrowed
}

/// One app password of an account, by its key.
pub(super) fn by_id(
    passwords: &[StoredAppPassword],
    id: AppPasswordId,
) -> Option<&StoredAppPassword> {
    passwords.iter().find(|password| password.id == id)
}

/// Shared, because every sign-in looks at them.
pub(super) type AppPasswords = Arc<[StoredAppPassword]>;
