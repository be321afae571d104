//! Who hears of what (RFC 3461 §5.2).

use super::Kind;
use crate::smtp::{Notify, ReversePath};

/// Whether the sender is to be told of an outcome of this kind for one recipient.
///
/// Never where the reverse-path is null (RFC 3461 §5.2). Where the recipient came without NOTIFY
/// the sender hears of failures and delays (RFC 3461 §4.1).
pub fn due(notify: Option<Notify>, kind: Kind, sender: &ReversePath) -> bool {
    if sender.mailbox().is_none() {
        return false;
    }
    match (kind, notify) {
        (Kind::Failure | Kind::Delay, None) => true,
        (Kind::Success, None) => false,
        (Kind::Failure, Some(notify)) => notify.on_failure(),
        (Kind::Delay, Some(notify)) => notify.on_delay(),
        (Kind::Success, Some(notify)) => notify.on_success(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R3461-5.2.2b, R3461-5.2.2d, R3461-5.2.3b, R3461-5.2.5b, R3461-5.2.6a, R3461-5.2.6b, R3461-5.2a, R5321-3.6.3b, R5321-6.1b.
    #[test]
    fn the_sender_hears_what_was_asked_and_a_null_sender_nothing() {
        let alice = ReversePath::parse("alice@example.org").unwrap();
        for (notify, failure, delay, success) in [
            (None, true, true, false),
            (Some("NEVER"), false, false, false),
            (Some("FAILURE"), true, false, false),
            (Some("DELAY"), false, true, false),
            (Some("SUCCESS"), false, false, true),
            (Some("SUCCESS,FAILURE,DELAY"), true, true, true),
        ] {
            let asked = notify.map(|text| Notify::parse(text).unwrap());
            for (kind, expected) in [
                (Kind::Failure, failure),
                (Kind::Delay, delay),
                (Kind::Success, success),
            ] {
                assert_eq!(due(asked, kind, &alice), expected, "{notify:?} {kind:?}");
                assert!(!due(asked, kind, &ReversePath::Null), "{notify:?} {kind:?}");
            }
        }
    }
}
