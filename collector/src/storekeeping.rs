//! What is done to the storage as a whole: its upkeep, and moving it.

use std::fmt::Write as _;
use std::path::Path;

use config::{Environment, Settings};
use model::{Exit, StorageUrl, Unit};
use storage::{Access, Program, Skew, StoreError};

use crate::clients::Refusal;
use crate::report::counted;
use crate::store;

/// Makes the days ahead, and removes what is old, as the role `user` where it is another than that of `<storage>`; what to say.
pub(crate) fn maintain(settings: &Settings, user: Option<String>) -> Result<String, Refusal> {
    let mut access = store::access(settings)?;
    let StorageUrl::Postgres(url) = &mut access.url else {
        return Err(usage(
            "<storage> is a SQLite file: there is nothing to make ready, and it is not pruned",
        ));
    };
    if user.is_some() && user != url.user {
        url.user = user;
        // The one that is known is another role's.
        access.password = None;
    }
    let now = Skew::of(&mut *storage::open(&access)?)?.now();
    let done = storage::maintain(&access, now, settings.storage.keep_raw)?;
    let kept = match settings.storage.keep_raw {
        Some(keep) => {
            format!("kept are {} and what is not evaluated", Unit::Seconds.show(keep.as_secs_f64()))
        }
        None => "keep-raw is not said: all is kept".to_owned(),
    };
    Ok(format!(
        "{} made, {} and {} removed; {kept}",
        counted(done.made, "partition"),
        counted(done.dropped, "partition"),
        counted(done.deleted, "single row"),
    ))
}

/// Moves everything from the file `from` to the database `to`; what to say.
pub(crate) fn migrate(
    settings: &Settings,
    environment: &Environment,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<String, Refusal> {
    let (from, to) = (place(settings, environment, from)?, place(settings, environment, to)?);
    let (StorageUrl::Sqlite(file), StorageUrl::Postgres(database)) = (&from.url, &to.url) else {
        return Err(usage(
            "what is moved is a file into a database: --from sqlite:///PATH --to postgres://USER@HOST/NAME",
        ));
    };
    let moved = storage::transfer(&from, &to, &mut |table, rows| log::debug!("{table}: {rows} rows"))?;
    let mut text = format!("everything in {} is in {database} now, both sides compared:\n", file.display());
    for table in &moved {
        let digest = table.digest.get(..16).unwrap_or(&table.digest);
        let _ = writeln!(text, "  {:<18} {:>12} rows  {digest}", table.table, table.rows);
    }
    let beside = file.parent().unwrap_or(Path::new("/")).display();
    let _ = write!(
        text,
        "Next: name it in <storage> of config.xml, and copy master.key and known_hosts from {beside} into the state-dir of each \
         collector"
    );
    Ok(text)
}

fn usage(text: &str) -> Refusal {
    Refusal(text.to_owned(), Exit::Usage)
}

/// How the storage that `url` names is come to, or the configured one where it is not said.
fn place(settings: &Settings, environment: &Environment, url: Option<&str>) -> Result<Access, Refusal> {
    let Some(text) = url else { return Ok(store::access(settings)?) };
    let here = std::env::current_dir().unwrap_or_default();
    match config::storage_url(text, environment, &here).map_err(|fault| Refusal(fault, Exit::Usage))? {
        (_, Some(_)) => Err(usage(
            "a password does not belong on a command line, where everybody sees it: PGPASSWORD and ~/.pgpass are read, or name \
             the database in <storage> and leave --to out",
        )),
        (url, None) => {
            let lease = settings.storage.lease;
            Ok(Access { url, password: None, lease, program: Program::Collector })
        }
    }
}

/// The day's upkeep at the end of a run, where this role may and nobody did it today; whatever is wrong with it is told
/// only.
pub(crate) fn daily(settings: &Settings, now: model::Timestamp) {
    let done = store::access(settings)
        .and_then(|access| storage::maintain_daily(&access, now, settings.storage.keep_raw));
    match done {
        Ok(Some(done)) => log::info!("storage: {} made, {} removed", done.made, done.dropped),
        Ok(None) | Err(StoreError::Denied(_)) => {}
        Err(error) => log::warn!("storage: its upkeep failed: {error}: {}", error.remedy()),
    }
}
