//! One policy file, over HTTPS (RFC 8461 §3.3): the certificate must be the policy host's, and only
//! a plain answer counts: no redirect, no other media type, no other status.

use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use tokio::time::timeout;

use super::Options;
use crate::{
    dns::Dns,
    policy::sts::{POLICY_MOST, StsPolicyError},
    reach::https::{Https, HttpsError},
    tls::Trust,
};

/// Octets of a media type that are shown.
const SHOWN: usize = 80;

/// Why there is no policy, in the kinds that reports know (RFC 8460 §4.3.2.1).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct FetchError {
    /// Which kind.
    pub kind: FetchKind,
    /// In words.
    pub text: Box<str>,
}

/// Kinds of [`FetchError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FetchKind {
    /// It could not be fetched.
    Fetch,
    /// The policy host did not prove to be it.
    WebPki,
    /// It was fetched and is none.
    Invalid,
}

impl FetchError {
    fn fetch(text: impl Into<Box<str>>) -> Self {
        FetchError {
            kind: FetchKind::Fetch,
            text: text.into(),
        }
    }

    /// What was fetched is no policy.
    pub(super) fn invalid(error: &StsPolicyError) -> Self {
        FetchError {
            kind: FetchKind::Invalid,
            text: error.to_string().into(),
        }
    }
}

impl From<HttpsError> for FetchError {
    fn from(error: HttpsError) -> Self {
        FetchError {
            kind: match error.is_unproved {
                true => FetchKind::WebPki,
                false => FetchKind::Fetch,
            },
            text: error.text.into(),
        }
    }
}

/// The policy file of a domain.
pub(super) async fn fetch(
    dns: &Dns,
    domain: &str,
    options: &Options,
) -> Result<String, FetchError> {
    let late = || {
        let seconds = options.timeout.as_secs();
        FetchError::fetch(format!(
            "the policy could not be fetched within {seconds} s"
        ))
    };
    let fetched = timeout(options.timeout, try_to_fetch(dns, domain, options)).await;
    fetched.map_err(|_| late())?
}

async fn try_to_fetch(dns: &Dns, domain: &str, options: &Options) -> Result<String, FetchError> {
    let host = format!("mta-sts.{domain}");
    let trust = Trust::system(options.authorities.clone());
    let connection = Https::connect(dns, &host, options.port, trust).await?;
    let request = Request::get("/.well-known/mta-sts.txt")
        .header(HOST, &host)
        .header(ACCEPT, "text/plain")
        .header(USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| FetchError::fetch(format!("{host}: {error}")))?;
    let mut answered = connection.send(request).await?;
    let response = &mut answered.response;
    if response.status() != StatusCode::OK {
        let text = format!(
            "{host} answered with the HTTP status {}",
            response.status().as_u16()
        );
        return Err(FetchError::fetch(text));
    }
    let media_type = response.headers().get(CONTENT_TYPE);
    let media_type = media_type
        .and_then(|it| it.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("text/plain") {
        let shown: String = essence.chars().take(SHOWN).collect();
        let text = format!("{host} gave a policy of the media type \"{shown}\", not text/plain");
        return Err(FetchError::fetch(text));
    }
    let body = Limited::new(response.body_mut(), POLICY_MOST);
    let body =
        body.collect()
            .await
            .map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => FetchError::invalid(&StsPolicyError::TooLong),
                None => FetchError::fetch(format!("{host}: {error}")),
            })?;
    let octets = body.to_bytes().to_vec();
    String::from_utf8(octets).map_err(|_| FetchError::invalid(&StsPolicyError::NotText))
}
