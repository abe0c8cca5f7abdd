//! What a probe writes down in one run, and its wire form: self-describing CBOR maps.
//!
//! A field that is unknown is skipped by name; a metric that is unknown is kept by name. Bump [`VERSION`] when a field
//! is added, and test old against new both ways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Labels, Timestamp};

/// The version of the record's form that this program writes.
pub const VERSION: u16 = 2;

/// The most bytes that one encoded record may have.
pub const MAX_RECORD: usize = 256 * 1024;

/// The most samples that one report may have, with what the collector adds.
pub const MAX_SAMPLES: usize = 4096;

/// The most bytes that the name of a metric may have.
pub const MAX_METRIC: usize = 128;

/// The most bytes that the labels of one sample may have, keys and values together.
pub const MAX_LABELS: usize = 4096;

/// Both clocks of a client at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The client's wall clock; may be wrong.
    pub wall: Timestamp,
    /// Milliseconds of a clock that goes on while the machine sleeps and never steps (Linux: CLOCK_BOOTTIME).
    pub boottime_ms: u64,
    /// Which boot `boottime_ms` belongs to. Empty where it cannot be told.
    pub boot_id: String,
}

/// One entry of a spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The form's version.
    pub version: u16,
    /// When it was written, by the client's clocks.
    pub clock: Clock,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every body is a report, and a box would be in each one's way"
)]
pub enum Body {
    /// One run of the probe.
    Report(Report),
    /// Runs whose report found no room in the spool.
    Gap(Gap),
}

/// One run of the probe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// The values. What the kernel does not offer is absent, never 0.
    pub samples: Vec<Sample>,
    /// How each reader fared.
    pub readers: Vec<ReaderOutcome>,
    /// What helps a person at 3 a.m. and is no metric.
    pub evidence: Evidence,
}

/// What changes rarely about a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Its own name for itself; shown, never trusted.
    pub hostname: String,
    /// PRETTY_NAME of os-release.
    pub os: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// What it runs in: `kvm`, `docker`, `lxc`, ...; `none` on bare metal, empty where it cannot be told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub virtualization: String,
    /// The type of the file system at each mount point that is told of, such as `/` and `ext4`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, String>,
}

/// One value of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric's plain name.
    pub metric: String,
    /// Which of the metric's series.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its value in the metric's base unit; finite.
    pub value: f64,
}

impl Sample {
    /// Whether a record may hold it: a name, labels within their bounds, a finite value.
    pub fn check(&self) -> Result<(), String> {
        if !self.value.is_finite() {
            return Err(format!("{} is not finite", crate::text::escape(&self.metric)));
        }
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        if self.metric.is_empty() || self.metric.len() > MAX_METRIC || labels > MAX_LABELS {
            return Err("a sample's name or labels are empty or too long".to_owned());
        }
        Ok(())
    }
}

/// How one reader fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderOutcome {
    /// The reader's name.
    pub reader: String,
    /// Microseconds that it took.
    pub micros: u64,
    /// Why it could not tell (all) it should; `None` where all went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What helps a person and is no metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// At most 5, busiest first.
    pub top_cpu: Vec<Process>,
    /// At most 5, largest first.
    pub top_memory: Vec<Process>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its command's name (`comm`).
    pub name: String,
    /// Its owner's user id.
    pub uid: u32,
    /// Percent of one core since the last report; absent where there is nothing to compare with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub memory: u64,
}

/// Runs whose report was refused because the spool was full, told as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many.
    pub refused: u64,
    /// The client's wall clock at the first of them.
    pub first: Timestamp,
    /// The client's wall clock at the last of them.
    pub last: Timestamp,
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl Record {
    /// The record as CBOR. Fails where [`Self::decode`] would refuse it.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        self.check()?;
        let bytes = crate::wire::to_cbor(self);
        if bytes.len() > MAX_RECORD {
            return Err(DecodeError(format!("a record of {} bytes exceeds {MAX_RECORD}", bytes.len())));
        }
        Ok(bytes)
    }

    /// Reads what [`Self::encode`] of this or another version wrote; every size is bounded and every value is finite.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_RECORD {
            return Err(DecodeError(format!("{} bytes exceed {MAX_RECORD}", bytes.len())));
        }
        let record: Self = crate::wire::from_cbor(bytes).map_err(DecodeError)?;
        record.check()?;
        Ok(record)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.version == 0 {
            return Err(DecodeError("version 0".to_owned()));
        }
        match &self.body {
            Body::Report(report) => report.check().map_err(DecodeError),
            Body::Gap(_) => Ok(()),
        }
    }
}

impl Report {
    fn check(&self) -> Result<(), String> {
        if self.samples.len() > MAX_SAMPLES {
            return Err(format!("{} samples exceed {MAX_SAMPLES}", self.samples.len()));
        }
        for sample in &self.samples {
            sample.check()?;
        }
        if self.evidence.top_cpu.len() > 16 || self.evidence.top_memory.len() > 16 || self.readers.len() > 128
        {
            return Err("too many processes or readers".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: f64) -> Record {
        let sample = Sample { metric: "disk".to_owned(), labels: Labels::one("mount", "/"), value };
        Record {
            version: VERSION,
            clock: Clock { wall: Timestamp(1), boottime_ms: 2, boot_id: "b".to_owned() },
            body: Body::Report(Report { samples: vec![sample], ..Report::default() }),
        }
    }

    #[test]
    fn a_record_round_trips() {
        let record = record(93.5);
        assert_eq!(Record::decode(&record.encode().unwrap()), Ok(record));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for value in [f64::NAN, f64::INFINITY] {
            assert!(record(value).encode().is_err());
            assert!(Record::decode(&crate::wire::to_cbor(&record(value))).is_err());
        }
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        let mut bytes = record(1.0).encode().unwrap();
        assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn a_host_of_version_1_has_no_fields_of_version_2() {
        #[derive(Serialize)]
        struct First {
            hostname: &'static str,
            os: &'static str,
            kernel: &'static str,
            arch: &'static str,
        }
        let first = First { hostname: "h", os: "o", kernel: "3.2", arch: "i686" };
        let host: Host = crate::wire::from_cbor(&crate::wire::to_cbor(&first)).unwrap();
        assert_eq!((host.arch.as_str(), host.virtualization.as_str(), host.mounts.len()), ("i686", "", 0));
        assert_eq!(crate::wire::to_cbor(&host), crate::wire::to_cbor(&first), "what is absent takes no room");
    }

    #[test]
    fn a_field_of_a_newer_version_is_skipped() {
        #[derive(Serialize)]
        struct Newer {
            version: u16,
            clock: Clock,
            colour: &'static str,
            body: Body,
        }
        let Record { clock, body, .. } = record(1.0);
        let mut bytes = Vec::new();
        ciborium::into_writer(&Newer { version: VERSION + 1, clock, colour: "red", body }, &mut bytes)
            .unwrap();
        assert_eq!(Record::decode(&bytes).unwrap().version, VERSION + 1);
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let bomb = vec![0x81; MAX_RECORD];
        assert!(Record::decode(&bomb).is_err());
    }
}
