//! What the probe meets on a machine, and only root can make. `sh tests/test.sh` runs these where it is root, and says so
//! where it is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::programs;
use tests::site::Site;

/// A file of this machine's own metrics, and the directories that it lies in; gone with the test.
struct OwnMetrics(Vec<PathBuf>);

impl OwnMetrics {
    fn write(name: &str, text: &str) -> Self {
        let mut made = Vec::new();
        for directory in ["/etc/fleet-health", "/etc/fleet-health/metrics.d"] {
            if !Path::new(directory).exists() {
                std::fs::create_dir(directory).unwrap();
                made.push(PathBuf::from(directory));
            }
        }
        let path = Path::new("/etc/fleet-health/metrics.d").join(name);
        std::fs::write(&path, text).unwrap();
        made.push(path);
        Self(made)
    }
}

impl Drop for OwnMetrics {
    fn drop(&mut self) {
        // What cannot be removed is not ours alone.
        for path in self.0.iter().rev() {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
    }
}

#[test]
fn a_metric_of_the_admins_own_reaches_the_mail_by_its_own_name() {
    let text = "# TYPE cpu gauge\ncpu{queue=\"mail, out\"} 7200\nfleet_test_age_seconds{set=\"a;b\"} 7200\n";
    let _own = OwnMetrics::write(&format!("fleet-test-{}.prom", std::process::id()), text);
    let site = Site::new();
    site.configure(&format!(
        "<mail transport=\"directory\" path=\"{}\" from=\"fleet@example.org\"/>\n\
         <client name=\"here\" connection=\"local\" remote-dir=\"{}\" mail=\"ops@example.org\">\
         <alert type=\"custom:fleet_test_age_seconds\" match=\"a;b\" limit=\"1h\"/>\
         <alert type=\"custom:cpu\" match=\"mail*out\" limit=\"7200\"/>\
         <alert type=\"cpu\" limit=\"100%\" operator=\">\"/></client>",
        site.text("mails"),
        site.text("local")
    ));
    site.collect().expect_all();
    site.alerter(&[]).expect(0);
    let mails = site.mails("mails");
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert!(mails[0].contains("custom:fleet_test_age_seconds") && mails[0].contains("2 h"), "{}", mails[0]);
    assert!(mails[0].contains("custom:cpu") && mails[0].contains("mail, out"), "{}", mails[0]);
    let firing: Vec<_> = site.status()["alerts"].as_array().unwrap().clone();
    assert_eq!(firing.len(), 2, "the machine's own cpu is another metric: {firing:#?}");
}

/// Mounts a file system whose server never answers on the directory `$0`, in a mount namespace of its own, and
/// runs the rest there.
const DEAD: &str =
    "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 dead \"$0\" && \"$@\"";

#[test]
fn a_dead_mount_costs_only_itself() {
    let site = Site::new();
    let dead = site.path("dead");
    std::fs::create_dir(&dead).unwrap();
    let possible =
        Command::new("unshare").args(["-m", "sh", "-c", DEAD]).arg(&dead).arg("true").output().unwrap();
    if !possible.status.success() {
        let said = String::from_utf8_lossy(&possible.stderr).into_owned();
        tests::tell(&format!("SKIPPED: a dead mount, which this container may not make: {}", said.trim()));
        return;
    }
    site.configure(&format!(
        "<client name=\"here\" connection=\"local\" remote-dir=\"{}\" mail=\"ops@example.org\">\
         <alert type=\"mount-stuck\" limit=\"yes\"/></client>",
        site.text("local")
    ));
    // The second run leaves alone what the first found dead, and tells of it all the same.
    for _ in 0..2 {
        let mut collect = Command::new("unshare");
        collect.args(["-m", "sh", "-c", DEAD]).arg(&dead);
        collect
            .args(["timeout", "-k", "5", "60"])
            .arg(programs::collector())
            .args(["run", "--json", "--fresh"]);
        site.prepare(&mut collect);
        let output = collect.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("\"collected\":1"), "{said}");
        let status = site.status();
        let metrics = status["clients"][0]["metrics"].as_array().unwrap();
        let value = |name: &str, mount: &str| {
            let found = metrics.iter().find(|m| m["metric"] == name && m["labels"]["mount"] == mount);
            found.and_then(|metric| metric["value"].as_f64())
        };
        let dead = dead.display().to_string();
        assert_eq!(value("mount-stuck", &dead), Some(1.0), "{metrics:#?}");
        assert_eq!(value("disk", &dead), None);
        assert!(metrics.iter().any(|metric| metric["metric"] == "disk"), "the others are told: {metrics:#?}");
    }
    site.alerter(&[]);
    assert_eq!(site.status()["alerts"].as_array().map(Vec::len), Some(1));
}
