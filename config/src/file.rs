//! From a file to [`Settings`]: bytes, text, tree, parts, settings.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::client::{self, ClientPart};
use crate::environment::Environment;
use crate::fault::{Fault, Faults, Sink, Wrong};
use crate::fleet;
use crate::grammar;
use crate::mail;
use crate::reading::Reading;
use crate::settings::{Mail, Settings, StorageUrl};
use crate::source::{Source, Span};
use crate::storage::{self, SchedulePart, StoragePart};
use crate::template::Templates;
use crate::tree::{self, Element};

/// A file has at most so many bytes.
const SIZE: u64 = 16 << 20;
/// `concurrency` where none is given.
const CONCURRENCY: usize = 64;
/// The template `linux`.
const SHIPPED: &str = include_str!("linux.xml");

/// Reads the file at `path`, or the default one of `environment`: once, with the checks of its mode on what was
/// opened. A file with inline secrets may not be readable by others, and no file may be writable by others, since its
/// commands run as the user who reads it.
pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Settings, Faults> {
    let path = path.map_or_else(|| environment.default_config(), Path::to_path_buf);
    let (bytes, mode) = read(&path, path == environment.default_config())
        .map_err(|wrong| Faults::one(Fault::of_file(&path, wrong)))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => interpret(text, &path, mode, environment),
        Err(error) => Err(not_utf8(&bytes, error.valid_up_to(), &path)),
    }
}

/// What [`load`] makes of a file at `path` that holds `text` and is its owner's alone. Opens nothing.
pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Settings, Faults> {
    interpret(text, path, 0o600, environment)
}

/// The bytes of a file and its mode.
fn read(path: &Path, is_default: bool) -> Result<(Zeroizing<Vec<u8>>, u32), Wrong> {
    let failed = |error: std::io::Error| {
        let wrong = Wrong::new(format!("it cannot be read: {error}"));
        if error.kind() == std::io::ErrorKind::NotFound && is_default {
            wrong.help("write it (the config.xml of the distribution is an example), or name another by --config FILE")
        } else if error.kind() == std::io::ErrorKind::NotFound {
            wrong.help("look at the path behind --config")
        } else {
            wrong
        }
    };
    // Without NONBLOCK, opening a FIFO would wait for a writer; regular files do not care.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file: File = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Wrong::new("it is not a regular file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(SIZE) as usize + 1));
    file.take(SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE {
        return Err(Wrong::new(format!("it has more than {} MiB", SIZE >> 20)));
    }
    Ok((bytes, metadata.mode()))
}

fn not_utf8(bytes: &[u8], at: usize, path: &Path) -> Faults {
    let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
    let source = Source::new(path.display().to_string(), String::new(), &text);
    let mut sink = Sink::new(&source);
    let wrong = Wrong::new("this is not UTF-8").help("save the file as UTF-8");
    // Up to the first wrong byte, lossy text and bytes are the same.
    sink.report(Span::new(at, at + 1), wrong);
    sink.finish().unwrap_or_else(|| unreachable!("one fault was reported"))
}

fn interpret(text: &str, path: &Path, mode: u32, environment: &Environment) -> Result<Settings, Faults> {
    let short_name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let source = Source::new(path.display().to_string(), short_name, text.trim_start_matches('\u{feff}'));
    let sink = Sink::new(&source);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let base = absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let mut reading = Reading { sink, environment, base, inline_secret: None };
    let settings = settings(&mut reading, path);
    check_mode(&mut reading, path, mode);
    match (reading.sink.finish(), settings) {
        (Some(faults), _) => Err(faults),
        (None, Some(settings)) => Ok(settings),
        (None, None) => unreachable!("no settings without a fault"),
    }
}

fn check_mode(reading: &mut Reading<'_>, path: &Path, mode: u32) {
    let shown = mode & 0o777;
    let file = shell_word(&path.display().to_string());
    if mode & 0o002 != 0 {
        let wrong =
            Wrong::new(format!("others may change this file (mode {shown:04o}), and with it what runs here"));
        reading.report(Span::new(0, 0), wrong.help(format!("chmod 600 {file}")));
    } else if mode & 0o007 != 0
        && let Some(span) = reading.inline_secret
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

/// The elements of a file by their kind.
#[derive(Default)]
struct Elements<'t, 'a> {
    storage: Vec<&'t Element<'a>>,
    schedule: Vec<&'t Element<'a>>,
    mail: Vec<&'t Element<'a>>,
    defaults: Vec<&'t Element<'a>>,
    templates: Vec<&'t Element<'a>>,
    clients: Vec<&'t Element<'a>>,
}

impl<'t, 'a> Elements<'t, 'a> {
    fn sort(&mut self, reading: &mut Reading<'_>, parent: &'t Element<'a>, unbalanced: bool) {
        for element in &parent.children {
            let admitted =
                parent.name != "config" || grammar::admits(&mut reading.sink, parent, element, unbalanced);
            match element.name {
                _ if !admitted => {}
                "storage" => self.storage.push(element),
                "schedule" => self.schedule.push(element),
                "mail" => self.mail.push(element),
                "defaults" => self.defaults.push(element),
                "template" => self.templates.push(element),
                "client" => self.clients.push(element),
                _ => {}
            }
            if unbalanced {
                // What an unended element swallowed is judged where it was meant to stand.
                self.sort(reading, element, unbalanced);
            }
        }
    }
}

/// The one element of `list`; others of its kind are reported.
fn only<'t, 'a>(reading: &mut Reading<'_>, list: &[&'t Element<'a>]) -> Option<&'t Element<'a>> {
    let (first, others) = list.split_first()?;
    for other in others {
        let line = reading.sink.source.line(first.at.start);
        let wrong = Wrong::new(format!("there is another <{}> in line {line}", other.name));
        reading.report(other.at, wrong.help("put both into one"));
    }
    Some(first)
}

fn settings(reading: &mut Reading<'_>, path: &Path) -> Option<Settings> {
    let tree = tree::read(&mut reading.sink);
    let unbalanced = tree.unbalanced;
    let root = tree.root?;
    if root.name != "config" {
        let name = model::text::escape_to(root.name, 40);
        let wrong = Wrong::new(format!("the root element is <{name}>")).expected("<config>...</config>");
        reading.report(root.at, wrong);
        return None;
    }
    grammar::known(&mut reading.sink, &root);
    let mut elements = Elements::default();
    elements.sort(reading, &root, unbalanced);

    let storage = only(reading, &elements.storage)
        .map_or_else(StoragePart::default, |element| storage::read(reading, element, unbalanced));
    let schedule = only(reading, &elements.schedule)
        .map_or_else(SchedulePart::default, |element| storage::read_schedule(reading, element, unbalanced));
    let mail = only(reading, &elements.mail).and_then(|element| mail::read(reading, element, unbalanced));
    let defaults =
        only(reading, &elements.defaults).map(|element| client::read(reading, element, unbalanced));
    let templates = templates(reading, &elements.templates, unbalanced);
    let fleet = fleet::read(reading, &elements.clients, defaults.as_ref(), unbalanced);
    let mut checked = HashSet::new();
    let default_template = defaults.as_ref().and_then(|defaults| defaults.template.as_ref());
    for name in default_template.into_iter().chain(fleet.templates()) {
        if checked.insert(name.span.start) {
            templates.check_name(reading, name);
        }
    }
    let resolved = fleet.resolve(reading, defaults.as_ref());
    if !reading.sink.is_empty() {
        return None;
    }
    let admin = mail.as_ref().map_or(&[][..], |mail: &Mail| mail.admin.as_slice());
    let concurrency =
        |defaults: &ClientPart| defaults.concurrency.as_ref().map(|concurrency| concurrency.value);
    let url = storage.url.unwrap_or_else(|| StorageUrl::Sqlite(reading.environment.default_storage()));
    Some(Settings {
        file: path.to_path_buf(),
        storage: url,
        keep_raw: storage.keep_raw,
        keep_history: storage.keep_history,
        collector_every: schedule.collector_every,
        alerter_every: schedule.alerter_every,
        concurrency: defaults.as_ref().and_then(concurrency).unwrap_or(CONCURRENCY),
        clients: fleet.clients(reading, &templates, defaults.as_ref(), resolved, admin),
        mail,
    })
}

/// The templates of the file and the shipped ones.
fn templates(reading: &mut Reading<'_>, elements: &[&Element<'_>], unbalanced: bool) -> Templates {
    let mut templates = Templates::default();
    for element in elements {
        templates.read(reading, element, unbalanced);
    }
    templates.ship(shipped(reading.environment));
    templates.check(reading);
    templates
}

/// The shipped templates, read by the same code as any file. Their rules name no file.
fn shipped(environment: &Environment) -> Templates {
    let source = Source::new("linux.xml".to_owned(), String::new(), SHIPPED);
    let mut reading =
        Reading { sink: Sink::new(&source), environment, base: PathBuf::new(), inline_secret: None };
    let mut templates = Templates::default();
    if let Some(root) = tree::read(&mut reading.sink).root {
        for element in &root.children {
            templates.read(&mut reading, element, false);
        }
    }
    debug_assert!(reading.sink.is_empty(), "the shipped template is wrong");
    templates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_template_is_right() {
        let templates = shipped(&Environment::default());
        assert_eq!(templates.levels(crate::template::SHIPPED).concat().len(), 5);
    }

    #[test]
    fn shell_words() {
        assert_eq!(shell_word("/etc/fleet-health/config.xml"), "/etc/fleet-health/config.xml");
        assert_eq!(shell_word("my config's.xml"), r"'my config'\''s.xml'");
    }
}
