//! Logins by password, which need throwaway users, and the probe alone in an empty root directory: what only root can
//! try. `sh tests/test.sh` runs these where it is root, and says so where it is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tests::account::Account;
use tests::child;
use tests::programs;
use tests::site::Site;
use tests::sshd::Sshd;

fn setting() -> (Site, Sshd, Account) {
    let (site, sshd, account) = (Site::new(), Sshd::for_accounts(""), Account::create());
    site.know(&sshd);
    (site, sshd, account)
}

#[test]
fn a_password_logs_in() {
    let (site, sshd, account) = setting();
    site.configure(&account.client(&site, &sshd, &account.secret()));
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
    assert!(account.home.join(".fleet-health").is_dir(), "the default remote-dir lies in the login's home");
    assert!(sshd.log().contains("Accepted password for"), "{}", sshd.log());
}

#[test]
fn a_password_from_a_file_or_a_command_logs_in() {
    let (site, sshd, account) = setting();
    let path = site.path("password");
    std::fs::write(&path, format!("{}\n", account.password)).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for secret in [
        format!("password-file=\"{}\"", path.display()),
        format!("password-command=\"cat {}\"", path.display()),
    ] {
        site.configure(&account.client(&site, &sshd, &secret));
        site.collect().expect_all();
    }
}

#[test]
fn a_server_that_takes_no_password_says_what_it_takes() {
    let (site, account) = (Site::new(), Account::create());
    let sshd = Sshd::for_accounts("PasswordAuthentication no");
    site.know(&sshd);
    site.configure(&account.client(&site, &sshd, &account.secret()));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "auth-refused", "{collection:#?}");
    assert!(collection.only().message.contains("publickey"), "{collection:#?}");
}

/// A server that asks questions by PAM instead of taking a password.
const INTERACTIVE: &str = "UsePAM yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes";

#[test]
fn a_password_answers_a_server_that_asks_for_it() {
    let (site, account) = (Site::new(), Account::create());
    let sshd = Sshd::for_accounts(INTERACTIVE);
    site.know(&sshd);
    site.configure(&account.client(&site, &sshd, &account.secret()));
    site.collect().expect_all();
    assert!(sshd.log().contains("Accepted keyboard-interactive/pam for"), "{}", sshd.log());
}

#[test]
fn a_key_and_then_a_password_log_in() {
    for (options, method) in [
        ("AuthenticationMethods publickey,password", "password"),
        (
            &format!("{INTERACTIVE}\nAuthenticationMethods publickey,keyboard-interactive"),
            "keyboard-interactive/pam",
        ),
    ] {
        let (site, account) = (Site::new(), Account::create());
        let sshd = Sshd::for_accounts(options);
        site.know(&sshd);
        let key = format!("identity-file=\"{}\"", sshd.login_key().display());
        site.configure(&account.client(&site, &sshd, &key));
        let alone = site.collect();
        assert_eq!(alone.only().outcome, "auth-refused", "{alone:#?}");
        site.configure(&account.client(&site, &sshd, &format!("{key} {}", account.secret())));
        site.collect().expect_all();
        assert!(sshd.log().contains(&format!("Accepted {method} for")), "{}", sshd.log());
    }
}

#[test]
fn a_wrong_password_is_tried_once_and_shown_nowhere() {
    let (site, sshd, account) = setting();
    site.configure(&account.client(&site, &sshd, "password=\"Tr0ub4dor&amp;3\""));
    let collection = site.collect_with(&["-v"]);
    assert_eq!(collection.only().outcome, "auth-refused", "{collection:#?}");
    let tries = sshd.log().lines().filter(|line| line.contains("Failed password")).count();
    assert_eq!(tries, 1, "{}", sshd.log());
    for text in [&collection.run.stdout, &collection.run.stderr] {
        assert!(!text.contains("Tr0ub4dor"), "{text}");
    }
}

#[test]
fn the_embedded_probe_runs_where_nothing_else_is() {
    let root = tempfile::tempdir().unwrap();
    let probe = root.path().join("probe").display().to_string();
    child::output(&programs::collector().display().to_string(), &["probe", "--write", &probe]);
    let run = Command::new("/usr/sbin/chroot")
        .arg(root.path())
        .args(["/probe", "--json"])
        .env_clear()
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice::<serde_json::Value>(&run.stdout).expect("--json prints JSON");
}
