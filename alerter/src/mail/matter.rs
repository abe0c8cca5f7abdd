//! What an episode is about, in words. What came from a client is escaped here.

use model::metric::{self, Unit};
use model::rule::{
    COLLECTOR_STALE, DISK_FORECAST, HOST_KEY_CHANGED, ISOLATED, MOUNT, REBOOT, SERVICE, STALE, UNREACHABLE,
};
use model::text::{escape, escape_to};
use model::{ClientUid, Episode};

use crate::notify::{Kind, Line};

/// How many characters of a mount point or another object are shown.
const OBJECT: usize = 60;

/// How many characters of a cause stand in a heading.
const CAUSE: usize = 100;

/// From so many seconds on (ten years) a file system does not fill up.
const NEVER: f64 = 315_360_000.0;

/// The client's name, or the fleet's.
pub(crate) fn client(episode: &Episode) -> String {
    if episode.key.client == ClientUid::FLEET { "fleet".to_owned() } else { escape(&episode.client_name) }
}

/// Whether a type has values that say more than that it fires.
pub(crate) fn has_value(kind: &str) -> bool {
    ![MOUNT, COLLECTOR_STALE].contains(&kind) && metric::unit(kind) != Unit::Flag
}

/// A value of a type.
pub(crate) fn show(kind: &str, value: f64) -> String {
    if kind == DISK_FORECAST && value >= NEVER {
        "not in sight".to_owned()
    } else {
        metric::unit(kind).show(value)
    }
}

/// `disk /var`
pub(crate) fn series(episode: &Episode) -> String {
    let object = escape_to(&episode.key.labels.object(), OBJECT);
    let name = match episode.metric.as_str() {
        UNREACHABLE => "unreachable".to_owned(),
        HOST_KEY_CHANGED => "host key changed".to_owned(),
        STALE => "stale".to_owned(),
        REBOOT => "rebooted".to_owned(),
        ISOLATED if object.is_empty() => "the collector cannot reach the network".to_owned(),
        ISOLATED => format!("the collector on {object} cannot reach the network"),
        COLLECTOR_STALE => "fleet-collector does not run".to_owned(),
        DISK_FORECAST => format!("disk {object} fills up"),
        metric => format!("{} {object}", escape(metric)),
    };
    name.trim_end().to_owned()
}

/// `disk /var 93 %`
pub(crate) fn present(episode: &Episode) -> String {
    let (kind, value) = (episode.metric.as_str(), episode.last_value);
    let series = series(episode);
    match kind {
        SERVICE => format!("{series} failed"),
        MOUNT if value >= 2.0 => format!("{series} is absent"),
        MOUNT => format!("{series} is read-only"),
        STALE => format!("{series} for {}", show(kind, value)),
        DISK_FORECAST => {
            format!("disk {} full in {}", escape_to(&episode.key.labels.object(), OBJECT), show(kind, value))
        }
        UNREACHABLE => {
            let cause = escape_to(episode.detail.lines().next().unwrap_or_default(), CAUSE);
            if cause.is_empty() { series } else { format!("{series}: {cause}") }
        }
        _ if has_value(kind) => format!("{series} {}", show(kind, value)),
        _ => series,
    }
}

/// `web1: disk /var 93 % (limit 90 %)`
pub(crate) fn headline(line: &Line) -> String {
    let episode = line.episode;
    let kind = episode.metric.as_str();
    let what = match line.kind {
        Kind::Late if has_value(kind) => format!("{} peak {}", series(episode), show(kind, episode.peak)),
        Kind::Recovered | Kind::Closed if has_value(kind) && ![DISK_FORECAST, STALE].contains(&kind) => {
            present(episode)
        }
        _ if line.kind.is_over() => series(episode),
        _ => present(episode),
    };
    let limit = if has_value(kind) { format!(" (limit {})", show(kind, limit(line))) } else { String::new() };
    format!("{}: {what}{limit}", client(episode))
}

/// The limit of the line's severity, as the rule says now.
pub(crate) fn limit(line: &Line) -> f64 {
    line.rule.map_or(line.episode.limit, |rule| rule.threshold.limit(line.severity))
}
