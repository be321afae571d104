//! A service of the operator's own: one POST for each question.
//!
//! ```text
//! {"user": "alice@example.org", "password": "…", "address": "192.0.2.7"}
//! 200 {"address": "alice@example.org"}      yes; the address may be left out
//! 401, 403, 404                             no
//! ```
//!
//! Anything else is no word.

use std::{path::PathBuf, time::Duration};

use http_body_util::Full;
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Found, Question, Trouble};
use crate::{smtp::Mailbox, tls::TlsError, web::Web};

/// Where it is.
#[derive(Clone, Debug)]
pub struct Https {
    /// Read by [`crate::web::address`].
    pub url: Uri,
    /// Shown as a bearer token, where it wants one.
    pub token: Option<SecretString>,
    /// Authorities to trust beside those of the system.
    pub authorities: Option<PathBuf>,
}

pub(super) struct Client {
    service: Https,
    web: Web,
}

impl Client {
    pub(super) fn open(service: &Https, limit: Duration) -> Result<Self, TlsError> {
        Ok(Client {
            web: Web::open(service.authorities.as_deref(), limit)?,
            service: service.clone(),
        })
    }

    pub(super) async fn check(&self, question: &Question) -> Result<Option<Found>, Trouble> {
        let asked = json!({
            "user": question.name,
            "password": question.password.expose_secret(),
            "address": question.peer.to_string(),
        });
        let mut request = Request::post(self.service.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.service.token {
            let bearer = format!("Bearer {}", token.expose_secret());
            let mut value = HeaderValue::from_str(&bearer)
                .map_err(|_| Trouble("the token has characters that no header bears".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::from(asked.to_string()))
            .map_err(|error| Trouble(error.to_string()))?;
        let answer = self.web.ask(request).await;
        let (status, body) = answer.map_err(|error| Trouble(error.0))?;
        read(status, &body)
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Option<Found>, Trouble> {
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            return Ok(None);
        }
        other => return Err(Trouble(format!("the service answered {other}"))),
    }
    // A page of some proxy in between is not a yes.
    let Ok(Value::Object(answer)) = serde_json::from_slice(body) else {
        return Err(Trouble("the service's 200 holds no JSON object".to_owned()));
    };
    let address = match answer.get("address") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let address = value.as_str().and_then(|text| Mailbox::parse(text).ok());
            let none = || Trouble("the service's address is none".to_owned());
            Some(address.ok_or_else(none)?)
        }
    };
    Ok(Some(Found { address }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_a_yes() {
        let found = |address: Option<&str>| {
            let address = address.map(|it| Mailbox::parse(it).unwrap());
            Ok(Some(Found { address }))
        };
        for (status, body, answer) in [
            (200, "{}", found(None)),
            (200, r#"{"address":null}"#, found(None)),
            (
                200,
                r#"{"address":"a@b.example","x":1}"#,
                found(Some("a@b.example")),
            ),
            (401, "", Ok(None)),
            (403, "{}", Ok(None)),
            (404, "", Ok(None)),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(read(status, body.as_bytes()), answer, "{status} {body}");
        }
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "true"),
            (200, r#"{"address":"nobody"}"#),
            (200, r#"{"address":7}"#),
            (204, ""),
            (302, ""),
            (429, ""),
            (500, "{}"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(read(status, body.as_bytes()).is_err(), "{status} {body}");
        }
    }
}
