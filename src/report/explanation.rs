//! What a status code means, in the words of somebody who does not run mail servers (RFC 3463).

use crate::smtp::EnhancedCode;

/// One sentence on what is wrong, and one on what the sender can do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Explanation {
    /// What is wrong.
    pub what: &'static str,
    /// What to do about it, where that is known.
    pub advice: &'static str,
}

/// Explains the subject and detail of `status`; whether all is lost is told elsewhere.
///
/// `has_reply` tells a next hop's refusal from our own finding where the code says neither.
pub(super) fn of(status: EnhancedCode, has_reply: bool) -> Explanation {
    let place = (status.subject, status.detail);
    if let Some((_, what, advice)) = TABLE.iter().find(|(known, _, _)| *known == place) {
        return Explanation { what, advice };
    }
    match (status.class, has_reply) {
        (4, true) => Explanation {
            what: "The recipient's mail server does not take the message at present.",
            advice: ASK_RECIPIENT,
        },
        (_, true) => Explanation {
            what: "The recipient's mail server refused the message.",
            advice: ASK_RECIPIENT,
        },
        (4, false) => Explanation {
            what: "The message cannot be delivered at present.",
            advice: ASK_OPERATOR,
        },
        (_, false) => Explanation {
            what: "The message cannot be delivered.",
            advice: ASK_OPERATOR,
        },
    }
}

const CHECK_ADDRESS: &str =
    "Check the address for typing mistakes, and send the message again to the right one.";
const ASK_RECIPIENT: &str = "Read what the server answered; if that does not help, reach the \
                             recipient by other means.";
const ASK_OPERATOR: &str = "Ask the operator of your mail server, and give the queue id above.";
const LATER: &str =
    "Try again later, and check the part of the address behind the @ for typing mistakes.";
const SMALLER: &str = "Send a smaller message, for example a link in place of an attachment.";
const ASK_POSTMASTER: &str = "Reach the recipient by other means, and have the operator of the \
                              recipient's mail server told what is written above: it can be mended \
                              only there. Your message is never sent without protection.";
const OTHER_MEANS: &str = "Reach the recipient by other means.";

/// Subject and detail, what is wrong, what to do.
const TABLE: &[((u16, u16), &str, &str)] = &[
    ((1, 0), "The address was not accepted.", CHECK_ADDRESS),
    (
        (1, 1),
        "There is no mailbox of this address.",
        CHECK_ADDRESS,
    ),
    (
        (1, 2),
        "The domain of the address does not exist or takes no mail.",
        CHECK_ADDRESS,
    ),
    ((1, 3), "The address is not well-formed.", CHECK_ADDRESS),
    (
        (1, 4),
        "The address stands for more than one mailbox.",
        CHECK_ADDRESS,
    ),
    (
        (1, 6),
        "The mailbox has moved, and nobody knows where.",
        OTHER_MEANS,
    ),
    (
        (1, 7),
        "Your own address was not accepted.",
        "Check the sender address that is set in your mail program.",
    ),
    (
        (1, 8),
        "The domain of your own address was not accepted.",
        ASK_OPERATOR,
    ),
    (
        (1, 10),
        "The domain of the address takes no mail at all.",
        CHECK_ADDRESS,
    ),
    ((2, 1), "The mailbox takes no mail at present.", OTHER_MEANS),
    (
        (2, 2),
        "The mailbox is full.",
        "Tell the recipient by other means, and send the message again later.",
    ),
    (
        (2, 3),
        "The message is larger than this mailbox accepts.",
        SMALLER,
    ),
    (
        (3, 1),
        "The recipient's mail server has no room left.",
        "Send the message again later.",
    ),
    (
        (3, 2),
        "The recipient's mail server takes no messages.",
        OTHER_MEANS,
    ),
    (
        (3, 4),
        "The message is larger than the recipient's mail server accepts.",
        SMALLER,
    ),
    (
        (4, 1),
        "The recipient's mail server does not answer.",
        LATER,
    ),
    (
        (4, 2),
        "The connection to the recipient's mail server broke.",
        "Try again later.",
    ),
    (
        (4, 3),
        "The recipient's mail server could not be looked up.",
        LATER,
    ),
    ((4, 4), "No way to the recipient is known.", CHECK_ADDRESS),
    (
        (4, 5),
        "The recipient's mail server is too busy.",
        "Try again later.",
    ),
    (
        (4, 6),
        "The message went in a circle and was stopped.",
        ASK_OPERATOR,
    ),
    (
        (4, 7),
        "The time allowed for the delivery ran out.",
        "Check the address, and send the message again later.",
    ),
    (
        (6, 3),
        "The recipient's mail server cannot take the form in which the message is written.",
        "Send the message again as plain text.",
    ),
    (
        (6, 7),
        "The address has letters that the recipient's mail server cannot handle.",
        "Ask the recipient for another address, of plain letters a to z.",
    ),
    (
        (6, 9),
        "The message's header has letters that the recipient's mail server cannot handle.",
        "Use plain letters a to z in names and addresses, and send the message again.",
    ),
    (
        (7, 1),
        "The recipient's mail server does not permit the message.",
        ASK_RECIPIENT,
    ),
    (
        (7, 5),
        "The connection to the recipient's mail server could not be proved secure.",
        ASK_POSTMASTER,
    ),
    (
        (7, 10),
        "No connection as secure as this message needs could be made.",
        ASK_POSTMASTER,
    ),
    (
        (7, 30),
        "The recipient's mail server does not promise the security this message asks for.",
        "Send the message again without asking for it, if you can do without.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// R3463-3a.
    #[test]
    fn every_code_has_words() {
        let what = |class, subject, detail, has_reply| {
            of(EnhancedCode::new(class, subject, detail), has_reply).what
        };
        assert!(what(5, 1, 1, true).contains("no mailbox"));
        assert!(what(4, 2, 2, true).contains("full"));
        assert!(what(5, 99, 999, true).contains("refused"));
        assert!(what(4, 0, 0, true).contains("at present"));
        assert!(what(5, 0, 0, false).contains("cannot be delivered."));
        for (place, what, advice) in TABLE {
            let rows = TABLE.iter().filter(|(other, _, _)| other == place).count();
            assert_eq!(rows, 1, "{place:?}");
            assert!(what.ends_with('.') && advice.ends_with('.'), "{place:?}");
            assert!(what.is_ascii() && advice.is_ascii(), "{place:?}");
        }
    }
}
