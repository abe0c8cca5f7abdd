//! The order in which the alerter is given what it has not looked at. Pure.

use crate::Mark;

/// The most bytes of reports that one call gives: a batch of large reports is cut short.
pub(crate) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Merges reports and attempts, each in order of time and then of number, into the first `limit` of both: of one time
/// reports come first, since an attempt ends after what it brought.
pub(crate) fn merge(reports: Vec<(i64, i64)>, attempts: Vec<(i64, i64)>, limit: usize) -> Vec<(i64, Mark)> {
    let reports = reports.into_iter().map(|(time, id)| (time, Mark::Report(id)));
    let attempts = attempts.into_iter().map(|(time, id)| (time, Mark::Attempt(id)));
    let mut merged: Vec<(i64, Mark)> = reports.chain(attempts).collect();
    // `Mark`'s order has reports before attempts.
    merged.sort_unstable();
    merged.truncate(limit);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_reports_then_number() {
        let merged = merge(vec![(1, 5), (2, 6), (2, 7)], vec![(0, 9), (2, 1), (3, 2)], 5);
        let expected = [
            (0, Mark::Attempt(9)),
            (1, Mark::Report(5)),
            (2, Mark::Report(6)),
            (2, Mark::Report(7)),
            (2, Mark::Attempt(1)),
        ];
        assert_eq!(merged, expected);
    }
}
