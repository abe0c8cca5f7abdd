//! The SVG writer: rectangles, lines and texts on a light card of its own, so that it reads on any background.

use std::fmt::Write as _;

use super::font::Font;

/// The card's width. A phone shows it about as large as it is, a desktop half as large again.
pub(super) const WIDTH: f64 = 420.0;

/// The size of letters.
pub(super) const LETTERS: f64 = 12.0;

/// What lines of the grid look like.
pub(super) const GRID: &str = "#e4e8ec";

/// The colour of texts.
pub(super) const INK: &str = "#57606a";

/// Which point of a text stands at its x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Begin,
    Middle,
    End,
}

/// An SVG under way.
pub(super) struct Drawing {
    svg: String,
    font: Font,
}

impl Drawing {
    pub(super) fn new(height: f64) -> Self {
        let mut drawing = Self { svg: String::new(), font: Font::load() };
        drawing.write(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\">\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"6\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n",
            WIDTH - 1.0,
            height - 1.0
        ));
        drawing
    }

    pub(super) fn width_of(&self, text: &str) -> f64 {
        self.font.width(text, LETTERS)
    }

    pub(super) fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        self.write(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>\n"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        self.path(&format!("M{:.1} {:.1}L{:.1} {:.1}", from.0, from.1, to.0, to.1), stroke, 1.0, false);
    }

    pub(super) fn path(&mut self, path: &str, stroke: &str, width: f64, is_dashed: bool) {
        let dashes = if is_dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        self.write(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"{dashes}/>\n"
        ));
    }

    /// A single value that no line reaches.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), fill: &str) {
        self.write(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{fill}\"/>\n"));
    }

    pub(super) fn text(&mut self, text: &str, (x, y): (f64, f64), anchor: Anchor, fill: &str) {
        let width = self.width_of(text);
        let x = match anchor {
            Anchor::Begin => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        let path = self.font.outline(text, LETTERS, x, y);
        self.write(format_args!("<path d=\"{path}\" fill=\"{fill}\"/>\n"));
    }

    pub(super) fn into_svg(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }

    fn write(&mut self, arguments: std::fmt::Arguments) {
        // Writing to a String cannot fail.
        let _ = self.svg.write_fmt(arguments);
    }
}
