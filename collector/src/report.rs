//! What a run tells whoever started it.

use std::fmt::Write as _;
use std::time::Duration;

use model::{ClientName, Outcome};
use serde::Serialize;

/// The version of the object that `--json` prints.
const VERSION: u32 = 1;

/// How one client fared.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its name.
    pub(crate) name: ClientName,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// How long it took.
    pub(crate) took: Duration,
    /// When it was over, from the begin of the run.
    pub(crate) ended: Duration,
    /// Whether the probe was sent.
    pub(crate) uploaded: bool,
    /// Records that were new.
    pub(crate) stored: usize,
}

/// How a run went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Its clients, in the order in which they were stored.
    pub(crate) lines: Vec<Line>,
    /// How long it took.
    pub(crate) took: Duration,
    /// Clients that were asked for by name while another collector had hold of them.
    pub(crate) elsewhere: Vec<ClientName>,
    /// How many clients other collectors visited, or visit, in this interval.
    pub(crate) left: usize,
    /// What to say of an alerter that is overdue.
    pub(crate) overdue_alerter: Option<String>,
}

#[derive(Serialize)]
struct Object<'a> {
    version: u32,
    collected: usize,
    failed: usize,
    not_reached: usize,
    seconds: f64,
    clients: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    outcome: &'static str,
    seconds: f64,
    ended: f64,
    uploaded: bool,
    message: String,
}

impl Report {
    /// Clients that were collected.
    pub(crate) fn collected(&self) -> usize {
        self.lines.iter().filter(|line| line.outcome.is_collected()).count()
    }

    /// Clients that were not.
    pub(crate) fn failed(&self) -> usize {
        self.lines.len() - self.collected() + self.elsewhere.len()
    }

    /// Says which clients another collector was visiting, where there are any.
    pub(crate) fn elsewhere(&self) -> Option<String> {
        let mut names: Vec<_> = self.elsewhere.iter().map(ClientName::as_str).collect();
        names.sort_unstable();
        (!names.is_empty()).then(|| {
            format!("another collector is visiting {} right now: say it again in a minute", names.join(", "))
        })
    }

    /// Says which clients the run did not reach, where there are any: that is the run's own trouble.
    pub(crate) fn not_reached(&self) -> Option<String> {
        const NAMED: usize = 5;
        let lines = self.lines.iter().filter(|line| line.outcome == Outcome::NotReached);
        let mut names: Vec<_> = lines.map(|line| line.name.as_str()).collect();
        names.sort_unstable();
        let (count, rest) = (names.len(), names.len().saturating_sub(NAMED));
        names.truncate(NAMED);
        let names = names.join(", ");
        let names = if rest > 0 { format!("{names} and {rest} more") } else { names };
        (count > 0).then(|| {
            format!(
                "the run had to end before the next one, and {count} of {} clients were not reached: {names}; they go \
                 first next time. If this lasts, raise concurrency (<defaults>) or collector-every (<schedule>)",
                self.lines.len()
            )
        })
    }

    /// One line of JSON, its clients by name.
    pub(crate) fn json(&self) -> String {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        let object = Object {
            version: VERSION,
            collected: self.collected(),
            failed: self.failed(),
            not_reached: self.lines.iter().filter(|line| line.outcome == Outcome::NotReached).count(),
            seconds: seconds(self.took),
            clients: lines.into_iter().map(Line::entry).collect(),
        };
        serde_json::to_string(&object).expect("texts and finite numbers have a form in JSON")
    }

    /// For a person: one line, then each client that has something to say.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "collected {} of {} clients in {:.1} s",
            self.collected(),
            self.lines.len(),
            self.took.as_secs_f64()
        );
        let stored: usize = self.lines.iter().map(|line| line.stored).sum();
        let uploads = self.lines.iter().filter(|line| line.uploaded).count();
        let _ = write!(text, ": {}", counted(stored as u64, "new record"));
        if uploads > 0 {
            let _ = write!(text, ", probe sent to {uploads}");
        }
        if self.left > 0 {
            let _ = write!(text, "; {} had their turn in this interval, or have it elsewhere", self.left);
        }
        text.push('\n');
        let mut troubled: Vec<_> =
            self.lines.iter().filter(|line| line.outcome != Outcome::Collected).collect();
        troubled.sort_by(|a, b| a.name.cmp(&b.name));
        let width = troubled.iter().map(|line| line.name.as_str().len()).max().unwrap_or(0);
        for line in troubled {
            let _ = writeln!(text, "  {:width$}  {}", line.name, line.outcome.message());
            let _ = writeln!(text, "  {:width$}    -> {}", "", remedy(&line.name, &line.outcome));
        }
        text
    }
}

impl Line {
    fn entry(&self) -> Entry<'_> {
        Entry {
            name: self.name.as_str(),
            outcome: self.outcome.name(),
            seconds: seconds(self.took),
            ended: seconds(self.ended),
            uploaded: self.uploaded,
            message: told(&self.name, &self.outcome),
        }
    }
}

/// So many of something: `1 record`, `2 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What is wrong and what to do, on one line; empty where nothing is.
pub(crate) fn told(client: &ClientName, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Collected => String::new(),
        outcome => format!("{}: {}", outcome.message(), remedy(client, outcome)),
    }
}

/// What to do, as the line to type for this client.
pub(crate) fn remedy(client: &ClientName, outcome: &Outcome) -> String {
    outcome.remedy().replace("NAME", client.as_str())
}

/// Seconds to the millisecond.
fn seconds(took: Duration) -> f64 {
    took.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let line = |name: &str, outcome, uploaded| Line {
            name: name.parse().unwrap(),
            outcome,
            took: Duration::from_micros(1_234_567),
            ended: Duration::from_micros(1_345_678),
            uploaded,
            stored: 1,
        };
        let refused = Outcome::Refused { detail: "[::1]:22: Connection refused".to_owned() };
        Report {
            lines: vec![line("web2", refused, false), line("web1", Outcome::Collected, true)],
            took: Duration::from_millis(1500),
            elsewhere: Vec::new(),
            left: 0,
            overdue_alerter: None,
        }
    }

    #[test]
    fn the_object_for_scripts() {
        insta::assert_snapshot!(report().json(), @r#"{"version":1,"collected":1,"failed":1,"not_reached":0,"seconds":1.5,"clients":[{"name":"web1","outcome":"collected","seconds":1.234,"ended":1.345,"uploaded":true,"message":""},{"name":"web2","outcome":"refused","seconds":1.234,"ended":1.345,"uploaded":false,"message":"the connection was refused: [::1]:22: Connection refused: check that sshd runs there and listens on that port"}]}"#);
    }

    #[test]
    fn what_is_left_to_others_is_counted() {
        let text = Report { left: 7, ..report() }.text();
        assert!(
            text.starts_with("collected 1 of 2 clients in 1.5 s: 2 new records, probe sent to 1; 7 had"),
            "{text}"
        );
        assert!(!report().text().contains("turn"));
    }

    #[test]
    fn who_was_not_reached_is_named_up_to_a_bound() {
        assert_eq!(report().not_reached(), None);
        let mut report = report();
        for name in ["e", "d", "c", "b", "a", "f", "g"] {
            let line =
                Line { name: name.parse().unwrap(), outcome: Outcome::NotReached, ..report.lines[0].clone() };
            report.lines.push(line);
        }
        let said = report.not_reached().unwrap();
        assert!(said.contains("7 of 9 clients were not reached: a, b, c, d, e and 2 more;"), "{said}");
    }

    #[test]
    fn the_text_for_a_person() {
        insta::assert_snapshot!(report().text(), @r"
        collected 1 of 2 clients in 1.5 s: 2 new records, probe sent to 1
          web2  the connection was refused: [::1]:22: Connection refused
                  -> check that sshd runs there and listens on that port
        ");
    }
}
