//! The text format of Prometheus (exposition format 0.0.4), as node_exporter's textfile collector reads it.
//!
//! ```text
//! # HELP and # TYPE and other comments
//! name{label="value",other="with \\, \" and \n"} 12.5 1700000000000
//! ```

use std::collections::BTreeMap;

use model::record::MAX_METRIC;
use model::{Labels, Sample, metric};

/// The most labels of one series, and the most bytes of them together.
const MAX_LABELS: (usize, usize) = (16, 1024);

/// What is wrong in a line. It says nothing of what stands there: a file may have been put there by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Counted from 1.
    pub(super) line: usize,
    /// What it is.
    pub(super) what: &'static str,
}

/// One series: its line, and its sample under the name that it has among ours.
pub(super) type Series = (usize, Sample);

/// All series of a file. What is NaN or infinite is skipped; times are read and not used: a value is true when it is
/// read. One line that is wrong makes the whole file wrong, as it may be half of what was meant.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Series>, Wrong> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Wrong { line: line_of(bytes, error.valid_up_to()), what: "this is no UTF-8" })?;
    let wrong = |line: usize| move |what: &'static str| Wrong { line: line + 1, what };
    let mut series = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_matches(BLANKS);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(sample) = parse_line(line).map_err(wrong(at))? {
            series.push((at + 1, sample));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        // A value of which the last digits are still to come would be wrong.
        return Err(Wrong {
            line: text.lines().count(),
            what: "the last line does not end: write, then rename",
        });
    }
    Ok(series)
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// `None` where the value is none.
fn parse_line(line: &str) -> Result<Option<Sample>, &'static str> {
    let (name, rest) = name(line, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
        .ok_or("a name of letters, digits, _ and : has to come first")?;
    let name = format!("{}{name}", metric::CUSTOM);
    if name.len() > MAX_METRIC {
        return Err("the name is too long");
    }
    let (labels, rest) = match rest.trim_start_matches(BLANKS).strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None if rest.starts_with(BLANKS) => (Labels::none(), rest),
        None => return Err("a blank or { has to follow the name"),
    };
    let mut words = rest.split(BLANKS).filter(|word| !word.is_empty());
    let value: f64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or("a number has to follow the name and its labels")?;
    if words.next().is_some_and(|time| time.parse::<i64>().is_err()) || words.next().is_some() {
        return Err("only a time in milliseconds may follow the number");
    }
    Ok(value.is_finite().then_some(Sample { metric: name, labels, value }))
}

/// A name that begins with no digit, and what follows it.
fn name(text: &str, allowed: fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c| !allowed(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// What follows the `{`, and what follows the `}`. A label without a value is none.
fn labels(text: &str) -> Result<(Labels, &str), &'static str> {
    let (mut labels, mut bytes) = (BTreeMap::new(), 0);
    let mut rest = text.trim_start_matches(BLANKS);
    while !rest.starts_with('}') {
        let (key, after) = name(rest, |c| c.is_ascii_alphanumeric() || c == '_')
            .ok_or("a label's name has to follow { or a comma")?;
        let quoted = after.trim_start_matches(BLANKS).strip_prefix('=');
        let quoted = quoted.and_then(|text| text.trim_start_matches(BLANKS).strip_prefix('"'));
        let (value, after) = quoted.and_then(unquote).ok_or("a label has no value in quotes")?;
        bytes += key.len() + value.len();
        if labels.insert(key.to_owned(), value).is_some() {
            return Err("a label stands there twice");
        }
        if labels.len() > MAX_LABELS.0 || bytes > MAX_LABELS.1 {
            return Err("the labels are too many or too long");
        }
        rest = after.trim_start_matches(BLANKS);
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(BLANKS),
            None if rest.starts_with('}') => {}
            None => return Err("a comma or } has to follow a label"),
        }
    }
    labels.retain(|_, value: &mut String| !value.is_empty());
    Ok((labels.into_iter().collect(), &rest[1..]))
}

/// What stands before the closing quote, without its escapes, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                // As Prometheus does.
                c => value.extend(['\\', c]),
            },
            (_, c) => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<String> {
        let series = parse(text.as_bytes()).unwrap();
        series
            .iter()
            .map(|(line, sample)| format!("{line} {} {} {}", sample.metric, sample.labels, sample.value))
            .collect()
    }

    #[test]
    fn the_format_in_full() {
        let text = "# HELP backup_age_seconds Since the last backup.\n# TYPE backup_age_seconds gauge\n\
            backup_age_seconds 12\n\n  # a comment\n\t queue{name=\"mail\"} 1.5e3\n\
            queue { name = \"a\\\\b\\\"c\\nd\" , host=\"é\", } +7 1700000000000\n\
            rule:x{} -0.25\nempty{a=\"\",b=\"1\"} 1 -5\r\nskipped NaN\nskipped +Inf\nskipped{a=\"1\"} -inf\n\
            buckets{le=\"+Inf\"} 3\n";
        assert_eq!(
            parsed(text),
            [
                "3 custom:backup_age_seconds  12",
                "6 custom:queue name=mail 1500",
                "7 custom:queue host=é;name=a\\\\b\"c\nd 7",
                "8 custom:rule:x  -0.25",
                "9 custom:empty b=1 1",
                "13 custom:buckets le=+Inf 3",
            ]
        );
        assert!(parsed("").is_empty());
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        let long = format!("a{{b=\"{}\"}} 1\n", "x".repeat(1024));
        let many = ('a'..='q').map(|c| c.to_string() + "=\"1\"").collect::<Vec<_>>().join(",");
        for (text, line, word) in [
            ("a 1\nb\n", 2, "a blank or {"),
            ("a 1\nb \n", 2, "a blank or {"),
            ("a{} \n", 1, "a number"),
            ("7a 1\n", 1, "a name"),
            ("a-b 1\n", 1, "a blank or {"),
            ("a one\n", 1, "a number"),
            ("a 1 2 3\n", 1, "only a time"),
            ("a 1 1.5\n", 1, "only a time"),
            ("a{b} 1\n", 1, "no value in quotes"),
            ("a{b=1} 1\n", 1, "no value in quotes"),
            ("a{b=\"1} 1\n", 1, "no value in quotes"),
            ("a{b=\"1\" c=\"2\"} 1\n", 1, "a comma"),
            ("a{b=\"1\",b=\"2\"} 1\n", 1, "twice"),
            ("a{1b=\"1\"} 1\n", 1, "a label's name"),
            ("a{b=\"1\"\n", 1, "a comma"),
            ("a 1\nb 2", 2, "does not end"),
            (&long, 1, "too many or too long"),
            (&format!("a{{{many}}} 1\n"), 1, "too many or too long"),
            (&format!("{} 1\n", "n".repeat(122)), 1, "the name is too long"),
        ] {
            let wrong = parse(text.as_bytes()).unwrap_err();
            assert!(wrong.line == line && wrong.what.contains(word), "{text:?}: {wrong:?}");
        }
        assert_eq!(parse(b"a 1\nb{c=\"\xff\"} 1\n").unwrap_err().line, 2);
    }

    fn escaped(value: &str) -> String {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,40}",
            labels in proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,9}", "[^\r]{1,20}", 0..8),
            value in proptest::num::f64::NORMAL,
            time in any::<Option<i64>>(),
        ) {
            let pairs: Vec<_> =
                labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let time = time.map_or_else(String::new, |time| format!(" {time}"));
            let text = format!("{name}{{{}}} {value:?}{time}\n", pairs.join(","));
            let sample = Sample { metric: format!("custom:{name}"), labels: labels.into_iter().collect(), value };
            prop_assert_eq!(parse(text.as_bytes()), Ok(vec![(1, sample)]));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "[a-c{}=\", \\\\\n#0-9.eN+-]{0,80}",
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                for (line, sample) in parse(bytes).unwrap_or_default() {
                    prop_assert!(line > 0 && sample.check().is_ok());
                    prop_assert!(metric::is_custom(&sample.metric) && metric::find(&sample.metric).is_none());
                }
            }
        }
    }
}
