//! Each client has a key pair of its own; records are sealed to the newest.

use std::collections::HashMap;

use envelope::{Identity, MasterKey};
use model::{ClientName, Timestamp};
use storage::{ClientRow, ReportStore, SealedKey, StoreError};

/// How old a client's newest key pair becomes before a run makes another: 90 days, in milliseconds.
const ROTATE_AFTER: i64 = 90 * 86_400_000;

/// The key pairs of all clients of a run, opened; newest last.
pub(crate) type Identities = HashMap<ClientName, Vec<Identity>>;

/// Opens the key pairs of `rows`, and makes one for each client that has none that opens, or whose newest is old. A
/// pair that the master key
/// does not open (another master key, a restored file) is told to `warn` and left as it is.
pub(crate) fn open_or_make(
    rows: &[ClientRow],
    master: &MasterKey,
    now: Timestamp,
    store: &mut dyn ReportStore,
    warn: &mut dyn FnMut(String),
) -> Result<Identities, StoreError> {
    let mut all = Identities::with_capacity(rows.len());
    for row in rows {
        let mut identities = open(row, master, warn);
        let newest = row.keys.last();
        let usable = identities.last().map(Identity::key_id) == newest.map(|key| key.key_id);
        if newest.is_none_or(|newest| !usable || is_old(newest, now)) {
            match add(row, master, now, store) {
                Ok(identity) => identities.push(identity),
                Err(error) => identities = made_meanwhile(row, master, store, warn)?.ok_or(error)?,
            }
        }
        all.insert(row.name.clone(), identities);
    }
    Ok(all)
}

/// The key pairs of `row`'s client where somebody else has made one since, as `rotate-keys` on another host does.
fn made_meanwhile(
    row: &ClientRow,
    master: &MasterKey,
    store: &mut dyn ReportStore,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Vec<Identity>>, StoreError> {
    let newest = |row: &ClientRow| row.keys.last().map(|key| key.key_id);
    let current = store.find(&row.name)?.filter(|current| newest(current) > newest(row));
    let opened = current.map(|current| open(&current, master, warn));
    Ok(opened.filter(|identities| !identities.is_empty()))
}

/// The key pairs of `row` that open, newest last; the others are told to `warn`.
pub(crate) fn open(row: &ClientRow, master: &MasterKey, warn: &mut dyn FnMut(String)) -> Vec<Identity> {
    let mut identities = Vec::with_capacity(row.keys.len() + 1);
    for key in &row.keys {
        match master.open(key.key_id, &key.public_key, row.uid, &key.sealed) {
            Ok(identity) => identities.push(identity),
            Err(fault) => warn(format!("{}: key pair {}: {fault}", row.name, key.key_id)),
        }
    }
    identities
}

/// Whether `master` opens the newest key pair of any of `rows`.
pub(crate) fn any_opens(rows: &[ClientRow], master: &MasterKey) -> bool {
    let opens = |row: &ClientRow| {
        let newest = row.keys.last()?;
        master.open(newest.key_id, &newest.public_key, row.uid, &newest.sealed).ok()
    };
    rows.iter().any(|row| opens(row).is_some())
}

/// Gives the client of `row` one more key pair: records are sealed to it from the next collection on. The older ones stay
/// until no spooled record names them.
pub(crate) fn add(
    row: &ClientRow,
    master: &MasterKey,
    now: Timestamp,
    store: &mut dyn ReportStore,
) -> Result<Identity, StoreError> {
    let newest = row.keys.last().map_or(0, |key| key.key_id);
    let identity = Identity::generate(newest.saturating_add(1));
    store.add_key(row.uid, &sealed(&identity, row, master, now))?;
    Ok(identity)
}

fn is_old(key: &SealedKey, now: Timestamp) -> bool {
    now.millis().saturating_sub(key.created.millis()) >= ROTATE_AFTER
}

/// Which key pairs may be forgotten once an attempt is stored that brought all that was spooled: those below the oldest
/// that a record of it is sealed to. What is older is stored already.
pub(crate) fn forgettable(row: &ClientRow, whole_and_sealed_to: Option<u32>) -> Option<u32> {
    whole_and_sealed_to.filter(|oldest| row.keys.first().is_some_and(|key| key.key_id < *oldest))
}

fn sealed(identity: &Identity, row: &ClientRow, master: &MasterKey, now: Timestamp) -> SealedKey {
    let recipient = identity.recipient();
    SealedKey {
        key_id: recipient.key_id,
        public_key: recipient.public_key,
        sealed: master.seal(identity, row.uid),
        created: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ClientUid;
    use storage::MemoryStore;

    fn rows(store: &mut MemoryStore) -> Vec<ClientRow> {
        let name: ClientName = "web1".parse().unwrap();
        store.clients(&[name], &mut || ClientUid([7; 16])).unwrap()
    }

    fn ids(identities: &Identities) -> Vec<u32> {
        identities.values().flatten().map(Identity::key_id).collect()
    }

    #[test]
    fn a_key_pair_is_made_once_and_opens_again() {
        let directory = tempfile::tempdir().unwrap();
        let master = MasterKey::load_or_create(&directory.path().join("master.key")).unwrap();
        let mut store = MemoryStore::new();
        let none = &mut |warning| panic!("{warning}");
        let before = rows(&mut store);
        let made = open_or_make(&before, &master, Timestamp(1), &mut store, none).unwrap();
        let again = rows(&mut store);
        let opened = open_or_make(&again, &master, Timestamp(2), &mut store, none).unwrap();
        assert_eq!((ids(&made), ids(&opened)), (vec![1], vec![1]));
        let public = |all: &Identities| all.values().next().unwrap()[0].recipient().public_key;
        assert_eq!(public(&made), public(&opened));
    }

    #[test]
    fn a_key_pair_is_followed_by_another_after_90_days_and_forgotten_when_nothing_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let master = MasterKey::load_or_create(&directory.path().join("master.key")).unwrap();
        let mut store = MemoryStore::new();
        let none = &mut |warning| panic!("{warning}");
        for (now, expected) in [
            (1, vec![1]),
            (ROTATE_AFTER, vec![1]),
            (ROTATE_AFTER + 1, vec![1, 2]),
            (0, vec![1, 2]),
            (2 * ROTATE_AFTER, vec![1, 2]),
            (2 * ROTATE_AFTER + 1, vec![1, 2, 3]),
        ] {
            let before = rows(&mut store);
            let opened = open_or_make(&before, &master, Timestamp(now), &mut store, none).unwrap();
            assert_eq!(ids(&opened), expected, "{now}");
        }
        let row = rows(&mut store).remove(0);
        for (seen, expected) in [(None, None), (Some(1), None), (Some(2), Some(2)), (Some(3), Some(3))] {
            assert_eq!(forgettable(&row, seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn a_key_pair_that_another_host_made_at_the_same_moment_serves_both() {
        let directory = tempfile::tempdir().unwrap();
        let master = MasterKey::load_or_create(&directory.path().join("master.key")).unwrap();
        let mut store = MemoryStore::new();
        let none = &mut |warning| panic!("{warning}");
        let before = rows(&mut store);
        let first = open_or_make(&before, &master, Timestamp(1), &mut store, none).unwrap();
        let second = open_or_make(&before, &master, Timestamp(1), &mut store, none).unwrap();
        assert_eq!((ids(&first), ids(&second)), (vec![1], vec![1]));
        let public = |all: &Identities| all.values().next().unwrap()[0].recipient().public_key;
        assert_eq!(public(&first), public(&second));
        assert_eq!(rows(&mut store)[0].keys.len(), 1);
    }

    #[test]
    fn another_master_key_gets_a_new_pair_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let master = |name: &str| MasterKey::load_or_create(&directory.path().join(name)).unwrap();
        let mut store = MemoryStore::new();
        let before = rows(&mut store);
        open_or_make(&before, &master("a"), Timestamp(1), &mut store, &mut |warning| panic!("{warning}"))
            .unwrap();
        let after = rows(&mut store);
        let mut warnings = Vec::new();
        let identities = open_or_make(&after, &master("b"), Timestamp(2), &mut store, &mut |warning| {
            warnings.push(warning);
        });
        assert_eq!(ids(&identities.unwrap()), [2]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("web1: key pair 1: "), "{warnings:?}");
    }
}
