//! What stands between us and a client, stage by stage: by the same worker and the same code as a collection, but nothing
//! is stored, and no new host key accepted.

use std::sync::Arc;
use std::time::Duration;

use config::Client;
use envelope::Identity;
use model::wire::Purpose;
use model::{Body, ClientName, ClientUid, Outcome, Phase, Record};
use serde::Serialize;
use storage::ClientRow;

use crate::budget::Budget;
use crate::finished::{Finished, Step};
use crate::found::Found;
use crate::portions::Sharing;
use crate::prepare::{Errand, Preparer};
use crate::queue::Standing;
use crate::report::{counted, remedy, told};
use crate::route::{self, Route};
use crate::supervisor::{Visit, supervise};
use crate::trust::All;
use crate::{random, recipe};

/// One stage, as `--json` gives it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Stage {
    #[serde(rename = "stage")]
    name: &'static str,
    ok: bool,
    /// How long it took; `None` where it is but read off another.
    seconds: Option<f64>,
    /// What was found, or what is wrong.
    detail: String,
    /// What to do where something is wrong.
    remedy: String,
}

/// One client, as `--json` gives it.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    name: ClientName,
    ok: bool,
    stages: Vec<Stage>,
    /// The line for the client's own crontab.
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
}

/// Whom to check, and as whom: the row and the key pairs where the client was collected before.
pub(crate) struct Subject<'a> {
    /// The client.
    pub(crate) client: &'a Client,
    /// Its row and key pairs, newest last.
    pub(crate) known: Option<(ClientRow, Vec<Identity>)>,
}

/// Visits each. A client that was never collected is visited under an identity that is thrown away, and its spool is
/// removed again.
pub(crate) fn check(subjects: &[Subject<'_>], slots: usize, preparer: &Arc<Preparer>) -> Vec<Checked> {
    let asked = |subject: &Subject<'_>| {
        let (row, identities) = subject.known.clone().unwrap_or_else(|| stranger(subject.client));
        (subject.client.clone(), row, identities)
    };
    let asked: Arc<[_]> = subjects.iter().map(asked).collect();
    let visits: Vec<_> = subjects
        .iter()
        .map(|subject| Visit {
            name: subject.client.name.clone(),
            budget: Budget::new(subject.client.timeout, preparer.largest_probe()),
            processes: route::processes(subject.client),
            standing: Standing { failed_last: false, not_reached_last: false },
        })
        .collect();
    let collect = |errand: Errand| {
        let (asked, preparer) = (Arc::clone(&asked), Arc::clone(preparer));
        move |index: usize| {
            let (client, row, identities) = &asked[index];
            preparer.collect(client, row, identities, errand).map(Route::accepting_none)
        }
    };
    let prepare = collect(Errand { fresh: true, ..Errand::default() });
    let mut all = All(Vec::new());
    let order: Vec<_> = (0..visits.len()).collect();
    let Ok(()) = supervise(&visits, &order, slots, (None, Sharing::ALONE), prepare, &mut all);
    all.0.sort_by_key(|finished| finished.index);
    let spooled = |finished: &&Finished| subjects[finished.index].known.is_none() && finished.hello.is_some();
    let tidy: Vec<_> = all.0.iter().filter(spooled).map(|finished| finished.index).collect();
    let leave = collect(Errand { purpose: Purpose::Abandon, ..Errand::default() });
    let mut tidied = All(Vec::new());
    let Ok(()) = supervise(&visits, &tidy, slots, (None, Sharing::ALONE), leave, &mut tidied);
    for left in tidied.0.iter().filter(|finished| !finished.outcome.is_collected()) {
        let name = &subjects[left.index].client.name;
        log::warn!("{name}: the trial's spool could not be removed: {}", told(name, &left.outcome));
    }
    let checked = |finished: &Finished| {
        let subject = &subjects[finished.index];
        let stages = stages(&subject.client.name, finished);
        let uid = subject.known.as_ref().map(|(row, _)| row.uid);
        let cron = uid.and_then(|uid| cron(uid, finished));
        Checked { name: subject.client.name.clone(), ok: stages.iter().all(|stage| stage.ok), stages, cron }
    };
    all.0.iter().map(checked).collect()
}

fn stranger(client: &Client) -> (ClientRow, Vec<Identity>) {
    let row = ClientRow {
        name: client.name.clone(),
        uid: ClientUid(random::bytes()),
        last_event_time: None,
        stored: None,
        failed_last: false,
        not_reached_last: false,
        last_turn: None,
        keys: Vec::new(),
    };
    (row, vec![Identity::generate(1)])
}

impl Checked {
    /// Whether all went well.
    pub(crate) fn is_ok(&self) -> bool {
        self.ok
    }

    /// The table for a person.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![self.name.to_string()];
        for stage in &self.stages {
            let verdict = if stage.ok { "ok  " } else { "FAIL" };
            let seconds = stage.seconds.map_or_else(|| " ".repeat(8), |seconds| format!("{seconds:6.3} s"));
            lines.push(format!("  {verdict}  {:9}  {seconds}  {}", stage.name, stage.detail));
            if !stage.remedy.is_empty() {
                lines.push(format!("{:29}-> {}", "", stage.remedy));
            }
        }
        if let Some(cron) = &self.cron {
            lines.push("  the client's own crontab may sample while nobody collects:".to_owned());
            lines.push(format!("    {cron}"));
        }
        lines.join("\n")
    }
}

/// The object for a program.
pub(crate) fn json(clients: &[Checked]) -> String {
    #[derive(Serialize)]
    struct Object<'a> {
        version: u32,
        ok: bool,
        clients: &'a [Checked],
    }
    let object = Object { version: 1, ok: clients.iter().all(Checked::is_ok), clients };
    serde_json::to_string(&object).expect("texts and finite numbers have a form in JSON")
}

fn cron(uid: ClientUid, finished: &Finished) -> Option<String> {
    let probe = finished.steps.iter().find_map(|(_, step)| match step {
        Step::Found(Found::Probe { directory, .. }) if !directory.is_empty() => Some(directory),
        _ => None,
    })?;
    Some(recipe::cron_line(probe, &uid.to_string()))
}

/// The stages of a visit that ended: those that were passed, then the one that failed.
fn stages(name: &ClientName, finished: &Finished) -> Vec<Stage> {
    let mut stages = passed(finished);
    if finished.outcome == Outcome::Collected {
        return stages;
    }
    let failed = failed_in(finished);
    stages.retain(|stage| stage.name == HOP || place(stage.name) < place(failed));
    stages.push(Stage {
        name: failed,
        ok: false,
        seconds: phase_of(failed).map(|phase| seconds(spent(finished, phase))),
        detail: finished.outcome.message(),
        remedy: remedy(name, &finished.outcome),
    });
    stages
}

/// The stage of each server on the way.
const HOP: &str = "hop";

/// The names of all stages, in order; as many hops as there are.
const STAGES: [&str; 10] =
    [HOP, "dns", "connect", "host key", "login", "directory", "exec", "probe", "envelope", "clock"];

fn place(stage: &str) -> usize {
    STAGES.iter().position(|name| *name == stage).unwrap_or(STAGES.len())
}

fn phase_of(stage: &str) -> Option<Phase> {
    Some(match stage {
        "dns" => Phase::Dns,
        "connect" => Phase::Connect,
        "host key" => Phase::Handshake,
        "login" => Phase::Auth,
        "directory" => Phase::Upload,
        "exec" => Phase::Exec,
        _ => return None,
    })
}

fn passed(finished: &Finished) -> Vec<Stage> {
    let ok = |name, seconds, detail| Stage { name, ok: true, seconds, detail, remedy: String::new() };
    let timed = |stage, phase, detail| ok(stage, Some(seconds(spent(finished, phase))), detail);
    let sent = finished.steps.iter().any(|(_, step)| matches!(step, Step::Found(Found::Sent { .. })));
    let hops = hops(finished);
    let mut stages = Vec::new();
    for (after, step) in &finished.steps {
        let Step::Found(found) = step else { continue };
        stages.extend(match found {
            Found::Addresses(_) => vec![timed("dns", Phase::Dns, found.to_string())],
            Found::Connected(address) => vec![timed("connect", Phase::Connect, address.to_string())],
            Found::Proxied => vec![timed("connect", Phase::Connect, found.to_string())],
            Found::HostKey { shown, source } => {
                let (shown, source) = (model::text::escape(shown), model::text::escape(source));
                vec![timed("host key", Phase::Handshake, format!("{shown}, known from {source}"))]
            }
            Found::Login { by } => vec![timed("login", Phase::Auth, model::text::escape(by))],
            Found::Probe { version, directory, .. } => {
                let how = if sent { "the probe was sent there" } else { "the probe is there" };
                let directory = format!("{}: {how}", model::text::escape(directory));
                let version = format!("version {}{}", model::text::escape(version), platform(finished));
                let exec = spent_until(finished, Phase::Exec, *after);
                vec![
                    timed("directory", Phase::Upload, directory),
                    ok("exec", Some(seconds(exec)), "the probe answered".to_owned()),
                    ok("probe", None, version),
                    ok("envelope", Some(seconds(finished.took.saturating_sub(*after))), opened(finished)),
                    ok("clock", None, clock(finished)),
                ]
            }
            Found::Sent { .. } | Found::Whole { .. } | Found::Gone => Vec::new(),
        });
    }
    // What was tried again counts as it went last.
    let last =
        |at: usize, stage: &Stage| !stages[at + 1..].iter().any(|later: &Stage| later.name == stage.name);
    let keep: Vec<bool> = stages.iter().enumerate().map(|(at, stage)| last(at, stage)).collect();
    hops.into_iter()
        .chain(stages.into_iter().zip(keep).filter_map(|(stage, keep)| keep.then_some(stage)))
        .collect()
}

/// A stage for each hop that was passed, each from the end of the one before.
fn hops(finished: &Finished) -> Vec<Stage> {
    let mut begun = Duration::ZERO;
    let passed = finished.steps.iter().filter_map(|(after, step)| match step {
        Step::Hop { hop, met } => Some((*after, format!("{hop}: {met}"))),
        Step::Phase(_) | Step::Found(_) => None,
    });
    let stage = |(after, detail): (Duration, String)| {
        let took = after.saturating_sub(std::mem::replace(&mut begun, after));
        Stage { name: HOP, ok: true, seconds: Some(seconds(took)), detail, remedy: String::new() }
    };
    passed.map(stage).collect()
}

fn opened(finished: &Finished) -> String {
    let good = finished.records.iter().filter(|record| record.quarantined.is_none()).count();
    format!("{} opened; what is spooled stays, nothing is stored", counted(good as u64, "record"))
}

fn platform(finished: &Finished) -> String {
    let newest = finished.records.iter().rev().find(|record| record.quarantined.is_none());
    match newest.and_then(|record| Record::decode(&record.bytes).ok()).map(|record| record.body) {
        Some(Body::Report(report)) => {
            let host = report.host;
            let text = format!("{}, kernel {}, {}", host.os, host.kernel, host.arch);
            format!(" on {}", model::text::escape(&text))
        }
        _ => String::new(),
    }
}

/// How far the client's clock is off; empty where it did not say.
pub(crate) fn clock(finished: &Finished) -> String {
    let Some(hello) = &finished.hello else { return String::new() };
    let offset = hello.clock.wall.millis().saturating_sub(hello.receipt.millis());
    let side = if offset < 0 { "behind" } else { "ahead of" };
    format!("{:.1} s {side} ours; alerts go by ours", offset.unsigned_abs() as f64 / 1000.0)
}

/// The stage in which the visit failed.
fn failed_in(finished: &Finished) -> &'static str {
    let last = finished.steps.iter().rev().find_map(|(_, step)| match step {
        Step::Phase(phase) => Some(*phase),
        Step::Found(_) | Step::Hop { .. } => None,
    });
    let of_phase = |phase: Phase| match phase {
        Phase::Start | Phase::Auth => "login",
        Phase::Dns => "dns",
        Phase::Connect => "connect",
        Phase::Handshake => "host key",
        Phase::Upload => "directory",
        Phase::Exec => "exec",
    };
    match &finished.outcome {
        Outcome::Hop { .. } => HOP,
        Outcome::Dns { .. } => "dns",
        Outcome::Refused { .. } | Outcome::ProxyCommand { .. } => "connect",
        Outcome::HostKeyUnknown { .. }
        | Outcome::HostKeyChanged { .. }
        | Outcome::HostKeyNotKept { .. }
        | Outcome::KnownHosts { .. }
        | Outcome::NoCommonAlgorithm { .. } => "host key",
        Outcome::AuthRefused { .. } | Outcome::Credential { .. } => "login",
        Outcome::NoExec { .. } | Outcome::NoSpace { .. } => "directory",
        Outcome::NoShell { .. } | Outcome::ShellNoise { .. } | Outcome::WrongPlatform { .. } => "exec",
        Outcome::ProbeFailed { .. } => "probe",
        Outcome::Undecryptable { .. } | Outcome::Quarantined { .. } | Outcome::TooLarge { .. } => "envelope",
        Outcome::Timeout { phase } | Outcome::Disconnected { phase, .. } => of_phase(*phase),
        _ => of_phase(last.unwrap_or(Phase::Start)),
    }
}

/// How long a phase took, all its turns together.
fn spent(finished: &Finished, phase: Phase) -> Duration {
    spent_until(finished, phase, finished.took)
}

fn spent_until(finished: &Finished, phase: Phase, end: Duration) -> Duration {
    let begins: Vec<(Duration, Phase)> = finished
        .steps
        .iter()
        .filter_map(|(after, step)| if let Step::Phase(phase) = step { Some((*after, *phase)) } else { None })
        .collect();
    let mut total = Duration::ZERO;
    for (at, (after, entered)) in begins.iter().enumerate() {
        if *entered == phase {
            let next = begins.get(at + 1).map_or(end, |(next, _)| (*next).min(end));
            total += next.saturating_sub(*after);
        }
    }
    total
}

fn seconds(took: Duration) -> f64 {
    took.as_micros() as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finished::Hello;
    use model::{Clock, SpoolId, Timestamp};

    fn finished(outcome: Outcome, steps: Vec<(u64, Step)>) -> Finished {
        let steps = steps.into_iter().map(|(after, step)| (Duration::from_millis(after), step)).collect();
        Finished { outcome, took: Duration::from_millis(100), steps, ..Finished::nothing(0) }
    }

    fn shown(finished: &Finished) -> Vec<String> {
        let name = "web1".parse().unwrap();
        let line = |stage: &Stage| format!("{} {} {:?}", stage.name, stage.ok, stage.seconds);
        stages(&name, finished).iter().map(line).collect()
    }

    #[test]
    fn the_stage_that_failed_comes_last_with_its_remedy() {
        let refused = Outcome::AuthRefused { detail: "tried password".to_owned() };
        let steps = vec![
            (1, Step::Phase(Phase::Dns)),
            (2, Step::Found(Found::Addresses(vec![]))),
            (3, Step::Phase(Phase::Connect)),
            (4, Step::Found(Found::Connected("[::1]:22".parse().unwrap()))),
            (5, Step::Phase(Phase::Handshake)),
            (40, Step::Found(Found::HostKey { shown: "k".to_owned(), source: "f:1".to_owned() })),
            (41, Step::Phase(Phase::Auth)),
        ];
        let finished = finished(refused, steps);
        assert_eq!(
            shown(&finished),
            [
                "dns true Some(0.002)",
                "connect true Some(0.002)",
                "host key true Some(0.036)",
                "login false Some(0.059)"
            ]
        );
        let stages = stages(&"web1".parse().unwrap(), &finished);
        assert!(!stages[3].remedy.is_empty() && stages[3].detail.contains("tried password"));
    }

    #[test]
    fn a_clock_that_is_off_is_told_by_how_much() {
        let said = |wall: i64| {
            let theirs = Clock { wall: Timestamp(wall), boottime_ms: 0, boot_id: String::new() };
            let hello = Hello { clock: theirs, spool: SpoolId([0; 16]), receipt: Timestamp(1_000_000) };
            clock(&Finished { hello: Some(hello), ..Finished::nothing(0) })
        };
        assert_eq!(said(1_090_040), "90.0 s ahead of ours; alerts go by ours");
        assert_eq!(said(996_500), "3.5 s behind ours; alerts go by ours");
        assert_eq!(clock(&Finished::nothing(0)), "");
    }

    #[test]
    fn a_probe_that_had_to_be_sent_is_told_in_two_execs() {
        let probe = Found::Probe { version: "1".to_owned(), directory: "/d".to_owned(), spooled: 1 };
        let steps = vec![
            (0, Step::Phase(Phase::Exec)),
            (10, Step::Phase(Phase::Upload)),
            (30, Step::Found(Found::Sent { directory: "d".to_owned() })),
            (30, Step::Phase(Phase::Exec)),
            (70, Step::Found(probe)),
        ];
        let finished = finished(Outcome::Collected, steps);
        assert_eq!(
            shown(&finished),
            [
                "directory true Some(0.02)",
                "exec true Some(0.05)",
                "probe true None",
                "envelope true Some(0.03)",
                "clock true None"
            ]
        );
        assert_eq!(
            cron(ClientUid([0; 16]), &finished).unwrap(),
            format!("*/5 * * * *  /d/{}/sample >/dev/null 2>&1", "0".repeat(32))
        );
    }
}
