//! What happened in a span, in numbers. Pure.

use std::collections::{BTreeMap, BTreeSet};

use model::rule::UNREACHABLE;
use model::{Episode, Severity, Timestamp};

use super::span::Span;
use crate::plot::Bar;

/// How many points the line of clients that were reached has.
const POINTS: i64 = 168;

/// What happened in a span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Summary {
    /// The span.
    pub(super) span: Span,
    /// How many clients it is about.
    pub(super) clients: usize,
    /// How many episodes lasted at some time of it, and of how many clients.
    pub(super) episodes: usize,
    /// Of how many clients.
    pub(super) afflicted: usize,
    /// How many of the episodes were critical.
    pub(super) criticals: usize,
    /// Episodes that are open now, worst first.
    pub(super) open: Vec<Episode>,
    /// Clients by how long something fired there, the longest first.
    pub(super) troubled: Vec<Share>,
    /// Alerts by how long they fired, the longest first.
    pub(super) alerts: Vec<Share>,
    /// Clients by how long they were unreachable, the longest first.
    pub(super) unreachable: Vec<Share>,
    /// Clients that were not known to be unreachable, in percent of all, over the span.
    pub(super) reached: Vec<(Timestamp, f64)>,
    /// How many episodes began, by hours or days.
    pub(super) began: Vec<Bar>,
}

/// What somebody or something had of the trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// Who or what; escaped.
    pub(super) name: String,
    /// How many episodes.
    pub(super) episodes: usize,
    /// How long they lasted in the span, in milliseconds.
    pub(super) lasted: i64,
}

impl Summary {
    /// Of `clients` by name, and what of `episodes` lasted at some time of the span. What is open lasts until `now`.
    pub(super) fn of(span: Span, clients: &BTreeSet<&str>, episodes: &[Episode], now: Timestamp) -> Self {
        let until = |episode: &Episode| episode.end.map_or(now, |end| end.at);
        let lasted =
            |episode: &Episode| span.overlap(episode.begin, until(episode).max(episode.begin.plus(1)));
        let within: Vec<&Episode> = episodes.iter().filter(|episode| lasted(episode) > 0).collect();
        let shares = |name: &dyn Fn(&Episode) -> String, wanted: &dyn Fn(&Episode) -> bool| {
            let mut shares: BTreeMap<String, (usize, i64)> = BTreeMap::new();
            for episode in within.iter().filter(|episode| wanted(episode)) {
                let share = shares.entry(name(episode)).or_default();
                *share = (share.0 + 1, share.1 + lasted(episode));
            }
            let share = |(name, (episodes, lasted))| Share { name, episodes, lasted };
            let mut shares: Vec<Share> = shares.into_iter().map(share).collect();
            shares.sort_by(|a, b| b.lasted.cmp(&a.lasted).then_with(|| a.name.cmp(&b.name)));
            shares
        };
        let client = |episode: &Episode| crate::mail::client(episode);
        let alert = |episode: &Episode| format!("{}: {}", client(episode), crate::mail::series(episode));
        let is_unreachable = |episode: &Episode| episode.metric == UNREACHABLE;
        let mut open: Vec<Episode> =
            episodes.iter().filter(|episode| episode.end.is_none()).cloned().collect();
        open.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.begin.cmp(&b.begin)));
        let troubled = shares(&client, &|_| true);
        Self {
            span,
            clients: clients.len(),
            episodes: within.len(),
            afflicted: troubled.len(),
            criticals: within.iter().filter(|episode| episode.severity == Severity::Critical).count(),
            open,
            alerts: shares(&alert, &|_| true),
            unreachable: shares(&client, &is_unreachable),
            reached: reached(span, clients.len(), &within, &until),
            began: began(span, &within),
            troubled,
        }
    }

    /// The part of the clients' time in which they were not known to be unreachable, in percent.
    pub(super) fn availability(&self) -> f64 {
        let all = self.span.to.since(self.span.from) as f64 * self.clients as f64;
        let lost = self.unreachable.iter().map(|share| share.lasted as f64).sum::<f64>();
        if all > 0.0 { (100.0 * (1.0 - lost / all)).max(0.0) } else { 100.0 }
    }
}

fn reached(
    span: Span,
    clients: usize,
    episodes: &[&Episode],
    until: &dyn Fn(&Episode) -> Timestamp,
) -> Vec<(Timestamp, f64)> {
    let unreachable: Vec<_> = episodes.iter().filter(|episode| episode.metric == UNREACHABLE).collect();
    let step = span.to.since(span.from) / POINTS;
    let lost = |at: Timestamp| {
        let lost = unreachable.iter().filter(|episode| episode.begin <= at && at < until(episode));
        lost.map(|episode| &episode.key.client).collect::<BTreeSet<_>>().len()
    };
    let point = |count| {
        let at = span.from.plus(step * count);
        (at, 100.0 * (1.0 - lost(at) as f64 / clients.max(1) as f64).max(0.0))
    };
    (0..=POINTS).map(point).collect()
}

fn began(span: Span, episodes: &[&Episode]) -> Vec<Bar> {
    let bar = |(from, to)| {
        let count = |severity| {
            let of = |episode: &&&Episode| {
                episode.severity == severity && episode.begin >= from && episode.begin < to
            };
            u32::try_from(episodes.iter().filter(of).count()).unwrap_or(u32::MAX)
        };
        Bar { from, to, warnings: count(Severity::Warning), criticals: count(Severity::Critical) }
    };
    span.parts().into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::episode;
    use crate::report::span::Period;
    use crate::zone::Zone;
    use model::alert::EndReason;
    use model::{ClientUid, EpisodeEnd, Labels};

    const HOUR: i64 = 3_600_000;

    #[test]
    fn what_lasted_within_the_span_counts_as_long_as_it_did() {
        // The day is 2026-07-27 in UTC.
        let now = Timestamp(1_785_204_000_000);
        let span = Span::before(now, Period::Daily, Zone::Named(chrono_tz::Tz::UTC));
        let hour = |hours: i64| span.from.plus(hours * HOUR);
        let made = |client: &str, metric: &str, begin, end: Option<i64>, severity| {
            let mut made = episode(client, metric, Labels::none(), severity);
            made.key.client = ClientUid([client.as_bytes()[0]; 16]);
            made.begin = hour(begin);
            made.end = end.map(|end| EpisodeEnd { at: hour(end), why: EndReason::Recovered });
            made
        };
        let (warning, critical) = (Severity::Warning, Severity::Critical);
        let episodes = [
            made("web1", "cpu", -9, Some(-2), critical),
            made("web1", "cpu", 3, Some(4), warning),
            made("web1", "cpu", 5, Some(6), warning),
            made("db1", UNREACHABLE, -6, Some(6), critical),
            made("db1", "memory", 20, None, warning),
            made("app1", "cpu", 25, None, critical),
        ];
        let clients = ["app1", "db1", "web1", "web2"].into();
        let summary = Summary::of(span, &clients, &episodes, now);
        assert_eq!((summary.episodes, summary.afflicted, summary.criticals), (4, 2, 1));
        let shown = |shares: &[Share]| {
            let shares = shares
                .iter()
                .map(|share| format!("{} {} {}h", share.name, share.episodes, share.lasted / HOUR));
            shares.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(shown(&summary.troubled), "db1 2 10h, web1 2 2h");
        assert_eq!(shown(&summary.alerts), "db1: unreachable 1 6h, db1: memory 1 4h, web1: cpu 2 2h");
        assert_eq!(shown(&summary.unreachable), "db1 1 6h");
        assert_eq!(summary.open.iter().map(|e| e.client_name.as_str()).collect::<Vec<_>>(), ["app1", "db1"]);
        assert_eq!(format!("{:.2}", summary.availability()), "93.75");
        assert_eq!(summary.began.iter().map(|bar| bar.warnings + bar.criticals).sum::<u32>(), 3);
        assert_eq!((summary.reached[0].1, summary.reached[POINTS as usize].1), (75.0, 100.0));
    }

    #[test]
    fn a_fleet_without_clients_or_trouble_is_fine() {
        let span =
            Span::before(Timestamp(1_785_204_000_000), Period::Weekly, Zone::Named(chrono_tz::Tz::UTC));
        let summary = Summary::of(span, &BTreeSet::new(), &[], span.to);
        assert_eq!((summary.episodes, summary.clients), (0, 0));
        assert!((summary.availability() - 100.0).abs() < 1e-9);
    }
}
