//! The server's TLS set-up and its reload.

use std::{sync::Arc, time::Duration};

use rustls::{
    CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Certificate, PairFiles, TlsError,
    pairs::{Pair, Pairs, Stamp, stamp},
    visitor::{Reception, Visitor, Visitors},
};
use crate::envelope::{TlsFacts, TlsVersion};

/// How often files are looked at for a change.
const WATCH: Duration = Duration::from_secs(5);

/// The server side of TLS: settings made once, certificates that can be exchanged under it.
pub struct Server {
    pairs: Arc<Pairs>,
    reception: Option<Arc<Reception>>,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Loads every pair; the first is served to clients that ask for no name or an unknown one.
    ///
    /// # Errors
    /// [`TlsError`] for the first pair, or the authorities of clients, that cannot be used.
    pub fn open(files: &[PairFiles], visitors: &Visitors) -> Result<Arc<Self>, TlsError> {
        let pairs = files
            .iter()
            .map(Pair::load)
            .collect::<Result<Vec<_>, _>>()?;
        if pairs.is_empty() {
            return Err(TlsError::NoPairs);
        }
        let pairs = Arc::new(Pairs::new(pairs));
        let reception = Reception::open(visitors)?;
        let settings = settings(Arc::clone(&pairs), reception.clone())?;
        Ok(Arc::new(Server {
            pairs,
            reception,
            acceptor: TlsAcceptor::from(Arc::new(settings)),
        }))
    }

    /// Makes handshakes.
    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Who the client of a finished handshake proved to be, where clients are asked and it answered.
    pub fn visitor(&self, connection: &ServerConnection) -> Option<Visitor> {
        self.reception.as_ref()?.visitor(connection)
    }

    /// What `tls-server-end-point` is of a connection that asked for this name (RFC 5929 §4.1): the
    /// hash of the certificate that it was shown. `None` where the certificate's signature has no
    /// hash that both ends would choose.
    pub fn end_point(&self, server_name: Option<&str>) -> Option<Box<[u8]>> {
        self.pairs.end_point(server_name)
    }

    /// The certificates in service, the default first.
    pub fn certificates(&self) -> Vec<Certificate> {
        let pairs = self.pairs.current();
        pairs.iter().map(|pair| pair.certificate.clone()).collect()
    }

    /// Reads `files` anew; running sessions are not touched (S44).
    ///
    /// A pair that is broken stays in service as it was read before. Where there is no earlier one,
    /// the whole set in service stays.
    ///
    /// # Errors
    /// One error for each pair that could not be used.
    pub fn reload(&self, files: &[PairFiles]) -> Result<(), Vec<TlsError>> {
        if files.is_empty() {
            return Err(vec![TlsError::NoPairs]);
        }
        let old = self.pairs.current();
        let mut errors = Vec::new();
        let fresh: Vec<Pair> = files
            .iter()
            .filter_map(|files| match Pair::load(files) {
                Ok(pair) => Some(pair),
                Err(error) => {
                    errors.push(error);
                    old.iter().find(|pair| pair.files == *files).cloned()
                }
            })
            .collect();
        if fresh.len() == files.len() {
            self.pairs.replace(fresh);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Looks at the files every few seconds and reloads what changed, until cancelled.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.stamps(Vec::new()).await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(WATCH) => {}
            }
            let before = seen.clone();
            seen = self.stamps(seen).await;
            if seen != before {
                self.reload_and_tell().await;
            }
        }
    }

    /// Reads the same files again and logs what came of it.
    pub async fn reload_and_tell(self: &Arc<Self>) {
        let server = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let pairs = server.pairs.current();
            let files: Vec<_> = pairs.iter().map(|pair| pair.files.clone()).collect();
            server.reload(&files)
        })
        .await;
        match done {
            Ok(Ok(())) => tracing::info!("certificates reloaded"),
            Ok(Err(errors)) => {
                for error in errors {
                    tracing::error!(%error, "certificate not reloaded, the old one stays in service");
                }
            }
            Err(error) => tracing::error!(%error, "certificates not reloaded"),
        }
    }

    /// The stamps of the files as they are; at first, as they were when loaded.
    async fn stamps(&self, seen: Vec<Stamp>) -> Vec<Stamp> {
        let pairs = self.pairs.current();
        if seen.is_empty() {
            return pairs.iter().map(|pair| *pair.stamp()).collect();
        }
        tokio::task::spawn_blocking(move || pairs.iter().map(|pair| stamp(&pair.files)).collect())
            .await
            .unwrap_or(seen)
    }
}

/// The provider of cryptography, with the post-quantum group first.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

fn settings(
    pairs: Arc<Pairs>,
    reception: Option<Arc<Reception>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match reception {
        Some(reception) => builder.with_client_cert_verifier(reception),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(pairs);
    // A browser talked into speaking to us asks for another protocol and is refused (S10).
    config.alpn_protocols = vec![b"smtp".to_vec()];
    // Resumption without memory: tickets under keys that rotate (RFC 9325 §3.4).
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The facts of a finished handshake; `None` before its end.
pub fn facts(connection: &ServerConnection) -> Option<TlsFacts> {
    Some(TlsFacts {
        version: version(connection.protocol_version()?)?,
        suite: registered_name(connection.negotiated_cipher_suite()?.suite()),
        group: connection
            .negotiated_key_exchange_group()
            .and_then(|group| group_name(group.name())),
        server_name: connection.server_name().map(Box::from),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    })
}

/// Keying material of this connection alone (RFC 9266 §2); on TLS 1.3 only, for on TLS 1.2 the two
/// ends may not mean the same by it (RFC 9266 §3).
pub fn exporter(connection: &ServerConnection) -> Option<[u8; 32]> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let label = b"EXPORTER-Channel-Binding";
    connection
        .export_keying_material([0; 32], label, Some(b""))
        .ok()
}

/// A version that we speak.
pub(super) fn version(negotiated: ProtocolVersion) -> Option<TlsVersion> {
    match negotiated {
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::V13),
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::V12),
        _ => None,
    }
}

/// The name in the IANA registry, which for TLS 1.3 is not the library's.
pub(super) fn registered_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

fn group_name(group: NamedGroup) -> Option<&'static str> {
    match group {
        NamedGroup::X25519MLKEM768 => Some("X25519MLKEM768"),
        NamedGroup::X25519 => Some("x25519"),
        NamedGroup::secp256r1 => Some("secp256r1"),
        NamedGroup::secp384r1 => Some("secp384r1"),
        _ => None,
    }
}
