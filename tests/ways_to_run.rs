//! The ways in which a probe gets to run on a client: shipped, installed behind a key that can do nothing else, by the
//! client's own cron while the collector is away, in directories that several share.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tests::child;
use tests::programs;
use tests::site::{Site, spools};
use tests::sshd::{Sshd, make_key};

/// A client with an installed probe, and a key that is limited to it.
struct Installed {
    site: Site,
    sshd: Sshd,
    directory: PathBuf,
}

impl Installed {
    /// `forced` makes the forced command of the probe's path and its directory.
    fn new(forced: impl Fn(&str, &str) -> String) -> Self {
        let (site, sshd) = (Site::new(), Sshd::start());
        site.know(&sshd);
        let (probe, directory) = (site.path("local-probe"), site.remote_dir("web1"));
        child::output(
            &programs::collector().display().to_string(),
            &["probe", "--write", &probe.display().to_string()],
        );
        make_key(&site.path("limited"), "ed25519", "");
        let public = std::fs::read_to_string(site.path("limited.pub")).unwrap();
        let command = forced(&probe.display().to_string(), &directory.display().to_string());
        std::fs::write(site.path("line"), format!("restrict,command=\"{command}\" {public}")).unwrap();
        sshd.authorize(&site.path("line"));
        let attributes = format!("mode=\"installed\" identity-file=\"{}\"", site.text("limited"));
        site.configure(&site.client(&sshd, "web1", &attributes, ""));
        Self { site, sshd, directory }
    }

    fn usual() -> Self {
        Self::new(|probe, directory| format!("{probe} forced {directory}"))
    }

    /// OpenSSH's own program with the limited key.
    fn openssh(&self, program: &str, options: &[&str], rest: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "20", program, "-F", "/dev/null"]);
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
        ] {
            command.args(["-o", option]);
        }
        command.arg("-i").arg(self.site.path("limited"));
        command.args([if program == "ssh" { "-p" } else { "-P" }, &self.sshd.port().to_string()]);
        command.args(options).args(rest).stdin(Stdio::null()).output().unwrap()
    }

    fn ssh(&self, options: &[&str], command: &[&str]) -> Output {
        let address = [self.sshd.address()];
        self.openssh("ssh", options, &[&address, command].concat())
    }
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn an_installed_probe_serves_and_nothing_is_sent() {
    let client = Installed::usual();
    for _ in 0..2 {
        assert!(!client.site.collect().expect_all().only().uploaded);
    }
    assert_eq!(client.sshd.accepted(), 2);
    assert!(client.site.status().to_string().contains("\"memory\""));
    let names = std::fs::read_dir(&client.directory).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 1, "the spool alone: {names:?}");
    let link = client.directory.join(&names[0]).join("sample");
    assert_eq!(std::fs::read_link(link).unwrap(), client.site.path("local-probe"), "for its own cron");
}

#[test]
fn the_limited_key_can_do_nothing_else() {
    let client = Installed::usual();
    let proof = client.site.path("proof");
    let touch = format!("touch {}", proof.display());
    let serve_and_touch = format!("local-probe serve; {touch}");
    let substitution = format!("local-probe serve $({touch})");
    for command in [
        vec![touch.as_str()],
        vec![&serve_and_touch],
        vec![&substitution],
        vec!["local-probe serve /etc"],
        vec!["local-probe sample /tmp x"],
        vec!["local-probe", "--print"],
        vec!["/bin/sh"],
        vec![],
    ] {
        let output = client.ssh(&[], &command);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", said(&output));
        assert!(said(&output).contains("this login answers `local-probe serve` alone"), "{}", said(&output));
    }

    // A terminal: asked for, and not given.
    let terminal = client.ssh(&["-tt"], &["tty"]);
    assert!(said(&terminal).contains("PTY allocation request failed"), "{}", said(&terminal));
    // Forwarding, of ports there and here, of an agent, of a socket.
    let port = client.sshd.port().to_string();
    let forward = client.ssh(&["-W", &format!("127.0.0.1:{port}")], &[]);
    assert!(!forward.status.success() && !said(&forward).contains("SSH-2.0"), "{}", said(&forward));
    let back = client.ssh(&["-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:9"], &[]);
    assert_eq!(back.status.code(), Some(255), "{}", said(&back));

    // Files, by sftp as a subsystem and by both ways of scp.
    let target = format!("{}:{}", client.sshd.address(), proof.display());
    let source = client.site.text("config.xml");
    for way in ["-s", "-O"] {
        let copied = client.openssh("scp", &[way], &[&source, &target]);
        assert!(!copied.status.success(), "scp {way}: {}", said(&copied));
    }
    assert!(!proof.exists(), "something was done");

    // The environment: what the server lets in does not change what runs.
    let environment =
        client.ssh(&["-o", "SetEnv=SSH_ORIGINAL_COMMAND=sh LC_ALL=x BASH_ENV=/etc/passwd"], &["sh"]);
    assert_eq!(environment.status.code(), Some(2), "{}", said(&environment));
    assert!(!client.directory.exists(), "what was refused left something");
    client.site.collect().expect_all();
}

#[test]
fn a_client_without_the_installed_probe_is_named_with_the_remedy_and_nothing_is_sent() {
    for (forced, part) in [
        ("/nonexistent/local-probe forced d", "No such file or directory"),
        ("printf '\\002fleet-health/2\\n'; cat", "it speaks version 2 of the protocol"),
        ("true", "nothing was printed"),
        ("echo 'local-probe 0.0.1: forced or what follows it is not understood'", "0.0.1"),
    ] {
        let client = Installed::new(|_, _| forced.to_owned());
        let collection = client.site.collect();
        let only = collection.only();
        assert_eq!(only.outcome, "not-installed", "{forced}: {only:?}");
        assert!(only.message.contains(part), "{forced}: {only:?}");
        assert!(only.message.contains("fleet-collector recipe"), "{only:?}");
        assert!(!only.uploaded && !client.directory.exists());
    }
}

#[test]
fn a_key_that_is_not_limited_runs_no_shell_commands_of_ours_in_installed_mode() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "mode=\"installed\"", ""));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "not-installed", "{collection:#?}");
    assert!(!site.remote_dir("web1").exists());
}

#[test]
fn a_limited_key_for_a_client_that_is_not_set_to_installed_is_told_so() {
    let client = Installed::usual();
    let attributes = format!("identity-file=\"{}\"", client.site.text("limited"));
    client.site.configure(&client.site.client(&client.sshd, "web1", &attributes, ""));
    let collection = client.site.collect();
    let only = collection.only();
    assert_eq!(only.outcome, "not-installed", "{only:?}");
    assert!(only.message.contains("mode=\"installed\""), "{only:?}");
}

#[test]
fn a_login_that_repeats_the_command_before_it_runs_it_serves() {
    let site = Site::new();
    let sshd =
        Sshd::with("ForceCommand echo \"$SSH_ORIGINAL_COMMAND\"; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    for uploaded in [true, false] {
        assert_eq!(site.collect().expect_all().only().uploaded, uploaded);
    }
}

/// A new version of the probe goes to where the spool is, though a directory before that has become usable.
#[test]
fn the_spool_stays_in_its_directory() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let (first, second) = (site.path("first"), site.path("second"));
    let usual = site.remote_dir("web1").display().to_string();
    let both = format!("{}, {}", first.display(), second.display());
    site.configure(&site.client(&sshd, "web1", "", "").replace(&usual, &both));
    std::fs::write(&first, "no directory").unwrap();
    site.collect().expect_all();
    std::fs::remove_file(&first).unwrap();
    let names = std::fs::read_dir(&second).unwrap().flatten().map(|entry| entry.path());
    let probe = names.into_iter().find(|path| path.to_string_lossy().contains("/probe-")).unwrap();
    std::fs::remove_file(&probe).unwrap();
    assert!(site.collect().expect_all().only().uploaded);
    assert!(probe.exists() && !first.exists());
}

#[test]
fn the_recipe_is_one_that_works() {
    let client = Installed::usual();
    client.site.collect().expect_all();
    let recipe = client.site.collector(&["recipe", "web1"]).expect(0).stdout;
    let line = recipe.lines().map(str::trim).find(|line| line.starts_with("restrict,")).unwrap();
    let public = std::fs::read_to_string(client.site.path("limited.pub")).unwrap();
    let key = public.rsplit_once(' ').unwrap().0;
    let directory = client.directory.display();
    assert_eq!(line, format!("restrict,command=\"/usr/local/bin/local-probe forced {directory}\" {key}"));
    let uid = std::fs::read_dir(&client.directory).unwrap().flatten().next().unwrap().file_name();
    let cron = recipe.lines().find_map(|line| line.trim().strip_prefix("*/5 * * * *  ")).unwrap();
    let port = format!("scp -P {} local-probe root@127.0.0.1:", client.sshd.port());
    assert!(recipe.contains(&port), "{recipe}");
    let checked = client.site.collector(&["check-host", "web1"]).expect(0).stdout;
    assert!(checked.contains(cron), "one line for both: {checked}");
    assert!(cron.contains(uid.to_str().unwrap()), "{cron}");
    child::output("/bin/sh", &["-c", cron]);
    assert_eq!(records(&client.directory), 2);
    client.site.collect().expect_all();
}

/// Records in the spools of a directory.
fn records(directory: &Path) -> usize {
    spools(directory)
        .iter()
        .map(|spool| {
            let names = std::fs::read_dir(spool).unwrap().flatten().map(|entry| entry.file_name());
            names.filter(|name| name.to_string_lossy().parse::<u64>().is_ok()).count()
        })
        .sum()
}

#[test]
fn samples_of_the_clients_own_cron_wait_for_the_collector() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    site.collect().expect_all();
    let spool = spools(&site.remote_dir("web1")).pop().unwrap();
    let sample = spool.join("sample").display().to_string();
    let many = format!("i=0; while [ $i -lt 60 ]; do {sample} || exit 1; i=$((i+1)); done");
    child::output("/bin/sh", &["-c", &many]);
    assert_eq!(records(&site.remote_dir("web1")), 61);
    site.collect_with(&["--fresh"]).expect_all();
    assert_eq!(site.reports(), 62, "nothing is lost, nothing comes twice");
    site.collect_with(&["--fresh"]).expect_all();
    assert_eq!(site.reports(), 63);
    assert_eq!(records(&site.remote_dir("web1")), 1, "what was acknowledged is gone, but the newest");
}

#[test]
fn two_management_hosts_share_a_login_at_the_same_time() {
    let sshd = Sshd::start();
    let sites = [Site::new(), Site::new()];
    let shared = tempfile::tempdir().unwrap();
    let directory = shared.path().join("fleet");
    for site in &sites {
        site.know(&sshd);
        let own = site.remote_dir("web1").display().to_string();
        let client = site.client(&sshd, "web1", "", "").replace(&own, &directory.display().to_string());
        site.configure(&client);
    }
    for round in 1..=3_u64 {
        std::thread::scope(|scope| {
            for site in &sites {
                scope.spawn(|| site.collect_with(&["--fresh"]).expect_all());
            }
        });
        for site in &sites {
            assert_eq!(site.reports(), round, "each has its own spool, and acknowledges for itself");
        }
    }
    assert_eq!(spools(&directory).len(), 2);
    let probes = std::fs::read_dir(&directory).unwrap().flatten();
    let names: Vec<_> = probes.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("probe-")).count(), 1, "{names:?}");
}
