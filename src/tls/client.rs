//! The client's TLS set-up: whom a next hop must prove to be, and the handshake with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, client::WebPkiServerVerifier,
    pki_types::ServerName,
};
use rustls_native_certs::CertificateResult;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    HandshakeError, Overheard, TlsError,
    fingerprint::fingerprint,
    provider, read_pem,
    server::{registered_name, version},
    verifier::{Demand, Verifier},
};
use crate::envelope::{LinkTls, Proof};

/// By what a next hop proves to be the one that was meant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Trust {
    /// A certificate for its name that leads to a root of this system.
    SystemRoots,
    /// A certificate for its name that leads to an authority in this PEM file.
    Ca(PathBuf),
    /// A certificate with one of these SHA-256 fingerprints; its names, dates and issuer do not
    /// matter.
    Pins(Vec<[u8; 32]>),
    /// Nothing: the channel is encrypted, and nobody knows to whom.
    Anyone,
}

impl Trust {
    /// What a finished handshake has proved.
    fn proof(&self) -> Proof {
        match self {
            Trust::SystemRoots => Proof::WebPki,
            Trust::Ca(_) => Proof::GivenCa,
            Trust::Pins(_) => Proof::Pin,
            Trust::Anyone => Proof::None,
        }
    }

    /// Reads whatever files it needs.
    fn demand(&self) -> Result<Demand, TlsError> {
        let roots = match self {
            Trust::SystemRoots => system_roots(rustls_native_certs::load_native_certs())?,
            Trust::Ca(path) => authorities(path)?,
            Trust::Pins(pins) if pins.is_empty() => return Err(TlsError::NoPins),
            Trust::Pins(pins) => return Ok(Demand::Pins(pins.clone())),
            Trust::Anyone => return Ok(Demand::Nothing),
        };
        let provider = Arc::new(provider());
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Demand::Chain)
            .map_err(|error| TlsError::Settings(rustls::Error::General(error.to_string())))
    }
}

/// A stream after its handshake. Boxed, so that who holds one that may be plain does not carry its
/// size.
pub type Stream<S> = Box<TlsStream<Overheard<S>>>;

/// The client side of TLS for every next hop of one [`Trust`].
///
/// Sessions are resumed by the server's name, so whoever trusts in the same way shares one of
/// these, which also reads its roots once.
pub struct Client {
    trust: Trust,
    config: ArcSwap<ClientConfig>,
}

impl Client {
    /// Reads the roots or authorities. Blocks: call it off the reactor, or use [`Client::load`].
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be read, or there are none.
    pub fn open(trust: Trust) -> Result<Arc<Self>, TlsError> {
        let config = ArcSwap::from_pointee(config(&trust)?);
        Ok(Arc::new(Client { trust, config }))
    }

    /// [`Client::open`] off the reactor.
    ///
    /// # Errors
    /// Those of [`Client::open`].
    pub async fn load(trust: Trust) -> Result<Arc<Self>, TlsError> {
        off_the_reactor(move || Client::open(trust)).await
    }

    /// Reads the roots or authorities anew, off the reactor, for handshakes that begin from here
    /// on. Earlier sessions are not resumed any more.
    ///
    /// # Errors
    /// Those of [`Client::open`]; what was read before stays in service.
    pub async fn reload(&self) -> Result<(), TlsError> {
        let trust = self.trust.clone();
        let fresh = off_the_reactor(move || config(&trust)).await?;
        self.config.store(Arc::new(fresh));
        Ok(())
    }

    /// By what a host must prove itself.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Makes the handshake over a fresh connection to a host of this name or address.
    ///
    /// Waits as long as the host does: the caller sets the limit.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is gone.
    pub async fn handshake<S>(
        &self,
        stream: S,
        name: ServerName<'static>,
    ) -> Result<Stream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config.load_full());
        let connect = connector.connect(name, Overheard::new(stream));
        match connect.into_fallible().await {
            Ok(mut stream) => {
                stream.get_mut().0.forget();
                Ok(Box::new(stream))
            }
            Err((error, stream)) => Err(HandshakeError::of(&error, stream.first())),
        }
    }

    /// The facts of a finished handshake; `None` before its end.
    pub fn facts(&self, connection: &ClientConnection) -> Option<LinkTls> {
        Some(LinkTls {
            version: version(connection.protocol_version()?)?,
            suite: registered_name(connection.negotiated_cipher_suite()?.suite()).into(),
            fingerprint: fingerprint(connection.peer_certificates()?.first()?),
            proof: self.trust.proof(),
        })
    }
}

async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TlsError> + Send + 'static,
) -> Result<T, TlsError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(TlsError::Settings(rustls::Error::General(
            error.to_string(),
        ))),
    }
}

fn config(trust: &Trust) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Verifier {
        demand: trust.demand()?,
        algorithms: provider.signature_verification_algorithms,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        // The verifier asks for what `trust` says, and always for the signature.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// Roots that cannot be used are passed over, as everybody does; none at all is an error.
fn system_roots(found: CertificateResult) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first();
        return Err(TlsError::NoRoots {
            reason: reason.map(|error| format!(": {error}")).unwrap_or_default(),
        });
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in read_pem(path)?.certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority {
                path: path.to_owned(),
                number: at + 1,
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
