//! Sign-ins that somebody else vouches for: the issuer of a token, or a certificate.
//!
//! Nothing is hashed here, and the account is known only after what was shown has been looked at. The
//! throttle counts what is no good under the address, and under the name where one was given.

use std::net::IpAddr;

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::{
    Accounts, lock, login_name,
    sign_in::{Asked, Shown},
};
use crate::{
    oauth::Refusal,
    sasl::{ClientCertificate, Token},
    session::SignInVerdict,
};

impl Accounts {
    /// A token: good or not, and whose.
    pub(super) async fn token(
        &self,
        asked: &Asked<'_>,
        peer: IpAddr,
        token: &Token,
    ) -> SignInVerdict {
        let verifier = self.verifier.load_full();
        let Some(verifier) = verifier.as_deref() else {
            // Not set up after all; the log said why, and no token is to blame.
            return SignInVerdict::Unavailable;
        };
        let shown = token.token.expose_secret();
        let name = match verifier.name(shown).await {
            Ok(name) => name,
            Err(Refusal::Unavailable(trouble)) => {
                warn!(%trouble, "cannot check a token");
                return SignInVerdict::Unavailable;
            }
            Err(refusal) => {
                info!(%peer, why = %refusal, "token refused");
                // A program learns by this that it needs a new one; it is no guess.
                if refusal != Refusal::Expired {
                    self.failed(asked, &Sha256::digest(shown).into());
                }
                return SignInVerdict::Refused;
            }
        };
        self.vouched(asked, &name, token.authzid.as_deref()).await
    }

    /// A certificate: known itself, or by an address that an authority vouches for.
    pub(super) async fn certificate(
        &self,
        asked: &Asked<'_>,
        certificate: &ClientCertificate,
        authzid: Option<&str>,
    ) -> SignInVerdict {
        let fingerprint = &certificate.fingerprint;
        let by_itself = match self.store.name_by_certificate(fingerprint).await {
            Ok(name) => name,
            Err(error) => {
                error!(%error, "cannot look certificates up");
                return SignInVerdict::Unavailable;
            }
        };
        for name in by_itself.iter().chain(&certificate.addresses) {
            match self.vouched(asked, name, authzid).await {
                SignInVerdict::Refused => {}
                decided => return decided,
            }
        }
        self.failed(asked, fingerprint);
        SignInVerdict::Refused
    }

    /// Signs in whoever somebody vouches for, where there is such an account.
    async fn vouched(&self, asked: &Asked<'_>, name: &str, authzid: Option<&str>) -> SignInVerdict {
        let known = match self.known(login_name(name).as_deref()).await {
            Ok(known) => known,
            Err(error) => {
                error!(%error, "cannot look accounts up");
                return SignInVerdict::Unavailable;
            }
        };
        match known.filter(|known| known.account.enabled) {
            Some(known) => {
                let shown = Shown {
                    authzid,
                    password: None,
                    app_password: None,
                };
                self.right(&known, asked.place, asked.settings, shown)
            }
            None => SignInVerdict::Refused,
        }
    }

    fn failed(&self, asked: &Asked<'_>, shown: &[u8; 32]) {
        let (guess, _) = shown.split_at(16);
        let guess = u128::from_be_bytes(guess.try_into().expect("invariant: half of 32 octets"));
        lock(&self.throttle).failed(self.now(), &asked.attempt, guess);
    }
}
