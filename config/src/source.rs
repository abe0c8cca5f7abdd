//! A file's text with its lines, shown without its secrets.

use std::cell::OnceCell;
use std::ops::Range;

use crate::nearest::nearest;

/// How many characters of a line are shown.
const WIDTH: usize = 120;

/// What is shown instead of a secret, whatever its length.
const MASK: &str = "***";

/// So many bytes of a URL are searched for a login.
const URL: usize = 512;

/// A stretch of a file's text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
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
pub(crate) struct Source<'a> {
    /// The file, as people are shown it in faults.
    pub(crate) name: String,
    /// The file without its directories: for the `source` of clients and rules.
    pub(crate) short_name: String,
    pub(crate) text: &'a str,
    lines: Vec<usize>,
    secrets: OnceCell<Vec<Range<usize>>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(name: String, short_name: String, text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name, short_name, text, lines, secrets: OnceCell::new() }
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
        let secrets = self.secrets.get_or_init(|| secrets(self.text));
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

fn secret_at(secrets: &[Range<usize>], at: usize) -> Option<&Range<usize>> {
    let after = secrets.partition_point(|secret| secret.start <= at);
    after.checked_sub(1).map(|index| &secrets[index]).filter(|secret| secret.contains(&at))
}

/// The values in `text` that must not be shown, found without regard to whether the text is well-formed: those of
/// attributes that are called, or nearly called, `password`; and addresses that hold a login.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('=').map(|at| from + at) {
        let value = at + 1 + text[at + 1..].bytes().take_while(u8::is_ascii_whitespace).count();
        from = at + 1;
        let before = text[..at].trim_end();
        // Names are ASCII, and no name of interest is longer than this.
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let length = before.as_bytes().iter().rev().take(40).take_while(is_name).count();
        let name = before[before.len() - length..].to_ascii_lowercase();
        let is_url = name.ends_with("url");
        if !is_url && !is_secret(&name) {
            continue;
        }
        // Only the beginning of a URL is looked at: every `=` of a long line may be before one.
        let near = &bytes[..bytes.len().min(value + URL)];
        if is_url && !near[value..value_end(near, value)].contains(&b'@') {
            continue;
        }
        let end = value_end(bytes, value);
        let start = value + usize::from(matches!(bytes.get(value), Some(b'"' | b'\'')));
        if start < end {
            found.push(start..end);
        }
        from = end;
    }
    found
}

/// Where the value that starts at `start` ends. What follows a closing quote without a blank may still be a part of a
/// password whose quote was not escaped: then nothing more of the line is shown.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let line_end = |from: usize| {
        bytes[from..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| from + length)
    };
    let start = start.min(bytes.len());
    let Some(&quote @ (b'"' | b'\'')) = bytes.get(start) else {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
        return bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
    };
    match bytes[start + 1..].iter().position(|&byte| byte == quote) {
        None => bytes.len(),
        Some(length) => {
            let close = start + 1 + length;
            match bytes.get(close + 1) {
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>') => close,
                Some(_) => line_end(close),
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    let names_a_place = name.ends_with("-file") || name.ends_with("-command");
    let sounds_secret = ["pass", "secret", "pwd"].iter().any(|word| name.contains(word));
    name.len() >= 3
        && !names_a_place
        && (sounds_secret || nearest(name, ["password", "passphrase"]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, part: &str) -> String {
        let source = Source::new("config.xml".into(), "config.xml".into(), text);
        let start = text.find(part).unwrap();
        let excerpt = source.excerpt(Span::new(start, start + part.len()));
        format!("{}\n{}{}", excerpt.text, " ".repeat(excerpt.indent), "^".repeat(excerpt.carets))
    }

    #[test]
    fn places() {
        let source = Source::new(String::new(), "c".into(), "aé\nb\n");
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(3), (1, 3));
        assert_eq!(source.place(4), (2, 1));
        assert_eq!(source.place(6), (3, 1));
        assert_eq!(source.mark(4), "c:2");
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
