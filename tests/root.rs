//! What only root can try: throwaway users with passwords and shells of their own, an empty root directory, a file
//! system that forbids to run programs. `sh tests/test.sh` runs these where it is root, and says so where it is not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::account::Account;
use tests::child;
use tests::programs;
use tests::site::Site;
use tests::sshd::Sshd;

/// A client that logs in as `account` with its password.
fn client(site: &Site, sshd: &Sshd, account: &Account, secret: &str) -> String {
    format!(
        "<client name=\"{name}\" ip=\"{ip}\" port=\"{port}\" username=\"{name}\" {secret} known-hosts=\"{known}\" \
         mail=\"ops@example.org\"/>\n",
        name = account.name,
        ip = sshd.address(),
        port = sshd.port(),
        known = site.text("known_hosts"),
    )
}

/// `password="..."` as XML wants it.
fn inline(password: &str) -> String {
    format!("password=\"{}\"", password.replace('&', "&amp;").replace('"', "&quot;"))
}

fn setting() -> (Site, Sshd, Account) {
    let (site, sshd, account) = (Site::new(), Sshd::for_accounts(""), Account::create());
    site.know(&sshd);
    (site, sshd, account)
}

#[test]
fn a_password_logs_in() {
    let (site, sshd, account) = setting();
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
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
        site.configure(&client(&site, &sshd, &account, &secret));
        site.collect().expect_all();
    }
}

#[test]
fn a_server_that_takes_no_password_says_what_it_takes() {
    let (site, account) = (Site::new(), Account::create());
    let sshd = Sshd::for_accounts("PasswordAuthentication no");
    site.know(&sshd);
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
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
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
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
        site.configure(&client(&site, &sshd, &account, &key));
        let alone = site.collect();
        assert_eq!(alone.only().outcome, "auth-refused", "{alone:#?}");
        site.configure(&client(&site, &sshd, &account, &format!("{key} {}", inline(&account.password))));
        site.collect().expect_all();
        assert!(sshd.log().contains(&format!("Accepted {method} for")), "{}", sshd.log());
    }
}

#[test]
fn a_wrong_password_is_tried_once_and_shown_nowhere() {
    let (site, sshd, account) = setting();
    site.configure(&client(&site, &sshd, &account, "password=\"Tr0ub4dor&amp;3\""));
    let collection = site.collect_with(&["-v"]);
    assert_eq!(collection.only().outcome, "auth-refused", "{collection:#?}");
    let tries = sshd.log().lines().filter(|line| line.contains("Failed password")).count();
    assert_eq!(tries, 1, "{}", sshd.log());
    for text in [&collection.run.stdout, &collection.run.stderr] {
        assert!(!text.contains("Tr0ub4dor"), "{text}");
    }
}

#[test]
fn a_shell_that_greets_does_no_harm() {
    let (site, sshd, account) = setting();
    account.write(".bashrc", "echo 'Welcome to the machine'; echo oops >&2\n");
    account.write(".profile", "echo 'You have mail.'\n");
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
}

#[test]
fn every_login_shell_that_is_here_serves() {
    let (site, sshd, account) = setting();
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
    for shell in
        ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/csh", "/usr/bin/fish", "/bin/zsh", "/bin/busybox"]
    {
        if !Path::new(shell).exists() {
            tests::tell(&format!("SKIPPED: the login shell {shell}, which is not installed"));
            continue;
        }
        let login = if shell.ends_with("busybox") {
            // A shell called by its own name: busybox looks at that.
            let link = account.home.join("ash");
            std::os::unix::fs::symlink(shell, &link).unwrap();
            link.display().to_string()
        } else {
            shell.to_owned()
        };
        child::output("usermod", &["-s", &login, &account.name]);
        let _ = std::fs::remove_dir_all(account.home.join(".fleet-health"));
        let collection = site.collect();
        assert_eq!(collection.only().outcome, "collected", "{shell}: {}", collection.only().message);
    }
}

#[test]
fn a_login_that_may_not_is_refused() {
    let (site, sshd, account) = setting();
    child::output("usermod", &["-s", "/usr/sbin/nologin", &account.name]);
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
    let collection = site.collect();
    assert_eq!((collection.failed, collection.run.code), (1, Some(1)), "{collection:#?}");
    assert!(!collection.only().message.is_empty());
}

#[test]
fn the_home_of_another_user_is_not_used() {
    let (site, sshd, account) = setting();
    // Somebody else made the directory before.
    let directory = account.home.join(".fleet-health");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    site.configure(&client(&site, &sshd, &account, &inline(&account.password)));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "no-exec", "{collection:#?}");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
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

#[test]
fn a_file_system_that_runs_nothing_is_passed_over() {
    let (site, sshd, account) = setting();
    let noexec = site.path("noexec");
    std::fs::create_dir(&noexec).unwrap();
    let target = noexec.display().to_string();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "noexec,mode=1777,size=8m", "tmpfs", &target])
        .output()
        .unwrap();
    if !mounted.status.success() {
        tests::tell(&format!(
            "SKIPPED: this container may not mount: {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        ));
        return;
    }
    std::fs::set_permissions(site.path("."), std::fs::Permissions::from_mode(0o755)).unwrap();
    let secret = inline(&account.password);
    let only = client(&site, &sshd, &account, &format!("{secret} remote-dir=\"{target}/fh\""));
    site.configure(&only);
    let alone = site.collect();
    site.configure(&only.replace("/fh\"", "/fh, .second\""));
    let both = site.collect();
    child::output("umount", &[&target]);
    assert_eq!(alone.only().outcome, "no-exec", "{alone:#?}");
    assert_eq!(both.only().outcome, "collected", "{both:#?}");
}
