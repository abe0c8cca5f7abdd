//! config.xsd against files: every example that is shipped fits, and of the faulty ones all but those whose faults XML
//! Schema 1.0 cannot express.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Faulty files that fit all the same, and why.
const FITTING: [(&str, &str); 8] = [
    ("local.xml", "which attributes go with connection=\"local\""),
    ("mail.xml", "which attributes go with a transport"),
    ("storage-twice.xml", "what two attributes, or a URL and an attribute, say together"),
    ("names.xml", "names that differ in case only, and those that follow from addresses"),
    ("circle/config.xml", "what lies in other files"),
    ("circle/other.xml", "what lies in other files"),
    ("circle/third.xml", "what lies in other files"),
    ("included/clients/db.xml", "whether a file is an included one"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Those of `files` that fit, by xmllint.
fn fitting(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let output = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(root().join("config.xsd"))
        .args(files)
        .output()
        .expect("xmllint is missing: apt-get install -y --no-install-recommends libxml2-utils");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("failed to compile"), "{told}");
    let valid = told.lines().filter_map(|line| line.strip_suffix(" validates")).map(PathBuf::from).collect();
    // Shown where the test fails.
    println!("{told}");
    valid
}

/// The examples in a page: whole files, and elements of one.
fn examples(page: &str) -> Vec<String> {
    let blocks = page.split("```xml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    // What stands for a secret or a key is none.
    let blocks = blocks.map(|block| block.replace("SHA256:...", "SHA256:x"));
    blocks
        .map(|block| if block.contains("<config") { block } else { format!("<config>{block}</config>") })
        .collect()
}

#[test]
fn what_is_shipped_fits() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = vec![root().join("../config.xml"), root().join("src/linux.xml")];
    for page in ["../README.md", "../docs/config.md"] {
        for text in examples(&fs::read_to_string(root().join(page)).unwrap()) {
            let path = directory.path().join(format!("{}.xml", files.len()));
            fs::write(&path, text).unwrap();
            files.push(path);
        }
    }
    // The parts of the example that are commented out.
    let example = fs::read_to_string(root().join("../config.xml")).unwrap();
    let comments = example.split("<!--").skip(1).filter_map(|rest| {
        let comment = rest.split("-->").next()?;
        comment.find("\n  <").map(|at| comment[at..].replace("SHA256:...", "SHA256:x"))
    });
    let path = directory.path().join("comments.xml");
    fs::write(&path, format!("<config>{}</config>", comments.collect::<String>())).unwrap();
    files.push(path);
    assert!(files.len() >= 7, "the examples are gone: {files:?}");
    assert_eq!(fitting(&files), files.iter().cloned().collect());
}

#[test]
fn what_is_faulty_does_not() {
    let directory = root().join("tests/faults");
    let mut files = Vec::new();
    let mut directories = vec![directory.clone()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "xml") {
                files.push(path);
            }
        }
    }
    assert!(files.len() >= 30, "the corpus is gone");
    let expected: BTreeSet<_> = FITTING.iter().map(|(name, _)| directory.join(name)).collect();
    assert_eq!(fitting(&files), expected);
}
