//! Tests from outside, linked once.

mod session_properties;
mod transcripts;
