//! `fleet-collector`: visits every client of config.xml and stores what it reports.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use collector::cli::Cli;

fn main() -> ExitCode {
    // How the supervisor starts this program again, for one client. Not for people.
    if std::env::args_os().nth(1).is_some_and(|word| word == "worker") {
        return collector::worker::main();
    }
    // And for a proxy-command.
    if std::env::args_os().nth(1).is_some_and(|word| word == "proxy-command") {
        return collector::proxy_command::main();
    }
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(cli.log_filter()))
        .format(|line, record| {
            writeln!(line, "{}: {}", record.level().as_str().to_lowercase(), record.args())
        })
        .init();
    cli.execute().into()
}
