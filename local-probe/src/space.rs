//! Asking file systems for their space, where any of them may never answer.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::{AskSpace, Space};

/// How long a mount that did not answer is left alone.
const SKIP_MILLIS: u64 = 3_600_000;

/// A mount that did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Its mount point.
    pub mount: String,
    /// When it was asked.
    pub asked: Timestamp,
}

impl Stuck {
    /// Whether it is still left alone at `now`; a clock that was set does not make that longer.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now.since(self.asked).unsigned_abs() < SKIP_MILLIS
    }
}

/// What became of one question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It answered.
    Space(io::Result<Space>),
    /// It did not answer in time.
    Stuck,
    /// Others took all the time there was.
    NotAsked,
}

/// How long is waited.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For one answer.
    pub(crate) each: Duration,
    /// For all together.
    pub(crate) all: Duration,
}

/// Asks for each path, in order. One thread asks; where it gets stuck it is left behind and another goes on.
pub(crate) fn ask_all(paths: &[PathBuf], ask: &AskSpace, patience: Patience) -> Vec<Answer> {
    let start = Instant::now();
    let mut answers = Vec::with_capacity(paths.len());
    while answers.len() < paths.len() {
        let Some(received) = start_asking(&paths[answers.len()..], ask) else { break };
        loop {
            let left = patience.all.saturating_sub(start.elapsed());
            match received.recv_timeout(patience.each.min(left)) {
                Ok(answer) => answers.push(Answer::Space(answer)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    answers.push(if left < patience.each { Answer::NotAsked } else { Answer::Stuck });
                    break;
                }
            }
        }
        if start.elapsed() >= patience.all {
            break;
        }
    }
    answers.resize_with(paths.len(), || Answer::NotAsked);
    answers
}

/// `None` where no thread can be started.
fn start_asking(paths: &[PathBuf], ask: &AskSpace) -> Option<mpsc::Receiver<io::Result<Space>>> {
    let (sender, receiver) = mpsc::channel();
    let (paths, ask) = (paths.to_vec(), AskSpace::clone(ask));
    let work = move || {
        for path in paths {
            if sender.send(ask(&path)).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(work).ok()?;
    Some(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_stuck_one_costs_only_itself() {
        let ask: AskSpace = Arc::new(|path| match path.to_str() {
            Some("/dead") => loop {
                std::thread::park();
            },
            Some("/refused") => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(Space::default()),
        });
        let paths: Vec<PathBuf> = ["/", "/dead", "/refused", "/last"].map(PathBuf::from).to_vec();
        let patience = Patience { each: Duration::from_secs(2), all: Duration::from_secs(600) };
        let answers = ask_all(&paths, &ask, patience);
        assert!(
            matches!(
                answers[..],
                [Answer::Space(Ok(_)), Answer::Stuck, Answer::Space(Err(_)), Answer::Space(Ok(_))]
            ),
            "{answers:?}"
        );
    }

    #[test]
    fn many_stuck_ones_do_not_take_for_ever() {
        let ask: AskSpace = Arc::new(|_| {
            loop {
                std::thread::park();
            }
        });
        let patience = Patience { each: Duration::from_millis(200), all: Duration::from_secs(2) };
        let answers = ask_all(&vec![PathBuf::from("/dead"); 100], &ask, patience);
        assert!(matches!(answers[0], Answer::Stuck));
        assert!(matches!(answers[99], Answer::NotAsked));
    }
}
