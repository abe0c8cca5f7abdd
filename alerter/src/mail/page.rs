//! Plain text 72 columns wide, readable on a phone and in a terminal.

use std::fmt::Write as _;

/// The widest line; a single word may be longer.
pub(crate) const WIDTH: usize = 72;

/// The column at which the values of fields begin.
const INDENT: usize = 12;

/// A text under way.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// A paragraph.
    pub(crate) fn say(&mut self, text: &str) {
        self.fill("", "", text);
    }

    /// A line of a list, wrapped under itself.
    pub(crate) fn entry(&mut self, text: &str) {
        self.fill("", "    ", text);
    }

    /// An empty line.
    pub(crate) fn space(&mut self) {
        self.0.push('\n');
    }

    /// `  name      value`, the value wrapped under itself. An empty value is left out.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.fill(&format!("  {name:<width$}", width = INDENT - 2), &" ".repeat(INDENT), value);
        }
    }

    /// A line of a table, as it is.
    pub(crate) fn row(&mut self, text: &str) {
        let _ = writeln!(self.0, "    {text}");
    }

    /// A line under `text` as long as the text.
    pub(crate) fn heading(&mut self, text: &str) {
        self.say(text);
        let _ = writeln!(self.0, "{}", "-".repeat(text.chars().count().min(WIDTH)));
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn fill(&mut self, first: &str, rest: &str, text: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _ = writeln!(self.0, "{line}");
                rest.clone_into(&mut line);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        let _ = writeln!(self.0, "{}", line.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_wrap_under_themselves() {
        let mut page = Page::default();
        page.field("Rule", &"word ".repeat(30));
        page.field("Empty", "");
        let text = page.into_text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("            word")), "{text}");
        assert_eq!(text.matches("word").count(), 30);
    }
}
