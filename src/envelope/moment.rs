//! Time as the pure rooms know it.

use std::{ops::Add, time::Duration};

/// A point in time, counted from an arbitrary start that the driver chooses.
///
/// It never runs backwards and has nothing to do with the date; tests turn it by hand.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time from `earlier` to this moment; zero where `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, wait: Duration) -> Moment {
        Moment(self.0.saturating_add(wait))
    }
}
