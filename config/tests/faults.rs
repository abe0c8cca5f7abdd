//! A corpus of faulty files with the words that people get to read: `faults/NAME.xml`, or a directory `faults/NAME/` with a
//! config.xml, and `faults/NAME.txt`.
//! `UPDATE_GOLDEN=1 cargo test -p config --test faults` writes the texts anew; read them before you keep them.

use std::fs;
use std::path::{Path, PathBuf};

use config::Environment;

/// The files of a case, as they are named from its first one: `NAME.xml`, or the directory `NAME` with a config.xml.
type Case = (PathBuf, Vec<(PathBuf, String)>);

fn corpus() -> std::io::Result<Vec<Case>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut cases = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let mut files = Vec::new();
        if path.is_dir() {
            below(&path, Path::new(""), &mut files)?;
            files.sort_by_key(|(path, _)| (path.as_path() != Path::new("config.xml"), path.clone()));
        } else if path.extension().is_some_and(|extension| extension == "xml") {
            files.push((PathBuf::from("config.xml"), fs::read_to_string(&path)?));
        } else {
            continue;
        }
        cases.push((path.with_extension("txt"), files));
    }
    cases.sort();
    Ok(cases)
}

fn below(directory: &Path, name: &Path, files: &mut Vec<(PathBuf, String)>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        if path.is_dir() {
            below(&path, &name, files)?;
        } else {
            files.push((name, fs::read_to_string(path)?));
        }
    }
    Ok(())
}

fn environment() -> Environment {
    Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() }
}

#[test]
fn every_faulty_file_is_told_in_these_words() {
    let corpus = corpus().unwrap();
    assert!(corpus.len() >= 20, "the corpus is gone");
    let mut wrong = Vec::new();
    for (golden, files) in corpus {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_path(), text.as_str())).collect();
        let faults = config::parse_all(&files, &environment());
        let told = match faults {
            Ok(_) => "no fault\n".to_owned(),
            Err(faults) => format!("{faults}\n"),
        };
        assert!(!told.contains("hunter"), "{} shows a secret:\n{told}", golden.display());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_docs_show_a_real_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = fs::read_to_string(root.join("tests/faults/example-of-docs.txt")).unwrap();
    let docs = fs::read_to_string(root.join("../docs/config.md")).unwrap();
    assert!(docs.contains(&format!("```text\n{told}```")), "docs/config.md shows another text than:\n{told}");
}
