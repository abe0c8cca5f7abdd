//! Throwaway users: several "machines" on one, each with a home and a password of its own. Root only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::child;
use crate::site::Site;
use crate::sshd::Sshd;

/// The start of every throwaway user's name; the process that made it follows.
const PREFIX: &str = "fleet-test-";

/// `useradd` and `userdel` take a lock, and fail where it is taken.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A user who is gone when this is dropped.
#[derive(Debug)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// Its home.
    pub home: PathBuf,
    /// Its password.
    pub password: String,
}

impl Account {
    /// Makes a user with a shell, a home and a password. First removes those that killed tests left behind.
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(crate::is_root(), "only root makes users: run this test by sh tests/test.sh as root");
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        remove_leftovers();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let home = PathBuf::from("/home").join(&name);
        let home_text = home.display().to_string();
        child::output("useradd", &["-m", "-K", "UMASK=077", "-d", &home_text, "-s", "/bin/bash", &name]);
        let account = Self { password: format!("a&b \"quoted\" pass {number}"), name, home };
        account.set_password();
        account
    }

    fn set_password(&self) {
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd runs");
        let line = format!("{}:{}\n", self.name, self.password);
        std::io::Write::write_all(&mut chpasswd.stdin.take().expect("piped"), line.as_bytes())
            .expect("chpasswd reads");
        assert!(chpasswd.wait().expect("chpasswd ends").success(), "chpasswd failed for {}", self.name);
    }

    /// `password="..."` as XML wants it.
    pub fn secret(&self) -> String {
        format!("password=\"{}\"", self.password.replace('&', "&amp;").replace('"', "&quot;"))
    }

    /// A `<client>` that logs in as this user by `secret`, attributes of config.xml, into its own home.
    pub fn client(&self, site: &Site, sshd: &Sshd, secret: &str) -> String {
        format!(
            "<client name=\"{name}\" ip=\"{ip}\" port=\"{port}\" username=\"{name}\" {secret} \
             known-hosts=\"{known}\" mail=\"ops@example.org\"/>\n",
            name = self.name,
            ip = sshd.address(),
            port = sshd.port(),
            known = site.text("known_hosts"),
        )
    }

    /// Gives this user another login shell.
    pub fn set_shell(&self, shell: &str) {
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        child::output("usermod", &["-s", shell, &self.name]);
    }

    /// Writes a file of this user's, such as `.bashrc`.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.home.join(name);
        if let Some(directory) = Path::new(name).parent().filter(|directory| *directory != Path::new("")) {
            let directory = self.home.join(directory);
            std::fs::create_dir_all(&directory).expect("root writes everywhere");
            child::output("chown", &["-R", &format!("{}:", self.name), &directory.display().to_string()]);
        }
        std::fs::write(&path, content).expect("root writes everywhere");
        child::output("chown", &[&format!("{}:", self.name), &path.display().to_string()]);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        remove(&self.name);
    }
}

/// Removes a user and its home, whatever still runs as that user.
fn remove(name: &str) {
    let _ =
        Command::new("userdel").args(["-f", "-r", name]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Users of test processes that are gone.
fn remove_leftovers() {
    let users = std::fs::read_to_string("/etc/passwd").expect("everyone reads /etc/passwd");
    for name in
        users.lines().filter_map(|line| line.split(':').next()).filter(|name| name.starts_with(PREFIX))
    {
        let maker = name[PREFIX.len()..].split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(maker).exists() {
            remove(name);
        }
    }
}
