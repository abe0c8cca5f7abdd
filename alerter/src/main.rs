//! fleet-alerter: see `alerter`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use alerter::cli::Cli;
use alerter::way_out::SENDMAIL;
use clap::Parser as _;
use model::{Exit, Timestamp};

fn main() -> ExitCode {
    let cli = Cli::parse();
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
    let exit = done.and_then(|exit| Ok(out.flush().map(|()| exit)?)).unwrap_or_else(|failure| {
        let exit = failure.exit();
        if exit != Exit::Ok {
            log::error!("{failure}");
        }
        exit
    });
    exit.into()
}
