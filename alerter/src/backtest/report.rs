//! What a backtest says: JSON for programs, a table and suggestions for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use model::text::{escape, escape_to};
use model::{Episode, Hold, Operator, Timestamp, metric};
use serde::Serialize;

use super::Outcome;
use crate::rulebook::Rulebook;

/// What `backtest --json` prints.
#[derive(Debug, Serialize)]
pub struct Answer<'a> {
    episodes: Vec<Line<'a>>,
    mails: usize,
}

/// One episode. Times are RFC 3339 in UTC; `end` is `null` where it was open at the end of the history.
#[derive(Debug, Serialize)]
struct Line<'a> {
    client: &'a str,
    #[serde(rename = "type")]
    metric: &'a str,
    object: String,
    severity: String,
    begin: String,
    fired: String,
    end: Option<String>,
    peak: f64,
}

/// The answer for programs.
pub fn answer(outcome: &Outcome, mails: usize) -> Answer<'_> {
    let line = |episode| line(episode);
    Answer { episodes: outcome.episodes.iter().map(line).collect(), mails }
}

fn line(episode: &Episode) -> Line<'_> {
    Line {
        client: &episode.client_name,
        metric: &episode.metric,
        object: episode.key.labels.object(),
        severity: episode.severity.to_string(),
        begin: rfc3339(episode.begin),
        fired: rfc3339(episode.fired),
        end: episode.end.map(|end| rfc3339(end.at)),
        peak: episode.peak,
    }
}

fn rfc3339(at: Timestamp) -> String {
    DateTime::from_timestamp_millis(at.millis())
        .map_or_else(|| at.millis().to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// How many episodes a person is shown one by one.
const SHOWN: usize = 50;

/// The answer for a person; `time` shows a time as that person reads it.
pub fn text(outcome: &Outcome, mails: usize, rules: &Rulebook, time: &dyn Fn(Timestamp) -> String) -> String {
    let mut text = String::new();
    let Some((begin, end)) = outcome.span else { return "There is no history to look at.\n".to_owned() };
    let days = end.since(begin) as f64 / 86_400_000.0;
    let (reports, episodes) = (outcome.reports, outcome.episodes.len());
    let _ = writeln!(text, "{} from {} to {}", counted(reports, "report"), time(begin), time(end));
    let weekly =
        if days >= 7.0 { format!(", {:.1} a week", mails as f64 * 7.0 / days) } else { String::new() };
    let _ = writeln!(
        text,
        "{}, {} (reminders included){weekly}\n",
        counted(episodes, "episode"),
        counted(mails, "mail")
    );
    let mut by_rule: BTreeMap<(&str, &str), Vec<&Episode>> = BTreeMap::new();
    for episode in &outcome.episodes {
        by_rule.entry((&episode.metric, &episode.key.rule.0)).or_default().push(episode);
    }
    let mut by_rule: Vec<_> = by_rule.into_iter().collect();
    by_rule.sort_by_key(|(rule, episodes)| (std::cmp::Reverse(episodes.len()), *rule));
    for ((_, name), episodes) in by_rule {
        let count = episodes.len();
        let lasted: i64 = episodes.iter().map(|episode| duration(episode, end)).sum();
        let lasted = metric::Unit::Seconds.show((lasted / count as i64 / 1000) as f64);
        let _ = writeln!(text, "{count:>6}  {}, {lasted} each on average", escape_to(name, 80));
        for suggestion in suggestions(&episodes, rules, end) {
            let _ = writeln!(text, "        {suggestion}");
        }
    }
    if !outcome.episodes.is_empty() {
        text.push('\n');
    }
    for episode in outcome.episodes.iter().take(SHOWN) {
        let object = escape_to(&episode.key.labels.object(), 60);
        let what = format!("{} {object}", escape(&episode.metric));
        let over = episode.end.map_or("open".to_owned(), |end| {
            metric::Unit::Seconds.show((end.at.since(episode.begin) / 1000) as f64)
        });
        let peak = metric::unit(&episode.metric).show(episode.peak);
        let _ = writeln!(
            text,
            "{}  {:<8}  {}: {}, peak {peak}, {over}",
            time(episode.begin),
            episode.severity,
            escape(&episode.client_name),
            what.trim_end(),
        );
    }
    if let Some(more) = episodes.checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more: --json lists them all");
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How long an episode lasted, in milliseconds; one that is open, until `end`.
fn duration(episode: &Episode, end: Timestamp) -> i64 {
    episode.end.map_or(end, |over| over.at).since(episode.begin)
}

/// A rule that told less often is not worth a suggestion.
const FEW: usize = 4;
/// Holds that are suggested: what is written, and its milliseconds.
const HOLDS: [(&str, i64); 5] =
    [("5m", 300_000), ("15m", 900_000), ("30m", 1_800_000), ("1h", 3_600_000), ("2h", 7_200_000)];

/// What would halve the episodes of a rule: a longer hold, or a limit further out.
fn suggestions(episodes: &[&Episode], rules: &Rulebook, end: Timestamp) -> Vec<String> {
    let count = episodes.len();
    let Some(rule) = episodes.first().and_then(|episode| rules.of_episode(episode)) else {
        return Vec::new();
    };
    if count < FEW || model::rule::is_event(&rule.metric) {
        return Vec::new();
    }
    let span = if let Hold::Span(span) = rule.hold { span } else { 0 };
    let told = |hold: i64| episodes.iter().filter(|episode| duration(episode, end) > hold).count();
    let longer = HOLDS.iter().find(|(_, hold)| *hold > span && told(*hold) * 2 <= count);
    let hold = longer.filter(|_| rule.aggregate.is_none()).map(|(written, hold)| {
        format!("for=\"{written}\" would have told about {} of them: the others were shorter", told(*hold))
    });
    let mut peaks: Vec<f64> = episodes.iter().map(|episode| episode.peak).collect();
    peaks.sort_by(f64::total_cmp);
    let unit = metric::unit(&rule.metric);
    let median = peaks[count / 2];
    let is_value = metric::describe(&rule.metric).is_some_and(|metric| metric.unit != metric::Unit::Flag);
    let rises = matches!(rule.threshold.operator, Operator::AtLeast | Operator::Above);
    let limit = (is_value && rises && peaks[0] < median).then(|| {
        let beyond = peaks.iter().filter(|peak| **peak >= median).count();
        format!("a limit of {} would have told {beyond} of them", unit.show(median))
    });
    hold.into_iter().chain(limit).collect()
}
