//! From a way to a connection's set-up: what is spoken, whom to trust, as whom to sign in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::pki_types::ServerName;

use super::{
    Options,
    way::{Channel, Proving, Way},
};
use crate::{
    client::{self, Credentials, Protocol, Security},
    deliver::smtp::{Setup, Target, Tls},
    policy::routes::{Credential, Place},
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

/// Set-ups kept at most; each set of TLSA records has one of its own.
const KEPT: usize = 256;

/// TLS set-ups by whom they trust, made once.
#[derive(Default)]
pub(super) struct Setups {
    clients: Mutex<HashMap<tls::Trust, Arc<tls::Client>>>,
}

impl Setups {
    /// How the host at the end of this way is spoken to.
    pub(super) async fn of(
        &self,
        way: &Way,
        protocol: Protocol,
        credential: Option<&Credential>,
        options: &Options,
    ) -> Result<(Target, Setup), SetupError> {
        let (tls, security) = match &way.lane.channel {
            Channel::Plaintext => (Tls::None, Security::Plaintext),
            Channel::Implicit(proving) => {
                let tls = Tls::Implicit(self.client(&proving.trust).await?, name(proving)?);
                (tls, Security::Proved)
            }
            Channel::StartTls(security, proving) => {
                let tls = Tls::StartTls(self.client(&proving.trust).await?, name(proving)?);
                (tls, *security)
            }
        };
        let client = client::Options {
            protocol,
            security,
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
            sources: way.sources,
            own_ports: options.own_ports.clone(),
            ..Setup::new(Arc::new(client), tls)
        };
        Ok((target(way), setup))
    }

    async fn client(&self, trust: &tls::Trust) -> Result<Arc<tls::Client>, TlsError> {
        let known = || self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known().get(trust) {
            return Ok(client.clone());
        }
        let client = tls::Client::load(trust.clone()).await?;
        let mut known = known();
        if known.len() >= KEPT {
            // Whoever still needs one makes it again.
            known.clear();
        }
        // Two that were made side by side are as good as one.
        Ok(known.entry(trust.clone()).or_insert(client).clone())
    }
}

fn target(way: &Way) -> Target {
    match (&way.lane.place, &way.addresses) {
        (Place::Tcp { port, .. }, Some(addresses)) => Target::Found {
            host: way.host(),
            addresses: addresses.clone(),
            port: *port,
        },
        (Place::Tcp { port, .. }, None) => Target::Tcp {
            host: way.host(),
            port: *port,
        },
        (Place::Unix(path), _) => Target::Unix(path.clone()),
    }
}

/// What the certificate must prove, where nothing stands for it.
fn name(proving: &Proving) -> Result<ServerName<'static>, SetupError> {
    let text = proving.name.clone();
    ServerName::try_from(text.clone()).map_err(|_| SetupError::Name(text))
}
