//! A letter as HTML: plain tables and inline styles, at most 600 pixels wide, legible on light and dark.
//!
//! Mail programs know little: no flow of boxes, no scripts, and some leave out `<style>`. What has to be there stands inline for a
//! light background; the one style sheet turns it for a dark one. Those that turn colours by themselves find ones that bear it.

use std::fmt::Write as _;

use super::letter::{Block, Heading, Letter, Style, Table, Tone};

/// For programs that tell whether the reader's screen is dark (Apple Mail, Thunderbird, Outlook on phones, K-9).
const DARK: &str = "\
:root{color-scheme:light dark;supported-color-schemes:light dark}\
@media (prefers-color-scheme:dark){\
.page{background:#0d1117!important}\
.card{background:#161b22!important;border-color:#30363d!important}\
.ink{color:#e6edf3!important}\
.dim{color:#9da7b3!important}\
.cell{border-color:#30363d!important}\
.link{color:#58a6ff!important}}";

const FONT: &str = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const MONO: &str = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace";

/// The HTML part; picture number `n` is found at `cid(n)`.
pub(crate) fn html(letter: &Letter, subject: &str, cid: &dyn Fn(usize) -> String) -> String {
    let mut page = Html { text: String::new(), is_open: None, cid };
    let title = escape(subject);
    page.write(format_args!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{DARK}</style>\n</head>\n\
         <body class=\"page\" style=\"margin:0;padding:0;background:#f6f8fa\">\n\
         <table role=\"presentation\" class=\"page\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"background:#f6f8fa\">\n<tr><td align=\"center\" style=\"padding:8px\">\n\
         <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
         style=\"max-width:600px;{FONT}\">\n"
    ));
    for block in &letter.blocks {
        page.block(letter, block);
    }
    page.close();
    page.write(format_args!(
        "<tr><td class=\"dim\" style=\"padding:8px 16px;font-size:12px;color:#57606a\">{}</td></tr>\n\
         </table>\n</td></tr>\n</table>\n</body>\n</html>\n",
        escape(&letter.signature)
    ));
    page.text
}

/// What is open at the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A card.
    Card,
    /// A table of fields in a card.
    Fields,
}

struct Html<'a> {
    text: String,
    is_open: Option<Open>,
    cid: &'a dyn Fn(usize) -> String,
}

impl Html<'_> {
    fn block(&mut self, letter: &Letter, block: &Block) {
        match block {
            Block::Contents(headings) => self.contents(headings),
            Block::Heading(heading) => self.heading(heading),
            Block::Field { style: Style::TextOnly, .. } => {}
            Block::Field { name, value, style } => self.field(name, value, *style),
            Block::Say(said) => {
                self.card(Tone::Plain);
                self.write(format_args!(
                    "<p class=\"ink\" style=\"margin:0;padding:4px 16px 8px;font-size:15px;line-height:1.4;color:#1f2328\">{}</p>\n",
                    prose(said)
                ));
            }
            Block::Table(table) => {
                self.card(Tone::Plain);
                self.table(table);
            }
            Block::Picture(number) => {
                self.card(Tone::Plain);
                let Some(picture) = letter.pictures.get(*number) else { return };
                if !picture.caption.is_empty() {
                    self.write(format_args!(
                        "<div class=\"dim\" style=\"padding:8px 16px 0;font-size:14px;color:#57606a\">{}</div>\n",
                        escape(picture.caption)
                    ));
                }
                let source = (self.cid)(*number);
                self.write(format_args!(
                    "<div style=\"padding:8px 16px\"><img src=\"cid:{source}\" alt=\"{}\" width=\"566\" \
                     style=\"display:block;width:100%;max-width:566px;height:auto;border:0\"></div>\n",
                    escape(&picture.alt)
                ));
            }
        }
    }

    fn contents(&mut self, headings: &[Heading]) {
        self.card(Tone::Plain);
        self.write(format_args!(
            "<table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"margin:6px 0\">\n"
        ));
        for heading in headings {
            self.write(format_args!(
                "<tr><td class=\"ink\" style=\"padding:3px 16px;font-size:15px;line-height:1.4;color:#1f2328\">{} {}</td></tr>\n",
                badge(heading),
                prose(&heading.text)
            ));
        }
        self.write(format_args!("</table>\n"));
    }

    fn heading(&mut self, heading: &Heading) {
        self.close();
        self.card(heading.tone);
        self.write(format_args!(
            "<div style=\"padding:12px 16px 6px\">{}<div class=\"ink\" style=\"padding-top:6px;font-size:18px;\
             line-height:1.3;font-weight:600;color:#1f2328;word-break:break-word\">{}</div></div>\n",
            badge(heading),
            prose(&heading.text)
        ));
    }

    fn field(&mut self, name: &str, value: &str, style: Style) {
        if self.is_open != Some(Open::Fields) {
            self.card(Tone::Plain);
            self.write(format_args!(
                "<table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
                 style=\"padding:0 12px 6px\">\n"
            ));
            self.is_open = Some(Open::Fields);
        }
        let value = match style {
            Style::Code => format!("<span style=\"{MONO};font-size:13px\">{}</span>", escape(value)),
            Style::Links => linked(value),
            Style::Plain | Style::TextOnly => prose(value),
        };
        self.write(format_args!(
            "<tr><td class=\"dim\" valign=\"top\" style=\"padding:3px 8px 3px 4px;width:76px;font-size:14px;line-height:1.4;\
             color:#57606a\">{}</td><td class=\"ink\" valign=\"top\" style=\"padding:3px 4px;font-size:15px;line-height:1.4;\
             color:#1f2328;word-break:break-word\">{value}</td></tr>\n",
            escape(name)
        ));
    }

    fn table(&mut self, table: &Table) {
        self.write(format_args!(
            "<div class=\"dim\" style=\"padding:8px 16px 2px;font-size:14px;color:#57606a\">{}</div>\n\
             <table width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"padding:0 10px 8px\">\n<tr>",
            escape(&table.title)
        ));
        let last = table.columns.len().saturating_sub(1);
        let align = |count: usize| if count == last { "left" } else { "right" };
        for (count, column) in table.columns.iter().enumerate() {
            self.write(format_args!(
                "<th class=\"dim\" align=\"{}\" style=\"padding:2px 6px;font-size:11px;font-weight:400;color:#57606a;\
                 white-space:nowrap\">{}</th>",
                align(count),
                escape(column.name)
            ));
        }
        self.write(format_args!("</tr>\n"));
        for row in &table.rows {
            self.write(format_args!("<tr>"));
            for (count, cell) in row.iter().enumerate() {
                let wrap =
                    if count == last { "width:100%;word-break:break-word" } else { "white-space:nowrap" };
                self.write(format_args!(
                    "<td class=\"ink cell\" align=\"{}\" style=\"padding:3px 6px;border-top:1px solid #eaeef2;font-size:14px;\
                     color:#1f2328;{wrap}\">{}</td>",
                    align(count),
                    escape(cell)
                ));
            }
            self.write(format_args!("</tr>\n"));
        }
        self.write(format_args!("</table>\n"));
    }

    /// Opens a card where none is open; what follows stands in it, below its fields.
    fn card(&mut self, tone: Tone) {
        if self.is_open == Some(Open::Fields) {
            self.write(format_args!("</table>\n"));
        } else if self.is_open.is_none() {
            self.write(format_args!(
                "<tr><td style=\"padding:0 0 10px\">\n<table role=\"presentation\" class=\"card\" width=\"100%\" \
                 cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"background:#ffffff;border:1px solid #d0d7de;\
                 border-radius:8px\">\n<tr><td style=\"border-left:5px solid {};border-radius:8px\">\n",
                colour(tone)
            ));
        }
        self.is_open = Some(Open::Card);
    }

    fn close(&mut self) {
        if self.is_open.is_some() {
            self.card(Tone::Plain);
            self.write(format_args!("</td></tr>\n</table>\n</td></tr>\n"));
            self.is_open = None;
        }
    }

    fn write(&mut self, arguments: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(arguments);
    }
}

/// White on a strong colour reads on light and dark alike.
fn badge(heading: &Heading) -> String {
    format!(
        "<span style=\"display:inline-block;padding:1px 8px;border-radius:10px;background:{};color:#ffffff;\
         font-size:12px;font-weight:600;line-height:1.5;white-space:nowrap\">{}</span>",
        colour(heading.tone),
        escape(&heading.tag)
    )
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Critical => "#cf222e",
        Tone::Warning => "#9a6700",
        Tone::Fine => "#1a7f37",
        Tone::Plain => "#57606a",
    }
}

/// Words that are addresses become links.
fn linked(text: &str) -> String {
    let word = |word: &str| {
        let address = word.trim_end_matches([':', ',', '.', ';', ')', '!', '?']);
        if !address.starts_with("https://") && !address.starts_with("http://") {
            return escape(word);
        }
        let (shown, rest) = (escape(address), escape(&word[address.len()..]));
        format!("<a class=\"link\" href=\"{shown}\" style=\"color:#0969da\">{shown}</a>{rest}")
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// [`escape`] for sentences: a number and its unit stay on one line.
fn prose(text: &str) -> String {
    let mut sentence = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_unit = |next: &char| next.is_alphabetic() || ['%', '°'].contains(next);
        let is_glued = c == ' ' && before.is_ascii_digit() && rest.peek().is_some_and(is_unit);
        sentence.push(if is_glued { '\u{a0}' } else { c });
        before = c;
    }
    escape(&sentence)
}

/// For content and for attributes in double quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<b a=\"1\" b='2'>&amp;"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;amp;");
    }

    #[test]
    fn a_number_and_its_unit_stay_together() {
        assert_eq!(prose("6 min < 90 % at 04:10 +02:00"), "6\u{a0}min &lt; 90\u{a0}% at 04:10 +02:00");
    }

    #[test]
    fn addresses_in_a_note_are_links() {
        let link = linked("see https://wiki/x?a=1&b=\"2\": then <call>");
        assert!(
            link.starts_with("see <a class=\"link\" href=\"https://wiki/x?a=1&amp;b=&quot;2&quot;\" "),
            "{link}"
        );
        assert!(link.ends_with("</a>: then &lt;call&gt;"), "{link}");
        assert_eq!(linked("javascript:alert(1)"), "javascript:alert(1)");
    }
}
