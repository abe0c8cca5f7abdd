//! From a file to [`Settings`]: bytes, text, trees, parts, settings.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use crate::alert;
use crate::client::{self, ClientPart};
use crate::environment::Environment;
use crate::fault::{Fault, Faults, Sink, Wrong};
use crate::files::{Disk, Files, Memory};
use crate::fleet;
use crate::heartbeat;
use crate::include::{self, Elements, FILES};
use crate::mail;
use crate::reading::Reading;
use crate::receiver;
use crate::settings::{Mail, Settings};
use crate::source::{Source, Sources, Span};
use crate::storage::{self, SchedulePart};
use crate::template::Templates;
use crate::tree::{self, Element};
use crate::window;

/// `concurrency` where none is given.
const CONCURRENCY: usize = 64;
/// The template `linux`.
const SHIPPED: &str = include_str!("linux.xml");

/// Reads the file at `path`, or the default one of `environment`, and what it includes: each once, with the checks of its
/// mode on what was opened. A file with inline secrets may not be readable by others, and no file may be writable by
/// others, since its commands run as the user who reads it.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Settings, Faults> {
    let path = path.map_or_else(|| environment.default_config(), Path::to_path_buf);
    interpret(&Disk, &path, environment, true)
}

/// As [`load`], for a program that reaches no client: a `<client>` may say nothing of the way there but what it is called.
pub fn load_to_alert(path: Option<&Path>, environment: &Environment) -> Result<Settings, Faults> {
    let path = path.map_or_else(|| environment.default_config(), Path::to_path_buf);
    interpret(&Disk, &path, environment, false)
}

/// What [`load`] makes of a file at `path` that holds `text` and is its owner's alone. Opens nothing.
pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Settings, Faults> {
    parse_all(&[(path, text)], environment)
}

/// What [`load`] makes of the first of `files`, where the others are all there are to include. Opens nothing.
pub fn parse_all(files: &[(&Path, &str)], environment: &Environment) -> Result<Settings, Faults> {
    let path = files.first().map_or(Path::new("config.xml"), |(path, _)| path);
    interpret(&Memory(files), path, environment, true)
}

fn interpret(
    files: &dyn Files,
    path: &Path,
    environment: &Environment,
    reaches: bool,
) -> Result<Settings, Faults> {
    let sources = Sources::new(FILES);
    let mut reading = Reading { reaches, ..Reading::new(Sink::new(&sources), environment) };
    let elements = include::read(&mut reading, files, path)
        .map_err(|error| Faults::one(Fault::of_file(path, unreadable(&error, path, environment))))?;
    let settings = settings(&mut reading, &elements, path);
    for (file, source) in sources.iter() {
        let inline_secret = reading.inline_secrets.get(&file).copied();
        check_mode(&mut reading, source, Span::new(file, 0, 0), inline_secret);
    }
    match (reading.sink.finish(), settings) {
        (Some(faults), _) => Err(faults),
        (None, Some(settings)) => Ok(settings),
        (None, None) => unreachable!("no settings without a fault"),
    }
}

fn unreadable(error: &io::Error, path: &Path, environment: &Environment) -> Wrong {
    let wrong = Wrong::new(format!("it cannot be read: {error}"));
    if error.kind() != io::ErrorKind::NotFound {
        wrong
    } else if path == environment.default_config() {
        wrong.help(
            "write it (the config.xml of the distribution is an example), or name another by --config FILE",
        )
    } else {
        wrong.help("look at the path behind --config")
    }
}

fn check_mode(reading: &mut Reading<'_>, source: &Source, beginning: Span, inline_secret: Option<Span>) {
    let shown = source.mode & 0o777;
    let file = shell_word(&source.path.display().to_string());
    if source.mode & 0o002 != 0 {
        let wrong =
            Wrong::new(format!("others may change this file (mode {shown:04o}), and with it what runs here"));
        reading.report(beginning, wrong.help(format!("chmod 600 {file}")));
    } else if source.mode & 0o007 != 0
        && let Some(span) = inline_secret
    {
        let wrong =
            Wrong::new(format!("the file holds passwords, and others may read it (mode {shown:04o})"));
        let help = format!("chmod 600 {file}    (640, with a group of its own, is allowed too)");
        reading.report(span, wrong.help(help));
    }
}

/// `text` as one word of a shell, in quotes where it needs them.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The one element of `list`; others of its kind are reported.
fn only<'t, 'a>(reading: &mut Reading<'_>, list: &'t [Element<'a>]) -> Option<&'t Element<'a>> {
    let (first, others) = list.split_first()?;
    for other in others {
        let line = reading.line(first.at, other.at);
        let wrong = Wrong::new(format!("there is another <{}> in {line}", other.name));
        reading.report(other.at, wrong.help("put both into one"));
    }
    Some(first)
}

fn settings(reading: &mut Reading<'_>, elements: &Elements<'_>, path: &Path) -> Option<Settings> {
    let storage = only(reading, &elements.storage)
        .map_or_else(|| storage::default(reading.environment), |element| storage::read(reading, element));
    let schedule = only(reading, &elements.schedule)
        .map_or_else(SchedulePart::default, |element| storage::read_schedule(reading, element));
    let mail = only(reading, &elements.mail).and_then(|element| mail::read(reading, element));
    let heartbeat = only(reading, &elements.heartbeat).map(|element| heartbeat::read(reading, element));
    let receivers = receiver::read_all(reading, &elements.receivers);
    let windows = window::read_all(reading, &elements.windows);
    let defaults = only(reading, &elements.defaults).map(|element| client::read(reading, element));
    let templates = templates(reading, &elements.templates);
    let fleet = fleet::read(reading, &elements.clients, defaults.as_ref());
    let mut checked = HashSet::new();
    let default_template = defaults.as_ref().and_then(|defaults| defaults.template.as_ref());
    for name in default_template.into_iter().chain(fleet.templates()) {
        if checked.insert(name.span) {
            templates.check_name(reading, name);
        }
    }
    let resolved = fleet.resolve(reading, &templates, defaults.as_ref());
    if reading.sink.count() > 0 {
        return None;
    }
    let admin = mail.as_ref().map_or(&[][..], |mail: &Mail| mail.admin.as_slice());
    let concurrency =
        |defaults: &ClientPart| defaults.concurrency.as_ref().map(|concurrency| concurrency.value);
    let every = schedule.collector_every;
    let clients = fleet.clients(reading, &templates, defaults.as_ref(), resolved, admin, every);
    Some(Settings {
        file: path.to_path_buf(),
        included: reading.sink.sources.iter().skip(1).map(|(_, source)| source.path.clone()).collect(),
        storage,
        collector_every: every,
        alerter_every: schedule.alerter_every,
        heartbeat: heartbeat.unwrap_or_default(),
        receivers,
        windows,
        concurrency: defaults.as_ref().and_then(concurrency).unwrap_or(CONCURRENCY),
        fleet_rules: alert::fleet_rules(admin, clients.iter().flat_map(|client| &client.rules)),
        clients,
        mail,
    })
}

/// The templates of the files and the shipped ones.
fn templates(reading: &mut Reading<'_>, elements: &[Element<'_>]) -> Templates {
    let mut templates = Templates::default();
    for element in elements {
        templates.read(reading, element);
    }
    templates.ship(shipped(reading.environment));
    templates.check(reading);
    templates
}

/// The shipped templates, read by the same code as any file. Their rules name no file.
fn shipped(environment: &Environment) -> Templates {
    let sources = Sources::new(1);
    let text = SHIPPED.to_owned().into();
    let file = sources.add(Source::new("linux.xml".into(), String::new(), text, 0o600));
    let mut reading = Reading::new(Sink::new(&sources), environment);
    let mut templates = Templates::default();
    if let Some(root) = file.and_then(|file| tree::read(&mut reading.sink, file, &mut 0)) {
        for element in &root.children {
            templates.read(&mut reading, element);
        }
    }
    debug_assert!(reading.sink.count() == 0, "the shipped template is wrong");
    templates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_template_is_right() {
        let templates = shipped(&Environment::default());
        assert_eq!(templates.levels(crate::template::SHIPPED).concat().len(), 17);
    }

    #[test]
    fn shell_words() {
        assert_eq!(shell_word("/etc/fleet-health/config.xml"), "/etc/fleet-health/config.xml");
        assert_eq!(shell_word("my config's.xml"), r"'my config'\''s.xml'");
    }
}
