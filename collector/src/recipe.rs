//! How to make a client answer by an installed probe alone, and how its own cron takes samples: text to follow.

use std::path::Path;

use config::{Client, Connection, Mode, Proxy, Settings, Ssh};
use model::text::escape;
use model::wire::SERVE_INSTALLED;

use crate::store;

/// Where the recipe puts the probe.
const PROGRAM: &str = "/usr/local/bin/local-probe";

/// What the recipe says of one client.
#[derive(Debug)]
struct Facts {
    name: String,
    username: String,
    root: RootLogin,
    /// The directories of probe and spool, in the order in which they are tried.
    directories: Vec<String>,
    /// The public half of the key that logs in.
    public_key: String,
    /// The client's uid, once it was collected.
    uid: Option<String>,
}

/// How root gets there: what scp and ssh are given.
#[derive(Debug)]
struct RootLogin {
    address: String,
    port: u16,
    /// The hops, as `ProxyJump` has them; empty where there are none.
    jump: String,
    /// Whether a command is on the way, which is the login's own.
    command: bool,
}

impl RootLogin {
    fn of(ssh: &Ssh) -> Self {
        let hops = match &ssh.proxy {
            Some(Proxy::Jump(hops)) => &hops[..],
            Some(Proxy::Command(_)) | None => &[],
        };
        let first = hops.first().map_or(ssh, |hop| &hop.ssh);
        let places: Vec<_> = hops.iter().map(|hop| hop.ssh.place()).collect();
        Self {
            address: ssh.address.clone(),
            port: ssh.port,
            jump: places.join(","),
            command: matches!(first.proxy, Some(Proxy::Command(_))),
        }
    }

    /// The options, with the port as the program calls it.
    fn options(&self, port: &str) -> String {
        let port = if self.port == 22 { String::new() } else { format!("{port} {} ", self.port) };
        let by_jump = !self.jump.is_empty() && !self.command;
        let jump = if by_jump { format!("-o 'ProxyJump={}' ", self.jump) } else { String::new() };
        port + &jump
    }

    fn scp(&self, file: &str, target: &str) -> String {
        let Self { address, .. } = self;
        let to = if address.contains(':') {
            format!("'root@[{address}]:{target}'")
        } else {
            format!("root@{address}:{target}")
        };
        format!("scp {}{file} {to}", self.options("-P"))
    }

    fn ssh(&self, command: &str) -> String {
        format!("ssh {}root@{} {command}", self.options("-p"), self.address)
    }
}

/// The line for the client's own crontab, whichever way its probe came: the spool in `directory` has a link to it.
pub(crate) fn cron_line(directory: &str, uid: &str) -> String {
    format!("*/5 * * * *  {}/{uid}/sample >/dev/null 2>&1", escape(directory))
}

/// The recipe for `client`.
pub(crate) fn of(settings: &Settings, client: &Client) -> String {
    let Connection::Ssh(ssh) = &client.connection else {
        return "this machine is collected without SSH: there is no key to limit".to_owned();
    };
    let public_key = ssh.identity_files.first().map_or_else(
        || "PUBLIC-KEY".to_owned(),
        |file| public_half(file).unwrap_or_else(|| format!("PUBLIC-HALF-OF:{}", file.display())),
    );
    text(&Facts {
        name: client.name.to_string(),
        username: ssh.username.clone(),
        root: RootLogin::of(ssh),
        directories: match client.mode {
            Mode::Ship => client.remote_dirs.clone(),
            // The one that the key's line says.
            Mode::Installed => client.remote_dirs.iter().take(1).cloned().collect(),
        },
        public_key,
        uid: uid(settings, client),
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
fn uid(settings: &Settings, client: &Client) -> Option<String> {
    let (mut store, _) = store::open(settings, storage::open_existing).ok()?;
    Some(store.find(&client.name).ok()??.uid.to_string())
}

fn text(facts: &Facts) -> String {
    let Facts { name, username, root, directories, public_key, uid } = facts;
    let directory = directories.first().map_or("", String::as_str);
    let cron = cron_line(directory, uid.as_deref().unwrap_or("CLIENT-UID"));
    let unknown = if uid.is_some() {
        ""
    } else {
        "CLIENT-UID is known once the client was collected: run this command again then.\n"
    };
    let elsewhere = if directories.len() > 1 {
        let all = directories.join(", ");
        format!(
            "Where its spool lies in another of {all}, `fleet-collector check-host {name}` prints this line.\n"
        )
    } else {
        String::new()
    };
    let (scp, chown, chmod) = (
        root.scp("local-probe", PROGRAM),
        root.ssh(&format!("chown root:root {PROGRAM}")),
        root.ssh(&format!("chmod 755 {PROGRAM}")),
    );
    let by_command = if root.command {
        "\n   The way there leads through a proxy-command of config.xml: give scp and ssh one as root needs it.\n"
    } else {
        ""
    };
    format!(
        "\
# {name}: the installed probe, and a key that can do nothing else

1. Write the probe here, and put it on the client as root's (not the login's, which must not change it):

    fleet-collector probe --write local-probe        # --machine aarch64 and so on for others
    {scp}
    {chown}
    {chmod}
{by_command}
2. On the client, let this be the only line of {username}'s ~/.ssh/authorized_keys with that key:

    restrict,command=\"{PROGRAM} forced {directory}\" {public_key}

   Whatever the key asks for, sshd runs that command; it answers `{SERVE_INSTALLED}` and refuses the rest. The login
   needs a shell that can run it (/bin/sh; not nologin), and no password.

3. In config.xml, give the client mode=\"installed\". An upgrade of fleet-collector whose notes say so needs step 1 again.

# {name}: samples while the management host is away

In {username}'s crontab on the client, after the first collection:

    {cron}

{unknown}{elsewhere}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            name: "web1".to_owned(),
            username: "ops".to_owned(),
            root: RootLogin {
                address: "192.0.2.11".to_owned(),
                port: 22,
                jump: String::new(),
                command: false,
            },
            directories: vec![".fleet-health".to_owned()],
            public_key: "ssh-ed25519 AAAA".to_owned(),
            uid: Some("0123".to_owned()),
        }
    }

    #[test]
    fn it_names_the_key_line_and_the_cron_line() {
        let said = text(&facts());
        let line = "restrict,command=\"/usr/local/bin/local-probe forced .fleet-health\" ssh-ed25519 AAAA\n";
        assert!(said.contains(line), "{said}");
        let cron = "    */5 * * * *  .fleet-health/0123/sample >/dev/null 2>&1\n\n";
        assert!(said.ends_with(cron), "{said}");
        assert!(text(&Facts { uid: None, ..facts() }).contains("CLIENT-UID is known once"));
        let two = vec!["a".to_owned(), "/b".to_owned()];
        let said = text(&Facts { directories: two, ..facts() });
        assert!(said.contains("another of a, /b, `fleet-collector check-host web1`"), "{said}");
    }

    #[test]
    fn root_goes_there_by_the_port_and_the_hops_of_the_client() {
        let said = text(&facts());
        assert!(said.contains("    scp local-probe root@192.0.2.11:/usr/local/bin/local-probe\n"), "{said}");
        assert!(said.contains("    ssh root@192.0.2.11 chmod 755 "), "{said}");
        let root = |command| RootLogin {
            address: "2001:db8::1".to_owned(),
            port: 2222,
            jump: "ops@[2001:db8::9]:22".to_owned(),
            command,
        };
        let said = text(&Facts { root: root(false), ..facts() });
        let jump = "-o 'ProxyJump=ops@[2001:db8::9]:22'";
        for line in [
            format!("    scp -P 2222 {jump} local-probe 'root@[2001:db8::1]:/usr/local/bin/local-probe'\n"),
            format!("    ssh -p 2222 {jump} root@2001:db8::1 chmod 755 /usr/local/bin/local-probe\n\n2."),
        ] {
            assert!(said.contains(&line), "{line}: {said}");
        }
        let said = text(&Facts { root: root(true), ..facts() });
        assert!(said.contains("leads through a proxy-command") && !said.contains("ProxyJump"), "{said}");
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
