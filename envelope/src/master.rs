//! Private keys at rest: sealed under one master key, which lives in a file of its own.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::ClientUid;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::Identity;

/// The key that clients' private keys are sealed under. Whoever has it and the database can read what clients have
/// spooled; so it is never in the database.
pub struct MasterKey(LessSafeKey);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Why a master key or a sealed key does not serve.
#[derive(Debug)]
pub enum MasterKeyError {
    /// The file cannot be read or made.
    Io(PathBuf, io::Error),
    /// The file is not the running user's alone.
    Exposed(PathBuf),
    /// The file does not hold 32 bytes.
    Malformed(PathBuf),
    /// A private key is not sealed under this master key, or was changed.
    Refused(u32),
    /// The system gives no random numbers.
    NoRandom,
}

impl fmt::Display for MasterKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "master key {}: {error}", path.display()),
            Self::Exposed(path) => {
                write!(f, "master key {0}: others can read it; run: chmod 600 {0}", path.display())
            }
            Self::Malformed(path) => write!(
                f,
                "master key {}: not 32 bytes; restore it from a backup, or move it away to start with new keys",
                path.display()
            ),
            Self::Refused(key_id) => write!(
                f,
                "key {key_id} in the storage is not sealed under this master key; \
                 restore the master.key that belongs to the storage"
            ),
            Self::NoRandom => f.write_str("the system gives no random numbers"),
        }
    }
}

impl std::error::Error for MasterKeyError {}

impl MasterKey {
    /// Reads the key at `path`; `None` where there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        match File::open(path) {
            Ok(file) => Self::read(file, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MasterKeyError::Io(path.to_owned(), error)),
        }
    }

    /// Reads the key at `path`; makes a random one there, for the running user alone, if there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        create(path)?;
        // Read back: another program may have made one at the same time, and one only must win.
        Self::read(File::open(path).map_err(|error| MasterKeyError::Io(path.to_owned(), error))?, path)
    }

    fn read(file: File, path: &Path) -> Result<Self, MasterKeyError> {
        let io = |error| MasterKeyError::Io(path.to_owned(), error);
        if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
            return Err(MasterKeyError::Exposed(path.to_owned()));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(33));
        file.take(33).read_to_end(&mut bytes).map_err(io)?;
        let malformed = |_| MasterKeyError::Malformed(path.to_owned());
        Ok(Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(malformed)?)))
    }

    /// The private key of `identity`, sealed: `nonce | ciphertext`, bound to the client and the key id.
    ///
    /// # Panics
    /// Where the system gives no random numbers.
    pub fn seal(&self, identity: &Identity, client: ClientUid) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).expect("the system gives random numbers");
        let mut sealed = identity.to_bytes().to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(identity.key_id(), client)),
                &mut sealed,
            )
            .expect("32 bytes are within the cipher's limit");
        [&nonce[..], &sealed].concat()
    }

    /// The identity that [`Self::seal`] sealed; refused if it has another public key than `public_key`.
    pub fn open(
        &self,
        key_id: u32,
        public_key: &[u8; 32],
        client: ClientUid,
        sealed: &[u8],
    ) -> Result<Identity, MasterKeyError> {
        let refused = || MasterKeyError::Refused(key_id);
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(associated(key_id, client)), &mut rest)
            .map_err(|_| refused())?;
        let bytes = Zeroizing::new(<[u8; 32]>::try_from(&*opened).map_err(|_| refused())?);
        let identity = Identity::from_bytes(key_id, &bytes).map_err(|_| refused())?;
        if identity.recipient().public_key == *public_key { Ok(identity) } else { Err(refused()) }
    }
}

fn associated(key_id: u32, client: ClientUid) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&key_id.to_be_bytes());
    bytes[4..].copy_from_slice(&client.0);
    bytes
}

/// Writes a fresh key under a name of its own and links it into place, so that `path` is never half-written and never
/// replaced.
fn create(path: &Path) -> Result<(), MasterKeyError> {
    let io = |error| MasterKeyError::Io(path.to_owned(), error);
    let mut key = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *key).map_err(|_| MasterKeyError::NoRandom)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".master.key.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&*key)?;
        file.sync_all()?;
        match std::fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(directory)?.sync_all(),
        }
    })();
    let removed = std::fs::remove_file(&temporary);
    written.and(removed).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_seals_across_runs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        let (client, identity) = (ClientUid([1; 16]), Identity::generate(3));
        let sealed = MasterKey::load_or_create(&path).unwrap().seal(&identity, client);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

        let again = MasterKey::load_or_create(&path).unwrap();
        let public = identity.recipient().public_key;
        let opened = again.open(3, &public, client, &sealed).unwrap();
        assert_eq!(*opened.to_bytes(), *identity.to_bytes());
        assert!(again.open(4, &public, client, &sealed).is_err(), "another key id");
        assert!(again.open(3, &public, ClientUid([2; 16]), &sealed).is_err(), "another client");
        assert!(again.open(3, &[0; 32], client, &sealed).is_err(), "another public key");
        assert!(again.open(3, &public, client, &sealed[..20]).is_err(), "cut short");
        assert!(!sealed.windows(32).any(|window| window == &identity.to_bytes()[..]), "in the clear");
    }

    #[test]
    fn an_exposed_or_short_key_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master.key");
        std::fs::write(&path, [7; 31]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(MasterKey::load_or_create(&path), Err(MasterKeyError::Exposed(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(MasterKey::load_or_create(&path), Err(MasterKeyError::Malformed(_))));
        assert_eq!(std::fs::read(&path).unwrap(), [7; 31], "left as it is");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = MasterKey::load_or_create(Path::new("/nonexistent/master.key")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/master.key"), "{error}");
    }
}
