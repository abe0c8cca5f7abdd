//! Collecting through a real sshd: logins, uploads, what a client can do wrong, and what an admin can ask for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use tests::agent::Agent;
use tests::child;
use tests::programs;
use tests::silent::{BlackHole, Silent, refused_port};
use tests::site::Site;
use tests::sshd::{Sshd, make_key};

/// A site with one server whose host keys are known, and one client of that server.
fn site_with(attributes: &str) -> (Site, Sshd) {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", attributes, ""));
    (site, sshd)
}

/// The probes that lie in a client's directory.
fn probes(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the client's directory is there");
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"probe-")))
        .collect()
}

#[test]
fn every_kind_of_key_logs_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let (site, sshd) = (Site::new(), Sshd::start());
        site.know(&sshd);
        let key = site.path("key");
        make_key(&key, kind, "");
        sshd.authorize(&site.path("key.pub"));
        site.configure(&site.client(&sshd, kind, &format!("identity-file=\"{}\"", key.display()), ""));
        site.collect().expect_all();
        assert_eq!(sshd.accepted(), 1, "{kind}: {}", sshd.log());
    }
}

#[test]
fn a_key_with_a_passphrase_logs_in() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    make_key(&site.path("key"), "ed25519", "open sesame");
    sshd.authorize(&site.path("key.pub"));
    write_private(&site.path("passphrase"), "open sesame\n");
    let attributes =
        format!("identity-file=\"{}\" passphrase-file=\"{}\"", site.text("key"), site.text("passphrase"));
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    site.collect().expect_all();
}

#[test]
fn a_wrong_passphrase_is_named_and_sends_nothing() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    make_key(&site.path("key"), "ed25519", "open sesame");
    write_private(&site.path("passphrase"), "abracadabra\n");
    let attributes =
        format!("identity-file=\"{}\" passphrase-file=\"{}\"", site.text("key"), site.text("passphrase"));
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "credential", "{collection:#?}");
    assert!(collection.only().message.contains("passphrase"), "{collection:#?}");
    assert!(!collection.only().message.contains("abracadabra"), "a secret is shown: {collection:#?}");
    assert_eq!(sshd.accepted(), 0);
}

#[test]
fn an_agent_logs_in() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let agent = Agent::start(&site.path("home"));
    agent.add(&sshd.login_key());
    site.configure(&site.client(
        &sshd,
        "web1",
        &format!("identity-agent=\"{}\"", agent.socket().display()),
        "",
    ));
    site.collect().expect_all();
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let (site, _sshd) = site_with("identity-agent=\"/nonexistent/agent\"");
    let collection = site.collect();
    assert!(matches!(collection.only().outcome.as_str(), "credential" | "auth-refused"), "{collection:#?}");
    assert!(collection.only().message.contains("agent"), "{collection:#?}");
}

#[test]
fn a_key_that_the_server_does_not_take_is_refused_after_one_try() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    make_key(&site.path("stranger"), "ed25519", "");
    let attributes = format!("identity-file=\"{}\"", site.text("stranger"));
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    let collection = site.collect();
    assert_eq!(collection.run.code, Some(1));
    assert_eq!(collection.only().outcome, "auth-refused", "{collection:#?}");
    let connections = sshd.log().lines().filter(|line| line.contains("authenticating user")).count();
    assert_eq!(connections, 1, "{}", sshd.log());
}

#[test]
fn the_probe_travels_once() {
    let (site, sshd) = site_with("");
    assert!(site.collect().expect_all().only().uploaded);
    let directory = site.remote_dir("web1");
    let probe = probes(&directory).pop().expect("the probe is there");
    assert_eq!(probe.metadata().unwrap().permissions().mode() & 0o7777, 0o500);
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, 0o700);

    assert!(!site.collect().expect_all().only().uploaded);

    std::fs::remove_file(&probe).unwrap();
    assert!(site.collect().expect_all().only().uploaded);
    assert!(probe.exists());
    assert_eq!(sshd.accepted(), 3);
}

#[test]
fn stale_and_half_uploads_do_no_harm() {
    let (site, _sshd) = site_with("");
    let directory = site.remote_dir("web1");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(directory.join(".upload-0123456789abcdef"), "half a probe").unwrap();
    std::fs::write(directory.join("probe-0000"), "not a probe").unwrap();
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
}

#[test]
fn a_directory_that_is_a_link_or_a_file_is_refused() {
    let (site, _sshd) = site_with("");
    let elsewhere = site.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, site.remote_dir("web1")).unwrap();
    let collection = site.collect();
    assert_eq!(collection.failed, 1, "{collection:#?}");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0, "something was written through the link");

    std::fs::remove_file(site.remote_dir("web1")).unwrap();
    std::fs::write(site.remote_dir("web1"), "a file").unwrap();
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "no-exec", "{collection:#?}");
}

#[test]
fn the_next_directory_serves_where_the_first_cannot() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    std::fs::write(site.path("blocked"), "a file").unwrap();
    let client = site.client(&sshd, "web1", "", "");
    let second = site.remote_dir("web1");
    let both = format!("{}, {}", site.text("blocked"), second.display());
    site.configure(&client.replace(&format!("\"{}\"", second.display()), &format!("\"{both}\"")));
    site.collect().expect_all();
    assert_eq!(probes(&second).len(), 1);
    assert!(!site.collect().expect_all().only().uploaded);
}

#[test]
fn login_noise_is_skipped() {
    let options = "ForceCommand echo Welcome; echo to the machine >&2; sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let (site, sshd) = (Site::new(), Sshd::with(options));
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
}

#[test]
fn endless_login_noise_is_an_error_that_says_so() {
    let options = "ForceCommand yes welcome";
    let (site, sshd) = (Site::new(), Sshd::with(options));
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "timeout=\"20s\"", ""));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "shell-noise", "{collection:#?}");
    assert!(collection.only().message.contains("welcome"), "{collection:#?}");
}

#[test]
fn a_login_that_runs_nothing_is_a_failure() {
    let (site, sshd) = (Site::new(), Sshd::with("ForceCommand true"));
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "timeout=\"20s\"", ""));
    let collection = site.collect();
    assert_eq!((collection.failed, collection.run.code), (1, Some(1)), "{collection:#?}");
    assert!(!collection.only().message.is_empty());
}

#[test]
fn those_who_do_not_answer_harm_only_themselves() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let (silent, hole) = (Silent::start(), BlackHole::start());
    let dead = |name: &str, port: u16| {
        let client = site.client(&sshd, name, "timeout=\"8s\"", "");
        client.replace(&format!("port=\"{}\"", sshd.port()), &format!("port=\"{port}\""))
    };
    let dns = site.client(&sshd, "dns", "", "").replace("ip=\"127.0.0.1\"", "ip=\"no-such-host.invalid\"");
    site.configure(
        &[
            dead("silent", silent.port()),
            dead("hole", hole.port()),
            dead("refused", refused_port()),
            dns,
            site.client(&sshd, "alive", "", ""),
        ]
        .concat(),
    );
    let collection = site.collect();
    let outcome = |name: &str| collection.clients[name].outcome.as_str();
    assert_eq!(outcome("alive"), "collected", "{collection:#?}");
    assert_eq!(outcome("silent"), "timeout", "{collection:#?}");
    assert_eq!(outcome("hole"), "timeout", "{collection:#?}");
    assert_eq!(outcome("refused"), "refused", "{collection:#?}");
    assert_eq!(outcome("dns"), "dns", "{collection:#?}");
    assert_eq!((collection.collected, collection.failed), (1, 4));
    assert_eq!(collection.run.code, Some(1));
}

#[test]
fn cron_hears_nothing_of_failed_clients() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let refused = site
        .client(&sshd, "refused", "", "")
        .replace(&format!("port=\"{}\"", sshd.port()), &format!("port=\"{}\"", refused_port()));
    site.configure(&refused);
    let run = site.collector(&[]).expect(1);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let run = site.collector(&["-v"]).expect(1);
    assert!(run.stderr.contains("refused"), "-v says nothing of it: {}", run.stderr);
}

#[test]
fn only_those_that_are_asked_for_are_collected() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(
        &[
            site.client(&sshd, "web1", "group=\"web\"", ""),
            site.client(&sshd, "web2", "group=\"web, new\"", ""),
            site.client(&sshd, "db1", "", ""),
        ]
        .concat(),
    );
    let names = |arguments: &[&str]| {
        let collection = site.collect_with(arguments).expect_all();
        collection.clients.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names(&["--only", "db1"]), ["db1"]);
    assert_eq!(names(&["--only", "@web"]), ["web1", "web2"]);
    assert_eq!(names(&["--only", "@new", "--only", "db1"]), ["db1", "web2"]);
    let run = site.collector(&["--only", "db7"]).expect(2);
    assert!(run.stderr.contains("db7"), "{}", run.stderr);
    site.collector(&["--only", "@nobody"]).expect(2);
}

#[test]
fn a_dry_run_connects_to_nobody_and_stores_nothing() {
    let (site, sshd) = site_with("");
    let run = site.collector(&["--dry-run"]).expect(0);
    assert!(run.stdout.contains("web1"), "{}", run.stdout);
    assert_eq!(sshd.accepted(), 0);
    assert!(!site.remote_dir("web1").exists());
    assert!(!site.path("state/fleet.db").exists());
}

#[test]
fn a_second_run_at_the_same_time_leaves_at_once() {
    let (site, sshd) = (Site::new(), Sshd::start());
    let silent = Silent::start();
    let client = site.client(&sshd, "slow", "timeout=\"30s\"", "");
    site.configure(
        &client.replace(&format!("port=\"{}\"", sshd.port()), &format!("port=\"{}\"", silent.port())),
    );
    let mut first = site
        .command(&programs::collector(), &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("timeout runs");
    // Whoever connects holds the lock.
    let _connection = silent.await_connection();
    let run = site.collector(&[]).expect(75);
    assert!(run.stderr.contains("another fleet-collector is running"), "{}", run.stderr);
    child::output("kill", &[&first.id().to_string()]);
    first.wait().unwrap();
}

#[test]
fn this_machine_is_collected_without_ssh() {
    let site = Site::new();
    site.configure(&format!(
        "<client name=\"here\" ip=\"localhost\" connection=\"local\" mail=\"a@example.org\" remote-dir=\"{}\"/>",
        site.text("local")
    ));
    site.collect().expect_all();
    let status = site.status().to_string();
    assert!(status.contains("\"here\"") && status.contains("\"memory\""), "{status}");
}

#[test]
fn two_names_for_one_machine_stay_apart() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let shared = site.remote_dir("one").display().to_string();
    let two =
        site.client(&sshd, "two", "", "").replace(&site.remote_dir("two").display().to_string(), &shared);
    site.configure(&(site.client(&sshd, "one", "", "") + &two));
    let uploads = site.collect().expect_all();
    assert!(uploads.clients.values().any(|client| client.uploaded));
    let spools = std::fs::read_dir(&shared).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(spools, 2);
    site.collect().expect_all();
}

/// Secrets' files may be read by nobody else.
fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
