//! What was seen when an episode fired, as tables. What came from a client is escaped here.

use model::metric::Unit;
use model::text::escape_to;
use model::{Episode, Evidence, Process};

use super::letter::{Column, Letter, Table};
use super::surroundings::{Disk, Surroundings};
use crate::notify::{Kind, Line};

/// Tells it, if it is not what was told before: what one report has set off is listed once. `shown` is the episode whose
/// evidence was listed last. Returns whether something is listed.
pub(crate) fn tell(letter: &mut Letter, line: &Line, around: &Surroundings, shown: Option<&Episode>) -> bool {
    let Episode { evidence, key, fired, .. } = line.episode;
    let is_known = *evidence != Evidence::default() || !around.disks.is_empty();
    if matches!(line.kind, Kind::Recovered | Kind::Closed) || !is_known {
        return false;
    }
    if shown.is_some_and(|shown| shown.key.client == key.client && shown.fired == *fired) {
        letter.field("Processes", "as listed above");
        return false;
    }
    if !around.units.is_empty() {
        letter.field("Units", format!("failed when it fired: {}", around.units.join(", ")));
    }
    letter.table(processes("Busiest processes when it fired", &evidence.top_cpu));
    letter.table(processes("Largest processes when it fired", &evidence.top_memory));
    letter.table(disks(&around.disks));
    true
}

fn processes(title: &str, processes: &[Process]) -> Table {
    let columns = [("PID", 8), ("CPU", 7), ("MEMORY", 10), ("COMMAND", 0)];
    let row = |process: &Process| {
        let cpu = process.cpu.map_or_else(|| "-".to_owned(), |cpu| Unit::Percent.show(cpu));
        let memory = Unit::Bytes.show(process.memory as f64);
        vec![process.pid.to_string(), cpu, memory, escape_to(&process.name, 32)]
    };
    table(title, &columns, processes.iter().map(row).collect())
}

fn disks(disks: &[Disk]) -> Table {
    let row = |disk: &Disk| {
        let free = disk.free.map_or_else(|| "-".to_owned(), |free| Unit::Bytes.show(free));
        vec![Unit::Percent.show(disk.used), free, escape_to(&disk.mount, 60)]
    };
    let columns = [("USED", 8), ("FREE", 10), ("MOUNT", 0)];
    table("Fullest disks when it fired", &columns, disks.iter().map(row).collect())
}

fn table(title: &str, columns: &[(&'static str, usize)], rows: Vec<Vec<String>>) -> Table {
    let columns = columns.iter().map(|&(name, width)| Column { name, width }).collect();
    Table { title: title.to_owned(), columns, rows }
}
