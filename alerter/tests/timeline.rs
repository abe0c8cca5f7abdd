//! Timelines: what a fleet does, and which mails come of it when. `tests/timelines/` has them, `timeline/language.rs`
//! says how they are written.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;
mod timeline {
    pub(crate) mod language;
    pub(crate) mod play;
}

use std::path::Path;

use timeline::{language, play};

/// One test per file; a file that is not listed fails `every_timeline_is_played`.
macro_rules! timelines {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                play::play(&language::parse(include_str!(concat!("timelines/", stringify!($name), ".txt"))));
            }
        )*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

timelines!(
    a_spike_is_no_problem,
    severities,
    windows_and_silences,
    acknowledgements,
    unreachable_and_parents,
    the_collector_is_cut_off,
    the_collector_stops,
    the_network_comes_and_goes,
    a_bastion_is_no_network,
    forecasts,
    vanished,
    flapping,
    an_outage_of_the_alerter,
    mail_is_down_for_five_days,
    old_data,
    reminders,
    events,
    units_mounts_and_forecasts,
    edits,
    severity_is_the_alerts,
    another_receiver,
    flapping_for_long,
);

#[test]
fn every_timeline_is_played() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/timelines");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(files, names);
}
