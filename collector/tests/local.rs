//! The program itself against this machine (`connection="local"`), through real processes and a real SQLite file.

#![expect(clippy::unwrap_used, reason = "what fails in a helper of a test fails the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use storage::{History as _, SqliteStore};
use tempfile::TempDir;

struct Machine {
    directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("state/fleet.db")
    }

    /// Runs the collector with `clients` as the configuration's last part.
    fn command(&self, clients: &str, args: &[&str]) -> Command {
        let config = self.path("config.xml");
        let text = format!(
            "<config>\n<storage url=\"sqlite://{}\"/>\n{clients}\n</config>\n",
            self.database().display()
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-collector"));
        command
            .args(args)
            .arg("--config")
            .arg(&config)
            .env("HOME", self.directory.path())
            .env_remove("RUST_LOG");
        command
    }

    fn run(&self, clients: &str, args: &[&str]) -> Output {
        self.command(clients, args).output().unwrap()
    }

    fn json(&self, clients: &str, args: &[&str]) -> Value {
        let output = self.run(clients, &[&["--json"], args].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn reports(&self) -> u64 {
        SqliteStore::open_existing(&self.database()).unwrap().counts().unwrap().reports
    }
}

fn local(name: &str, remote_dir: &Path) -> String {
    format!(
        "<client name=\"{name}\" ip=\"127.0.0.1\" connection=\"local\" remote-dir=\"{}\"/>",
        remote_dir.display()
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_first_run_sends_the_probe_and_the_second_does_not() {
    let machine = Machine::new();
    let client = local("here", &machine.path("probes"));
    let first = machine.json(&client, &[]);
    assert_eq!((&first["version"], &first["collected"], &first["failed"]), (&1.into(), &1.into(), &0.into()));
    let here = &first["clients"][0];
    assert_eq!(
        (&here["name"], &here["outcome"], &here["message"]),
        (&"here".into(), &"collected".into(), &"".into())
    );
    assert_eq!(here["uploaded"], true);
    assert_eq!(machine.reports(), 1);

    let second = machine.json(&client, &["--fresh"]);
    assert_eq!(
        (&second["clients"][0]["outcome"], &second["clients"][0]["uploaded"]),
        (&"collected".into(), &false.into())
    );
    assert_eq!(machine.reports(), 2, "nothing is lost, nothing is stored twice");

    let mut store = SqliteStore::open_existing(&machine.database()).unwrap();
    let latest = store.latest().unwrap();
    let (_, host, samples) = latest[0].report.as_ref().unwrap();
    assert!(!host.kernel.is_empty());
    let value =
        |metric: &str| samples.iter().find(|sample| sample.metric == metric).map(|sample| sample.value);
    assert!(value("memory").is_some_and(|percent| percent > 0.0 && percent < 100.0), "{samples:?}");
    assert!(
        value("clock-offset").is_some_and(|seconds| seconds.abs() < 5.0),
        "one clock cannot be off from itself"
    );
}

#[test]
fn a_run_is_silent_where_nobody_asked() {
    let machine = Machine::new();
    let quiet = machine.run(&local("here", &machine.path("probes")), &[]);
    assert!(quiet.status.success());
    assert_eq!((text(&quiet.stdout), text(&quiet.stderr)), (String::new(), String::new()));
}

#[test]
fn many_clients_of_one_machine_stay_apart() {
    let machine = Machine::new();
    let clients: String =
        (0..20).map(|number| local(&format!("c{number}"), &machine.path("probes"))).collect();
    let run = machine.json(&clients, &[]);
    assert_eq!(run["collected"], 20, "{run}");
    assert_eq!(machine.reports(), 20);
    let only = machine.json(&clients, &["--only", "c7"]);
    assert_eq!(only["clients"].as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_that_is_a_link_gets_no_probe() {
    let machine = Machine::new();
    fs::create_dir(machine.path("elsewhere")).unwrap();
    symlink(machine.path("elsewhere"), machine.path("probes")).unwrap();
    let client = local("here", &machine.path("probes"));
    let output = machine.run(&client, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["clients"][0]["outcome"], "no-exec", "{run}");
    assert!(run["clients"][0]["message"].as_str().unwrap().contains("set remote-dir"), "{run}");
    assert_eq!(fs::read_dir(machine.path("elsewhere")).unwrap().count(), 0);
    let silent = machine.run(&client, &[]);
    assert_eq!((silent.status.code(), text(&silent.stderr)), (Some(1), String::new()));
}

#[test]
fn the_next_directory_serves_where_the_first_does_not() {
    let machine = Machine::new();
    fs::write(machine.path("file"), "").unwrap();
    let directories = format!("{} {}", machine.path("file").display(), machine.path("probes").display());
    let client =
        format!("<client name=\"here\" ip=\"127.0.0.1\" connection=\"local\" remote-dir=\"{directories}\"/>");
    for uploaded in [true, false] {
        let run = machine.json(&client, &[]);
        assert_eq!(
            (&run["clients"][0]["outcome"], &run["clients"][0]["uploaded"]),
            (&"collected".into(), &uploaded.into()),
            "{run}"
        );
    }
}

#[test]
fn a_probe_that_was_damaged_is_replaced() {
    let machine = Machine::new();
    let client = local("here", &machine.path("probes"));
    machine.json(&client, &[]);
    let probe = fs::read_dir(machine.path("probes")).unwrap().map(|entry| entry.unwrap().path());
    let probe = probe.into_iter().find(|path| path.is_file()).expect("the probe lies there");
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&probe, "\x7fELF").unwrap();
    let run = machine.json(&client, &["--fresh"]);
    assert_eq!(
        (&run["clients"][0]["outcome"], &run["clients"][0]["uploaded"]),
        (&"collected".into(), &true.into()),
        "{run}"
    );
    assert_eq!(machine.reports(), 2);
}

#[test]
fn a_dry_run_changes_nothing() {
    let machine = Machine::new();
    let output = machine.run(&local("here", &machine.path("probes")), &["--dry-run"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "clients that would be visited: 1\nhere: this machine\n");
    assert!(!machine.path("state").exists() && !machine.path("probes").exists());
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let machine = Machine::new();
    let client = local("web1", &machine.path("probes"));
    let unknown = machine.run(&client, &["--only", "web2"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(text(&unknown.stderr), "no enabled client is called web2; did you mean web1?\n");
    assert_eq!(machine.run("<nonsense/>", &[]).status.code(), Some(78));
    assert_eq!(machine.run(&client, &["check-config"]).status.code(), Some(0));
    let nobody = machine.run(&client, &["trust", "web1"]);
    assert_eq!(nobody.status.code(), Some(2), "{}", text(&nobody.stderr));

    let _lock = storage::RunLock::take(&machine.path("state"), storage::Program::Collector).unwrap();
    let busy = machine.run(&client, &[]);
    assert_eq!(busy.status.code(), Some(75));
    assert!(text(&busy.stderr).starts_with("another fleet-collector is running"), "{}", text(&busy.stderr));
}

#[test]
fn a_home_that_is_not_there_hinders_nobody() {
    let machine = Machine::new();
    let client = local("here", &machine.path("probes"));
    let output = machine.command(&client, &["--json"]).env("HOME", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let machine = Machine::new();
    let client = local("here", &machine.path("probes"));
    for args in [&["--json"][..], &["check-config"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = machine.command(&client, args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).starts_with("stdout: No space left on device"), "{output:?}");
    }
}

#[test]
fn who_holds_the_secrets_of_all_leaves_no_core() {
    let machine = Machine::new();
    let seen = machine.path("limits");
    // The command's parent is the supervisor.
    let client = format!(
        "<client ip=\"127.0.0.1\" port=\"1\" username=\"u\" \
         password-command=\"cat /proc/$PPID/limits &gt; {}; echo secret\"/>",
        seen.display()
    );
    machine.json(&client, &[]);
    let limits = fs::read_to_string(seen).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
}

#[test]
fn storage_that_fails_is_told_in_one_line() {
    let machine = Machine::new();
    fs::create_dir_all(machine.database()).unwrap();
    let failed = machine.run(&local("here", &machine.path("probes")), &[]);
    assert_eq!(failed.status.code(), Some(74));
    assert_eq!(text(&failed.stderr).lines().count(), 1, "{}", text(&failed.stderr));
}

#[test]
fn the_embedded_probe_can_be_written_to_a_file() {
    let machine = Machine::new();
    let file = machine.path("probe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-collector"));
    assert!(command.args(["probe", "--write"]).arg(&file).status().unwrap().success());
    let version = Command::new(&file).arg("--version").output().unwrap();
    assert!(version.status.success(), "{version:?}");
}

#[test]
fn a_worker_without_its_supervisor_does_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-collector"));
    let output = command.arg("worker").stdin(std::process::Stdio::null()).output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
}
