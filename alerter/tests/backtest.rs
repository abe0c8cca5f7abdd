//! `fleet-alerter backtest` over histories from files and from the storage.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use chrono::{DateTime, SecondsFormat};
use common::{Fleet, at, sample};
use serde_json::{Value, json};
use storage::SqliteStore;
use tempfile::TempDir;

/// 2026-01-01 00:00 UTC, in seconds.
const NEW_YEAR: i64 = 1_767_225_600;

/// A directory with config.xml and a history.
struct Desk(TempDir);

impl Desk {
    fn new(config: &str, history: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.xml"), format!("<config>{config}</config>")).unwrap();
        fs::write(directory.path().join("history.csv"), history).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn backtest(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
        command.arg("backtest").args(arguments).args(["--config", &self.path("config.xml")]);
        command.env("TZ", "UTC").env_remove("RUST_LOG").current_dir(self.0.path()).output().unwrap()
    }

    fn json(&self) -> Value {
        let output = self.backtest(&["--from", "history.csv", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Rows of one series, one value every `step` seconds from the new year on.
fn rows(text: &mut String, client: &str, series: &str, step: i64, values: impl IntoIterator<Item = f64>) {
    for (i, value) in (0..).zip(values) {
        let _ = writeln!(text, "{client},{series},{},{value}", time(NEW_YEAR + i * step));
    }
}

fn header() -> String {
    "client,metric,labels,time,value\n".to_owned()
}

const WEB1: &str = r#"<client name="web1" ip="127.0.0.1" connection="local" mail="ops@example.org"/>"#;

#[test]
fn the_shipped_rules_say_nothing_of_a_spike_and_tell_a_real_episode_once() {
    let mut history = header();
    // Every five minutes: a spike of ten minutes, then an hour that is real, then a disk.
    let cpu = [vec![20.0; 12], vec![99.0; 3], vec![20.0; 12], vec![97.0; 12], vec![20.0; 12]].concat();
    rows(&mut history, "web1", "cpu,", 300, cpu);
    let disk = [vec![50.0; 10], vec![85.0; 10], vec![92.5; 10], vec![50.0; 21]].concat();
    rows(&mut history, "web1", "disk,mount=/var", 300, disk);
    let answer = Desk::new(WEB1, &history).json();
    assert_eq!(
        answer,
        json!({
            "episodes": [
                {"client": "web1", "type": "disk", "object": "/var", "severity": "critical",
                 "begin": "2026-01-01T00:50:00Z", "fired": "2026-01-01T01:00:00Z", "end": "2026-01-01T02:30:00Z", "peak": 92.5},
                {"client": "web1", "type": "cpu", "object": "", "severity": "warning",
                 "begin": "2026-01-01T02:15:00Z", "fired": "2026-01-01T02:30:00Z", "end": "2026-01-01T03:15:00Z", "peak": 97.0},
            ],
            // The disk's problem, that it is worse, its end together with the problem of the cpu, and the end of that.
            "mails": 4,
        })
    );
}

#[test]
fn what_is_open_at_the_end_has_no_end() {
    let mut history = header();
    rows(&mut history, "web1", "disk,mount=/var", 3600, vec![95.0; 40]);
    let answer = Desk::new(WEB1, &history).json();
    assert_eq!(answer["episodes"][0]["end"], Value::Null);
    // One problem, and a reminder every twelve hours.
    assert_eq!(answer["mails"], 4);
}

#[test]
fn a_bad_history_is_told_line_by_line() {
    let desk = Desk::new(
        WEB1,
        "client,metric,labels,time,value\nweb2,cpu,,2026-01-01T00:00:00Z,1\nweb1,cpu,,now,1\n",
    );
    let output = desk.backtest(&["--from", "history.csv"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let missing = desk.backtest(&["--from", "nothing.csv"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("nothing.csv: No such file"));
}

#[test]
fn a_rule_is_tried_on_what_is_stored() {
    let desk = Desk::new("", "");
    let (storage, config) = (desk.path("state/fleet.db"), desk.path("config.xml"));
    let client = common::client("web1", "ops@example.org");
    fs::write(config, format!("<config><storage url=\"sqlite://{storage}\"/>{client}</config>")).unwrap();
    let mut fleet = Fleet::with(SqliteStore::open(Path::new(&storage)).unwrap());
    // The alerter's clock is the real one: the history ends now.
    let now = model::Timestamp::from(std::time::SystemTime::now());
    let ago = |minutes: i64| now.plus(-minutes * 60_000);
    for (minutes, value) in [(90, 50.0), (60, 85.0), (30, 50.0)] {
        fleet.collected("web1", ago(minutes), vec![sample("disk", "/var", value)]);
    }
    fleet.collected("web1", at(-100_000_000), vec![sample("disk", "/var", 99.0)]);
    drop(fleet);
    let said = |arguments: &[&str]| {
        let output = desk.backtest(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(said(&[]).contains("3 reports from "), "{}", said(&[]));
    assert!(said(&[]).contains("1 episode, 2 mails"));
    let tried = said(&["--rule", r#"<alert type="disk" limit="90%"/>"#]);
    assert!(tried.contains("0 episodes, 0 mails"), "{tried}");
    let wrong = desk.backtest(&["--rule", r#"<alert type="disc" limit="90%"/>"#]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("did you mean \"disk\"?"));
    // It is one rule, however many clients there are, and knows the windows of config.xml.
    let clients = [client.as_str(), &common::client("db2", "dba@example.org")].concat();
    let window = "<window name=\"night\" daily=\"00:00-23:59\"/>";
    let text = format!("<config><storage url=\"sqlite://{storage}\"/>{window}{clients}</config>");
    fs::write(desk.path("config.xml"), text).unwrap();
    let twice =
        String::from_utf8(desk.backtest(&["--rule", "<alert type=\"disc\" limit=\"90%\"/>"]).stderr).unwrap();
    assert_eq!(twice.matches("did you mean").count(), 1, "{twice}");
    assert!(twice.contains("2 | <alert type=\"disc\" limit=\"90%\"/>"), "{twice}");
    let told = said(&["--rule", r#"<alert type="disk" limit="80%" mail="boss@example.org"/>"#]);
    assert!(told.contains("1 episode, 2 mails"), "{told}");
    let muted = said(&["--rule", r#"<alert type="disk" limit="80%" mute="night"/>"#]);
    assert!(muted.contains("1 episode"), "{muted}");
}

/// Fifty clients for a year: load that comes and goes with the day, spikes that are none of anybody's business, and real
/// trouble now and then. Every real one is found, and nothing else.
#[test]
fn a_year_of_fifty_clients() {
    const STEP: i64 = 1800;
    const RECORDS: usize = 365 * 48;
    let mut config = String::new();
    let mut history = header();
    let mut expected = Vec::new();
    // A sequence of its own, so that every run looks at the same year.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for number in 0..50 {
        let name = format!("host{number:02}");
        let _ = write!(
            config,
            "<client name=\"{name}\" ip=\"127.0.1.{number}\" connection=\"local\" mail=\"ops@x.org\">"
        );
        let _ = write!(config, "<alert type=\"cpu\" limit=\"90%\" for=\"1h\"/></client>");
        let mut cpu: Vec<f64> = (0..RECORDS)
            .map(|i| 40.0 + 35.0 * (i as f64 / 48.0 * std::f64::consts::TAU).sin() + random(10) as f64)
            .collect();
        for _ in 0..200 {
            // One or two records: shorter than an hour.
            let (from, length) = (random(RECORDS - 10), 1 + random(2));
            if cpu[from.saturating_sub(4)..from + length + 4].iter().all(|value| *value < 90.0) {
                cpu[from..from + length].fill(99.0);
            }
        }
        let mut from = random(2000);
        while from + 400 < RECORDS {
            let length = 3 + random(30);
            if cpu[from.saturating_sub(4)..from + length + 4].iter().all(|value| *value < 90.0) {
                cpu[from..from + length].fill(95.0);
                let (begin, end) = (NEW_YEAR + from as i64 * STEP, NEW_YEAR + (from + length) as i64 * STEP);
                expected.push((time(begin), name.clone(), time(end)));
            }
            from += 300 + random(4000);
        }
        rows(&mut history, &name, "cpu,", STEP, cpu);
    }
    expected.sort();
    assert!(expected.len() > 200, "{}", expected.len());
    let answer = Desk::new(&config, &history).json();
    let text = |episode: &Value, field: &str| episode[field].as_str().unwrap().to_owned();
    let episodes = answer["episodes"].as_array().unwrap();
    let mut found: Vec<_> = episodes
        .iter()
        .map(|episode| (text(episode, "begin"), text(episode, "client"), text(episode, "end")))
        .collect();
    found.sort();
    assert_eq!(found, expected);
    let mails = answer["mails"].as_u64().unwrap() as usize;
    // A problem and a recovery each, less those that share a mail; reminders of the few that last for half a day.
    assert!(
        mails > expected.len() && mails <= expected.len() * 2 + 60,
        "{mails} mails of {}",
        expected.len()
    );
}

#[test]
fn a_noisy_rule_gets_a_suggestion() {
    let mut history = header();
    // Six short ones and one that is long.
    let short = || vec![92.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0];
    let cpu = [short(), short(), short(), short(), short(), short(), vec![98.0; 10], vec![20.0; 5]].concat();
    rows(&mut history, "web1", "cpu,", 300, cpu);
    let config = WEB1.replace("/>", "><alert type=\"cpu\" limit=\"90%\"/></client>");
    let output = Desk::new(&config, &history).backtest(&["--from", "history.csv"]);
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

/// Counts what it is handed.
struct Counted(usize);

impl alerter::transport::Transport for Counted {
    fn deliver(&mut self, _: &storage::Message) -> alerter::transport::Answer {
        self.0 += 1;
        alerter::transport::Answer::Accepted { said: "250".to_owned() }
    }

    fn name(&self) -> String {
        "a count".to_owned()
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    /// A backtest counts the mails that runs every five minutes would have sent, reminders included.
    #[test]
    fn a_backtest_counts_as_many_mails_as_real_runs_send(
        values in proptest::collection::vec(proptest::sample::select(vec![50.0, 85.0, 95.0]), 2..120),
        stretch in 1_usize..8,
    ) {
        use alerter::{backtest, rulebook::Rulebook};
        let mail = r#"<mail transport="directory" path="/nonexistent" repeat="1h" text-only="true"/>"#;
        let clients: String = ["web1", "db2"].map(|name| common::client(name, "ops@x.org, dev@x.org")).concat();
        let settings = common::settings(&[mail, &clients].concat());
        let values: Vec<f64> = values.into_iter().flat_map(|value| vec![value; stretch]).take(150).collect();
        let mut fleet = Fleet::new();
        let mut post = Counted(0);
        let mut history = std::collections::BTreeMap::new();
        for (i, value) in values.iter().enumerate() {
            // The second client does the same, later.
            let other = values[i.saturating_sub(7)];
            for (client, value) in [("web1", *value), ("db2", other)] {
                let samples = vec![sample("disk", "/var", value)];
                fleet.collected(client, at(i as i64 * 5), samples.clone());
                let reports: &mut Vec<_> = history.entry(client.parse().unwrap()).or_default();
                reports.push((at(i as i64 * 5), samples));
            }
            fleet.run(&settings, i as i64 * 5, Some(&mut post));
        }
        let rules = Rulebook::of(&settings);
        let outcome = backtest::replay(history, &rules);
        let end = at(values.len() as i64 * 5 - 5);
        let runs = backtest::Runs { every_ms: 300_000, repeat_ms: Some(3_600_000), end };
        let counted = backtest::count(&outcome.facts, &outcome.episodes, &rules, runs);
        proptest::prop_assert_eq!(counted, post.0);
    }
}

/// What a person finds in a recorded series by hand: every time above 90 % for 15 minutes or more, until it has been below
/// 80 % for five. Times are minutes of the recording.
fn real_episodes(cpu: &[(i64, f64)]) -> Vec<(i64, i64, Option<i64>)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(begin) = (from..cpu.len()).find(|&i| cpu[i].1 >= 90.0) {
        let end = (begin..cpu.len()).find(|&i| cpu[i].1 < 90.0).unwrap_or(cpu.len());
        let Some(fired) = (begin..end).find(|&i| cpu[i].0 - cpu[begin].0 >= 15) else {
            from = end;
            continue;
        };
        // The first record of an unbroken row below 80 % that lasts for five minutes.
        let over = (fired + 1..cpu.len()).find(|&i| {
            let row = cpu[i..].iter().take_while(|(_, value)| *value < 80.0).last();
            cpu[i].1 < 80.0 && row.is_some_and(|(last, _)| last - cpu[i].0 >= 5)
        });
        found.push((cpu[begin].0, cpu[fired].0, over.map(|i| cpu[i].0)));
        let Some(over) = over else { break };
        from = (over..cpu.len()).find(|&i| cpu[i].0 - cpu[over].0 >= 5).unwrap_or(cpu.len()) + 1;
    }
    found
}

/// A machine that built this product, once a minute: its cpu jumps above 90 % again and again.
#[test]
fn recorded_load_is_told_where_it_lasts_and_nowhere_else() {
    let history = include_str!("histories/build-host.csv");
    let minute = |time: &str| DateTime::parse_from_rfc3339(time).unwrap().timestamp() / 60;
    let cpu: Vec<(i64, f64)> = history
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|fields| fields[1] == "cpu")
        .map(|fields| (minute(fields[3]), fields[4].parse().unwrap()))
        .collect();
    let spikes = cpu.chunk_by(|a, b| (a.1 >= 90.0) == (b.1 >= 90.0)).filter(|row| row[0].1 >= 90.0);
    let short = spikes.filter(|row| row[row.len() - 1].0 - row[0].0 < 15).count();
    let expected = real_episodes(&cpu);
    assert!(short >= 5 && !expected.is_empty(), "{short} spikes and {} episodes", expected.len());
    let answer = Desk::new(&WEB1.replace("web1", "build1"), history).json();
    let of_cpu = answer["episodes"].as_array().unwrap().iter().filter(|episode| episode["type"] == "cpu");
    let found: Vec<_> = of_cpu
        .map(|episode| {
            let at = |field: &str| episode[field].as_str().map(minute);
            (at("begin").unwrap(), at("fired").unwrap(), at("end"))
        })
        .collect();
    assert_eq!(found, expected);
}
