//! Tests from outside, linked once.
