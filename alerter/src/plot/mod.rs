//! Pictures of values over time, for mails. Pure: the same values give the same bytes.

mod axis;
mod bars;
mod curve;
mod drawing;
mod font;
mod frame;
mod png;

use std::fmt::Write as _;

use model::metric::Unit;
use model::{Severity, Timestamp};

use self::axis::Values;
pub use self::bars::{Bar, Bars};
use self::drawing::{Anchor, Drawing, LETTERS};
use self::frame::{BOTTOM, Frame, HEIGHT, MARGIN, RIGHT};
use crate::zone::Zone;

/// The colour of the values.
const LINE: &str = "#0969da";

/// A series, its limits and an episode.
#[derive(Debug, Clone, Copy)]
pub struct Plot<'a> {
    /// What the values are counted in.
    pub unit: Unit,
    /// Oldest first.
    pub series: &'a [(Timestamp, f64)],
    /// Where the time axis begins.
    pub from: Timestamp,
    /// Where it ends.
    pub to: Timestamp,
    /// The limits of the rule.
    pub limits: &'a [(Severity, f64)],
    /// What is shaded: begin, end and severity of the episode.
    pub episode: Option<(Timestamp, Timestamp, Severity)>,
    /// Whose clock the time axis shows.
    pub zone: Zone,
}

impl Plot<'_> {
    /// As a PNG, 840 x 380 pixels; `None` where fewer than two values can be shown.
    pub fn png(&self) -> Option<Vec<u8>> {
        png::draw(&self.svg()?)
    }

    /// As SVG without any text element, which any renderer draws alike.
    pub fn svg(&self) -> Option<String> {
        let shown: Vec<_> =
            self.series.iter().copied().filter(|(at, value)| self.shows(*at, *value)).collect();
        if shown.len() < 2 || self.to <= self.from {
            return None;
        }
        let all = || shown.iter().map(|(_, value)| *value).chain(self.limits.iter().map(|(_, limit)| *limit));
        let all = || all().filter(|value| value.is_finite());
        let values = Values::over(self.unit, all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
        let mut drawing = Drawing::new(HEIGHT);
        let frame = Frame::new(&drawing, self.unit, values, self.from, self.to);
        self.shade(&frame, &mut drawing);
        frame.draw(&mut drawing, self.zone);
        curve(&frame, &mut drawing, &shown);
        self.limits(&frame, &mut drawing);
        Some(drawing.into_svg())
    }

    fn shows(&self, at: Timestamp, value: f64) -> bool {
        // Beyond that no axis has room for its marks.
        (self.from..=self.to).contains(&at) && value.abs() < 1e18
    }

    fn shade(&self, frame: &Frame, drawing: &mut Drawing) {
        let Some((begin, end, severity)) = self.episode else { return };
        let (left, right) = (frame.x(begin), frame.x(end));
        let fill = match severity {
            Severity::Critical => "#ffebe9",
            Severity::Warning => "#fff5d0",
        };
        drawing.rectangle((left, MARGIN), ((right - left).max(2.0), BOTTOM - MARGIN), fill);
    }

    /// The limits, each with its name above the line; below it where the one before has taken that place.
    fn limits(&self, frame: &Frame, drawing: &mut Drawing) {
        let mut taken: Option<f64> = None;
        let mut limits: Vec<_> = self.limits.iter().filter(|(_, limit)| limit.is_finite()).collect();
        limits.sort_by(|a, b| b.1.total_cmp(&a.1));
        for &&(severity, limit) in &limits {
            let y = frame.y(limit);
            let stroke = match severity {
                Severity::Critical => "#cf222e",
                Severity::Warning => "#9a6700",
            };
            let path = format!("M{:.1} {y:.1}L{:.1} {y:.1}", frame.left(), RIGHT);
            drawing.path(&path, stroke, 1.5, true);
            let text = format!("{severity} {}", self.unit.show(limit));
            let is_crowded =
                taken.is_some_and(|above| y - above < LETTERS + 6.0) || y < MARGIN + LETTERS + 4.0;
            let base = if is_crowded { y + LETTERS } else { y - 4.0 };
            taken = Some(if is_crowded { base } else { y });
            let width = drawing.width_of(&text);
            drawing.rectangle(
                (frame.left() + 3.0, base - LETTERS + 1.0),
                (width + 6.0, LETTERS + 1.0),
                "#ffffffc0",
            );
            drawing.text(&text, (frame.left() + 6.0, base - 1.0), Anchor::Begin, stroke);
        }
    }
}

/// The values, with a gap where nothing was measured.
fn curve(frame: &Frame, drawing: &mut Drawing, shown: &[(Timestamp, f64)]) {
    for part in curve::parts(shown) {
        let points: Vec<_> = part.iter().map(|(at, value)| (frame.x(*at), frame.y(*value))).collect();
        if let [point] = points.as_slice() {
            drawing.dot(*point, LINE);
            continue;
        }
        let mut path = String::new();
        for (count, (x, y)) in curve::thin(&points).into_iter().enumerate() {
            let command = if count == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        drawing.path(&path, LINE, 2.0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;
    use proptest::prelude::*;

    const FROM: Timestamp = Timestamp(1_785_204_000_000);

    fn plot(series: &[(Timestamp, f64)], unit: Unit) -> Plot<'_> {
        let (from, to) = (FROM, FROM.plus(86_400_000));
        let limits = &[(Severity::Warning, 80.0), (Severity::Critical, 90.0)];
        let episode = Some((FROM.plus(72_000_000), to, Severity::Critical));
        Plot { unit, series, from, to, limits, episode, zone: Zone::Named(Tz::Europe__Berlin) }
    }

    #[test]
    fn a_plot_has_its_limits_its_episode_and_its_gaps() {
        let minutes = (0..1440).step_by(5).filter(|minute| !(300..420).contains(minute));
        let value = |minute: i64| if minute < 1200 { 50.0 + (minute as f64 / 90.0).sin() } else { 94.0 };
        let series: Vec<_> = minutes.map(|minute| (FROM.plus(minute * 60_000), value(minute))).collect();
        let svg = plot(&series, Unit::Percent).svg().unwrap();
        assert_eq!(svg.matches("stroke-dasharray").count(), 2, "a line for each limit");
        assert_eq!(svg.matches(LINE).count(), 2, "the gap parts the line");
        assert!(svg.contains("#ffebe9"), "the episode is shaded");
        assert!(plot(&series[..1], Unit::Percent).svg().is_none());
        let png = plot(&series, Unit::Percent).png().unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert!(png.len() < 60_000, "{} bytes", png.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        #[test]
        fn the_same_values_give_the_same_bytes_whatever_they_are(
            series in prop::collection::vec((0..90_000_000i64, any::<f64>()), 0..400),
            unit in prop::sample::select(vec![Unit::Percent, Unit::Bytes, Unit::Seconds, Unit::Count]),
        ) {
            let mut series: Vec<_> = series.into_iter().map(|(ms, value)| (FROM.plus(ms), value)).collect();
            series.sort_by_key(|(at, _)| *at);
            let (first, second) = (plot(&series, unit), plot(&series, unit));
            let png = first.png();
            prop_assert_eq!(first.svg().is_some(), png.is_some());
            prop_assert_eq!(png, second.png());
        }
    }
}
