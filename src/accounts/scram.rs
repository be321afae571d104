//! Keys for those who prove their password instead of showing it.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use tracing::error;

use super::{
    Accounts, login_name,
    memory::Known,
    password::SALT,
    random,
    secret::{Purpose, Secret},
};
use crate::{
    directory::Turn,
    policy::throttle::Network,
    sasl::{LabelledKeys, Lookup, Ring, ScramKeys},
    session::KeysVerdict,
    store::accounts::AccountError,
};

/// The label of the keys of an account's own password; those of an app password have its key, which
/// is above it.
pub(super) const PASSWORD: i64 = 0;
/// The label of keys that nobody has.
const NOBODY: i64 = -1;

impl Accounts {
    /// What a name can prove itself with. One that has nothing, or that nobody has, gets a salt that
    /// stays the same for it, and a key that nobody has: it fails as a wrong password does (S26).
    /// A name whose password only a directory knows is proved to that, where it can.
    pub async fn keys(&self, peer: IpAddr, lookup: &Lookup) -> KeysVerdict {
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
        let ring = known.as_ref().and_then(own);
        let is_elsewhere = known.as_ref().is_none_or(|known| known.is_elsewhere());
        if ring.is_none()
            && is_elsewhere
            && let Some(first) = &lookup.first
            && let Some(elsewhere) = self.elsewhere.load_full()
            && let Some(verdict) = self
                .relay(&elsewhere, peer, turn(known.as_deref(), peer), first)
                .await
        {
            return verdict;
        }
        let name = name.as_deref().unwrap_or(&lookup.authcid);
        let nobody = made_up(secret, name, iterations);
        KeysVerdict::Given {
            ring: ring.unwrap_or(nobody),
            random: random(),
        }
    }

    pub(super) async fn secret(&self) -> Result<&Secret, AccountError> {
        let read = || Secret::read(&self.store);
        self.secret.get_or_try_init(read).await
    }
}

/// Whose turn it is at a directory.
fn turn(known: Option<&Known>, peer: IpAddr) -> Turn {
    let place = Network::place(peer.to_canonical());
    match known.is_some_and(|known| known.places.contains(place, SystemTime::now())) {
        true => Turn::Known,
        false => Turn::Stranger,
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

fn made_up(secret: &Secret, name: &str, iterations: u32) -> Ring {
    let octets = secret.hash(Purpose::Salt, name.as_bytes());
    Ring {
        salt: octets[..SALT].into(),
        iterations,
        keys: vec![LabelledKeys {
            label: NOBODY,
            keys: ScramKeys::new(random(), random()),
        }],
    }
}
