//! What a login finds at a client: its shell and what that prints, a command that is forced on it, directories that run
//! nothing, take nothing, or belong to somebody else, and days without a collector. Root only, as tests/root.rs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use model::{Labels, Timestamp};
use storage::{History as _, SqliteStore};
use tests::account::Account;
use tests::child;
use tests::mount::Mount;
use tests::programs;
use tests::site::Site;
use tests::sshd::Sshd;

fn setting(options: &str) -> (Site, Sshd, Account) {
    let (site, sshd, account) = (Site::new(), Sshd::for_accounts(options), Account::create());
    site.know(&sshd);
    site.configure(&account.client(&site, &sshd, &account.secret()));
    (site, sshd, account)
}

/// What the only client's collection comes to: the outcome's name and its message.
fn outcome(site: &Site) -> (String, String) {
    let collection = site.collect();
    let only = collection.only();
    (only.outcome.clone(), only.message.clone())
}

/// The login shells, and the Debian package of each.
const SHELLS: [(&str, &str); 9] = [
    ("/bin/sh", "dash"),
    ("/bin/bash", "bash"),
    ("/bin/dash", "dash"),
    ("/bin/csh", "csh"),
    ("/bin/tcsh", "tcsh"),
    ("/usr/bin/fish", "fish"),
    ("/bin/zsh", "zsh"),
    ("/bin/mksh", "mksh"),
    ("/bin/busybox", "busybox"),
];

/// Start files of all of them, which greet on both streams, without an end of line at last.
fn greet(account: &Account) {
    for file in [".bashrc", ".profile", ".zshenv", ".cshrc", ".tcshrc", ".kshrc", ".mkshrc"] {
        account
            .write(file, "echo 'Welcome to the machine'\nsh -c 'echo oops >&2'\nprintf 'no end of line'\n");
    }
    account.write(".config/fish/config.fish", "echo 'Welcome to the machine'\necho oops >&2\nprintf hi\n");
}

#[test]
fn every_login_shell_serves_whatever_its_start_files_print() {
    let (site, _sshd, account) = setting("");
    greet(&account);
    for (shell, package) in SHELLS {
        assert!(Path::new(shell).exists(), "{shell} is not here: apt-get install -y {package}");
        let login = if shell.ends_with("busybox") {
            // A shell called by its own name: busybox looks at that.
            let link = account.home.join("ash");
            symlink(shell, &link).unwrap();
            link.display().to_string()
        } else {
            shell.to_owned()
        };
        account.set_shell(&login);
        let _ = std::fs::remove_dir_all(account.home.join(".fleet-health"));
        for uploaded in [true, false] {
            let collection = site.collect();
            let only = collection.only();
            assert_eq!(
                (only.outcome.as_str(), only.uploaded),
                ("collected", uploaded),
                "{shell}: {}",
                only.message
            );
        }
    }
}

#[test]
fn a_start_file_that_never_stops_greeting_is_named() {
    let (site, _sshd, account) = setting("");
    account.write(".bashrc", "yes 'Welcome to the machine' | head -c 100000\n");
    let (name, message) = outcome(&site);
    assert_eq!(name, "shell-noise", "{message}");
    assert!(message.contains("Welcome to the machine"), "{message}");
}

#[test]
fn a_forced_message_of_the_day_does_no_harm() {
    let motd = "Property of Example Ltd. ".repeat(200);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &motd).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.path().display();
    let options =
        format!("Banner {path}\nForceCommand cat {path}; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
    let (site, _sshd, _account) = setting(&options);
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
}

#[test]
fn a_login_that_runs_nothing_is_named_with_what_it_said() {
    let (site, _sshd, account) = setting("");
    for (shell, said) in [
        ("/bin/false", "nothing was printed"),
        ("/usr/sbin/nologin", "This account is currently not available"),
        ("/bin/rbash", "restricted"),
    ] {
        account.set_shell(shell);
        let (name, message) = outcome(&site);
        assert_eq!(name, "no-shell", "{shell}: {message}");
        assert!(message.contains(said), "{shell}: {message}");
    }
    drop(site);
    let (site, _sshd, _account) = setting("ForceCommand internal-sftp");
    let (name, message) = outcome(&site);
    assert_eq!(name, "no-shell", "{message}");
    assert!(message.contains("sftp"), "{message}");
}

#[test]
fn the_home_of_another_user_is_not_used() {
    let (site, _sshd, account) = setting("");
    // Somebody else made the directory before.
    let directory = account.home.join(".fleet-health");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (name, message) = outcome(&site);
    assert_eq!(name, "no-exec", "{message}");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

/// A client whose first directory lies in a file system made with `options`: how it goes with that directory alone, and
/// with a second one in its home.
fn first_directory(options: &str, act: impl Fn(&Mount)) -> [(String, String); 2] {
    let (site, sshd, account) = setting("");
    std::fs::set_permissions(site.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mount = Mount::new(site.path("first"), &format!("mode=1777,{options}"));
    act(&mount);
    let first = mount.path().display();
    [format!("{first}/fh"), format!("{first}/fh, .second")].map(|directories| {
        let attributes = format!("{} remote-dir=\"{directories}\"", account.secret());
        site.configure(&account.client(&site, &sshd, &attributes));
        outcome(&site)
    })
}

#[test]
fn a_file_system_that_runs_nothing_is_passed_over() {
    let [alone, both] = first_directory("noexec,size=8m", |_| ());
    assert_eq!(alone.0, "no-exec", "{}", alone.1);
    assert_eq!(both.0, "collected", "{}", both.1);
}

#[test]
fn a_file_system_that_is_read_only_is_passed_over() {
    let [alone, both] = first_directory("size=8m", Mount::read_only);
    assert_eq!(alone.0, "no-exec", "{}", alone.1);
    assert!(alone.1.contains("Read-only file system"), "{}", alone.1);
    assert_eq!(both.0, "collected", "{}", both.1);
}

#[test]
fn a_file_system_that_is_full_is_passed_over() {
    let [alone, both] = first_directory("size=64k", |_| ());
    assert_eq!(alone.0, "no-space", "{}", alone.1);
    assert_eq!(both.0, "collected", "{}", both.1);
}

#[test]
fn a_disk_that_fills_up_later_keeps_what_is_there_and_says_so() {
    let (site, sshd, account) = setting("");
    std::fs::set_permissions(site.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mount = Mount::new(site.path("disk"), "mode=1777,size=8m");
    let attributes = format!("{} remote-dir=\"{}/fh\"", account.secret(), mount.path().display());
    site.configure(&account.client(&site, &sshd, &attributes));
    site.collect().expect_all();
    let ballast = mount.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 16 << 20]);
    let collection = site.collect_with(&["--fresh"]);
    assert_eq!(collection.only().outcome, "no-space", "{}", collection.only().message);
    std::fs::remove_file(&ballast).unwrap();
    site.collect_with(&["--fresh"]).expect_all();
}

#[test]
fn two_clients_share_a_home() {
    let (site, sshd, account) = setting("");
    let one = account.client(&site, &sshd, &account.secret());
    let other = one.replacen(&account.name, "other", 1);
    site.configure(&format!("{one}{other}"));
    for round in 1..=3_u64 {
        site.collect_with(&["--fresh"]).expect_all();
        assert_eq!(site.reports(), 2 * round);
    }
    let names = std::fs::read_dir(account.home.join(".fleet-health")).unwrap().flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let probes = names.iter().filter(|name| name.starts_with("probe-")).count();
    assert_eq!((probes, names.len()), (1, 3), "one probe, a spool for each: {names:?}");
}

/// Three days with a sample every two hours. Samples and the last login run in time namespaces, each two hours later than
/// the one before by their boot's clock; the collector's first run is put into the past.
#[test]
fn days_without_a_collector_come_with_the_time_of_each_sample() {
    const SAMPLES: u64 = 36;
    let later = |number: u64| format!("unshare --time --boottime={} --fork", number * 7200);
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    let (collector, past) = (programs::collector(), format!("-{}h", (SAMPLES + 1) * 2));
    let first = ["-f", &past, collector.to_str().unwrap(), "run"];
    let first = site.command(Path::new("faketime"), &first).output().unwrap();
    assert!(first.status.success(), "faketime: {}", String::from_utf8_lossy(&first.stderr));
    let spool = std::fs::read_dir(site.remote_dir("web1")).unwrap().flatten();
    let spool = spool.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    for number in 1..=SAMPLES {
        let sample = format!("{} {}", later(number), spool.join("sample").display());
        child::output("/bin/sh", &["-c", &sample]);
    }
    let force = format!("ForceCommand {} /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"", later(SAMPLES + 1));
    let sshd = Sshd::with(&force);
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    site.collect().expect_all();

    let now = Timestamp::from(std::time::SystemTime::now()).seconds();
    let mut store = SqliteStore::open_existing(&site.path("state/fleet.db")).unwrap();
    let client = store.latest().unwrap().pop().unwrap().uid;
    let series =
        store.series(client, "memory", &Labels::default(), Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap();
    let ages: Vec<i64> =
        series.iter().map(|(time, _)| (now - time.seconds() + 1800).div_euclid(3600)).collect();
    let expected: Vec<i64> = (0..=SAMPLES as i64 + 1).rev().map(|number| number * 2).collect();
    assert_eq!(ages, expected, "hours ago");
}
