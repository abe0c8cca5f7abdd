//! `<include>`: from one file to the elements of all of them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::fault::Wrong;
use crate::files::{self, Content, Files};
use crate::grammar;
use crate::reading::{At, Reading};
use crate::source::{FileId, Source, Span};
use crate::tree::{self, Element};

/// All files together have at most so many bytes.
pub(crate) const SIZE: u64 = 16 << 20;
/// So many files are read.
pub(crate) const FILES: FileId = 1000;
/// So many files include one another.
const DEPTH: usize = 16;

/// The elements of all files by their kind, each file before those that it includes.
#[derive(Default)]
pub(crate) struct Elements<'a> {
    pub(crate) storage: Vec<Element<'a>>,
    pub(crate) schedule: Vec<Element<'a>>,
    pub(crate) mail: Vec<Element<'a>>,
    pub(crate) heartbeat: Vec<Element<'a>>,
    pub(crate) defaults: Vec<Element<'a>>,
    pub(crate) templates: Vec<Element<'a>>,
    pub(crate) receivers: Vec<Element<'a>>,
    pub(crate) windows: Vec<Element<'a>>,
    pub(crate) clients: Vec<Element<'a>>,
}

/// A walk over the files, each read once: one snapshot, however long it takes to understand it.
struct Walk<'f, 'r, 'a> {
    files: &'f dyn Files,
    reading: &'r mut Reading<'a>,
    elements: Elements<'a>,
    /// How many elements were met in all files.
    count: usize,
    /// How many bytes may still be read.
    left: u64,
    /// Whether it was told that there is too much.
    is_full: bool,
    known: HashMap<(u64, u64), FileId>,
    /// The files that lead to the present one, itself last.
    chain: Vec<FileId>,
}

/// Reads the file at `path` and what it includes; an error is about that file itself.
pub(crate) fn read<'a>(
    reading: &mut Reading<'a>,
    files: &dyn Files,
    path: &Path,
) -> io::Result<Elements<'a>> {
    let content = files.read(path, SIZE)?;
    if content.bytes.len() as u64 > SIZE {
        return Err(io::Error::other(format!("it has more than {} MiB", SIZE >> 20)));
    }
    let mut walk = Walk {
        files,
        reading,
        elements: Elements::default(),
        count: 0,
        left: SIZE,
        is_full: false,
        known: HashMap::new(),
        chain: Vec::new(),
    };
    walk.file(&content, path.to_path_buf());
    Ok(walk.elements)
}

/// The text of a file; where it is none, the place of its first byte that is no UTF-8 too.
fn text(bytes: &[u8]) -> (Zeroizing<String>, Option<usize>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Zeroizing::new(text.trim_start_matches('\u{feff}').to_owned()), None),
        // Up to the first wrong byte, lossy text and bytes are the same.
        Err(error) => {
            (Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()), Some(error.valid_up_to()))
        }
    }
}

impl<'a> Walk<'_, '_, 'a> {
    fn file(&mut self, content: &Content, path: PathBuf) {
        self.left = self.left.saturating_sub(content.bytes.len() as u64);
        let (text, not_utf8) = text(&content.bytes);
        let sources = self.reading.sink.sources;
        let first = if self.chain.is_empty() { path.clone() } else { sources.get(0).path.clone() };
        let directory = first.parent().unwrap_or(Path::new(""));
        let short_name = path.strip_prefix(directory).unwrap_or(&path).display().to_string();
        let Some(file) = sources.add(Source::new(path, short_name, text, content.mode)) else { return };
        self.known.insert(content.identity, file);
        if let Some(at) = not_utf8 {
            let wrong = Wrong::new("this is not UTF-8").help("save the file as UTF-8");
            self.reading.report(Span::new(file, at, at + 1), wrong);
            return;
        }
        let Some(root) = tree::read(&mut self.reading.sink, file, &mut self.count) else { return };
        if root.name != "config" {
            let name = model::text::escape_to(root.name, 40);
            let wrong = Wrong::new(format!("the root element is <{name}>")).expected("<config>...</config>");
            self.reading.report(root.at, wrong);
            return;
        }
        grammar::known(&mut self.reading.sink, &root);
        self.chain.push(file);
        let mut includes = Vec::new();
        self.sort(root, &mut includes);
        for include in includes {
            self.include(&include);
        }
        self.chain.pop();
    }

    /// Takes what `parent` holds apart by kind.
    fn sort(&mut self, mut parent: Element<'a>, includes: &mut Vec<Element<'a>>) {
        for mut element in std::mem::take(&mut parent.children) {
            let file = element.at.file;
            if self.reading.sink.is_unbalanced(file) {
                // What an unended element swallowed is judged where it was meant to stand.
                let swallowed = std::mem::take(&mut element.children);
                let (swallowed, own) =
                    swallowed.into_iter().partition(|child| grammar::is_of_root(child.name));
                element.children = own;
                self.place(&parent, element, includes);
                let shell = Element { children: swallowed, ..Element::root(file) };
                self.sort(shell, includes);
            } else {
                self.place(&parent, element, includes);
            }
        }
    }

    fn place(&mut self, parent: &Element<'a>, element: Element<'a>, includes: &mut Vec<Element<'a>>) {
        let sink = &mut self.reading.sink;
        if !grammar::admits(sink, parent, &element) {
            return;
        }
        if self.chain.len() > 1 && !grammar::is_in_included(element.name) {
            let first = sink.sources.get(0).path.display();
            let wrong = Wrong::new(format!("<{}> cannot stand in an included file", element.name));
            sink.report(element.at, wrong.help(format!("move it into {first}")));
            return;
        }
        let elements = &mut self.elements;
        match element.name {
            "include" => includes.push(element),
            "storage" => elements.storage.push(element),
            "schedule" => elements.schedule.push(element),
            "mail" => elements.mail.push(element),
            "heartbeat" => elements.heartbeat.push(element),
            "defaults" => elements.defaults.push(element),
            "template" => elements.templates.push(element),
            "receiver" => elements.receivers.push(element),
            "window" => elements.windows.push(element),
            _ => elements.clients.push(element),
        }
    }

    fn include(&mut self, element: &Element<'_>) {
        self.reading.holds_nothing(element);
        let sources = self.reading.sink.sources;
        let mut pattern = None;
        for attribute in grammar::known(&mut self.reading.sink, element) {
            let base = sources.get(element.at.file).path.parent().unwrap_or(Path::new("")).to_path_buf();
            let environment = self.reading.environment;
            pattern = self.reading.take(attribute, |text| environment.path(&base, text));
        }
        self.reading.missing(element, "file", "file=\"...\": a file, or a pattern as in clients/*.xml");
        let Some(At { value: pattern, span }) = pattern else { return };
        match files::expand(self.files, &pattern, usize::from(FILES) + 1) {
            Ok(paths) => paths.into_iter().for_each(|path| self.path(path, span, &pattern)),
            Err(error) => {
                let wrong = Wrong::new(format!("{} cannot be searched: {error}", pattern.display()));
                self.reading.report(span, wrong);
            }
        }
    }

    /// Reads one file that an `<include>` at `span` means.
    fn path(&mut self, path: PathBuf, span: Span, pattern: &Path) {
        if self.is_full {
            return;
        }
        let shown = path.display();
        let content = match self.files.read(&path, self.left) {
            Ok(content) => content,
            Err(error) if files::is_absent(&error) && files::has_wildcards(pattern) => return,
            Err(error) => {
                let help = "correct the path: it is relative to the file that names it";
                let wrong = Wrong::new(format!("{shown} cannot be read: {error}")).help(help);
                self.reading.report(span, wrong);
                return;
            }
        };
        if let Some(known) = self.known.get(&content.identity) {
            // Twice is once, as where patterns overlap; but what includes itself was meant otherwise.
            if self.chain.contains(known) {
                let wrong = Wrong::new(format!("{shown} includes itself in the end"));
                let help = "keep included files in a directory of their own, or remove this <include>";
                self.reading.report(span, wrong.help(help));
            }
            return;
        }
        let wrong = if content.bytes.len() as u64 > self.left {
            format!("all files together have more than {} MiB", SIZE >> 20)
        } else if self.known.len() >= usize::from(FILES) {
            format!("there are more than {FILES} files")
        } else if self.chain.len() >= DEPTH {
            format!("more than {DEPTH} files include one another")
        } else {
            self.file(&content, path);
            return;
        };
        self.is_full = true;
        self.reading.report(span, Wrong::new(wrong).help("split the fleet over several hosts that collect"));
    }
}
