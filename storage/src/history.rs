//! What people and programs ask of the storage.

use model::record::Host;
use model::wire::from_cbor;
use model::{ClientName, ClientUid, Episode, Labels, Outcome, Sample, Timestamp};

use crate::payload::{self, Values};
use crate::{Delivery, Message, Program, Run, StoreError};

/// What people and programs ask; changes nothing.
pub trait History {
    /// The latest of every client, by name.
    fn latest(&mut self) -> Result<Vec<Latest>, StoreError>;

    /// A series of a client over `from..=to` in event time, oldest first.
    fn series(
        &mut self,
        client: ClientUid,
        metric: &str,
        labels: &Labels,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, StoreError>;

    /// What a client reported over `from..=to` in event time, oldest first.
    fn reports(
        &mut self,
        client: ClientUid,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Vec<Sample>)>, StoreError>;

    /// The episodes that are open, oldest first.
    fn open_episodes(&mut self) -> Result<Vec<Episode>, StoreError>;

    /// The episodes that lasted at some time of `from..=to`, oldest first; of more than `limit` the newest.
    fn episodes_between(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Episode>, StoreError>;

    /// The episodes whose id begins with `prefix`, in order of their ids, at most `limit`.
    fn episodes_named(&mut self, prefix: &str, limit: usize) -> Result<Vec<Episode>, StoreError>;

    /// Messages that wait, are in doubt, or were given up, with what became of them; oldest first. One of which nothing
    /// is noted yet is in doubt with an empty detail.
    fn unsent(&mut self) -> Result<Vec<(Message, Delivery)>, StoreError>;

    /// The latest runs of a program, newest first, at most `limit` of each host.
    fn latest_runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// The latest run of a program.
    fn last_run(&mut self, program: Program) -> Result<Option<Run>, StoreError>;

    /// How much there is of what.
    fn counts(&mut self) -> Result<Counts, StoreError>;
}

/// The latest of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Its name.
    pub name: ClientName,
    /// What it is for ever.
    pub uid: ClientUid,
    /// The latest attempt.
    pub attempt: Option<(Timestamp, Outcome)>,
    /// The latest attempt that collected.
    pub last_contact: Option<Timestamp>,
    /// The newest report: its event time, the machine, its values.
    pub report: Option<(Timestamp, Host, Vec<Sample>)>,
    /// The probe's readers that could not tell all they should for that report, with why.
    pub faults: Vec<(String, String)>,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reports and gap records stored.
    pub reports: u64,
    /// Reports and attempts that were not evaluated yet.
    pub unevaluated: u64,
    /// Records that were set aside: those that would not open or decode, or break a bound.
    pub quarantined: u64,
    /// Facts that are neither told nor in a message.
    pub untold: u64,
}

/// The latest of a client as the backends' rows say it.
pub(crate) struct LatestRow {
    pub(crate) name: String,
    pub(crate) uid: [u8; 16],
    /// When the latest attempt ended, and its outcome as CBOR.
    pub(crate) attempt: Option<(i64, Vec<u8>)>,
    pub(crate) last_contact: Option<i64>,
    /// The newest report's event time, the machine as CBOR, and its payload.
    pub(crate) report: Option<(i64, Vec<u8>, Vec<u8>)>,
}

impl LatestRow {
    /// Reads it; the values are still to be named, and put where the report has no samples yet.
    pub(crate) fn read(self) -> Result<(Latest, Values), String> {
        let fault = |fault: String| format!("the latest of {}: {fault}", self.name);
        let attempt = match &self.attempt {
            None => None,
            Some((at, outcome)) => Some((Timestamp(*at), from_cbor(outcome).map_err(fault)?)),
        };
        let (report, values, faults) = match &self.report {
            None => (None, Vec::new(), Vec::new()),
            Some((event_time, host, blob)) => {
                let host = from_cbor(host).map_err(fault)?;
                let (values, extras) = payload::decode(blob).map_err(fault)?;
                (Some((Timestamp(*event_time), host, Vec::new())), values, extras.faults)
            }
        };
        let latest = Latest {
            name: self.name.parse()?,
            uid: ClientUid(self.uid),
            attempt,
            last_contact: self.last_contact.map(Timestamp),
            report,
            faults,
        };
        Ok((latest, values))
    }
}
