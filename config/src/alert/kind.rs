//! The types of alerts: what each is about, and which attributes have a meaning with it.

use model::metric::{self, Metric};
use model::rule::{COLLECTOR_STALE, DISK_FORECAST, HOST_KEY_CHANGED, ISOLATED, REBOOT, STALE, UNREACHABLE};
use model::{Hold, Operator, Unit};

use crate::fault::Wrong;
use crate::nearest::nearest;
use crate::value::{self, Value};

/// The rules that every client has, written or not, with what each takes to fire. They are about collections rather than
/// samples.
pub(super) const IMPLICIT: [(&str, Hold); 3] =
    [(UNREACHABLE, Hold::in_a_row(2)), (HOST_KEY_CHANGED, Hold::AT_ONCE), (STALE, Hold::AT_ONCE)];
/// The rules of the fleet as a whole, which nobody writes.
const OF_THE_FLEET: [&str; 2] = [ISOLATED, COLLECTOR_STALE];

/// The limits of those metrics of which any at all is a problem.
const PROBLEMS: [&str; 10] = [
    "oom",
    "read-only",
    "mount-stuck",
    "raid",
    "pool-degraded",
    "pool-errors",
    "bond-degraded",
    "reboot-required",
    "security-updates",
    "left-out",
];
/// The default limit of `stale`: 1 h.
const STALE_LIMIT: f64 = 3600.0;
/// The default of `within`: 24 h.
const WITHIN: f64 = 86_400.0;
/// What a forecast takes to fire: free space comes and goes by leaps, and a line through a leap is no trend.
const FORECAST_HOLD: Hold = Hold::in_a_row(3);

/// Where the limits of a type come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limits {
    /// They are written: `limit`, or `warning` and `critical`.
    Written,
    /// They are written, or else this one holds.
    Default(f64),
    /// It is this one.
    Fixed(f64),
    /// `within` says it, or else it is this one.
    Within(f64),
}

/// A type of alerts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) metric: Metric,
    pub(super) limits: Limits,
    pub(super) operator: Operator,
    /// What it takes to fire where nothing is written.
    pub(super) hold: Hold,
    is_metric: bool,
}

impl Kind {
    /// The type of that name.
    fn find(name: &str) -> Option<Self> {
        let metric = metric::of_rule(name).filter(|metric| !OF_THE_FLEET.contains(&metric.name))?;
        let is_metric = metric::describe(name).is_some();
        let limits = match name {
            STALE => Limits::Default(STALE_LIMIT),
            DISK_FORECAST => Limits::Within(WITHIN),
            _ if PROBLEMS.contains(&name) => Limits::Default(1.0),
            _ if is_metric => Limits::Written,
            _ => Limits::Fixed(1.0),
        };
        let implicit = IMPLICIT.iter().find(|(implicit, _)| *implicit == name).map(|(_, hold)| *hold);
        let hold = if name == DISK_FORECAST { FORECAST_HOLD } else { implicit.unwrap_or(Hold::AT_ONCE) };
        let operator = if name == DISK_FORECAST { Operator::AtMost } else { Operator::AtLeast };
        Some(Self { metric, limits, operator, hold, is_metric })
    }

    /// Whether an attribute has a meaning with it; `match` and `exclude` are judged by the object.
    pub(super) fn takes(&self, attribute: &str) -> bool {
        let name = self.metric.name;
        match attribute {
            "limit" | "warning" | "critical" => matches!(self.limits, Limits::Written | Limits::Default(_)),
            "clear" => !matches!(self.limits, Limits::Fixed(_)) && self.metric.unit != Unit::Flag,
            "operator" | "aggregate" => self.is_metric,
            "samples" | "for" => ![REBOOT, STALE].contains(&name),
            "within" => name == DISK_FORECAST,
            "free-below" => [DISK_FORECAST, "disk"].contains(&name),
            "min" | "max" => name == "process",
            _ => true,
        }
    }

    /// Whether its values can be below 0.
    pub(super) fn may_be_negative(&self) -> bool {
        self.metric.unit == Unit::Celsius || ["clock-offset", metric::CUSTOM].contains(&self.metric.name)
    }
}

/// Whether every client has a rule of that type.
pub(super) fn is_implicit(name: &str) -> bool {
    IMPLICIT.iter().any(|(implicit, _)| *implicit == name)
}

/// A `type`: its name, which is that of a metric of one's own too, and what is known of it.
pub(super) fn read(text: &str) -> Value<(String, Kind)> {
    if let Some(kind) = Kind::find(text) {
        return Ok((text.to_owned(), kind));
    }
    if let Some(own) = text.strip_prefix(metric::CUSTOM) {
        let wrong = Wrong::new(format!("{} is no name of a metric of your own", value::quoted(own)));
        return Err(wrong.expected("letters, digits, _ and :, as in custom:backup_age_seconds"));
    }
    if OF_THE_FLEET.contains(&text) {
        let wrong = Wrong::new(format!("{} is about the fleet, and built in", value::quoted(text)));
        return Err(wrong.help("remove it: the admins of <mail> are told of it"));
    }
    let wrong = Wrong::new(format!("{} is not a type of alert", value::quoted(text)));
    Err(match nearest(text, names()) {
        Some(near) => wrong.help(format!("did you mean \"{near}\"?")),
        None => wrong.expected(names().collect::<Vec<_>>().join(", ")),
    })
}

/// Every type but those of the admin's own, in the order in which people are shown them.
fn names() -> impl Iterator<Item = &'static str> {
    let all = metric::METRICS.iter().chain(metric::DERIVED).map(|metric| metric.name);
    all.filter(|name| !OF_THE_FLEET.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/config.md");

    #[test]
    fn docs_say_which_types_need_no_limit() {
        let row = DOCS.lines().find(|line| line.starts_with("Any at all is a problem")).expect("a line");
        for name in PROBLEMS {
            assert!(Kind::find(name).is_some() && row.contains(&format!("`{name}`")), "{name}: {row}");
        }
        let named = row.split_once(':').map_or(0, |(names, _)| names.matches('`').count());
        assert_eq!(named, 2 * PROBLEMS.len(), "{row}");
    }

    #[test]
    fn docs_name_the_types_that_are_no_metrics() {
        for derived in metric::DERIVED.iter().filter(|derived| !OF_THE_FLEET.contains(&derived.name)) {
            let row = format!("| `{}` |", derived.name);
            assert!(DOCS.contains(&row), "{row}");
        }
        for name in OF_THE_FLEET {
            assert!(read(name).is_err());
        }
    }
}
