//! The words of SMTP: addresses, commands, parameters, replies, framing.
//!
//! Octets in, values out, and back. Nothing here knows in which order commands come, who sent them
//! or what becomes of a message. RFC 5321, 1870, 2034, 2920, 3030, 6152, 6531, 9422.

mod address;
mod command;
mod content;
mod line;
mod parameters;
mod reply;
pub mod xtext;

pub use address::{
    AddressError, DOMAIN_MAX, Domain, ForwardPath, LOCAL_PART_MAX, Mailbox, PATH_MAX, ReversePath,
    split_path,
};
pub use command::{ChunkArgument, PathArgument, Verb};
pub use content::{BareLf, ContentDecoder, ContentFault, LINE_MAX, write_data};
pub use line::{COMMAND_MAX, DISCARD_MAX, Line, LineReader, SASL_MAX};
pub use parameters::{
    BodyParameter, MailParameters, ParameterError, Submitter, parse_rcpt_parameters,
};
pub use reply::{EnhancedCode, Reply};
