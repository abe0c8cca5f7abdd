//! `<storage>` and `<schedule>`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{PgTls, PostgresUrl, StorageUrl};

use crate::environment::Environment;
use crate::fault::Wrong;
use crate::grammar;
use crate::postgres;
use crate::reading::{At, Reading};
use crate::settings::{SecretSource, Storage};
use crate::tree::Element;
use crate::value::{self, Value};

/// `lease` where none is given.
const LEASE: Duration = Duration::from_secs(60);

/// What means something for PostgreSQL only.
const OF_POSTGRES: [&str; 7] =
    ["password-file", "password-command", "ca-file", "client-cert", "client-key", "lease", "state-dir"];

/// Where things are stored, as the URL says it.
enum Place {
    Sqlite(PathBuf),
    Postgres(postgres::Said),
}

/// What `<storage>` says.
#[derive(Default)]
struct Written {
    place: Option<At<Place>>,
    password: Option<At<SecretSource>>,
    ca_file: Option<At<PathBuf>>,
    client_certificate: Option<At<PathBuf>>,
    client_key: Option<At<PathBuf>>,
    lease: Option<At<Duration>>,
    state_dir: Option<At<PathBuf>>,
    keep_raw: Option<Duration>,
    keep_history: Option<Duration>,
}

/// What `<schedule>` says.
#[derive(Debug, Default)]
pub(crate) struct SchedulePart {
    pub(crate) collector_every: Option<Duration>,
    pub(crate) alerter_every: Option<Duration>,
}

/// What holds where there is no `<storage>`.
pub(crate) fn default(environment: &Environment) -> Storage {
    sqlite(environment.default_storage(), &Written::default())
}

/// Reads `<storage>`.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Storage {
    reading.holds_nothing(element);
    let mut written = Written::default();
    let keep = |text: &str| value::duration(text, value::HOUR, value::DAY * 36_500);
    let lease = |text: &str| value::duration(text, Duration::from_secs(10), value::MINUTE * 10);
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "url" => {
                let (environment, base) = (reading.environment, reading.base(attribute));
                written.place = reading.take(attribute, |text| place(text, environment, &base));
                if let Some(At { value: Place::Postgres(said), span }) = &mut written.place
                    && let Some(password) = said.password.take()
                {
                    reading.inline_secrets.entry(span.file).or_insert(*span);
                    let at = At { value: SecretSource::Inline(password), span: *span };
                    reading.only_secret(at, &mut written.password);
                }
            }
            "password-file" | "password-command" => reading.secret(attribute, &mut written.password),
            "ca-file" => written.ca_file = reading.path(attribute),
            "client-cert" => written.client_certificate = reading.path(attribute),
            "client-key" => written.client_key = reading.path(attribute),
            "lease" => written.lease = reading.take(attribute, lease),
            "state-dir" => written.state_dir = reading.path(attribute),
            "keep-raw" => written.keep_raw = reading.take(attribute, keep).map(|keep| keep.value),
            _ => written.keep_history = reading.take(attribute, keep).map(|keep| keep.value),
        }
    }
    let default = reading.environment.default_storage();
    match written.place.take().map(|place| place.value) {
        Some(Place::Postgres(said)) => postgres(reading, element, said.url, written, &default),
        Some(Place::Sqlite(path)) => {
            misplaced(reading, element);
            sqlite(path, &written)
        }
        None => {
            // Where the URL is wrong, nobody knows what goes with it.
            if !element.attributes.iter().any(|attribute| attribute.name == "url") {
                misplaced(reading, element);
            }
            sqlite(default, &written)
        }
    }
}

fn sqlite(path: PathBuf, written: &Written) -> Storage {
    Storage {
        state_dir: path.parent().map(PathBuf::from).unwrap_or_default(),
        url: StorageUrl::Sqlite(path),
        password: None,
        lease: LEASE,
        keep_raw: written.keep_raw,
        keep_history: written.keep_history,
    }
}

/// Reports the attributes that say something of a server.
fn misplaced(reading: &mut Reading<'_>, element: &Element<'_>) {
    for attribute in element.attributes.iter().filter(|attribute| OF_POSTGRES.contains(&attribute.name)) {
        let wrong = Wrong::new(format!("`{}` has no meaning where a file is the storage", attribute.name));
        reading.report(attribute.at, wrong.help("remove it, or say url=\"postgres://...\""));
    }
}

fn postgres(
    reading: &mut Reading<'_>,
    element: &Element<'_>,
    mut url: PostgresUrl,
    written: Written,
    default: &Path,
) -> Storage {
    let files = [
        (&mut url.ca_file, written.ca_file, "sslrootcert"),
        (&mut url.client_certificate, written.client_certificate, "sslcert"),
        (&mut url.client_key, written.client_key, "sslkey"),
    ];
    for (slot, attribute, parameter) in files {
        let Some(At { value, span }) = attribute else { continue };
        if slot.is_some() {
            let wrong = Wrong::new(format!("the URL names that file too, as {parameter}"));
            reading.report(span, wrong.help("keep one of the two"));
        }
        *slot = Some(value);
    }
    if url.client_certificate.is_some() != url.client_key.is_some() {
        let wrong = Wrong::new("a client certificate goes with its private key");
        reading
            .report(element.at, wrong.expected("both client-cert=\"...\" and client-key=\"...\", or none"));
    }
    match (url.tls, &url.ca_file) {
        // As libpq has it: a root that is named is used.
        (PgTls::Require, Some(_)) => url.tls = PgTls::VerifyCa,
        // Of the system's authorities any gives anybody a certificate for a name of their own: only the name tells.
        (PgTls::VerifyCa, None) => {
            let wrong = Wrong::new("sslmode=verify-ca says nothing without an authority of your own");
            reading.report(element.at, wrong.expected("ca-file=\"...\" beside it, or sslmode=verify-full"));
        }
        (PgTls::Disable, ca_file) if ca_file.is_some() || url.client_certificate.is_some() => {
            let wrong = Wrong::new("certificates have no meaning with sslmode=disable");
            reading.report(element.at, wrong.help("remove them, or the sslmode"));
        }
        _ => {}
    }
    let state_dir = written.state_dir.map(|at| at.value);
    Storage {
        url: StorageUrl::Postgres(Box::new(url)),
        password: written.password.map(|at| at.value),
        lease: written.lease.map_or(LEASE, |at| at.value),
        state_dir: state_dir.unwrap_or_else(|| default.parent().map(PathBuf::from).unwrap_or_default()),
        keep_raw: written.keep_raw,
        keep_history: written.keep_history,
    }
}

/// Reads `<schedule>`.
pub(crate) fn read_schedule(reading: &mut Reading<'_>, element: &Element<'_>) -> SchedulePart {
    reading.holds_nothing(element);
    let mut part = SchedulePart::default();
    let every = |text: &str| value::duration(text, Duration::from_secs(10), value::DAY * 7);
    for attribute in grammar::known(&mut reading.sink, element) {
        let read = reading.take(attribute, every).map(|every| every.value);
        match attribute.name {
            "collector-every" => part.collector_every = read,
            _ => part.alerter_every = read,
        }
    }
    part
}

fn place(text: &str, environment: &Environment, base: &Path) -> Value<Place> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return postgres::url(text, environment, base).map(Place::Postgres);
    }
    // Not repeated in the message: a URL may hold a password.
    let wrong = || {
        Wrong::new("this is not the URL of a storage")
            .expected("sqlite:///absolute/path, sqlite:relative/path or postgres://user@host/database")
    };
    let path = text.strip_prefix("sqlite:").ok_or_else(wrong)?;
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(wrong().help("after sqlite:// a third / begins the absolute path")),
        None => path,
    };
    let path: PathBuf = environment.path(base, path)?;
    if text.ends_with('/') || path.file_name().is_none() {
        return Err(wrong().help("name a file, not a directory"));
    }
    Ok(Place::Sqlite(path))
}

/// What `text` means where no file names it, as on a command line: the place, and a password that stands in it. Paths in
/// it are relative to `base`. The fault, on one line, repeats nothing of it.
pub fn storage_url(
    text: &str,
    environment: &Environment,
    base: &Path,
) -> Result<(StorageUrl, Option<SecretSource>), String> {
    match place(text, environment, base).map_err(|wrong| wrong.brief())? {
        Place::Sqlite(path) => Ok((StorageUrl::Sqlite(path), None)),
        Place::Postgres(postgres::Said { url, password }) => {
            Ok((StorageUrl::Postgres(Box::new(url)), password.map(SecretSource::Inline)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let environment = Environment { home: Some("/home/ann".into()), ..Environment::default() };
        let path = |text| match place(text, &environment, Path::new("/etc/fleet")) {
            Ok(Place::Sqlite(path)) => Some(path),
            _ => None,
        };
        assert_eq!(path("sqlite:///var/x.db"), Some("/var/x.db".into()));
        assert_eq!(path("sqlite:data/x.db"), Some("/etc/fleet/data/x.db".into()));
        assert_eq!(path("sqlite:~/x.db"), Some("/home/ann/x.db".into()));
        for bad in ["", "x.db", "sqlite:", "sqlite://x.db", "sqlite:x/", "sqlite:///", "mysql://h"] {
            assert!(place(bad, &environment, Path::new("/etc/fleet")).is_err(), "{bad}");
        }
    }
}
