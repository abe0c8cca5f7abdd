//! What the probe meets on a machine, and only root can make. `sh tests/test.sh` runs these where it is root, and says so
//! where it is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

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
