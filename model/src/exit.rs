//! What the exit status of every program means; the numbers from 64 on are those of BSD's `sysexits.h`.

/// The exit status of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// Some clients or mails failed, or the other program is stale. What worked is stored or sent.
    Partial = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The storage failed (EX_IOERR): full, corrupt, of a newer version, not to be reached.
    Storage = 74,
    /// Another run is under way, or the storage is busy (EX_TEMPFAIL): the next run will do.
    Busy = 75,
    /// config.xml, or a file that it names, is wrong (EX_CONFIG); nothing was tried.
    Config = 78,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
