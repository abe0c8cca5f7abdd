//! What the alerter has not looked at: the order in which it is given that, and its rows read. Pure.

use model::wire::from_cbor;
use model::{ClientUid, Timestamp};

use crate::payload::{self, Values};
use crate::{Entry, Mark, Unevaluated};

/// The most bytes of reports that one call gives: a batch of large reports is cut short.
pub(crate) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// An attempt as the queue has it: the begin of the collector's run, its own time, its number.
pub(crate) type Queued = (i64, i64, i64);

/// What is never split: one report, or all attempts of one run of the collector. Each with its time.
pub(crate) type Piece = Vec<(i64, Mark)>;

/// The runs whose attempts are to be read, of those that are over by when their last attempt ended: as many as come to
/// `limit` attempts. Runs of several hosts overlap, so that goes before when they began.
pub(crate) fn enough<E>(
    runs: impl Iterator<Item = Result<(i64, i64), E>>,
    limit: usize,
) -> Result<Vec<i64>, E> {
    let (mut enough, mut attempts) = (Vec::new(), 0);
    for run in runs {
        if attempts >= limit {
            break;
        }
        let (run, count) = run?;
        enough.push(run);
        attempts += usize::try_from(count).unwrap_or(0);
    }
    Ok(enough)
}

/// Merges reports, in order of time and then of number, with the attempts of runs that are over, run by run in the order in
/// which those ended, into pieces that come to `limit` entries or a little more: the last run is whole. A run stands where
/// its last attempt does; of one time reports come first, since an attempt ends after what it brought.
pub(crate) fn merge<E>(
    reports: Vec<(i64, i64)>,
    attempts: impl Iterator<Item = Result<Queued, E>>,
    limit: usize,
) -> Result<Vec<Piece>, E> {
    let mut reports = reports.into_iter().map(|(time, id)| (time, Mark::Report(id))).peekable();
    let mut runs = Runs { attempts, next: None };
    let mut run = None;
    let (mut pieces, mut entries) = (Vec::new(), 0);
    while entries < limit {
        if run.is_none() {
            run = runs.next()?;
        }
        let ends = run.as_ref().and_then(|run: &Piece| run.iter().map(|(time, _)| *time).max());
        let report = reports.next_if(|(time, _)| ends.is_none_or(|ends| *time <= ends));
        let Some(piece) = report.map(|report| vec![report]).or_else(|| run.take()) else { break };
        entries += piece.len();
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Attempts by the runs that they belong to.
struct Runs<I> {
    attempts: I,
    /// The first of the run after.
    next: Option<Queued>,
}

impl<E, I: Iterator<Item = Result<Queued, E>>> Runs<I> {
    fn next(&mut self) -> Result<Option<Piece>, E> {
        let Some(first) = self.next.take().map(Ok).or_else(|| self.attempts.next()) else { return Ok(None) };
        let (run, at, id) = first?;
        let mut piece = vec![(at, Mark::Attempt(id))];
        for attempt in self.attempts.by_ref() {
            let attempt = attempt?;
            if attempt.0 != run {
                self.next = Some(attempt);
                break;
            }
            piece.push((attempt.1, Mark::Attempt(attempt.2)));
        }
        Ok(Some(piece))
    }
}

/// An entry as the backends' rows say it.
pub(crate) struct Row {
    pub(crate) mark: Mark,
    pub(crate) uid: [u8; 16],
    pub(crate) name: String,
    pub(crate) event_time: i64,
    /// A report's payload, or an attempt's outcome as CBOR.
    pub(crate) blob: Vec<u8>,
    /// Of an attempt: when its run began, whether that was about all clients, and where it ran.
    pub(crate) run: (i64, bool, String),
}

impl Row {
    /// Reads it; a report's values are still to be named, and put where it has no samples yet.
    pub(crate) fn read(self) -> Result<(Unevaluated, Values), String> {
        let fault = |fault: String| format!("{:?} of {}: {fault}", self.mark, self.name);
        let (entry, values) = match self.mark {
            Mark::Report(_) => {
                let (values, extras) = payload::decode(&self.blob).map_err(fault)?;
                (Entry::Report { samples: Vec::new(), evidence: extras.evidence }, values)
            }
            Mark::Attempt(_) => {
                let outcome = from_cbor(&self.blob).map_err(fault)?;
                let (run, whole, host) = self.run;
                (Entry::Attempt { outcome, run: Timestamp(run), whole, host }, Vec::new())
            }
        };
        let client_name = self.name.parse()?;
        let (client, event_time) = (ClientUid(self.uid), Timestamp(self.event_time));
        Ok((Unevaluated { mark: self.mark, client, client_name, event_time, entry }, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(reports: &[(i64, i64)], attempts: &[Queued], limit: usize) -> Vec<Piece> {
        let attempts = attempts.iter().map(|attempt| Ok::<_, ()>(*attempt));
        merge(reports.to_vec(), attempts, limit).unwrap()
    }

    #[test]
    fn by_time_then_reports_then_number() {
        let pieces = merged(&[(1, 5), (2, 6), (2, 7)], &[(0, 0, 9), (2, 2, 1), (3, 3, 2)], 5);
        let expected = [
            (0, Mark::Attempt(9)),
            (1, Mark::Report(5)),
            (2, Mark::Report(6)),
            (2, Mark::Report(7)),
            (2, Mark::Attempt(1)),
        ];
        assert_eq!(pieces.concat(), expected);
    }

    #[test]
    fn a_run_is_whole_and_stands_at_its_end() {
        let attempts = [(10, 11, 1), (10, 12, 2), (10, 19, 3), (20, 21, 4)];
        let pieces = merged(&[(15, 1), (20, 2)], &attempts, 2);
        let run = vec![(11, Mark::Attempt(1)), (12, Mark::Attempt(2)), (19, Mark::Attempt(3))];
        assert_eq!(pieces, [vec![(15, Mark::Report(1))], run]);
        assert_eq!(merged(&[], &attempts, 1).len(), 1);
        assert_eq!(merged(&[], &attempts, 4).len(), 2);
        assert_eq!(merged(&[(9, 1)], &attempts, 0), Vec::<Piece>::new());
    }
}
