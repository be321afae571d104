//! Tests from outside, linked once.

mod transcripts;
