//! Every text that a session says to a client, in one place.
//!
//! Codes and enhanced codes follow RFC 5321 §4.2.3, 3463, 4954 §6 and 5248. Texts are plain,
//! say what to do where we know, and never tell one failed sign-in from another.

use std::time::Duration;

use crate::{
    envelope::QueueId,
    smtp::{
        ContentFault, Domain, FutureRelease, Mailbox, ParameterError, Priority, Reply, ReversePath,
    },
};

use super::Options;

pub(super) fn greeting(options: &Options) -> Reply {
    Reply::bare(220, format!("{} {}", options.hostname, options.greeting))
}

/// For a connection that gets no session, in place of its greeting.
pub fn too_many_connections(hostname: &Domain) -> Reply {
    Reply::bare(
        421,
        format!("{hostname} Too many connections, please try again in a moment"),
    )
}

/// For a session that the server ends because it stops itself.
pub fn stopping(hostname: &Domain) -> Reply {
    Reply::new(
        421,
        3,
        2,
        format!("{hostname} Service is stopping, try again shortly"),
    )
}

pub(super) fn hello_needs_name() -> Reply {
    Reply::bare(501, "EHLO needs your host name or address literal")
}

pub(super) fn start_tls() -> Reply {
    Reply::new(220, 0, 0, "Ready to start TLS")
}

pub(super) fn starttls_argument() -> Reply {
    Reply::new(501, 5, 4, "STARTTLS takes no argument")
}

pub(super) fn tls_is_active() -> Reply {
    Reply::new(503, 5, 1, "TLS is already active")
}

pub(super) fn octets_behind_starttls() -> Reply {
    Reply::new(
        554,
        5,
        0,
        "Nothing may follow STARTTLS before the handshake",
    )
}

pub(super) fn start_tls_first() -> Reply {
    Reply::new(530, 7, 0, "Start TLS first")
}

pub(super) fn sign_in_first() -> Reply {
    Reply::new(530, 7, 0, "Sign in first")
}

pub(super) fn send_ehlo_first() -> Reply {
    Reply::new(503, 5, 1, "Send EHLO first")
}

pub(super) fn signed_in() -> Reply {
    Reply::new(235, 7, 0, "Signed in")
}

pub(super) fn already_signed_in() -> Reply {
    Reply::new(503, 5, 1, "Already signed in")
}

pub(super) fn auth_usage() -> Reply {
    Reply::new(501, 5, 4, "Use AUTH mechanism [initial-response]")
}

pub(super) fn unknown_mechanism() -> Reply {
    Reply::new(504, 5, 4, "Mechanism not supported, see the EHLO list")
}

pub(super) fn sign_in_cancelled() -> Reply {
    Reply::new(501, 7, 0, "Sign-in cancelled")
}

pub(super) fn not_base64() -> Reply {
    Reply::new(501, 5, 2, "Response is not valid base64")
}

pub(super) fn sign_in_line_too_long() -> Reply {
    Reply::new(500, 5, 6, "Sign-in line too long")
}

pub(super) fn sign_in_refused() -> Reply {
    Reply::new(535, 7, 8, "User name or password not accepted")
}

pub(super) fn sign_in_unavailable() -> Reply {
    Reply::new(
        454,
        7,
        0,
        "Sign-in is temporarily unavailable, try again later",
    )
}

pub(super) fn sign_in_throttled() -> Reply {
    Reply::new(454, 7, 0, "Too many attempts, try again later")
}

pub(super) fn too_many_sign_ins(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Too many failed sign-ins", options.hostname),
    )
}

pub(super) fn mail_usage() -> Reply {
    Reply::new(501, 5, 2, "Use MAIL FROM:<address>")
}

pub(super) fn bad_sender() -> Reply {
    Reply::new(501, 1, 7, "Sender address is not valid")
}

pub(super) fn sender_too_long() -> Reply {
    Reply::new(501, 1, 7, "Address too long")
}

pub(super) fn sender_not_qualified() -> Reply {
    Reply::new(554, 1, 8, "Sender domain must be complete")
}

pub(super) fn sender_needs_smtputf8() -> Reply {
    Reply::new(550, 6, 7, "Sender address needs SMTPUTF8")
}

pub(super) fn sender_ok(sender: &ReversePath) -> Reply {
    Reply::new(250, 1, 0, format!("Sender {sender} OK"))
}

pub(super) fn sender_not_yours(sender: &ReversePath) -> Reply {
    Reply::new(550, 7, 1, format!("You may not send as {sender}"))
}

pub(super) fn mail_already_given() -> Reply {
    Reply::new(503, 5, 1, "MAIL already given, use RSET")
}

pub(super) fn bad_parameter(command: &str, error: &ParameterError) -> Reply {
    /// Has a code of its own (RFC 6710 §4.1).
    const PRIORITY: &str = "MT-PRIORITY";
    match error {
        ParameterError::BadValue(PRIORITY) => {
            Reply::new(501, 5, 2, "MT-PRIORITY takes a number from -9 to 9")
        }
        ParameterError::Twice(PRIORITY) => {
            Reply::new(501, 5, 2, "MAIL parameter MT-PRIORITY given twice")
        }
        ParameterError::BadValue("BY") => {
            let text = "BY takes seconds and N, R, NT or RT; to return mail they must lie ahead";
            Reply::new(501, 5, 4, text)
        }
        ParameterError::Unknown(keyword) => Reply::new(
            555,
            5,
            4,
            format!("{command} parameter {keyword} not supported"),
        ),
        ParameterError::BadValue(keyword) => Reply::new(
            501,
            5,
            4,
            format!("Bad value for {command} parameter {keyword}"),
        ),
        ParameterError::Twice(keyword) => Reply::new(
            501,
            5,
            4,
            format!("{command} parameter {keyword} given twice"),
        ),
    }
}

pub(super) fn no_future_release(hold: FutureRelease) -> Reply {
    let keyword = match hold {
        FutureRelease::For(_) => "HOLDFOR",
        FutureRelease::Until(_) => "HOLDUNTIL",
    };
    bad_parameter("MAIL", &ParameterError::Unknown(keyword.to_owned()))
}

pub(super) fn bad_hold(longest: Duration) -> Reply {
    let seconds = longest.as_secs();
    let text = format!("Mail can be held for 1 to {seconds} seconds from now");
    Reply::new(501, 5, 4, text)
}

pub(super) fn binary_needs_bdat() -> Reply {
    Reply::new(503, 5, 1, "BINARYMIME needs BDAT")
}

pub(super) fn held_too_long() -> Reply {
    let text = "The message would be held beyond the time that BY gives";
    Reply::new(501, 5, 4, text)
}

/// The number comes first (RFC 6710 §4.1).
pub(super) fn priority_changed(priority: Priority) -> Reply {
    let text = format!("{priority} is the priority now in force");
    Reply::new(250, 3, 6, text)
}

pub(super) fn too_many_messages(options: &Options) -> Reply {
    let host = &options.hostname;
    Reply::new(
        421,
        3,
        2,
        format!("{host} Message limit of this session reached, reconnect"),
    )
}

pub(super) fn rights_unavailable() -> Reply {
    Reply::new(
        451,
        3,
        0,
        "Cannot check your permissions now, try again later",
    )
}

pub(super) fn rcpt_usage() -> Reply {
    Reply::new(501, 5, 2, "Use RCPT TO:<address>")
}

pub(super) fn bad_recipient() -> Reply {
    Reply::new(501, 1, 3, "Recipient address is not valid")
}

pub(super) fn recipient_is_encoded_word() -> Reply {
    Reply::new(501, 1, 3, "Recipient is an encoded word, not an address")
}

pub(super) fn recipient_too_long() -> Reply {
    Reply::new(501, 1, 3, "Address too long")
}

pub(super) fn recipient_not_qualified() -> Reply {
    Reply::new(554, 1, 2, "Recipient domain must be complete")
}

pub(super) fn recipient_needs_smtputf8() -> Reply {
    Reply::new(553, 6, 7, "Recipient address needs SMTPUTF8")
}

pub(super) fn recipient_ok(recipient: &Mailbox) -> Reply {
    Reply::new(250, 1, 5, format!("Recipient {recipient} OK"))
}

pub(super) fn no_such_mailbox() -> Reply {
    Reply::new(550, 1, 1, "No such mailbox here")
}

pub(super) fn no_route(recipient: &Mailbox) -> Reply {
    Reply::new(550, 4, 4, format!("No route to {}", recipient.domain()))
}

/// Which domains are allowed is between the owner and the device.
pub(super) fn recipient_not_allowed(recipient: &Mailbox) -> Reply {
    let domain = recipient.domain();
    let text = format!("{domain} is not among the domains that you may send to");
    Reply::new(550, 7, 1, text)
}

/// The domain comes first: many clients show no more than the beginning.
pub(super) fn no_such_domain(recipient: &Mailbox) -> Reply {
    Reply::new(550, 1, 2, format!("{} does not exist", recipient.domain()))
}

/// RFC 7504 §4, RFC 7505 §4.1.
pub(super) fn null_mx(recipient: &Mailbox) -> Reply {
    Reply::new(556, 1, 10, format!("{} takes no mail", recipient.domain()))
}

pub(super) fn cannot_be_protected(recipient: &Mailbox, why: &str) -> Reply {
    Reply::new(550, 7, 30, format!("{}: {why}", recipient.domain()))
}

pub(super) fn undetermined(recipient: &Mailbox) -> Reply {
    let domain = recipient.domain();
    Reply::new(
        451,
        4,
        3,
        format!("{domain} cannot be looked up now, try again later"),
    )
}

pub(super) fn recipient_unavailable() -> Reply {
    Reply::new(
        451,
        3,
        0,
        "Cannot check this recipient now, try again later",
    )
}

pub(super) fn too_many_recipients() -> Reply {
    Reply::new(452, 5, 3, "Too many recipients, send the rest separately")
}

pub(super) fn send_mail_first() -> Reply {
    Reply::new(503, 5, 1, "Send MAIL first")
}

pub(super) fn send_rcpt_first() -> Reply {
    Reply::new(503, 5, 1, "Send RCPT first")
}

pub(super) fn no_valid_recipients() -> Reply {
    Reply::new(554, 5, 1, "No valid recipients")
}

pub(super) fn no_argument(command: &str) -> Reply {
    Reply::new(501, 5, 4, format!("{command} takes no argument"))
}

pub(super) fn go_ahead() -> Reply {
    Reply::bare(354, "Send the message, end with a line holding one dot")
}

pub(super) fn continue_with_bdat() -> Reply {
    Reply::new(503, 5, 1, "Continue with BDAT or RSET")
}

pub(super) fn bdat_usage() -> Reply {
    Reply::new(501, 5, 4, "Use BDAT size [LAST]")
}

pub(super) fn lost_framing(options: &Options) -> Reply {
    let host = &options.hostname;
    Reply::new(
        421,
        7,
        0,
        format!("{host} Cannot tell chunks from commands, closing"),
    )
}

pub(super) fn chunk_taken(octets: u64) -> Reply {
    Reply::new(250, 0, 0, format!("{octets} octets received"))
}

pub(super) fn message_ended() -> Reply {
    Reply::new(503, 5, 1, "Message already ended, use RSET")
}

pub(super) fn accepted(id: &QueueId) -> Reply {
    Reply::new(250, 0, 0, format!("Accepted as {id}"))
}

pub(super) fn message_too_big(options: &Options) -> Reply {
    Reply::new(
        552,
        3,
        4,
        format!("Message is over the {} octet limit", options.message_size),
    )
}

pub(super) fn endless_data(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Message does not end, closing", options.hostname),
    )
}

pub(super) fn no_room() -> Reply {
    Reply::new(452, 3, 1, "Not enough storage, try again later")
}

pub(super) fn bad_content(fault: ContentFault) -> Reply {
    let text = match fault {
        ContentFault::BareCr | ContentFault::BareLf => "Lines must end in CRLF",
        ContentFault::Nul => "Message contains a NUL octet",
        ContentFault::LongLine => "Message contains a line over 998 octets",
        ContentFault::LongHeaderLine => "Message contains a header line over 998 octets",
    };
    Reply::new(554, 6, 0, text)
}

pub(super) fn transaction_cleared() -> Reply {
    Reply::new(250, 0, 0, "Transaction cleared")
}

pub(super) fn noop() -> Reply {
    Reply::new(250, 0, 0, "OK")
}

pub(super) fn goodbye(options: &Options) -> Reply {
    Reply::new(221, 0, 0, format!("{} Goodbye", options.hostname))
}

pub(super) fn help(options: &Options) -> Reply {
    let mut reply = Reply::new(
        214,
        0,
        0,
        "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT",
    );
    if !options.contact.is_empty() {
        reply
            .lines
            .push(format!("Contact: {}", options.contact).into());
    }
    reply
}

pub(super) fn cannot_verify() -> Reply {
    Reply::new(252, 5, 0, "Cannot verify, will try to deliver")
}

pub(super) fn vrfy_usage() -> Reply {
    Reply::new(501, 5, 4, "VRFY needs an address")
}

pub(super) fn not_implemented(command: &str) -> Reply {
    Reply::new(502, 5, 1, format!("{command} not implemented"))
}

pub(super) fn unknown_command() -> Reply {
    Reply::new(500, 5, 2, "Command not recognised")
}

pub(super) fn not_lmtp() -> Reply {
    Reply::new(500, 5, 2, "This is SMTP, use EHLO")
}

pub(super) fn not_http(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Not an HTTP server", options.hostname),
    )
}

pub(super) fn line_too_long() -> Reply {
    Reply::new(500, 5, 2, "Line too long")
}

pub(super) fn endless_line(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Line too long, closing", options.hostname),
    )
}

pub(super) fn line_not_crlf() -> Reply {
    Reply::new(500, 5, 2, "Line must be ASCII and end in CRLF")
}

pub(super) fn too_many_errors(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Too many errors, closing", options.hostname),
    )
}

pub(super) fn idle_too_long(options: &Options) -> Reply {
    Reply::new(
        421,
        4,
        2,
        format!("{} Idle too long, closing", options.hostname),
    )
}

pub(super) fn session_too_long(options: &Options) -> Reply {
    Reply::new(
        421,
        4,
        2,
        format!("{} Session lasted too long, closing", options.hostname),
    )
}

pub(super) fn data_stalled(options: &Options) -> Reply {
    let seconds = options.data.as_secs();
    Reply::new(
        421,
        4,
        2,
        format!("{} No data for {seconds} s, closing", options.hostname),
    )
}

pub(super) fn data_too_slow(options: &Options) -> Reply {
    Reply::new(
        421,
        4,
        2,
        format!("{} Data comes too slowly, closing", options.hostname),
    )
}

pub(super) fn sign_in_too_long(options: &Options) -> Reply {
    Reply::new(
        421,
        7,
        0,
        format!("{} Sign-in took too long, closing", options.hostname),
    )
}
