//! The end of a client: what it still has is fetched, then nothing of ours is left there.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use envelope::Header;
use model::wire::{MAX_FETCH, from_cbor};
use model::{Body, Clock, Labels, Record, Report, Sample, Timestamp};
use storage::{ReportStore as _, SqliteStore};
use tests::child;
use tests::programs;
use tests::site::{Site, spools};
use tests::sshd::{Sshd, make_key};

/// Adds `count` records of some 200 KiB to a spool, sealed as the probe does.
fn fill(spool: &Path, count: u64) -> u64 {
    let text = |name: &str| std::fs::read_to_string(spool.join(name)).unwrap();
    let recipient = from_cbor(&std::fs::read(spool.join("recipient")).unwrap()).unwrap();
    let client = spool.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let samples = (0..200).map(|at| Sample {
        metric: "disk".to_owned(),
        labels: Labels::one("mount", &format!("/{at}{}", "x".repeat(900))),
        value: 1.0,
    });
    let body = Body::Report(Report { samples: samples.collect(), ..Report::default() });
    let clock = Clock { wall: Timestamp(1), boottime_ms: 1, boot_id: "b".to_owned() };
    let plaintext = Record { version: 1, clock, body }.encode().unwrap();
    let mut bytes = 0;
    for sequence in 2..2 + count {
        let header = Header { key_id: 1, client, spool: text("spool-id").trim().parse().unwrap(), sequence };
        let envelope = envelope::seal(&recipient, &header, &plaintext).unwrap();
        let path = spool.join(format!("{sequence:020}"));
        std::fs::write(&path, &envelope).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        bytes += envelope.len() as u64;
    }
    bytes
}

#[test]
fn a_spool_too_long_for_one_visit_is_fetched_whole_and_then_removed() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web", "", ""));
    site.collect().expect_all();
    let spool = spools(&site.remote_dir("web")).pop().unwrap();
    assert!(fill(&spool, 60) > MAX_FETCH, "it has to take more than one visit");

    let removed = site.collector(&["remove", "web"]).expect(0).stdout;
    assert!(removed.contains("60 new records fetched before"), "{removed}");
    assert!(removed.contains("config.xml:"), "{removed}");
    assert!(!site.remote_dir("web").exists(), "the directory is left");
    assert_eq!(site.reports(), 61, "all that was there, and none taken for it");
    assert_eq!(sshd.accepted(), 4, "one to collect, two to fetch, one to leave");
}

#[test]
fn samples_of_the_clients_own_cron_in_between_are_fetched_too() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web", "", ""));
    site.collect().expect_all();
    let spool = spools(&site.remote_dir("web")).pop().unwrap();
    // From the first visit of `remove` on there is one more record, before its second.
    let sample = spool.join("sample").display().to_string();
    let visits = site.text("visits");
    sshd.force_command(&format!(
        "echo >> {visits}; [ `wc -l < {visits}` -ne 2 ] || {sample}; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\""
    ));
    child::output(&sample, &[]);
    let removed = site.collector(&["remove", "web"]).expect(0).stdout;
    assert!(removed.contains("2 new records"), "{removed}");
    assert_eq!(site.reports(), 3);
    assert!(!site.remote_dir("web").exists());
}

#[test]
fn a_home_that_another_spool_is_in_stays() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let client = |name: &str| {
        let client = site.client(&sshd, name, "", "");
        client.replace(&site.remote_dir(name).display().to_string(), &site.text("shared"))
    };
    site.configure(&[client("a"), client("b")].concat());
    site.collect().expect_all();
    assert_eq!(spools(&site.path("shared")).len(), 2);
    site.collector(&["remove", "a"]).expect(0);
    assert_eq!(spools(&site.path("shared")).len(), 1);
    let b = site.collect_with(&["--only", "b", "--fresh"]).expect_all();
    assert!(!b.only().uploaded, "the probe went with another's spool");
    assert_eq!(site.reports(), 3);
    site.collector(&["remove", "b", "--purge"]).expect(0);
    assert!(!site.path("shared").exists());
    let mut store = SqliteStore::open_existing(&site.path("state/fleet.db")).unwrap();
    assert!(store.find(&"a".parse().unwrap()).unwrap().is_some(), "its history stays");
    assert!(store.find(&"b".parse().unwrap()).unwrap().is_none(), "its history was to go");
}

/// A client whose probe is installed at `probe` and runs by `command`.
fn installed(site: &Site, sshd: &Sshd, command: &str) {
    make_key(&site.path("limited"), "ed25519", "");
    let public = std::fs::read_to_string(site.path("limited.pub")).unwrap();
    std::fs::write(site.path("line"), format!("restrict,command=\"{command}\" {public}")).unwrap();
    sshd.authorize(&site.path("line"));
    let attributes = format!("mode=\"installed\" identity-file=\"{}\"", site.text("limited"));
    site.configure(&site.client(sshd, "web", &attributes, ""));
}

#[test]
fn behind_a_limited_key_the_spool_goes_and_the_installed_probe_stays() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    // In the remote-dir itself, under a name like those that are sent.
    let directory = site.remote_dir("web");
    child::output("/bin/mkdir", &["-m", "700", &directory.display().to_string()]);
    let probe = directory.join("probe-installed");
    let collector = programs::collector().display().to_string();
    child::output(&collector, &["probe", "--write", &probe.display().to_string()]);
    installed(&site, &sshd, &format!("{} forced {}", probe.display(), directory.display()));
    site.collector(&["check-host", "web"]).expect(0);
    assert_eq!(spools(&directory).len(), 0, "the trial's spool stayed");
    site.collect().expect_all();
    let spool = spools(&directory).pop().unwrap();
    let uid = spool.file_name().unwrap().to_str().unwrap();
    let removed = site.collector(&["remove", "web"]).expect(0).stdout;
    assert!(removed.contains(uid), "{removed}");
    assert!(probe.exists() && spools(&directory).is_empty());
    assert_eq!(site.reports(), 1);

    // Its own crontab may still have the line.
    let sample = Command::new(&probe).arg("sample").arg(&directory).arg(uid).output().unwrap();
    let said = String::from_utf8_lossy(&sample.stderr).into_owned();
    assert!(!sample.status.success() && said.contains("take the line out of the crontab"), "{said}");
    assert!(spools(&directory).is_empty(), "a spool that was removed is back");
}

#[test]
fn an_installed_probe_that_is_too_old_to_leave_is_named_and_nothing_is_lost() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let probe = site.text("local-probe");
    let collector = programs::collector().display().to_string();
    child::output(&collector, &["probe", "--write", &probe]);
    // A probe skips a field that it does not know, as an older one does with this.
    let directory = site.remote_dir("web");
    installed(&site, &sshd, &format!("sed -u s/purpose/colours/ | {probe} forced {}", directory.display()));
    site.collect().expect_all();
    for purge in [&["remove", "web"][..], &["remove", "web", "--purge"]] {
        let refused = site.collector(purge).expect(1).stderr;
        assert!(refused.contains("too old to remove its spool, which is still there"), "{refused}");
        assert!(refused.contains("fleet-collector recipe web"), "{refused}");
        assert_eq!(spools(&directory).len(), 1);
    }
    assert!(site.reports() > 0, "its history went");
    site.collector(&["remove", "web", "--purge", "--unreachable"]).expect(0);
    assert_eq!((spools(&directory).len(), site.reports()), (1, 0));
}
