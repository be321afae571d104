//! Tests from outside, linked once.

mod clients;
mod house;
mod server;
mod session_properties;
mod transcripts;
mod wire;
