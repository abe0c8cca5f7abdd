//! `silence` and `ack`, by the program itself over a real storage, and what runs make of them.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::SystemTime;

use common::{Fleet, sample};
use model::Timestamp;
use storage::{AlertStore as _, History as _, SqliteStore};
use tempfile::TempDir;

/// A fleet of two, whose mails are files.
struct Place {
    directory: TempDir,
    fleet: Fleet<SqliteStore>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().display();
        let client = |name: &str, group: &str| {
            format!(
                "<client name=\"{name}\" ip=\"127.0.0.1\" connection=\"local\" mail=\"ops@example.org\" group=\"{group}\">
                   <alert type=\"disk\" limit=\"90%\" repeat=\"1m\"/><alert type=\"load\" limit=\"8\"/></client>"
            )
        };
        let text = format!(
            "<config><storage url=\"sqlite://{home}/state/fleet.db\"/>
             <mail transport=\"directory\" path=\"{home}/mails\" from=\"fleet@example.org\"/>{}{}</config>",
            client("web1", "web"),
            client("db2", "db")
        );
        let config = directory.path().join("config.xml");
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let store = SqliteStore::open(&directory.path().join("state/fleet.db")).unwrap();
        Self { directory, fleet: Fleet::with(store) }
    }

    /// What the program says, and its exit status.
    fn say(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
        command.args(arguments).arg("--config").arg(self.directory.path().join("config.xml"));
        let output = command.env_remove("RUST_LOG").env("TZ", "UTC").output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    }

    /// A collection that ended just now, and a run; how many mails there are.
    fn run(&mut self, client: &str, disk: f64) -> usize {
        let now = Timestamp::from(SystemTime::now());
        self.fleet.collected(client, now, vec![sample("disk", "/var", disk)]);
        assert_eq!(self.say(&[]), (0, String::new()));
        self.mails()
    }

    fn mails(&self) -> usize {
        fs::read_dir(self.directory.path().join("mails")).map_or(0, Iterator::count)
    }

    fn ids(&mut self) -> Vec<String> {
        self.fleet.store.open_episodes().unwrap().into_iter().map(|episode| episode.id.0).collect()
    }
}

#[test]
fn a_silence_begins_and_ends_by_command() {
    let mut place = Place::new();
    assert_eq!(place.say(&["silence", "--list"]), (0, "there is no silence\n".to_owned()));
    let (code, said) = place.say(&["silence", "web1", "--for", "2h", "--why", "disks are\nreplaced"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("silence 1: nobody is told of web1 until 20"), "{said}");
    assert!(said.ends_with("; fleet-alerter silence --end 1 ends it\n"), "{said}");
    let (_, said) = place.say(&["silence", "@db", "--for", "1d", "--why", "moving", "--type", "load"]);
    assert!(said.starts_with("silence 2: nobody is told of load of @db until "), "{said}");
    let (_, list) = place.say(&["silence", "--list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(
        lines[0].starts_with("  1  web1, from 20") && lines[0].ends_with("(2 h): disks are replaced"),
        "{list}"
    );
    assert!(
        lines[1].starts_with("  2  load of @db, from 20") && lines[1].ends_with("(1 d): moving"),
        "{list}"
    );
    assert_eq!(place.run("web1", 95.0), 0, "it fires, and nobody is told");
    assert_eq!(place.run("db2", 95.0), 1, "of disks people are told");
    assert_eq!(place.say(&["silence", "--end", "1"]), (0, "silence 1 is over\n".to_owned()));
    assert_eq!(place.run("web1", 95.0), 2, "it still fires");
    let (code, said) = place.say(&["silence", "--end", "1"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("there is no silence 1 that is not over: see fleet-alerter silence --list"),
        "{said}"
    );
}

#[test]
fn a_silence_of_what_is_not_there_is_refused() {
    let mut place = Place::new();
    for (arguments, expected) in [
        (&["web2"][..], "config.xml has no client web2: did you mean web1?"),
        (&["@wep"], "config.xml has no group @wep: did you mean @web?"),
        (&["web1", "--type", "dsk"], "web1 has no rule of the type dsk: did you mean disk?"),
    ] {
        let (code, said) = place.say(&[&["silence", "--for", "2h", "--why", "x"], arguments].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    for (arguments, expected) in [
        (&["web1", "--why", "x"][..], "--for"),
        (&["web1", "--for", "2h"], "--why"),
        (&["web1", "--for", "soon", "--why", "x"], "write 30m, 2h or 1d"),
        (&["web1", "--list"], "cannot be used with"),
        (&[], "--why"),
    ] {
        let (code, said) = place.say(&[&["silence"], arguments].concat());
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(place.fleet.store.silences(Timestamp(0)).unwrap(), []);
}

#[test]
fn no_storage_is_made() {
    let place = Place::new();
    fs::remove_dir_all(place.directory.path().join("state")).unwrap();
    for arguments in
        [&["silence", "web1", "--for", "2h", "--why", "x"][..], &["silence", "--list"], &["ack", "1"]]
    {
        let (code, said) = place.say(arguments);
        assert_eq!(code, 74, "{said}");
        assert!(said.contains("run fleet-collector first"), "{said}");
    }
    assert!(!place.directory.path().join("state").exists());
}

#[test]
fn who_acknowledges_is_left_alone_until_it_ends() {
    let mut place = Place::new();
    assert_eq!(place.run("web1", 95.0), 1);
    assert_eq!(place.run("db2", 95.0), 2);
    let ids = place.ids();
    let (code, said) = place.say(&["ack", &ids[0][..9], "--why", "ada looks"]);
    assert_eq!((code, said), (0, "acknowledged until it ends: web1: disk /var\n".to_owned()));
    let (_, said) = place.say(&["ack", &ids[1], "--for", "4h"]);
    assert!(said.starts_with("acknowledged until 20"), "{said}");
    assert!(said.ends_with(", and told again then if it still fires: db2: disk /var\n"), "{said}");
    let acknowledged = place.fleet.store.acknowledgements(&[model::EpisodeId(ids[0].clone())]).unwrap();
    assert_eq!((acknowledged[0].why.as_str(), acknowledged[0].until), ("ada looks", None));
    assert_eq!(place.run("web1", 20.0), 3, "its end is told");
    let (code, said) = place.say(&["ack", &ids[0]]);
    assert_eq!(code, 2);
    assert!(said.contains("web1: disk /var is over since 20"), "{said}");
}

#[test]
fn an_id_that_means_none_or_several_is_refused() {
    let mut place = Place::new();
    place.run("web1", 95.0);
    for number in 0..16 {
        let now = Timestamp::from(SystemTime::now());
        let mount = format!("/srv{number}");
        place.fleet.collected("db2", now, vec![sample("disk", &mount, 95.0)]);
    }
    place.say(&[]);
    let ids = place.ids();
    // Of 17 two begin with the same digit.
    let first = |id: &String| id[..1].to_owned();
    let digit =
        ids.iter().map(first).find(|digit| ids.iter().filter(|id| first(id) == *digit).count() > 1).unwrap();
    let (code, said) = place.say(&["ack", &digit]);
    assert_eq!(code, 2);
    assert!(said.contains(&format!("alerts have an id that begins with {digit}: give more of it")), "{said}");
    assert!(said.contains(": disk /"), "{said}");
    for (id, expected) in
        [("xyz", "no alert has the id xyz"), ("", "no alert has the id"), ("%", "no alert has the id %")]
    {
        let (code, said) = place.say(&["ack", id]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected) && said.contains("fleet-alerter status"), "{said}");
    }
}
