//! A series as what can be drawn: gaps stay gaps, and there are never more points than the width can show.

use model::Timestamp;

/// A distance between two values of more than so many usual ones is a gap.
const GAP: i64 = 3;

/// Parts of `series` (ascending by time) without gaps between them. Values that are no numbers are left out.
pub(super) fn parts(series: &[(Timestamp, f64)]) -> Vec<Vec<(Timestamp, f64)>> {
    let finite: Vec<_> = series.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let mut distances: Vec<i64> = finite.windows(2).map(|pair| pair[1].0.since(pair[0].0)).collect();
    distances.sort_unstable();
    let usual = distances.get(distances.len() / 2).copied().unwrap_or_default();
    finite
        .chunk_by(|a, b| b.0.since(a.0) <= usual.saturating_mul(GAP))
        .map(<[(Timestamp, f64)]>::to_vec)
        .collect()
}

/// Of the points that fall into one column (`column` says which), the first, the least, the greatest and the last.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |point: &(f64, f64)| point.0.floor() as i64;
    let mut thin: Vec<(f64, f64)> = Vec::new();
    for points in points.chunk_by(|a, b| column(a) == column(b)) {
        let least =
            (0..points.len()).min_by(|a, b| points[*a].1.total_cmp(&points[*b].1)).unwrap_or_default();
        let greatest =
            (0..points.len()).max_by(|a, b| points[*a].1.total_cmp(&points[*b].1)).unwrap_or_default();
        let mut kept = vec![0, least, greatest, points.len() - 1];
        kept.sort_unstable();
        kept.dedup();
        thin.extend(kept.into_iter().map(|index| points[index]));
    }
    thin
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_not_measured_is_a_gap() {
        let at = |minute: i64| (Timestamp(minute * 60_000), minute as f64);
        let series =
            [at(0), at(5), at(10), at(20), at(25), at(60), at(200), at(205), (Timestamp(0), f64::NAN)];
        let lengths: Vec<_> = parts(&series).iter().map(Vec::len).collect();
        assert_eq!(lengths, [5, 1, 2]);
        assert!(parts(&[]).is_empty());
        assert_eq!(parts(&[at(7)]).len(), 1);
    }

    proptest! {
        #[test]
        fn thinned_out_it_reaches_as_far_up_and_down(values in prop::collection::vec(-100.0..100.0f64, 1..3000)) {
            let points: Vec<_> = (0..).map(|x| f64::from(x) / 20.0).zip(values).collect();
            let thin = thin(&points);
            let range = |points: &[(f64, f64)]| {
                let values = points.iter().map(|point| point.1);
                (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max))
            };
            prop_assert_eq!(range(&thin), range(&points));
            prop_assert!(thin.len() <= 4 * 151);
            prop_assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
