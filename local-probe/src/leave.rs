//! The end of a spool: a client that is no longer collected keeps nothing of ours on its disk.

use model::wire::Fault;

use crate::spool::{Directory, Spool};

/// Removes `spool` from `home`, the remote-dir; then, where no other spool is there, the probes, what uploads left
/// behind, and `home` itself, if the probe was `shipped` there. Files of others stay, and `home` with them.
pub(crate) fn leave(home: &Directory, spool: Spool, shipped: bool) -> Result<(), Fault> {
    // The lock goes last: whoever waits for it finds the directory gone.
    let lock = |name: &String| *name == "lock";
    let (locks, names): (Vec<_>, Vec<_>) = spool.directory().names()?.into_iter().partition(lock);
    names.iter().chain(&locks).try_for_each(|name| spool.directory().remove(name))?;
    home.remove_directory(&spool.client().to_string())?;
    drop(spool);
    let names = home.names()?;
    if !shipped || names.iter().any(|name| name.parse::<model::ClientUid>().is_ok()) {
        return Ok(());
    }
    let ours = |name: &&String| name.starts_with("probe-") || name.starts_with(".upload-");
    names.iter().filter(ours).try_for_each(|name| home.remove(name))?;
    // It stays where something else lies in it, or where its parent is not ours.
    let _ = std::fs::remove_dir(home.shown());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::ClientUid;

    use super::*;
    use crate::spool::Limits;
    use crate::spool::tests::home;

    const A: ClientUid = ClientUid([1; 16]);
    const B: ClientUid = ClientUid([2; 16]);

    fn go(home: &Path, client: ClientUid, shipped: bool) {
        let directory = Directory::open(home).unwrap();
        let spool = Spool::open(&directory, client, Limits::default()).unwrap();
        std::os::unix::fs::symlink("../probe-x", home.join(client.to_string()).join("sample")).unwrap();
        leave(&directory, spool, shipped).unwrap();
    }

    #[test]
    fn the_last_spool_takes_everything_along_and_no_other_does() {
        let top = tempfile::tempdir().unwrap();
        let home = top.path().join("home");
        Spool::open(&Directory::open(&home).unwrap(), B, Limits::default()).unwrap();
        std::fs::write(home.join("probe-x"), "").unwrap();
        go(&home, A, true);
        assert!(!home.join(A.to_string()).exists());
        assert!(home.join(B.to_string()).join("spool-id").exists() && home.join("probe-x").exists());
        go(&home, B, true);
        assert!(!home.exists());
    }

    #[test]
    fn what_others_put_there_stays() {
        let home = home();
        std::fs::write(home.path().join("notes"), "").unwrap();
        std::fs::write(home.path().join("probe-x"), "").unwrap();
        go(home.path(), A, true);
        assert!(home.path().join("notes").exists() && !home.path().join("probe-x").exists());
    }

    #[test]
    fn where_the_probe_was_installed_only_the_spool_goes() {
        let home = home();
        std::fs::write(home.path().join("probe-x"), "").unwrap();
        go(home.path(), A, false);
        assert!(home.path().join("probe-x").exists() && !home.path().join(A.to_string()).exists());
    }
}
