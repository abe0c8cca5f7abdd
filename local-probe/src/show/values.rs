//! A report's values, found by name.

use model::{Sample, metric};

/// The samples of a report.
pub(super) struct Values<'a>(pub(super) &'a [Sample]);

impl Values<'_> {
    pub(super) fn find(&self, metric: &str, object: &str) -> Option<f64> {
        let found = self.0.iter().find(|sample| sample.metric == metric && sample.labels.object() == object);
        found.map(|sample| sample.value)
    }

    /// As a person reads it; `None` where it is absent.
    pub(super) fn known(&self, metric: &str, object: &str) -> Option<String> {
        self.find(metric, object).map(|value| metric::unit(metric).show(value))
    }

    /// As a person reads it; `-` where it is absent.
    pub(super) fn show(&self, metric: &str, object: &str) -> String {
        self.known(metric, object).unwrap_or_else(|| "-".to_owned())
    }

    /// Whether it is there and not 0.
    pub(super) fn is_set(&self, metric: &str, object: &str) -> bool {
        self.find(metric, object).is_some_and(|value| value != 0.0)
    }

    /// Every object that has one of `metrics`, in the order in which they come.
    pub(super) fn objects(&self, metrics: &[&str]) -> Vec<String> {
        let mut objects = Vec::new();
        for sample in self.0.iter().filter(|sample| metrics.contains(&sample.metric.as_str())) {
            let object = sample.labels.object();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        objects
    }

    /// The object of the highest value, with that value.
    pub(super) fn highest(&self, metric: &str) -> Option<(String, f64)> {
        let of_metric = self.0.iter().filter(|sample| sample.metric == metric);
        let highest = of_metric.max_by(|a, b| a.value.total_cmp(&b.value))?;
        Some((highest.labels.object(), highest.value))
    }

    /// Those of the machine's values that are there, each with the words around its `{}`; empty where none is.
    pub(super) fn phrase(&self, parts: &[(&str, &str)]) -> String {
        let part =
            |(metric, words): &(&str, &str)| self.known(metric, "").map(|value| words.replace("{}", &value));
        let text: String = parts.iter().filter_map(part).collect();
        text.trim_start_matches([',', ' ']).to_owned()
    }
}
