//! The names that an ssh_config has.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use model::text::escape;

/// The most bytes of one file that are looked through for names.
const MAX_FILE: u64 = 1024 * 1024;

/// How deep files may include each other, as with ssh.
const MAX_DEPTH: usize = 16;

/// The most files that one `Include` is followed to.
const MAX_INCLUDED: usize = 1000;

/// How glob(3) matches: as ssh does.
const LIKE_SSH: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The names after `Host` in `file` and what it includes, without patterns; in order, none twice. Only candidates: what
/// they mean is asked of ssh. With them, for people, what was to be included and is not there.
pub(crate) fn names(file: &Path, home: Option<&Path>) -> io::Result<(Vec<String>, Vec<String>)> {
    let mut search = Search { home, names: Vec::new(), remarks: Vec::new() };
    search.gather(file, 0)?;
    let mut seen = HashSet::new();
    search.names.retain(|name| seen.insert(name.clone()));
    Ok((search.names, search.remarks))
}

struct Search<'a> {
    home: Option<&'a Path>,
    names: Vec<String>,
    remarks: Vec<String>,
}

impl Search<'_> {
    fn gather(&mut self, file: &Path, depth: usize) -> io::Result<()> {
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
                "host" => {
                    let names = words.filter(|word| !word.contains(['*', '?', '!']));
                    self.names.extend(names.map(str::to_owned));
                }
                "include" if depth < MAX_DEPTH => words.for_each(|word| self.include(file, word, depth)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes through the files that an `Include` of `file` names; relative ones lie in `~/.ssh`, wherever the including
    /// file lies (ssh_config(5)). ssh passes over what it cannot read, too.
    fn include(&mut self, file: &Path, word: &str, depth: usize) {
        let path = match (word.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            (None, Some(home)) => home.join(".ssh").join(word),
            (_, None) => PathBuf::from(word),
        };
        let mut remark = |what: &str| {
            self.remarks.push(format!("{}: Include {}: {what}", file.display(), escape(word)));
        };
        let found = match glob::glob_with(&path.to_string_lossy(), LIKE_SSH) {
            Ok(paths) => paths.flatten().take(MAX_INCLUDED).collect::<Vec<_>>(),
            Err(error) => return remark(error.msg),
        };
        if found.is_empty() {
            remark("there is no such file");
        }
        for included in found {
            if let Err(error) = self.gather(&included, depth + 1) {
                self.remarks.push(format!("{}: {error}: passed over", included.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home with these files below its `.ssh`.
    fn home(files: &[(&str, &str)]) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = home.path().join(".ssh").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        home
    }

    #[test]
    fn names_are_gathered_from_included_files_without_patterns() {
        let home = home(&[
            ("config", "Include more*.conf\nHost a b *.x !c # d\n  HostName y\nHost=\"e\" a\n"),
            ("more1.conf", "host inner\nInclude config\n"),
            ("other", "Host other\n"),
        ]);
        let place = |name: &str| home.path().join(".ssh").join(name);
        let (found, remarks) = names(&place("config"), Some(home.path())).unwrap();
        assert_eq!((&*found.join(" "), &*remarks.join(" ")), ("inner a b e", ""));
        assert!(names(&place("absent"), Some(home.path())).is_err());
    }

    #[test]
    fn includes_are_found_where_ssh_finds_them() {
        let home = home(&[
            ("d/a1/hosts", "Host a1\nInclude d/nested\n"),
            ("d/a2/hosts", "Host a2\n"),
            ("d/b1/hosts", "Host b1\n"),
            ("d/nested", "Host nested\n"),
            (".hidden", "Host hidden\n"),
            ("work", "Host work\n"),
        ]);
        let main = home.path().join("elsewhere");
        std::fs::write(home.path().join("beside"), "Host beside\n").unwrap();
        std::fs::write(&main, "Include d/*/h?st* ~/.ssh/[a-w]ork *den beside\nInclude d/[b]1/*\n").unwrap();
        let (names, remarks) = names(&main, Some(home.path())).unwrap();
        assert_eq!(names, ["a1", "nested", "a2", "b1", "work"]);
        let at = main.display();
        let absent = |word: &str| format!("{at}: Include {word}: there is no such file");
        assert_eq!(remarks, [absent("*den"), absent("beside")]);
    }
}
