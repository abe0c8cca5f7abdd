//! What a report says to a rule: one finding per series.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::rule::{DISK_FORECAST, MOUNT, REBOOT, SERVICE};
use model::{Evidence, Labels, Pattern, Rule, Sample};

/// The metric that says which units failed, and the one whose presence says that all of them are named (docs/metrics.md).
pub(crate) const FAILED_UNIT: &str = "custom:systemd_unit_failed";
const FAILED_UNITS: &str = "custom:systemd_units_failed";

/// One value for a rule, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding<'a> {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    /// Free bytes beside a percentage in use.
    pub(crate) free: Option<f64>,
    pub(crate) evidence: Option<&'a Evidence>,
    pub(crate) detail: String,
}

impl Finding<'_> {
    pub(crate) fn new(labels: Labels, value: f64) -> Self {
        Finding { labels, value, free: None, evidence: None, detail: String::new() }
    }
}

/// A report, ready to be asked by many rules.
pub(crate) struct Reading<'a> {
    /// One value per series, whatever a client sends: of several the last counts.
    by_metric: HashMap<&'a str, BTreeMap<&'a Labels, f64>>,
    evidence: &'a Evidence,
    /// Whether the machine booted since the report before.
    rebooted: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(samples: &'a [Sample], evidence: &'a Evidence, rebooted: bool) -> Self {
        let mut by_metric: HashMap<&str, BTreeMap<&Labels, f64>> = HashMap::new();
        for sample in samples {
            by_metric.entry(&sample.metric).or_default().insert(&sample.labels, sample.value);
        }
        Self { by_metric, evidence, rebooted }
    }

    /// What it says to `rule`; `waiting`: the series of the rule that do not just do well.
    pub(crate) fn findings(&self, rule: &Rule, waiting: impl FnOnce() -> Vec<Labels>) -> Vec<Finding<'a>> {
        let mut findings = match rule.metric.as_str() {
            REBOOT => vec![Finding::new(Labels::none(), f64::from(u8::from(self.rebooted)))],
            SERVICE => self.units(rule, waiting),
            MOUNT => self.mounts(rule),
            DISK_FORECAST => self.plain(rule, "disk-free"),
            metric => self.plain(rule, metric),
        };
        for finding in &mut findings {
            finding.evidence = Some(self.evidence);
        }
        findings
    }

    fn series(&self, metric: &str) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.by_metric.get(metric).into_iter().flatten().map(|(labels, value)| (*labels, *value))
    }

    /// The series of `metric` that the rule is about.
    fn plain(&self, rule: &Rule, metric: &str) -> Vec<Finding<'a>> {
        let free = self.by_metric.get("disk-free").filter(|_| rule.floor.is_some());
        self.series(metric)
            .filter(|(labels, _)| rule.is_about(&labels.object()))
            .map(|(labels, value)| Finding {
                free: free.and_then(|free| free.get(labels)).copied(),
                ..Finding::new(labels.clone(), value)
            })
            .collect()
    }

    /// A unit that failed is named; one that is not named any more is fine, where all that failed are.
    fn units(&self, rule: &Rule, waiting: impl FnOnce() -> Vec<Labels>) -> Vec<Finding<'a>> {
        let unit = |labels: &Labels| Labels::one("unit", labels.get("unit").unwrap_or_default());
        let mut units: BTreeMap<Labels, f64> = BTreeMap::new();
        if self.by_metric.contains_key(FAILED_UNITS) {
            units.extend(waiting().into_iter().map(|labels| (labels, 0.0)));
        }
        units.extend(self.series(FAILED_UNIT).map(|(labels, value)| (unit(labels), value)));
        units
            .into_iter()
            .filter(|(labels, _)| rule.is_about(&labels.object()))
            .map(|(labels, value)| Finding::new(labels, value))
            .collect()
    }

    /// Mount points that are there: 0, or 1 where read-only; those that have to be there and are not: 2.
    fn mounts(&self, rule: &Rule) -> Vec<Finding<'a>> {
        let mut findings = self.plain(rule, "read-only");
        let there: BTreeSet<String> = ["read-only", "disk", "mount-stuck"]
            .into_iter()
            .flat_map(|metric| self.series(metric))
            .map(|(labels, _)| labels.object())
            .collect();
        let is_absent = |pattern: &&Pattern| pattern.is_literal() && !there.contains(&pattern.0);
        // A report that tells of no mount point at all says nothing of their absence.
        let absent = rule.matches.iter().filter(|_| !there.is_empty()).filter(is_absent);
        findings.extend(absent.map(|pattern| Finding::new(Labels::one("mount", &pattern.0), 2.0)));
        findings
    }
}
