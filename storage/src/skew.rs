//! How far this host's clock is from the storage's, by which go all who share it.

use std::time::SystemTime;

use model::{Timestamp, Unit};

use crate::{RunLog, StoreError};

/// From so many milliseconds on it is told: less is made good by what is added, and by what nobody notices.
const TOLD: i64 = 5000;

/// How far this host's clock is from the storage's. It is asked for once: what a clock loses in a run is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skew(i64);

impl Skew {
    /// Asks `store` what its clock shows; none where it has no clock of its own.
    pub fn of<S: RunLog + ?Sized>(store: &mut S) -> Result<Self, StoreError> {
        let before = SystemTime::now().into();
        let there = store.now()?;
        Ok(there.map_or_else(Self::default, |there| Self::between(before, there, SystemTime::now().into())))
    }

    /// The clock there showed `there` at some moment between `before` and `after`.
    fn between(before: Timestamp, there: Timestamp, after: Timestamp) -> Self {
        Self(there.since(there.clamp(before, after.max(before))))
    }

    /// What the storage's clock shows when this host's shows `here`.
    pub fn there(self, here: Timestamp) -> Timestamp {
        here.plus(self.0)
    }

    /// What the storage's clock shows now.
    pub fn now(self) -> Timestamp {
        self.there(SystemTime::now().into())
    }

    /// What to say where the clocks are so far apart that a person should see to it.
    pub fn warning(self) -> Option<String> {
        let Self(ahead) = self;
        (ahead.abs() >= TOLD).then(|| {
            let span = Unit::Seconds.show(ahead.unsigned_abs() as f64 / 1000.0);
            let word = if ahead > 0 { "behind" } else { "ahead of" };
            format!(
                "this host's clock is {span} {word} that of the storage's server, by which everything goes: let NTP set \
                 both"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_round_trip_does_not_explain_is_skew() {
        let skew = |there| Skew::between(Timestamp(1000), Timestamp(there), Timestamp(1040));
        for (there, expected) in [(1000, 0), (1020, 0), (1040, 0), (1041, 1), (999, -1), (61_040, 60_000)] {
            assert_eq!(skew(there), Skew(expected), "{there}");
        }
        assert_eq!(skew(61_040).there(Timestamp(5)), Timestamp(60_005));
        assert_eq!(
            Skew::between(Timestamp(9), Timestamp(9), Timestamp(3)),
            Skew(0),
            "a clock that steps back"
        );
    }

    #[test]
    fn what_a_person_should_see_to_is_told() {
        assert_eq!(Skew(4999).warning(), None);
        let behind = Skew(90_000).warning().unwrap();
        assert!(behind.contains("is 1 min 30 s behind that"), "{behind}");
        assert!(Skew(-5000).warning().unwrap().contains("is 5 s ahead of that"));
    }
}
