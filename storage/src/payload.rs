//! The blob that one fresh report is kept as. Pure: values in, bytes out, and every byte is validated on reading.
//!
//! ```text
//! version (1 byte) | count | count x (series and form | value) | extras as CBOR
//! ```
//!
//! Numbers are LEB128 varints, signed ones in zigzag. *Series and form* is the step from the series id before, times
//! four, plus the value's form: a whole number, hundredths, or the eight bytes of an f64, whichever is exact and first
//! in that order. Series of one report were numbered together, so that a step and a form take one byte. The samples'
//! order is kept.

use model::record::MAX_SAMPLES;
use model::wire::{from_cbor, to_cbor};
use model::{Body, Evidence, Gap, Process, Record, Sample, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of this form.
const FORM: u8 = 1;

/// The most bytes that a payload may have: a record's bound, which is looser in every part, and room for extras.
const MAX_PAYLOAD: usize = 2 * model::record::MAX_RECORD;

/// The most processes per list that a payload may name.
const MAX_PROCESSES: usize = 16;

const WHOLE: u64 = 0;
const HUNDREDTHS: u64 = 1;
const FLOAT: u64 = 2;

/// Up to here every whole number is exact in an f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A report's values by the ids of their series.
pub(crate) type Values = Vec<(i64, f64)>;

/// What a payload holds beside the values.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Extras {
    /// The version of the record's form as the probe wrote it.
    pub(crate) version: u16,
    /// The client's own wall clock when the record was written.
    pub(crate) wall: Timestamp,
    /// What helps a person.
    pub(crate) evidence: Evidence,
    /// Readers that could not tell all they should, with why.
    pub(crate) faults: Vec<(String, String)>,
    /// Set for a gap record.
    pub(crate) gap: Option<Gap>,
}

impl Extras {
    /// What a payload keeps of `record` beside its values.
    pub(crate) fn of(record: &Record) -> Self {
        let (version, wall) = (record.version, record.clock.wall);
        match &record.body {
            Body::Report(report) => Self {
                version,
                wall,
                evidence: report.evidence.clone(),
                faults: report
                    .readers
                    .iter()
                    .filter_map(|reader| Some((reader.reader.clone(), reader.fault.clone()?)))
                    .collect(),
                gap: None,
            },
            Body::Gap(gap) => Self { version, wall, gap: Some(gap.clone()), ..Self::default() },
        }
    }
}

/// pid, name, uid, percent of a core, bytes: without field names, which would be most of the payload.
type ProcessRow = (u32, String, u32, Option<f64>, u64);

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "w")]
    wall: Timestamp,
    #[serde(rename = "v", default = "first_version", skip_serializing_if = "is_first_version")]
    version: u16,
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    top_cpu: Vec<ProcessRow>,
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    top_memory: Vec<ProcessRow>,
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<(String, String)>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    gap: Option<(u64, Timestamp, Timestamp)>,
}

/// The version of a record whose payload names none.
const FIRST_VERSION: u16 = 1;

fn first_version() -> u16 {
    FIRST_VERSION
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first_version(version: &u16) -> bool {
    *version == FIRST_VERSION
}

fn rows(processes: &[Process]) -> Vec<ProcessRow> {
    processes.iter().map(|p| (p.pid, p.name.clone(), p.uid, p.cpu, p.memory)).collect()
}

fn processes(rows: Vec<ProcessRow>) -> Vec<Process> {
    rows.into_iter().map(|(pid, name, uid, cpu, memory)| Process { pid, name, uid, cpu, memory }).collect()
}

/// Whether a record can be kept: every list bounded, every value finite. The record's decoder sees to it for whatever
/// comes over the wire; what fails here all the same is set aside.
pub(crate) fn check(record: &Record) -> Result<(), String> {
    let Body::Report(report) = &record.body else {
        return Ok(());
    };
    let evidence = &report.evidence;
    if evidence.top_cpu.len() > MAX_PROCESSES || evidence.top_memory.len() > MAX_PROCESSES {
        return Err(format!("more than {MAX_PROCESSES} processes in a list"));
    }
    if report.samples.len() > MAX_SAMPLES {
        return Err(format!("{} samples exceed {MAX_SAMPLES}", report.samples.len()));
    }
    if let Some(sample) = report.samples.iter().find(|sample| !sample.value.is_finite()) {
        return Err(format!("{} is not finite", model::text::escape(&sample.metric)));
    }
    // PostgreSQL keeps no text with it, <https://www.postgresql.org/docs/15/datatype-character.html>.
    let names_nul = |sample: &Sample| {
        let labels = sample.labels.iter().flat_map(|(key, value)| [key, value]);
        labels.chain([sample.metric.as_str()]).any(|name| name.contains('\0'))
    };
    if let Some(sample) = report.samples.iter().find(|sample| names_nul(sample)) {
        return Err(format!("{} names a NUL", model::text::escape(&sample.metric)));
    }
    let length = |sample: &Sample| sample.metric.len() + sample.labels.to_string().len();
    match report.samples.iter().find(|sample| length(sample) > MAX_SERIES) {
        Some(sample) => Err(format!(
            "{} has labels of {} bytes, and {MAX_SERIES} can be looked up",
            model::text::escape_to(&sample.metric, 60),
            length(sample)
        )),
        None => Ok(()),
    }
}

/// The most bytes of a metric's name and its labels: an index of PostgreSQL takes entries of 2,704 at most
/// (`BTMaxItemSize`), and one client's record must not fail those of others.
const MAX_SERIES: usize = 2_500;

/// The payload of a report or gap record.
pub(crate) fn encode(values: &[(i64, f64)], extras: &Extras) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + 6 * values.len());
    bytes.push(FORM);
    put(&mut bytes, values.len() as u64);
    let mut before = 0_i64;
    for &(series, value) in values {
        let step = zigzag(series.wrapping_sub(before)) << 2;
        before = series;
        if let Some(whole) = exactly(value, 1.0) {
            put(&mut bytes, step | WHOLE);
            put(&mut bytes, zigzag(whole));
        } else if let Some(hundredths) = exactly(value, 100.0) {
            put(&mut bytes, step | HUNDREDTHS);
            put(&mut bytes, zigzag(hundredths));
        } else {
            put(&mut bytes, step | FLOAT);
            bytes.extend(value.to_le_bytes());
        }
    }
    bytes.extend(to_cbor(&Stored {
        wall: extras.wall,
        version: extras.version,
        top_cpu: rows(&extras.evidence.top_cpu),
        top_memory: rows(&extras.evidence.top_memory),
        faults: extras.faults.clone(),
        gap: extras.gap.as_ref().map(|gap| (gap.refused, gap.first, gap.last)),
    }));
    bytes
}

/// What [`encode`] was given.
pub(crate) fn decode(payload: &[u8]) -> Result<(Values, Extras), String> {
    let (values, rest) = values_and_rest(payload)?;
    let stored: Stored = from_cbor(rest)?;
    if stored.top_cpu.len() > MAX_PROCESSES || stored.top_memory.len() > MAX_PROCESSES {
        return Err("a payload with too many processes".to_owned());
    }
    let extras = Extras {
        version: stored.version,
        wall: stored.wall,
        evidence: Evidence { top_cpu: processes(stored.top_cpu), top_memory: processes(stored.top_memory) },
        faults: stored.faults,
        gap: stored.gap.map(|(refused, first, last)| Gap { refused, first, last }),
    };
    Ok((values, extras))
}

/// The values alone: what a series over a long span needs.
pub(crate) fn decode_values(payload: &[u8]) -> Result<Values, String> {
    values_and_rest(payload).map(|(values, _)| values)
}

fn values_and_rest(payload: &[u8]) -> Result<(Values, &[u8]), String> {
    if payload.len() > MAX_PAYLOAD {
        return Err(format!("a payload of {} bytes", payload.len()));
    }
    let (&form, mut rest) = payload.split_first().ok_or("an empty payload")?;
    if form != FORM {
        return Err(format!("a payload of form {form}"));
    }
    let count = take(&mut rest)?;
    if count > MAX_SAMPLES as u64 {
        return Err(format!("a payload of {count} samples"));
    }
    let mut values = Vec::with_capacity(count as usize);
    let mut series = 0_i64;
    for _ in 0..count {
        let head = take(&mut rest)?;
        series = series.checked_add(unzigzag(head >> 2)).ok_or("a series id out of range")?;
        let value = match head & 3 {
            WHOLE => unzigzag(take(&mut rest)?) as f64,
            HUNDREDTHS => unzigzag(take(&mut rest)?) as f64 / 100.0,
            FLOAT => {
                let (bytes, after) = rest.split_first_chunk().ok_or("a payload cut short")?;
                rest = after;
                f64::from_le_bytes(*bytes)
            }
            _ => return Err("a value of unknown form".to_owned()),
        };
        if !value.is_finite() {
            return Err("a value that is not finite".to_owned());
        }
        values.push((series, value));
    }
    Ok((values, rest))
}

/// `value * scale` as a whole number, where dividing by `scale` gives back `value` bit for bit.
fn exactly(value: f64, scale: f64) -> Option<i64> {
    let scaled = (value * scale).round();
    let fits = scaled.abs() < EXACT && (scaled as i64 as f64 / scale).to_bits() == value.to_bits();
    fits.then_some(scaled as i64)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("a payload cut short")?;
        *bytes = rest;
        // The tenth byte has room for one bit only.
        if shift == 63 && byte > 1 {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number too long".to_owned())
}

#[cfg(test)]
mod tests;
