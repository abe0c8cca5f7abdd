//! `<alert>`: what is written, and the rules that come of it for a client.

mod kind;
mod telling;
mod terms;
mod threshold;

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Hold, Operator, Pattern, Rule, RuleId, Threshold, rule};

use crate::fault::Wrong;
use crate::grammar;
use crate::reading::{At, Reading};
use crate::source::Span;
use crate::tree::{Attribute, Element};
use crate::value::{self, Value};
use kind::Kind;
use telling::Telling;
use terms::Terms;

/// The metric whose objects are asked for by name.
const PROCESS: &str = "process";

/// The implicit limit of `stale`.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// An element, or the entries of one client together, hold at most so many alerts.
const ALERTS: usize = 200;

/// One `<alert>` as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertPart {
    metric: String,
    matches: Vec<Pattern>,
    excludes: Vec<Pattern>,
    /// One rule comes of each, with what its name ends in; none where the alert is switched off.
    thresholds: Vec<(&'static str, Threshold)>,
    terms: Terms,
    pub(crate) mail: Option<Vec<String>>,
    telling: Telling,
    source: String,
    text: String,
}

impl AlertPart {
    /// An implicit rule that nobody wrote.
    fn implicit(metric: &str, hold: Hold, threshold: Threshold) -> Self {
        Self {
            metric: metric.to_owned(),
            matches: Vec::new(),
            excludes: Vec::new(),
            thresholds: vec![("", threshold)],
            terms: Terms::new(hold),
            mail: None,
            telling: Telling::default(),
            source: String::new(),
            text: format!("<alert type=\"{metric}\"/>"),
        }
    }

    /// Whether it is a rule over samples that is not switched off: what keeps the shipped template away.
    pub(crate) fn watches(&self) -> bool {
        !self.thresholds.is_empty() && !kind::is_implicit(&self.metric)
    }

    /// Whether it is about processes, switched on or off.
    pub(crate) fn counts_processes(&self) -> bool {
        self.metric == PROCESS
    }

    /// Whether it overrides `other` of a lower level, or is the same rule on the same level.
    fn is_about_the_same(&self, other: &Self) -> bool {
        self.metric == other.metric && self.matches == other.matches
    }

    /// Without `exclude`: to leave one object out is no end of what fires for the others.
    fn name(&self) -> String {
        if self.matches.is_empty() {
            return self.metric.clone();
        }
        let patterns: Vec<_> = self.matches.iter().map(|pattern| pattern.0.as_str()).collect();
        format!("{}[match={}]", self.metric, patterns.join(","))
    }

    fn rule(&self, id: String, threshold: Threshold, client_mail: &[String]) -> Rule {
        let Self { terms, telling, .. } = self.clone();
        Rule {
            id: RuleId(id),
            metric: self.metric.clone(),
            matches: self.matches.clone(),
            excludes: self.excludes.clone(),
            threshold,
            clear: terms.clear,
            floor: terms.floor,
            hold: terms.hold,
            aggregate: terms.aggregate,
            fit_ms: terms.fit_ms,
            keep_firing_ms: terms.keep_firing_ms,
            receivers: self.mail.clone().unwrap_or_else(|| client_mail.to_vec()),
            repeat_ms: telling.repeat_ms,
            escalation: telling.escalation,
            mute: telling.mute,
            note: telling.note,
            source: self.source.clone(),
            text: self.text.clone(),
        }
    }
}

/// A literal pattern stands for one object: for itself.
fn is_literal(pattern: &Pattern) -> bool {
    !pattern.0.contains(['*', '?'])
}

/// The threshold of what is 1 or 0: 1 is a critical problem.
fn yes() -> Threshold {
    Threshold { operator: Operator::AtLeast, warning: None, critical: Some(1.0) }
}

/// The rules that every client has, written or not; `collector_every` as it is said.
fn implicit(collector_every: Option<Duration>) -> Vec<AlertPart> {
    let limit = stale_limit(collector_every);
    let old = Threshold { operator: Operator::AtLeast, warning: Some(limit.as_secs_f64()), critical: None };
    let text = format!("<alert type=\"{}\" warning=\"{}\"/>", rule::STALE, value::written(limit));
    let of = |(metric, hold): &(&str, Hold)| match *metric {
        rule::STALE => AlertPart { text: text.clone(), ..AlertPart::implicit(metric, *hold, old) },
        _ => AlertPart::implicit(metric, *hold, yes()),
    };
    kind::IMPLICIT.iter().map(of).collect()
}

/// A client's data is old after an hour, and not before the collector had three chances to renew it.
fn stale_limit(collector_every: Option<Duration>) -> Duration {
    collector_every.map_or(STALE_AFTER, |every| STALE_AFTER.max(every.saturating_mul(3)))
}

/// The rules of a client from the alerts of each level, the lowest level first: a higher level overrides what is of
/// the same type and match in those below.
pub(crate) fn rules(
    levels: &[&[AlertPart]],
    client_mail: &[String],
    collector_every: Option<Duration>,
) -> Vec<Rule> {
    let implicit = implicit(collector_every);
    let mut live: Vec<&AlertPart> = Vec::new();
    let mut implicit_live: Vec<&AlertPart> = implicit.iter().collect();
    for level in levels {
        for kept in [&mut live, &mut implicit_live] {
            kept.retain(|below| !level.iter().any(|above| above.is_about_the_same(below)));
        }
        live.extend(level.iter());
    }
    live.extend(implicit_live);
    let mut rules: Vec<(String, Rule)> = Vec::new();
    for part in live {
        for (ending, threshold) in &part.thresholds {
            let name = part.name() + ending;
            let id = match rules.iter().filter(|(other, _)| *other == name).count() {
                0 => name.clone(),
                count => format!("{name}#{}", count + 1),
            };
            let rule = part.rule(id, *threshold, client_mail);
            match rules.iter_mut().find(|(other, twin)| *other == name && are_twins(twin, &rule)) {
                Some((_, twin)) => merge(&mut twin.receivers, rule.receivers),
                None => rules.push((name, rule)),
            }
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// The processes that rules are about by their names alone: they are asked for.
pub(crate) fn processes(rules: &[Rule]) -> impl Iterator<Item = &str> {
    let patterns = rules.iter().filter(|rule| rule.metric == PROCESS).flat_map(|rule| &rule.matches);
    patterns.filter(|pattern| is_literal(pattern)).map(|pattern| pattern.0.as_str())
}

/// Whether two rules of one name are the same but for whom they tell, as where two entries of one client are merged:
/// they become one rule that tells the receivers of both.
fn are_twins(one: &Rule, other: &Rule) -> bool {
    one.condition() == other.condition()
        && one.excludes == other.excludes
        && (&one.note, &one.mute, one.repeat_ms, &one.escalation)
            == (&other.note, &other.mute, other.repeat_ms, &other.escalation)
}

fn merge(receivers: &mut Vec<String>, others: Vec<String>) {
    for receiver in others {
        if !receivers.contains(&receiver) {
            receivers.push(receiver);
        }
    }
}

/// The rules of the fleet as a whole: they tell the admins, or else whoever is told of any client.
pub(crate) fn fleet_rules<'a>(admin: &[String], rules: impl Iterator<Item = &'a Rule>) -> Vec<Rule> {
    let receivers: BTreeSet<&String> = match admin {
        [] => rules.flat_map(|rule| &rule.receivers).collect(),
        admin => admin.iter().collect(),
    };
    let receivers: Vec<_> = receivers.into_iter().cloned().collect();
    // How long a collector may be silent is known to the run, which passes the seconds beyond that.
    let overdue = Threshold { operator: Operator::Above, warning: None, critical: Some(0.0) };
    let rule = |metric: &str, threshold: Threshold, text: &str| Rule {
        text: text.to_owned(),
        ..AlertPart::implicit(metric, Hold::AT_ONCE, threshold).rule(metric.to_owned(), threshold, &receivers)
    };
    vec![
        rule(rule::ISOLATED, yes(), "built in: a run reached nobody that the run before had reached"),
        rule(
            rule::COLLECTOR_STALE,
            overdue,
            "built in: the collector has not run for three of its intervals",
        ),
    ]
}

/// Reports and cuts too many alerts: each is compared with each.
pub(crate) fn bound(reading: &mut Reading<'_>, at: Span, alerts: &mut Vec<AlertPart>) {
    if alerts.len() > ALERTS {
        alerts.truncate(ALERTS);
        reading.report(at, Wrong::new(format!("there are more than {ALERTS} alerts in one place")));
    }
}

/// The attributes of an `<alert>` that this version knows.
struct Written<'e, 'a>(Vec<&'e Attribute<'a>>);

impl<'e, 'a> Written<'e, 'a> {
    /// The attribute of that name, right or wrong.
    fn get(&self, name: &str) -> Option<&'e Attribute<'a>> {
        self.0.iter().find(|attribute| attribute.name == name).copied()
    }

    /// The value of the attribute of that name; `None` where it is wrong, which is reported.
    fn take<T>(
        &self,
        reading: &mut Reading<'_>,
        name: &str,
        read: impl FnOnce(&str) -> Value<T>,
    ) -> Option<At<T>> {
        reading.take(self.get(name)?, read)
    }
}

/// Reads an `<alert>`; `None` where it is wrong.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Option<AlertPart> {
    reading.holds_nothing(element);
    let mut written = Written(grammar::known(&mut reading.sink, element));
    let kind = written.take(reading, "type", kind::read);
    let matches = written.take(reading, "match", patterns);
    let excludes = written.take(reading, "exclude", patterns);
    let mail = written.take(reading, "mail", value::mail_addresses).map(|mail| mail.value);
    let disabled = written.take(reading, "enabled", value::boolean).is_some_and(|enabled| !enabled.value);
    let telling = telling::read(reading, &written);
    reading.missing(element, "type", "type=\"memory\", \"cpu\", \"disk\" or another metric");
    if let Some(At { value: (name, kind), .. }) = &kind {
        misplaced(reading, name, kind, &mut written);
    }
    let severity = written.take(reading, "severity", threshold::severity);
    let operator = written.take(reading, "operator", threshold::operator);
    let hold = terms::hold(reading, kind.as_ref().map(|kind| &kind.value.1), &written);
    let (metric, kind) = kind?.value;
    if let Some(matches) = &matches {
        check_processes(reading, &metric, matches);
    }
    let thresholds = threshold::read(
        reading,
        element,
        &kind,
        &written,
        operator.map(|at| at.value),
        severity.as_ref(),
        disabled,
    );
    let terms = terms::read(reading, &kind, &written, thresholds.as_deref().unwrap_or_default(), hold);
    if thresholds.is_none() && !disabled {
        return None;
    }
    Some(AlertPart {
        metric,
        matches: matches.map(|matches| matches.value).unwrap_or_default(),
        excludes: excludes.map(|excludes| excludes.value).unwrap_or_default(),
        thresholds: thresholds.filter(|_| !disabled).unwrap_or_default(),
        terms,
        mail,
        telling,
        source: reading.mark(element.tag),
        text: one_line(&reading.sink.sources.get(element.tag.file).text[element.tag.start..element.tag.end]),
    })
}

/// Reports and drops the attributes that mean nothing with a type.
fn misplaced(reading: &mut Reading<'_>, name: &str, kind: &Kind, written: &mut Written<'_, '_>) {
    written.0.retain(|attribute| {
        if ["match", "exclude"].contains(&attribute.name) && kind.metric.object.is_empty() {
            let word = attribute.name;
            let wrong = Wrong::new(format!("a client has one `{name}`: there is nothing to {word}"));
            reading.report(attribute.at, wrong.help("remove it"));
            return false;
        }
        let takes = kind.takes(attribute.name);
        if !takes {
            let wrong = Wrong::new(format!("`{}` has no meaning with type=\"{name}\"", attribute.name));
            reading.report(attribute.at, wrong.help("remove it"));
        }
        takes
    });
}

/// The names that an alert gives are asked for: they have to be names of processes.
fn check_processes(reading: &mut Reading<'_>, metric: &str, matches: &At<Vec<Pattern>>) {
    for pattern in matches.value.iter().filter(|pattern| metric == PROCESS && is_literal(pattern)) {
        if let Err(wrong) = value::processes(&pattern.0) {
            reading.report(matches.span, wrong);
        }
    }
}

/// The start tag as one line that ends the element.
fn one_line(tag: &str) -> String {
    let tag = tag.trim_end_matches('>').trim_end_matches('/');
    let words: Vec<_> = tag.split_whitespace().collect();
    format!("{}/>", words.join(" "))
}

fn patterns(text: &str) -> Value<Vec<Pattern>> {
    value::list(text, |item| value::text(item).map(|item| Pattern(item.clone())))
}
