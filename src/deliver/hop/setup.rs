//! From a route to a connection's set-up: what is spoken, whom to trust, as whom to sign in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::pki_types::ServerName;

use super::Options;
use crate::{
    client::{self, Credentials, Protocol, Security},
    deliver::smtp::{Setup, Target, Tls},
    policy::routes::{Credential, Encryption, Hop, Host, Place, Trust},
    tls::{self, TlsError},
};

/// Why a host cannot be spoken to as its route wants it.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// Authorities or roots.
    #[error("whom to trust cannot be read: {0}")]
    Trust(#[from] TlsError),
    /// No certificate could name it.
    #[error("\"{0}\" is no name that a certificate could prove")]
    Name(String),
}

/// TLS set-ups by whom they trust, made once.
#[derive(Default)]
pub(super) struct Setups {
    clients: Mutex<HashMap<tls::Trust, Arc<tls::Client>>>,
}

impl Setups {
    /// How this host is spoken to.
    pub(super) async fn of(
        &self,
        hop: &Hop,
        host: &Host,
        protocol: Protocol,
        credential: Option<&Credential>,
        options: &Options,
    ) -> Result<(Target, Setup), SetupError> {
        let tls = match host.encryption {
            Encryption::Plaintext => Tls::None,
            Encryption::Implicit => Tls::Implicit(self.client(&hop.trust).await?, name(host)?),
            Encryption::StartTls => Tls::StartTls(self.client(&hop.trust).await?, name(host)?),
        };
        let client = client::Options {
            protocol,
            security: match host.encryption {
                Encryption::Plaintext => Security::Plaintext,
                Encryption::Implicit | Encryption::StartTls => Security::Proved,
            },
            credentials: credential.map(|credential| Credentials {
                name: credential.name.clone(),
                password: credential.password.as_ref().clone(),
            }),
            timeouts: options.timeouts.clone(),
            ..client::Options::new(options.hello_name.clone())
        };
        let setup = Setup {
            connect_timeout: options.connect,
            opening_limit: options.opening,
            ..Setup::new(Arc::new(client), tls)
        };
        Ok((target(host), setup))
    }

    async fn client(&self, trust: &Trust) -> Result<Arc<tls::Client>, TlsError> {
        let trust = match trust {
            Trust::System => tls::Trust::SystemRoots,
            Trust::Authorities(path) => tls::Trust::Ca(path.clone()),
            Trust::Pins(pins) => tls::Trust::Pins(pins.clone()),
        };
        let known = || self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known().get(&trust) {
            return Ok(client.clone());
        }
        let client = tls::Client::load(trust.clone()).await?;
        // Two that were made side by side are as good as one.
        Ok(known().entry(trust).or_insert(client).clone())
    }
}

fn target(host: &Host) -> Target {
    match &host.place {
        Place::Tcp { host, port } => Target::Tcp {
            host: host.as_str().into(),
            port: *port,
        },
        Place::Unix(path) => Target::Unix(path.clone()),
    }
}

/// What the certificate must prove, where no pin stands for it.
fn name(host: &Host) -> Result<ServerName<'static>, SetupError> {
    let text = match &host.place {
        Place::Tcp { host, .. } => host.clone(),
        Place::Unix(_) => "localhost".to_owned(),
    };
    ServerName::try_from(text.clone()).map_err(|_| SetupError::Name(text))
}
