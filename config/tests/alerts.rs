//! What an `<alert>` comes to: terms, types, mails, and the rules of the fleet.

use std::path::Path;

use config::{Client, Environment, NEVER, Settings};
use model::{Aggregate, Escalation, Floor, Hold, Operator, Rule};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MINUTE: i64 = 60_000;

fn settings(inner: &str) -> Settings {
    let text = format!("<config>\n{inner}\n</config>");
    let read = config::parse(&text, Path::new("/etc/fleet/config.xml"), &Environment::default());
    read.unwrap_or_else(|faults| panic!("{faults}"))
}

fn client(alerts: &str) -> Client {
    settings(&format!(r#"<client ip="a" mail="a@x">{alerts}</client>"#)).clients.remove(0)
}

/// The one rule that an alert comes to.
fn rule(alert: &str) -> Rule {
    let mut rules = client(alert).rules;
    rules.retain(|rule| !rule.source.is_empty());
    assert_eq!(rules.len(), 1, "{alert}");
    rules.remove(0)
}

#[test]
fn holds() {
    for (attributes, hold, aggregate) in [
        ("", Hold::AT_ONCE, None),
        (r#"for="15m""#, Hold::Span(15 * MINUTE), None),
        (r#"for="0s""#, Hold::AT_ONCE, None),
        (r#"samples="3""#, Hold::in_a_row(3), None),
        (r#"samples="3 of 5""#, Hold::Samples { needed: 3, of: 5 }, None),
        (r#"for="1h" aggregate="last""#, Hold::Span(60 * MINUTE), None),
        (r#"for="1h" aggregate="avg""#, Hold::Span(60 * MINUTE), Some(Aggregate::Mean)),
        (r#"for="1d" aggregate="min""#, Hold::Span(24 * 60 * MINUTE), Some(Aggregate::Least)),
        (r#"for="1h" aggregate="max""#, Hold::Span(60 * MINUTE), Some(Aggregate::Greatest)),
    ] {
        let rule = rule(&format!(r#"<alert type="cpu" limit="90" {attributes}/>"#));
        assert_eq!((rule.hold, rule.aggregate), (hold, aggregate), "{attributes}");
    }
    assert_eq!(rule(r#"<alert type="unreachable" samples="5"/>"#).hold, Hold::in_a_row(5));
}

#[test]
fn ends_and_floors() {
    let rule = rule(
        r#"<alert type="disk" warning="80%" critical="90%" clear="75%" free-below="10G 5G" keep-firing-for="10m"/>"#,
    );
    assert_eq!((rule.clear, rule.keep_firing_ms), (Some(75.0), 10 * MINUTE));
    assert_eq!(rule.floor, Some(Floor { warning: 10.0 * GIB, critical: 5.0 * GIB }));
    let one = self::rule(r#"<alert type="disk" limit="90%" free-below="512M"/>"#);
    assert_eq!(one.floor, Some(Floor { warning: GIB / 2.0, critical: GIB / 2.0 }));
}

#[test]
fn types_with_a_limit_of_their_own() {
    for (alert, operator, warning, critical) in [
        (r#"<alert type="raid"/>"#, Operator::AtLeast, None, Some(1.0)),
        (r#"<alert type="raid" limit="2" severity="warning"/>"#, Operator::AtLeast, Some(2.0), None),
        (r#"<alert type="read-only" match="/" severity="warning"/>"#, Operator::AtLeast, Some(1.0), None),
        (
            r#"<alert type="pool-errors" warning="1" critical="10"/>"#,
            Operator::AtLeast,
            Some(1.0),
            Some(10.0),
        ),
        (r#"<alert type="reboot"/>"#, Operator::AtLeast, None, Some(1.0)),
        (r#"<alert type="service" match="nginx.service" for="5m"/>"#, Operator::AtLeast, None, Some(1.0)),
        (r#"<alert type="mount" match="/srv" severity="warning"/>"#, Operator::AtLeast, Some(1.0), None),
        (r#"<alert type="stale"/>"#, Operator::AtLeast, None, Some(3600.0)),
        (
            r#"<alert type="stale" warning="2h" critical="1d"/>"#,
            Operator::AtLeast,
            Some(7200.0),
            Some(86_400.0),
        ),
        (r#"<alert type="disk-forecast"/>"#, Operator::AtMost, None, Some(86_400.0)),
        (r#"<alert type="unreachable" severity="warning"/>"#, Operator::AtLeast, Some(1.0), None),
    ] {
        let rule = rule(alert);
        let threshold = rule.threshold;
        assert_eq!(
            (threshold.operator, threshold.warning, threshold.critical),
            (operator, warning, critical),
            "{alert}"
        );
    }
}

#[test]
fn a_forecast_looks_back_and_ahead() {
    let plain = rule(r#"<alert type="disk-forecast" severity="warning"/>"#);
    assert_eq!((plain.hold, plain.threshold.warning), (Hold::in_a_row(3), Some(86_400.0)));
    assert_eq!(plain.fit_ms, Some(6 * 60 * MINUTE));
    assert_eq!(plain.floor, Some(Floor { warning: 20.0 * GIB, critical: 20.0 * GIB }));
    let said =
        rule(r#"<alert type="disk-forecast" within="4h" for="2h" samples="5" free-below="50G" clear="8h"/>"#);
    assert_eq!((said.hold, said.threshold.critical), (Hold::in_a_row(5), Some(14_400.0)));
    assert_eq!((said.fit_ms, rule(r#"<alert type="disk" limit="90"/>"#).fit_ms), (Some(120 * MINUTE), None));
    assert_eq!((said.floor.map(|floor| floor.critical), said.clear), (Some(50.0 * GIB), Some(28_800.0)));
}

#[test]
fn processes_are_counted_both_ways_and_asked_for() {
    let client = client(
        r#"<alert type="process" match="nginx" min="1" max="8"/>
           <alert type="process" match="cron, ssh*" exclude="sshfs" min="1" severity="warning"/>
           <alert type="process" match="nginx" enabled="false"/>"#,
    );
    let rules: Vec<_> = client
        .rules
        .iter()
        .filter(|rule| rule.metric == "process")
        .map(|rule| {
            (rule.id.0.as_str(), rule.threshold.operator, rule.threshold.warning, rule.threshold.critical)
        })
        .collect();
    let expected = [
        ("process[match=nginx][min]", Operator::Below, None, Some(1.0)),
        ("process[match=nginx][max]", Operator::Above, None, Some(8.0)),
        ("process[match=cron,ssh*][min]", Operator::Below, Some(1.0), None),
    ];
    assert_eq!(rules, expected);
    assert_eq!(client.processes, ["nginx", "cron"]);
}

#[test]
fn processes_of_rules_that_do_not_hold_are_not_asked_for() {
    let settings = settings(
        r#"<defaults processes="sshd"><alert type="process" match="nginx" min="1"/></defaults>
           <client ip="a"/>
           <client ip="b"><alert type="process" match="nginx" enabled="false"/></client>
           <client ip="c" processes="nginx, chronyd"/>"#,
    );
    let asked: Vec<_> = settings.clients.iter().map(|client| client.processes.join(" ")).collect();
    assert_eq!(asked, ["sshd nginx", "sshd", "nginx chronyd"]);
}

#[test]
fn a_request_has_room_for_100_processes() {
    let names: Vec<_> = (0..101).map(|number| format!("p{number}")).collect();
    let alert = format!("<alert type='process' match='{}' min='1'/>", names.join(" "));
    let text = format!("<config><client ip='a'>{alert}</client></config>");
    let told = config::parse(&text, Path::new("config.xml"), &Environment::default()).expect_err("a fault");
    assert!(told.to_string().contains("101 processes are counted by name"), "{told}");
}

#[test]
fn mails() {
    let settings = settings(
        r#"<window name="night" daily="22:00-06:00"/>
           <receiver mail="b@x" repeat="never"/>
           <client ip="a" mail="a@x">
             <alert type="cpu" limit="90" repeat="4h" escalate-after="1h" escalate-to="b@x, c@x" mute="night"/>
             <alert type="memory" limit="90" repeat="never"/>
           </client>"#,
    );
    let [cpu, memory, ..] = &settings.clients[0].rules[..] else { panic!("two rules") };
    assert_eq!((cpu.repeat_ms, cpu.mute.as_deref()), (Some(240 * MINUTE), Some("night")));
    let to = vec!["b@x".to_owned(), "c@x".to_owned()];
    assert_eq!(cpu.escalation, Some(Escalation { after_ms: 60 * MINUTE, to }));
    assert_eq!(memory.repeat_ms, Some(i64::MAX));
    assert_eq!(settings.receivers[0].mailing.repeat, Some(NEVER));
    assert_eq!(i64::try_from(NEVER.as_millis()), Ok(i64::MAX));
}

#[test]
fn entries_of_one_client_merge_rules_that_are_the_same() {
    let settings = settings(
        r#"<client ip="a" mail="a@x"><alert type="cpu" limit="90" for="5m"/></client>
           <client ip="a" mail="b@x"><alert type="cpu" limit="90" for="5m"/><alert type="cpu" limit="90" for="9m"/></client>"#,
    );
    let told: Vec<_> = settings.clients[0]
        .rules
        .iter()
        .filter(|rule| rule.metric == "cpu")
        .map(|rule| (rule.id.0.as_str(), rule.receivers.join(" ")))
        .collect();
    assert_eq!(told, [("cpu", "a@x b@x".to_owned()), ("cpu#2", "b@x".to_owned())]);
}

#[test]
fn a_rule_keeps_its_name_when_something_is_excluded() {
    let ids = |alerts: &str| {
        let rules = client(alerts).rules;
        rules.into_iter().filter(|rule| rule.metric == "disk").map(|rule| rule.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(r#"<alert type="disk" limit="90"/>"#), ["disk"]);
    assert_eq!(ids(r#"<alert type="disk" limit="90" exclude="/srv"/>"#), ["disk"]);
    let two =
        r#"<alert type="disk" limit="90" exclude="/srv"/><alert type="disk" limit="90" exclude="/var"/>"#;
    assert_eq!(ids(two), ["disk", "disk#2"], "each has something of its own");
}

#[test]
fn the_fleet_has_rules_of_its_own() {
    let told = |inner: &str| {
        let rules = settings(inner).fleet_rules;
        let names: Vec<_> = rules.iter().map(|rule| rule.id.0.as_str()).collect();
        assert_eq!(names, ["isolated", "collector-stale"]);
        rules[0].receivers.join(" ")
    };
    let clients = r#"<client ip="a" mail="z@x b@x"/><client ip="b" mail="b@x"/>"#;
    assert_eq!(told(clients), "b@x z@x");
    assert_eq!(told(&format!(r#"<mail host="m" admin="root@x"/>{clients}"#)), "root@x");
    let overdue = settings(clients).fleet_rules[1].threshold;
    assert!(overdue.severity(0.0).is_none() && overdue.severity(1.0).is_some());
}

#[test]
fn rules_in_words() {
    for (alert, words) in [
        (r#"<alert type="cpu" limit="90" for="15m"/>"#, "critical >= 90 %, for 15 min"),
        (
            r#"<alert type="disk" warning="80" critical="90" free-below="10G,5G" clear="75" keep-firing-for="1h"/>"#,
            "warning >= 80 %, critical >= 90 %, below 10 GiB or 5 GiB free, clears < 75 %, ends after 1 h fine",
        ),
        (
            r#"<alert type="cpu" limit="90" for="1h" aggregate="avg"/>"#,
            "critical >= 90 %, as the mean over 1 h",
        ),
        (
            r#"<alert type="disk-forecast"/>"#,
            "critical <= 1 d, below 20 GiB free, by the last 6 h, 3 in a row",
        ),
        (r#"<alert type="unreachable" samples="3 of 5"/>"#, "critical, 3 of 5"),
        (r#"<alert type="reboot" severity="warning"/>"#, "warning, at once"),
        (r#"<alert type="process" match="a" min="1"/>"#, "critical < 1"),
    ] {
        assert_eq!(config::rule_text(&rule(alert)), words, "{alert}");
    }
}

#[test]
fn docs_describe_the_shipped_template() {
    let docs = include_str!("../../docs/config.md");
    let section = docs.split("\n## The shipped template\n").nth(1).expect("a section");
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let documented: Vec<_> =
        rows.map(|row| row.splitn(4, " | ").take(2).collect::<Vec<_>>().join(" | ")).collect();
    let rules = settings(r#"<client ip="a"/>"#).clients.remove(0).rules;
    let implicit = ["unreachable", "host-key-changed", "stale"];
    let shipped = rules.iter().filter(|rule| !implicit.contains(&rule.metric.as_str()));
    let expected: Vec<_> =
        shipped.map(|rule| format!("| `{}` | {}", rule.metric, config::rule_text(rule))).collect();
    assert_eq!(documented, expected);
}

#[test]
fn nothing_that_is_shipped_fires_at_the_first_sample_but_events_and_what_is_old() {
    for rule in settings(r#"<client ip="a"/>"#).clients.remove(0).rules {
        let event = model::rule::is_event(&rule.metric)
            || ["host-key-changed", "stale"].contains(&rule.metric.as_str());
        assert_eq!(rule.hold == Hold::AT_ONCE, event, "{}", rule.id);
    }
}
