//! Machines that are collected without SSH, on a site whose storage is a PostgreSQL, and what becomes of their records.
//!
//! A probe counts its records from 1 and never starts again, and the newest stays in the spool until a newer one is there. So
//! what is to be stored of a client is exactly 1 to the newest sequence of its spool.

use crate::server::Server;
use crate::site::{Site, newest, spools};

/// The machines of a site.
#[derive(Debug)]
pub struct Machines<'a> {
    site: &'a Site,
    names: Vec<String>,
}

impl<'a> Machines<'a> {
    /// So many of them, in directories of the site.
    pub fn new(site: &'a Site, count: usize) -> Self {
        Self { site, names: (0..count).map(|number| format!("machine-{number:03}")).collect() }
    }

    /// Their `<client>` elements; `rules` is what each holds.
    pub fn elements(&self, rules: &str) -> String {
        let client = |name: &String| {
            format!(
                "<client name=\"{name}\" connection=\"local\" remote-dir=\"{}\" mail=\"ops@example.org\">{rules}</client>\n",
                self.site.remote_dir(name).display()
            )
        };
        self.names.iter().map(client).collect()
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.names.len() as u64
    }

    /// Records that their probes made so far.
    pub fn made(&self) -> u64 {
        let spools = self.names.iter().flat_map(|name| spools(&self.site.remote_dir(name)));
        spools.map(|spool| newest(&spool)).sum()
    }
}

/// What one line of SQL counts.
pub fn count(server: &Server, database: &str, sql: &str) -> u64 {
    server.sql(database, sql).parse().unwrap_or_else(|_| panic!("no number: {sql}"))
}

/// Records that are stored.
pub fn stored(server: &Server, database: &str) -> u64 {
    count(server, database, "SELECT count(*) FROM report")
}

/// Makes every client due, as if half an interval had gone by.
pub fn let_time_pass(server: &Server, database: &str) {
    server.sql(database, "UPDATE claim SET turn = NULL");
}
