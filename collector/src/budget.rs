//! How long a visit and its phases may take. Pure.

use std::time::Duration;

use model::Phase;

/// The client timeout that the phases' budgets are made for; a longer one stretches them.
const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// How slow a network may be to get the probe across, in bytes a second.
const FLOOR_RATE: u64 = 64 * 1024;

/// How long phases may take (collection.md, "One process per client").
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    timeout: Duration,
    upload: Duration,
}

impl Budget {
    /// `timeout` is the client's; `upload` the bytes of the probe.
    pub(crate) fn new(timeout: Duration, upload: usize) -> Self {
        let upload = Duration::from_secs((upload as u64).div_ceil(FLOOR_RATE)).max(Duration::from_secs(10));
        Self { timeout, upload }
    }

    /// The client's deadline.
    pub(crate) fn timeout(self) -> Duration {
        self.timeout
    }

    /// How much longer a visit may take in which the probe is sent.
    pub(crate) fn upload(self) -> Duration {
        self.upload
    }

    /// How long one phase may take.
    pub(crate) fn of(self, phase: Phase) -> Duration {
        let seconds = match phase {
            Phase::Dns | Phase::Connect => 5,
            Phase::Handshake | Phase::Auth => 15,
            Phase::Exec => 30,
            // Each secret's command is bounded by itself; the client's timeout bounds all.
            Phase::Start => 60,
            Phase::Upload => return self.upload,
        };
        let stretch = (self.timeout.as_secs_f64() / USUAL_TIMEOUT.as_secs_f64()).max(1.0);
        Duration::from_secs(seconds).mul_f64(stretch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_the_designs_and_stretch_with_the_timeout() {
        let usual = Budget::new(Duration::from_secs(60), 500_000);
        let seconds = |budget: Budget, phase| budget.of(phase).as_secs();
        assert_eq!(seconds(usual, Phase::Connect), 5);
        assert_eq!(seconds(usual, Phase::Auth), 15);
        assert_eq!(seconds(usual, Phase::Exec), 30);
        assert_eq!(seconds(usual, Phase::Upload), 10);
        assert_eq!(seconds(Budget::new(Duration::from_secs(60), 1_310_721), Phase::Upload), 21);
        assert_eq!(seconds(Budget::new(Duration::from_secs(120), 0), Phase::Exec), 60);
        assert_eq!(seconds(Budget::new(Duration::from_secs(2), 0), Phase::Exec), 30);
    }
}
