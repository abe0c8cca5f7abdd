//! A series in one line of text.

use model::Timestamp;

/// How many blocks a line has.
pub(crate) const BLOCKS: usize = 24;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Where nothing was measured.
const GAP: char = '·';

/// A line of fewer blocks with values says nothing.
const FEWEST: usize = 6;

/// The greatest value of each of [`BLOCKS`] equal spans from `from` to `to`, between the least and the greatest of the
/// series. Empty where hardly any has values.
pub(crate) fn sparkline(series: &[(Timestamp, f64)], from: Timestamp, to: Timestamp) -> String {
    let mut blocks = [None::<f64>; BLOCKS];
    let span = to.since(from).max(1);
    let shown = || series.iter().filter(|(at, value)| (from..=to).contains(at) && value.is_finite());
    for &(at, value) in shown() {
        let block = (at.since(from) * BLOCKS as i64 / span).min(BLOCKS as i64 - 1);
        let block = &mut blocks[usize::try_from(block).unwrap_or(0)];
        *block = Some(block.map_or(value, |before| before.max(value)));
    }
    if blocks.iter().flatten().count() < FEWEST {
        return String::new();
    }
    let (low, high) = range(shown().map(|(_, value)| *value));
    let level = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        LEVELS[((share * 8.0) as usize).min(7)]
    };
    blocks.into_iter().map(|block| block.map_or(GAP, level)).collect()
}

/// The least and the greatest.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_for_each_hour() {
        let hours = |hours: &[(i64, f64)]| {
            let series: Vec<_> =
                hours.iter().map(|(hour, value)| (Timestamp(hour * 3_600_000), *value)).collect();
            sparkline(&series, Timestamp(0), Timestamp(24 * 3_600_000))
        };
        let rising: Vec<_> = (0..24).map(|hour| (hour, hour as f64)).collect();
        assert_eq!(hours(&rising), "▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇███");
        let gaps =
            [(0, 1.0), (1, 5.0), (8, 5.0), (9, 5.0), (10, f64::NAN), (20, 3.0), (24, 9.0), (25, 100.0)];
        assert_eq!(hours(&gaps), "▁▅······▅▅··········▃··█");
        let flat: Vec<_> = (0..24).map(|hour| (hour, 7.0)).collect();
        assert_eq!(hours(&flat), "▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁");
        assert_eq!(hours(&flat[..5]), "");
    }
}
