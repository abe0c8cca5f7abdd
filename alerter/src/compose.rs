//! Drafts become subjects and texts. What came from a client is escaped here.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use model::alert::EndReason;
use model::metric::{self, Unit};
use model::rule::{HOST_KEY_CHANGED, UNREACHABLE};
use model::text::{escape, escape_to};
use model::{Episode, Evidence, Operator, Process, Rule, Severity, Timestamp};

use crate::notify::{Draft, Kind, Line};
use crate::page::Page;

/// How many episodes a message describes in full; beyond it they are counted.
const DESCRIBED: usize = 100;

/// How many clients a subject names.
const NAMED: usize = 2;

/// How many characters of a mount point or another object are shown.
const OBJECT: usize = 60;

/// What messages say of the place that they come from.
#[derive(Clone, Copy)]
pub struct Letterhead<'a> {
    /// This product's version.
    pub version: &'a str,
    /// This machine's name.
    pub hostname: &'a str,
    /// A time as the receiver reads it: local, with its offset.
    pub time: &'a dyn Fn(Timestamp) -> String,
}

/// What a series says beside its metric: `disk-free` to `disk`.
pub type Companion<'a> = dyn FnMut(&Episode) -> Option<(&'static str, f64)> + 'a;

/// The metric that says in bytes what `metric` says in percent.
pub fn companion_of(metric: &str) -> Option<&'static str> {
    match metric {
        "disk" => Some("disk-free"),
        "memory" => Some("memory-available"),
        _ => None,
    }
}

/// The subject: a constant stem, so that mail programs and filters can go by it.
pub fn subject(draft: &Draft) -> String {
    match draft.lines.as_slice() {
        [line] => format!("[{}] {}", tag(line), headline(line)),
        lines => format!("[{}] {}", counts(lines), clients(lines)),
    }
}

/// The text, complete by itself.
pub fn text(draft: &Draft, letterhead: Letterhead, companion: &mut Companion) -> String {
    let mut page = Page::default();
    if let [line] = draft.lines.as_slice() {
        page.say(&format!("[{}] {}", tag(line), headline(line)));
        page.space();
        describe(&mut page, line, letterhead, companion);
        evidence(&mut page, line, None);
    } else {
        contents(&mut page, draft);
        let mut shown = None;
        for line in draft.lines.iter().take(DESCRIBED) {
            page.space();
            page.heading(&format!("[{}] {}", tag(line), headline(line)));
            describe(&mut page, line, letterhead, companion);
            if evidence(&mut page, line, shown) {
                shown = Some(line.episode);
            }
        }
    }
    page.space();
    page.say("-- ");
    page.say(&format!("fleet-health {} on {}", letterhead.version, escape(letterhead.hostname)));
    page.into_text()
}

/// One line per episode, worst first.
fn contents(page: &mut Page, draft: &Draft) {
    for line in draft.lines.iter().take(DESCRIBED) {
        page.say(&format!("[{}] {}", tag(line), headline(line)));
    }
    if let Some(more) = draft.lines.len().checked_sub(DESCRIBED).filter(|&more| more > 0) {
        page.say(&format!("and {more} more: fleet-alerter status lists what is open"));
    }
}

fn tag(line: &Line) -> String {
    let severity = line.severity.to_string().to_uppercase();
    match line.kind {
        Kind::Problem => severity,
        Kind::Worse => format!("WORSE {severity}"),
        Kind::Escalated => format!("ESCALATED {severity}"),
        Kind::Flapping => format!("FLAPPING {severity}"),
        Kind::Steady => format!("STEADY {severity}"),
        Kind::Reminder => format!("STILL {severity}"),
        Kind::Recovered => "RECOVERED".to_owned(),
        Kind::Late => "LATE".to_owned(),
    }
}

/// `web1: disk /var 93 % (limit 90 %)`
fn headline(line: &Line) -> String {
    let episode = line.episode;
    let client = escape(&episode.client_name);
    if let Some(plain) = plain_name(&episode.metric) {
        let cause = match line.kind {
            kind if !kind.is_over() && episode.metric == UNREACHABLE => {
                escape_to(episode.detail.lines().next().unwrap_or_default(), 100)
            }
            _ => String::new(),
        };
        return if cause.is_empty() {
            format!("{client}: {plain}")
        } else {
            format!("{client}: {plain}: {cause}")
        };
    }
    let unit = metric::unit(&episode.metric);
    let value = match line.kind {
        Kind::Late => format!("peak {}", unit.show(episode.peak)),
        _ => unit.show(episode.last_value),
    };
    format!("{client}: {} {value} (limit {})", series(episode), unit.show(limit(line)))
}

/// `disk /var`
fn series(episode: &Episode) -> String {
    let object = episode.key.labels.object();
    let metric = escape(&episode.metric);
    if object.is_empty() { metric } else { format!("{metric} {}", escape_to(&object, OBJECT)) }
}

/// What people call the rules over collections, which have no value to show.
fn plain_name(metric: &str) -> Option<&'static str> {
    match metric {
        UNREACHABLE => Some("unreachable"),
        HOST_KEY_CHANGED => Some("host key changed"),
        _ => None,
    }
}

/// The limit of the line's severity, as the rule says now.
fn limit(line: &Line) -> f64 {
    line.rule.map_or(line.episode.limit, |rule| rule.threshold.limit(line.severity))
}

/// `3 CRITICAL, 2 WARNING`
fn counts(lines: &[Line]) -> String {
    let count = |wanted: &dyn Fn(&Line) -> bool| lines.iter().filter(|line| wanted(line)).count();
    let fires = |line: &Line| !line.kind.is_over();
    [
        (count(&|line| fires(line) && line.severity == Severity::Critical), "CRITICAL"),
        (count(&|line| fires(line) && line.severity == Severity::Warning), "WARNING"),
        (count(&|line| line.kind == Kind::Recovered), "RECOVERED"),
        (count(&|line| line.kind == Kind::Late), "LATE"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format!("{count} {name}"))
    .collect::<Vec<_>>()
    .join(", ")
}

/// `web1, db2 and 2 more`
fn clients(lines: &[Line]) -> String {
    let mut seen = BTreeSet::new();
    let names: Vec<_> = lines
        .iter()
        .map(|line| escape(&line.episode.client_name))
        .filter(|name| seen.insert(name.clone()))
        .collect();
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

/// Everything that is known of one episode.
fn describe(page: &mut Page, line: &Line, letterhead: Letterhead, companion: &mut Companion) {
    let Line { episode, kind, .. } = line;
    let time = letterhead.time;
    let is_over = kind.is_over();
    if *kind == Kind::Late {
        page.say("While alerts were not processed or mail did not go out, this began and ended:");
    }
    page.field(if is_over { "Began" } else { "Since" }, &time(episode.begin));
    if let Some(end) = episode.end {
        let lasted = Unit::Seconds.show((end.at.since(episode.begin) / 1000) as f64);
        page.field("Ended", &format!("{} (after {lasted})", time(end.at)));
    }
    if let Some(reason) = removed(episode) {
        page.field("Why", reason);
    }
    if plain_name(&episode.metric).is_none() {
        values(page, line, letterhead, companion);
    }
    let told = if is_over { &["Was"][..] } else { &["Cause", "Remedy"] };
    for (name, text) in told.iter().zip(episode.detail.lines()) {
        page.field(name, &escape_to(text, 600));
    }
    if let Some(rule) = line.rule {
        let source =
            if rule.source.is_empty() { String::new() } else { format!(" ({})", escape(&rule.source)) };
        page.field("Rule", &format!("{}{source}", escape_to(&rule.text, 400)));
        if !is_over {
            page.field("Clears", &clears(rule, episode));
        }
        page.field("Note", &escape_to(rule.note.as_deref().unwrap_or_default(), 1000));
    }
}

/// The processes as they were when it fired; returns whether they are listed. What one report has set off is listed
/// once: `shown` is the episode whose processes were listed last.
fn evidence(page: &mut Page, line: &Line, shown: Option<&Episode>) -> bool {
    let Episode { evidence, client_name, .. } = line.episode;
    if line.kind == Kind::Recovered || *evidence == Evidence::default() {
        return false;
    }
    if shown.is_some_and(|shown| shown.client_name == *client_name && shown.evidence == *evidence) {
        page.field("Processes", "as listed above");
        return false;
    }
    processes(page, "Busiest processes when it fired:", &evidence.top_cpu);
    processes(page, "Largest processes when it fired:", &evidence.top_memory);
    true
}

fn removed(episode: &Episode) -> Option<&'static str> {
    match episode.end?.why {
        EndReason::Recovered => None,
        EndReason::RuleEdited => Some("its rule was edited, and the value does not breach the new limit"),
        EndReason::Vanished => Some("the client has not reported it for a day"),
        EndReason::RuleRemoved => Some("its rule is no longer in config.xml"),
        EndReason::ClientRemoved => Some("its client is no longer in config.xml"),
    }
}

fn values(page: &mut Page, line: &Line, letterhead: Letterhead, companion: &mut Companion) {
    let episode = line.episode;
    let unit = metric::unit(&episode.metric);
    page.field(
        "Value",
        &format!("{} at {}", unit.show(episode.last_value), (letterhead.time)(episode.last_at)),
    );
    let operator = line.rule.map(|rule| format!("{} ", rule.threshold.operator.symbol())).unwrap_or_default();
    page.field("Limit", &format!("{operator}{} ({})", unit.show(limit(line)), line.severity));
    page.field("Peak", &format!("{} at {}", unit.show(episode.peak), (letterhead.time)(episode.peak_at)));
    if let Some((name, value)) = companion(episode) {
        let name = if name == "disk-free" { "Free" } else { "Available" };
        page.field(name, &Unit::Bytes.show(value));
    }
    page.field("Measures", metric::describe(&episode.metric).map_or("", |metric| metric.help));
}

/// What will end the episode.
fn clears(rule: &Rule, episode: &Episode) -> String {
    match rule.metric.as_str() {
        UNREACHABLE => return "with the next collection that succeeds".to_owned(),
        HOST_KEY_CHANGED => return "with the next collection under a trusted host key".to_owned(),
        _ => {}
    }
    let unit = metric::unit(&episode.metric);
    let shown = unit.show(rule.threshold.limit(Severity::Warning));
    let when = match rule.threshold.operator {
        Operator::AtLeast => format!("below {shown}"),
        Operator::Above => format!("at {shown} or below"),
        Operator::Below => format!("at {shown} or above"),
        Operator::AtMost => format!("above {shown}"),
        Operator::Equal => format!("anything but {shown}"),
        Operator::Unequal => shown,
    };
    format!("when {} is {when}", series(episode))
}

fn processes(page: &mut Page, title: &str, processes: &[Process]) {
    if processes.is_empty() {
        return;
    }
    page.space();
    page.say(&format!("  {title}"));
    page.row(&format!("{:>8} {:>7} {:>10}  {}", "PID", "CPU", "MEMORY", "COMMAND"));
    for process in processes {
        let mut row = format!("{:>8} ", process.pid);
        let cpu = process.cpu.map_or_else(|| "-".to_owned(), |cpu| Unit::Percent.show(cpu));
        let memory = Unit::Bytes.show(process.memory as f64);
        let _ = write!(row, "{cpu:>7} {memory:>10}  {}", escape_to(&process.name, 32));
        page.row(&row);
    }
}
