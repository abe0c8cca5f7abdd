//! known_hosts files, as sshd(8) describes their form: parsed line by line, so that a bad line costs only itself.
//!
//! The matching is ours: libssh2's takes `@revoked` lines for good ones and knows no wildcards.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use model::text::escape;
use ring::hmac;
use ssh_key::PublicKey;
use ssh_key::known_hosts::{Entry, HostPatterns, Marker};

/// The most bytes of one file.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// One file's lines.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts {
    lines: Vec<Line>,
    /// Lines of plain names, by name: thousands of clients look theirs up in thousands of lines.
    plain: HashMap<String, Vec<usize>>,
    /// Lines that each name has to be compared with: hashed ones, and patterns.
    others: Vec<usize>,
    /// Lines that cannot be read.
    doubts: Vec<Doubt>,
}

/// A line that cannot be read, so that nobody knows what it says.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// `file:line`
    pub(crate) source: String,
    /// Whether it would say that a key must not be used.
    pub(crate) revokes: bool,
    /// Whom it is about; anybody, where that cannot be read either.
    names: Option<HostPatterns>,
}

/// One line that says something.
#[derive(Debug)]
struct Line {
    /// `file:line`
    source: String,
    says: Says,
    names: HostPatterns,
    key: Vec<u8>,
}

/// What a line says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// It is the host's.
    Known,
    /// It must not be used (`@revoked`).
    Revoked,
    /// What it certifies is the host's (`@cert-authority`).
    Authority,
}

/// A line that is about the host in question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    /// `file:line`
    pub(crate) source: &'a str,
    /// What it says of the key.
    pub(crate) says: Says,
    /// The key's blob (RFC 4253, 6.6).
    pub(crate) key: &'a [u8],
}

impl KnownHosts {
    /// Reads `file` whole; one that is not there has no lines. Lines that cannot be read are told to `warn`.
    pub(crate) fn read(file: &Path, warn: &mut dyn FnMut(String)) -> io::Result<Self> {
        let bytes = contents(file)?;
        Ok(Self::parse(&String::from_utf8_lossy(&bytes), &file.display().to_string(), warn))
    }

    fn parse(text: &str, file: &str, warn: &mut dyn FnMut(String)) -> Self {
        let (mut lines, mut doubts) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let source = format!("{file}:{number}");
            match Line::parse(line.trim(), &source) {
                Ok(line) => lines.extend(line),
                Err(fault) => {
                    warn(format!("{source}: this line is skipped: {}", escape(&fault)));
                    doubts.push(Doubt::of(line, source));
                }
            }
        }
        Self::index(lines, doubts)
    }

    fn index(lines: Vec<Line>, doubts: Vec<Doubt>) -> Self {
        let (mut plain, mut others) = (HashMap::<_, Vec<usize>>::new(), Vec::new());
        for (at, line) in lines.iter().enumerate() {
            match &line.names {
                HostPatterns::Patterns(names) if !names.iter().any(|name| name.contains(['*', '?', '!'])) => {
                    for name in names {
                        plain.entry(name.to_ascii_lowercase()).or_default().push(at);
                    }
                }
                _ => others.push(at),
            }
        }
        Self { lines, plain, others, doubts }
    }

    /// The lines about the server at `host` and `port`, in the order of the file.
    pub(crate) fn of<'a>(&'a self, host: &str, port: u16) -> impl Iterator<Item = Known<'a>> {
        let name = name_of(host, port);
        let others = self.others.iter().copied().filter(|at| matches(&self.lines[*at].names, &name));
        let mut found: Vec<_> = self.plain.get(&name).into_iter().flatten().copied().chain(others).collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|at| &self.lines[at]).map(|line| Known {
            source: &line.source,
            says: line.says,
            key: &line.key,
        })
    }

    /// The lines that cannot be read and may be about the server at `host` and `port`.
    pub(crate) fn doubts<'a>(&'a self, host: &str, port: u16) -> impl Iterator<Item = &'a Doubt> {
        let name = name_of(host, port);
        let about = move |doubt: &&Doubt| doubt.names.as_ref().is_none_or(|names| matches(names, &name));
        self.doubts.iter().filter(about)
    }
}

impl Doubt {
    fn of(line: &str, source: String) -> Self {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let names = words.next().and_then(|names| names.parse().ok());
        Self { source, revokes: marker == Some("@revoked"), names }
    }
}

impl Line {
    /// Nothing for blank lines and comments.
    fn parse(line: &str, source: &str) -> Result<Option<Self>, String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let entry: Entry = line
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .parse()
            .map_err(|error| format!("{error}"))?;
        Ok(Some(Self {
            source: source.to_owned(),
            says: match entry.marker() {
                None => Says::Known,
                Some(Marker::Revoked) => Says::Revoked,
                Some(Marker::CertAuthority) => Says::Authority,
            },
            names: entry.host_patterns().clone(),
            key: entry.public_key().to_bytes().map_err(|error| error.to_string())?,
        }))
    }
}

/// The bytes of `file`, none where it is not there. One that cannot be read whole is an error: what it may say of a server
/// is more than nothing.
fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(file) {
        Ok(from) => from.take(MAX_FILE + 1).read_to_end(&mut bytes)?,
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => 0,
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it is longer than {} MiB", MAX_FILE >> 20)));
    }
    Ok(bytes)
}

/// How known_hosts names a server: brackets and port where it is not 22.
pub(crate) fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

fn matches(names: &HostPatterns, name: &str) -> bool {
    match names {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let hits = |pattern: &str| wildcard(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes());
            let refused = patterns.iter().any(|pattern| pattern.strip_prefix('!').is_some_and(hits));
            !refused && patterns.iter().any(|pattern| !pattern.starts_with('!') && hits(pattern))
        }
    }
}

/// `*` stands for any number of characters, `?` for one. Linear in the product of the lengths, whatever the pattern.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, tried)) = star else { return false };
                star = Some((at, tried + 1));
                p = at + 1;
                t = tried + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// What became of a key that was to be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It was written at `file:line`.
    Written(String),
    /// It was there already.
    There(String),
    /// Something else is written there about that server, or what cannot be read.
    Other(String),
    /// The key is revoked.
    Revoked(String),
}

/// Adds the key of the server at `host` and `port` to the product's own file, unless that says something about it.
pub(crate) fn keep(file: &Path, (host, port): (&str, u16), key: &PublicKey) -> io::Result<Kept> {
    let blob = key.to_bytes().map_err(io::Error::other)?;
    let locked = Locked::open(file)?;
    let known =
        KnownHosts::parse(&String::from_utf8_lossy(&locked.text), &file.display().to_string(), &mut |_| {});
    let says = |line: &Known<'_>| match line.says {
        Says::Known if line.key == blob => Some(Kept::There(line.source.to_owned())),
        Says::Revoked if line.key == blob => Some(Kept::Revoked(line.source.to_owned())),
        Says::Revoked => None,
        Says::Known | Says::Authority => Some(Kept::Other(line.source.to_owned())),
    };
    // A server may have several keys; a revocation comes before them all.
    let rank = |kept: &Kept| match kept {
        Kept::Revoked(_) => 0,
        Kept::There(_) => 1,
        Kept::Other(_) | Kept::Written(_) => 2,
    };
    let unread = known.doubts(host, port).map(|doubt| Kept::Other(doubt.source.clone()));
    let said = known.of(host, port).filter_map(|line| says(&line)).chain(unread).min_by_key(rank);
    if let Some(said) = said {
        return Ok(said);
    }
    let number = locked.write(&[(name_of(host, port), key.clone())])?;
    Ok(Kept::Written(format!("{}:{number}", file.display())))
}

/// Adds lines to the product's own file, all or none.
pub(crate) fn append(file: &Path, keys: &[(String, PublicKey)]) -> io::Result<()> {
    Locked::open(file)?.write(keys).map(drop)
}

/// The product's own file, which nobody else writes meanwhile.
struct Locked<'a> {
    file: &'a Path,
    text: Vec<u8>,
    _lock: File,
}

impl<'a> Locked<'a> {
    fn open(file: &'a Path) -> io::Result<Self> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

        let directory = file.parent().unwrap_or(Path::new("."));
        // It is the state directory, which will hold the database and the master key.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // Two of these at once take turns.
        let lock = File::options().create(true).append(true).mode(0o600).open(beside(file, "lock"))?;
        lock.lock()?;
        Ok(Self { file, text: contents(file)?, _lock: lock })
    }

    /// Adds lines: written beside it and renamed. The number of the first one.
    fn write(mut self, keys: &[(String, PublicKey)]) -> io::Result<usize> {
        use std::os::unix::fs::OpenOptionsExt as _;

        let text = &mut self.text;
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let number = text.split(|byte| *byte == b'\n').count();
        for (name, key) in keys {
            let key = PublicKey::new(key.key_data().clone(), "").to_openssh().map_err(io::Error::other)?;
            writeln!(text, "{name} {}", key.trim_end())?;
        }
        let new = beside(self.file, "new");
        let mut to = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        to.write_all(text)?;
        to.sync_all()?;
        std::fs::rename(&new, self.file)?;
        File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(number)
    }
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn parse(text: &str) -> (KnownHosts, Vec<String>) {
        let mut warnings = Vec::new();
        let known = KnownHosts::parse(text, "kh", &mut |warning| warnings.push(warning));
        (known, warnings)
    }

    fn knows(names: &str, host: &str, port: u16) -> bool {
        let (known, warnings) = parse(&format!("{names} {ED} comment\n"));
        assert!(warnings.is_empty(), "{warnings:?}");
        known.of(host, port).count() == 1
    }

    #[test]
    fn names_match_as_in_openssh() {
        for (names, host, port, expected) in [
            ("web1", "web1", 22, true),
            ("WEB1", "web1", 22, true),
            ("web1", "Web1", 22, true),
            ("web1", "web2", 22, false),
            ("web1", "web1", 2222, false),
            ("[web1]:2222", "web1", 2222, true),
            ("[web1]:2222", "web1", 22, false),
            ("[::1]:2222", "::1", 2222, true),
            ("::1", "::1", 22, true),
            ("web1,10.0.0.1", "10.0.0.1", 22, true),
            ("*.example.org", "a.example.org", 22, true),
            ("*.example.org", "example.org", 22, false),
            ("web?", "web1", 22, true),
            ("web?", "web12", 22, false),
            ("*.example.org,!bad.example.org", "bad.example.org", 22, false),
            ("!bad.example.org,*.example.org", "good.example.org", 22, true),
            ("!bad", "good", 22, false),
            ("*", "anything", 22, true),
            ("*", "anything", 99, true),
            ("[*.example.org]:2222", "a.example.org", 2222, true),
        ] {
            assert_eq!(knows(names, host, port), expected, "{names} {host} {port}");
        }
    }

    #[test]
    fn lines_of_all_kinds_come_in_the_order_of_the_file() {
        let names = ["a,web1", "*", "WEB1", "b", "web1,web1", "web1,!web2"];
        let (known, _) = parse(&names.map(|names| format!("{names} {ED}\n")).concat());
        let sources = |host| known.of(host, 22).map(|line| line.source.to_owned()).collect::<Vec<_>>();
        assert_eq!(sources("web1"), ["kh:1", "kh:2", "kh:3", "kh:5", "kh:6"]);
        assert_eq!(sources("c"), ["kh:2"]);
    }

    #[test]
    fn many_stars_cost_no_time() {
        assert!(!wildcard(&b"*a".repeat(50), &[b'a'; 49]));
        assert!(wildcard(&b"*a".repeat(50), &[b'a'; 50]));
    }

    #[test]
    fn hashed_lines_of_the_real_ssh_keygen_match() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, format!("web1 {ED}\n[web2]:2222 {ED}\n")).unwrap();
        let hashed =
            std::process::Command::new("ssh-keygen").arg("-H").arg("-f").arg(&file).output().unwrap();
        assert!(hashed.status.success(), "{hashed:?}");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("web1"));
        let (known, warnings) = parse(&text);
        assert!(warnings.is_empty(), "{warnings:?}");
        let sources =
            |host, port| known.of(host, port).map(|line| line.source.to_owned()).collect::<Vec<_>>();
        assert_eq!(sources("web1", 22), ["kh:1"]);
        assert_eq!(sources("web2", 2222), ["kh:2"]);
        assert!(sources("web2", 22).is_empty() && sources("web1", 2222).is_empty());
    }

    #[test]
    fn a_bad_line_costs_only_itself() {
        let text = format!(
            "# comment\n\nweb1 ssh-ed25519 !!!\n@revoked web1 {ED}\n@cert-authority * {ED}\nweb1\t{ED}\n@what web1 {ED}\n"
        );
        let (known, warnings) = parse(&text);
        let lines: Vec<_> = known.of("web1", 22).map(|line| (line.source, line.says)).collect();
        assert_eq!(lines, [("kh:4", Says::Revoked), ("kh:5", Says::Authority), ("kh:6", Says::Known)]);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("kh:3: ") && warnings[1].starts_with("kh:7: "), "{warnings:?}");
    }

    #[test]
    fn a_bad_line_leaves_a_doubt_about_those_it_may_name() {
        for (line, host, doubts, revokes) in [
            ("web1 ssh-ed25519 !!!", "web1", true, false),
            ("web1 ssh-ed25519 !!!", "web2", false, false),
            ("@revoked web* ssh-ed25519 !!!", "web2", true, true),
            ("@revoked db* ssh-ed25519 !!!", "web2", false, false),
            ("  @revoked", "web2", true, true),
            ("|1|!!!|!!! ssh-ed25519 AAAA", "web1", true, false),
            ("nonsense", "web1", false, false),
        ] {
            let (known, _) = parse(&format!("{line}\n"));
            let found: Vec<_> = known.doubts(host, 22).map(|doubt| (&*doubt.source, doubt.revokes)).collect();
            assert_eq!(found, if doubts { vec![("kh:1", revokes)] } else { vec![] }, "{line} {host}");
        }
    }

    #[test]
    fn what_cannot_be_read_whole_is_no_empty_file() {
        let directory = tempfile::tempdir().unwrap();
        let read =
            |file: &Path| KnownHosts::read(file, &mut |_| {}).map(|known| known.of("web1", 22).count());
        let file = directory.path().join("known_hosts");
        assert_eq!(read(&file).unwrap(), 0, "there is none");
        std::fs::write(&file, format!("web1 {ED}\n")).unwrap();
        assert_eq!(read(&file).unwrap(), 1);
        assert_eq!(read(&file.join("known_hosts")).unwrap(), 0, "nor can there be one");
        File::options().write(true).open(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("longer than 16 MiB"));
        assert!(read(directory.path()).is_err(), "a directory");
    }

    #[test]
    fn what_is_appended_is_known_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state/known_hosts");
        let key = PublicKey::from_openssh(&format!("{ED} a comment")).unwrap();
        append(&file, &[("web1".to_owned(), key.clone())]).unwrap();
        append(&file, &[(name_of("::1", 2222), key)]).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("web1 {ED}\n[::1]:2222 {ED}\n"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_kept_is_kept_once_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known_hosts");
        let key = PublicKey::from_openssh(ED).unwrap();
        std::fs::write(&file, format!("@revoked bad {ED}\n@cert-authority *.ca {ED}")).unwrap();
        let at = |line: usize| format!("{}:{line}", file.display());
        assert_eq!(keep(&file, ("Web1", 22), &key).unwrap(), Kept::Written(at(3)));
        assert_eq!(keep(&file, ("web1", 22), &key).unwrap(), Kept::There(at(3)));
        assert_eq!(keep(&file, ("bad", 22), &key).unwrap(), Kept::Revoked(at(1)));
        assert_eq!(keep(&file, ("a.ca", 22), &key).unwrap(), Kept::Other(at(2)));
        let text = std::fs::read_to_string(&file).unwrap();
        let other = ED.replace("XFSqti", "XFSqta");
        std::fs::write(&file, format!("{text}web2 {other}\n")).unwrap();
        assert_eq!(keep(&file, ("web2", 22), &key).unwrap(), Kept::Other(at(4)));
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 4);
        std::fs::write(&file, "web1 ssh-ed25519 !!!\n").unwrap();
        assert_eq!(keep(&file, ("web1", 22), &key).unwrap(), Kept::Other(at(1)), "who knows what that said");
    }
}
