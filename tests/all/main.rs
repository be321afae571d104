//! Tests from outside, linked once.

mod server;
mod session_properties;
mod transcripts;
mod wire;
