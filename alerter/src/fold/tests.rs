//! What a batch comes to.

use model::{ClientName, Evidence, Labels, Rule, Sample};

use super::*;
use crate::fixtures::{T0, disk_rule};

fn report(minute: i64, samples: &[(&str, &str, f64)]) -> Unevaluated {
    let sample = |(metric, mount, value): &(&str, &str, f64)| Sample {
        metric: (*metric).to_owned(),
        labels: if mount.is_empty() { Labels::none() } else { Labels::one("mount", mount) },
        value: *value,
    };
    Unevaluated {
        mark: Mark::Report(minute),
        client: ClientUid([1; 16]),
        client_name: "web1".parse().unwrap(),
        event_time: T0.plus(minute * 60_000),
        entry: Entry::Report { samples: samples.iter().map(sample).collect(), evidence: Evidence::default() },
    }
}

fn folded(batch: &[Unevaluated], rules: &[Rule]) -> Step {
    let name: ClientName = "web1".parse().unwrap();
    fold(batch, Known::default(), &Rulebook::new([(&name, rules)]))
}

#[test]
fn what_is_fine_costs_a_mark_and_a_memory() {
    let step = folded(&[report(0, &[("disk", "/", 50.0)])], &[disk_rule()]);
    assert_eq!(step.marks, [Mark::Report(0)]);
    assert_eq!((step.states.len(), step.episodes.len(), step.facts.len()), (0, 0, 0));
    assert_eq!(step.memories[0].1.reported, Some(T0));
}

#[test]
fn a_report_older_than_one_that_was_evaluated_changes_nothing() {
    let name: ClientName = "web1".parse().unwrap();
    let rules = [disk_rule()];
    let rulebook = Rulebook::new([(&name, rules.as_slice())]);
    let memory = ClientMemory { reported: Some(T0.plus(600_000)), ..ClientMemory::default() };
    let memories = [(ClientUid([1; 16]), memory)].into();
    let late = report(5, &[("disk", "/", 99.0)]);
    let step = fold(&[late], Known { memories, ..Known::default() }, &rulebook);
    assert_eq!(step, Step { marks: vec![Mark::Report(5)], ..Step::default() });
}

#[test]
fn what_is_not_reported_for_a_day_has_vanished() {
    let full = report(0, &[("disk", "/usb", 99.0), ("disk", "/", 10.0)]);
    let others = [60, 1499, 1500].map(|minute| report(minute, &[("disk", "/", 10.0)]));
    let silent = report(3000, &[]);
    let ended = |batch: &[Unevaluated]| folded(batch, &[disk_rule()]).episodes[0].end;
    let end = |minute: i64, why| Some(EpisodeEnd { at: T0.plus(minute * 60_000), why });
    assert_eq!(ended(&[vec![full.clone()], others[..2].to_vec()].concat()), None);
    assert_eq!(ended(&[vec![full.clone()], others.to_vec()].concat()), end(1500, EndReason::Vanished));
    assert_eq!(ended(&[full, silent]), None, "a record without values, or a gap, says nothing of it");
}

#[test]
fn a_boot_is_told_by_the_uptime() {
    let rule = Rule { metric: "reboot".to_owned(), ..crate::fixtures::rule("reboot", None, Some(1.0)) };
    let up = |minute, seconds| report(minute, &[("uptime", "", seconds)]);
    let reboots = |batch: &[Unevaluated]| folded(batch, std::slice::from_ref(&rule)).facts.len();
    assert_eq!(reboots(&[up(0, 900.0)]), 0, "the first report says nothing");
    assert_eq!(reboots(&[up(0, 900.0), up(5, 1200.0), up(1000, 60_900.0)]), 0);
    assert_eq!(reboots(&[up(0, 900.0), up(5, 120.0), up(10, 420.0)]), 1);
    // Reports that drift by half a minute are of the same boot.
    assert_eq!(reboots(&[up(0, 900.0), up(5, 1170.0), up(10, 1530.0)]), 0);
}

#[test]
fn a_mount_point_that_has_to_be_there_is_missed_in_a_report_about_others_only() {
    let rule = Rule {
        metric: "mount".to_owned(),
        matches: vec![model::Pattern("/data".to_owned()), model::Pattern("/mnt/*".to_owned())],
        ..crate::fixtures::rule("mount", None, Some(1.0))
    };
    let values = |samples: &[(&str, &str, f64)]| {
        let step = folded(&[report(0, samples)], std::slice::from_ref(&rule));
        step.episodes.iter().map(|e| (e.key.labels.object(), e.last_value)).collect::<Vec<_>>()
    };
    let one = |mount: &str, value| vec![(mount.to_owned(), value)];
    assert_eq!(values(&[("disk", "/", 10.0)]), one("/data", 2.0));
    assert_eq!(values(&[("disk", "/data", 10.0), ("read-only", "/data", 0.0)]), []);
    assert_eq!(values(&[("disk", "/data", 10.0), ("read-only", "/data", 1.0)]), one("/data", 1.0));
    assert_eq!(
        values(&[("mount-stuck", "/data", 1.0)]),
        [],
        "that it does not answer is told by mount-stuck"
    );
    assert_eq!(values(&[("cpu", "", 1.0)]), []);
}

/// A fleet of four, of which the last three are reached through the first.
fn fleet() -> config::Settings {
    let text = r#"<config><storage url="sqlite:///x/fleet.db"/>
        <defaults mail="ops@example.org"><alert type="cpu" limit="90%"/></defaults>
        <client name="gw" ip="127.0.0.1" connection="local"/>
        <client name="a" ip="127.0.0.2" connection="local" parent="gw"/>
        <client name="b" ip="127.0.0.3" connection="local" parent="gw"/>
        <client name="c" ip="127.0.0.4" connection="local" parent="gw"/></config>"#;
    let place = std::path::Path::new("/etc/config.xml");
    config::parse(text, place, &config::Environment::default()).unwrap()
}

/// One run in which each of these clients ended like that; all of them were reached before.
fn run_of(names: &[&str], outcome: &model::Outcome, whole: bool) -> Step {
    let reached = ClientMemory { reached: Some(true), ..ClientMemory::default() };
    let memories = (0..names.len()).map(|i| (ClientUid([i as u8 + 1; 16]), reached)).collect();
    run_on("", names, outcome, whole, Known { memories, ..Known::default() })
}

/// The same on one of several hosts that collect.
fn run_on(host: &str, names: &[&str], outcome: &model::Outcome, whole: bool, known: Known) -> Step {
    let (settings, run) = (fleet(), T0);
    let uid = |i: usize| ClientUid([i as u8 + 1; 16]);
    let attempt = |(i, name): (usize, &&str)| Unevaluated {
        mark: Mark::Attempt(i as i64),
        client: uid(i),
        client_name: name.parse().unwrap(),
        event_time: T0,
        entry: Entry::Attempt { outcome: outcome.clone(), run, whole, host: host.to_owned() },
    };
    let batch: Vec<_> = names.iter().enumerate().map(attempt).collect();
    fold(&batch, known, &Rulebook::of(&settings))
}

#[test]
fn that_one_of_several_collectors_is_cut_off_is_told_of_that_one() {
    let refused = model::Outcome::Refused { detail: "connection refused".to_owned() };
    let reached = ClientMemory { reached: Some(true), ..ClientMemory::default() };
    let memories = (1..4).map(|i| (ClientUid([i; 16]), reached)).collect();
    let names = ["a", "b", "c"];
    let cut_off = run_on("m1", &names, &refused, true, Known { memories, ..Known::default() });
    let episode = cut_off.episodes.first().expect("it is told");
    assert_eq!((cut_off.episodes.len(), episode.key.labels.to_string()), (1, "collector=m1".to_owned()));
    let known = || Known {
        states: cut_off.states.iter().cloned().collect(),
        episodes: cut_off.episodes.iter().map(|episode| (episode.id.clone(), episode.clone())).collect(),
        ..Known::default()
    };
    let ended = |step: &Step| step.episodes.iter().filter(|episode| episode.end.is_some()).count();
    let other = run_on("m2", &names, &model::Outcome::Collected, true, known());
    assert_eq!(ended(&other), 0, "what another reaches says nothing of it");
    let again = run_on("m1", &names, &model::Outcome::Collected, true, known());
    assert_eq!(ended(&again), 1);
    let settings = fleet();
    let gone =
        fold_fleet((model::rule::ISOLATED, &collector("m1")), T0, 0.0, "", known(), &Rulebook::of(&settings));
    assert_eq!(ended(&gone), 1, "a host that collects no more is cut off from nothing");
}

#[test]
fn a_run_over_a_part_of_the_fleet_says_nothing_of_the_network() {
    let refused = model::Outcome::Refused { detail: "connection refused".to_owned() };
    let isolated = |whole| {
        let step = run_of(&["a", "b", "c"], &refused, whole);
        step.episodes.iter().any(|episode| episode.metric == model::rule::ISOLATED)
    };
    assert!(isolated(true) && !isolated(false));
}

#[test]
fn the_host_key_of_what_others_are_reached_through_is_told_once() {
    let (offered, expected) = ("ssh-ed25519 SHA256:abc".to_owned(), "known_hosts:7".to_owned());
    let changed = model::Outcome::HostKeyChanged { offered, expected, by: model::Objection::Line };
    let step = run_of(&["gw", "a", "b"], &changed, true);
    assert_eq!(step.episodes.len(), 3, "each is recorded");
    let told: BTreeSet<&EpisodeId> = step.facts.iter().map(|fact| &fact.episode).collect();
    let told: Vec<_> = step.episodes.iter().filter(|episode| told.contains(&episode.id)).collect();
    assert_eq!(told.iter().map(|episode| episode.client_name.as_str()).collect::<Vec<_>>(), ["gw"]);
}
