//! The axes of a plot, and where values and times stand on the card.

use model::Timestamp;
use model::metric::Unit;

use super::axis::{self, Values};
use super::drawing::{Anchor, Drawing, GRID, INK, LETTERS, WIDTH};
use crate::zone::Zone;

/// The height of the card.
pub(super) const HEIGHT: f64 = 190.0;

/// What is left free above, right of and below the values.
pub(super) const MARGIN: f64 = 12.0;

/// The height of what is written below the values.
const FOOT: f64 = 24.0;

/// Where the values end on the right.
pub(super) const RIGHT: f64 = WIDTH - MARGIN;

/// Where they end below.
pub(super) const BOTTOM: f64 = HEIGHT - FOOT;

/// The axes of a plot.
pub(super) struct Frame {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    unit: Unit,
    values: Values,
    left: f64,
}

impl Frame {
    /// Axes with room for the marks of `values` on `drawing`.
    pub(super) fn new(drawing: &Drawing, unit: Unit, values: Values, from: Timestamp, to: Timestamp) -> Self {
        let widest = values.marks.iter().map(|mark| drawing.width_of(&unit.show(*mark)));
        let left = widest.fold(0.0, f64::max) + MARGIN + 4.0;
        Self { from, to, unit, values, left }
    }

    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let share = at.since(self.from) as f64 / self.to.since(self.from) as f64;
        self.left + share.clamp(0.0, 1.0) * (RIGHT - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let share = (value - self.values.low) / (self.values.high - self.values.low);
        BOTTOM - share * (BOTTOM - MARGIN)
    }

    pub(super) fn left(&self) -> f64 {
        self.left
    }

    /// The grid and what is written at it; times by the clock of `zone`.
    pub(super) fn draw(&self, drawing: &mut Drawing, zone: Zone) {
        for &mark in &self.values.marks {
            let y = self.y(mark);
            drawing.line((self.left, y), (RIGHT, y), GRID);
            let text = self.unit.show(mark);
            drawing.text(&text, (self.left - 6.0, y + LETTERS * 0.35), Anchor::End, INK);
        }
        let mut free = 4.0;
        for (at, text) in axis::times(zone, self.from, self.to, 7.0) {
            let x = self.x(at);
            drawing.line((x, MARGIN), (x, BOTTOM), GRID);
            let half = drawing.width_of(&text) / 2.0;
            let middle = x.min(RIGHT - half);
            if middle - half > free {
                free = middle + half + 6.0;
                drawing.text(&text, (middle, HEIGHT - 8.0), Anchor::Middle, INK);
            }
        }
    }
}
