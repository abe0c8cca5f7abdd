//! A corpus of faulty files with the words that people get to read: `faults/NAME.xml` and `faults/NAME.txt`.
//! `UPDATE_GOLDEN=1 cargo test -p config --test faults` writes the texts anew; read them before you keep them.

use std::fs;
use std::path::{Path, PathBuf};

use config::Environment;

fn corpus() -> std::io::Result<Vec<PathBuf>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "xml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn environment() -> Environment {
    Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() }
}

#[test]
fn every_faulty_file_is_told_in_these_words() {
    let corpus = corpus().unwrap();
    assert!(corpus.len() >= 20, "the corpus is gone");
    let mut wrong = Vec::new();
    for path in corpus {
        let text = fs::read_to_string(&path).unwrap();
        let faults = config::parse(&text, Path::new("config.xml"), &environment());
        let told = match faults {
            Ok(_) => "no fault\n".to_owned(),
            Err(faults) => format!("{faults}\n"),
        };
        assert!(!told.contains("hunter"), "{} shows a secret:\n{told}", path.display());
        let golden = path.with_extension("txt");
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
