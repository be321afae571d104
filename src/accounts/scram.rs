//! Keys for those who prove their password instead of showing it.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::error;
use zeroize::Zeroizing;

use super::{Accounts, login_name, memory::Known, password::SALT, random};
use crate::{
    sasl::{LabelledKeys, Lookup, Ring, ScramKeys},
    session::KeysVerdict,
    store::accounts::AccountError,
};

/// The label of the keys of an account's own password; those of an app password have its key, which
/// is above it.
pub(super) const PASSWORD: i64 = 0;
/// The label of keys that nobody has.
const NOBODY: i64 = -1;
/// What the store calls the octets that make salts.
const SECRET: &str = "scram-salts";

impl Accounts {
    /// What a name can prove itself with. One that has nothing, or that nobody has, gets a salt that
    /// stays the same for it, and a key that nobody has: it fails as a wrong password does (S26).
    pub async fn keys(&self, lookup: &Lookup) -> KeysVerdict {
        let iterations = self.settings.load().options.scram_iterations;
        let name = login_name(&lookup.authcid);
        let looked_up = async {
            let secret = self.secret().await?;
            Ok::<_, AccountError>((self.known(name.as_deref()).await?, secret))
        };
        let (known, secret) = match looked_up.await {
            Ok(found) => found,
            Err(error) => {
                error!(%error, "cannot look accounts up");
                return KeysVerdict::Unavailable;
            }
        };
        let name = name.as_deref().unwrap_or(&lookup.authcid);
        let nobody = made_up(secret, name, iterations);
        KeysVerdict::Given {
            ring: known.and_then(|known| own(&known)).unwrap_or(nobody),
            random: random(),
        }
    }

    async fn secret(&self) -> Result<&Zeroizing<[u8; 32]>, AccountError> {
        let read = || self.store.secret(SECRET, Zeroizing::new(random()));
        self.secret.get_or_try_init(read).await
    }
}

fn own(known: &Arc<Known>) -> Option<Ring> {
    let scram = known.scram.as_ref()?;
    let password = scram.keys.as_ref().filter(|_| !known.apps_only);
    let password = password.map(|keys| (PASSWORD, keys));
    let apps = known.apps.iter().map(|app| (app.id.0, &app.keys));
    let keys: Vec<_> = password
        .into_iter()
        .chain(apps)
        .map(|(label, keys)| LabelledKeys {
            label,
            keys: keys.clone(),
        })
        .collect();
    (!keys.is_empty()).then(|| Ring {
        salt: scram.salt.clone(),
        iterations: scram.iterations,
        keys,
    })
}

fn made_up(secret: &[u8; 32], name: &str, iterations: u32) -> Ring {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret).expect("invariant: HMAC takes a key of any length");
    mac.update(name.as_bytes());
    let octets: [u8; 32] = mac.finalize().into_bytes().into();
    Ring {
        salt: octets[..SALT].into(),
        iterations,
        keys: vec![LabelledKeys {
            label: NOBODY,
            keys: ScramKeys::new(random(), random()),
        }],
    }
}
