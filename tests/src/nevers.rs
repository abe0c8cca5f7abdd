//! The checks of docs/architecture.md's nevers: functions from what they look at to the faults that they found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What each crate may use of the workspace.
pub const ARROWS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("envelope", &["model"]),
    ("config", &["model"]),
    ("storage", &["model"]),
    ("local-probe", &["model", "envelope"]),
    ("heartbeat", &[]),
    ("collector", &["config", "storage", "model", "envelope", "heartbeat"]),
    ("alerter", &["config", "storage", "model", "heartbeat"]),
    ("tests", &["config", "storage", "model", "envelope", "local-probe", "collector", "alerter"]),
];

/// What a crate may never link, however indirectly.
pub const NEVER_LINKED: [(&str, &[&str]); 6] = [
    ("alerter", &["ssh2", "libssh2-sys", "ssh-key", "envelope", "hpke", "local-probe"]),
    ("collector", &["lettre"]),
    (
        "local-probe",
        &[
            "rusqlite",
            "tokio-postgres",
            "ssh2",
            "libssh2-sys",
            "lettre",
            "tokio",
            "clap",
            "config",
            "storage",
        ],
    ),
    ("model", &["rustix", "rusqlite", "ssh2", "lettre", "log", "ring"]),
    ("config", &["rusqlite", "ssh2", "lettre", "ring"]),
    ("storage", &["ssh2", "lettre", "config", "envelope"]),
];

/// Who alone may depend on a crate directly.
pub const ONLY_THROUGH: [(&str, &str); 7] = [
    ("rusqlite", "storage"),
    ("tokio-postgres", "storage"),
    ("lettre", "alerter"),
    ("ureq", "heartbeat"),
    ("ssh2", "collector"),
    ("hpke", "envelope"),
    ("quick-xml", "config"),
];

/// How SQL begins.
pub const SQL: [&str; 8] = [
    "SELECT ",
    "INSERT INTO",
    "INSERT OR",
    "UPDATE ",
    "DELETE FROM",
    "CREATE TABLE",
    "PRAGMA ",
    "BEGIN IMMEDIATE",
];

/// What a pure decision does not name.
pub const IMPURE: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "Timestamp::now",
    "log::",
    "println!",
    "rand",
];

/// What the probe does not name: it opens no socket and starts no process.
pub const NOT_IN_THE_PROBE: [&str; 7] =
    ["std::net", "std::os::unix::net", "rustix::net", "process::Command", "Command::new", "fork(", "execve"];

/// Lines that a file may have.
pub const MAX_LINES: usize = 500;

/// Files that may be longer, each with the reason.
pub const LONGER: [(&str, &str); 0] = [];

/// What a check found; empty is good.
pub type Faults = Vec<String>;

/// Who depends on whom: name -> names, over normal and build dependencies; dev-dependencies are not linked.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("cargo metadata without {field}: {value}"))
}

/// The name of a package id.
fn names(metadata: &Value) -> BTreeMap<&str, &str> {
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(|package| (text(package, "id"), text(package, "name"))).collect()
}

/// Who depends on whom, from what `cargo metadata` says.
pub fn graph(metadata: &Value) -> Graph {
    let names = names(metadata);
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let mut graph = Graph::new();
    for node in nodes {
        let edges = graph.entry(names[text(node, "id")].to_owned()).or_default();
        for dependency in node["deps"].as_array().expect("deps") {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                edges.insert(names[text(dependency, "pkg")].to_owned());
            }
        }
    }
    graph
}

/// Everything that `from` links, however indirectly.
pub fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(name) = next.pop() {
        for dependency in graph.get(&name).into_iter().flatten() {
            if found.insert(dependency.clone()) {
                next.push(dependency.clone());
            }
        }
    }
    found
}

/// Crates of ours that use one that [`ARROWS`] does not give them.
pub fn forbidden_arrows(graph: &Graph) -> Faults {
    let crates: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut faults = Faults::new();
    for (name, dependencies) in graph.iter().filter(|(name, _)| crates.contains(name.as_str())) {
        for dependency in dependencies.iter().filter(|dependency| crates.contains(dependency.as_str())) {
            if !allowed[name.as_str()].contains(&dependency.as_str()) {
                faults.push(format!("{name} uses {dependency}"));
            }
        }
    }
    faults
}

/// Crates that link what [`NEVER_LINKED`] keeps from them.
pub fn linked_though_never(graph: &Graph) -> Faults {
    let mut faults = Faults::new();
    for (name, never) in NEVER_LINKED {
        let linked = reachable(graph, name);
        faults.extend(
            never
                .iter()
                .filter(|never| linked.contains(**never))
                .map(|never| format!("{name} links {never}")),
        );
    }
    faults
}

/// Crates of ours that use a driver past its wrapper ([`ONLY_THROUGH`]).
pub fn around_the_wrapper(graph: &Graph) -> Faults {
    let mut faults = Faults::new();
    for (name, dependencies) in graph {
        for (wrapped, only) in ONLY_THROUGH {
            let ours = ARROWS.iter().any(|(ours, _)| ours == name);
            if ours && name != only && dependencies.contains(wrapped) {
                faults.push(format!("{name} uses {wrapped}, which only {only} may"));
            }
        }
    }
    faults
}

/// `tree` is what `cargo tree -f "{p}|{f}"` prints of the probe alone: features are not united with the collector's.
pub fn features_of_envelope(tree: &str) -> Faults {
    let line = tree.lines().find(|line| line.starts_with("envelope ")).unwrap_or("envelope|is not there");
    let features: Vec<&str> = line.split_once('|').map_or("", |(_, features)| features).split(',').collect();
    if features == ["seal"] {
        Faults::new()
    } else {
        vec![format!("the probe builds envelope with {features:?}")]
    }
}

/// Every line of `files` (path, text) that names one of `words`, tests and comments left out.
pub fn naming(files: &[(String, String)], words: &[&str]) -> Faults {
    let mut faults = Faults::new();
    for (path, text) in files {
        for (number, line) in product_lines(text) {
            for word in words.iter().filter(|word| names_word(line, word)) {
                faults.push(format!("{path}:{number} names {word}: {}", line.trim()));
            }
        }
    }
    faults
}

/// Whether `line` has `word` where a name begins: `rand` is not in `operand`.
fn names_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_')
            && (!word.ends_with(char::is_alphanumeric)
                || !line[at + word.len()..]
                    .chars()
                    .next()
                    .is_some_and(|after| after.is_alphanumeric() || after == '_'))
    })
}

/// The lines above the unit tests that are no comments, with their numbers.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("mod tests"))
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Files above [`MAX_LINES`] that nobody argued for.
pub fn too_long(files: &[(String, String)]) -> Faults {
    let argued: BTreeSet<&str> = LONGER.iter().map(|(path, _)| *path).collect();
    let mut faults = Faults::new();
    for (path, text) in files {
        let lines = text.lines().count();
        if lines > MAX_LINES && !argued.contains(path.as_str()) {
            faults.push(format!("{path} has {lines} lines"));
        }
    }
    faults
}

/// Exit codes of model's `exit.rs` that `text` (README.md) does not have in a table's first column.
pub fn undocumented_exits(source: &str, text: &str) -> Faults {
    let codes = source.lines().filter_map(|line| line.trim().split_once(" = ")?.1.strip_suffix(','));
    codes
        .filter(|code| !text.contains(&format!("| {code} |")))
        .map(|code| format!("exit code {code}"))
        .collect()
}

/// Members of the workspace that do not take the lints of the root.
pub fn without_lints(manifests: &[(String, String)]) -> Faults {
    let takes = |text: &str| text.contains("[lints]\nworkspace = true");
    manifests
        .iter()
        .filter(|(_, text)| !takes(text))
        .map(|(path, _)| format!("{path} takes no lints"))
        .collect()
}

/// Each check finds a fault where there is one.
#[cfg(test)]
mod tests {
    use super::*;

    fn of(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }

    fn file(path: &str, text: &str) -> Vec<(String, String)> {
        vec![(path.to_owned(), text.to_owned())]
    }

    #[test]
    fn arrows() {
        assert_eq!(forbidden_arrows(&of(&[("storage", "model"), ("model", "serde")])), Faults::new());
        assert_eq!(forbidden_arrows(&of(&[("storage", "config")])), ["storage uses config"]);
    }

    #[test]
    fn links_at_a_distance() {
        let graph = of(&[("alerter", "storage"), ("storage", "some"), ("some", "ssh2")]);
        assert_eq!(linked_though_never(&graph), ["alerter links ssh2", "storage links ssh2"]);
    }

    #[test]
    fn wrappers() {
        assert_eq!(around_the_wrapper(&of(&[("storage", "rusqlite"), ("other", "lettre")])), Faults::new());
        let faults = around_the_wrapper(&of(&[("collector", "rusqlite")]));
        assert_eq!(faults, ["collector uses rusqlite, which only storage may"]);
    }

    #[test]
    fn features() {
        assert!(features_of_envelope("envelope v0.1.0 (/w/envelope)|seal\nserde v1|std").is_empty());
        assert!(!features_of_envelope("envelope v0.1.0 (/w/envelope)|default,open,seal").is_empty());
        assert!(!features_of_envelope("serde v1|std").is_empty());
    }

    #[test]
    fn words() {
        let text = "// std::fs is fine here\nlet operand = 1;\nuse std::fs;\nmod tests {\nuse std::env;\n";
        assert_eq!(naming(&file("a.rs", text), &IMPURE), ["a.rs:3 names std::fs: use std::fs;"]);
        assert_eq!(naming(&file("a.rs", "db.run(\"SELECT x\")"), &SQL).len(), 1);
        assert_eq!(naming(&file("a.rs", "Command::new(\"sh\")"), &NOT_IN_THE_PROBE).len(), 1);
    }

    #[test]
    fn lengths() {
        assert!(too_long(&file("a.rs", &"x\n".repeat(500))).is_empty());
        assert_eq!(too_long(&file("a.rs", &"x\n".repeat(501))), ["a.rs has 501 lines"]);
    }

    #[test]
    fn exits() {
        let source = "pub enum Exit {\n    Ok = 0,\n    Busy = 75,\n}";
        assert_eq!(undocumented_exits(source, "| 0 | ok |"), ["exit code 75"]);
        assert!(undocumented_exits(source, "| 0 | ok |\n| 75 | busy |").is_empty());
    }

    #[test]
    fn lints() {
        assert!(without_lints(&file("a/Cargo.toml", "[lints]\nworkspace = true\n")).is_empty());
        assert_eq!(without_lints(&file("a/Cargo.toml", "[package]\n")).len(), 1);
    }

    #[test]
    fn dev_dependencies_are_not_linked() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "alerter"}, {"id": "2", "name": "ssh2"}, {"id": "3", "name": "log"}],
            "resolve": {"nodes": [
                {"id": "1", "deps": [
                    {"pkg": "2", "dep_kinds": [{"kind": "dev"}]},
                    {"pkg": "3", "dep_kinds": [{"kind": null}]}]},
                {"id": "2", "deps": []}, {"id": "3", "deps": []}]}});
        assert_eq!(reachable(&graph(&metadata), "alerter"), BTreeSet::from(["log".to_owned()]));
    }
}
