//! A terminal of 80 columns, by script(1): what a person types there, and what they get to see.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::site::Site;

/// What a command showed on a terminal.
#[derive(Debug)]
pub struct Shown {
    /// Everything that was written to it.
    pub raw: String,
    /// Its exit status.
    pub code: Option<i32>,
}

impl Shown {
    /// What is left to be read at the end: a line that was cleared and written again counts as it was last.
    pub fn text(&self) -> String {
        let last = |line: &str| line.rsplit("\r\x1b[K").next().unwrap_or_default().trim_end().to_owned();
        self.raw.replace("\r\n", "\n").split('\n').map(last).collect::<Vec<_>>().join("\n")
    }
}

/// Runs `command`, a line for the shell, in the surroundings of `site`; types `answer` where a question ends so.
pub fn show(site: &Site, command: &str, question: &str, answer: &str) -> Shown {
    let mut script = Command::new("timeout");
    script.args([
        "-k",
        "5",
        "120",
        "script",
        "-q",
        "-e",
        "-c",
        &format!("stty cols 80; {command}"),
        "/dev/null",
    ]);
    site.surround(&mut script);
    script.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("timeout runs, and script is installed (apt-get install bsdutils)");
    let (mut to, mut from) = (child.stdin.take(), child.stdout.take().expect("it is a pipe"));
    let (mut raw, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = from.read(&mut piece) {
        raw.extend(&piece[..count]);
        if !question.is_empty()
            && raw.ends_with(question.as_bytes())
            && let Some(to) = &mut to
        {
            to.write_all(answer.as_bytes()).expect("somebody asks");
        }
    }
    drop(to);
    let code = child.wait().expect("it was started").code();
    Shown { raw: String::from_utf8_lossy(&raw).into_owned(), code }
}

/// The block of README.md that begins with ```` ```console ```` and `first`.
pub fn transcript_of_readme(first: &str) -> String {
    let readme = std::fs::read_to_string(crate::programs::root().join("README.md")).expect("it is there");
    let blocks = readme.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut found = blocks.filter(|block| block.starts_with(first));
    found
        .next()
        .unwrap_or_else(|| panic!("README.md has no transcript that begins with {first:?}"))
        .to_owned()
}

/// `text` without what differs from run to run: numbers, key fingerprints, and how wide a column is for them.
pub fn blurred(text: &str) -> String {
    let mut blurred = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        if word == " " && blurred.ends_with(' ') {
            continue;
        }
        let (fingerprint, rest) = match word.strip_prefix("SHA256:") {
            Some(rest) => ("SHA256:#", rest.get(FINGERPRINT..).unwrap_or_default()),
            None => ("", word),
        };
        blurred.push_str(fingerprint);
        for letter in rest.chars() {
            let digit = letter.is_ascii_digit() || (letter == '.' && blurred.ends_with('#'));
            if !digit {
                blurred.push(letter);
            } else if !blurred.ends_with('#') {
                blurred.push('#');
            }
        }
    }
    blurred
}

/// Characters of a SHA-256 in base64 without padding.
const FINGERPRINT: usize = 43;
