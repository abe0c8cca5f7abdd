//! The dictionary of series: metric and labels by a small number.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Labels, Sample};
use rusqlite::{Connection, OptionalExtension as _};

use super::fault::{Fault, corrupt};
use super::parsed;

/// Beyond this many the dictionary in memory starts anew: the fleet's series may be more than memory should hold.
const REMEMBERED: usize = 200_000;

/// What this connection has seen of the dictionary. A series never changes, so what is remembered stays true.
#[derive(Debug, Default)]
pub(super) struct Series {
    ids: HashMap<String, HashMap<Labels, i64>>,
    names: HashMap<i64, Arc<(String, Labels)>>,
}

impl Series {
    /// Forgets everything: after a roll-back, numbers may go to other series.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The number of a sample's series, made where it has none.
    pub(super) fn number(&mut self, connection: &Connection, sample: &Sample) -> Result<i64, Fault> {
        if let Some(&id) = self.ids.get(&sample.metric).and_then(|of_metric| of_metric.get(&sample.labels)) {
            return Ok(id);
        }
        let id = match find(connection, &sample.metric, &sample.labels)? {
            Some(id) => id,
            None => connection
                .prepare_cached("INSERT INTO series (metric, label) VALUES (?1, ?2)")?
                .insert((&sample.metric, sample.labels.to_string()))?,
        };
        self.make_room();
        self.ids.entry(sample.metric.clone()).or_default().insert(sample.labels.clone(), id);
        self.names.insert(id, Arc::new((sample.metric.clone(), sample.labels.clone())));
        Ok(id)
    }

    /// The samples that a payload's numbers stand for.
    pub(super) fn samples(
        &mut self,
        connection: &Connection,
        values: &[(i64, f64)],
    ) -> Result<Vec<Sample>, Fault> {
        let sample = |&(id, value): &(i64, f64)| {
            let name = self.name(connection, id)?;
            Ok(Sample { metric: name.0.clone(), labels: name.1.clone(), value })
        };
        values.iter().map(sample).collect()
    }

    fn name(&mut self, connection: &Connection, id: i64) -> Result<Arc<(String, Labels)>, Fault> {
        if let Some(name) = self.names.get(&id) {
            return Ok(Arc::clone(name));
        }
        let (metric, label): (String, String) = connection
            .prepare_cached("SELECT metric, label FROM series WHERE series_id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| corrupt(format!("a report names the series {id}, which is not there")))?;
        let name = Arc::new((metric, parsed(&label)?));
        self.make_room();
        self.names.insert(id, Arc::clone(&name));
        Ok(name)
    }

    fn make_room(&mut self) {
        if self.names.len() >= REMEMBERED {
            self.forget();
        }
    }
}

/// The number of a series, where it has one.
pub(super) fn find(connection: &Connection, metric: &str, labels: &Labels) -> Result<Option<i64>, Fault> {
    Ok(connection
        .prepare_cached("SELECT series_id FROM series WHERE metric = ?1 AND label = ?2")?
        .query_row((metric, labels.to_string()), |row| row.get(0))
        .optional()?)
}
