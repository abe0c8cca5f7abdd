//! What files come to: the first form, precedence, names, the file's mode, the shipped example.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use config::{
    Client, Connection, Environment, Faults, SecretSource, Settings, Ssh, StorageUrl, Tls, Transport,
};
use model::{Hold, Rule, Severity};
use proptest::prelude::*;

fn environment() -> Environment {
    Environment {
        home: Some("/home/ann".into()),
        user: "ann".into(),
        hostname: "hub".into(),
        ..Environment::default()
    }
}

fn parse(inner: &str) -> Result<Settings, Faults> {
    config::parse(
        &format!("<config>\n{inner}\n</config>"),
        Path::new("/etc/fleet/config.xml"),
        &environment(),
    )
}

fn settings(inner: &str) -> Settings {
    parse(inner).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(inner: &str) -> String {
    parse(inner).expect_err("a fault").to_string()
}

fn ssh(client: &Client) -> &Ssh {
    match &client.connection {
        Connection::Ssh(ssh) => ssh,
        Connection::Local | Connection::Unsaid => panic!("{} is local", client.name),
    }
}

/// The rules of a client but the implicit ones.
fn written(client: &Client) -> Vec<&Rule> {
    let implicit = ["unreachable", "host-key-changed", "stale"];
    client.rules.iter().filter(|rule| !implicit.contains(&rule.metric.as_str())).collect()
}

fn ids(client: &Client) -> Vec<&str> {
    client.rules.iter().map(|rule| rule.id.0.as_str()).collect()
}

#[test]
fn a_metric_of_the_admins_own_has_a_unit_by_its_name() {
    let settings = settings(
        r#"<client ip="10.0.0.1">
             <alert type="custom:backup_age_seconds" match="home" warning="26h" critical="2d"/>
             <alert type="custom:queue_bytes" limit="1G"/>
             <alert type="custom:balance" operator="&lt;" limit="-1.5"/>
           </client>"#,
    );
    let limits = |rule: &&Rule| (rule.id.0.clone(), rule.threshold.warning, rule.threshold.critical);
    assert_eq!(
        written(&settings.clients[0]).iter().map(limits).collect::<Vec<_>>(),
        [
            ("custom:backup_age_seconds[match=home]".to_owned(), Some(93_600.0), Some(172_800.0)),
            ("custom:queue_bytes".to_owned(), None, Some(1_073_741_824.0)),
            ("custom:balance".to_owned(), None, Some(-1.5)),
        ]
    );
}

const FIRST_FORM: &str = r#"
  <client ip="192.168.1.90" port="22" username="ops" password="a&amp;b&lt;&quot;c" mail="a@example.org">
    <alert type="memory" limit="50%"/>
    <alert type="cpu" limit="20"/>
    <alert type="uptime" limit="86400%"/>
  </client>"#;

#[test]
fn the_first_form_means_what_it_meant() {
    let settings = settings(FIRST_FORM);
    let client = &settings.clients[0];
    assert_eq!(client.name.as_str(), "192.168.1.90");
    assert_eq!(client.source, "config.xml:3");
    let ssh = ssh(client);
    assert_eq!((ssh.address.as_str(), ssh.port, ssh.username.as_str()), ("192.168.1.90", 22, "ops"));
    assert!(matches!(&ssh.password, Some(SecretSource::Inline(secret)) if secret.reveal() == "a&b<\"c"));
    assert_eq!(ids(client), ["memory", "cpu", "uptime", "unreachable", "host-key-changed", "stale"]);
    let limits: Vec<_> = written(client).iter().map(|rule| rule.threshold.critical.unwrap()).collect();
    assert_eq!(limits, [50.0, 20.0, 86_400.0]);
    for rule in &client.rules {
        assert_eq!(rule.receivers, ["a@example.org"]);
        assert_eq!(rule.threshold.warning.is_some(), rule.metric == "stale");
    }
    assert_eq!(client.rules[0].threshold.severity(50.0), Some(Severity::Critical));
    assert_eq!(client.rules[0].threshold.severity(49.9), None);
    assert_eq!(client.rules[0].source, "config.xml:4");
    assert_eq!(client.rules[0].text, r#"<alert type="memory" limit="50%"/>"#);
    assert_eq!(settings.mail, None);
    assert_eq!(
        settings.storage.url,
        StorageUrl::Sqlite("/home/ann/.local/state/fleet-health/fleet.db".into())
    );
}

#[test]
fn implicit_rules_hold_back() {
    let settings = settings(r#"<client ip="a"/>"#);
    let holds: Vec<_> =
        settings.clients[0].rules.iter().map(|rule| (rule.metric.as_str(), rule.hold)).collect();
    assert!(holds.contains(&("unreachable", Hold::in_a_row(2))));
    assert!(holds.contains(&("host-key-changed", Hold::AT_ONCE)));
}

#[test]
fn data_is_old_after_an_hour_or_three_intervals_of_the_collector() {
    let stale = |inner: &str| {
        let rules = settings(inner).clients.remove(0).rules;
        let rule = rules.into_iter().find(|rule| rule.metric == "stale")?;
        Some((rule.text.clone(), rule.threshold.warning, rule.threshold.critical, rule.hold))
    };
    let implicit = |text: &str, limit| Some((text.to_owned(), Some(limit), None, Hold::AT_ONCE));
    let hour = implicit(r#"<alert type="stale" warning="1h"/>"#, 3600.0);
    assert_eq!(stale(r#"<client ip="a"/>"#), hour);
    assert_eq!(stale(r#"<schedule collector-every="5m"/><client ip="a"/>"#), hour);
    let long = r#"<schedule collector-every="2h"/><client ip="a"/>"#;
    assert_eq!(stale(long), implicit(r#"<alert type="stale" warning="6h"/>"#, 21_600.0));
    let said = stale(r#"<client ip="a"><alert type="stale" critical="2h"/></client>"#).expect("a rule");
    assert_eq!((said.1, said.2), (None, Some(7200.0)));
    assert_eq!(stale(r#"<client ip="a"><alert type="stale" enabled="false"/></client>"#), None);
    let watched = settings(r#"<client ip="a"><alert type="stale" warning="2h"/></client>"#).clients.remove(0);
    assert!(watched.rules.iter().any(|rule| rule.metric == "disk"), "the shipped template stays");
}

#[test]
fn entries_of_one_client_are_merged() {
    let settings = settings(
        r#"
        <client ip="10.0.0.1" username="ops" mail="a@x"><alert type="memory" limit="50"/><alert type="cpu" limit="9"/></client>
        <client ip="10.0.0.1" port="22" username="ops" password="p" mail="b@x"><alert type="cpu" limit="9%"/><alert type="cpu" limit="8"/></client>
        <client ip="10.0.0.1" username="root"/>
        <client ip="10.0.0.1" port="2222" username="ops"/>"#,
    );
    let names: Vec<_> = settings.clients.iter().map(|client| client.name.as_str()).collect();
    assert_eq!(names, ["10.0.0.1", "root@10.0.0.1", "10.0.0.1:2222"]);
    let client = &settings.clients[0];
    assert!(ssh(client).password.is_some());
    let told: Vec<_> =
        client.rules.iter().map(|rule| (rule.id.0.as_str(), rule.receivers.join(" "))).collect();
    let expected = [
        ("memory", "a@x"),
        ("cpu", "a@x b@x"),
        ("cpu#2", "b@x"),
        ("unreachable", "a@x b@x"),
        ("host-key-changed", "a@x b@x"),
        ("stale", "a@x b@x"),
    ];
    assert_eq!(told, expected.map(|(id, mail)| (id, mail.to_owned())));
}

#[test]
fn disabled_entries_add_nothing() {
    let settings = settings(
        r#"<client ip="a" enabled="false"><alert type="cpu" limit="1"/></client>
           <client ip="a"><alert type="memory" limit="1"/></client>
           <client name="off" ip="b" enabled="false"/>"#,
    );
    assert_eq!(settings.clients.len(), 1);
    assert_eq!(ids(&settings.clients[0])[0], "memory");
    assert!(faults(r#"<client name="off" ip="b" enabled="false" port="0"/>"#).contains("not a port"));
}

#[test]
fn higher_levels_override_lower_ones() {
    let settings = settings(
        r#"
        <defaults><alert type="cpu" limit="1"/><alert type="memory" limit="1"/><alert type="swap" limit="1"/></defaults>
        <template name="base"><alert type="memory" limit="2"/><alert type="disk" match="/" limit="2"/></template>
        <template name="more" extends="base"><alert type="disk" match="/" limit="3"/><alert type="disk" limit="3"/></template>
        <client name="x" ip="x" template="more">
          <alert type="swap" enabled="false"/>
          <alert type="disk" limit="4"/><alert type="disk" limit="5"/>
          <alert type="unreachable" enabled="false"/>
          <alert type="host-key-changed" mail="sec@x" note="call security"/>
        </client>"#,
    );
    let client = &settings.clients[0];
    let critical = client.rules.iter().filter(|rule| rule.metric != "stale");
    let limits: Vec<_> =
        critical.map(|rule| (rule.id.0.as_str(), rule.threshold.critical.unwrap())).collect();
    let expected = [
        ("cpu", 1.0),
        ("memory", 2.0),
        ("disk[match=/]", 3.0),
        ("disk", 4.0),
        ("disk#2", 5.0),
        ("host-key-changed", 1.0),
    ];
    assert_eq!(limits, expected);
    let changed = client.rules.iter().find(|rule| rule.metric == "host-key-changed").unwrap();
    assert_eq!(
        (changed.receivers.join(" "), changed.note.as_deref()),
        ("sec@x".into(), Some("call security"))
    );
}

#[test]
fn attributes_come_from_the_nearest_level() {
    let settings = settings(
        r#"
        <mail host="mail" admin="admin@x"/>
        <defaults port="2222" username="fleet" password-file="pw" timeout="2m" concurrency="7" group="all, web" mail="d@x"
                  remote-dir="~/.fleet /tmp/fleet" known-hosts="kh"/>
        <client ip="a"/>
        <client ip="b" port="22" password-command="pass b" mail="b@x c@x" group="db" identity-file="~/k1, k2"/>
        <client name="me" connection="local"/>"#,
    );
    let [a, b, me] = &settings.clients[..] else { panic!("three clients") };
    assert_eq!(a.name.as_str(), "a:2222");
    assert_eq!(ssh(a).password, Some(SecretSource::File("/etc/fleet/pw".into())));
    assert_eq!(ssh(a).known_hosts, [Path::new("/etc/fleet/kh")]);
    assert_eq!(a.remote_dirs, [".fleet", "/tmp/fleet"]);
    assert_eq!(a.timeout, Duration::from_secs(120));
    assert_eq!(a.groups.iter().map(String::as_str).collect::<Vec<_>>(), ["all", "web"]);
    assert_eq!(a.rules[0].receivers, ["d@x"]);
    assert_eq!(ssh(b).password, Some(SecretSource::Command("pass b".into())));
    assert_eq!(ssh(b).identity_files, [Path::new("/home/ann/k1"), Path::new("/etc/fleet/k2")]);
    assert_eq!(b.rules[0].receivers, ["b@x", "c@x"]);
    assert_eq!(me.connection, Connection::Local);
    assert_eq!(settings.concurrency, 7);
}

#[test]
fn the_shipped_template_serves_those_without_rules() {
    let rules = |inner: &str| {
        written(&settings(inner).clients[0]).iter().map(|rule| rule.id.0.clone()).collect::<Vec<_>>()
    };
    let linux = rules(r#"<client ip="a"/>"#);
    assert!(linux.starts_with(&["disk".to_owned()]) && linux.len() == 17, "{linux:?}");
    let without = |name: &str| linux.iter().filter(|rule| *rule != name).cloned().collect::<Vec<_>>();
    assert_eq!(rules(r#"<client ip="a" template="linux"/>"#), linux);
    assert_eq!(rules(r#"<client ip="a"><alert type="swap" enabled="false"/></client>"#), without("swap"));
    assert_eq!(rules(r#"<client ip="a"><alert type="unreachable" mail="a@x"/></client>"#), linux);
    assert_eq!(rules(r#"<client ip="a"><alert type="cpu" limit="9"/></client>"#), ["cpu"]);
    assert_eq!(rules(r#"<defaults><alert type="cpu" limit="9"/></defaults><client ip="a"/>"#), ["cpu"]);
    assert!(rules(r#"<template name="none"/><client ip="a" template="none"/>"#).is_empty());
    assert_eq!(
        rules(r#"<template name="linux"><alert type="load" limit="9"/></template><client ip="a"/>"#),
        ["load"]
    );
    let shipped = settings(r#"<client ip="a"/>"#);
    assert_eq!(shipped.clients[0].rules[0].source, "");
    assert_eq!(shipped.clients[0].rules[0].receivers, Vec::<String>::new());
}

#[test]
fn thresholds() {
    let settings = settings(
        r#"<client ip="a">
             <alert type="disk" match="/var*, /srv" exclude="/var/tmp" warning="80%" critical="90%"/>
             <alert type="disk-free" operator="&lt;" warning="10G" critical="1.5G"/>
             <alert type="cpu" limit="90" severity="warning"/>
             <alert type="clock-offset" operator="&lt;" limit="-2s"
                    note="look
                          at ntp"/>
           </client>"#,
    );
    let rules = written(&settings.clients[0]);
    assert_eq!(rules[0].id.0, "disk[match=/var*,/srv]");
    assert!(rules[0].is_about("/var/lib") && !rules[0].is_about("/var/tmp"));
    assert_eq!(rules[1].threshold.severity(2.0 * 1024.0_f64.powi(3)), Some(Severity::Warning));
    assert_eq!(rules[2].threshold.severity(95.0), Some(Severity::Warning));
    assert_eq!(rules[3].threshold.critical, Some(-2.0));
    assert_eq!(rules[3].note.as_deref(), Some("look at ntp"));
    assert!(!rules[3].text.contains('\n'));
}

#[test]
fn mail_goes_out_in_many_ways() {
    let mail = |attributes: &str| settings(&format!("<mail {attributes}/>")).mail.unwrap();
    let smtp = |attributes: &str| match mail(attributes).transport {
        Transport::Smtp(smtp) => (smtp.port, smtp.tls),
        other => panic!("{other:?}"),
    };
    assert_eq!(smtp(r#"host="m""#), (587, Tls::StartTls));
    assert_eq!(smtp(r#"host="m" tls="tls""#), (465, Tls::Tls));
    assert_eq!(smtp(r#"host="m" port="465""#), (465, Tls::Tls));
    assert_eq!(smtp(r#"host="127.0.0.1" tls="none""#), (25, Tls::None));
    assert_eq!(mail("").transport, Transport::Sendmail("/usr/sbin/sendmail".into()));
    assert_eq!(
        mail(r#"transport="directory" path="out""#).transport,
        Transport::Directory("/etc/fleet/out".into())
    );
    assert_eq!(mail("").from, "fleet-health@hub");
}

#[test]
fn a_file_with_passwords_is_its_owners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.xml");
    let load = |inner: &str, mode: u32| {
        fs::write(&path, format!("<config>{inner}</config>")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        config::load(Some(&path), &environment())
    };
    assert_eq!(load(FIRST_FORM, 0o600).unwrap().clients.len(), 1);
    assert_eq!(load(FIRST_FORM, 0o640).unwrap().clients.len(), 1);
    assert_eq!(load(r#"<client ip="a"/>"#, 0o644).unwrap().clients.len(), 1);
    let told = load(FIRST_FORM, 0o644).unwrap_err().to_string();
    assert!(told.contains(&format!("chmod 600 {}", path.display())) && told.contains("0644"), "{told}");
    assert!(!told.contains("a&amp;b"), "{told}");
    assert!(
        load(r#"<client ip="a"/>"#, 0o666).unwrap_err().to_string().contains("others may change this file")
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let told = |path: &Path| config::load(Some(path), &environment()).unwrap_err().to_string();
    assert!(told(&directory.path().join("none.xml")).contains("No such file"));
    assert!(told(directory.path()).contains("not a regular file"));
    let path = directory.path().join("config.xml");
    fs::write(&path, b"<config>\n  <!-- \xff -->\n</config>").unwrap();
    let text = told(&path);
    assert!(text.contains("config.xml:2:8: error: this is not UTF-8"), "{text}");
    fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(told(&path).contains("more than 16 MiB"));
    let home = Environment { home: Some(directory.path().into()), ..environment() };
    let told = config::load(None, &home).unwrap_err().to_string();
    assert!(told.contains(".config/fleet-health/config.xml") && told.contains("--config"), "{told}");
}

#[test]
fn relative_paths_start_at_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.xml");
    fs::write(&path, r#"<config><storage url="sqlite:data/fleet.db" keep-raw="31d"/></config>"#).unwrap();
    let settings = config::load(Some(&path), &environment()).unwrap();
    assert_eq!(settings.storage.state_dir, directory.path().join("data"));
    assert_eq!(settings.storage.keep_raw, Some(Duration::from_secs(31 * 86_400)));
}

#[test]
fn no_more_than_100_000_clients() {
    // Disabled ones count, and cost no rules.
    let disabled = r#"<defaults enabled="false"/>"#;
    let clients =
        |count: u32| (0..count).fold(disabled.to_owned(), |text, n| text + &format!("<client ip='c{n}'/>\n"));
    assert!(settings(&clients(100_000)).clients.is_empty());
    assert!(faults(&clients(100_001)).contains("more than 100000 clients"));
}

#[test]
fn a_flood_of_faults_is_counted() {
    let told = faults(&"<x/>".repeat(5000));
    assert!(told.contains("... and 4800 more") && told.ends_with("5000 faults: nothing was tried"), "{told}");
}

#[test]
fn the_summary_fits_on_a_screen_and_holds_no_secret() {
    let settings = settings(
        r#"
        <storage url="sqlite:///var/lib/fleet-health/fleet.db"/>
        <schedule collector-every="5m"/>
        <mail host="mail.example.org" username="fleet" password="hunter2"/>
        <defaults username="fleet" identity-file="~/.ssh/id_ed25519"/>
        <client name="web1" ip="10.0.0.1" group="web" mail="a@example.org"/>
        <client name="web2" ip="fe80::1" group="web,de" mail="a@example.org"/>
        <client name="db" ip="db.example.org" password="hunter2" port="2222">
          <alert type="cpu" limit="150"/>
          <alert type="disk" match="/var*" warning="80" critical="90"/>
          <alert type="unreachable" enabled="false"/>
        </client>
        <client name="me" connection="local" mail="a@example.org"/>"#,
    );
    insta::assert_snapshot!(config::summary(&settings));
}

#[test]
fn the_example_works_as_it_stands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.xml");
    let settings = config::load(Some(&path), &environment()).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(settings.clients.len(), 1);
    assert_eq!(settings.clients[0].connection, Connection::Local);
    assert!(settings.storage.state_dir.ends_with("fleet-data"));
    assert!(settings.clients[0].rules.iter().all(|rule| rule.receivers == ["root@localhost"]));
    assert!(!config::summary(&settings).contains("warning:"));
}

#[test]
fn the_commented_parts_of_the_example_work_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config.xml");
    let text = fs::read_to_string(path).unwrap();
    let comments = text.split("<!--").skip(1).map(|rest| rest.split("-->").next().unwrap());
    let elements: Vec<_> =
        comments.filter_map(|comment| comment.find("\n  <").map(|at| &comment[at..])).collect();
    assert_eq!(elements.len(), 3);
    let pin = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
    let settings = settings(&elements.concat().replace("SHA256:...", pin));
    assert_eq!(settings.clients.len(), 2);
    assert!(matches!(settings.mail.unwrap().transport, Transport::Smtp(_)));
}

/// Parts of files, so that random files are nearly right.
fn part() -> impl Strategy<Value = String> {
    let words = [
        "<config>",
        "</config>",
        "<client ",
        "ip=\"a\" ",
        "/>",
        ">",
        "</client>",
        "<alert type=\"cpu\" limit=\"5\"/>",
        "<alert type=\"process\" match=\"a*\" min=\"",
        "<alert type=\"disk\" free-below=\"1G, 2\" for=\"5m\" clear=\"",
        "<alert type=\"disk-forecast\" within=\"",
        "<window name=\"w\" daily=\"22:00-0",
        "<template name=\"a\" extends=\"a\">",
        "<defaults ",
        "password=\"",
        "\"",
        "&amp;",
        "&",
        "<!--",
        "-->",
        "<?",
        "?>",
        "<![CDATA[",
        "é",
        "\u{202e}",
        "\n",
        "=",
        "url=\"a@b",
        "<mail host=\"m\"/>",
    ];
    prop_oneof![proptest::sample::select(words.to_vec()).prop_map(str::to_owned), any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(parts in proptest::collection::vec(part(), 0..30)) {
        if let Err(faults) = config::parse(&parts.concat(), Path::new("config.xml"), &environment()) {
            prop_assert!(faults.count() > 0 && !faults.to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.xml");
        fs::write(&path, bytes).unwrap();
        prop_assert!(config::load(Some(&path), &environment()).is_err());
    }

    #[test]
    fn passwords_round_trip(password in "[^\\x00-\\x1f\\u{fffe}\\u{ffff}]{1,40}") {
        let escaped = password.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
        let settings = settings(&format!(r#"<client ip="a" password="{escaped}"/>"#));
        let Some(SecretSource::Inline(secret)) = &ssh(&settings.clients[0]).password else { panic!("no password") };
        prop_assert_eq!(secret.reveal(), password);
    }

    #[test]
    fn secrets_are_never_shown(password in "[A-Z0-9]{12,20}", quote in "['\"]", broken in "[<&' \"=]{0,3}") {
        let text = format!("<config><client ip=\"a\" prot=\"1\" password={quote}{password}{broken}{quote} port=\"0\"/></config>");
        if let Err(faults) = config::parse(&text, Path::new("config.xml"), &environment()) {
            prop_assert!(!faults.to_string().contains(&password));
        }
    }
}
