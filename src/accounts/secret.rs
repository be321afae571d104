//! Octets that this installation alone knows, and what is made with them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::random;
use crate::store::{Store, accounts::AccountError};

/// What the store calls them.
const NAME: &str = "accounts";

/// What a hash is for; one for another purpose is another one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The salt of a name that has none.
    Salt,
    /// To know an app password again.
    AppPassword,
    /// To know again whom an account wrote to.
    Correspondent,
}

/// Made once for an installation, and the same for all its nodes.
pub(super) struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Reads it, or makes it where there is none yet.
    ///
    /// # Errors
    /// [`AccountError::Store`].
    pub(super) async fn read(store: &Store) -> Result<Self, AccountError> {
        let fresh = Zeroizing::new(random());
        Ok(Secret(store.secret(NAME, fresh).await?))
    }

    /// HMAC-SHA-256.
    pub(super) fn hash(&self, purpose: Purpose, octets: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0)
            .expect("invariant: HMAC takes a key of any length");
        mac.update(match purpose {
            Purpose::Salt => b"salt\0",
            Purpose::AppPassword => b"app password\0",
            Purpose::Correspondent => b"correspondent\0",
        });
        mac.update(octets);
        mac.finalize().into_bytes().into()
    }
}
