//! The collector: one worker process per client connects, runs the probe there, fetches, opens and decodes what it
//! spooled; the supervisor bounds the workers, stamps what they bring, and stores it.

mod certificate;
mod check_host;
pub mod cli;
mod clients;
mod command;
mod credential;
mod elf;
mod event_time;
mod finished;
mod found;
mod host_key;
mod job;
mod keys;
mod known_hosts;
mod limits;
mod platform;
mod prepare;
mod probe;
mod queue;
mod random;
mod recipe;
mod report;
mod run;
mod schedule;
mod selection;
mod slot;
mod ssh_config;
mod stream;
mod supervisor;
mod trust;
pub mod worker;
