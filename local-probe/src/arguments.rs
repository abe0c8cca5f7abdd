//! The command line. There is no parser crate in what travels to every client.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use model::ClientUid;

/// What `--help` prints.
pub const HELP: &str = "\
local-probe: reads this machine's health, for people and for fleet-collector

usage:
  local-probe --print [OPTIONS]      tables for a person
  local-probe --json [OPTIONS]       the same for a program
  local-probe --version | --help

  --root DIR          read DIR/proc, DIR/sys and so on instead of this machine's
  --processes NAMES   count the processes of these names, separated by commas

what fleet-collector runs, and a client's own cron may:
  local-probe serve DIR              one request on stdin, records on stdout
  local-probe forced DIR             the same, as the command of a line of authorized_keys:
                                     refuses whatever else that login is asked to run
  local-probe sample DIR CLIENT      one more record into the spool DIR/CLIENT
  DIR/CLIENT/sample                  the same, by the link that lies there
  local-probe install DIR SHA256     after an upload into DIR

Exit status: 0 ok, 1 something failed, 2 wrong usage, 74 the spool failed, 75 the spool is in use.
";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Show the machine, whose files are below `root`, to a person or, as JSON, to a program.
    Show {
        /// `/`, but for trials.
        root: PathBuf,
        /// For a program.
        json: bool,
        /// Names of processes to count.
        processes: Vec<String>,
    },
    /// Serve one request over the remote-dir `home`.
    Serve {
        /// The remote-dir.
        home: PathBuf,
    },
    /// Serve one request over the remote-dir `home`, for a login that may do nothing else.
    Forced {
        /// The remote-dir.
        home: PathBuf,
    },
    /// Add a record to a spool.
    Sample {
        /// The remote-dir.
        home: PathBuf,
        /// Whose spool.
        client: ClientUid,
    },
    /// Take the place of an uploaded probe.
    Install {
        /// The remote-dir.
        home: PathBuf,
        /// SHA-256 of the program.
        digest: [u8; 32],
    },
}

/// Parses what follows the program's name; `program` is its absolute path as it was called. The error is for a person.
pub fn parse(program: &Path, arguments: &[OsString]) -> Result<Command, String> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    let path = |at: usize| PathBuf::from(&arguments[at]);
    match words[..] {
        [] if program.file_name().is_some_and(|name| name == "sample") => sample_link(program),
        [] => Err("nothing to do".to_owned()),
        ["--help" | "-h" | "help", ..] => Ok(Command::Help),
        ["--version" | "-V"] => Ok(Command::Version),
        ["serve", _] => Ok(Command::Serve { home: path(1) }),
        ["forced", _] => Ok(Command::Forced { home: path(1) }),
        ["sample", _, client] => Ok(Command::Sample { home: path(1), client: uid(client)? }),
        ["install", _, digest] => Ok(Command::Install { home: path(1), digest: sha256(digest)? }),
        [_, ..] if words.iter().any(|word| matches!(*word, "--print" | "--json")) => show(arguments, &words),
        [word, ..] => Err(not_understood(word)),
    }
}

fn not_understood(word: &str) -> String {
    format!("{} or what follows it is not understood", model::text::escape(word))
}

/// `--print` or `--json`, with options before and after it.
fn show(arguments: &[OsString], words: &[&str]) -> Result<Command, String> {
    let (mut forms, mut root, mut processes) = (Vec::new(), PathBuf::from("/"), Vec::new());
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match (*word, words.get(at + 1)) {
            ("--print" | "--json", _) => forms.push(*word == "--json"),
            ("--root", Some(_)) => {
                at += 1;
                root = PathBuf::from(&arguments[at]);
            }
            ("--processes", Some(names)) => {
                at += 1;
                processes = names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            }
            _ => return Err(not_understood(word)),
        }
        at += 1;
    }
    match forms[..] {
        [json] => Ok(Command::Show { root, json, processes }),
        _ => Err("--print or --json, and not both".to_owned()),
    }
}

fn uid(text: &str) -> Result<ClientUid, String> {
    text.parse().map_err(|error| format!("no client: {error}"))
}

/// The link lies at `<remote-dir>/<client uid>/sample`.
fn sample_link(program: &Path) -> Result<Command, String> {
    let spool = program.parent();
    let client = spool.and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let home = spool.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    Ok(Command::Sample { home, client: uid(client)? })
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    let fault = || format!("{} is not 64 hexadecimal digits", model::text::escape(text));
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(fault());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| fault())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(program: &str, words: &[&str]) -> Result<Command, String> {
        parse(Path::new(program), &words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_link_names_the_spool() {
        let client = ClientUid([0xab; 16]);
        let command = Command::Sample { home: PathBuf::from("/home/u/.fleet-health"), client };
        assert_eq!(parsed(&format!("/home/u/.fleet-health/{client}/sample"), &[]), Ok(command.clone()));
        assert_eq!(parsed("/p", &["sample", "/home/u/.fleet-health", &client.to_string()]), Ok(command));
    }

    #[test]
    fn verbs_and_options_are_understood() {
        let show = |json, root: &str, names: &[&str]| {
            let processes = names.iter().map(|name| (*name).to_owned()).collect();
            Ok(Command::Show { root: root.into(), json, processes })
        };
        assert_eq!(parsed("/p", &["--print"]), show(false, "/", &[]));
        assert_eq!(parsed("/p", &["--json", "--root", "/x"]), show(true, "/x", &[]));
        assert_eq!(
            parsed("/p", &["--processes", "a,b", "--root", "/x", "--print"]),
            show(false, "/x", &["a", "b"])
        );
        assert_eq!(parsed("/p", &["serve", "d"]), Ok(Command::Serve { home: "d".into() }));
        assert_eq!(parsed("/p", &["forced", "d"]), Ok(Command::Forced { home: "d".into() }));
        let digest = "0f".repeat(32);
        assert_eq!(
            parsed("/p", &["install", "d", &digest]),
            Ok(Command::Install { home: "d".into(), digest: [15; 32] })
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for words in [
            &[][..],
            &["serve"],
            &["--print", "--root"],
            &["--print", "--json"],
            &["--print", "x"],
            &["sample", "d", "x"],
            &["install", "d", "é"],
        ] {
            assert!(parsed("/p", words).is_err(), "{words:?}");
        }
    }
}
