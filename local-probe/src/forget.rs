//! The verb by which a client that is no longer collected gets rid of what lies on its disk.

use std::path::Path;

use model::ClientUid;
use model::wire::Fault;

use crate::spool::{Directory, Limits, Spool};

/// Removes the spool of `client` in `home`, the remote-dir; then, where no other spool is there, the probes, what uploads
/// left behind, and `home` itself. Files of others stay, and `home` with them. A spool that is not there is no fault.
pub fn forget(home: &Path, client: ClientUid, limits: Limits) -> Result<(), Fault> {
    let directory = Directory::open(home)?;
    let name = client.to_string();
    if directory.stat(&name).is_some() {
        let spool = Spool::open(&directory, client, limits)?;
        // The lock goes last: whoever waits for it finds the directory gone.
        let lock = |name: &String| *name == "lock";
        let (locks, names): (Vec<_>, Vec<_>) = spool.directory().names()?.into_iter().partition(lock);
        names.iter().chain(&locks).try_for_each(|name| spool.directory().remove(name))?;
        directory.remove_directory(&name)?;
    }
    let names = directory.names()?;
    if names.iter().any(|name| name.parse::<ClientUid>().is_ok()) {
        return Ok(());
    }
    let ours = |name: &&String| name.starts_with("probe-") || name.starts_with(".upload-");
    names.iter().filter(ours).try_for_each(|name| directory.remove(name))?;
    // It stays where something else lies in it, or where its parent is not ours.
    let _ = std::fs::remove_dir(home);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_last_spool_takes_everything_along_and_no_other_does() {
        let top = tempfile::tempdir().unwrap();
        let home = top.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (a, b) = (ClientUid([1; 16]), ClientUid([2; 16]));
        for client in [a, b] {
            Spool::open(&Directory::open(&home).unwrap(), client, Limits::default()).unwrap();
            std::os::unix::fs::symlink("../probe-x", home.join(client.to_string()).join("sample")).unwrap();
        }
        std::fs::write(home.join("probe-x"), "").unwrap();
        forget(&home, a, Limits::default()).unwrap();
        assert!(!home.join(a.to_string()).exists());
        assert!(home.join(b.to_string()).join("spool-id").exists() && home.join("probe-x").exists());
        forget(&home, a, Limits::default()).unwrap();
        forget(&home, b, Limits::default()).unwrap();
        assert!(!home.exists());
    }

    #[test]
    fn what_others_put_there_stays() {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(home.path().join("notes"), "").unwrap();
        std::fs::write(home.path().join("probe-x"), "").unwrap();
        forget(home.path(), ClientUid([1; 16]), Limits::default()).unwrap();
        assert!(home.path().join("notes").exists() && !home.path().join("probe-x").exists());
    }
}
