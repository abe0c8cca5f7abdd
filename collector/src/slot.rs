//! One slot of the supervisor: a worker process, the deadlines that it is held to, and what it brought so far.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use model::text::escape;
use model::wire::MAX_FETCH;
use model::{ClientName, Outcome, Phase};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::finished::{Finished, Hello, Incoming, Step};
use crate::found::Found;
use crate::job::{self, Job, Up, Way};
use crate::schedule::Window;

/// The client timeout that the phases' budgets are made for; a longer one stretches them.
const USUAL_TIMEOUT: Duration = Duration::from_secs(60);

/// How slow a network may be to get the probe across, in bytes a second.
const FLOOR_RATE: u64 = 64 * 1024;

/// How long a worker that is done may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// The most bytes that one worker may send up: what it fetches, decoded and encoded again, and its notes.
const MAX_UP: u64 = 4 * MAX_FETCH;

/// How long phases may take (collection.md, "One process per client").
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    timeout: Duration,
    upload: Duration,
}

impl Budget {
    /// `timeout` is the client's; `upload` the bytes of the probe.
    pub(crate) fn new(timeout: Duration, upload: usize) -> Self {
        let upload = Duration::from_secs((upload as u64).div_ceil(FLOOR_RATE)).max(Duration::from_secs(10));
        Self { timeout, upload }
    }

    /// The client's deadline.
    pub(crate) fn timeout(self) -> Duration {
        self.timeout
    }

    fn of(self, phase: Phase) -> Duration {
        let seconds = match phase {
            Phase::Dns | Phase::Connect => 5,
            Phase::Handshake | Phase::Auth => 15,
            Phase::Exec => 30,
            // Each secret's command is bounded by itself; the client's timeout bounds all.
            Phase::Start => 60,
            Phase::Upload => return self.upload,
        };
        let stretch = (self.timeout.as_secs_f64() / USUAL_TIMEOUT.as_secs_f64()).max(1.0);
        Duration::from_secs(seconds).mul_f64(stretch)
    }
}

/// One visit under way.
pub(crate) struct Slot {
    pub(crate) index: usize,
    name: ClientName,
    budget: Budget,
    begun: Instant,
    overall: Instant,
    phase: Phase,
    phase_ends: Instant,
    process: Option<Process>,
    ended: Option<(Outcome, Instant)>,
    finished: Finished,
}

struct Process {
    child: Child,
    output: ChildStdout,
    buffer: Vec<u8>,
    bytes: u64,
    killed: bool,
}

impl Slot {
    /// A slot whose job is still to be prepared.
    pub(crate) fn new(index: usize, name: ClientName, budget: Budget, now: Instant) -> Self {
        Self {
            index,
            name,
            budget,
            begun: now,
            overall: now + budget.timeout,
            phase: Phase::Start,
            phase_ends: now + budget.of(Phase::Start),
            process: None,
            ended: None,
            finished: Finished::nothing(index),
        }
    }

    /// Starts the worker and hands it its job; or takes note of why there is no job.
    pub(crate) fn launch(&mut self, job: Result<Job, Outcome>, now: Instant) {
        let launched = job.and_then(|job| {
            Process::spawn(&job)
                .map_err(|error| Outcome::WorkerFailed { detail: format!("it does not start: {error}") })
        });
        match launched {
            Ok(process) => self.process = Some(process),
            Err(outcome) => self.end(outcome, now),
        }
    }

    /// Where to wait for news of it.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|process| process.output.as_fd())
    }

    /// When its time is up.
    pub(crate) fn deadline(&self) -> Instant {
        match (&self.ended, &self.process) {
            (Some((_, ended)), Some(_)) => *ended + GRACE,
            (Some((_, ended)), None) => *ended,
            (None, _) => self.overall.min(self.phase_ends),
        }
    }

    /// Takes what the worker has sent; call it when there is something to read.
    pub(crate) fn read(&mut self, now: Instant) {
        let Some(process) = &mut self.process else { return };
        match process.fill() {
            Ok(0) => {
                let status = self.process.take().map(Process::reap);
                self.end(died(status), now);
                return;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => {
                return self.kill(Outcome::WorkerFailed { detail: error.to_string() }, now);
            }
        }
        while let Some(process) = &mut self.process {
            match job::take(&mut process.buffer) {
                Ok(Some((up, tail))) => self.take(up, tail, now),
                Ok(None) => break,
                Err(fault) => {
                    return self.kill(Outcome::WorkerFailed { detail: escape(&fault) }, now);
                }
            }
        }
        if self.process.as_ref().is_some_and(|process| process.bytes > MAX_UP) {
            self.kill(Outcome::TooLarge { detail: "its worker sent too much".to_owned() }, now);
        }
    }

    /// Kills it where its time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        if now >= self.deadline() {
            self.kill(Outcome::Timeout { phase: self.phase }, now);
        }
    }

    /// Ends it where the run's window ends. That says nothing of a client that had little time.
    pub(crate) fn cut(&mut self, window: Window, now: Instant) {
        if now >= window.end() && self.ended.is_none() {
            let outcome = if window.was_enough(self.begun) {
                Outcome::Timeout { phase: self.phase }
            } else {
                Outcome::NotReached
            };
            self.kill(outcome, now);
        }
    }

    /// Whether all is over: the worker is gone, and how it ended is known.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some() && self.process.is_none()
    }

    /// What came of it.
    pub(crate) fn into_finished(self) -> Finished {
        let (outcome, ended) = self.ended.unwrap_or((Outcome::NotReached, self.begun));
        Finished {
            outcome,
            at: SystemTime::now().into(),
            took: ended.saturating_duration_since(self.begun),
            ..self.finished
        }
    }

    /// The first word on how it ended counts.
    fn end(&mut self, outcome: Outcome, now: Instant) {
        self.ended.get_or_insert((outcome, now));
    }

    fn kill(&mut self, outcome: Outcome, now: Instant) {
        self.process.take().map(Process::reap);
        self.end(outcome, now);
    }

    fn take(&mut self, up: Up, tail: Vec<u8>, now: Instant) {
        match up {
            Up::Phase(phase) => self.enter(phase, now),
            Up::Found(found) => self.find(found, now),
            Up::Note(text) => log::debug!("{} {}: {}", self.name, self.phase, escape(&text)),
            Up::Hello { clock, spool } => {
                log::debug!("{} {}: the probe streams spool {spool}", self.name, self.phase);
                self.finished.hello = Some(Hello { clock, spool, receipt: SystemTime::now().into() });
            }
            Up::Record { sequence, digest } => self.keep(sequence, digest, None, tail, now),
            Up::Quarantined { sequence, digest, reason } => {
                self.keep(sequence, digest, Some(&reason), tail, now);
            }
            Up::HostKey => self.finished.host_key = Some(tail),
            Up::Done { outcome, uploaded } => {
                self.finished.uploaded |= uploaded;
                self.end(outcome.bounded(), now);
            }
        }
    }

    fn find(&mut self, found: Found, now: Instant) {
        log::debug!("{} {}: {found}", self.name, self.phase);
        if let Found::Whole { oldest_key } = found {
            self.finished.oldest_key = Some(oldest_key);
        }
        self.finished.mark(now - self.begun, Step::Found(found));
    }

    fn keep(&mut self, sequence: u64, digest: [u8; 32], reason: Option<&str>, bytes: Vec<u8>, now: Instant) {
        let incoming = Incoming { sequence, digest, quarantined: reason.map(escape), bytes };
        if let Err(detail) = self.finished.keep(incoming) {
            self.kill(Outcome::WorkerFailed { detail }, now);
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        log::debug!("{} {phase}: begins after {} ms", self.name, (now - self.begun).as_millis());
        // An upload's time comes on top of the client's timeout, once.
        if phase == Phase::Upload && !self.finished.uploaded {
            self.finished.uploaded = true;
            self.overall += self.budget.upload;
        }
        self.finished.mark(now - self.begun, Step::Phase(phase));
        self.phase = phase;
        self.phase_ends = now + self.budget.of(phase);
    }
}

impl Process {
    /// This program again, in a process group of its own, with nothing of our environment but what it needs.
    fn spawn(job: &Job) -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("worker").env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        for name in ["HOME", "PATH", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Way::Ssh { credentials, .. } = &job.way
            && let Some(agent) = &credentials.agent
        {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let mut child = command.spawn()?;
        let handed = child.stdin.take().map(|mut input| job::write(&mut input, job, &[]));
        let output = child.stdout.take();
        if let (Some(Ok(())), Some(output)) = (&handed, output) {
            return Ok(Self { child, output, buffer: Vec::new(), bytes: 0, killed: false });
        }
        child.kill()?;
        let status = child.wait()?;
        let why = handed.and_then(Result::err).map_or_else(String::new, |error| format!("{error}; "));
        Err(io::Error::other(format!("{why}{status}")))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let count = self.output.read(&mut piece)?;
        self.buffer.extend(&piece[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    /// Kills what is left of its process group, then takes its exit status.
    fn reap(mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.child.wait()
    }

    fn kill(&mut self) {
        // Only until it was waited for does the number belong to it for certain.
        if self.killed {
            return;
        }
        self.killed = true;
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // No such group: it ended by itself and left nothing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A run that is given up takes its workers with it.
impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// How a worker ended that said nothing about it.
fn died(status: Option<io::Result<ExitStatus>>) -> Outcome {
    let detail = match status {
        Some(Ok(status)) => match status.signal() {
            Some(signal) => format!("it was killed by signal {signal}"),
            None => format!("it ended with status {}", status.code().unwrap_or_default()),
        },
        Some(Err(error)) => error.to_string(),
        None => "it is gone".to_owned(),
    };
    Outcome::WorkerFailed { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_the_designs_and_stretch_with_the_timeout() {
        let usual = Budget::new(Duration::from_secs(60), 500_000);
        let seconds = |budget: Budget, phase| budget.of(phase).as_secs();
        assert_eq!(seconds(usual, Phase::Connect), 5);
        assert_eq!(seconds(usual, Phase::Auth), 15);
        assert_eq!(seconds(usual, Phase::Exec), 30);
        assert_eq!(seconds(usual, Phase::Upload), 10);
        assert_eq!(seconds(Budget::new(Duration::from_secs(60), 1_310_721), Phase::Upload), 21);
        assert_eq!(seconds(Budget::new(Duration::from_secs(120), 0), Phase::Exec), 60);
        assert_eq!(seconds(Budget::new(Duration::from_secs(2), 0), Phase::Exec), 30);
    }

    #[test]
    fn an_upload_extends_the_deadline_once() {
        let now = Instant::now();
        let name: ClientName = "a".parse().unwrap();
        let mut slot = Slot::new(0, name, Budget::new(Duration::from_secs(4), 0), now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(4));
        slot.enter(Phase::Upload, now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(10));
        slot.enter(Phase::Exec, now);
        slot.enter(Phase::Upload, now);
        assert_eq!(slot.overall, now + Duration::from_secs(14));
    }

    #[test]
    fn a_worker_that_was_taken_over_neither_paints_nor_floods() {
        let now = Instant::now();
        let slot = || Slot::new(0, "a".parse().unwrap(), Budget::new(Duration::from_secs(60), 0), now);
        let mut painter = slot();
        let detail = format!("\x1b[2J{}", "x".repeat(50_000));
        painter.take(Up::Done { outcome: Outcome::Dns { detail }, uploaded: false }, vec![], now);
        let Outcome::Dns { detail } = painter.into_finished().outcome else { panic!() };
        assert!(detail.starts_with("\\u{1b}[2J") && detail.len() < 2000, "{} bytes", detail.len());

        let mut liar = slot();
        liar.take(Up::Record { sequence: u64::MAX, digest: [0; 32] }, vec![], now);
        let liar = liar.into_finished();
        assert!(matches!(liar.outcome, Outcome::WorkerFailed { .. }) && liar.records.is_empty());
    }

    #[test]
    fn the_end_of_a_run_is_no_verdict_over_who_came_late() {
        let begin = Instant::now();
        let window = Window::new(begin, Duration::from_secs(100));
        let cut = |seconds: u64| {
            let start = begin + Duration::from_secs(seconds);
            let mut slot = Slot::new(0, "a".parse().unwrap(), Budget::new(Duration::from_secs(60), 0), start);
            slot.cut(window, begin + Duration::from_secs(89));
            assert!(!slot.is_over());
            slot.cut(window, begin + Duration::from_secs(90));
            slot.into_finished().outcome
        };
        assert_eq!(cut(10), Outcome::Timeout { phase: Phase::Start });
        assert_eq!(cut(60), Outcome::NotReached);
    }

    #[test]
    fn time_that_is_up_names_the_phase() {
        let now = Instant::now();
        let mut slot = Slot::new(0, "a".parse().unwrap(), Budget::new(Duration::from_secs(60), 0), now);
        slot.enter(Phase::Connect, now);
        slot.expire(now + Duration::from_secs(4));
        assert!(!slot.is_over());
        slot.expire(now + Duration::from_secs(5));
        assert!(slot.is_over());
        assert_eq!(slot.into_finished().outcome, Outcome::Timeout { phase: Phase::Connect });
    }
}
