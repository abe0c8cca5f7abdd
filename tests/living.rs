//! Living with it: hosts are imported, looked at, renamed, given new keys, and removed.

use std::fmt::Write as _;

use serde_json::Value;
use storage::{ClientRow, ReportStore as _, SqliteStore};
use tests::silent::refused_port;
use tests::site::Site;
use tests::sshd::Sshd;

/// The steps of the README: an ssh_config of ten hosts becomes clients, their keys are trusted, all are collected.
#[test]
fn ten_hosts_of_an_ssh_config_are_imported_trusted_and_collected() {
    let site = Site::new();
    let addresses: Vec<String> = (2..12).map(|host| format!("127.0.0.{host}")).collect();
    let sshd = Sshd::on(&addresses, "");
    let mut file = format!(
        "Host web* db*\n  User {}\n  Port {}\n  IdentityFile {}\n  IdentityFile ~/.ssh/absent\n",
        tests::user(),
        sshd.port(),
        sshd.login_key().display()
    );
    for (host, address) in addresses.iter().enumerate() {
        let name = if host < 6 { format!("web{host}") } else { format!("db{host}") };
        let _ = write!(file, "Host {name}\n  HostName {address}\n");
    }
    std::fs::write(site.path("ssh_config"), file).unwrap();
    let defaults = format!("<defaults remote-dir=\"{}\" mail=\"ops@example.org\"/>", site.text("clients"));
    site.configure(&defaults);

    let file = site.text("ssh_config");
    let imported = site.collector(&["import-ssh-config", "--file", &file, "--all"]).expect(0);
    assert_eq!(imported.stdout.lines().count(), 10, "{}", imported.stdout);
    assert!(imported.stderr.contains("web0: ") && imported.stderr.contains("absent: is not there"));
    site.configure(&format!("{defaults}\n{}", imported.stdout));
    site.collector(&["trust", "--all", "--yes"]).expect(0);
    let collection = site.collect().expect_all();
    assert_eq!(collection.collected, 10);

    let hosts = site.text("hosts.xml");
    let write = ["import-ssh-config", "--file", &file, "--write", &hosts, "web1", "db9"];
    site.collector(&write).expect(0);
    let written = std::fs::read_to_string(&hosts).unwrap();
    assert!(written.starts_with("<config>\n  <client name=\"web1\" ip=\"127.0.0.3\""), "{written}");
    assert!(
        site.collector(&write).expect(1).stderr.contains("hosts.xml"),
        "what is there is not overwritten"
    );
}

/// What is stored of a client.
fn row(site: &Site, name: &str) -> Option<ClientRow> {
    let mut store = SqliteStore::open_existing(&site.path("state/fleet.db")).expect("it was made");
    store.find(&name.parse().expect("a name")).expect("it can be read")
}

fn stages(site: &Site, name: &str, code: i32) -> Vec<(String, bool)> {
    let run = site.collector(&["check-host", "--json", name]).expect(code);
    let said: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    let stages = said["clients"][0]["stages"].as_array().expect("a list");
    let one = |stage: &Value| {
        (stage["stage"].as_str().expect("a text").to_owned(), stage["ok"].as_bool().expect("a truth"))
    };
    stages.iter().map(one).collect()
}

#[test]
fn check_host_tells_every_stage_and_leaves_nothing_behind() {
    let site = Site::new();
    let sshd = Sshd::start();
    site.know(&sshd);
    let dead = site
        .client(&sshd, "dead", "", "")
        .replace(&format!("port=\"{}\"", sshd.port()), &format!("port=\"{}\"", refused_port()));
    let foreign = site.client(&sshd, "foreign", "identity-file=\"/nonexistent\"", "");
    site.configure(&[site.client(&sshd, "web", "", ""), dead, foreign].concat());
    let all = ["dns", "connect", "host key", "login", "directory", "exec", "probe", "envelope", "clock"];

    let passed = all.map(|stage| (stage.to_owned(), true));
    assert_eq!(stages(&site, "web", 0), passed);
    assert!(!site.remote_dir("web").exists(), "the trial's directory stayed");
    assert_eq!(row(&site, "web"), None, "the trial was stored");

    let dead = stages(&site, "dead", 1);
    assert_eq!(dead, [("dns".to_owned(), true), ("connect".to_owned(), false)]);
    assert_eq!(stages(&site, "foreign", 1), [("login".to_owned(), false)]);

    site.collect_with(&["--only", "web"]).expect_all();
    assert_eq!(stages(&site, "web", 0), passed);
    let shown = site.collector(&["check-host", "web"]).expect(0).stdout;
    assert!(shown.contains("/sample") && shown.contains("*/5 * * * *"), "{shown}");
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
    let entries = std::fs::read_dir(site.remote_dir("web")).unwrap().flatten().map(|entry| entry.path());
    let spool = entries.filter(|path| path.is_dir()).next_back().unwrap();
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
