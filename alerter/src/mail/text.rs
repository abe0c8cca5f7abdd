//! A letter as plain text, complete by itself.

use super::letter::{Block, Heading, Letter, Table};
use super::page::Page;

/// The text part.
pub(crate) fn text(letter: &Letter) -> String {
    let mut page = Page::default();
    for (count, block) in letter.blocks.iter().enumerate() {
        match block {
            Block::Contents(headings) => headings.iter().for_each(|heading| page.entry(&line(heading))),
            Block::Heading(heading) => {
                if count > 0 {
                    page.space();
                }
                page.heading(&line(heading));
            }
            Block::Say(said) => {
                let is_after_fields = count > 0 && matches!(letter.blocks[count - 1], Block::Field { .. });
                if is_after_fields {
                    page.space();
                }
                page.say(said);
            }
            Block::Field { name, value, .. } => page.field(name, value),
            Block::Table(rows) => table(&mut page, rows),
            Block::Picture(_) => {}
        }
    }
    page.space();
    page.say("-- ");
    page.say(&letter.signature);
    page.into_text()
}

fn line(heading: &Heading) -> String {
    format!("[{}] {}", heading.tag, heading.text)
}

fn table(page: &mut Page, table: &Table) {
    page.space();
    page.say(&format!("  {}:", table.title));
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    page.row(&row(table, &names));
    for cells in &table.rows {
        page.row(&row(table, cells));
    }
}

fn row<T: AsRef<str>>(table: &Table, cells: &[T]) -> String {
    let last = cells.len().saturating_sub(1);
    let padded = table.columns.iter().zip(cells).enumerate().map(|(count, (column, cell))| {
        let (cell, width) = (cell.as_ref(), column.width);
        if count == last { format!(" {cell}") } else { format!("{cell:>width$}") }
    });
    padded.collect::<Vec<_>>().join(" ")
}
