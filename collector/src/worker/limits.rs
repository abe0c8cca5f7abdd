//! What the worker forbids itself before it reads its first byte. A `pre_exec` in the supervisor would do the same for
//! the price of a fork of the whole supervisor.

use rustix::io;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::set_no_new_privs;

/// Address space: the libraries, what one run fetches, and room to decode it.
const MEMORY: u64 = 512 * 1024 * 1024;

/// Descriptors: three streams, a socket or three pipes, an agent, and what the resolver opens.
const FILES: u64 = 32;

/// Dies with the supervisor, leaves no core, cannot be traced, gains nothing by a set-user-id program.
pub(super) fn apply() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    for (resource, most) in [(Resource::Core, 0), (Resource::As, MEMORY), (Resource::Nofile, FILES)] {
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Some(most.min(hard));
        setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
    }
    Ok(())
}
