//! The static program that reads a client's health, seals it to the management host and spools it.
//!
//! It opens no socket, starts no program, needs no root, and writes in its own directory only. Runs on Linux from
//! kernel 3.2.
//!
//! [`machine::Machine`] is what is looked at, the readers of its
//! [`platform`] look at it through [`reading::Reading`], [`report`] makes one report of what they saw,
//! [`spool`] keeps it until it is stored for good, [`serve`] streams it.

pub mod arguments;
mod counters;
mod custom;
mod fit;
pub mod forced;
pub mod install;
mod leave;
pub mod machine;
mod order;
pub mod platform;
pub mod process;
mod processes;
mod rates;
pub mod reading;
pub mod report;
pub mod sample;
pub mod serve;
pub mod show;
mod space;
pub mod spool;

pub use counters::Counters;
pub use space::Stuck;
