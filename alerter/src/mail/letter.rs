//! What a mail says, before it becomes text and HTML.

use model::Severity;

/// How bad something is, as a colour says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A critical that fires.
    Critical,
    /// A warning that fires.
    Warning,
    /// What is over.
    Fine,
    /// A summary.
    Plain,
}

impl From<Severity> for Tone {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::Warning => Self::Warning,
        }
    }
}

/// `[CRITICAL] web1: disk /var 93 % (limit 90 %)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heading {
    pub(crate) tone: Tone,
    /// Without brackets.
    pub(crate) tag: String,
    pub(crate) text: String,
}

/// How a field's value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// As config.xml writes it.
    Code,
    /// An admin's own words: addresses in it become links.
    Links,
    /// For the text part alone: HTML has a picture instead.
    TextOnly,
}

/// Rows under a title; the last column is aligned to the left, the others to the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// In the text part, in characters.
    pub(crate) width: usize,
}

/// A picture that travels in the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// What stands above it; may be empty.
    pub(crate) caption: &'static str,
    /// What it shows, for who does not see it.
    pub(crate) alt: String,
    pub(crate) png: Vec<u8>,
}

/// A part of a letter. Every text in it is safe to show, and not yet escaped for HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// What the letter is about, one line each.
    Contents(Vec<Heading>),
    /// Begins what is said of one thing.
    Heading(Heading),
    Say(String),
    Field {
        name: &'static str,
        value: String,
        style: Style,
    },
    Table(Table),
    /// By its number among [`Letter::pictures`].
    Picture(usize),
}

/// A whole letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Letter {
    pub(crate) blocks: Vec<Block>,
    pub(crate) pictures: Vec<Picture>,
    /// Who writes.
    pub(crate) signature: String,
}

impl Letter {
    /// A paragraph; an empty one is left out.
    pub(crate) fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.blocks.push(Block::Say(text.to_owned()));
        }
    }

    /// A field of plain text; an empty one is left out.
    pub(crate) fn field(&mut self, name: &'static str, value: impl Into<String>) {
        self.styled(name, value, Style::Plain);
    }

    /// A field; an empty one is left out.
    pub(crate) fn styled(&mut self, name: &'static str, value: impl Into<String>, style: Style) {
        let value = value.into();
        if !value.is_empty() {
            self.blocks.push(Block::Field { name, value, style });
        }
    }

    /// A table; one without rows is left out.
    pub(crate) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.blocks.push(Block::Table(table));
        }
    }

    pub(crate) fn picture(&mut self, picture: Picture) {
        self.blocks.push(Block::Picture(self.pictures.len()));
        self.pictures.push(picture);
    }
}
