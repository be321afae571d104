//! Exchanges that a directory has part in: it gives the challenge, and judges the response.
//!
//! Between the two the client has the word, and may be gone for good; so each is kept for a while.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tracing::warn;

use super::{
    Accounts,
    elsewhere::{Elsewhere, turn_of},
    lock,
    sign_in::{Asked, Shown},
};
use crate::{
    directory::{Conversation, Turn},
    envelope::Moment,
    sasl::Relay,
    session::{KeysVerdict, SignInVerdict},
};

/// Kept at once at most; the oldest one gives way to another.
const KEPT: usize = 256;
/// One that was begun before is over.
const PATIENCE: Duration = Duration::from_secs(120);

/// Exchanges whose client has the word.
#[derive(Default)]
pub(super) struct Relays {
    last: u64,
    kept: HashMap<u64, (Moment, Conversation)>,
}

impl Relays {
    fn keep(&mut self, now: Moment, conversation: Conversation) -> Relay {
        self.kept
            .retain(|_, (began, _)| now.since(*began) < PATIENCE);
        if self.kept.len() >= KEPT
            && let Some(oldest) = self.kept.keys().min().copied()
        {
            self.kept.remove(&oldest);
        }
        self.last += 1;
        self.kept.insert(self.last, (now, conversation));
        Relay(self.last)
    }

    fn take(&mut self, relay: Relay) -> Option<Conversation> {
        self.kept
            .remove(&relay.0)
            .map(|(_, conversation)| conversation)
    }
}

impl Accounts {
    /// What the directory answers to a client's first message; nothing where it knows no such name or
    /// no proofs.
    pub(super) async fn relay(
        &self,
        elsewhere: &Elsewhere,
        peer: IpAddr,
        turn: Turn,
        first: &[u8],
    ) -> Option<KeysVerdict> {
        match elsewhere.directory.begin(peer, turn, first).await {
            Ok(None) => None,
            Ok(Some((conversation, challenge))) => {
                let relay = lock(&self.relays).keep(self.now(), conversation);
                Some(KeysVerdict::Relayed { relay, challenge })
            }
            Err(trouble) => {
                warn!(%trouble, "the directory gives no word");
                Some(KeysVerdict::Unavailable)
            }
        }
    }

    /// A response that only the directory can judge.
    pub(super) async fn relayed(
        &self,
        asked: &Asked<'_>,
        relay: Relay,
        response: &[u8],
    ) -> SignInVerdict {
        let conversation = lock(&self.relays).take(relay);
        let elsewhere = self.elsewhere.load_full();
        let (Some(conversation), Some(elsewhere)) = (conversation, elsewhere) else {
            return SignInVerdict::Unavailable;
        };
        let turn = turn_of(asked.attempt.standing);
        let answer = elsewhere
            .directory
            .finish(conversation, turn, response)
            .await;
        let (found, proof) = match answer {
            Ok(Some(right)) => right,
            Ok(None) => return self.unproved(asked),
            Err(trouble) => {
                warn!(%trouble, "the directory gives no word");
                return SignInVerdict::Unavailable;
            }
        };
        let shown = Shown {
            authzid: None,
            password: None,
            app_password: None,
        };
        match self.admitted(&elsewhere, asked, &found, shown).await {
            SignInVerdict::Granted(identity) => SignInVerdict::Proved { identity, proof },
            other => other,
        }
    }
}
