//! What people and programs ask.

use model::{ClientUid, Episode, Labels, Sample, Timestamp};

use super::{MemoryStore, Report};
use crate::{Counts, Delivery, History, Latest, Message, Program, Run, RunLog, StoreError};

impl History for MemoryStore {
    fn latest(&mut self) -> Result<Vec<Latest>, StoreError> {
        let mut all: Vec<Latest> = (0..self.clients.len())
            .filter(|client| !self.clients[*client].purged)
            .map(|client| self.latest_of(client))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn series(
        &mut self,
        client: ClientUid,
        metric: &str,
        labels: &Labels,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, StoreError> {
        let values = |(at, samples): (Timestamp, Vec<Sample>)| {
            let of_series = samples.into_iter().filter(|s| s.metric == metric && s.labels == *labels);
            of_series.map(|sample| (at, sample.value)).collect::<Vec<_>>()
        };
        Ok(self.reports(client, from, to)?.into_iter().flat_map(values).collect())
    }

    fn reports(
        &mut self,
        client: ClientUid,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Vec<Sample>)>, StoreError> {
        let within = |report: &&Report| {
            self.clients[report.client].uid == client
                && !self.clients[report.client].purged
                && (from..=to).contains(&report.event_time)
        };
        let mut reports: Vec<&Report> = self.reports.iter().filter(within).collect();
        reports.sort_by_key(|report| report.event_time);
        Ok(reports.into_iter().map(|report| (report.event_time, report.samples.clone())).collect())
    }

    fn open_episodes(&mut self) -> Result<Vec<Episode>, StoreError> {
        let mut open: Vec<Episode> = self.episodes.values().filter(|e| e.end.is_none()).cloned().collect();
        open.sort_by_key(|episode| episode.begin);
        Ok(open)
    }

    fn episodes_between(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Episode>, StoreError> {
        let lasted = |e: &&Episode| e.begin <= to && e.end.is_none_or(|end| end.at >= from);
        let mut found: Vec<Episode> = self.episodes.values().filter(lasted).cloned().collect();
        found.sort_by_key(|episode| episode.begin);
        Ok(found.split_off(found.len().saturating_sub(limit)))
    }

    fn episodes_named(&mut self, prefix: &str, limit: usize) -> Result<Vec<Episode>, StoreError> {
        let named = self.episodes.values().filter(|episode| episode.id.0.starts_with(prefix));
        Ok(named.take(limit).cloned().collect())
    }

    fn unsent(&mut self) -> Result<Vec<(Message, Delivery)>, StoreError> {
        let unsent = self.oldest_first(|kept| kept.delivery != Some(Delivery::Sent));
        let shown = |kept: &super::Frozen| kept.delivery.clone().unwrap_or(Delivery::NOT_NOTED);
        Ok(unsent.into_iter().map(|kept| (kept.message.clone(), shown(kept))).collect())
    }

    fn latest_runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        RunLog::runs(self, program, limit)
    }

    fn last_run(&mut self, program: Program) -> Result<Option<Run>, StoreError> {
        Ok(self.latest_run(program))
    }

    fn counts(&mut self) -> Result<Counts, StoreError> {
        let untold = self.facts.iter().filter(|kept| !kept.told && kept.message.is_none());
        Ok(Counts {
            reports: self.reports.iter().filter(|report| !self.clients[report.client].purged).count() as u64,
            unevaluated: (self.unevaluated_reports.len() + self.unevaluated_attempts.len()) as u64,
            quarantined: self.quarantined,
            untold: untold.count() as u64,
        })
    }
}

impl MemoryStore {
    fn latest_of(&self, client: usize) -> Latest {
        let attempts = || self.attempts.iter().filter(move |attempt| attempt.client == client);
        let reports = self.reports.iter().filter(|report| report.client == client && report.host.is_some());
        let collected = attempts().filter(|attempt| attempt.outcome.is_collected());
        // `max_by_key` gives the last of equals: what was stored later.
        let attempt = attempts().max_by_key(|attempt| attempt.at);
        let report = reports.max_by_key(|report| report.event_time);
        Latest {
            faults: report.map(|report| report.faults.clone()).unwrap_or_default(),
            name: self.clients[client].name.clone(),
            uid: self.clients[client].uid,
            attempt: attempt.map(|attempt| (attempt.at, attempt.outcome.clone())),
            last_contact: collected.map(|attempt| attempt.at).max(),
            report: report
                .and_then(|report| Some((report.event_time, report.host.clone()?, report.samples.clone()))),
        }
    }
}
