//! What the readers of elements share: places, and the typed reading of attributes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::environment::Environment;
use crate::fault::{Sink, Wrong};
use crate::grammar;
use crate::settings::{Secret, SecretSource};
use crate::source::{FileId, Span};
use crate::tree::{Attribute, Element};
use crate::value::{Value, text};

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// One pass over the files.
pub(crate) struct Reading<'a> {
    pub(crate) sink: Sink<'a>,
    pub(crate) environment: &'a Environment,
    /// The first secret that stands in each file itself.
    pub(crate) inline_secrets: BTreeMap<FileId, Span>,
    /// The names of all windows, for alerts that name one.
    pub(crate) windows: BTreeSet<String>,
    /// Whether clients are to be reached: who only tells of them needs their names.
    pub(crate) reaches: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(sink: Sink<'a>, environment: &'a Environment) -> Self {
        Self { sink, environment, inline_secrets: BTreeMap::new(), windows: BTreeSet::new(), reaches: true }
    }

    pub(crate) fn report(&mut self, span: Span, wrong: Wrong) {
        self.sink.report(span, wrong);
    }

    /// `config.xml:12`, for the `source` of clients and rules.
    pub(crate) fn mark(&self, span: Span) -> String {
        self.sink.sources.get(span.file).mark(span.start)
    }

    /// `line 12` for a place in the file of `seen_from`, `line 12 of clients/web.xml` for one in another.
    pub(crate) fn line(&self, span: Span, seen_from: Span) -> String {
        let source = self.sink.sources.get(span.file);
        let line = source.line(span.start);
        if span.file == seen_from.file {
            format!("line {line}")
        } else {
            format!("line {line} of {}", source.path.display())
        }
    }

    /// The value of `attribute`, or a fault.
    pub(crate) fn take<T>(
        &mut self,
        attribute: &Attribute<'_>,
        read: impl FnOnce(&str) -> Value<T>,
    ) -> Option<At<T>> {
        match read(&attribute.value) {
            Ok(value) => Some(At { value, span: attribute.at }),
            Err(wrong) => {
                let Span { file, start, end } = attribute.value_at;
                // An empty value has no characters to point at: its quotes have.
                let span =
                    if start == end { Span::new(file, start - 1, end + 1) } else { attribute.value_at };
                self.report(span, wrong);
                None
            }
        }
    }

    /// The directory that paths in the file of `attribute` are relative to.
    pub(crate) fn base(&self, attribute: &Attribute<'_>) -> PathBuf {
        self.sink.sources.get(attribute.at.file).base()
    }

    pub(crate) fn path(&mut self, attribute: &Attribute<'_>) -> Option<At<PathBuf>> {
        let (environment, base) = (self.environment, self.base(attribute));
        self.take(attribute, |text| environment.path(&base, text))
    }

    pub(crate) fn paths(&mut self, attribute: &Attribute<'_>) -> Option<At<Vec<PathBuf>>> {
        let (environment, base) = (self.environment, self.base(attribute));
        self.take(attribute, |text| crate::value::list(text, |item| environment.path(&base, item)))
    }

    /// A secret into `slot`: attributes that end in `-file` or `-command` say where it is, others are it. A second
    /// one is a fault.
    pub(crate) fn secret(&mut self, attribute: &Attribute<'_>, slot: &mut Option<At<SecretSource>>) {
        let read = if attribute.name.ends_with("-file") {
            self.path(attribute).map(|path| At { value: SecretSource::File(path.value), span: path.span })
        } else if attribute.name.ends_with("-command") {
            self.take(attribute, |command| text(command).map(SecretSource::Command))
        } else {
            self.inline_secrets.entry(attribute.at.file).or_insert(attribute.at);
            self.take(attribute, |secret| {
                if secret.is_empty() {
                    let wrong = Wrong::new("the value is empty");
                    return Err(wrong.help("leave the attribute out where there is none"));
                }
                Ok(SecretSource::Inline(Secret::new(secret.to_owned())))
            })
        };
        if let Some(read) = read {
            self.only_secret(read, slot);
        }
    }

    /// A secret into `slot`. A second one is a fault.
    pub(crate) fn only_secret(&mut self, read: At<SecretSource>, slot: &mut Option<At<SecretSource>>) {
        if let Some(first) = slot {
            let line = self.line(first.span, read.span);
            let wrong = Wrong::new(format!("two sources of one secret: the other is in {line}"));
            self.report(read.span, wrong.help("keep one of the two"));
            return;
        }
        *slot = Some(read);
    }

    /// Reports that `element` lacks `name`, unless its attributes could not be read anyway.
    pub(crate) fn missing(&mut self, element: &Element<'_>, name: &str, example: &str) {
        // A value that is wrong was reported; the attribute is there.
        if !element.broken && !element.attributes.iter().any(|attribute| attribute.name == name) {
            let wrong = Wrong::new(format!("<{}> lacks the attribute `{name}`", element.name));
            self.report(element.at, wrong.expected(example));
        }
    }

    /// Reports whatever `element` holds; for elements that hold nothing.
    pub(crate) fn holds_nothing(&mut self, element: &Element<'_>) {
        for child in &element.children {
            grammar::admits(&mut self.sink, element, child);
        }
    }
}
