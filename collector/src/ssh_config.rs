//! Clients from an ssh_config(5). What a file means, ssh itself says (`ssh -G HOST`); a file is read only for the names
//! that it might be asked about.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use model::ClientName;
use model::text::escape;

/// The most bytes of one file that are looked through for names.
const MAX_FILE: u64 = 1024 * 1024;

/// How deep files may include each other, as with ssh.
const MAX_DEPTH: usize = 16;

/// What ssh says about a host, by keyword; a keyword may come several times.
type Answers = HashMap<String, Vec<String>>;

/// Options that change how ssh gets to a host, and that config.xml cannot say.
const NOT_SAID: [&str; 7] = [
    "certificatefile",
    "pkcs11provider",
    "gssapiauthentication",
    "bindaddress",
    "bindinterface",
    "hostkeyalias",
    "addressfamily",
];

/// What became of an import.
pub(crate) struct Imported {
    /// The elements, one a line.
    pub(crate) elements: String,
    /// How many there are.
    pub(crate) count: usize,
    /// What config.xml cannot say, or what is not there: for people.
    pub(crate) remarks: Vec<String>,
}

/// Asks ssh about `hosts` and writes down what it says. `file` takes the place of the user's and the system's files.
pub(crate) fn import(file: Option<&Path>, hosts: &[String], home: Option<&Path>) -> Result<Imported, String> {
    let nothing = ask(Some(Path::new("/dev/null")), "host")?;
    let mut imported = Imported { elements: String::new(), count: 0, remarks: Vec::new() };
    for host in hosts {
        if host.contains(['*', '?', '!']) {
            imported
                .remarks
                .push(format!("{}: left out: it is a pattern; name the hosts that it means", escape(host)));
            continue;
        }
        if let Err(fault) = host.parse::<ClientName>() {
            imported.remarks.push(format!("{}: left out: {fault}", escape(host)));
            continue;
        }
        let answers = ask(file, host)?;
        let mut draft =
            Draft { host, answers: &answers, nothing: &nothing, home, remarks: &mut imported.remarks };
        let hop =
            |name: &str| if hosts.iter().any(|host| host == name) { None } else { ask(file, name).ok() };
        let element = draft.element(&hop);
        imported.elements.push_str(&element);
        imported.count += 1;
    }
    Ok(imported)
}

/// Runs `ssh -G HOST`.
fn ask(file: Option<&Path>, host: &str) -> Result<Answers, String> {
    if host.starts_with('-') {
        return Err(format!("{} is no host", escape(host)));
    }
    let mut ssh = Command::new("ssh");
    if let Some(file) = file {
        ssh.arg("-F").arg(file);
    }
    ssh.arg("-G").arg(host).stdin(Stdio::null());
    let output = ssh.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "ssh is not here, and only it knows what an ssh_config means: install openssh-client".to_owned()
        }
        _ => format!("ssh: {error}"),
    })?;
    if !output.status.success() {
        let said = escape(String::from_utf8_lossy(&output.stderr).trim());
        return Err(format!("ssh -G {}: {said}", escape(host)));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(said: &str) -> Answers {
    let mut answers = Answers::new();
    for (keyword, value) in said.lines().filter_map(|line| line.split_once(' ')) {
        answers.entry(keyword.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    answers
}

/// One element on its way.
struct Draft<'a> {
    host: &'a str,
    answers: &'a Answers,
    /// What ssh says where no file says anything.
    nothing: &'a Answers,
    home: Option<&'a Path>,
    remarks: &'a mut Vec<String>,
}

impl<'a> Draft<'a> {
    fn element(&mut self, hop: &dyn Fn(&str) -> Option<Answers>) -> String {
        let mut attributes = vec![("name", self.host.to_owned())];
        attributes.push(("ip", one(self.answers, "hostname").unwrap_or(self.host).to_owned()));
        attributes.extend(
            one(self.answers, "port").filter(|port| *port != "22").map(|port| ("port", port.to_owned())),
        );
        attributes.extend(one(self.answers, "user").map(|user| ("username", user.to_owned())));
        for (keyword, name) in [("identityfile", "identity-file"), ("userknownhostsfile", "known-hosts")] {
            let files = self.files(keyword);
            if !files.is_empty() {
                attributes.push((name, files.join(" ")));
            }
        }
        match self.own("identityagent") {
            Some("none") => {
                self.remark(
                    "IdentityAgent none: without an identity-file the agent of SSH_AUTH_SOCK is asked",
                );
            }
            Some("SSH_AUTH_SOCK") | None => {}
            Some(agent) => attributes.push(("identity-agent", agent.to_owned())),
        }
        let set = |value: &&str| *value != "none";
        if let Some(jump) = self.own("proxyjump").filter(set) {
            attributes.push(("proxy-jump", hops(jump, hop)));
        } else if let Some(command) = self.own("proxycommand").filter(set) {
            attributes.push(("proxy-command", command.to_owned()));
        }
        for keyword in NOT_SAID {
            if let Some(value) = self.own(keyword) {
                self.remark(&format!("{keyword} {}: config.xml cannot say that", escape(value)));
            }
        }
        let mut element = "  <client".to_owned();
        for (name, value) in attributes {
            let _ = write!(element, " {name}=\"{}\"", attribute(&value));
        }
        element + "/>\n"
    }

    /// The value of `keyword`, where a file says it.
    fn own(&self, keyword: &str) -> Option<&'a str> {
        one(self.answers, keyword).filter(|value| one(self.nothing, keyword) != Some(value))
    }

    /// The files that a file names and that are there; absolute.
    fn files(&mut self, keyword: &str) -> Vec<String> {
        let Some(said) = self.answers.get(keyword).filter(|said| self.nothing.get(keyword) != Some(said))
        else {
            return Vec::new();
        };
        let mut files = Vec::new();
        // identityfile comes once a file, the known hosts all on one line.
        let each = said.iter().flat_map(|value| {
            if keyword == "identityfile" { vec![&**value] } else { value.split(' ').collect() }
        });
        for file in each {
            let path = match (file.strip_prefix("~/"), self.home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(file),
            };
            let text = path.display().to_string();
            if text.contains([',', ' ', '\t']) {
                self.remark(&format!(
                    "{}: a path with blanks or commas cannot be in a list; left out",
                    escape(&text)
                ));
            } else if path.exists() {
                files.push(text);
            } else if keyword == "identityfile" {
                self.remark(&format!("{}: is not there; left out", escape(&text)));
            }
        }
        files
    }

    fn remark(&mut self, text: &str) {
        self.remarks.push(format!("{}: {text}", self.host));
    }
}

fn one<'a>(answers: &'a Answers, keyword: &str) -> Option<&'a str> {
    answers.get(keyword)?.first().map(String::as_str)
}

/// A ProxyJump as config.xml has it: each hop that `resolve` knows by its address. What is imported too goes by its name.
fn hops(jump: &str, resolve: &dyn Fn(&str) -> Option<Answers>) -> String {
    let hop = |hop: &str| match resolve(hop) {
        Some(answers) => {
            let user = one(&answers, "user").map_or_else(String::new, |user| format!("{user}@"));
            let address = one(&answers, "hostname").unwrap_or(hop);
            let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            format!("{user}{address}:{}", one(&answers, "port").unwrap_or("22"))
        }
        None => hop.to_owned(),
    };
    jump.split(',').map(hop).collect::<Vec<_>>().join(" ")
}

/// Text as an attribute's value.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// Writes a file of the elements, which must not be there yet, and makes its directory where that is missing.
pub(crate) fn write(file: &Path, elements: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    if let Some(directory) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    write!(to, "<config>\n{elements}</config>\n")
}

/// The names after `Host` in `file` and what it includes, without patterns; in order, none twice. Only candidates: what
/// they mean is asked of ssh.
pub(crate) fn names(file: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    gather(file, 0, &mut names)?;
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn gather(file: &Path, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines() {
        let mut words = line
            .split(|letter: char| letter.is_whitespace() || letter == '=')
            .filter(|word| !word.is_empty());
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        let words = words.map(|word| word.trim_matches('"')).take_while(|word| !word.starts_with('#'));
        match &*keyword {
            "host" => names.extend(words.filter(|word| !word.contains(['*', '?', '!'])).map(str::to_owned)),
            "include" if depth < MAX_DEPTH => {
                for included in words.flat_map(|word| included(file, word)) {
                    // ssh passes over what it cannot read, too.
                    let _ = gather(&included, depth + 1, names);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The files that an `Include` names; `*` may stand in the last part. Relative ones lie beside the including file.
fn included(file: &Path, word: &str) -> Vec<PathBuf> {
    let path = match (word.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => file.parent().unwrap_or(Path::new("/")).join(word),
    };
    let (Some(directory), Some(pattern)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![path];
    };
    let fits = |name: &str| {
        name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(fits))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(said: &str, nothing: &str) -> (String, Vec<String>) {
        let (answers, nothing) = (parse(said), parse(nothing));
        let mut remarks = Vec::new();
        let mut draft =
            Draft { host: "web1", answers: &answers, nothing: &nothing, home: None, remarks: &mut remarks };
        let bastion = parse("user gate\nhostname fe80::1\nport 2222\n");
        let element = draft.element(&|name| (name == "bastion").then(|| bastion.clone()));
        (element, remarks)
    }

    #[test]
    fn what_ssh_says_becomes_an_element() {
        let (element, remarks) = drafted(
            "host web1\nuser o\"ps\nhostname 192.0.2.1\nport 2200\nidentityfile /etc/passwd\nidentityfile /nonexistent\n\
             proxyjump bastion,db1\nhostkeyalias alias\ngssapiauthentication no\n",
            "identityfile ~/.ssh/id_rsa\ngssapiauthentication no\n",
        );
        assert_eq!(
            element,
            "  <client name=\"web1\" ip=\"192.0.2.1\" port=\"2200\" username=\"o&quot;ps\" identity-file=\"/etc/passwd\" \
             proxy-jump=\"gate@[fe80::1]:2222 db1\"/>\n"
        );
        assert_eq!(
            remarks,
            [
                "web1: /nonexistent: is not there; left out",
                "web1: hostkeyalias alias: config.xml cannot say that"
            ]
        );
    }

    #[test]
    fn what_no_file_says_is_left_to_the_defaults() {
        let usual = "identityfile /etc/passwd\nuserknownhostsfile /etc/passwd\nport 22\nproxycommand none\n";
        let (element, remarks) = drafted(&format!("hostname h\nuser u\n{usual}"), usual);
        assert_eq!(element, "  <client name=\"web1\" ip=\"h\" username=\"u\"/>\n");
        assert!(remarks.is_empty(), "{remarks:?}");
    }

    #[test]
    fn names_are_gathered_from_included_files_without_patterns() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::write(
            place("config"),
            "Include more*.conf\nHost a b *.x !c # d\n  HostName y\nHost=\"e\" a\n",
        )
        .unwrap();
        std::fs::write(place("more1.conf"), "host inner\nInclude config\n").unwrap();
        std::fs::write(place("other"), "Host other\n").unwrap();
        assert_eq!(names(&place("config")).unwrap(), ["inner", "a", "b", "e"]);
        assert!(names(&place("absent")).is_err());
    }
}
