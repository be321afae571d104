//! Tests from outside, linked once.

mod clients;
mod commands;
mod content;
mod desk;
mod doors;
mod faults;
mod house;
mod rights;
mod running;
mod server;
mod session_properties;
mod tls;
mod transcripts;
mod wire;
