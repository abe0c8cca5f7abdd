//! The probe as a program; see `local-probe --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    local_probe::process::run().into()
}
