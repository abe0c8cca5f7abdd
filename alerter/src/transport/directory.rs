//! A directory of `.eml` files, one per message: for a first run, for tests, and for programs that take mail from there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use model::text::escape;
use storage::Message;

use super::{Answer, Fault, Scope, Stage, Transport};

/// Messages become files whose names follow from their Message-IDs: handed over twice, there is one file.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Transport for Directory {
    fn deliver(&mut self, message: &Message) -> Answer {
        match write(&self.0, message) {
            Ok(path) => Answer::Accepted { said: path.display().to_string() },
            Err(error) => Answer::NotTaken(Fault {
                stage: Stage::Local,
                scope: Scope::All,
                detail: escape(&format!("{}: {error}", self.0.display())),
                remedy: "let <mail path=\"...\"> name a directory that fleet-alerter's user may write to",
            }),
        }
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

/// The file is there as a whole or not at all, and stays after a loss of power.
fn write(directory: &Path, message: &Message) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let name: String = message
        .id
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' })
        .collect();
    let (path, temporary) = (directory.join(format!("{name}.eml")), directory.join(format!(".{name}.tmp")));
    let mut file = File::create(&temporary)?;
    file.write_all(&message.bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    #[test]
    fn a_message_handed_over_twice_is_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/mails");
        let (id, receiver) = ("../a/b@fleet-health".to_owned(), "ops@example.org".to_owned());
        let (created, bytes) = (Timestamp(0), b"text\r\n".to_vec());
        let message = Message { id, receiver, subject: String::new(), created, bytes, facts: Vec::new() };
        for _ in 0..2 {
            let answer = Directory(path.clone()).deliver(&message);
            assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
        }
        let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [".._a_b@fleet-health.eml"]);
        assert_eq!(fs::read(path.join(&files[0])).unwrap(), message.bytes);
    }

    #[test]
    fn a_directory_that_cannot_be_made_takes_nothing() {
        let (id, receiver) = ("1@x".to_owned(), "ops@example.org".to_owned());
        let message = Message {
            id,
            receiver,
            subject: String::new(),
            created: Timestamp(0),
            bytes: Vec::new(),
            facts: Vec::new(),
        };
        let answer = Directory(PathBuf::from("/dev/null/mails")).deliver(&message);
        assert!(matches!(answer, Answer::NotTaken(Fault { scope: Scope::All, .. })), "{answer:?}");
    }
}
