//! Living with it: clients are looked at, renamed, given new keys, given up.

use serde_json::Value;
use storage::{ClientRow, ReportStore as _, SqliteStore};
use tests::silent::refused_port;
use tests::site::Site;
use tests::sshd::{Sshd, make_key};

/// What is stored of a client.
fn row(site: &Site, name: &str) -> Option<ClientRow> {
    let database = site.path("state/fleet.db");
    if !database.exists() {
        return None;
    }
    let mut store = SqliteStore::open_existing(&database).expect("it was made");
    store.find(&name.parse().expect("a name")).expect("it can be read")
}

/// What `check-host --json` says of a client, stage by stage.
fn checked(site: &Site, name: &str, code: i32) -> Vec<Value> {
    let run = site.collector(&["check-host", "--json", name]).expect(code);
    let said: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    let stages = said["clients"][0]["stages"].as_array().expect("a list").clone();
    let last = stages.len() - 1;
    for (at, stage) in stages.iter().enumerate() {
        assert_eq!(stage["ok"], code == 0 || at < last, "only the last one fails: {said}");
        assert_ne!(stage["detail"], "", "{said}");
    }
    stages
}

fn names(stages: &[Value]) -> Vec<&str> {
    stages.iter().map(|stage| stage["stage"].as_str().expect("a text")).collect()
}

const STAGES: [&str; 9] =
    ["dns", "connect", "host key", "login", "directory", "exec", "probe", "envelope", "clock"];

#[test]
fn check_host_tells_every_stage_and_leaves_nothing_behind() {
    let site = Site::new();
    let sshd = Sshd::start();
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web", "", ""));
    let stages = checked(&site, "web", 0);
    assert_eq!(names(&stages), STAGES);
    assert!(stages.iter().take(6).all(|stage| stage["seconds"].is_number()), "{stages:?}");
    let probe = stages[6]["detail"].as_str().expect("a text");
    let start = format!("version {} on ", env!("CARGO_PKG_VERSION"));
    assert!(probe.starts_with(&start) && probe.contains(", kernel "), "{probe}");
    assert!(!site.remote_dir("web").exists(), "the trial's directory stayed");
    assert!(!site.path("state").exists(), "the trial was stored");

    site.collect().expect_all();
    assert_eq!(names(&checked(&site, "web", 0)), STAGES);
    let shown = site.collector(&["check-host", "web"]).expect(0).stdout;
    assert!(shown.contains("/sample") && shown.contains("*/5 * * * *"), "{shown}");
    assert!(row(&site, "web").is_some() && site.remote_dir("web").exists());
}

#[test]
fn check_host_ends_at_the_stage_that_fails_and_says_what_to_do() {
    let site = Site::new();
    let (sshd, stranger) = (Sshd::start(), Sshd::start());
    site.know(&sshd);
    make_key(&site.path("other"), "ed25519", "");
    let other = format!("identity-file=\"{}\"", site.text("other"));
    let client = |name: &str, attributes: &str| site.client(&sshd, name, attributes, "");
    let (port, closed) = (format!("port=\"{}\"", sshd.port()), format!("port=\"{}\"", refused_port()));
    let proc =
        client("nowhere", "").replace(&site.remote_dir("nowhere").display().to_string(), "/proc/fleet");
    site.configure(
        &[
            client("nameless", "").replace("ip=\"127.0.0.1\"", "ip=\"nonexistent.invalid\""),
            client("closed", "").replace(&port, &closed),
            site.client(&stranger, "stranger", "", ""),
            client("locked", &other),
            proc,
        ]
        .concat(),
    );
    for (name, reached, remedy) in [
        ("nameless", 1, "name server"),
        ("closed", 2, "sshd runs there"),
        ("stranger", 3, "fleet-collector trust stranger"),
        ("locked", 4, "authorized_keys"),
        ("nowhere", 5, "remote-dir"),
    ] {
        let stages = checked(&site, name, 1);
        assert_eq!(names(&stages), STAGES[..reached], "{name}: {stages:?}");
        let said = stages[reached - 1]["remedy"].as_str().expect("a text");
        assert!(said.contains(remedy), "{name}: {said}");
        let shown = site.collector(&["check-host", name]).expect(1).stdout;
        assert!(shown.contains("  FAIL  ") && shown.contains(&format!("-> {said}")), "{shown}");
        assert!(!site.path("state").exists(), "the trial was stored");
    }
}

#[test]
fn check_host_accepts_no_new_host_key_and_makes_no_master_key() {
    let site = Site::new();
    let (sshd, other) = (Sshd::start(), Sshd::start());
    site.know(&other);
    let accepting = site.client(&sshd, "new", "host-key-policy=\"accept-new\"", "");
    site.configure(&[&*accepting, &*site.client(&other, "web", "", "")].concat());
    let stages = checked(&site, "new", 1);
    assert_eq!(stages.last().expect("a stage")["stage"], "host key");
    assert!(!site.path("state").exists(), "the key was accepted");

    site.collect_with(&["--only", "web"]).expect_all();
    std::fs::remove_file(site.path("state/master.key")).expect("it was made");
    let run = site.collector(&["check-host", "web"]).expect(0);
    assert!(run.stderr.contains("master.key: it is not there"), "{}", run.stderr);
    assert!(!site.path("state/master.key").exists(), "it was made anew");
}

/// Two slots, and clients that take longer than a run may still begin others: two have their turn each time.
#[test]
fn who_was_not_reached_is_said_and_goes_first_next_time() {
    let site = Site::new();
    let sshd = Sshd::start();
    site.know(&sshd);
    let clients = ["a", "b", "c", "d"].map(|name| site.client(&sshd, name, "", "")).concat();
    site.configure(&format!("<schedule collector-every=\"10s\"/><defaults concurrency=\"2\"/>{clients}"));
    site.collect().expect_all();
    sshd.force_command("sleep 7; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
    let mut had_a_turn = Vec::new();
    for _ in 0..2 {
        let collection = site.collect();
        let (left, reached): (Vec<_>, Vec<_>) =
            collection.clients.iter().partition(|(_, client)| client.outcome == "not-reached");
        let names = |clients: Vec<(&String, _)>| {
            clients.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let (left, reached) = (names(left), names(reached));
        assert_eq!((reached.len(), left.len(), collection.run.code), (2, 2, Some(1)), "{collection:#?}");
        had_a_turn.extend(reached);
        let said: Value = serde_json::from_str(&collection.run.stdout).expect("it is JSON");
        assert_eq!(said["not_reached"], 2, "{said}");
        let text = format!("2 of 4 clients were not reached: {}", left.join(", "));
        assert!(collection.run.stderr.contains(&text), "{}", collection.run.stderr);
    }
    had_a_turn.sort();
    assert_eq!(had_a_turn, ["a", "b", "c", "d"], "who was not reached did not go first");
}

#[test]
fn a_client_is_renamed_given_new_keys_and_removed() {
    let site = Site::new();
    let sshd = Sshd::start();
    site.know(&sshd);
    let configure = |name: &str| {
        let client = site.client(&sshd, name, "", "");
        let directory = site.remote_dir(name).display().to_string();
        site.configure(&client.replace(&directory, &site.text("there")));
    };
    configure("web");
    site.collect().expect_all();
    let spools = || {
        let entries = std::fs::read_dir(site.path("there")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("probe-")).collect::<Vec<_>>()
    };
    let before = spools();
    assert_eq!(before.len(), 1);

    let renamed = site.collector(&["rename", "web", "www"]).expect(0).stdout;
    assert!(renamed.contains("config.xml:") && renamed.contains("name=\"www\""), "{renamed}");
    configure("www");
    site.collector(&["rotate-keys", "www"]).expect(0);
    // The first record under the new key comes beside one under the old; the second run sees only new ones.
    for _ in 0..2 {
        assert!(!site.collect_with(&["--fresh"]).expect_all().only().uploaded);
    }
    assert_eq!(spools(), before, "the spool is another");
    let rows = || row(&site, "www");
    let keys = |row: ClientRow| row.keys.iter().map(|key| key.key_id).collect::<Vec<_>>();
    assert_eq!(keys(rows().unwrap()), [2], "the old key pair is not forgotten");

    site.collector(&["remove", "www"]).expect(0);
    assert!(!site.path("there").exists(), "the directory is left");
    assert!(rows().is_some(), "the history went without --purge");
    site.collector(&["remove", "www", "--purge", "--unreachable"]).expect(0);
    assert!(rows().is_none());
    let again = site.collector(&["remove", "www", "--purge"]).expect(0).stdout;
    assert!(again.contains("nothing to remove"), "{again}");
}

#[test]
fn records_of_a_lost_key_stay_at_the_client_until_they_are_given_up() {
    let site = Site::new();
    let sshd = Sshd::start();
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web", "", ""));
    site.collect().expect_all();
    let mut entries = std::fs::read_dir(site.remote_dir("web")).unwrap().flatten().map(|entry| entry.path());
    let spool = entries.find(|path| path.is_dir()).unwrap();
    tests::child::output(&spool.join("sample").display().to_string(), &[]);
    let lost = spool.join(format!("{:020}", 2));
    std::fs::rename(site.path("state/master.key"), site.path("elsewhere")).unwrap();

    for _ in 0..2 {
        let collection = site.collect_with(&["--fresh"]);
        assert_eq!(collection.only().outcome, "undecryptable");
        assert!(collection.only().message.contains("fleet-collector discard web"), "{collection:#?}");
        assert!(lost.exists(), "what was not stored is gone");
    }
    let removed = site.collector(&["remove", "web"]).expect(1).stderr;
    assert!(removed.contains("nothing was removed") && lost.exists(), "{removed}");

    let discarded = site.collector(&["discard", "web"]).expect(0).stdout;
    assert!(discarded.contains("set aside 1 of its records"), "{discarded}");
    site.collect_with(&["--fresh"]).expect_all();
    assert!(!lost.exists(), "what was given up is still there");
}
