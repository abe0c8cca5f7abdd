//! `fleet-collector`: visits every client of config.xml and stores what it reports.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use collector::cli::Cli;
use log::Level;

fn main() -> ExitCode {
    // How the supervisor starts this program again, for one client. Not for people.
    if std::env::args_os().nth(1).is_some_and(|word| word == "worker") {
        return collector::worker::main();
    }
    // And for a proxy-command.
    if std::env::args_os().nth(1).is_some_and(|word| word == "proxy-command") {
        return collector::proxy_command::main();
    }
    // And for the heartbeat.
    if std::env::args_os().nth(1).is_some_and(|word| word == "heartbeat") {
        return collector::heartbeat::main();
    }
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(cli.log_filter()))
        .format(|line, record| match record.level() {
            // Warnings may come amid a line of progress.
            Level::Error | Level::Warn => {
                let level = record.level().as_str().to_lowercase();
                let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
                writeln!(line, "{clear}{level}: {}", record.args())
            }
            _ => writeln!(line, "{}", record.args()),
        })
        .init();
    cli.execute().into()
}
