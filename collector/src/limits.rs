//! What the processes of the collector forbid themselves: no secret of theirs may come into a core dump.

use rustix::io;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::set_no_new_privs;

/// Address space: the libraries, what one run fetches, and room to decode it.
const MEMORY: u64 = 512 * 1024 * 1024;

/// Descriptors: three streams, a socket or three pipes, an agent, and what the resolver opens.
const FILES: u64 = 32;

/// The supervisor, which reads every credential: leaves no core, cannot be traced. What it starts inherits the former.
pub(crate) fn of_supervisor() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    at_most(Resource::Core, 0)
}

/// What is to become a command of the admin's: dies with the supervisor, even by `kill -9`.
pub(crate) fn of_command() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
}

/// A worker, before it reads its first byte: dies with the supervisor, leaves no core, cannot be traced, gains nothing
/// by a set-user-id program. A `pre_exec` in the supervisor would do the same for the price of a fork of all of it.
pub(crate) fn of_worker() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    at_most(Resource::Core, 0)?;
    at_most(Resource::As, MEMORY)?;
    at_most(Resource::Nofile, FILES)
}

fn at_most(resource: Resource, most: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Some(most.min(hard));
    setrlimit(resource, Rlimit { current: limit, maximum: limit })
}
