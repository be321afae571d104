//! Tests from outside, linked once.

mod clients;
mod server;
mod session_properties;
mod transcripts;
mod wire;
