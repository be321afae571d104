//! The keys of an issuer (RFC 7517), remembered.

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Request, body::Bytes, header};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{KeySource, Refusal};
use crate::web::{ANSWER_MAX, Web};

/// Keys are read anew when they are this old.
const FRESH: Duration = Duration::from_secs(600);
/// While that fails they serve on for this long.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Between one reading and the next, whatever asks for it.
const PAUSE: Duration = Duration::from_secs(15);
/// Keys of one issuer at most.
const KEYS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Keys {
    from: KeySource,
    web: Web,
    // Held while they are read: one reading serves all who wait.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<[Jwk]>,
    read_at: Option<Instant>,
    tried_at: Option<Instant>,
    trouble: String,
}

/// Keys of a kind that we do not know are left out, not fatal.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    pub fn new(from: KeySource, web: Web) -> Self {
        Keys {
            from,
            web,
            known: Mutex::default(),
        }
    }

    /// The key of this name, or all of them for a token that names none.
    pub async fn find(&self, id: Option<&str>) -> Result<Arc<[Jwk]>, Refusal> {
        let mut known = self.known.lock().await;
        let now = Instant::now();
        let older = |at: Option<Instant>, age| at.is_none_or(|at| now.duration_since(at) >= age);
        let is_known = known.names(id);
        if older(known.tried_at, PAUSE) && (older(known.read_at, FRESH) || !is_known) {
            known.tried_at = Some(now);
            match self.read().await {
                Ok(keys) => {
                    known.keys = keys.into();
                    known.read_at = Some(now);
                }
                Err(trouble) => {
                    tracing::warn!(%trouble, "cannot read the keys of the issuer of tokens");
                    known.trouble = trouble;
                }
            }
        }
        if older(known.read_at, STALE) {
            return Err(Refusal::Unavailable(known.trouble.clone()));
        }
        Ok(match id {
            None => Arc::clone(&known.keys),
            Some(id) => {
                let named = known.keys.iter().filter(|key| is(key, id));
                named.cloned().collect()
            }
        })
    }

    async fn read(&self) -> Result<Vec<Jwk>, String> {
        let text = match &self.from {
            KeySource::File(path) => read_file(path).await?,
            KeySource::Url(uri) => {
                let request = Request::get(uri.clone())
                    .header(header::ACCEPT, "application/jwk-set+json, application/json")
                    .body(Full::default())
                    .map_err(|error| error.to_string())?;
                let (status, body) = self.web.ask(request).await.map_err(|error| error.0)?;
                if !status.is_success() {
                    return Err(format!("{uri} answered {status}"));
                }
                body
            }
        };
        let set: KeySet =
            serde_json::from_slice(&text).map_err(|error| format!("no key set: {error}"))?;
        let keys = set.keys.into_iter().take(KEYS_MAX);
        Ok(keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .collect())
    }
}

impl Known {
    fn names(&self, id: Option<&str>) -> bool {
        match id {
            None => !self.keys.is_empty(),
            Some(id) => self.keys.iter().any(|key| is(key, id)),
        }
    }
}

fn is(key: &Jwk, id: &str) -> bool {
    key.common.key_id.as_deref() == Some(id)
}

async fn read_file(path: &Path) -> Result<Bytes, String> {
    let octets = tokio::fs::read(path).await;
    let octets = octets.map_err(|error| format!("{}: {error}", path.display()))?;
    if octets.len() > ANSWER_MAX {
        return Err(format!("{} is too large", path.display()));
    }
    Ok(octets.into())
}
