//! The words of SMTP: addresses, commands, parameters, replies, framing.
//!
//! Octets in, values out, and back. Nothing here knows in which order commands come, who sent them
//! or what becomes of a message. RFC 5321, 1870, 2034, 2852,
//! 2920, 3030, 3461, 4865, 6152, 6531, 6533, 6710, 9422.

mod address;
mod command;
mod content;
mod deliver_by;
mod dsn;
mod future_release;
mod line;
mod original_recipient;
mod parameters;
mod priority;
mod reply;
mod reply_reader;
pub mod unitext;
pub mod xtext;

pub use address::{
    AddressError, DOMAIN_MAX, Domain, ForwardPath, LOCAL_PART_MAX, Mailbox, PATH_MAX, ReversePath,
    split_path,
};
pub use command::{ChunkArgument, PathArgument, Verb};
pub use content::{
    BareLf, ContentDecoder, ContentFault, LINE_MAX, LongLines, Tolerance, write_data,
};
pub use deliver_by::{ByMode, DeliverBy};
pub use dsn::{EnvelopeId, Notify, Return};
pub use future_release::{FutureRelease, date_time};
pub use line::{COMMAND_MAX, DISCARD_MAX, Line, LineReader, SASL_MAX};
pub use original_recipient::OriginalRecipient;
pub use parameters::{BodyParameter, MailParameters, ParameterError, RcptParameters, Submitter};
pub use priority::Priority;
pub use reply::{EnhancedCode, Reply};
pub use reply_reader::{REPLY_MAX, ReceivedReply, ReplyClass, ReplyFault, ReplyReader};
