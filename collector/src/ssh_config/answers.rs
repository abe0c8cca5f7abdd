//! What ssh says about a host: `ssh -G`.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use model::text::escape;

use super::jump::Jump;

/// What ssh says about a host, by keyword; a keyword may come several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answers(HashMap<String, Vec<String>>);

/// Runs `ssh -G`, with the login and port that are written before those of the files.
pub(super) fn ask(file: Option<&Path>, jump: &Jump<'_>) -> Result<Answers, String> {
    if jump.host.starts_with('-') {
        return Err(format!("{} is no host", escape(jump.host)));
    }
    let mut ssh = Command::new("ssh");
    for (option, value) in [("-l", jump.user), ("-p", jump.port)] {
        if let Some(value) = value {
            ssh.args([option, value]);
        }
    }
    if let Some(file) = file {
        ssh.arg("-F").arg(file);
    }
    ssh.arg("-G").arg(jump.host).stdin(Stdio::null());
    let output = ssh.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "ssh is not here, and only it knows what an ssh_config means: install openssh-client".to_owned()
        }
        _ => format!("ssh: {error}"),
    })?;
    if !output.status.success() {
        let said = escape(String::from_utf8_lossy(&output.stderr).trim());
        return Err(format!("ssh -G {}: {said}", escape(jump.host)));
    }
    Ok(Answers::parse(&String::from_utf8_lossy(&output.stdout)))
}

impl Answers {
    pub(super) fn parse(said: &str) -> Self {
        let mut answers = HashMap::<_, Vec<_>>::new();
        for (keyword, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            answers.entry(keyword.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
        Self(answers)
    }

    pub(super) fn all(&self, keyword: &str) -> &[String] {
        self.0.get(keyword).map_or(&[], Vec::as_slice)
    }

    pub(super) fn one(&self, keyword: &str) -> Option<&str> {
        self.all(keyword).first().map(String::as_str)
    }

    /// The server as a hop that is no client: `user@host:port`, an IPv6 address in brackets.
    pub(super) fn place(&self) -> String {
        let user = self.one("user").map_or_else(String::new, |user| format!("{user}@"));
        let address = self.one("hostname").unwrap_or_default();
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        format!("{user}{address}:{}", self.one("port").unwrap_or("22"))
    }
}
