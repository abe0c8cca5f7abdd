//! `<storage>` and `<schedule>`.

use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::fault::Wrong;
use crate::grammar;
use crate::reading::Reading;
use crate::settings::StorageUrl;
use crate::tree::Element;
use crate::value::{self, Value};

/// What `<storage>` says.
#[derive(Debug, Default)]
pub(crate) struct StoragePart {
    pub(crate) url: Option<StorageUrl>,
    pub(crate) keep_raw: Option<Duration>,
    pub(crate) keep_history: Option<Duration>,
}

/// What `<schedule>` says.
#[derive(Debug, Default)]
pub(crate) struct SchedulePart {
    pub(crate) collector_every: Option<Duration>,
    pub(crate) alerter_every: Option<Duration>,
}

/// Reads `<storage>`.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> StoragePart {
    reading.holds_nothing(element);
    let mut part = StoragePart::default();
    let keep = |text: &str| value::duration(text, value::HOUR, value::DAY * 36_500);
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "url" => {
                let (environment, base) = (reading.environment, reading.base(attribute));
                part.url = reading.take(attribute, |text| url(text, environment, &base)).map(|url| url.value);
            }
            "keep-raw" => part.keep_raw = reading.take(attribute, keep).map(|keep| keep.value),
            _ => part.keep_history = reading.take(attribute, keep).map(|keep| keep.value),
        }
    }
    part
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

fn url(text: &str, environment: &Environment, base: &std::path::Path) -> Value<StorageUrl> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(
            grammar::unsupported("PostgreSQL").expected("sqlite:///absolute/path or sqlite:relative/path")
        );
    }
    // Not repeated in the message: a URL may hold a password.
    let wrong = || {
        Wrong::new("this is not the URL of a storage")
            .expected("sqlite:///absolute/path or sqlite:relative/path")
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
    Ok(StorageUrl::Sqlite(path))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn urls() {
        let environment = Environment { home: Some("/home/ann".into()), ..Environment::default() };
        let path = |text| match url(text, &environment, Path::new("/etc/fleet")) {
            Ok(StorageUrl::Sqlite(path)) => Some(path),
            Err(_) => None,
        };
        assert_eq!(path("sqlite:///var/x.db"), Some("/var/x.db".into()));
        assert_eq!(path("sqlite:data/x.db"), Some("/etc/fleet/data/x.db".into()));
        assert_eq!(path("sqlite:~/x.db"), Some("/home/ann/x.db".into()));
        for bad in
            ["", "x.db", "sqlite:", "sqlite://x.db", "sqlite:x/", "sqlite:///", "postgres://h/d", "mysql://h"]
        {
            assert_eq!(path(bad), None, "{bad}");
        }
    }
}
