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
    dane::Dane,
    fingerprint::fingerprint,
    provider, read_pem,
    server::{registered_name, version},
    verifier::{Demand, Verifier},
};
use crate::envelope::{LinkTls, Proof, Tlsa};

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
    /// As [`Trust::SystemRoots`], or one that leads to an authority in this PEM file.
    SystemAnd(PathBuf),
    /// What these TLSA records say, for which DNSSEC vouches: [`Trust::dane`] makes one.
    Dane {
        /// Records that can be used.
        records: Arc<[Tlsa]>,
        /// Names of which a certificate under an authority's record must bear one; none where there
        /// is no such record.
        names: Arc<[String]>,
    },
    /// Nothing: the channel is encrypted, and nobody knows to whom.
    Anyone,
    /// Nothing, like [`Trust::Anyone`]; but where the certificate happens to satisfy
    /// [`Trust::SystemRoots`], or leads to an authority in this file, that is noted.
    Observed(Option<PathBuf>),
}

impl Trust {
    /// By TLSA records, and names for those of authorities (RFC 7672 §3.2.2).
    ///
    /// Where no record names an authority the names do not matter, and are left out: hosts of many
    /// domains are then the same to all of them.
    pub fn dane(records: Vec<Tlsa>, names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<_> = match records.iter().any(|record| record.usage == Tlsa::DANE_TA) {
            true => names.into_iter().collect(),
            false => Vec::new(),
        };
        Trust::Dane {
            records: records.into(),
            names: names.into(),
        }
    }

    /// By a root of this system, or one of these authorities, where a file is given.
    pub fn system(authorities: Option<PathBuf>) -> Self {
        authorities.map_or(Trust::SystemRoots, Trust::SystemAnd)
    }

    /// Reads whatever files it needs.
    fn demand(&self) -> Result<Demand, TlsError> {
        let roots = match self {
            Trust::SystemRoots => system_roots(rustls_native_certs::load_native_certs())?,
            Trust::SystemAnd(path) => system_and(path)?,
            Trust::Ca(path) => authorities(path)?,
            Trust::Pins(pins) if pins.is_empty() => return Err(TlsError::NoPins),
            Trust::Pins(pins) => return Ok(Demand::Pins(pins.clone())),
            Trust::Anyone => return Ok(Demand::Nothing),
            Trust::Dane { records, names } => {
                let names = names
                    .iter()
                    .map(|name| ServerName::try_from(name.clone()).ok());
                return Ok(Demand::Dane(Dane {
                    records: records.clone(),
                    // What is no name of a host no certificate could bear.
                    names: names.flatten().collect(),
                    provider: Arc::new(provider()),
                }));
            }
            Trust::Observed(extra) => {
                let roots = match extra {
                    Some(path) => system_and(path),
                    None => system_roots(rustls_native_certs::load_native_certs()),
                };
                // Where there is nobody to trust, nobody is.
                let chain = roots.and_then(chain).ok();
                return Ok(Demand::Observed(chain));
            }
        };
        let chain = chain(roots)?;
        Ok(match self {
            Trust::Ca(_) => Demand::Chain(chain, Proof::GivenCa),
            _ => Demand::Chain(chain, Proof::WebPki),
        })
    }
}

/// Checks chains that lead to these roots.
fn chain(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .build()
        .map_err(|error| TlsError::Settings(rustls::Error::General(error.to_string())))
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
    setup: ArcSwap<Setup>,
}

/// The library's settings, and the verifier within them.
struct Setup {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl Client {
    /// Reads the roots or authorities. Blocks: call it off the reactor, or use [`Client::load`].
    ///
    /// # Errors
    /// [`TlsError`] where they cannot be read, or there are none.
    pub fn open(trust: Trust) -> Result<Arc<Self>, TlsError> {
        let setup = ArcSwap::from_pointee(setup(&trust)?);
        Ok(Arc::new(Client { trust, setup }))
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
        let fresh = off_the_reactor(move || setup(&trust)).await?;
        self.setup.store(Arc::new(fresh));
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
        let connector = TlsConnector::from(self.setup.load().config.clone());
        let connect = connector.connect(name, Overheard::new(stream));
        match connect.into_fallible().await {
            Ok(mut stream) => {
                stream.get_mut().0.forget();
                Ok(Box::new(stream))
            }
            Err((error, stream)) => Err(HandshakeError::of(&error, stream.first())),
        }
    }

    /// The facts of a finished handshake with a host of this name; `None` before its end.
    pub fn facts(
        &self,
        connection: &ClientConnection,
        name: &ServerName<'static>,
    ) -> Option<LinkTls> {
        let (leaf, others) = connection.peer_certificates()?.split_first()?;
        Some(LinkTls {
            version: version(connection.protocol_version()?)?,
            suite: registered_name(connection.negotiated_cipher_suite()?.suite()).into(),
            fingerprint: fingerprint(leaf),
            proof: self.setup.load().verifier.proof(leaf, others, name),
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

fn setup(trust: &Trust) -> Result<Setup, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Verifier {
        demand: trust.demand()?,
        algorithms: provider.signature_verification_algorithms,
    });
    // Sessions are kept with the settings: one that was made under another demand is not resumed.
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        // The verifier asks for what `trust` says, and always for the signature.
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    Ok(Setup {
        config: Arc::new(config),
        verifier,
    })
}

/// Where the system has no roots of its own the file's are all there are.
fn system_and(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = authorities(path)?;
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    Ok(roots)
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

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
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

/// Settings for requests over HTTPS: trusts the roots of this system, and the authorities in a file
/// beside them. Blocks.
///
/// # Errors
/// They cannot be read.
pub fn web_settings(authorities: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match authorities {
        Some(path) => system_and(path)?,
        None => system_roots(rustls_native_certs::load_native_certs())?,
    };
    Ok(ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod dane_tests;
#[cfg(test)]
mod tests;
