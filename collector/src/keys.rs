//! Each client has a key pair of its own; records are sealed to the newest.

use std::collections::HashMap;

use envelope::{Identity, MasterKey};
use model::{ClientName, Timestamp};
use storage::{ClientRow, ReportStore, SealedKey, StoreError};

/// The key pairs of all clients of a run, opened; newest last.
pub(crate) type Identities = HashMap<ClientName, Vec<Identity>>;

/// Opens the key pairs of `rows`, and makes one for each client that has none that opens. A pair that the master key
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
        let mut identities = Vec::with_capacity(row.keys.len().max(1));
        for key in &row.keys {
            match master.open(key.key_id, &key.public_key, row.uid, &key.sealed) {
                Ok(identity) => identities.push(identity),
                Err(fault) => warn(format!("{}: key pair {}: {fault}", row.name, key.key_id)),
            }
        }
        let newest = row.keys.iter().map(|key| key.key_id).max().unwrap_or(0);
        if identities.last().is_none_or(|identity| identity.key_id() != newest) {
            let identity = Identity::generate(newest.saturating_add(1));
            store.add_key(row.uid, &sealed(&identity, row, master, now))?;
            identities.push(identity);
        }
        all.insert(row.name.clone(), identities);
    }
    Ok(all)
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
