//! The program's commands.

pub mod dialogue;
