//! What a client is logged in to with: read in the supervisor, so that each file is read and each key decrypted once
//! for all clients that share it (decrypting takes 0.1 s by design), and a worker sees its own client's alone.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use config::{Secret, SecretSource, Ssh};
use model::Outcome;
use model::text::escape;
use ssh_key::{LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::job::{Credentials, Hidden, LoginKey, PublicHalf};
use crate::once::Once;

/// The most bytes of a key file.
const MAX_KEY: u64 = 32 * 1024;

/// Credentials that were read already, and where the defaults are.
pub(crate) struct Wallet {
    home: Option<PathBuf>,
    agent: Option<String>,
    /// By file, and by what is to open it.
    keys: Once<(PathBuf, Option<SecretSource>), ReadKey>,
    /// What commands printed; each runs once.
    printed: Once<String, Result<Secret, String>>,
}

type ReadKey = Result<Key, Trouble>;

/// What a key file gives.
#[derive(Debug, Clone)]
enum Key {
    /// The private key.
    Whole(LoginKey),
    /// The public half only: the private one is not in it, or encrypted and without a passphrase.
    Half(PublicHalf),
}

/// Why a key file is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// It is not there.
    Absent(String),
    /// It is of no use, and why.
    Unusable(String),
}

impl Trouble {
    fn text(self) -> String {
        match self {
            Self::Absent(text) | Self::Unusable(text) => text,
        }
    }
}

impl Wallet {
    /// `home` holds the default keys; `agent` is what `SSH_AUTH_SOCK` says.
    pub(crate) fn new(home: Option<PathBuf>, agent: Option<String>) -> Self {
        Self { home, agent, keys: Once::new(), printed: Once::new() }
    }

    /// The credentials of a client, all read.
    pub(crate) fn credentials(&self, ssh: &Ssh) -> Result<Credentials, Outcome> {
        let refuse = |detail: String| Outcome::Credential { detail: escape(&detail) };
        let (mut keys, mut agent_keys) = (Vec::new(), Vec::new());
        for file in &ssh.identity_files {
            match self.key(file, ssh.passphrase.as_ref()).map_err(|fault| refuse(fault.text()))? {
                Key::Whole(key) => keys.push(key),
                Key::Half(half) => agent_keys.push(half),
            }
        }
        let agent = ssh.identity_agent.as_ref().map(|path| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{}: this path is not UTF-8", path.display()))
        });
        let mut agent = agent.transpose().map_err(refuse)?;
        if let Some(half) = agent_keys.first() {
            agent = agent.or_else(|| self.agent.clone());
            if agent.is_none() {
                let needs = "only its public half can be read: give passphrase-file or passphrase-command if it is \
                             encrypted, or identity-agent, the socket of an agent that holds it";
                return Err(refuse(format!("{}: {needs}", half.file)));
            }
        }
        let password = ssh.password.as_ref().map(|source| self.secret(source).map(Hidden));
        let password = password.transpose().map_err(|fault| refuse(format!("password: {fault}")))?;
        let credentials = Credentials { keys, agent, agent_keys, password };
        if credentials.is_empty() { self.defaults(ssh).map_err(refuse) } else { Ok(credentials) }
    }

    /// What serves where config.xml names nothing: the agent, then the user's default keys.
    fn defaults(&self, ssh: &Ssh) -> Result<Credentials, String> {
        let directory = self.home.clone().unwrap_or_default().join(".ssh");
        let mut troubles = Vec::new();
        let mut keys = Vec::new();
        for name in ["id_ed25519", "id_ecdsa", "id_rsa"] {
            match self.key(&directory.join(name), ssh.passphrase.as_ref()) {
                Ok(Key::Whole(key)) => keys.push(key),
                Ok(Key::Half(half)) => troubles.push(format!("{}: this key is encrypted", half.file)),
                Err(Trouble::Absent(_)) => {}
                Err(Trouble::Unusable(why)) => troubles.push(why),
            }
        }
        let agent = self.agent.clone();
        let credentials = Credentials { keys, agent, agent_keys: Vec::new(), password: None };
        if credentials.is_empty() {
            troubles.push(format!(
                "neither password nor key nor agent: give identity-file or password-file, set SSH_AUTH_SOCK, \
                 or make a key with ssh-keygen -f {}",
                directory.join("id_ed25519").display()
            ));
            return Err(troubles.join("; "));
        }
        Ok(credentials)
    }

    fn secret(&self, source: &SecretSource) -> Result<Secret, String> {
        let SecretSource::Command(command) = source else {
            return source.resolve();
        };
        self.printed.get(command.clone(), || source.resolve())
    }

    fn key(&self, file: &Path, passphrase: Option<&SecretSource>) -> ReadKey {
        self.keys.get((file.to_owned(), passphrase.cloned()), || self.read_key(file, passphrase))
    }

    fn read_key(&self, file: &Path, passphrase: Option<&SecretSource>) -> ReadKey {
        let at = file.display();
        let text = read_private(file)?;
        let passphrase = passphrase
            .map(|source| self.secret(source))
            .transpose()
            .map_err(|fault| Trouble::Unusable(format!("passphrase of {at}: {fault}")))?;
        usable(&at.to_string(), &text, passphrase.as_ref())
            .map_err(|why| Trouble::Unusable(format!("{at}: {why}")))
    }
}

impl Credentials {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.agent.is_none() && self.password.is_none()
    }
}

/// A key file's text. As ssh(1) does, refuses one that is ours and open to others.
fn read_private(file: &Path) -> Result<Zeroizing<String>, Trouble> {
    let at = file.display();
    let unusable = |error: io::Error| Trouble::Unusable(format!("{at}: {error}"));
    let from = File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Absent(format!("{at}: there is no such file")),
        _ => unusable(error),
    })?;
    let metadata = from.metadata().map_err(unusable)?;
    if !metadata.is_file() || metadata.len() > MAX_KEY {
        return Err(Trouble::Unusable(format!("{at}: this is no key file")));
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY as usize));
    from.take(MAX_KEY).read_to_string(&mut text).map_err(unusable)?;
    let open = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 != 0;
    if open && text.contains("PRIVATE KEY") {
        return Err(Trouble::Unusable(format!("{at}: others may read this key: chmod 600 {at}")));
    }
    Ok(text)
}

/// Decrypts a key of OpenSSH's form; leaves the older PEM forms, which only libssh2 reads, as they are.
fn usable(file: &str, text: &str, passphrase: Option<&Secret>) -> Result<Key, String> {
    let give = |pem: &str, passphrase: Option<&Secret>| {
        Key::Whole(LoginKey {
            file: file.to_owned(),
            pem: Hidden(Secret::new(pem.to_owned())),
            passphrase: passphrase.cloned().map(Hidden),
        })
    };
    let half = |key: &PublicKey| {
        let blob = key.to_bytes().map_err(|error| error.to_string())?;
        Ok(Key::Half(PublicHalf { file: file.to_owned(), blob }))
    };
    let needs = "this key is encrypted: give passphrase-file or passphrase-command, or use an agent";
    if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
        if !text.contains(" PRIVATE KEY-----") {
            let key = PublicKey::from_openssh(text.trim_end());
            return half(&key.map_err(|_| "this is no key".to_owned())?);
        }
        let encrypted = text.contains("ENCRYPTED");
        if encrypted && passphrase.is_none() {
            return Err(needs.to_owned());
        }
        return Ok(give(text, passphrase.filter(|_| encrypted)));
    }
    let key = PrivateKey::from_openssh(text.as_bytes())
        .map_err(|error| format!("this key cannot be read: {error}"))?;
    if !key.is_encrypted() {
        return Ok(give(text, None));
    }
    let Some(passphrase) = passphrase else {
        return half(key.public_key());
    };
    let key =
        key.decrypt(passphrase.reveal()).map_err(|_| "the passphrase does not open this key".to_owned())?;
    let pem = key.to_openssh(LineEnding::LF).map_err(|error| error.to_string())?;
    Ok(give(&pem, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    fn ssh(files: &[&Path], passphrase: Option<&str>) -> Ssh {
        Ssh {
            address: "::1".to_owned(),
            port: 22,
            username: "ops".to_owned(),
            password: None,
            identity_files: files.iter().map(|file| file.to_path_buf()).collect(),
            passphrase: passphrase.map(|text| SecretSource::Inline(Secret::new(text.to_owned()))),
            identity_agent: None,
            host_keys: vec![],
            known_hosts: vec![],
            host_key_policy: config::HostKeyPolicy::Strict,
            proxy: None,
        }
    }

    fn agent_at(file: &Path, socket: &str) -> Ssh {
        Ssh { identity_agent: Some(socket.into()), ..ssh(&[file], None) }
    }

    fn keygen(file: &Path, kind: &[&str], passphrase: &str) {
        let made =
            Command::new("ssh-keygen").args(kind).args(["-q", "-N", passphrase, "-f"]).arg(file).status();
        assert!(made.unwrap().success());
    }

    fn refusal(given: Result<Credentials, Outcome>) -> String {
        match given {
            Err(Outcome::Credential { detail }) => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn real_keys_open_with_the_right_passphrase_only() {
        let directory = tempfile::tempdir().unwrap();
        for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa"], &["-t", "rsa", "-b", "2048"]] {
            let file = directory.path().join(kind[1]);
            keygen(&file, kind, "secret");
            let wallet = Wallet::new(None, None);
            let keys = wallet.credentials(&ssh(&[&file], Some("secret"))).unwrap().keys;
            assert!(!PrivateKey::from_openssh(keys[0].pem.0.reveal()).unwrap().is_encrypted());
            let wrong = refusal(wallet.credentials(&ssh(&[&file], Some("wrong"))));
            assert!(wrong.ends_with("the passphrase does not open this key"), "{wrong}");
            let without = refusal(wallet.credentials(&ssh(&[&file], None)));
            assert!(without.contains("give passphrase-file"), "{without}");
        }
    }

    #[test]
    fn of_a_key_that_only_an_agent_opens_the_public_half_goes_along() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        keygen(&file, &["-t", "ed25519"], "secret");
        let public = directory.path().join("key.pub");
        let blob = PublicKey::read_openssh_file(&public).unwrap().to_bytes().unwrap();
        for file in [&file, &public] {
            let given = Wallet::new(None, None).credentials(&agent_at(file, "/agent")).unwrap();
            assert_eq!(given.agent.as_deref(), Some("/agent"));
            assert!(given.keys.is_empty() && given.agent_keys[0].blob == blob, "{given:?}");
            let users =
                Wallet::new(None, Some("/users".to_owned())).credentials(&ssh(&[file], None)).unwrap();
            assert_eq!((users.agent.as_deref(), users.agent_keys.len()), (Some("/users"), 1));
        }
    }

    #[test]
    fn old_pem_is_left_to_the_library_with_its_passphrase() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("old");
        keygen(&file, &["-t", "rsa", "-b", "2048", "-m", "PEM"], "secret");
        let key = &Wallet::new(None, None).credentials(&ssh(&[&file], Some("secret"))).unwrap().keys[0];
        assert!(key.pem.0.reveal().contains("ENCRYPTED"));
        assert_eq!(key.passphrase.as_ref().unwrap().0.reveal(), "secret");
    }

    #[test]
    fn a_key_that_others_read_is_refused_with_the_line_to_type() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        keygen(&file, &["-t", "ed25519"], "");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let said = refusal(Wallet::new(None, None).credentials(&ssh(&[&file], None)));
        assert!(said.contains(&format!("chmod 600 {}", file.display())), "{said}");
    }

    #[test]
    fn without_anything_named_the_agent_and_default_keys_serve() {
        let home = tempfile::tempdir().unwrap();
        let wallet = Wallet::new(Some(home.path().to_owned()), None);
        assert!(refusal(wallet.credentials(&ssh(&[], None))).contains("ssh-keygen -f"));
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        keygen(&home.path().join(".ssh/id_ed25519"), &["-t", "ed25519"], "");
        let wallet = Wallet::new(Some(home.path().to_owned()), Some("/agent".to_owned()));
        let given = wallet.credentials(&ssh(&[], None)).unwrap();
        assert_eq!((given.keys.len(), given.agent.as_deref()), (1, Some("/agent")));
        let missing = home.path().join("missing");
        assert!(refusal(wallet.credentials(&ssh(&[&missing], None))).ends_with("there is no such file"));
    }
}
