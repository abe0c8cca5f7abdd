//! Values that several threads need and one of them makes.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Values that are made once, however many threads ask; who asks for another one meanwhile does not wait. A fleet
/// shares few credentials, so that a list serves.
pub(crate) struct Once<K, V>(Mutex<Vec<Cell<K, V>>>);

type Cell<K, V> = (K, Arc<OnceLock<V>>);

impl<K: PartialEq, V: Clone> Once<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The value of `key`, which `make` makes where there is none; who asks for the same one meanwhile waits for it.
    pub(crate) fn get(&self, key: K, make: impl FnOnce() -> V) -> V {
        self.cell(key).get_or_init(make).clone()
    }

    fn cell(&self, key: K) -> Arc<OnceLock<V>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = cells.iter().find(|(known, _)| *known == key) {
            return cell.clone();
        }
        let cell = Arc::default();
        cells.push((key, Arc::clone(&cell)));
        cell
    }

    /// Forgets what was made: it is made anew where it is asked for again.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
