//! A history from a file: `client,metric,labels,time,value`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use chrono::DateTime;
use model::text::escape_to;
use model::{ClientName, Labels, Sample, Timestamp};

use super::Reports;

/// What the first line says.
const HEADER: [&str; 5] = ["client", "metric", "labels", "time", "value"];

/// So many faults are told at once.
const FAULTS: usize = 20;

/// Reads a history. Rows may come in any order; those of one client and time are one report.
///
/// # Errors
/// Each fault with its line and what was expected, at most 20 of them, for `place` (the file's name); nothing is left out quietly.
pub fn read(
    file: impl Read,
    place: &str,
    known: &BTreeSet<&str>,
) -> Result<BTreeMap<ClientName, Reports>, String> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut rows: BTreeMap<ClientName, BTreeMap<Timestamp, Vec<Sample>>> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut record = ::csv::StringRecord::new();
    let mut is_first = true;
    loop {
        let line = reader.position().line();
        let read = match reader.read_record(&mut record) {
            Ok(true) => Ok(()),
            Ok(false) => break,
            Err(error) => Err(error.to_string()),
        };
        let line = record.position().map_or(line, ::csv::Position::line);
        let fault = match read {
            Ok(()) if std::mem::take(&mut is_first) => header(&record),
            Ok(()) => row(&record, known).map(|(client, at, sample)| {
                rows.entry(client).or_default().entry(at).or_default().push(sample);
            }),
            Err(error) => Err(error),
        };
        if let Err(fault) = fault {
            faults.push(format!("{place}:{line}: {fault}"));
            // Without a header nothing else means what it seems to.
            if faults.len() == FAULTS || rows.is_empty() && line <= 1 {
                break;
            }
        }
    }
    if is_first {
        faults.push(format!("{place}: the file is empty: its first line is {}", HEADER.join(",")));
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    Ok(rows.into_iter().map(|(client, reports)| (client, reports.into_iter().collect())).collect())
}

fn header(record: &::csv::StringRecord) -> Result<(), String> {
    let is_header = record.iter().map(|field| field.trim_start_matches('\u{feff}').trim()).eq(HEADER);
    if is_header { Ok(()) } else { Err(format!("the first line has to be {}", HEADER.join(","))) }
}

/// One row: whose, when, what.
fn row(
    record: &::csv::StringRecord,
    known: &BTreeSet<&str>,
) -> Result<(ClientName, Timestamp, Sample), String> {
    let fields: Vec<&str> = record.iter().map(str::trim).collect();
    let [client, metric, labels, time, value] = fields.as_slice() else {
        return Err(format!(
            "there are {} fields, and {} are expected: {}",
            fields.len(),
            HEADER.len(),
            HEADER.join(",")
        ));
    };
    let shown = |text: &str| escape_to(text, 60);
    let name: ClientName = client.parse()?;
    if !known.contains(name.as_str()) {
        return Err(format!("there is no client \"{client}\" in config.xml: add it, or leave its rows out"));
    }
    let labels: Labels = labels
        .trim_end_matches(';')
        .parse()
        .map_err(|_| format!("\"{}\" are no labels: expected key=value;key=value", shown(labels)))?;
    let at = DateTime::parse_from_rfc3339(time).map_err(|error| {
        format!("\"{}\" is no time ({error}): expected RFC 3339, as in 2026-07-28T02:00:00Z", shown(time))
    })?;
    let value: f64 = value
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| format!("\"{}\" is no finite number", shown(value)))?;
    let sample = Sample { metric: (*metric).to_owned(), labels, value };
    sample.check()?;
    Ok((name, Timestamp(at.timestamp_millis()), sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<ClientName, Reports>, String> {
        super::read(text.as_bytes(), "history.csv", &BTreeSet::from(["web1", "db2"]))
    }

    #[test]
    fn rows_of_one_client_and_time_are_one_report() {
        let text = "client,metric,labels,time,value\r\n\
                    web1,disk,mount=/var,2026-07-28T02:05:00Z,91.5\n\
                    web1,cpu,,2026-07-28T04:00:00+02:00,50\n\
                    web1,disk,mount=/var,2026-07-28T02:00:00Z,90\n\
                    db2,cpu,,2026-07-28T02:00:00Z,1e1\n";
        let history = read(text).unwrap();
        let web1: ClientName = "web1".parse().unwrap();
        let shown: Vec<_> =
            history[&web1].iter().map(|(at, samples)| (at.seconds() % 3600, samples.len())).collect();
        assert_eq!(shown, [(0, 2), (300, 1)]);
        assert_eq!(history.len(), 2);
    }

    #[test]
    fn every_fault_names_its_line() {
        let text = "client,metric,labels,time,value\n\
                    web9,cpu,,2026-07-28T02:00:00Z,1\n\
                    web1,cpu,,yesterday,1\n\
                    web1,cpu,,2026-07-28T02:00:00Z,NaN\n\
                    web1,cpu,2026-07-28T02:00:00Z,1\n\
                    web1,disk,mount,2026-07-28T02:00:00Z,1\n";
        insta::assert_snapshot!(read(text).unwrap_err());
        assert_eq!(
            read("").unwrap_err(),
            "history.csv: the file is empty: its first line is client,metric,labels,time,value"
        );
        assert_eq!(
            read("a,b\n1,2\n").unwrap_err(),
            "history.csv:1: the first line has to be client,metric,labels,time,value"
        );
    }
}
