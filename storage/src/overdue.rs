//! How often a program is run, and whether it is overdue: what the two programs know of each other by the run log.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;

use crate::Run;

/// The runs of each host that are looked at.
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

/// This host: what it missed before it booted does not count.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Its name in the run log.
    pub host: &'a str,
    /// When it booted, by the clock of the run log.
    pub booted: Timestamp,
}

/// How often the program is run, learnt on each host by itself; of several that differ, the longest.
pub fn usual(runs: &[Run]) -> Option<Duration> {
    by_host(runs).values().filter_map(|runs| habit(&begins(runs))).max()
}

/// How a program keeps to its interval at `now`, by its latest runs (the whole ones count) and `every`, which is learnt
/// from them where nobody says it. Of several hosts that run it, the most punctual counts: who left is not missed. A run
/// that did not end was killed: only the latest may be under way, and is believed to be where the one before it ended.
/// While this host was off nothing could run here, nor does a run count that begins in the future, which a clock that was
/// wrong has left. `None` where it never ran, or nobody knows how often it should.
pub fn punctuality(
    runs: &[Run],
    every: Option<Duration>,
    here: Option<Here<'_>>,
    now: Timestamp,
) -> Option<Punctuality> {
    let whole: Vec<Run> =
        runs.iter().filter(|run| run.whole && run.begin.since(now) <= AHEAD_MS).cloned().collect();
    let every = every.or_else(|| usual(&whole))?;
    let hosts = by_host(&whole).into_iter().map(|(host, runs)| {
        // Runs of an earlier version say no host: then there was but this one.
        let booted = here.filter(|here| host.is_empty() || here.host == host).map(|here| here.booted);
        of_host(&runs, every, booted, now)
    });
    hosts.min_by_key(|found| (found.overdue, std::cmp::Reverse(found.last)))
}

/// The hosts of whose runs none began in time, though such runs are there.
pub fn gone(runs: &[Run], every: Option<Duration>, now: Timestamp) -> Vec<String> {
    let Some(every) = every.or_else(|| usual(runs)) else { return Vec::new() };
    let hosts = by_host(runs).into_iter();
    let late =
        hosts.filter(|(host, runs)| !host.is_empty() && !of_host(runs, every, None, now).overdue.is_zero());
    late.map(|(host, _)| host.to_owned()).collect()
}

/// The runs of each host, newest first.
fn by_host(runs: &[Run]) -> BTreeMap<&str, Vec<&Run>> {
    let mut hosts: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        hosts.entry(&run.host).or_default().push(run);
    }
    for runs in hosts.values_mut() {
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.begin));
    }
    hosts
}

fn begins(runs: &[&Run]) -> Vec<Timestamp> {
    runs.iter().map(|run| run.begin).collect()
}

/// How one host keeps to `every`; there is a run at least.
fn of_host(runs: &[&Run], every: Duration, booted: Option<Timestamp>, now: Timestamp) -> Punctuality {
    let begins = begins(runs);
    let unended = match runs.iter().take_while(|run| run.end.is_none()).count() {
        1 => 0,
        count => count,
    };
    let last = begins.get(unended).or(begins.last()).copied().unwrap_or(now);
    Punctuality { every, last, unended, overdue: overdue(last.max(booted.unwrap_or(last)), every, now) }
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
        let late = |runs: &[Run], every, booted: Option<Timestamp>, seconds: i64| {
            let here = booted.map(|booted| Here { host: "", booted });
            let found = punctuality(runs, every, here, last.plus(1000 * seconds))?;
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
    fn of_several_hosts_the_most_punctual_counts() {
        let minute = |minute: i64| Timestamp::from_seconds(1_700_000_000 + 60 * minute);
        let on = |host: &str, minutes: &[i64]| -> Vec<Run> {
            let at = |at: &i64| Run { host: host.to_owned(), ..run(minute(*at)) };
            minutes.iter().map(at).collect()
        };
        let (a, b) = (on("a", &[0, 5, 10, 15, 20, 25, 30]), on("b", &[20, 25, 30, 35, 40]));
        let both = [&a[..], &b[..]].concat();
        let found = |runs: &[Run], here: Option<Here>, now: i64| {
            let found = punctuality(runs, None, here, minute(now)).expect("they ran");
            (found.every.as_secs() / 60, found.last.since(minute(0)) / 60_000, found.overdue.as_secs() / 60)
        };
        assert_eq!(found(&both, None, 50), (5, 40, 0), "a left, and b, which is new, goes by what a did");
        assert_eq!(found(&both, None, 57), (5, 40, 2), "nobody runs it any more");
        assert_eq!(gone(&both, None, minute(50)), ["a"]);
        assert_eq!(gone(&both, None, minute(40)), [""; 0]);
        let off = |host| Some(Here { host, booted: minute(56) });
        assert_eq!(found(&both, off("b"), 57), (5, 40, 0), "this host was off");
        assert_eq!(found(&both, off("c"), 57), (5, 40, 2), "that this host was off excuses no other");
    }

    #[test]
    fn this_host_booted_in_the_past() {
        let now = Timestamp::from(std::time::SystemTime::now());
        assert!(booted(now) < now);
    }
}
