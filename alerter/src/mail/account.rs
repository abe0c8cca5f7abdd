//! Everything that is known of one episode, as parts of a letter. What came from a client is escaped here.

use model::metric::{self, Unit};
use model::rule::{DISK_FORECAST, ISOLATED, UNREACHABLE, is_event};
use model::text::escape_to;
use model::{Episode, Rule, Severity, Timestamp};

use super::Manner;
use super::letter::{Letter, Picture, Style};
use super::matter::{has_value, limit, present, series, show};
use super::sparkline::{range, sparkline};
use super::surroundings::{BACK, Surroundings};
use super::trend::Trend;
use super::why::{clears, ended, why_now};
use crate::notify::{Kind, Line};
use crate::plot::Plot;
use crate::wording::short_id;

/// How many other problems of the client are named.
const OTHERS: usize = 5;

/// What an account is told with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Teller<'a> {
    /// How the receiver wants it.
    pub(crate) manner: Manner<'a>,
    /// When the run composes.
    pub(crate) now: Timestamp,
    /// Whether there may be a picture.
    pub(crate) draws: bool,
}

impl Teller<'_> {
    /// What happened, its values, and why it is told.
    pub(crate) fn tell(self, letter: &mut Letter, line: &Line, around: &Surroundings) {
        let Line { episode, kind, .. } = line;
        letter.say(said(*kind));
        self.span(letter, line);
        if has_value(&episode.metric) {
            self.values(letter, line, around);
        }
        let told = if kind.is_over() { &["Was"][..] } else { &["Cause", "Remedy"] };
        for (name, text) in told.iter().zip(episode.detail.lines()) {
            letter.field(name, escape_to(text, 600));
        }
        if !kind.is_over() {
            self.outlook(letter, line, around);
        }
        if !episode.held.is_empty() {
            letter.field("Held back", format!("until now: {}", escape_to(&episode.held, 300)));
        }
        if let Some(rule) = line.rule {
            let source = if rule.source.is_empty() {
                String::new()
            } else {
                format!(" ({})", escape_to(&rule.source, 255))
            };
            letter.styled("Rule", format!("{}{source}", escape_to(&rule.text, 400)), Style::Code);
            letter.styled("Note", escape_to(rule.note.as_deref().unwrap_or_default(), 1000), Style::Links);
        }
        if has_value(&episode.metric) {
            letter.field("Measures", metric::of_rule(&episode.metric).map_or("", |metric| metric.help));
        }
        letter.field("Also open", others(&around.others));
    }

    /// Why it is told, what will end it, and what is not told because of it.
    fn outlook(self, letter: &mut Letter, line: &Line, around: &Surroundings) {
        let episode = line.episode;
        if let Some(rule) = line.rule {
            letter.field("Why now", why_now(rule, episode));
            letter.field("Clears", clears(rule, episode));
        }
        if !is_event(&episode.metric) {
            let repeat = line.rule.map(|rule| self.manner.mailings.repeat_ms(rule, self.manner.receiver));
            let next = repeat.filter(|repeat| *repeat < i64::MAX);
            let next = next.map(|repeat| self.beside(line, self.now.plus(repeat)));
            letter.field(
                "Reminder",
                next.map_or_else(String::new, |at| format!("{at}, if it still fires then")),
            );
            letter.field("Take on", format!("fleet-alerter ack {}", short_id(&episode.id)));
        }
        if episode.metric == ISOLATED {
            let run = if episode.key.labels.is_empty() { "a run" } else { "one of its runs" };
            letter.field("Not told", format!("that clients are unreachable, until {run} reaches some"));
        }
        if episode.metric == UNREACHABLE && !around.silenced.is_empty() {
            let silenced = around.silenced.join(", ");
            letter.field("Not told", format!("{silenced}: unreachable too, and reached through it"));
        }
    }

    /// From when to when.
    fn span(self, letter: &mut Letter, line: &Line) {
        let episode = line.episode;
        let lasted = |until: Timestamp| {
            let seconds = until.since(episode.begin).max(0) / 1000;
            Unit::Seconds.show(seconds as f64)
        };
        let begin = self.manner.zone.show(episode.begin);
        if !line.kind.is_over() {
            letter.field("Since", format!("{begin} ({})", lasted(self.now)));
            return;
        }
        letter.field("Began", begin);
        if let Some(end) = episode.end {
            letter.field("Ended", format!("{} (after {})", self.beside(line, end.at), lasted(end.at)));
            letter.field("Why", ended(end.why));
        }
    }

    /// A time of the episode, beside its begin.
    fn beside(self, line: &Line, at: Timestamp) -> String {
        self.manner.zone.show_beside(at, line.episode.begin)
    }

    fn values(self, letter: &mut Letter, line: &Line, around: &Surroundings) {
        let episode = line.episode;
        let kind = episode.metric.as_str();
        let left =
            around.left.map(|bytes| format!(" ({} {})", Unit::Bytes.show(bytes), left(&episode.metric)));
        let at =
            |value: f64, left: &str, at| format!("{}{left} at {}", show(kind, value), self.beside(line, at));
        letter.field("Value", at(episode.last_value, &left.unwrap_or_default(), episode.last_at));
        let operator =
            line.rule.map(|rule| format!("{} ", rule.threshold.operator.symbol())).unwrap_or_default();
        letter.field("Limit", format!("{operator}{} ({})", show(kind, limit(line)), line.severity));
        if show(kind, episode.peak) != show(kind, episode.last_value) {
            letter.field("Peak", at(episode.peak, "", episode.peak_at));
        }
        if !line.kind.is_over() {
            let shown = plotted(kind);
            let full = ["disk", "inodes"].contains(&shown).then_some(100.0);
            let trend = Trend::of(&around.series).map(|trend| trend.say(metric::unit(shown), full));
            letter.field("Trend", trend.unwrap_or_default());
        }
        self.day(letter, line, &around.series);
    }

    /// The last day of the value, as a line of blocks and as a picture.
    fn day(self, letter: &mut Letter, line: &Line, series: &[(Timestamp, f64)]) {
        let unit = metric::unit(plotted(&line.episode.metric));
        let blocks = sparkline(series, self.now.plus(-BACK), self.now);
        if blocks.is_empty() {
            return;
        }
        let (low, high) = range(series.iter().map(|(_, value)| *value).filter(|value| value.is_finite()));
        let between = format!("{} to {}", unit.show(low), unit.show(high));
        let day = format!("{blocks} {between}");
        let picture = (self.draws && !line.kind.is_over()).then(|| self.plot(line, series)).flatten();
        match picture {
            None => letter.field("Last 24 h", day),
            Some(png) => {
                letter.styled("Last 24 h", day, Style::TextOnly);
                let alt = format!(
                    "{} over the last 24 h: {between}; limit {}, beyond it since {}",
                    self::series(line.episode),
                    show(&line.episode.metric, limit(line)),
                    self.manner.zone.show(line.episode.begin)
                );
                letter.picture(Picture { caption: "", alt, png });
            }
        }
    }

    fn plot(self, line: &Line, series: &[(Timestamp, f64)]) -> Option<Vec<u8>> {
        let episode = line.episode;
        let of_rule = |rule: &Rule| {
            let threshold = &rule.threshold;
            let limits = [(Severity::Warning, threshold.warning), (Severity::Critical, threshold.critical)];
            limits.into_iter().filter_map(|(severity, limit)| Some((severity, limit?))).collect()
        };
        // What is forecast has limits of time, not of space.
        let rule = line.rule.filter(|_| episode.metric != DISK_FORECAST);
        let limits: Vec<_> = rule.map(of_rule).unwrap_or_default();
        let plot = Plot {
            unit: metric::unit(plotted(&episode.metric)),
            series,
            from: self.now.plus(-BACK),
            to: self.now,
            limits: &limits,
            episode: Some((episode.begin, episode.end.map_or(self.now, |end| end.at), line.severity)),
            zone: self.manner.zone,
        };
        plot.png()
    }
}

/// What is to be known before the rest; may be empty.
fn said(kind: Kind) -> &'static str {
    match kind {
        Kind::Problem | Kind::Worse | Kind::Recovered => "",
        Kind::Closed => "This ended without a value that says that it is well:",
        Kind::Late => "While alerts were not processed or mail did not go out, this began and ended:",
        Kind::Escalated => "This was told to others, and nobody took it on:",
        Kind::Flapping => {
            "This fires and is over again and again. Its changes are not told until it settles:"
        }
        Kind::Steady => "This was changing often. It does not any more, and fires:",
        Kind::Reminder => "This was told before, and still fires:",
    }
}

/// `disk / 91 %, cpu 97 %`
fn others(others: &[Episode]) -> String {
    let mut named: Vec<String> = others.iter().take(OTHERS).map(present).collect();
    if let Some(more) = others.len().checked_sub(OTHERS).filter(|&more| more > 0) {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

/// The metric whose values show what a type is about.
pub(super) fn plotted(kind: &str) -> &str {
    if kind == DISK_FORECAST { "disk" } else { kind }
}

fn left(metric: &str) -> &'static str {
    if metric == "disk" { "free" } else { "available" }
}
