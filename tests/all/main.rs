//! Tests from outside, linked once.

mod activation;
mod client;
mod clients;
mod commands;
mod content;
mod crash;
mod desk;
mod doors;
mod faults;
mod framing;
mod handoff;
mod hop;
mod house;
mod long_lines;
mod patience;
mod peers;
mod proxy;
mod reports;
mod rights;
mod running;
mod server;
mod session_properties;
mod tls;
mod transcripts;
mod wire;
mod world;
