//! HTTP requests to services that the operator named: identity providers and directories.
//!
//! HTTPS with a certificate for the service's name, or plain HTTP to this machine itself. No
//! redirects; time and size of an answer are bounded. It knows nothing of what is asked.

use std::{fmt, net::IpAddr, path::Path, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::tls::{self, TlsError};

/// Octets of an answer at most.
pub const ANSWER_MAX: usize = 256 << 10;

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct WebError(pub String);

/// Makes requests. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Reads the address of a service.
///
/// # Errors
/// In words, where it is none, or one whose answers could be forged: plain HTTP that leaves this
/// machine.
pub fn address(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
    let host = uri.host().ok_or("a URL with a host is needed")?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_this_machine(host) => Ok(uri),
        Some("http") => Err("http is for this machine only; use https".to_owned()),
        Some(_) | None => Err("a URL begins with https://".to_owned()),
    }
}

/// Whether this host can only be this machine.
pub fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Web {
    /// Trusts the roots of this system, and the authorities in a file beside them; an answer is
    /// waited for no longer than `limit`. Blocks while it reads them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(authorities: Option<&Path>, limit: Duration) -> Result<Self, TlsError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::web_settings(authorities)?)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(8)
            .build(connector);
        Ok(Web { client, limit })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The service cannot be reached, does not prove its name, is too slow or says too much.
    pub async fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), WebError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let trouble = |text: &dyn fmt::Display| WebError(format!("{host}: {text}"));
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let cause = std::error::Error::source(&error);
                match cause {
                    Some(cause) => trouble(&cause),
                    None => trouble(&error),
                }
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MAX);
            let body = body.collect().await.map_err(|error| trouble(&error))?;
            Ok((status, body.to_bytes()))
        };
        let asked = tokio::time::timeout(self.limit, asked).await;
        asked.unwrap_or_else(|_| Err(trouble(&"no answer in time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_forged_is_an_address() {
        for (text, fits) in [
            ("https://id.example/keys", true),
            ("https://id.example:8443/a?b=c", true),
            ("http://127.0.0.1:8080/introspect", true),
            ("http://[::1]:8080/", true),
            ("http://localhost/", true),
            ("http://id.example/keys", false),
            ("http://localhost.id.example/", false),
            ("http://10.0.0.1/", false),
            ("ldap://id.example/", false),
            ("/keys", false),
            ("keys", false),
            ("", false),
        ] {
            assert_eq!(address(text).is_ok(), fits, "{text}");
        }
    }
}
