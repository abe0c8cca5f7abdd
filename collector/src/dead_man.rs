//! Whether the alerter still runs: if it does not, nobody is told of anything, and only this program can say so. Pure.

use std::time::Duration;

use model::{Timestamp, Unit};
use storage::{Here, Run, overdue, punctuality};

/// How often an alerter should run that never did, where nobody says it.
const UNKNOWN: Duration = Duration::from_secs(8 * 3600);

/// What the storage and config.xml say of the alerter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alerter<'a> {
    /// Its latest runs.
    pub(crate) runs: &'a [Run],
    /// `alerter-every`, where it is said.
    pub(crate) every: Option<Duration>,
    /// When the oldest run of this program began that it has not evaluated.
    pub(crate) unevaluated: Option<Timestamp>,
    /// Whether any rule tells anybody.
    pub(crate) tells: bool,
}

impl Alerter<'_> {
    /// What to say where it is overdue, with what to do about it.
    pub(crate) fn overdue(&self, here: Here<'_>, now: Timestamp) -> Option<String> {
        let show = |span: Duration| Unit::Seconds.show(span.as_secs_f64());
        let since = |at: Timestamp| show(Duration::from_millis(u64::try_from(now.since(at)).unwrap_or(0)));
        if self.runs.is_empty() {
            let oldest = self.unevaluated.filter(|_| self.tells)?;
            let every = self.every.unwrap_or(UNKNOWN);
            return (!overdue(oldest.max(here.booted), every, now).is_zero()).then(|| {
                format!(
                    "fleet-alerter has never run, and what was collected {} ago waits: nobody is told of anything. Give \
                     it a line in cron beside fleet-collector's, or type fleet-alerter",
                    since(oldest)
                )
            });
        }
        let found = punctuality(self.runs, self.every, Some(here), now)?;
        let silent = since(found.last);
        let last = match found.unended {
            0 => format!("its last run began {silent} ago"),
            count => format!("its last {count} runs did not end, for {silent}"),
        };
        (!found.overdue.is_zero()).then(|| {
            format!(
                "fleet-alerter is overdue: it is run every {}, and {last}; nobody is told of anything. See its line in \
                 cron and what cron mails of it, or type fleet-alerter",
                show(found.every)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::Program;

    const NOW: Timestamp = Timestamp(1_785_204_000_000);

    fn ago(minutes: i64) -> Timestamp {
        NOW.plus(-60_000 * minutes)
    }

    fn here(minutes: i64) -> Here<'static> {
        Here { host: "", booted: ago(minutes) }
    }

    fn run(minutes: i64) -> Run {
        Run {
            program: Program::Alerter,
            host: String::new(),
            begin: ago(minutes),
            end: Some(ago(minutes)),
            done: 0,
            failed: 0,
            whole: true,
        }
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn three_missed_runs_are_told() {
        let habit: Vec<Run> = (0..7).map(|number| run(16 + 5 * number)).collect();
        let alerter = Alerter { runs: &habit, every: None, unevaluated: None, tells: true };
        let said = alerter.overdue(here(9999), NOW).expect("16 minutes are more than 15");
        assert!(said.contains("every 5 min") && said.contains("began 16 min ago"), "{said}");
        assert_eq!(
            Alerter { every: Some(minutes(10)), ..alerter }.overdue(here(9999), NOW),
            None,
            "30 are allowed"
        );
        assert_eq!(alerter.overdue(here(10), NOW), None, "the host was off");
        assert_eq!(Alerter { runs: &habit[..2], ..alerter }.overdue(here(9999), NOW), None, "no habit");
    }

    #[test]
    fn one_that_is_killed_in_every_run_is_told() {
        let runs: Vec<Run> =
            (0..8).map(|number| Run { end: (number >= 3).then_some(NOW), ..run(1 + 5 * number) }).collect();
        let alerter = Alerter { runs: &runs, every: None, unevaluated: None, tells: true };
        let said = alerter.overdue(here(9999), NOW).expect("16 minutes are more than 15");
        assert!(said.contains("its last 3 runs did not end, for 16 min"), "{said}");
    }

    #[test]
    fn one_that_never_ran_is_told_where_somebody_counts_on_it() {
        let alerter = Alerter { runs: &[], every: Some(minutes(5)), unevaluated: Some(ago(16)), tells: true };
        let said = alerter.overdue(here(9999), NOW).expect("16 minutes are more than 15");
        assert!(said.contains("has never run") && said.contains("16 min ago"), "{said}");
        for fine in [
            Alerter { unevaluated: Some(ago(15)), ..alerter },
            Alerter { unevaluated: None, ..alerter },
            Alerter { tells: false, ..alerter },
            Alerter { every: None, unevaluated: Some(ago(24 * 60)), ..alerter },
        ] {
            assert_eq!(fine.overdue(here(9999), NOW), None, "{fine:?}");
        }
        let day = Alerter { every: None, unevaluated: Some(ago(24 * 60 + 1)), ..alerter };
        assert!(day.overdue(here(9999), NOW).is_some());
    }
}
