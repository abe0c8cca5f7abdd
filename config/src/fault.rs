//! What is wrong with a file, said so that it can be put right.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::source::{Excerpt, FileId, Sources, Span};

/// So many faults are kept; of the rest only the number.
const KEPT: usize = 200;

/// What is wrong with one value or place; where that is, its reader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    message: String,
    expected: Option<String>,
    help: Option<String>,
}

impl Wrong {
    /// The cause, as it is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), expected: None, help: None }
    }

    /// Cause and remedy, on one line.
    pub(crate) fn brief(&self) -> String {
        let expected = self.expected.iter().map(|text| format!("expected: {text}"));
        let parts: Vec<_> =
            [self.message.clone()].into_iter().chain(expected).chain(self.help.clone()).collect();
        parts.join("; ")
    }

    /// What would be right.
    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// What to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to do, where that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// One fault of a file: place, cause and remedy. Secrets in its line are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    file: String,
    place: Option<(usize, usize, Excerpt)>,
    wrong: Wrong,
}

impl Fault {
    pub(crate) fn of_file(file: &Path, wrong: Wrong) -> Self {
        Self { file: file.display().to_string(), place: None, wrong }
    }

    /// The line of its file, counted from 1; `None` for a fault of the whole file.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(line, ..)| *line)
    }

    /// Cause and remedy without the place, on one line.
    pub fn brief(&self) -> String {
        self.wrong.brief()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wrong { message, expected, help } = &self.wrong;
        let file = &self.file;
        let mut margin = 2;
        match &self.place {
            None => writeln!(f, "{file}: error: {message}")?,
            Some((line, column, excerpt)) => {
                writeln!(f, "{file}:{line}:{column}: error: {message}")?;
                let number = line.to_string();
                margin = number.len() + 2;
                writeln!(f, " {number} | {}", excerpt.text)?;
                let (indent, carets) = (" ".repeat(excerpt.indent), "^".repeat(excerpt.carets));
                writeln!(f, "{:margin$}| {indent}{carets}", "")?;
            }
        }
        for (word, text) in [("expected", expected), ("help", help)] {
            if let Some(text) = text {
                writeln!(f, "{:margin$}= {word}: {text}", "")?;
            }
        }
        Ok(())
    }
}

/// Every fault of all files, in their order. Its text ends with a line that counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    kept: Vec<Fault>,
    count: usize,
}

impl Faults {
    pub(crate) fn one(fault: Fault) -> Self {
        Self { kept: vec![fault], count: 1 }
    }

    /// How many there are, shown or not.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.kept.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.kept {
            writeln!(f, "{fault}")?;
        }
        let hidden = self.count - self.kept.len();
        if hidden > 0 {
            writeln!(f, "... and {hidden} more")?;
        }
        let faults = if self.count == 1 { "fault" } else { "faults" };
        write!(f, "{} {faults}: nothing was tried", self.count)
    }
}

impl std::error::Error for Faults {}

/// Where the readers of the files put what they find wrong.
pub(crate) struct Sink<'a> {
    pub(crate) sources: &'a Sources,
    kept: Vec<(Span, Wrong)>,
    count: usize,
    unbalanced: BTreeSet<FileId>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(sources: &'a Sources) -> Self {
        Self { sources, kept: Vec::new(), count: 0, unbalanced: BTreeSet::new() }
    }

    /// Notes what is wrong at `span`.
    pub(crate) fn report(&mut self, span: Span, wrong: Wrong) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push((span, wrong));
        }
    }

    /// Notes that end tags are missing in `file` or stand in the wrong place, so that its elements may hold what they
    /// should not: that is a consequence, and not reported again.
    pub(crate) fn unbalance(&mut self, file: FileId) {
        self.unbalanced.insert(file);
    }

    /// Whether the elements of `file` may hold what they should not.
    pub(crate) fn is_unbalanced(&self, file: FileId) -> bool {
        self.unbalanced.contains(&file)
    }

    /// Whether what is reported from now on is counted only: then what takes long to find out need not be.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= KEPT
    }

    /// How much is wrong so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What was found, in the order of the files; `None` where nothing is wrong.
    pub(crate) fn finish(mut self) -> Option<Faults> {
        self.kept.sort_by_key(|(span, _)| (span.file, span.start));
        let fault = |(span, wrong): (Span, Wrong)| {
            let source = self.sources.get(span.file);
            let (line, column) = source.place(span.start);
            let place = Some((line, column, source.excerpt(span)));
            Fault { file: source.path.display().to_string(), place, wrong }
        };
        let kept: Vec<_> = self.kept.into_iter().map(fault).collect();
        (self.count > 0).then_some(Faults { kept, count: self.count })
    }
}
