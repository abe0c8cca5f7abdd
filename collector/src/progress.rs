//! One line on the terminal that says how far a run is; rewritten as it goes, and gone at its end.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use model::ClientName;
use rustix::termios::tcgetwinsize;

/// How often the line is rewritten at most.
const EVERY: Duration = Duration::from_millis(100);

/// How many of those that are waited for are named, once nobody else is left.
const NAMED: usize = 3;

/// Moves to the line's beginning and clears it.
const CLEAR: &str = "\r\x1b[K";

/// The line, while it is shown; dropping it takes it away.
pub(crate) struct Progress {
    total: usize,
    done: usize,
    failed: usize,
    drawn: Option<Instant>,
}

impl Progress {
    /// The line of a run over `total` clients; `None` where no person looks at stderr.
    pub(crate) fn on_terminal(total: usize) -> Option<Self> {
        let blind = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        (io::stderr().is_terminal() && !blind).then_some(Self { total, done: 0, failed: 0, drawn: None })
    }

    /// Counts no more on so many: others have them.
    pub(crate) fn leave_out(&mut self, count: usize) {
        self.total = self.total.saturating_sub(count);
    }

    /// Counts one client.
    pub(crate) fn count(&mut self, collected: bool) {
        self.done += 1;
        self.failed += usize::from(!collected);
    }

    /// Shows how far it is. `running` are those under way and how long they have been, in any order.
    pub(crate) fn show<'a>(&mut self, running: impl Iterator<Item = (&'a ClientName, Duration)>) {
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        let mut running: Vec<_> = running.collect();
        running.sort_by_key(|(_, since)| std::cmp::Reverse(*since));
        let columns = tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col)).max(20);
        let line = line((self.done, self.failed, self.total), &running, columns - 1);
        // A terminal that is gone needs no line.
        let _ = write!(io::stderr(), "{CLEAR}{line}").and_then(|()| io::stderr().flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "{CLEAR}").and_then(|()| io::stderr().flush());
        }
    }
}

/// The line, at most `columns` wide. Names are those of config.xml: one column a byte. `running`: longest first.
fn line(
    (done, failed, total): (usize, usize, usize),
    running: &[(&ClientName, Duration)],
    columns: usize,
) -> String {
    let mut line = format!("{done} of {total} clients");
    if failed > 0 {
        let _ = write!(line, ", {failed} failed");
    }
    if !running.is_empty() {
        let _ = write!(line, ", {} under way", running.len());
    }
    if done + running.len() == total {
        for (at, (name, since)) in running.iter().take(NAMED).enumerate() {
            let _ = write!(line, "{} {name} {} s", if at == 0 { ":" } else { "," }, since.as_secs());
        }
    }
    line.truncate(columns);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_named_once_nobody_is_left() {
        let names: Vec<ClientName> = ["db1", "web1", "web2", "web3"].map(|name| name.parse().unwrap()).into();
        let running: Vec<_> =
            names.iter().zip([40, 12, 3, 2]).map(|(n, s)| (n, Duration::from_secs(s))).collect();
        assert_eq!(line((0, 0, 9), &[], 79), "0 of 9 clients");
        assert_eq!(line((3, 1, 9), &running, 79), "3 of 9 clients, 1 failed, 4 under way");
        assert_eq!(
            line((5, 0, 9), &running, 79),
            "5 of 9 clients, 4 under way: db1 40 s, web1 12 s, web2 3 s"
        );
        assert_eq!(line((5, 0, 9), &running, 20), "5 of 9 clients, 4 un");
        assert_eq!(line((9, 2, 9), &[], 79), "9 of 9 clients, 2 failed");
    }
}
