//! The embedded font: texts as outlines, so that a plot looks the same wherever it is drawn.

use std::fmt::Write as _;

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// A subset of DejaVu Sans; `assets/make.sh` makes it.
const FONT: &[u8] = include_bytes!("../../assets/plot.ttf");

/// What is written for a character that the font does not have.
const MISSING: char = '?';

/// The font, ready to write with.
pub(super) struct Font(Face<'static>);

impl Font {
    pub(super) fn load() -> Self {
        Self(Face::parse(FONT, 0).expect("the font is part of this program, and a test loads it"))
    }

    /// How wide `text` is at a size of `size`.
    pub(super) fn width(&self, text: &str, size: f64) -> f64 {
        text.chars().map(|c| self.advance(self.glyph(c))).sum::<f64>() * self.scale(size)
    }

    /// `text` as path data that begins at `x` on the base line `y`.
    pub(super) fn outline(&self, text: &str, size: f64, x: f64, y: f64) -> String {
        let mut pen = Pen { path: String::new(), scale: self.scale(size), x, y };
        for c in text.chars() {
            let glyph = self.glyph(c);
            self.0.outline_glyph(glyph, &mut pen);
            pen.x += self.advance(glyph) * pen.scale;
        }
        pen.path
    }

    fn glyph(&self, c: char) -> GlyphId {
        self.0.glyph_index(c).or_else(|| self.0.glyph_index(MISSING)).unwrap_or_default()
    }

    fn advance(&self, glyph: GlyphId) -> f64 {
        f64::from(self.0.glyph_hor_advance(glyph).unwrap_or_default())
    }

    fn scale(&self, size: f64) -> f64 {
        size / f64::from(self.0.units_per_em())
    }
}

/// Writes path data in the plot's coordinates: the font's y axis points up, the plot's down.
struct Pen {
    path: String,
    scale: f64,
    x: f64,
    y: f64,
}

impl Pen {
    fn to(&mut self, command: char, points: &[(f32, f32)]) {
        self.path.push(command);
        for &(x, y) in points {
            let (x, y) = (self.x + f64::from(x) * self.scale, self.y - f64::from(y) * self.scale);
            let _ = write!(self.path, "{x:.2} {y:.2} ");
        }
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.to('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.to('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.to('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.to('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.path.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_all_that_plots_write() {
        let font = Font::load();
        for c in "0123456789 %:/.-+°…abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".chars() {
            assert!(font.0.glyph_index(c).is_some(), "{c:?}");
        }
        assert_eq!(font.outline("漢", 10.0, 0.0, 0.0), font.outline("?", 10.0, 0.0, 0.0));
        assert!(font.width("100 %", 12.0) > font.width("90 %", 12.0));
    }
}
