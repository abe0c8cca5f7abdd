//! What differs between operating systems: one module per system, of which this one names what all of them give.
//!
//! - `NAME`: what people call the system;
//! - `ALL` and `COUNTING`: the readers in the order in which they run, and those of them that fill
//!   [`Counters`](crate::Counters);
//! - `times`: wall clock, and the milliseconds of a clock that goes on while the machine sleeps and never steps;
//! - `boot_id`: which boot that clock belongs to;
//! - `owner`: the user whom a process runs as;
//! - `peak_memory`: the most bytes that this process had in memory.
//!
//! docs/adr/0009-platforms.md says what other systems need.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{ALL, COUNTING};
#[cfg(target_os = "linux")]
pub(crate) use linux::{NAME, boot_id, owner, peak_memory, times};

#[cfg(not(target_os = "linux"))]
compile_error!("this system has no readers yet; docs/adr/0009-platforms.md says what it takes");
