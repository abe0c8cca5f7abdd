//! A file's text with its lines, shown without its secrets.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::mask::{secret_at, secrets};

/// How many characters of a line are shown.
const WIDTH: usize = 120;

/// What is shown instead of a secret, whatever its length.
const MASK: &str = "***";

/// The number of a file among those that are read; the first one is 0.
pub(crate) type FileId = u16;

/// A stretch of a file's text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(file: FileId, start: usize, end: usize) -> Self {
        Self { file, start, end }
    }
}

/// A line, or the part of it around a fault, with what stands under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    pub(crate) indent: usize,
    pub(crate) carets: usize,
}

/// A file's text and where its lines begin.
pub(crate) struct Source {
    /// The file, as people are shown it in faults, and as what it names is found.
    pub(crate) path: PathBuf,
    /// The file as seen from the first one: for the `source` of clients and rules.
    pub(crate) short_name: String,
    pub(crate) text: Zeroizing<String>,
    /// Its permission bits.
    pub(crate) mode: u32,
    lines: Vec<usize>,
    secrets: OnceCell<Vec<Range<usize>>>,
}

impl Source {
    pub(crate) fn new(path: PathBuf, short_name: String, text: Zeroizing<String>, mode: u32) -> Self {
        let starts = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { path, short_name, text, mode, lines, secrets: OnceCell::new() }
    }

    /// The directory that paths in the file are relative to.
    pub(crate) fn base(&self) -> PathBuf {
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf)
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    /// Line and column of a byte, both from 1, the column in characters.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let start = self.lines[line - 1];
        (line, self.text.get(start..at).map_or(at - start, |before| before.chars().count()) + 1)
    }

    /// `config.xml:12` for a byte.
    pub(crate) fn mark(&self, at: usize) -> String {
        if self.short_name.is_empty() {
            return String::new();
        }
        format!("{}:{}", self.short_name, self.line(at))
    }

    /// The first line of `span`, secrets masked, and where the span stands in it.
    pub(crate) fn excerpt(&self, span: Span) -> Excerpt {
        let line = self.line(span.start);
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.text.len(), |&next| next - 1);
        let secrets = self.secrets.get_or_init(|| secrets(&self.text));
        let mut begin = start.max(span.start.saturating_sub(WIDTH / 2));
        while !self.text.is_char_boundary(begin) {
            begin -= 1;
        }
        let mut excerpt = Excerpt { text: String::new(), indent: 0, carets: 0 };
        if begin > start {
            excerpt.text.push('…');
            excerpt.indent = 1;
        }
        for (count, (at, c)) in self.text[begin..end].char_indices().enumerate() {
            if count > WIDTH {
                excerpt.text.push('…');
                break;
            }
            let at = begin + at;
            let shown = match secret_at(secrets, at) {
                Some(secret) if at == secret.start || at == begin => MASK.to_owned(),
                Some(_) => String::new(),
                None if c == '\r' => String::new(),
                None if c.is_whitespace() => " ".to_owned(),
                None => model::text::escape_to(&c.to_string(), 1),
            };
            if at < span.start {
                excerpt.indent += shown.chars().count();
            } else if at < span.end {
                excerpt.carets += shown.chars().count();
            }
            excerpt.text.push_str(&shown);
        }
        excerpt.text.truncate(excerpt.text.trim_end().len());
        if secret_at(secrets, span.start).is_some_and(|secret| secret.start < span.start) {
            // Inside of a secret nothing is pointed at but the secret.
            excerpt.indent = excerpt.indent.saturating_sub(MASK.len());
            excerpt.carets = MASK.len();
        }
        excerpt.carets = excerpt.carets.max(1);
        excerpt
    }
}

/// The files that are read, each in a place of its own, so that more may be added while trees borrow from those.
pub(crate) struct Sources(Box<[OnceCell<Source>]>);

impl Sources {
    /// Room for `count` files.
    pub(crate) fn new(count: FileId) -> Self {
        Self((0..count).map(|_| OnceCell::new()).collect())
    }

    /// Keeps `source`; `None` where there is no room left.
    pub(crate) fn add(&self, source: Source) -> Option<FileId> {
        let free = self.0.iter().position(|slot| slot.get().is_none())?;
        self.0[free].set(source).ok()?;
        FileId::try_from(free).ok()
    }

    /// The file of that number, which [`Self::add`] gave.
    pub(crate) fn get(&self, file: FileId) -> &Source {
        self.0[usize::from(file)].get().expect("a number comes from `add`")
    }

    /// All files, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        (0..).zip(self.0.iter().map_while(OnceCell::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("config.xml".into(), "config.xml".into(), text.to_owned().into(), 0o600)
    }

    fn shown(text: &str, part: &str) -> String {
        let source = source(text);
        let start = text.find(part).unwrap();
        let excerpt = source.excerpt(Span::new(0, start, start + part.len()));
        format!("{}\n{}{}", excerpt.text, " ".repeat(excerpt.indent), "^".repeat(excerpt.carets))
    }

    #[test]
    fn places() {
        let source = source("aé\nb\n");
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(3), (1, 3));
        assert_eq!(source.place(4), (2, 1));
        assert_eq!(source.place(6), (3, 1));
        assert_eq!(source.mark(4), "config.xml:2");
    }

    #[test]
    fn secrets_are_masked() {
        for text in [
            r#"<client password="hush" port="x"/>"#,
            r#"<client pasword = 'hush' port="x"/>"#,
            r#"<client passwd=hush port="x"/>"#,
            "<client\n password=\"\nhush\" port=\"x\"/>",
            r#"<client Passphrase="hush" port="x"/>"#,
            r#"<storage url="postgres://me:hush@host/db" port="x"/>"#,
            r#"<storage url="postgres://host/db?password=hush" port="x"/>"#,
            r#"<storage url='postgresql:///?password=hush' port="x"/>"#,
            r#"<heartbeat collector-url="https://example.org/hush" port="x"/>"#,
        ] {
            let shown = shown(text, "port");
            assert!(!shown.contains("hush") && shown.contains("***") && shown.contains("port"), "{shown}");
        }
        let broken = shown(r#"<client ip="1" password="hu"sh me" port="x"/>"#, "ip");
        assert!(!broken.contains("sh me"), "{broken}");
        assert!(shown(r#"<client password-file="/etc/x" port="x"/>"#, "port").contains("/etc/x"));
    }

    #[test]
    fn the_caret_stands_under_what_is_meant() {
        insta::assert_snapshot!(shown("<client password='hush'\tport='70000'/>", "70000"), @r"
        <client password='***' port='70000'/>
                                     ^^^^^
        ");
    }

    #[test]
    fn long_lines_are_cut_around_the_fault() {
        let text = format!("<a {} x=\"bad\" {}/>", "y".repeat(5000), "z".repeat(5000));
        let shown = shown(&text, "bad");
        let (line, carets) = shown.split_once('\n').unwrap();
        assert!(line.chars().count() < 2 * WIDTH, "{line}");
        let at = carets.find('^').unwrap();
        assert_eq!(line.chars().skip(at).take(3).collect::<String>(), "bad");
    }
}
