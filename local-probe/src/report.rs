//! One run: what the readers saw, as one report.

use model::{Body, Clock, Labels, Record, Report, Sample};
use rustix::time::{ClockId, clock_gettime};

use crate::fit::fit;
use crate::machine::Machine;
use crate::order;
use crate::platform::{ALL, COUNTING};
use crate::processes::{count_named, top};
use crate::reading::Reading;
use crate::space::Stuck;
use crate::{Counters, platform};

/// What one run found out, and what the next should know.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// When.
    pub clock: Clock,
    /// The report.
    pub report: Report,
    /// For the next run's rates.
    pub counters: Counters,
    /// Mounts that the next run leaves alone.
    pub stuck: Vec<Stuck>,
}

impl Outcome {
    /// The record of it.
    pub fn into_record(self) -> (Record, Counters, Vec<Stuck>) {
        let body = Body::Report(self.report);
        (Record { version: model::record::VERSION, clock: self.clock, body }, self.counters, self.stuck)
    }
}

/// Looks at `machine`. Rates are those since `before`; where that is no ground for rates, those of a short pause.
/// Processes called one of `names` are counted.
pub fn take(
    machine: &Machine,
    before: Option<&Counters>,
    known_stuck: &[Stuck],
    names: &[String],
) -> Outcome {
    let clock = machine.clock();
    let mut reading = Reading::new(machine, &clock, known_stuck);
    let readers = reading.run(ALL);
    let Reading { host, mut samples, counters, stuck, processes, .. } = reading;
    let (base, later_clock);
    let (before, counters, processes) =
        if let Some(before) = before.filter(|before| before.leads_to(&counters)) {
            (before, counters, processes)
        } else {
            std::thread::sleep(machine.pause);
            base = counters;
            later_clock = machine.clock();
            let mut later = Reading::new(machine, &later_clock, known_stuck);
            later.run(COUNTING);
            (&base, later.counters, later.processes)
        };
    samples.extend(before.rates(&counters));
    samples.extend(count_named(machine, &processes, names).unwrap_or_default());
    let evidence = top(machine, &processes, before, &counters);
    let cost = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = cost.tv_sec as f64 + cost.tv_nsec as f64 / 1e9;
    samples.push(Sample { metric: "probe-cpu".to_owned(), labels: Labels::none(), value: seconds });
    if let Some(value) = platform::peak_memory(machine) {
        samples.push(Sample { metric: "probe-memory".to_owned(), labels: Labels::none(), value });
    }
    let mut report = Report { host, samples, readers, evidence };
    fit(&mut report);
    sort(&mut report.samples);
    Outcome { clock, report, counters, stuck }
}

/// Into the order in which people are shown them: that of the catalogue, and then the admin's own by name.
fn sort(samples: &mut Vec<Sample>) {
    let known = |name: &str| model::metric::METRICS.iter().position(|metric| metric.name == name);
    let place = |name: &str| known(name).unwrap_or(usize::MAX);
    order::sort_by(samples, |a, b| {
        (place(&a.metric), &a.metric, &a.labels).cmp(&(place(&b.metric), &b.metric, &b.labels))
    });
}
