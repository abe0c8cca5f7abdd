//! The interface of the readers, one per subsystem of a platform, and what they fill.

use std::time::Instant;

use model::{Clock, Host, Labels, ReaderOutcome, Sample};

use crate::Counters;
use crate::machine::Machine;
use crate::processes::Seen;
use crate::space::Stuck;

/// The most objects of one kind that a reader looks at. Of these `fit` takes what a report has room for.
pub(crate) const MAX_LOOKED_AT: usize = 8192;

/// Looks at one subsystem.
pub trait Reader: Sync {
    /// What its outcome is filed under.
    fn name(&self) -> &'static str;

    /// Fills `reading` with what it finds. An error says what it could not find; what was filled before stays.
    fn read(&self, reading: &mut Reading) -> Result<(), String>;
}

/// What the readers fill.
pub struct Reading<'a> {
    /// What is looked at.
    pub machine: &'a Machine,
    /// When.
    pub clock: &'a Clock,
    /// Mounts that did not answer lately.
    pub known_stuck: &'a [Stuck],
    /// The machine's names.
    pub host: Host,
    /// Values that are true at this moment.
    pub samples: Vec<Sample>,
    /// Counters, of which rates are made later.
    pub counters: Counters,
    /// Mounts that do not answer.
    pub stuck: Vec<Stuck>,
    pub(crate) processes: Vec<Seen>,
}

impl<'a> Reading<'a> {
    /// An empty one.
    pub fn new(machine: &'a Machine, clock: &'a Clock, known_stuck: &'a [Stuck]) -> Self {
        let counters = Counters {
            boot_id: clock.boot_id.clone(),
            boottime_ms: clock.boottime_ms,
            ..Counters::default()
        };
        Self {
            machine,
            clock,
            known_stuck,
            host: Host::default(),
            samples: Vec::new(),
            counters,
            stuck: Vec::new(),
            processes: Vec::new(),
        }
    }

    pub(crate) fn gauge(&mut self, metric: &str, value: f64) {
        self.push(metric, Labels::none(), value);
    }

    pub(crate) fn gauge_of(&mut self, metric: &str, label: &str, object: &str, value: f64) {
        self.push(metric, Labels::one(label, object), value);
    }

    pub(crate) fn push(&mut self, metric: &str, labels: Labels, value: f64) {
        if value.is_finite() {
            self.samples.push(Sample { metric: metric.to_owned(), labels, value });
        }
    }

    /// Runs `readers` one after another and says how each fared.
    pub fn run(&mut self, readers: &[&dyn Reader]) -> Vec<ReaderOutcome> {
        let mut outcomes = Vec::with_capacity(readers.len());
        for reader in readers {
            let start = Instant::now();
            let fault = reader.read(self).err().map(|fault| model::text::escape(&fault));
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            outcomes.push(ReaderOutcome { reader: reader.name().to_owned(), micros, fault });
        }
        outcomes
    }
}

/// `part` of `whole` in percent, 0 to 100; `None` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (100.0 * part as f64 / whole as f64).min(100.0))
}
