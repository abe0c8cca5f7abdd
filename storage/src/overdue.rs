//! How often a program is run, and whether it is overdue: what the two programs know of each other by the run log.

use std::time::Duration;

use model::Timestamp;

use crate::Run;

/// The runs of the log that are looked at.
pub const RUNS_LOOKED_AT: usize = 21;

/// Intervals between runs of which a habit is learnt at least.
const HABIT: usize = 6;

/// Cron knows no shorter interval than this (crontab(5)).
const MINUTE: Duration = Duration::from_secs(60);

/// A program is overdue when it has missed so many of its runs.
const MISSED: i64 = 3;

/// What begins later than so many milliseconds from now was begun by a clock that was wrong.
const AHEAD_MS: i64 = 300_000;

/// How a program keeps to its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Punctuality {
    /// How often its runs begin.
    pub every: Duration,
    /// When its last run began that ended, or is under way.
    pub last: Timestamp,
    /// How many runs began since then and did not end.
    pub unended: usize,
    /// How long it has been overdue; zero where it is not.
    pub overdue: Duration,
}

/// How often runs begin, learnt from when whole runs began: the usual interval, where two thirds of them keep to it by a
/// twentieth or 5 seconds. Runs by hand cut an interval in two, and outages leave long ones; neither is a habit.
pub fn habit(begins: &[Timestamp]) -> Option<Duration> {
    let mut begins: Vec<i64> = begins.iter().map(|begin| begin.millis()).collect();
    begins.sort_unstable();
    let mut intervals: Vec<i64> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if intervals.len() < HABIT {
        return None;
    }
    intervals.sort_unstable();
    let median = intervals[intervals.len() / 2];
    let tolerance = (median / 20).max(5_000);
    let regular = intervals.iter().filter(|interval| (*interval - median).abs() <= tolerance).count();
    // By whole minutes: a run begins a little late now and then.
    let minutes = (median + 30_000) / 60_000;
    (regular * 3 >= intervals.len() * 2 && minutes >= 1)
        .then(|| MINUTE.saturating_mul(u32::try_from(minutes).unwrap_or(u32::MAX)))
}

/// How a program keeps to its interval at `now`, by its latest runs (the whole ones count) and `every`, which is learnt
/// from them where nobody says it. A run that did not end was killed: only the latest may be under way, and is believed to
/// be where the one before it ended. While the host was off nothing could run: what was missed before it `booted` does not
/// count, nor does a run that begins in the future, which a clock that was wrong has left. `None` where it never ran, or
/// nobody knows how often it should.
pub fn punctuality(
    runs: &[Run],
    every: Option<Duration>,
    booted: Option<Timestamp>,
    now: Timestamp,
) -> Option<Punctuality> {
    let mut whole: Vec<&Run> =
        runs.iter().filter(|run| run.whole && run.begin.since(now) <= AHEAD_MS).collect();
    whole.sort_unstable_by_key(|run| std::cmp::Reverse(run.begin));
    let begins: Vec<Timestamp> = whole.iter().map(|run| run.begin).collect();
    let oldest = *begins.last()?;
    let every = every.or_else(|| habit(&begins))?;
    let unended = match whole.iter().take_while(|run| run.end.is_none()).count() {
        1 => 0,
        count => count,
    };
    let last = begins.get(unended).copied().unwrap_or(oldest);
    Some(Punctuality { every, last, unended, overdue: overdue(last.max(booted.unwrap_or(last)), every, now) })
}

/// How long what should happen `every` so often has been overdue at `now`, if it happened last `since`.
pub fn overdue(since: Timestamp, every: Duration, now: Timestamp) -> Duration {
    let allowed = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).saturating_mul(MISSED);
    Duration::from_millis(u64::try_from(now.since(since).saturating_sub(allowed)).unwrap_or(0))
}

/// When this host booted, as its clock shows it at `now` (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub fn booted(now: Timestamp) -> Timestamp {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.plus(up.tv_sec.saturating_mul(-1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;

    fn after(seconds: &[i64]) -> Vec<Timestamp> {
        let mut now = 1_700_000_000;
        let mut begins = vec![Timestamp::from_seconds(now)];
        for interval in seconds {
            now += interval;
            begins.push(Timestamp::from_seconds(now));
        }
        begins
    }

    fn run(begin: Timestamp) -> Run {
        Run {
            program: Program::Alerter,
            host: String::new(),
            begin,
            end: Some(begin),
            done: 0,
            failed: 0,
            whole: true,
        }
    }

    #[test]
    fn a_habit_is_learnt_and_chance_is_not() {
        let learnt = |seconds: &[i64]| habit(&after(seconds)).map(|every| every.as_secs());
        assert_eq!(learnt(&[300; 5]), None, "too few");
        assert_eq!(learnt(&[300; 6]), Some(300));
        assert_eq!(learnt(&[301, 299, 300, 298, 303, 300]), Some(300), "cron begins a little late");
        assert_eq!(learnt(&[300, 300, 120, 180, 300, 300, 300, 300]), Some(300), "one run by hand");
        assert_eq!(learnt(&[300, 300, 300, 86_400, 300, 300, 300]), Some(300), "an outage");
        assert_eq!(learnt(&[5, 20, 3, 4, 7, 6, 5]), None, "somebody tries things out");
        assert_eq!(learnt(&[40, 900, 3000, 10, 400, 77, 250]), None, "no habit");
        assert_eq!(learnt(&[60; 20]), Some(60));
    }

    #[test]
    fn three_missed_runs_are_too_many() {
        let runs: Vec<Run> = after(&[300; 6]).into_iter().rev().map(run).collect();
        let last = runs[0].begin;
        let late = |runs: &[Run], every, booted, seconds: i64| {
            let found = punctuality(runs, every, booted, last.plus(1000 * seconds))?;
            assert_eq!(found.last, last);
            Some((found.every.as_secs(), found.overdue.as_secs()))
        };
        assert_eq!(late(&runs, None, None, 900), Some((300, 0)));
        assert_eq!(late(&runs, None, None, 901), Some((300, 1)));
        assert_eq!(
            late(&runs, Some(MINUTE), None, 901),
            Some((60, 721)),
            "what is said goes before what is learnt"
        );
        assert_eq!(late(&runs[..1], None, None, 901), None, "nobody knows how often");
        assert_eq!(late(&[], Some(MINUTE), None, 901), None, "it never ran");
        assert_eq!(late(&runs, None, Some(last.plus(5_000_000)), 5900), Some((300, 0)), "the host was off");
        assert_eq!(late(&runs, None, Some(last.plus(5_000_000)), 5901), Some((300, 1)));
        let part = Run { whole: false, ..run(last.plus(800_000)) };
        assert_eq!(late(&[&[part], &runs[..]].concat(), None, None, 901), Some((300, 1)), "a part is no run");
        assert_eq!(late(&runs, None, None, -200), Some((300, 0)), "the clock was put back a little");
    }

    #[test]
    fn a_run_that_did_not_end_is_none() {
        let minute = |minute: i64| Timestamp::from_seconds(1_700_000_000 + 60 * minute);
        let found = |ended: &[i64], killed: &[i64], now: i64| {
            let killed = killed.iter().map(|at| Run { end: None, ..run(minute(*at)) });
            let runs: Vec<Run> = ended.iter().map(|at| run(minute(*at))).chain(killed).collect();
            let found = punctuality(&runs, Some(MINUTE * 5), None, minute(now)).expect("it ran");
            (found.last.since(minute(0)) / 60_000, found.unended, found.overdue.as_secs() / 60)
        };
        assert_eq!(found(&[0, 5], &[10], 12), (10, 0, 0), "it is under way");
        assert_eq!(found(&[0, 5], &[10], 26), (10, 0, 1), "it hangs");
        assert_eq!(found(&[0, 5], &[10, 15], 16), (5, 2, 0));
        assert_eq!(found(&[0, 5], &[10, 15, 20], 21), (5, 3, 1), "each is killed");
        assert_eq!(found(&[0, 5, 25], &[10, 15, 20], 26), (25, 0, 0), "it works again");
        assert_eq!(found(&[], &[0, 5, 10, 15], 16), (0, 4, 1), "none ever ended");
        assert_eq!(found(&[0, 5, 90_000], &[], 21), (5, 0, 1), "the clock was ahead");
    }

    #[test]
    fn this_host_booted_in_the_past() {
        let now = Timestamp::from(std::time::SystemTime::now());
        assert!(booted(now) < now);
    }
}
