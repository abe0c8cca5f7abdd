//! The configured storage, and the time by the clock that goes there.

use config::{SecretSource, Settings};
use storage::{Access, Program, Skew, Store, StoreError};

/// A storage, opened, and how far this host's clock is from its own.
pub(crate) type Opened = (Box<dyn Store>, Skew);

/// Opens the configured storage by `how`: `storage::open` or one of its sisters.
pub(crate) fn open(
    settings: &Settings,
    how: fn(&Access) -> Result<Box<dyn Store>, StoreError>,
) -> Result<Opened, StoreError> {
    let mut store = how(&access(settings)?)?;
    let skew = Skew::of(&mut *store)?;
    if let Some(warning) = skew.warning() {
        log::warn!("{warning}");
    }
    Ok((store, skew))
}

/// How this program comes to the configured storage.
pub(crate) fn access(settings: &Settings) -> Result<Access, StoreError> {
    let storage = &settings.storage;
    let password = storage.password.as_ref().map(SecretSource::resolve).transpose();
    let password = password.map_err(StoreError::Unreachable)?;
    Ok(Access {
        url: storage.url.clone(),
        password: password.map(|password| password.reveal().to_owned()),
        lease: storage.lease,
        program: Program::Collector,
    })
}
