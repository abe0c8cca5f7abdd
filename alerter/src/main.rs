//! fleet-alerter: see `alerter`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use alerter::check::{self, Verdict};
use alerter::cli::{Cli, Ended};
use alerter::way_out::SENDMAIL;
use clap::Parser as _;
use model::{Exit, Timestamp};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .filter_module("alerter", cli.level())
        .filter_module("fleet_alerter", cli.level())
        .filter_module("storage", cli.level())
        .filter_module("config", cli.level())
        .parse_default_env()
        .format(|out, record| writeln!(out, "{}: {}", record.level().as_str().to_lowercase(), record.args()))
        .init();
    let mut out = std::io::stdout().lock();
    let done = cli.execute(&|| Timestamp::from(SystemTime::now()), Path::new(SENDMAIL), &mut out);
    let ended = done.and_then(|ended| Ok(out.flush().map(|()| ended)?)).unwrap_or_else(|failure| {
        let exit = failure.exit();
        if exit != Exit::Ok {
            log::error!("{failure}");
        }
        Ended::Program(exit)
    });
    ended.into()
}

/// Says what is wrong with the command line, or what `--help` and `--version` ask for.
fn misused(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.exit_code() == 0 && printed.is_ok() {
        Exit::Ok.into()
    } else if check::is_asked_for(std::env::args_os().skip(1)) {
        // A plugin that ended with 2 would say that something is critical.
        Ended::Plugin(Verdict::Unknown).into()
    } else {
        Exit::Usage.into()
    }
}
