//! Asking an issuer about a token that says nothing itself (RFC 7662).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use data_encoding::BASE64;
use http_body_util::Full;
use hyper::{Request, header};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{Claims, Introspection, Refusal, invalid};
use crate::web::Web;

/// Tokens that are remembered at most.
const KNOWN_MAX: usize = 10_000;
/// Questions under way at once.
const AT_ONCE: usize = 16;

/// When it was asked, and what a good token says; none of one that is not active.
type Asked = (Instant, Option<Claims>);

/// What was asked of late. A refusal is remembered too: whoever repeats one bad token is not counted
/// again by the throttle, and must not make us ask again either.
#[derive(Debug)]
pub(super) struct Introspected {
    known: Mutex<HashMap<[u8; 32], Asked>>,
    turns: Semaphore,
}

impl Default for Introspected {
    fn default() -> Self {
        Introspected {
            known: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Introspected {
    pub async fn ask(
        &self,
        web: &Web,
        service: &Introspection,
        token: &str,
    ) -> Result<Claims, Refusal> {
        let tag = Sha256::digest(token).into();
        let known = self.known().get(&tag).cloned();
        let claims = match known {
            Some((asked_at, said)) if asked_at.elapsed() < service.remember => said,
            _ => {
                let said = self.fetch(web, service, token).await?;
                self.keep(tag, service.remember, said.clone());
                said
            }
        };
        let claims = claims.ok_or_else(|| invalid("the issuer says that it is not active"))?;
        if claims.has_expired(SystemTime::now()) {
            return Err(Refusal::Expired);
        }
        Ok(claims)
    }

    async fn fetch(
        &self,
        web: &Web,
        service: &Introspection,
        token: &str,
    ) -> Result<Option<Claims>, Refusal> {
        let unavailable = |text: String| Refusal::Unavailable(text);
        let who = format!(
            "{}:{}",
            encoded(&service.client_id),
            encoded(service.client_secret.expose_secret())
        );
        let request = Request::post(service.url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .header(
                header::AUTHORIZATION,
                format!("Basic {}", BASE64.encode(who.as_bytes())),
            )
            .body(Full::from(format!(
                "token={}&token_type_hint=access_token",
                encoded(token)
            )))
            .map_err(|error| unavailable(error.to_string()))?;
        let (status, body) = {
            // Never closed.
            let _turn = self.turns.acquire().await;
            web.ask(request)
                .await
                .map_err(|error| unavailable(error.0))?
        };
        if !status.is_success() {
            return Err(unavailable(format!("{} answered {status}", service.url)));
        }
        let claims: Claims = serde_json::from_slice(&body)
            .map_err(|error| unavailable(format!("{}: {error}", service.url)))?;
        match claims.0.get("active") {
            Some(Value::Bool(true)) => Ok(Some(claims)),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(unavailable(format!("{} gave no answer", service.url))),
        }
    }

    fn keep(&self, tag: [u8; 32], remember: Duration, said: Option<Claims>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (asked_at, _)| asked_at.elapsed() < remember);
        }
        if known.len() < KNOWN_MAX {
            known.insert(tag, (Instant::now(), said));
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Asked>> {
        // Whole between calls, whoever panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `application/x-www-form-urlencoded` (RFC 6749 appendix B).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}
