//! The name of a message in custody.

use std::{fmt, sync::Arc};

/// Names a message from its `250` until it leaves the queue: 26 characters of Crockford base 32.
///
/// Ids made later sort later, so that rows of the queue are appended and not scattered.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueId(Arc<str>);

/// The text is no queue id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a queue id is 26 letters and digits, as in the reply to the message")]
pub struct QueueIdError;

impl QueueId {
    /// The id whose time and random part are those of `ulid`.
    pub fn new(ulid: ulid::Ulid) -> Self {
        QueueId(ulid.to_string().into())
    }

    /// Reads an id as printed, in either case.
    ///
    /// # Errors
    /// [`QueueIdError`] where the text has another length or alphabet.
    pub fn parse(text: &str) -> Result<Self, QueueIdError> {
        let ulid: ulid::Ulid = text.parse().map_err(|_| QueueIdError)?;
        Ok(QueueId::new(ulid))
    }

    /// The printed form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read_again_is_the_same() {
        let id = QueueId::new(ulid::Ulid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(QueueId::parse(id.as_str()), Ok(id.clone()));
        assert_eq!(QueueId::parse(&id.as_str().to_lowercase()), Ok(id));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "01",
            "../../../../etc/passwd_xxxx",
            "0123456789012345678901234567",
        ] {
            assert_eq!(QueueId::parse(text), Err(QueueIdError), "{text}");
        }
    }
}
