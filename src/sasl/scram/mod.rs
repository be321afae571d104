//! SCRAM-SHA-256, both halves (RFC 5802, RFC 7677).
//!
//! SCRAM-SHA-1 is left out on purpose (known deviation from RFC 5802 §4): nothing that signs in here
//! needs it, and its keys would be the weakest way into a table of keys.

mod client;
mod keys;
mod server;

pub use client::{NONCE_OCTETS, ScramClient, ScramFault};
pub use keys::{Derivation, DerivedKey, LabelledKeys, Ring, ScramKeys};
pub use server::{Bindings, SERVER_NONCE_OCTETS};
pub(super) use server::{Demand, ServerFinal, ServerFirst, first};
