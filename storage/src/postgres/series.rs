//! The dictionary of series: metric and labels by a small number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::{Labels, Sample};

use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::parsed;
use super::values::params;

/// Beyond this many the dictionary in memory starts anew: the fleet's series may be more than memory should hold.
const REMEMBERED: usize = 200_000;

/// What this store has seen of the dictionary. A series never changes, so what is remembered stays true.
#[derive(Debug, Default)]
pub(super) struct Series {
    ids: HashMap<String, HashMap<Labels, i64>>,
    names: HashMap<i64, Arc<(String, Labels)>>,
}

impl Series {
    /// Forgets everything: what a transaction learnt that did not happen need not be true.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Sees to it that every one of `samples` has a number that [`Self::number`] knows.
    pub(super) fn learn<'a>(
        &mut self,
        tx: &mut Tx<'_>,
        samples: &(impl Iterator<Item = &'a Sample> + Clone),
    ) -> Result<(), Fault> {
        self.make_room();
        // In one order, so that two who add the same ones wait for each other in one direction only.
        let unknown = |series: &Self| -> BTreeSet<(&'a str, String)> {
            let unknown = samples.clone().filter(|sample| series.number(sample).is_none());
            unknown.map(|sample| (sample.metric.as_str(), sample.labels.to_string())).collect()
        };
        let wanted = unknown(self);
        if wanted.is_empty() {
            return Ok(());
        }
        self.find(tx, &wanted)?;
        let missing = unknown(self);
        if missing.is_empty() {
            return Ok(());
        }
        let (metrics, labels): (Vec<&str>, Vec<String>) = missing.iter().cloned().unzip();
        tx.execute(
            "INSERT INTO series (metric, label) SELECT metric, label FROM unnest($1, $2) AS new (metric, label)
             ORDER BY metric, label ON CONFLICT (metric, label) DO NOTHING",
            params![metrics, labels],
        )?;
        self.find(tx, &missing)
    }

    fn find(&mut self, tx: &mut Tx<'_>, wanted: &BTreeSet<(&str, String)>) -> Result<(), Fault> {
        let (metrics, labels): (Vec<&str>, Vec<String>) = wanted.iter().cloned().unzip();
        let found = tx.rows(
            "SELECT series_id, metric, label FROM unnest($1, $2) AS wanted (metric, label)
             JOIN series USING (metric, label)",
            params![metrics, labels],
        )?;
        for row in found {
            let (id, metric, label): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let labels: Labels = parsed(&label)?;
            self.ids.entry(metric.clone()).or_default().insert(labels.clone(), id);
            self.names.insert(id, Arc::new((metric, labels)));
        }
        Ok(())
    }

    /// The number of a sample's series, where it is remembered.
    pub(super) fn number(&self, sample: &Sample) -> Option<i64> {
        self.ids.get(&sample.metric)?.get(&sample.labels).copied()
    }

    /// The samples that several payloads' numbers stand for, in the same order.
    pub(super) fn samples(
        &mut self,
        tx: &mut Tx<'_>,
        payloads: &[Vec<(i64, f64)>],
    ) -> Result<Vec<Vec<Sample>>, Fault> {
        self.make_room();
        let unknown: BTreeSet<i64> =
            payloads.iter().flatten().map(|(id, _)| *id).filter(|id| !self.names.contains_key(id)).collect();
        if !unknown.is_empty() {
            let unknown: Vec<i64> = unknown.into_iter().collect();
            let named = "SELECT series_id, metric, label FROM series WHERE series_id = ANY($1)";
            for row in tx.rows(named, params![unknown])? {
                let name = (row.get::<String>(1)?, parsed(row.get(2)?)?);
                self.names.insert(row.get(0)?, Arc::new(name));
            }
        }
        let sample = |&(id, value): &(i64, f64)| {
            let name = self.names.get(&id);
            let name =
                name.ok_or_else(|| corrupt(format!("a report names the series {id}, which is not there")))?;
            Ok(Sample { metric: name.0.clone(), labels: name.1.clone(), value })
        };
        payloads.iter().map(|values| values.iter().map(sample).collect()).collect()
    }

    fn make_room(&mut self) {
        if self.names.len() >= REMEMBERED {
            self.forget();
        }
    }
}

/// The number of a series, where it has one.
pub(super) fn find(tx: &mut Tx<'_>, metric: &str, labels: &Labels) -> Result<Option<i64>, Fault> {
    let found = "SELECT series_id FROM series WHERE metric = $1 AND label = $2";
    tx.row(found, params![metric, labels.to_string()])?.map(|row| row.get(0)).transpose()
}
