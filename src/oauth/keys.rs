//! The keys of an issuer (RFC 7517), remembered.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
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
    known: ArcSwap<Known>,
    /// Held while they are read: one reading serves all who wait.
    turn: Mutex<()>,
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
            known: ArcSwap::default(),
            turn: Mutex::default(),
        }
    }

    /// The key of this name, or all of them for a token that names none.
    ///
    /// Whoever needs a key that is known does not wait for the issuer, but for the one who reads anew.
    pub async fn find(&self, id: Option<&str>) -> Result<Arc<[Jwk]>, Refusal> {
        let known = self.known.load_full();
        if !known.wants_reading(id) {
            return known.named(id);
        }
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) if known.names(id) && !known.is_stale() => return known.named(id),
            Err(_) => self.turn.lock().await,
        };
        // Somebody else may have read them meanwhile.
        let known = self.known.load_full();
        if known.wants_reading(id) {
            self.known.store(Arc::new(known.renewed(self.read().await)));
        }
        drop(turn);
        self.known.load().named(id)
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

fn is_older(at: Option<Instant>, age: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() >= age)
}

impl Known {
    fn wants_reading(&self, id: Option<&str>) -> bool {
        is_older(self.tried_at, PAUSE) && (is_older(self.read_at, FRESH) || !self.names(id))
    }

    fn is_stale(&self) -> bool {
        is_older(self.read_at, STALE)
    }

    /// After a reading now.
    fn renewed(&self, read: Result<Vec<Jwk>, String>) -> Self {
        let now = Some(Instant::now());
        match read {
            Ok(keys) => Known {
                keys: keys.into(),
                read_at: now,
                tried_at: now,
                trouble: String::new(),
            },
            Err(trouble) => {
                tracing::warn!(%trouble, "cannot read the keys of the issuer of tokens");
                Known {
                    keys: Arc::clone(&self.keys),
                    read_at: self.read_at,
                    tried_at: now,
                    trouble,
                }
            }
        }
    }

    fn named(&self, id: Option<&str>) -> Result<Arc<[Jwk]>, Refusal> {
        if self.is_stale() {
            return Err(Refusal::Unavailable(self.trouble.clone()));
        }
        Ok(match id {
            None => Arc::clone(&self.keys),
            Some(id) => self
                .keys
                .iter()
                .filter(|key| is(key, id))
                .cloned()
                .collect(),
        })
    }

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
