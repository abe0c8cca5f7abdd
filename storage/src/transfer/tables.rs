//! Which rows are moved, and by which names both sides know their values. In an order in which nothing refers to what is not
//! there yet.

use super::Value;

/// A table as both sides have it.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name in the target.
    pub(crate) name: &'static str,
    /// Where the source has it: what follows FROM.
    pub(crate) source: &'static str,
    /// What is left out on both sides: what every new target has.
    pub(crate) without: Option<&'static str>,
    /// Its columns in the target.
    pub(crate) columns: &'static [Column],
    /// The columns by whose order the source is read, and those by which the target is: each has an index for them.
    pub(crate) source_key: &'static [usize],
    pub(crate) target_key: &'static [usize],
}

impl Table {
    /// The values of `key` in a row.
    pub(crate) fn key(row: &[Value], key: &[usize]) -> Vec<Value> {
        key.iter().filter_map(|column| row.get(*column)).cloned().collect()
    }
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name in the target.
    pub(crate) name: &'static str,
    /// What it is in the source.
    pub(crate) source: &'static str,
    pub(crate) kind: Kind,
}

/// Of which type a column is in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Boolean,
    Real,
    Text,
    Blob,
}

macro_rules! columns {
    ($($kind:ident $name:ident $(= $source:literal)?),* $(,)?) => {
        &[$(Column {
            name: stringify!($name),
            source: columns!(@ $name $($source)?),
            kind: Kind::$kind,
        }),*]
    };
    (@ $name:ident) => { stringify!($name) };
    (@ $name:ident $source:literal) => { $source };
}

/// All tables.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "client",
        source: "client",
        without: Some("client_id = 0"),
        columns: columns![Integer client_id, Blob uid, Text name, Blob host],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "client_key",
        source: "client_key",
        without: None,
        columns: columns![Integer client_id, Integer key_id, Blob public_key, Blob sealed, Integer created],
        source_key: &[0, 1],
        target_key: &[0, 1],
    },
    Table {
        name: "spool",
        source: "spool",
        without: None,
        columns: columns![
            Integer spool_id, Integer client_id, Blob spool, Integer stored_through, Blob digest,
            Integer last_event_time,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "series",
        source: "series",
        without: None,
        columns: columns![Integer series_id, Text metric, Text label],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "report",
        source: "report",
        without: None,
        columns: columns![
            Integer report_id, Integer client_id, Integer spool_id, Integer sequence, Integer digest,
            Integer event_time, Integer receipt, Blob payload,
        ],
        source_key: &[0],
        target_key: &[5, 0],
    },
    Table {
        name: "collection",
        source: "collection",
        without: None,
        // An attempt of schema 1 was a run of its own.
        columns: columns![
            Integer collection_id, Integer client_id, Integer at, Blob outcome, Real seconds, Boolean uploaded,
            Integer stored, Integer run = "coalesce(run, at)",
        ],
        source_key: &[0],
        target_key: &[2, 0],
    },
    Table {
        name: "quarantine",
        source: "quarantine",
        without: None,
        columns: columns![
            Integer quarantine_id, Integer client_id, Integer spool_id, Integer sequence, Integer digest,
            Integer event_time, Integer receipt, Text reason, Blob envelope,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "latest",
        // The target has the newest report and attempt themselves.
        source: "latest LEFT JOIN report USING (report_id) LEFT JOIN collection USING (collection_id)",
        without: None,
        columns: columns![
            Integer client_id = "latest.client_id", Integer spool_id = "latest.spool_id",
            Integer event_time = "latest.event_time", Integer report_time, Blob payload, Integer collection_at,
            Blob outcome, Integer contact, Boolean failed, Integer judged,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "unevaluated",
        source: "unevaluated",
        without: None,
        columns: columns![Integer report_id, Integer event_time],
        source_key: &[1, 0],
        target_key: &[0],
    },
    Table {
        name: "unevaluated_attempt",
        source: "unevaluated_attempt",
        without: None,
        columns: columns![Integer collection_id, Integer run, Integer at],
        source_key: &[1, 2, 0],
        target_key: &[0],
    },
    Table {
        name: "alert",
        source: "alert",
        without: None,
        columns: columns![
            Integer client_id, Text rule, Text labels, Boolean firing, Blob state, Integer form,
        ],
        source_key: &[0, 1, 2],
        target_key: &[0, 1, 2],
    },
    Table {
        name: "memory",
        source: "memory",
        without: None,
        columns: columns![
            Integer client_id, Integer since, Integer reported, Integer booted, Boolean reached,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "episode",
        source: "episode",
        without: None,
        columns: columns![
            Text episode_id, Integer client_id, Text rule, Text labels, Text client_name, Text metric,
            Integer begin, Integer fired, Text severity, Real first_value, Real limit_value, Real peak,
            Integer peak_at, Real last_value, Integer last_at, Text detail, Blob evidence, Integer end_at,
            Text end_why, Text held,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "acknowledgement",
        source: "acknowledgement",
        without: None,
        columns: columns![Text episode_id, Integer begin, Integer until, Text why],
        source_key: &[0, 1],
        target_key: &[0, 1],
    },
    Table {
        name: "message",
        source: "message",
        without: None,
        columns: columns![
            Integer message_id, Text id, Text receiver, Text subject, Integer created, Blob bytes, Text status,
            Text detail, Integer noted,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "fact",
        source: "fact",
        without: None,
        columns: columns![
            Integer fact_id, Text episode_id, Text receiver, Integer ordinal, Text reason, Text severity,
            Integer at, Boolean told, Integer message_id, Integer after,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "silence",
        source: "silence",
        without: None,
        columns: columns![
            Integer silence_id, Text target, Text metric, Integer begin, Integer until, Text why,
        ],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "backoff",
        source: "backoff",
        without: None,
        columns: columns![Text receiver, Integer failures, Integer next, Text detail],
        source_key: &[0],
        target_key: &[0],
    },
    Table {
        name: "run",
        source: "run",
        without: None,
        // Nothing runs on the file while it is moved: what did not end is over.
        columns: columns![
            Integer run_id = "begin * 2 + (program = 'fleet-alerter')", Text program, Integer begin,
            Integer finish, Integer done, Integer failed, Boolean whole, Text host, Integer began = "begin",
            Integer until = "begin", Boolean over = "finish IS NULL", Integer step = "0",
        ],
        source_key: &[1, 2],
        target_key: &[0],
    },
];

/// What numbers the rows of a table.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// The sequence in the target where the column has none of its own.
    pub(crate) sequence: Option<&'static str>,
}

const fn numbered(table: &'static str, column: &'static str, sequence: Option<&'static str>) -> Numbered {
    Numbered { table, column, sequence }
}

/// All that number their rows by themselves.
pub(crate) const NUMBERED: &[Numbered] = &[
    numbered("client", "client_id", None),
    numbered("spool", "spool_id", None),
    numbered("series", "series_id", None),
    numbered("report", "report_id", Some("report_number")),
    numbered("collection", "collection_id", Some("collection_number")),
    numbered("quarantine", "quarantine_id", None),
    numbered("message", "message_id", None),
    numbered("fact", "fact_id", None),
    numbered("silence", "silence_id", None),
];
