//! A PostgreSQL whose disk is full: a small file system, which only root can mount.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write as _;
use std::path::Path;

use tests::child;
use tests::machines::{Machines, count, let_time_pass, stored};
use tests::mount::Mount;
use tests::server::{Server, Setup};
use tests::site::Site;

/// Fills the file system of `path` to its last byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_lost() {
    let site = Site::new();
    child::output("chmod", &["755", &site.text("")]);
    let disk = Mount::new(site.path("disk"), "size=160m,mode=755");
    let server = Server::with(Setup {
        data: Some(disk.path().join("data")),
        settings: vec!["max_wal_size=48MB".to_owned(), "min_wal_size=32MB".to_owned()],
        ..Setup::default()
    });
    let database = server.database();
    let machines = Machines::new(&site, 12);
    let url = format!("url=\"{}?sslmode=disable\"", server.url(&database));
    site.configure_shared(&url, &machines.elements(""));
    site.collector(&["run"]).expect(0);

    let full = disk.path().join("full");
    fill(&full);
    let mut runs = 0;
    let refused = loop {
        let_time_pass(&server, &database);
        let run = site.collector(&["run"]);
        if run.code != Some(0) {
            break run;
        }
        runs += 1;
        assert!(runs < 100, "the tables never grow past what they had");
    };
    let refused = refused.expect(74);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("no space is left"), "{}", refused.stderr);

    std::fs::remove_file(full).unwrap();
    let_time_pass(&server, &database);
    site.collector(&["run"]).expect(0);
    assert_eq!(stored(&server, &database), machines.made(), "each record is stored once");
    let clients = count(&server, &database, "SELECT count(DISTINCT client_id) FROM report");
    assert_eq!(clients, machines.count());
}
