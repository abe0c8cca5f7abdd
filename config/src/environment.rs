//! Who runs the program and where that user's files are; what paths in config.xml are relative to.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::fault::Wrong;

/// What of the process's surroundings config.xml depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The running user's home: what `~` is.
    pub home: Option<PathBuf>,
    /// The running user's name: who logs in where no `username` is given.
    pub user: String,
    /// Whether the running user is root (effective uid 0).
    pub is_root: bool,
    /// `$XDG_CONFIG_HOME`, where it is an absolute path.
    pub xdg_config_home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`, where it is an absolute path.
    pub xdg_state_home: Option<PathBuf>,
    /// This machine's name, for the default sender of mails; empty: `localhost`.
    pub hostname: String,
}

impl Environment {
    /// That of this process. The user comes from /etc/passwd by the effective uid, where it stands there; else from
    /// `$LOGNAME` or `$USER`.
    pub fn of_process() -> Self {
        let uid = rustix::process::geteuid();
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let entry = passwd_entry(&passwd, uid.as_raw());
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let directory =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let user = entry.as_ref().map(|(name, _)| name.clone());
        Self {
            home: directory("HOME").or_else(|| entry.map(|(_, home)| home)),
            user: user.or_else(|| variable("LOGNAME")).or_else(|| variable("USER")).unwrap_or_default(),
            is_root: uid.is_root(),
            xdg_config_home: directory("XDG_CONFIG_HOME"),
            xdg_state_home: directory("XDG_STATE_HOME"),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// The file to read where none is named: root's is `/etc/fleet-health/config.xml`, that of an ordinary user
    /// `$XDG_CONFIG_HOME/fleet-health/config.xml` (by default below `~/.config`).
    pub fn default_config(&self) -> PathBuf {
        let own = self.xdg_config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        match own {
            Some(own) if !self.is_root => own.join("fleet-health/config.xml"),
            _ => PathBuf::from("/etc/fleet-health/config.xml"),
        }
    }

    /// The SQLite file where no `<storage>` names one: root's is `/var/lib/fleet-health/fleet.db`, that of an ordinary
    /// user `$XDG_STATE_HOME/fleet-health/fleet.db` (by default below `~/.local/state`).
    pub fn default_storage(&self) -> PathBuf {
        let own = self.xdg_state_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/state")));
        match own {
            Some(own) if !self.is_root => own.join("fleet-health/fleet.db"),
            _ => PathBuf::from("/var/lib/fleet-health/fleet.db"),
        }
    }

    /// The path that `text` means in a file of the directory `base`.
    pub(crate) fn path(&self, base: &Path, text: &str) -> Result<PathBuf, Wrong> {
        if text.trim().is_empty() {
            return Err(Wrong::new("the path is empty").help("name a file, or leave the attribute out"));
        }
        if text.chars().any(char::is_control) {
            return Err(Wrong::new("the path holds a control character").help("remove it"));
        }
        let path = match text.strip_prefix('~') {
            None => base.join(text),
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                let wrong =
                    || Wrong::new("the running user has no home directory").help("write the path in full");
                self.home.clone().ok_or_else(wrong)?.join(rest.trim_start_matches('/'))
            }
            Some(_) => {
                let wrong = Wrong::new("`~` is the running user's home only").expected("a path, or ~/path");
                return Err(wrong.help("write the path in full"));
            }
        };
        Ok(path.components().filter(|part| *part != Component::CurDir).collect())
    }
}

/// Name and home of the user with that uid (passwd(5)).
fn passwd_entry(passwd: &str, uid: u32) -> Option<(String, PathBuf)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let is_entry = fields.len() == 7 && fields[2].parse() == Ok(uid) && !fields[0].is_empty();
        is_entry.then(|| (fields[0].to_owned(), PathBuf::from(fields[5])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Environment {
        Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() }
    }

    #[test]
    fn defaults_depend_on_the_user() {
        let root = Environment { is_root: true, home: Some("/root".into()), ..Environment::default() };
        assert_eq!(root.default_config(), Path::new("/etc/fleet-health/config.xml"));
        assert_eq!(root.default_storage(), Path::new("/var/lib/fleet-health/fleet.db"));
        assert_eq!(ann().default_config(), Path::new("/home/ann/.config/fleet-health/config.xml"));
        assert_eq!(ann().default_storage(), Path::new("/home/ann/.local/state/fleet-health/fleet.db"));
        let xdg =
            Environment { xdg_config_home: Some("/c".into()), xdg_state_home: Some("/s".into()), ..ann() };
        assert_eq!(xdg.default_config(), Path::new("/c/fleet-health/config.xml"));
        assert_eq!(xdg.default_storage(), Path::new("/s/fleet-health/fleet.db"));
    }

    #[test]
    fn paths_are_relative_to_their_file() {
        let path = |text| ann().path(Path::new("/etc/fleet"), text).ok();
        assert_eq!(path("a/./b"), Some("/etc/fleet/a/b".into()));
        assert_eq!(path("/x"), Some("/x".into()));
        assert_eq!(path("~/.ssh/key"), Some("/home/ann/.ssh/key".into()));
        assert_eq!(path("~"), Some("/home/ann".into()));
        assert_eq!(path("~bob/x"), None);
        assert_eq!(path(" "), None);
    }

    #[test]
    fn users_are_found_by_uid() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/bash\n";
        assert_eq!(passwd_entry(passwd, 1000), Some(("ann".into(), "/home/ann".into())));
        assert_eq!(passwd_entry(passwd, 7), None);
    }
}
