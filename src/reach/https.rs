//! One request to a web server that proves its name; no redirects, no second thoughts.

use std::net::SocketAddr;

use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    dns::Dns,
    smtp::Domain,
    tls::{self, HandshakeError, Trust},
};

/// Addresses of a server that are tried.
const ADDRESSES: usize = 4;

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct HttpsError {
    /// The server did not prove to be the one that was meant.
    pub is_unproved: bool,
    /// In words.
    pub text: String,
}

impl HttpsError {
    fn new(text: impl Into<String>) -> Self {
        HttpsError {
            is_unproved: false,
            text: text.into(),
        }
    }
}

/// An answer whose body is still to be read; reading ends with it.
pub struct Answered {
    /// The answer.
    pub response: Response<Incoming>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

/// A connection to a server that has proved its name.
pub struct Https {
    stream: tls::Stream<TcpStream>,
    host: String,
}

impl Https {
    /// Connects to the first of the host's addresses that can be connected to. Waits as long as the
    /// system does: put a limit around it.
    ///
    /// # Errors
    /// The host has no address, cannot be connected to, or does not prove its name.
    pub async fn connect(
        dns: &Dns,
        host: &str,
        port: u16,
        trust: Trust,
    ) -> Result<Self, HttpsError> {
        let unusable = || HttpsError::new(format!("{host} can be no host"));
        let name = Domain::parse(host).map_err(|_| unusable())?;
        let server = ServerName::try_from(host.to_owned()).map_err(|_| unusable())?;
        let addresses = dns.addresses(&name).await;
        let addresses = addresses.map_err(|error| HttpsError::new(error.to_string()))?;
        let client = tls::Client::load(trust).await;
        let client = client.map_err(|error| HttpsError::new(error.to_string()))?;
        let mut why = HttpsError::new(format!("{host} has no address"));
        for address in addresses.records.into_iter().take(ADDRESSES) {
            let address = SocketAddr::new(address, port);
            let stream = match TcpStream::connect(address).await {
                Ok(stream) => stream,
                Err(error) => {
                    let text = format!("cannot connect to {host} ({address}): {error}");
                    why = HttpsError::new(text);
                    continue;
                }
            };
            return match client.handshake(stream, server).await {
                Ok(stream) => Ok(Https {
                    stream,
                    host: host.to_owned(),
                }),
                Err(error) => Err(HttpsError {
                    is_unproved: matches!(error, HandshakeError::Certificate(_)),
                    text: format!("{host}: {error}"),
                }),
            };
        }
        Err(why)
    }

    /// Sends a request and gives the answer, whatever its status.
    ///
    /// # Errors
    /// The connection broke, or what came is no answer.
    pub async fn send<B>(self, request: Request<B>) -> Result<Answered, HttpsError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync,
    {
        let Https { stream, host } = self;
        let broken = |error: hyper::Error| HttpsError::new(format!("{host}: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answered {
            response,
            _connection: connection,
        })
    }
}
