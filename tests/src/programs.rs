//! The programs under test, as cargo built them beside this test.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// `fleet-collector`
pub fn collector() -> PathBuf {
    built("fleet-collector")
}

/// `fleet-alerter`
pub fn alerter() -> PathBuf {
    built("fleet-alerter")
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// `target/release` or its like: where cargo put the test that runs (`target/release/deps/ssh-0123`).
fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    test.parent().and_then(Path::parent).expect("cargo puts tests into PROFILE/deps").to_owned()
}

/// The program `name`, which has to be there and no older than what it is made of.
fn built(name: &str) -> PathBuf {
    let directory = profile_dir();
    let release = if directory.ends_with("release") { " --release" } else { "" };
    let program = directory.join(name);
    match is_current(&program) {
        Ok(true) => program,
        Ok(false) => panic!("{} is older than its sources: cargo build{release} --locked", program.display()),
        Err(error) => panic!("{} cannot be used ({error}): cargo build{release} --locked", program.display()),
    }
}

/// Compares a program with the sources that cargo lists in `PROGRAM.d`.
fn is_current(program: &Path) -> std::io::Result<bool> {
    let made = modified(program)?;
    let rule = std::fs::read_to_string(program.with_extension("d"))?;
    Ok(sources(&rule).iter().all(|source| modified(source).is_ok_and(|changed| changed <= made)))
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    path.metadata()?.modified()
}

/// The paths after the colon of a make rule; a blank in a path is written `\ `.
fn sources(rule: &str) -> Vec<PathBuf> {
    let Some((_, list)) = rule.lines().next().unwrap_or_default().split_once(": ") else {
        return Vec::new();
    };
    list.replace("\\ ", "\0").split(' ').map(|path| PathBuf::from(path.replace('\0', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_a_make_rule() {
        let rule = "/t/release/x: /w/a.rs /w/my\\ dir/b.rs\n";
        assert_eq!(sources(rule), [PathBuf::from("/w/a.rs"), PathBuf::from("/w/my dir/b.rs")]);
    }

    #[test]
    fn a_program_older_than_a_source_is_not_current() {
        let dir = tempfile::tempdir().unwrap();
        let (program, source) = (dir.path().join("x"), dir.path().join("a.rs"));
        std::fs::write(&program, "").unwrap();
        std::fs::write(&source, "").unwrap();
        std::fs::write(dir.path().join("x.d"), format!("{}: {}\n", program.display(), source.display()))
            .unwrap();
        let old = SystemTime::UNIX_EPOCH;
        std::fs::File::open(&source).unwrap().set_modified(old).unwrap();
        assert!(is_current(&program).unwrap());
        std::fs::File::open(&program).unwrap().set_modified(old).unwrap();
        std::fs::File::open(&source).unwrap().set_modified(SystemTime::now()).unwrap();
        assert!(!is_current(&program).unwrap());
    }
}
