//! Plays a timeline: collects every five minutes, runs the alerter after it, and compares the mails that come.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use alerter::transport::directory::Directory;
use config::Settings;
use model::{Acknowledgement, Outcome, Phase, Sample, Silence, Timestamp};
use storage::{AlertStore as _, History as _, MemoryStore};

use super::language::{Answer, Event, Expected, Timeline, What};
use crate::common::{Fleet, settings};

/// Minutes between two collections.
const EVERY: i64 = 5;

/// A timeline's 00:00 is 2026-07-28 00:00 UTC: two hours before what the other tests call minute 0.
const MIDNIGHT: i64 = -120;

fn at(minute: i64) -> Timestamp {
    crate::common::at(MIDNIGHT + minute)
}

/// What a client does at present.
struct Machine {
    samples: Vec<Sample>,
    answer: Answer,
}

struct Stage {
    fleet: Fleet<MemoryStore>,
    settings: Settings,
    machines: BTreeMap<String, Machine>,
    mails: tempfile::TempDir,
    seen: BTreeSet<String>,
    off: Vec<What>,
}

/// Plays it; panics where a mail is missing, or one comes that nobody expects.
pub(crate) fn play(timeline: &Timeline) {
    let mut stage = Stage {
        fleet: Fleet::new(),
        settings: settings(""),
        machines: BTreeMap::new(),
        mails: tempfile::tempdir().unwrap(),
        seen: BTreeSet::new(),
        off: Vec::new(),
    };
    let mut events = timeline.events.iter().peekable();
    let mut expected = timeline.expected.clone();
    let mut faults = Vec::new();
    for minute in 0..=timeline.until {
        while let Some((_, event)) = events.next_if(|(when, _)| *when <= minute) {
            stage.happen(minute, event);
        }
        if minute % EVERY != 0 {
            continue;
        }
        stage.collect(minute);
        for (receiver, subject) in stage.run(minute) {
            let fits = |expected: &Expected| {
                expected.minute == minute
                    && subject.starts_with(&expected.subject)
                    && (expected.receiver.is_empty() || receiver == expected.receiver)
            };
            match expected.iter().position(fits) {
                Some(place) => {
                    expected.remove(place);
                }
                None => faults.push(format!("not expected: at {} to {receiver} {subject}", clock(minute))),
            }
        }
    }
    let missing = expected.iter().map(|missing| {
        format!("missing: line {}: at {} {}", missing.line, clock(missing.minute), missing.subject)
    });
    faults.extend(missing);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The same with mails of text alone: what they look like is not what timelines are about.
fn plain(mut settings: Settings) -> Settings {
    let mail = settings.mail.get_or_insert_with(|| config::Mail {
        transport: config::Transport::Directory("/nonexistent".into()),
        from: "fleet@example.org".to_owned(),
        admin: Vec::new(),
        mailing: config::Mailing::default(),
    });
    mail.mailing.text_only = Some(true);
    settings
}

fn clock(minute: i64) -> String {
    format!("{}d {:02}:{:02}", minute / 1440, minute % 1440 / 60, minute % 60)
}

impl Stage {
    fn happen(&mut self, minute: i64, event: &Event) {
        match event {
            Event::Config(text) => self.settings = plain(settings(text)),
            Event::Reports { client, samples } => self.report(client, samples),
            Event::Answer { client, answer } => self.machine(client).answer = *answer,
            Event::Power { what, on: true } => self.off.retain(|off| off != what),
            Event::Power { what, on: false } => self.off.push(*what),
            Event::Silence { target, minutes } => {
                let (from, until) = (at(minute), at(minute + minutes));
                let why = "disks are replaced".to_owned();
                let silence = Silence { id: 0, target: target.clone(), metric: None, from, until, why };
                self.fleet.store.add_silence(&silence).unwrap();
            }
            Event::Acknowledge { client, metric, minutes } => {
                let open = self.fleet.store.open_episodes().unwrap();
                let open = open.iter().find(|open| open.client_name == *client && open.metric == *metric);
                let episode = open.expect("there is such an episode").id.clone();
                let (from, until) = (at(minute), minutes.map(|minutes| at(minute + minutes)));
                let acknowledgement = Acknowledgement { episode, from, until, why: String::new() };
                self.fleet.store.acknowledge(&acknowledgement).unwrap();
            }
        }
    }

    fn machine(&mut self, client: &str) -> &mut Machine {
        let new = || Machine { samples: Vec::new(), answer: Answer::Collected };
        self.machines.entry(client.to_owned()).or_insert_with(new)
    }

    /// Replaces what the client reports of these series.
    fn report(&mut self, client: &str, samples: &[Sample]) {
        let machine = self.machine(client);
        for sample in samples {
            let is_same = |old: &Sample| old.metric == sample.metric && old.labels == sample.labels;
            machine.samples.retain(|old| !is_same(old));
            machine.samples.extend(Some(sample.clone()).filter(|sample| sample.value.is_finite()));
        }
    }

    fn collect(&mut self, minute: i64) {
        if self.off.contains(&What::Collector) {
            return;
        }
        for (client, machine) in &self.machines {
            let outcome = match machine.answer {
                Answer::Collected => {
                    // The uptime of a machine that was not told to have booted grows by itself.
                    let grown = |sample: &Sample| match sample.metric.as_str() {
                        "uptime" => Sample { value: sample.value + minute as f64 * 60.0, ..sample.clone() },
                        _ => sample.clone(),
                    };
                    self.fleet.collected(client, at(minute), machine.samples.iter().map(grown).collect());
                    continue;
                }
                Answer::Silent => Outcome::Collected,
                Answer::TimesOut => Outcome::Timeout { phase: Phase::Connect },
                Answer::Refuses => Outcome::Refused { detail: "connection refused".to_owned() },
                Answer::NotReached => Outcome::NotReached,
            };
            self.fleet.failed(client, MIDNIGHT + minute, outcome);
        }
    }

    /// The receivers and subjects of what a run sends.
    fn run(&mut self, minute: i64) -> Vec<(String, String)> {
        if self.off.contains(&What::Alerter) {
            return Vec::new();
        }
        // A way out that does not work: its directory lies below a file.
        let down = self.mails.path().join("file");
        let works = !self.off.contains(&What::Mail);
        if !works {
            std::fs::write(&down, "").unwrap();
        }
        let path = if works { self.mails.path().join("out") } else { down.join("out") };
        self.fleet.run(&self.settings, MIDNIGHT + minute, Some(&mut Directory(path)));
        let mut sent = Vec::new();
        let Ok(files) = std::fs::read_dir(self.mails.path().join("out")) else { return sent };
        for file in files.map(|file| file.unwrap().path()).filter(|file| file.extension().is_some()) {
            if self.seen.insert(file.display().to_string()) {
                sent.push(head(&file));
            }
        }
        sent.sort();
        sent
    }
}

/// Receiver and subject of a mail.
fn head(file: &Path) -> (String, String) {
    let text = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    (field("To:"), field("Subject:"))
}
