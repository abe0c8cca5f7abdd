//! What every backend must do: one function per obligation, each given an empty store. [`conformance!`] makes tests of
//! them.
//!
//! [`conformance!`]: crate::conformance!

#![allow(clippy::missing_panics_doc, reason = "to panic is how a check says that the backend fails it")]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "an array of what is expected reads better")]

pub mod alerts;
pub mod clients;
pub mod history;
pub mod outbox;
pub mod quarantine;
pub mod relay;
pub mod reports;
pub mod roll_back;
pub mod runs;
pub mod server;
pub mod sharing;
pub mod silences;

use model::record::{Host, VERSION};
use model::{
    AlertKey, Body, ClientName, ClientUid, Clock, Episode, EpisodeId, Evidence, Fact, Labels, Outcome,
    Process, Reason, Record, Report, RuleId, Sample, Severity, SpoolId, Timestamp,
};

use crate::{Attempt, Content, Program, Received, Run, StoreError};

pub use crate::Store;

/// What a check returns: a failure of the store is a failure of the check.
pub type Outcomes = Result<(), StoreError>;

/// A `#[test]` of every check over `$make`, which gives something to keep while the test runs, and an empty store.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance!(@ $make;
            reports::a_client_gets_one_row_for_ever
            reports::keys_are_kept_and_never_replaced
            reports::a_batch_is_stored_whole_or_not_at_all
            reports::storing_again_changes_nothing
            reports::a_spool_is_stored_through_in_order
            reports::an_absurd_sequence_harms_nobody
            reports::the_last_event_time_never_goes_back
            reports::the_latest_attempt_tells_who_failed
            reports::the_run_log_keeps_one_entry_per_begin
            reports::the_latest_runs_of_each_host_are_given
            clients::who_went_without_a_turn_is_known
            clients::a_new_name_takes_everything_along
            clients::old_keys_are_forgotten_and_the_newest_never
            clients::a_purged_client_leaves_nothing_and_harms_nobody
            roll_back::spools_of_a_client_are_apart
            roll_back::nothing_is_stored_twice_after_a_roll_back
            roll_back::a_long_spool_after_a_roll_back_drains_over_runs
            roll_back::a_second_roll_back_loses_nothing
            quarantine::what_is_set_aside_counts_as_stored
            quarantine::what_is_set_aside_is_recognised_after_a_roll_back
            quarantine::what_is_set_aside_is_counted_beyond_the_bound
            quarantine::what_cannot_be_kept_is_set_aside_alone
            alerts::the_installation_is_random_and_stays
            alerts::the_backlog_comes_in_event_time_order
            alerts::the_backlog_goes_on_after_a_commit
            alerts::of_one_time_reports_come_first
            alerts::what_was_reported_is_what_is_evaluated
            alerts::every_outcome_survives
            alerts::a_step_commits_whole_or_not_at_all
            alerts::a_mark_is_spent_once
            alerts::states_are_kept_and_idle_ones_are_not
            alerts::an_episode_is_written_over
            alerts::a_known_fact_changes_nothing
            alerts::the_fleet_has_episodes_and_is_no_client
            alerts::what_is_remembered_of_a_client_is_replaced
            runs::attempts_of_a_run_stand_together
            runs::runs_stand_where_they_end
            runs::a_run_that_goes_on_is_not_given
            runs::a_run_is_never_split
            silences::a_silence_lasts_until_its_end
            silences::news_waits_no_longer_than_its_silence
            silences::silences_follow_their_client
            silences::the_newest_acknowledgement_counts
            outbox::a_frozen_message_never_changes
            outbox::a_fact_is_in_one_message_at_most
            outbox::what_is_sent_is_told
            outbox::what_is_dissolved_is_free_again
            outbox::what_is_in_doubt_goes_again_with_the_same_bytes
            outbox::what_is_refused_is_kept_and_shown
            outbox::messages_come_oldest_first
            outbox::facts_can_be_dropped
            outbox::when_people_were_told_is_known
            outbox::a_receivers_back_off_is_replaced
            history::the_latest_of_every_client_is_shown
            history::a_gap_record_is_no_latest_report
            history::a_series_is_told_over_a_span
            history::open_episodes_come_oldest_first
            history::episodes_are_found_by_time_and_by_name
            history::there_are_counts
        );
    };
    (@ $make:expr; $($group:ident::$check:ident)*) => {$(
        #[test]
        fn $check() {
            let (_kept, mut store) = $make;
            $crate::conformance::$group::$check(&mut store).expect("the store does it");
        }
    )*};
}

/// A point in time: seconds after a fixed one.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_785_204_000 + seconds)
}

/// A client by a name, with a row of its own.
pub fn enrol(store: &mut dyn Store, name: &str) -> Result<ClientUid, StoreError> {
    // Any uid that another name does not give will do.
    let mut uid = [0; 16];
    name.bytes().zip(uid.iter_mut()).for_each(|(from, to)| *to = from);
    Ok(store.clients(&[named(name)], &mut || ClientUid(uid))?[0].uid)
}

/// A client's name.
pub fn named(name: &str) -> ClientName {
    name.parse().expect("the tests' names are names")
}

/// A spool's id.
pub fn spool(number: u8) -> SpoolId {
    SpoolId([number; 16])
}

/// A sample of a series without labels.
pub fn sample(metric: &str, value: f64) -> Sample {
    Sample { metric: metric.to_owned(), labels: Labels::none(), value }
}

/// A record of those samples.
pub fn record(samples: Vec<Sample>) -> Record {
    let report = Report { host: host("6.1"), samples, readers: Vec::new(), evidence: evidence() };
    let clock = Clock { wall: at(-5), boottime_ms: 7, boot_id: "boot".to_owned() };
    Record { version: VERSION, clock, body: Body::Report(report) }
}

/// A machine with that kernel.
pub fn host(kernel: &str) -> Host {
    let [hostname, os, arch] = ["box", "Debian GNU/Linux 12", "x86_64"].map(str::to_owned);
    Host { hostname, os, kernel: kernel.to_owned(), arch, ..Host::default() }
}

/// Two processes.
pub fn evidence() -> Evidence {
    let process =
        |pid, name: &str, cpu| Process { pid, name: name.to_owned(), uid: 33, cpu, memory: 1 << 33 };
    Evidence {
        top_cpu: vec![process(812, "postgres", Some(180.5))],
        top_memory: vec![process(1, "init", None)],
    }
}

/// The record `sequence` of a spool, true at `seconds`, with load 1 equal to its sequence. Its digest is the sequence's.
pub fn received(spool_number: u8, sequence: u64, seconds: i64) -> Received {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&sequence.to_be_bytes());
    digest[31] = 1;
    Received {
        spool: spool(spool_number),
        sequence,
        digest,
        receipt: at(seconds + 1),
        event_time: at(seconds),
        content: Content::Record(Box::new(record(vec![sample("load1", sequence as f64)]))),
    }
}

/// The same place in the spool, but another record: that of another life of the machine.
pub fn diverged(mut received: Received, life: u8) -> Received {
    received.digest[0] = life;
    received
}

/// An attempt that collected those records, in a run of its own.
pub fn attempt(client: ClientUid, seconds: i64, records: Vec<Received>) -> Attempt {
    let (run, at) = (at(seconds), at(seconds));
    Attempt { client, run, at, outcome: Outcome::Collected, seconds: 0.25, uploaded: false, records }
}

/// An attempt that ended with `outcome`.
pub fn failed(client: ClientUid, seconds: i64, outcome: Outcome) -> Attempt {
    Attempt { outcome, ..attempt(client, seconds, Vec::new()) }
}

/// Nobody listens there.
pub fn refused() -> Outcome {
    Outcome::Refused { detail: "connection refused".to_owned() }
}

/// An alert over a mount.
pub fn key(client: ClientUid, mount: &str) -> AlertKey {
    AlertKey { client, rule: RuleId("disk".to_owned()), labels: Labels::one("mount", mount) }
}

/// An open episode of [`key`].
pub fn episode(client: ClientUid, mount: &str, seconds: i64) -> Episode {
    Episode {
        id: EpisodeId(format!("episode-{client}-{mount}")),
        key: key(client, mount),
        client_name: "web".to_owned(),
        metric: "disk".to_owned(),
        begin: at(seconds),
        fired: at(seconds + 60),
        severity: Severity::Warning,
        first_value: 91.25,
        limit: 90.0,
        peak: 97.125,
        peak_at: at(seconds + 30),
        last_value: 93.0,
        last_at: at(seconds + 90),
        detail: "of a test".to_owned(),
        held: String::new(),
        evidence: evidence(),
        end: None,
    }
}

/// An episode's news for a receiver.
pub fn fact(episode: &Episode, receiver: &str, ordinal: u32) -> Fact {
    let reason = [Reason::First, Reason::Worse, Reason::Resolved][ordinal as usize % 3];
    Fact {
        episode: episode.id.clone(),
        receiver: receiver.to_owned(),
        ordinal,
        reason,
        severity: Severity::Warning,
        at: episode.fired,
        after: episode.fired,
    }
}

/// A run of `program` that begins at `seconds`.
#[must_use]
pub(crate) fn run(program: Program, seconds: i64) -> Run {
    Run { program, host: "here".to_owned(), begin: at(seconds), end: None, done: 0, failed: 0, whole: true }
}
