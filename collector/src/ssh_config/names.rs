//! The names that an ssh_config has.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The most bytes of one file that are looked through for names.
const MAX_FILE: u64 = 1024 * 1024;

/// How deep files may include each other, as with ssh.
const MAX_DEPTH: usize = 16;

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
