//! What keeps a run's lease while the run does other things.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::fault::{Fault, refused};
use super::link::{Link, Mode, Tried, Tx};
use super::run_log::{CLOCK, millis};
use super::values::params;

/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A thread that renews a run's lease over a connection of its own, until it is dropped or the run is over.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Its end tells the thread to end. Nobody waits for that: it may be waiting for a server that is gone.
    _alive: Sender<()>,
}

impl Keeper {
    /// Begins to keep the lease of `run_id`.
    pub(super) fn start(link: Link, run_id: i64, lease: Duration) -> Result<Self, Fault> {
        let (alive, over) = mpsc::channel::<()>();
        let keep = move || {
            let (mut link, mut pause) = (link, lease / 3);
            while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = lease / 3;
                match link.once(Mode::Write, &mut |tx| renew(tx, run_id, lease)) {
                    Tried::Committed(true) => {}
                    // The next thing that the run writes is refused, and says so.
                    Tried::Committed(false) => break,
                    Tried::Unsure(_, fault) | Tried::Failed(fault) => {
                        log::debug!("storage: the lease is not renewed: {}", fault.error);
                        // Two thirds of the lease are left for a server that does not answer, or another one.
                        pause = AGAIN;
                    }
                }
            }
        };
        thread::Builder::new()
            .name("lease".to_owned())
            .spawn(keep)
            .map_err(|error| refused(format!("no thread can be started: {error}")))?;
        Ok(Self { _alive: alive })
    }
}

/// Renews the lease; gives whether the run goes on.
fn renew(tx: &mut Tx<'_>, run_id: i64, lease: Duration) -> Result<bool, Fault> {
    let renew =
        format!("UPDATE run SET until = {CLOCK} + $2 WHERE run_id = $1 AND NOT over AND finish IS NULL");
    Ok(tx.execute(&renew, params![run_id, millis(lease)])? > 0)
}
