//! A history from a file: `client,metric,labels,time,value`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use chrono::DateTime;
use model::text::escape_to;
use model::{ClientName, Labels, Sample, Timestamp};

use super::Reports;

/// What the first line says.
const HEADER: [&str; 5] = ["client", "metric", "labels", "time", "value"];

/// So many faults are told at once.
const FAULTS: usize = 20;

/// A history as a table: names once, and a row for each value.
#[derive(Debug, Default)]
pub struct Table {
    series: Vec<(String, Labels)>,
    /// Where in `series` a metric with such labels stands, by their text.
    places: HashMap<String, HashMap<String, usize>>,
    clients: BTreeMap<String, Vec<Row>>,
}

/// When, of which series, how much.
type Row = (Timestamp, usize, f64);

impl Table {
    /// The reports of each client, one client after the other: rows of one time are one report.
    pub fn into_reports(self) -> impl Iterator<Item = (ClientName, Reports)> {
        let Self { series, clients, .. } = self;
        clients.into_iter().filter_map(move |(client, mut rows)| {
            // Stable: of several values of one series at one time the last row counts.
            rows.sort_by_key(|(at, ..)| *at);
            let sample = |(_, place, value): &Row| {
                let (metric, labels) = &series[*place];
                Sample { metric: metric.clone(), labels: labels.clone(), value: *value }
            };
            let reports = rows.chunk_by(|a, b| a.0 == b.0);
            let reports = reports.map(|rows| (rows[0].0, rows.iter().map(sample).collect())).collect();
            Some((client.parse().ok()?, reports))
        })
    }

    /// The place of a series, given a new one where it has none.
    fn place(&mut self, metric: &str, labels: &str) -> Result<usize, String> {
        if let Some(place) = self.places.get(metric).and_then(|labelled| labelled.get(labels)) {
            return Ok(*place);
        }
        let parsed: Labels = labels
            .trim_end_matches(';')
            .parse()
            .map_err(|_| format!("\"{}\" are no labels: expected key=value;key=value", shown(labels)))?;
        Sample { metric: metric.to_owned(), labels: parsed.clone(), value: 0.0 }.check()?;
        let place = self.series.len();
        self.series.push((metric.to_owned(), parsed));
        self.places.entry(metric.to_owned()).or_default().insert(labels.to_owned(), place);
        Ok(place)
    }

    /// Takes one row of the file.
    fn take(&mut self, record: &::csv::StringRecord, known: &BTreeSet<&str>) -> Result<(), String> {
        let fields: Vec<&str> = record.iter().map(str::trim).collect();
        let [client, metric, labels, time, value] = fields.as_slice() else {
            let (found, expected) = (fields.len(), HEADER.len());
            let header = HEADER.join(",");
            return Err(format!("there are {found} fields, and {expected} are expected: {header}"));
        };
        if !known.contains(client) {
            let client = shown(client);
            return Err(format!(
                "there is no client \"{client}\" in config.xml: add it, or leave its rows out"
            ));
        }
        let at = DateTime::parse_from_rfc3339(time).map_err(|error| {
            format!("\"{}\" is no time ({error}): expected RFC 3339, as in 2026-07-28T02:00:00Z", shown(time))
        })?;
        let value: f64 = value
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
            .ok_or_else(|| format!("\"{}\" is no finite number", shown(value)))?;
        let row = (Timestamp(at.timestamp_millis()), self.place(metric, labels)?, value);
        if let Some(rows) = self.clients.get_mut(*client) {
            rows.push(row);
        } else {
            self.clients.insert((*client).to_owned(), vec![row]);
        }
        Ok(())
    }
}

fn shown(text: &str) -> String {
    escape_to(text, 60)
}

/// Reads a history. Rows may come in any order; `known` are the clients of config.xml.
///
/// # Errors
/// Each fault with its line in `place` (the file's name) and what was expected, at most 20 of them; nothing is left out
/// quietly.
pub fn read(file: impl Read, place: &str, known: &BTreeSet<&str>) -> Result<Table, String> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut table = Table::default();
    let mut faults = Vec::new();
    let mut record = ::csv::StringRecord::new();
    let mut has_header = false;
    loop {
        let before = reader.position().line();
        let fault = match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) if has_header => table.take(&record, known).err(),
            Ok(true) => {
                has_header = true;
                header(&record).err()
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault {
            let line = record.position().map_or(before, ::csv::Position::line);
            faults.push(format!("{place}:{line}: {fault}"));
            // Without a header nothing else means what it seems to.
            if faults.len() == FAULTS || line <= 1 {
                break;
            }
        }
    }
    if !has_header && faults.is_empty() {
        faults.push(format!("{place}: the file is empty: its first line is {}", HEADER.join(",")));
    }
    if faults.is_empty() { Ok(table) } else { Err(faults.join("\n")) }
}

fn header(record: &::csv::StringRecord) -> Result<(), String> {
    let is_header = record.iter().map(|field| field.trim_start_matches('\u{feff}').trim()).eq(HEADER);
    if is_header { Ok(()) } else { Err(format!("the first line has to be {}", HEADER.join(","))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<ClientName, Reports>, String> {
        let table = super::read(text.as_bytes(), "history.csv", &BTreeSet::from(["web1", "db2"]))?;
        Ok(table.into_reports().collect())
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

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            rows in proptest::collection::vec("(web1|db2|x)?,(cpu|disk)?,(mount=/|[=;\\\\a]{0,4}),(2026-07-28T02:00:00Z|[0-9:TZ-]{0,9}),.{0,6}", 0..9),
            bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..40),
        ) {
            let text = format!("client,metric,labels,time,value\n{}\n", rows.join("\n"));
            let known = BTreeSet::from(["web1", "db2"]);
            for file in [text.as_bytes(), &bytes, &[text.as_bytes(), &bytes].concat()] {
                if let Ok(table) = super::read(file, "history.csv", &known) {
                    assert!(table.into_reports().count() <= 2);
                }
            }
        }
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
