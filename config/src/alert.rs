//! `<alert>`: what is written, and the rules that come of it for a client.

use model::metric::{self, Metric};
use model::rule::{HOST_KEY_CHANGED, UNREACHABLE};
use model::{Hold, Operator, Pattern, Rule, RuleId, Severity, Threshold, Unit};

use crate::fault::Wrong;
use crate::grammar;
use crate::nearest::nearest;
use crate::reading::{At, Reading};
use crate::source::Span;
use crate::tree::{Attribute, Element};
use crate::value::{self, Value};

/// The implicit rules, which are about collections rather than samples, with what each takes to fire.
const IMPLICIT: [(&str, Hold); 2] = [(UNREACHABLE, Hold::Samples(2)), (HOST_KEY_CHANGED, Hold::Samples(1))];

/// The types of the first form: their `limit` tolerates a `%`.
const FIRST_FORM: [&str; 3] = ["memory", "cpu", "uptime"];

/// An element, or the entries of one client together, hold at most so many alerts.
const ALERTS: usize = 200;
/// A note has at most so many characters.
const NOTE: usize = 1000;

/// One `<alert>` as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertPart {
    metric: String,
    matches: Vec<Pattern>,
    excludes: Vec<Pattern>,
    /// `None`: a rule that is switched off.
    threshold: Option<Threshold>,
    pub(crate) mail: Option<Vec<String>>,
    note: Option<String>,
    source: String,
    text: String,
}

impl AlertPart {
    /// An implicit rule that nobody wrote.
    fn implicit(metric: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            matches: Vec::new(),
            excludes: Vec::new(),
            threshold: Some(failed()),
            mail: None,
            note: None,
            source: String::new(),
            text: format!("<alert type=\"{metric}\"/>"),
        }
    }

    /// Whether it is a rule over samples that is not switched off: what keeps the shipped template away.
    pub(crate) fn watches(&self) -> bool {
        self.threshold.is_some() && hold(&self.metric).is_none()
    }

    /// Whether it overrides `other` of a lower level, or is the same rule on the same level.
    fn is_about_the_same(&self, other: &Self) -> bool {
        self.metric == other.metric && self.matches == other.matches
    }

    fn name(&self) -> String {
        let list = |patterns: &[Pattern]| {
            patterns.iter().map(|pattern| pattern.0.as_str()).collect::<Vec<_>>().join(",")
        };
        let mut name = self.metric.clone();
        for (word, patterns) in [("match", &self.matches), ("exclude", &self.excludes)] {
            if !patterns.is_empty() {
                name.extend(["[", word, "=", &list(patterns), "]"]);
            }
        }
        name
    }

    fn rule(self, id: String, client_mail: &[String]) -> Option<Rule> {
        Some(Rule {
            id: RuleId(id),
            hold: hold(&self.metric).unwrap_or(Hold::Samples(1)),
            metric: self.metric,
            matches: self.matches,
            excludes: self.excludes,
            threshold: self.threshold?,
            receivers: self.mail.unwrap_or_else(|| client_mail.to_vec()),
            note: self.note,
            source: self.source,
            text: self.text,
        })
    }
}

/// The hold of an implicit rule.
fn hold(metric: &str) -> Option<Hold> {
    IMPLICIT.iter().find(|(name, _)| *name == metric).map(|(_, hold)| *hold)
}

/// Implicit rules fold over attempts: 1 is a failed one.
fn failed() -> Threshold {
    Threshold { operator: Operator::AtLeast, warning: None, critical: Some(1.0) }
}

/// The rules of a client from the alerts of each level, the lowest level first: a higher level overrides what is of
/// the same type and match in those below.
pub(crate) fn rules(levels: &[&[AlertPart]], client_mail: &[String]) -> Vec<Rule> {
    let implicit: Vec<_> = IMPLICIT.iter().map(|(metric, _)| AlertPart::implicit(metric)).collect();
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
        let name = part.name();
        let same_name = || rules.iter().filter(|(other, _)| *other == name);
        let id = match same_name().count() {
            0 => name.clone(),
            count => format!("{name}#{}", count + 1),
        };
        let Some(rule) = part.clone().rule(id, client_mail) else {
            continue;
        };
        // The same rule twice, as where two entries of one client are merged: one rule that tells the receivers of both.
        let is_twin = |other: &Rule| other.threshold == rule.threshold && other.note == rule.note;
        match rules.iter_mut().find(|(other_name, other)| *other_name == name && is_twin(other)) {
            Some((_, twin)) => {
                for receiver in rule.receivers {
                    if !twin.receivers.contains(&receiver) {
                        twin.receivers.push(receiver);
                    }
                }
            }
            None => rules.push((name, rule)),
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// Reports and cuts too many alerts: each is compared with each.
pub(crate) fn bound(reading: &mut Reading<'_>, at: Span, alerts: &mut Vec<AlertPart>) {
    if alerts.len() > ALERTS {
        alerts.truncate(ALERTS);
        reading.report(at, Wrong::new(format!("there are more than {ALERTS} alerts in one place")));
    }
}

/// What an `<alert>` says, attribute by attribute, before it is judged as a whole.
#[derive(Default)]
struct Written<'e, 'a> {
    limit: Option<&'e Attribute<'a>>,
    warning: Option<&'e Attribute<'a>>,
    critical: Option<&'e Attribute<'a>>,
    operator: Option<At<Operator>>,
    severity: Option<At<Severity>>,
    matches: Option<At<Vec<Pattern>>>,
    excludes: Option<At<Vec<Pattern>>>,
    mail: Option<Vec<String>>,
    note: Option<String>,
    disabled: bool,
}

/// Reads an `<alert>`; `None` where it is wrong.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Option<AlertPart> {
    reading.holds_nothing(element);
    let mut metric = None;
    let mut written = Written::default();
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "type" => metric = reading.take(attribute, kind),
            "limit" => written.limit = Some(attribute),
            "warning" => written.warning = Some(attribute),
            "critical" => written.critical = Some(attribute),
            "operator" => written.operator = reading.take(attribute, operator),
            "severity" => written.severity = reading.take(attribute, severity),
            "match" => written.matches = reading.take(attribute, patterns),
            "exclude" => written.excludes = reading.take(attribute, patterns),
            "mail" => {
                written.mail = reading.take(attribute, value::mail_addresses).map(|mail| mail.value);
            }
            "note" => written.note = reading.take(attribute, note).map(|note| note.value),
            _ => {
                written.disabled =
                    reading.take(attribute, value::boolean).is_some_and(|enabled| !enabled.value);
            }
        }
    }
    reading.missing(element, "type", "type=\"memory\", \"cpu\", \"disk\" or another metric");
    let metric = metric?.value;
    let threshold = threshold(reading, element, &metric, &written);
    if threshold.is_none() && !written.disabled {
        return None;
    }
    Some(AlertPart {
        metric,
        matches: written.matches.map(|matches| matches.value).unwrap_or_default(),
        excludes: written.excludes.map(|excludes| excludes.value).unwrap_or_default(),
        threshold: threshold.filter(|_| !written.disabled),
        mail: written.mail,
        note: written.note,
        source: reading.mark(element.tag),
        text: one_line(&reading.sink.sources.get(element.tag.file).text[element.tag.start..element.tag.end]),
    })
}

/// The start tag as one line that ends the element.
fn one_line(tag: &str) -> String {
    let tag = tag.trim_end_matches('>').trim_end_matches('/');
    let words: Vec<_> = tag.split_whitespace().collect();
    format!("{}/>", words.join(" "))
}

fn threshold(
    reading: &mut Reading<'_>,
    element: &Element<'_>,
    name: &str,
    written: &Written<'_, '_>,
) -> Option<Threshold> {
    let limits = [written.limit, written.warning, written.critical];
    let Some(metric) = metric::describe(name) else {
        let operator = written.operator.as_ref().map(|operator| operator.span);
        let objects = [&written.matches, &written.excludes].map(|list| list.as_ref().map(|list| list.span));
        let spans = limits
            .iter()
            .flatten()
            .map(|attribute| attribute.at)
            .chain(operator)
            .chain(objects.into_iter().flatten());
        let spans: Vec<_> = spans.chain(written.severity.as_ref().map(|severity| severity.span)).collect();
        for span in &spans {
            let wrong = Wrong::new(format!("`{name}` takes no threshold and no objects"));
            reading.report(*span, wrong.expected("mail, note and enabled only"));
        }
        return spans.is_empty().then(failed);
    };
    let objects_fit = objects_fit(reading, &metric, written);
    let operator = written.operator.as_ref().map_or(Operator::AtLeast, |operator| operator.value);
    if let Some(limit) = written.limit {
        let value = limit_value(reading, &metric, limit);
        if let Some(other) = written.warning.or(written.critical) {
            let wrong = Wrong::new(format!("`{}` cannot stand beside `limit`", other.name));
            reading.report(other.at, wrong.expected("limit alone, or warning and critical"));
            return None;
        }
        let is_warning =
            written.severity.as_ref().is_some_and(|severity| severity.value == Severity::Warning);
        let (warning, critical) = if is_warning { (value, None) } else { (None, value) };
        return value.filter(|_| objects_fit).map(|_| Threshold { operator, warning, critical });
    }
    if let Some(severity) = &written.severity {
        let wrong = Wrong::new("`severity` belongs to `limit`").help("remove it, or write limit=\"...\"");
        reading.report(severity.span, wrong);
    }
    if written.warning.is_none() && written.critical.is_none() {
        if !element.broken && !written.disabled {
            let wrong = Wrong::new(format!("the alert on `{name}` has no limit"));
            reading
                .report(element.at, wrong.expected("limit=\"...\", or warning=\"...\" and critical=\"...\""));
        }
        return None;
    }
    // Both are read, so that both faults are told.
    let (warning, critical) = (
        written.warning.map(|attribute| limit_value(reading, &metric, attribute)),
        written.critical.map(|attribute| limit_value(reading, &metric, attribute)),
    );
    let (warning, critical) = (transpose(warning)?, transpose(critical)?);
    if let (Some(warning), Some(critical), Some(attribute)) = (warning, critical, written.critical)
        && operator.is_worse(warning, critical)
    {
        let wrong =
            Wrong::new(format!("with operator {} the warning comes after the critical", operator.symbol()));
        reading.report(attribute.value_at, wrong.help("swap the two, or correct the operator"));
        return None;
    }
    objects_fit.then_some(Threshold { operator, warning, critical })
}

/// `None` where there was a value and it was wrong.
#[expect(clippy::option_option, reason = "absent and wrong are told apart for one step")]
fn transpose(value: Option<Option<f64>>) -> Option<Option<f64>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

fn limit_value(reading: &mut Reading<'_>, metric: &Metric, attribute: &Attribute<'_>) -> Option<f64> {
    let tolerant = attribute.name == "limit" && FIRST_FORM.contains(&metric.name);
    let may_be_negative =
        metric.unit == Unit::Celsius || ["clock-offset", metric::CUSTOM].contains(&metric.name);
    let read = reading.take(attribute, |text| {
        let text = text.trim();
        let text = if tolerant && metric.unit != Unit::Percent {
            text.strip_suffix('%').unwrap_or(text)
        } else {
            text
        };
        value::limit(text, metric.unit, may_be_negative)
    });
    read.map(|at| at.value)
}

/// Whether `match` and `exclude` make sense for the metric.
fn objects_fit(reading: &mut Reading<'_>, metric: &Metric, written: &Written<'_, '_>) -> bool {
    let mut fit = true;
    for (word, list) in [("match", &written.matches), ("exclude", &written.excludes)] {
        if let Some(list) = list
            && metric.object.is_empty()
        {
            let wrong = Wrong::new(format!("a client has one `{}`: there is nothing to {word}", metric.name));
            reading.report(list.span, wrong.help("remove it"));
            fit = false;
        }
    }
    fit
}

/// A `type`.
fn kind(text: &str) -> Value<String> {
    if metric::describe(text).is_some() || hold(text).is_some() {
        return Ok(text.to_owned());
    }
    if let Some(own) = text.strip_prefix(metric::CUSTOM) {
        let wrong = Wrong::new(format!("{} is no name of a metric of your own", value::quoted(own)));
        return Err(wrong.expected("letters, digits, _ and :, as in custom:backup_age_seconds"));
    }
    if grammar::PLANNED_TYPES.contains(&text) {
        return Err(grammar::unsupported(&format!("the alert type `{text}`")));
    }
    let names =
        || metric::METRICS.iter().map(|metric| metric.name).chain(IMPLICIT.iter().map(|(name, _)| *name));
    let wrong = Wrong::new(format!("{} is not a type of alert", value::quoted(text)));
    Err(match nearest(text, names()) {
        Some(near) => wrong.help(format!("did you mean \"{near}\"?")),
        None => wrong.expected(names().collect::<Vec<_>>().join(", ")),
    })
}

fn operator(text: &str) -> Value<Operator> {
    let names = Operator::ALL.map(|operator| (operator.symbol(), operator));
    value::one_of(text, &names).map_err(|wrong| wrong.help("in XML, `<` is written &lt;"))
}

fn severity(text: &str) -> Value<Severity> {
    value::one_of(text, &[("warning", Severity::Warning), ("critical", Severity::Critical)])
}

fn patterns(text: &str) -> Value<Vec<Pattern>> {
    value::list(text, |item| value::text(item).map(|item| Pattern(item.clone())))
}

/// Free text, as one line: it goes into mails, a copy into every rule of every client.
fn note(text: &str) -> Value<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let note = value::text(&words.join(" "))?;
    if note.chars().count() > NOTE {
        return Err(Wrong::new(format!("a note has at most {NOTE} characters"))
            .help("put a link to the rest into it"));
    }
    Ok(note)
}
