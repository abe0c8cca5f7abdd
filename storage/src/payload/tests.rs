//! Round trips, and bytes that nobody wrote.

use super::*;
use proptest::prelude::*;

fn process() -> impl Strategy<Value = Process> {
    (any::<u32>(), ".{0,15}", any::<u32>(), proptest::option::of(0.0..6400.0), any::<u64>())
        .prop_map(|(pid, name, uid, cpu, memory)| Process { pid, name, uid, cpu, memory })
}

fn extras() -> impl Strategy<Value = Extras> {
    let list = || proptest::collection::vec(process(), 0..5);
    let gap = (any::<u64>(), any::<i64>(), any::<i64>());
    (
        any::<u16>(),
        any::<i64>(),
        list(),
        list(),
        proptest::collection::vec((".{0,9}", ".{0,9}"), 0..3),
        proptest::option::of(gap),
    )
        .prop_map(|(version, wall, top_cpu, top_memory, faults, gap)| Extras {
            version,
            wall: Timestamp(wall),
            evidence: Evidence { top_cpu, top_memory },
            faults,
            gap: gap.map(|(refused, first, last)| Gap {
                refused,
                first: Timestamp(first),
                last: Timestamp(last),
            }),
        })
}

/// Whole numbers, hundredths and anything finite, near zero and near the bounds of exactness.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-1000_i32..1000).prop_map(f64::from),
        (-100_000_i32..100_000).prop_map(|hundredths| f64::from(hundredths) / 100.0),
        any::<i64>().prop_map(|number| number as f64),
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        values in proptest::collection::vec((0_i64..1 << 40, value()), 0..40),
        extras in extras(),
    ) {
        let bytes = encode(&values, &extras);
        let (read, read_extras) = decode(&bytes).unwrap();
        let bits = |values: &Values| values.iter().map(|(id, v)| (*id, v.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&values));
        prop_assert_eq!(read_extras, extras);
        prop_assert_eq!(decode_values(&bytes).unwrap(), read);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let mut formed = vec![FORM];
        formed.extend(bytes);
        let _ = decode(&formed);
    }

    #[test]
    fn damage_is_no_panic(at in 0_usize..200, byte in any::<u8>(), extras in extras()) {
        let mut bytes = encode(&[(1, 1.0), (2, 0.25), (900, 1e300)], &extras);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}

#[test]
fn usual_samples_take_few_bytes() {
    let values: Values = (1..=60).map(|id| (id, f64::from(id as i32) * 0.25)).collect();
    let bytes = encode(&values, &Extras { version: FIRST_VERSION, ..Extras::default() });
    assert!(bytes.len() < 60 * 4, "{} bytes", bytes.len());
}

#[test]
fn what_is_cut_or_too_long_is_refused() {
    let bytes = encode(&[(7, 93.5)], &Extras { version: FIRST_VERSION, ..Extras::default() });
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(decode(&longer).is_err());
}

#[test]
fn another_form_and_absurd_counts_are_refused() {
    assert!(decode(&[2, 0]).unwrap_err().contains("form 2"));
    assert!(decode(&[FORM, 0xff, 0xff, 0xff, 0x7f]).unwrap_err().contains("samples"));
    let mut infinite = vec![FORM, 1, FLOAT as u8];
    infinite.extend(f64::INFINITY.to_le_bytes());
    assert!(decode(&infinite).unwrap_err().contains("finite"));
}

#[test]
fn only_what_is_exact_is_shortened() {
    assert_eq!(exactly(93.25, 1.0), None);
    assert_eq!(exactly(93.25, 100.0), Some(9325));
    assert_eq!(exactly(0.1, 100.0), Some(10));
    assert_eq!(exactly(0.001, 100.0), None);
    assert_eq!(exactly(-0.0, 1.0), None, "minus zero stays itself");
    assert_eq!(exactly(EXACT, 1.0), None);
}
