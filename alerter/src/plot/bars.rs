//! Counts of episodes over time, as bars.

use model::Timestamp;
use model::metric::Unit;

use super::axis::Values;
use super::drawing::Drawing;
use super::frame::{Frame, HEIGHT};
use super::png;
use crate::zone::Zone;

/// How many episodes began in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// Warnings.
    pub warnings: u32,
    /// Criticals: they stand below the warnings.
    pub criticals: u32,
}

/// Bars beside each other.
#[derive(Debug, Clone, Copy)]
pub struct Bars<'a> {
    /// Oldest first.
    pub bars: &'a [Bar],
    /// Whose clock the time axis shows.
    pub zone: Zone,
}

impl Bars<'_> {
    /// As a PNG, 840 x 380 pixels; `None` where there is no bar.
    pub fn png(&self) -> Option<Vec<u8>> {
        png::draw(&self.svg()?)
    }

    /// As SVG without any text element.
    pub fn svg(&self) -> Option<String> {
        let (first, last) = (self.bars.first()?, self.bars.last()?);
        let highest = self.bars.iter().map(|bar| bar.warnings.saturating_add(bar.criticals)).max()?;
        let mut drawing = Drawing::new(HEIGHT);
        let frame = Frame::new(&drawing, Unit::Count, Values::counts(highest), first.from, last.to);
        frame.draw(&mut drawing, self.zone);
        for bar in self.bars {
            let (left, right) = (frame.x(bar.from) + 1.0, frame.x(bar.to) - 1.0);
            let (criticals, all) =
                (f64::from(bar.criticals), f64::from(bar.criticals) + f64::from(bar.warnings));
            for (low, high, fill) in [(0.0, criticals, "#cf222e"), (criticals, all, "#d4a72c")] {
                if high > low {
                    let size = ((right - left).max(1.0), frame.y(low) - frame.y(high));
                    drawing.rectangle((left, frame.y(high)), size, fill);
                }
            }
        }
        Some(drawing.into_svg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_a_part_for_each_severity() {
        let bar = |hour: i64, warnings, criticals| Bar {
            from: Timestamp(hour * 3_600_000),
            to: Timestamp((hour + 1) * 3_600_000),
            warnings,
            criticals,
        };
        let zone = Zone::Named(chrono_tz::Tz::UTC);
        let svg = |bars: &[Bar]| Bars { bars, zone }.svg();
        let drawn = svg(&[bar(0, 2, 0), bar(1, 0, 0), bar(2, 1, 3)]).unwrap();
        assert_eq!((drawn.matches("#d4a72c").count(), drawn.matches("#cf222e").count()), (2, 1));
        assert!(svg(&[]).is_none());
        assert!(svg(&[bar(0, 0, 0)]).is_some(), "nothing happened");
        assert!(svg(&[bar(0, u32::MAX, u32::MAX)]).is_some());
    }
}
