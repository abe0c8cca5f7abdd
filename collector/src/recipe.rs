//! How to make a client answer by an installed probe alone, and how its own cron takes samples: text to follow.

use std::path::Path;

use config::{Client, Connection, Mode, Settings, StorageUrl};
use model::wire::SERVE_INSTALLED;
use storage::{History as _, SqliteStore};

/// Where the recipe puts the probe.
const PROGRAM: &str = "/usr/local/bin/local-probe";

/// What the recipe says of one client.
#[derive(Debug)]
struct Facts {
    name: String,
    address: String,
    username: String,
    installed: bool,
    /// The directory of probe and spool.
    directory: String,
    /// The public half of the key that logs in.
    public_key: String,
    /// The client's uid, once it was collected.
    uid: Option<String>,
}

/// The recipe for `client`.
pub(crate) fn of(settings: &Settings, client: &Client) -> String {
    let (address, username, key) = match &client.connection {
        Connection::Ssh(ssh) => (ssh.address.as_str(), ssh.username.as_str(), ssh.identity_files.first()),
        Connection::Local => {
            return "this machine is collected without SSH: there is no key to limit".to_owned();
        }
    };
    let public_key = key.map_or_else(
        || "PUBLIC-KEY".to_owned(),
        |file| public_half(file).unwrap_or_else(|| format!("PUBLIC-HALF-OF:{}", file.display())),
    );
    text(&Facts {
        name: client.name.to_string(),
        address: address.to_owned(),
        username: username.to_owned(),
        installed: client.mode == Mode::Installed,
        directory: client.remote_dirs.first().cloned().unwrap_or_default(),
        public_key,
        uid: uid(&settings.storage, client),
    })
}

/// Type and key of `FILE.pub`, which lies beside a private key as a rule.
fn public_half(private: &Path) -> Option<String> {
    let mut file = private.as_os_str().to_owned();
    file.push(".pub");
    let line = std::fs::read_to_string(file).ok()?;
    let key = ssh_key::PublicKey::from_openssh(line.trim()).ok()?;
    // Without the comment, which is anybody's text.
    let plain = ssh_key::PublicKey::from(key.key_data().clone()).to_openssh().ok()?;
    Some(plain)
}

/// The client's uid, if it has one yet.
fn uid(storage: &StorageUrl, client: &Client) -> Option<String> {
    let StorageUrl::Sqlite(file) = storage;
    let latest = SqliteStore::open_existing(file).ok()?.latest().ok()?;
    latest.into_iter().find(|latest| latest.name == client.name).map(|latest| latest.uid.to_string())
}

fn text(facts: &Facts) -> String {
    let Facts { name, address, username, installed, directory, public_key, uid } = facts;
    let uid_or_not = uid.as_deref().unwrap_or("CLIENT-UID");
    let cron = if *installed {
        format!("{PROGRAM} sample {directory} {uid_or_not}")
    } else {
        format!("{directory}/{uid_or_not}/sample")
    };
    let unknown = if uid.is_some() {
        ""
    } else {
        "CLIENT-UID is known once the client was collected: run this command again then.\n"
    };
    format!(
        "\
# {name}: the installed probe, and a key that can do nothing else

1. Write the probe here, and put it on the client as root's (not the login's, which must not change it):

    fleet-collector probe --write local-probe        # --machine aarch64 and so on for others
    scp local-probe root@{address}:{PROGRAM}
    ssh root@{address} chown root:root {PROGRAM}
    ssh root@{address} chmod 755 {PROGRAM}

2. On the client, let this be the only line of {username}'s ~/.ssh/authorized_keys with that key:

    restrict,command=\"{PROGRAM} forced {directory}\" {public_key}

   Whatever the key asks for, sshd runs that command; it answers `{SERVE_INSTALLED}` and refuses the rest. The login
   needs a shell that can run it (/bin/sh; not nologin), and no password.

3. In config.xml, give the client mode=\"installed\". An upgrade of fleet-collector whose notes say so needs step 1 again.

# {name}: samples while the management host is away

In {username}'s crontab on the client, after the first collection:

    */5 * * * * {cron} >/dev/null 2>&1

{unknown}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "web1".to_owned(),
            address: "192.0.2.11".to_owned(),
            username: "ops".to_owned(),
            installed: false,
            directory: ".fleet-health".to_owned(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            uid: Some("0123".to_owned()),
        }
    }

    #[test]
    fn it_names_the_key_line_and_the_cron_line() {
        let shipped = text(&facts());
        let line = "restrict,command=\"/usr/local/bin/local-probe forced .fleet-health\" ssh-ed25519 AAAA\n";
        assert!(shipped.contains(line), "{shipped}");
        assert!(shipped.contains("*/5 * * * * .fleet-health/0123/sample >"), "{shipped}");
        let installed = text(&Facts { installed: true, ..facts() });
        assert!(
            installed.contains("* /usr/local/bin/local-probe sample .fleet-health 0123 >"),
            "{installed}"
        );
        assert!(text(&Facts { uid: None, ..facts() }).contains("CLIENT-UID is known once"));
    }

    #[test]
    fn a_public_key_stands_without_its_comment() {
        let directory = tempfile::tempdir().unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        std::fs::write(directory.path().join("key.pub"), format!("{key} evil\" comment\n")).unwrap();
        assert_eq!(public_half(&directory.path().join("key")).as_deref(), Some(key));
        assert_eq!(public_half(&directory.path().join("other")), None);
    }
}
