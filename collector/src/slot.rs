//! One slot of the supervisor: the processes of a visit, the deadlines that they are held to, and what they brought so
//! far.

use std::fmt::Display;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

use model::text::escape;
use model::{ClientName, Outcome, Phase};

use crate::budget::Budget;
use crate::chain::{Chain, unreachable};
use crate::finished::{Finished, Hello, Incoming, Step};
use crate::found::Found;
use crate::job::Up;
use crate::process::Read;
use crate::route::Route;
use crate::schedule::Window;

/// How long a worker that is done may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// The most bytes of a host key.
const MAX_KEY: usize = 16 * 1024;

/// The most things found at one hop that are kept.
const MAX_MET: usize = 4;

/// One visit under way.
pub(crate) struct Slot {
    pub(crate) index: usize,
    name: ClientName,
    budget: Budget,
    begun: Instant,
    overall: Instant,
    phase: Phase,
    phase_ends: Instant,
    chain: Chain,
    /// How it ended, on which leg, and when.
    ended: Option<(usize, Outcome, Instant)>,
    /// What is known of the hop that is being logged in to.
    met: Vec<String>,
    finished: Finished,
}

impl Slot {
    /// A slot whose route is still to be prepared.
    pub(crate) fn new(index: usize, name: ClientName, budget: Budget, now: Instant) -> Self {
        Self {
            index,
            name,
            budget,
            begun: now,
            overall: now + budget.timeout(),
            phase: Phase::Start,
            phase_ends: now + budget.of(Phase::Start),
            chain: Chain::default(),
            ended: None,
            met: Vec::new(),
            finished: Finished::nothing(index),
        }
    }

    /// Starts the first worker and hands it its job; or takes note of why there is no job.
    pub(crate) fn launch(&mut self, route: Result<Route, Outcome>, now: Instant) {
        match route.and_then(Chain::start) {
            Ok(chain) => self.chain = chain,
            Err(outcome) => self.end(0, outcome, now),
        }
    }

    /// Whom it visits, and since when.
    pub(crate) fn standing(&self) -> (&ClientName, Instant) {
        (&self.name, self.begun)
    }

    /// Where to wait for news of it.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.chain.outputs()
    }

    /// When its time is up.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.ended {
            Some((_, _, ended)) if self.chain.is_over() => *ended,
            Some((_, _, ended)) => *ended + GRACE,
            None => self.overall.min(self.phase_ends),
        }
    }

    /// Takes what its processes have sent; call it when there is something to read.
    pub(crate) fn read(&mut self, now: Instant) {
        // A bastion that fails takes what is behind it along: its own word comes first.
        for leg in 0..self.chain.len() {
            match self.chain.fill(leg) {
                Ok(Read::Nothing) => continue,
                Ok(Read::Some) => {}
                Ok(Read::End) => {
                    let outcome = self.chain.reap(leg);
                    return self.kill(leg, outcome, now);
                }
                Err(error) => {
                    let outcome = Outcome::WorkerFailed { detail: error.to_string() };
                    return self.kill(leg, self.chain.ended(leg, outcome), now);
                }
            }
            loop {
                match self.chain.word(leg) {
                    Ok(Some((up, tail))) => self.take(leg, up, tail, now),
                    Ok(None) => break,
                    Err(fault) => {
                        let outcome = Outcome::WorkerFailed { detail: escape(&fault) };
                        return self.kill(leg, self.chain.ended(leg, outcome), now);
                    }
                }
            }
            if self.chain.floods(leg) {
                let outcome = Outcome::TooLarge { detail: "its worker sent too much".to_owned() };
                return self.kill(leg, self.chain.ended(leg, outcome), now);
            }
        }
        if self.chain.listen() && self.ended.is_some() && self.chain.len() == 0 {
            self.blame_command();
        }
    }

    /// Gives it so much more time, which nobody had for it.
    pub(crate) fn postpone(&mut self, spent: Duration) {
        self.overall += spent;
        self.phase_ends += spent;
    }

    /// Kills it where its time is up.
    pub(crate) fn expire(&mut self, now: Instant) {
        if now >= self.deadline() {
            self.time_is_up(now);
        }
    }

    fn time_is_up(&mut self, now: Instant) {
        let leg = self.chain.len().saturating_sub(1);
        let outcome = self.chain.ended(leg, Outcome::Timeout { phase: self.phase });
        self.kill(leg, outcome, now);
        self.blame_command();
    }

    /// Ends it where the run's window ends. That says nothing of a client that had little time.
    pub(crate) fn cut(&mut self, window: Window, now: Instant) {
        if now >= window.end() && self.ended.is_none() {
            if window.was_enough(self.begun) {
                self.time_is_up(now);
            } else {
                self.kill(0, Outcome::NotReached, now);
            }
        }
    }

    /// Whether all is over: the processes are gone, and how it ended is known.
    pub(crate) fn is_over(&self) -> bool {
        self.ended.is_some() && self.chain.is_over()
    }

    /// What came of it.
    pub(crate) fn into_finished(self) -> Finished {
        let (_, outcome, ended) = self.ended.unwrap_or((0, Outcome::NotReached, self.begun));
        Finished {
            outcome,
            at: SystemTime::now().into(),
            took: ended.saturating_duration_since(self.begun),
            ..self.finished
        }
    }

    /// The first word on how it ended counts.
    fn end(&mut self, leg: usize, outcome: Outcome, now: Instant) {
        self.ended.get_or_insert((leg, outcome, now));
    }

    /// Ends it with `outcome`, which came about on `leg`, and kills the workers. A command that may be to blame has a
    /// moment to end by itself and say why.
    fn kill(&mut self, leg: usize, outcome: Outcome, now: Instant) {
        self.end(leg, outcome, now);
        self.chain.kill();
        if !self.is_of_command() {
            self.chain.tale();
        } else if self.chain.listen() {
            self.blame_command();
        }
    }

    fn is_of_command(&self) -> bool {
        self.ended.as_ref().is_some_and(|(leg, outcome, _)| self.chain.is_of_command(*leg, outcome))
    }

    /// Kills the command; where nothing came through it, that is how the visit ended.
    fn blame_command(&mut self) {
        let blamed = self.is_of_command();
        let (Some(tale), Some((leg, outcome, _))) = (self.chain.tale(), &mut self.ended) else { return };
        if blamed {
            let detail = format!("{}; {tale}", outcome.innermost().message());
            *outcome = self.chain.ended(*leg, Outcome::ProxyCommand { detail });
        }
    }

    fn take(&mut self, leg: usize, up: Up, tail: Vec<u8>, now: Instant) {
        let acted = match up {
            Up::Phase(phase) => {
                self.enter(leg, phase, now);
                Ok(())
            }
            Up::Found(found) => {
                self.find(leg, found, now);
                Ok(())
            }
            Up::Note(text) => {
                self.tell(leg, &escape(&text), now);
                Ok(())
            }
            Up::HostKey if tail.len() > MAX_KEY => {
                let detail = format!("it shows a host key of {} bytes", tail.len());
                Err(self.chain.ended(leg, Outcome::WorkerFailed { detail }))
            }
            Up::HostKey => {
                self.finished.host_key = Some((leg, tail));
                Ok(())
            }
            Up::Dial => self.chain.dial(leg),
            Up::Open => self.chain.opened(leg),
            Up::Unreachable { detail } => {
                let outcome = unreachable(self.chain.hop(leg), &detail);
                Err(self.chain.ended(leg + 1, outcome.bounded()))
            }
            Up::Ready => self.go_on(leg, now),
            // Where it happened is for us to say, by who says it.
            Up::Done { outcome, uploaded } => {
                self.done(leg, outcome.innermost().clone().bounded(), uploaded, now)
            }
            Up::Hello { .. } | Up::Record { .. } | Up::Quarantined { .. } if !self.chain.is_last(leg) => {
                let detail = "it brings records, and is a bastion's".to_owned();
                Err(self.chain.ended(leg, Outcome::WorkerFailed { detail }))
            }
            Up::Hello { clock, spool } => {
                self.finished.hello = Some(Hello { clock, spool, receipt: SystemTime::now().into() });
                Ok(())
            }
            Up::Record { sequence, digest } => self.keep(sequence, digest, None, tail),
            Up::Quarantined { sequence, digest, reason } => self.keep(sequence, digest, Some(&reason), tail),
        };
        if let Err(outcome) = acted {
            self.kill(leg, outcome, now);
        }
    }

    /// The worker of `leg` says how it ended. A bastion's ends by itself only where it fails.
    fn done(&mut self, leg: usize, outcome: Outcome, uploaded: bool, now: Instant) -> Result<(), Outcome> {
        if matches!(outcome, Outcome::HostKeyUnknown { .. })
            && self.ended.is_none()
            && let Some((_, key)) = self.finished.host_key.take_if(|(shown, _)| *shown == leg)
        {
            match self.chain.accept(leg, &key) {
                Some(accepted) => {
                    self.renew(now);
                    return accepted;
                }
                None => self.finished.host_key = Some((leg, key)),
            }
        }
        if !self.chain.is_last(leg) && outcome.is_collected() {
            let detail = "its worker ended before the visit".to_owned();
            return Err(self.chain.ended(leg, Outcome::WorkerFailed { detail }));
        }
        let ended = self.chain.ended(leg, outcome);
        if !self.chain.is_last(leg) {
            return Err(ended);
        }
        self.finished.uploaded |= uploaded;
        self.end(leg, ended, now);
        Ok(())
    }

    /// A hop is logged in to: the next worker begins.
    fn go_on(&mut self, leg: usize, now: Instant) -> Result<(), Outcome> {
        self.chain.go_on(leg)?;
        let hop = self.chain.hop(leg).unwrap_or_default().to_owned();
        self.tell(leg, &"passed", now);
        let met = std::mem::take(&mut self.met).join("; ");
        self.finished.mark(now - self.begun, Step::Hop { hop, met });
        self.renew(now);
        Ok(())
    }

    /// A worker begins.
    fn renew(&mut self, now: Instant) {
        self.met.clear();
        self.phase = Phase::Start;
        self.phase_ends = now + self.budget.of(Phase::Start);
    }

    /// Whom a word of `leg` is about, for log lines.
    fn place(&self, leg: usize) -> String {
        match self.chain.hop(leg) {
            Some(hop) => format!("{} via {hop}", self.name),
            None => self.name.to_string(),
        }
    }

    /// One line of the walk, for whoever runs with `-v`.
    fn tell(&self, leg: usize, text: &dyn Display, now: Instant) {
        log::debug!("{}: +{:.3} s  {text}", self.place(leg), (now - self.begun).as_secs_f64());
    }

    fn find(&mut self, leg: usize, found: Found, now: Instant) {
        self.tell(leg, &found, now);
        if !self.chain.is_last(leg) {
            if matches!(found, Found::HostKey { .. } | Found::Login { .. }) && self.met.len() < MAX_MET {
                self.met.push(found.to_string());
            }
            return;
        }
        if let Found::Whole { oldest_key } = found {
            self.finished.oldest_key = Some(oldest_key);
        }
        self.finished.mark(now - self.begun, Step::Found(found));
    }

    fn keep(
        &mut self,
        sequence: u64,
        digest: [u8; 32],
        reason: Option<&str>,
        bytes: Vec<u8>,
    ) -> Result<(), Outcome> {
        let incoming = Incoming { sequence, digest, quarantined: reason.map(escape), bytes };
        self.finished.keep(incoming).map_err(|detail| Outcome::WorkerFailed { detail })
    }

    fn enter(&mut self, leg: usize, phase: Phase, now: Instant) {
        let last = self.chain.is_last(leg);
        if !self.chain.is_newest(leg) || (!last && matches!(phase, Phase::Exec | Phase::Upload)) {
            return;
        }
        self.tell(leg, &doing(phase), now);
        // An upload's time comes on top of the client's timeout, once.
        if phase == Phase::Upload && !self.finished.uploaded {
            self.finished.uploaded = true;
            self.overall += self.budget.upload();
        }
        if last {
            self.finished.mark(now - self.begun, Step::Phase(phase));
        }
        self.phase = phase;
        self.phase_ends = now + self.budget.of(phase);
    }
}

/// What a worker does in a phase, for people.
fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Start => "reading what logs in",
        Phase::Dns => "looking the name up",
        Phase::Connect => "connecting",
        Phase::Handshake => "exchanging keys",
        Phase::Auth => "logging in",
        Phase::Exec => "running the probe",
        Phase::Upload => "sending the probe",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_extends_the_deadline_once() {
        let now = Instant::now();
        let name: ClientName = "a".parse().unwrap();
        let mut slot = Slot::new(0, name, Budget::new(Duration::from_secs(4), 0), now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(4));
        slot.enter(0, Phase::Upload, now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(10));
        slot.enter(0, Phase::Exec, now);
        slot.enter(0, Phase::Upload, now);
        assert_eq!(slot.overall, now + Duration::from_secs(14));
        let before = slot.deadline();
        slot.postpone(Duration::from_secs(7));
        assert_eq!(slot.deadline(), before + Duration::from_secs(7));
    }

    #[test]
    fn a_worker_that_was_taken_over_neither_paints_nor_floods() {
        let now = Instant::now();
        let slot = || Slot::new(0, "a".parse().unwrap(), Budget::new(Duration::from_secs(60), 0), now);
        let mut painter = slot();
        let detail = format!("\x1b[2J{}", "x".repeat(50_000));
        painter.take(0, Up::Done { outcome: Outcome::Dns { detail }, uploaded: false }, vec![], now);
        let Outcome::Dns { detail } = painter.into_finished().outcome else { panic!() };
        assert!(detail.starts_with("\\u{1b}[2J") && detail.len() < 2000, "{} bytes", detail.len());

        let mut liar = slot();
        liar.take(0, Up::Record { sequence: u64::MAX, digest: [0; 32] }, vec![], now);
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
        slot.enter(0, Phase::Connect, now);
        slot.expire(now + Duration::from_secs(4));
        assert!(!slot.is_over());
        slot.expire(now + Duration::from_secs(5));
        assert!(slot.is_over());
        assert_eq!(slot.into_finished().outcome, Outcome::Timeout { phase: Phase::Connect });
    }

    /// A slot with a chain of a bastion and a client, of which nothing runs.
    fn behind_a_bastion(now: Instant) -> Slot {
        let mut slot = Slot::new(0, "a".parse().unwrap(), Budget::new(Duration::from_secs(60), 0), now);
        slot.chain = Chain::of_legs(&[Some("gate"), None]);
        slot
    }

    #[test]
    fn a_bastions_worker_that_was_taken_over_speaks_for_nobody_else() {
        let now = Instant::now();
        let clock = model::Clock { wall: model::Timestamp(1), boottime_ms: 1, boot_id: String::new() };
        let words = [
            Up::Record { sequence: 1, digest: [0; 32] },
            Up::Quarantined { sequence: 1, digest: [0; 32], reason: String::new() },
            Up::Hello { clock, spool: model::SpoolId([0; 16]) },
            Up::Done { outcome: Outcome::Collected, uploaded: true },
            Up::Dial,
        ];
        for word in words {
            let mut slot = behind_a_bastion(now);
            slot.take(0, word, vec![], now);
            let finished = slot.into_finished();
            let Outcome::Hop { hop, .. } = &finished.outcome else { panic!("{:?}", finished.outcome) };
            assert!(hop == "gate" && finished.records.is_empty() && finished.hello.is_none());
            assert!(!finished.outcome.is_collected() && !finished.uploaded);
        }
    }

    #[test]
    fn a_worker_that_was_taken_over_speaks_for_no_hop() {
        let now = Instant::now();
        let changed = Outcome::HostKeyChanged {
            offered: "a key".to_owned(),
            expected: "another".to_owned(),
            by: model::Objection::Line,
        };
        let forged = |hop: &str, ended| Outcome::Hop { hop: hop.to_owned(), ended: Box::new(ended) };
        for (leg, told) in [(1, changed.clone()), (0, forged("gate", changed.clone()))] {
            let mut slot = behind_a_bastion(now);
            let outcome = forged("gate", forged("elsewhere", changed.clone()));
            slot.take(leg, Up::Done { outcome, uploaded: false }, vec![], now);
            assert_eq!(slot.into_finished().outcome, told, "by the worker of leg {leg}");
        }
    }

    #[test]
    fn a_hops_time_is_no_stage_of_the_client() {
        let now = Instant::now();
        let mut slot = behind_a_bastion(now);
        slot.take(0, Up::Phase(Phase::Connect), vec![], now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(5));
        slot.take(0, Up::Phase(Phase::Upload), vec![], now);
        assert_eq!(slot.deadline(), now + Duration::from_secs(5), "a bastion has no upload");
        slot.expire(now + Duration::from_secs(5));
        let finished = slot.into_finished();
        let at = |ended| Outcome::Hop { hop: "gate".to_owned(), ended: Box::new(ended) };
        assert_eq!(finished.outcome, at(Outcome::Timeout { phase: Phase::Connect }));
        assert!(finished.steps.is_empty());
    }
}
