//! The program itself under faults and attacks: what was answered 250 is never lost, and whoever
//! behaves is served, whatever others do.

mod disk;
mod floods;
mod guessing;
mod hostile;
mod house;
mod injection;
mod kill;
mod power;
mod random;
mod start;

pub use house::{count, skip};
