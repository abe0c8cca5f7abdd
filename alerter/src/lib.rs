//! fleet-alerter: evaluate, decide, compose, deliver.
//!
//! [`evaluate`], [`fold`], [`attention`] and [`notify`] decide by values alone; [`run`] joins them to the store and a [`transport`].

pub mod ack;
pub mod attention;
pub mod backtest;
pub mod check;
pub mod cli;
pub mod deliver;
mod digest;
pub mod dry_run;
pub mod evaluate;
pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod fold;
pub mod inhibition;
pub mod mail;
pub mod mailings;
pub mod notify;
pub mod outbox;
pub mod plot;
pub mod report;
pub mod rulebook;
pub mod run;
pub mod silence;
pub mod status;
mod store;
pub mod table;
mod tell;
pub mod test_mail;
pub mod transport;
pub mod way_out;
mod wording;
pub mod zone;
