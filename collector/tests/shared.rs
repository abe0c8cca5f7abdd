//! Hosts that share a fleet: the program itself, each host a directory of its own, over a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "what fails in a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use model::ClientUid;
use serde_json::Value;
use storage::conformance::server::Server;
use storage::{Access, Program, Run, Store};
use tempfile::TempDir;

/// A fleet of clients that are all this machine, and hosts that collect them.
struct Fleet {
    directory: TempDir,
    database: String,
    clients: usize,
}

impl Fleet {
    fn of(clients: usize) -> Self {
        let database = Server::shared().database();
        Self { directory: tempfile::tempdir().unwrap(), database, clients }
    }

    fn url(&self) -> String {
        format!("{}?sslmode=disable", Server::shared().url(&self.database))
    }

    fn state(&self, host: &str) -> PathBuf {
        self.directory.path().join(host)
    }

    fn config(&self, host: &str, storage: &str) -> PathBuf {
        let clients = (0..self.clients).map(|number| {
            let spool = self.directory.path().join("spool").join(number.to_string());
            format!("<client name=\"c{number}\" connection=\"local\" remote-dir=\"{}\"/>\n", spool.display())
        });
        let text = format!(
            "<config>\n{storage}\n<defaults concurrency=\"4\"/>\n{}</config>\n",
            clients.collect::<String>()
        );
        let path = self.directory.path().join(format!("{host}.xml"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The program on `host`.
    fn command(&self, host: &str, args: &[&str]) -> Command {
        let storage = format!(
            "<storage url=\"{}\" lease=\"10s\" state-dir=\"{}\"/>",
            self.url(),
            self.state(host).display()
        );
        self.program(&self.config(host, &storage), args)
    }

    /// A machine of that name: two runs on one host are never under way together.
    fn on(host: &str) -> Command {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--uts", "sh", "-c", "hostname \"$0\" && exec \"$@\"", host]);
        command.arg(env!("CARGO_BIN_EXE_fleet-collector"));
        command
    }

    fn program(&self, config: &Path, args: &[&str]) -> Command {
        let host = config.file_stem().and_then(|name| name.to_str()).unwrap();
        let mut command = Self::on(host);
        command
            .args(args)
            .arg("--config")
            .arg(config)
            .env("HOME", self.directory.path())
            .env_remove("RUST_LOG");
        command
    }

    fn run(&self, host: &str, args: &[&str]) -> Output {
        self.command(host, args).output().unwrap()
    }

    fn json(&self, host: &str, args: &[&str]) -> Value {
        json(&self.run(host, &[args, &["--json"]].concat()))
    }

    /// Gives `to` the master key of `from`, as an admin does.
    fn copy_key(&self, from: &str, to: &str) {
        fs::create_dir_all(self.state(to)).unwrap();
        fs::copy(self.state(from).join("master.key"), self.state(to).join("master.key")).unwrap();
    }

    /// How many attempts there are, and on how many clients.
    fn attempts(&self) -> String {
        Server::shared().sql(&self.database, "SELECT count(*), count(DISTINCT client_id) FROM collection")
    }

    /// Another host, as the storage knows it.
    fn other(&self) -> Box<dyn Store> {
        let environment = config::Environment::default();
        let (url, _) = config::storage_url(&self.url(), &environment, Path::new("/")).unwrap();
        let lease = Duration::from_secs(10);
        storage::open(&Access { url, password: None, lease, program: Program::Collector }).unwrap()
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(answer: &Value) -> Vec<String> {
    let clients = answer["clients"].as_array().unwrap();
    clients.iter().map(|client| client["name"].as_str().unwrap().to_owned()).collect()
}

fn begun(store: &mut dyn Store, host: &str) -> Run {
    let begin = store.now().unwrap().unwrap();
    let host = host.to_owned();
    let run = Run { program: Program::Collector, host, begin, end: None, done: 0, failed: 0, whole: true };
    store.begin_run(&run).unwrap()
}

#[test]
fn each_client_is_collected_by_one_of_three() {
    let fleet = Fleet::of(24);
    assert_eq!(fleet.json("a", &["--only", "c0"])["collected"], 1);
    let hosts = ["a", "b", "c"];
    for host in &hosts[1..] {
        fleet.copy_key("a", host);
    }
    let running: Vec<_> = hosts
        .iter()
        .map(|host| {
            fleet.command(host, &["--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let answers: Vec<_> = running.into_iter().map(|child| json(&child.wait_with_output().unwrap())).collect();
    let collected: Vec<_> = answers.iter().flat_map(names).collect();
    let expected: BTreeSet<_> = (1..24).map(|number| format!("c{number}")).collect();
    assert_eq!(collected.iter().cloned().collect::<BTreeSet<_>>(), expected, "c0 had its turn a moment ago");
    assert_eq!(collected.len(), 23, "nobody twice");
    assert!(answers.iter().all(|answer| answer["failed"] == 0), "{answers:?}");
    assert_eq!(fleet.attempts(), "24|24");

    let again = fleet.run("b", &["--json"]);
    assert_eq!(
        (json(&again)["collected"].clone(), again.status.code()),
        (0.into(), Some(0)),
        "all had their turn"
    );
    assert_eq!(fleet.json("c", &["--only", "c5"])["collected"], 1, "who asks by name wants it now");
    assert_eq!(fleet.attempts(), "25|24");
}

#[test]
fn what_another_has_hold_of_is_waited_for_or_told() {
    let fleet = Fleet::of(3);
    assert_eq!(fleet.json("a", &["--only", "c0"])["collected"], 1);
    let mut other = fleet.other();
    let run = begun(&mut *other, "b");
    let (wanted, mut made) = (["c1", "c2"].map(|name| name.parse().unwrap()), 0);
    let mut new_uid = || {
        made += 1;
        ClientUid([made; 16])
    };
    let rows = other.clients(&wanted, &mut new_uid).unwrap();
    let uids: Vec<_> = rows.iter().map(|row| row.uid).collect();
    assert_eq!(other.claim(&uids, Duration::ZERO, 9).unwrap().taken.len(), 2);

    let told = fleet.run("a", &["--only", "c1"]);
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stderr).contains("another collector is visiting c1 right now"), "{told:?}");

    let whole =
        fleet.command("a", &["--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(2));
    let end = other.now().unwrap();
    other.end_run(&Run { end, ..run }).unwrap();
    let whole = json(&whole.wait_with_output().unwrap());
    assert_eq!(names(&whole), ["c1", "c2"], "the other let go of them without a visit");
}

#[test]
fn who_is_taken_for_dead_ends_at_once() {
    let fleet = Fleet::of(2);
    assert_eq!(fleet.json("a", &["--only", "c0"])["collected"], 1);
    // Whoever begins a run on the same host takes the one before for dead.
    let server = Server::shared();
    server.sql(
        &fleet.database,
        "CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql AS
         $$BEGIN UPDATE run SET over = true WHERE run_id = NEW.run_id; RETURN NEW; END$$;
         CREATE TRIGGER bury AFTER UPDATE OF run_id ON claim FOR EACH ROW WHEN (NEW.run_id IS NOT NULL)
         EXECUTE FUNCTION bury()",
    );
    let ended = fleet.run("a", &["--only", "c1"]);
    assert_eq!(ended.status.code(), Some(75), "{ended:?}");
    let told = text(&ended.stderr);
    assert!(told.contains("for longer than its lease") && told.lines().count() == 1, "{told}");
    assert_eq!(fleet.attempts(), "1|1", "nothing of it is stored");
    server.sql(&fleet.database, "DROP TRIGGER bury ON claim");
    assert_eq!(fleet.json("a", &["--only", "c1"])["collected"], 1, "what was spooled there came now");
    assert_eq!(fleet.attempts(), "2|2");
}

#[test]
fn a_host_without_the_master_key_makes_none() {
    let fleet = Fleet::of(1);
    assert_eq!(fleet.json("a", &[])["collected"], 1);
    let refused = |host: &str| {
        let output = fleet.run(host, &["--only", "c0"]);
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        text(&output.stderr)
    };
    let told = refused("b");
    let file = fleet.state("b").join("master.key");
    assert!(
        told.contains(&format!("{}: it is not there", file.display())) && told.contains("scp -p"),
        "{told}"
    );
    assert!(!file.exists());
    fs::write(&file, [7; 32]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(refused("b").contains("it is not the master key"));
    fleet.copy_key("a", "b");
    assert_eq!(fleet.json("b", &["--only", "c0"])["collected"], 1);
}

#[test]
fn a_file_is_moved_and_the_fleet_goes_on() {
    let fleet = Fleet::of(2);
    let before = format!("<storage url=\"sqlite://{}/fleet.db\"/>", fleet.state("a").display());
    let before = fleet.config("before", &before);
    let run = |config: &Path, args: &[&str]| fleet.program(config, args).output().unwrap();
    assert_eq!(json(&run(&before, &["--json"]))["collected"], 2);
    let secret = run(&before, &["migrate-storage", "--to", "postgres://me:hunter2@db/x"]);
    assert_eq!(secret.status.code(), Some(2));
    assert!(text(&secret.stderr).contains("PGPASSWORD") && !text(&secret.stderr).contains("hunter2"));
    let backwards = run(&before, &["migrate-storage", "--from", &fleet.url()]);
    assert_eq!(backwards.status.code(), Some(2), "{backwards:?}");

    let moved = run(&before, &["migrate-storage", "--to", &fleet.url()]);
    assert_eq!(moved.status.code(), Some(0), "{moved:?}");
    let said = text(&moved.stdout);
    assert!(said.contains("both sides compared") && said.contains("client "), "{said}");
    assert_eq!(fleet.attempts(), "2|2");
    let after = fleet.json("a", &["--fresh"]);
    assert_eq!(after["collected"], 2, "with the keys that were there: {after}");
    assert_eq!(fleet.attempts(), "4|2");

    let kept = fleet.run("a", &["maintain-storage", "--user", "postgres"]);
    assert_eq!(kept.status.code(), Some(0), "{kept:?}");
    assert!(text(&kept.stdout).contains("keep-raw is not said: all is kept"), "{kept:?}");
    assert_eq!(run(&before, &["maintain-storage"]).status.code(), Some(2));
}
