//! The grammar of config.xml: its elements, where they stand, and their attributes.

use crate::fault::{Sink, Wrong};
use crate::nearest::nearest;
use crate::tree::{Attribute, Element};

/// An element of config.xml.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The elements that may hold it.
    pub(crate) parents: &'static [&'static str],
    /// What it may say.
    pub(crate) attributes: &'static [&'static str],
    /// Whether an included file may hold it too.
    pub(crate) in_included: bool,
}

/// How an XML editor finds the schema (XML Schema Part 1, 2.6.3); they mean nothing here.
pub(crate) const EDITOR: &[&str] = &["xmlns:xsi", "xsi:noNamespaceSchemaLocation"];

const DEFAULTS: &[&str] = &[
    "port",
    "username",
    "password",
    "password-file",
    "password-command",
    "identity-file",
    "passphrase-file",
    "passphrase-command",
    "identity-agent",
    "host-key",
    "host-key-policy",
    "known-hosts",
    "proxy-jump",
    "proxy-command",
    "connection",
    "mode",
    "remote-dir",
    "timeout",
    "concurrency",
    "group",
    "template",
    "mail",
    "parent",
    "processes",
    "enabled",
];

const CLIENT: &[&str] = &[
    "name",
    "ip",
    "port",
    "username",
    "password",
    "password-file",
    "password-command",
    "identity-file",
    "passphrase-file",
    "passphrase-command",
    "identity-agent",
    "host-key",
    "host-key-policy",
    "known-hosts",
    "proxy-jump",
    "proxy-command",
    "connection",
    "mode",
    "remote-dir",
    "timeout",
    "group",
    "template",
    "mail",
    "parent",
    "processes",
    "enabled",
];

/// Every element, in the order of docs/config.md.
pub(crate) const KINDS: &[Kind] = &[
    Kind { name: "config", parents: &[], attributes: EDITOR, in_included: true },
    Kind {
        name: "storage",
        parents: &["config"],
        attributes: &[
            "url",
            "password-file",
            "password-command",
            "ca-file",
            "client-cert",
            "client-key",
            "lease",
            "state-dir",
            "keep-raw",
            "keep-history",
        ],
        in_included: false,
    },
    Kind {
        name: "schedule",
        parents: &["config"],
        attributes: &["collector-every", "alerter-every"],
        in_included: false,
    },
    Kind {
        name: "mail",
        parents: &["config"],
        attributes: &[
            "transport",
            "host",
            "port",
            "tls",
            "from",
            "username",
            "password",
            "password-file",
            "password-command",
            "ca-file",
            "path",
            "admin",
            "text-only",
            "repeat",
            "max-per-hour",
        ],
        in_included: false,
    },
    Kind { name: "defaults", parents: &["config"], attributes: DEFAULTS, in_included: false },
    Kind { name: "template", parents: &["config"], attributes: &["name", "extends"], in_included: true },
    Kind { name: "client", parents: &["config"], attributes: CLIENT, in_included: true },
    Kind {
        name: "alert",
        parents: &["defaults", "template", "client"],
        attributes: &[
            "type",
            "limit",
            "warning",
            "critical",
            "operator",
            "severity",
            "within",
            "min",
            "max",
            "match",
            "exclude",
            "free-below",
            "for",
            "samples",
            "aggregate",
            "clear",
            "keep-firing-for",
            "mail",
            "repeat",
            "escalate-after",
            "escalate-to",
            "mute",
            "note",
            "enabled",
        ],
        in_included: true,
    },
    Kind { name: "include", parents: &["config"], attributes: &["file"], in_included: true },
    Kind {
        name: "heartbeat",
        parents: &["config"],
        attributes: &["collector-url", "alerter-url"],
        in_included: false,
    },
    Kind {
        name: "receiver",
        parents: &["config"],
        attributes: &["mail", "time-zone", "min-severity", "repeat", "max-per-hour", "text-only"],
        in_included: true,
    },
    Kind {
        name: "window",
        parents: &["config"],
        attributes: &["name", "daily", "days", "from", "until", "time-zone"],
        in_included: true,
    },
];

/// The element of that name.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Whether the root may hold elements of that name.
pub(crate) fn is_of_root(name: &str) -> bool {
    kind(name).is_some_and(|kind| kind.parents.contains(&"config"))
}

/// Whether an included file may hold elements of that name.
pub(crate) fn is_in_included(name: &str) -> bool {
    kind(name).is_some_and(|kind| kind.in_included)
}

/// Whether `element` may stand in `parent`; reports it where not. Where end tags are missing, a known element in the
/// wrong place is a consequence of that, and not reported.
pub(crate) fn admits(sink: &mut Sink<'_>, parent: &Element<'_>, element: &Element<'_>) -> bool {
    let name = element.name;
    let Some(known) = kind(name) else {
        let here = KINDS.iter().filter(|kind| kind.parents.contains(&parent.name));
        let here: Vec<_> = here.map(|kind| kind.name).collect();
        let near = nearest(name, here.iter().copied()).map(|near| format!("did you mean <{near}>?"));
        let wrong = Wrong::new(format!("<{name}> is not known in <{}>", parent.name)).maybe_help(near);
        let nothing = || format!("nothing in <{}>", parent.name);
        let expected = if here.is_empty() { nothing() } else { format!("<{}>", here.join(">, <")) };
        sink.report(element.at, wrong.expected(expected));
        return false;
    };
    if known.parents.contains(&parent.name) {
        return true;
    }
    if !sink.is_unbalanced(element.at.file) {
        let wrong = Wrong::new(format!("<{name}> cannot stand in <{}>", parent.name));
        let places: Vec<_> = known.parents.iter().map(|parent| format!("<{parent}>")).collect();
        let help = if places.is_empty() {
            "it is the root: one per file".to_owned()
        } else {
            format!("it belongs into {}", places.join(", "))
        };
        sink.report(element.at, wrong.help(help));
    }
    false
}

/// Those attributes of `element` that are known; the others are reported.
pub(crate) fn known<'e, 'a>(sink: &mut Sink<'_>, element: &'e Element<'a>) -> Vec<&'e Attribute<'a>> {
    let Some(kind) = kind(element.name) else {
        return Vec::new();
    };
    let mut known = Vec::new();
    for attribute in &element.attributes {
        let name = attribute.name;
        if kind.attributes.contains(&name) {
            known.push(attribute);
        } else {
            sink.report(attribute.at, unknown_attribute(kind, name));
        }
    }
    known
}

fn unknown_attribute(kind: &Kind, name: &str) -> Wrong {
    let wrong =
        Wrong::new(format!("<{}> has no attribute `{}`", kind.name, model::text::escape_to(name, 40)));
    if let Some(near) = nearest(name, kind.attributes.iter().copied()) {
        return wrong.help(format!("did you mean `{near}`?"));
    }
    // An attribute in the wrong element is more often misplaced than misspelt.
    let elsewhere: Vec<_> =
        KINDS.iter().filter(|kind| kind.attributes.contains(&name)).map(|kind| kind.name).collect();
    if !elsewhere.is_empty() {
        return wrong.help(format!("it belongs into <{}>", elsewhere.join(">, <")));
    }
    let names = kind.attributes.join(", ");
    wrong.expected(if names.is_empty() { "no attribute at all".to_owned() } else { names })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DOCS: &str = include_str!("../../docs/config.md");

    /// (element, attribute) of every table row in docs/config.md.
    fn documented() -> BTreeSet<(String, String)> {
        let mut element = String::new();
        let mut documented = BTreeSet::new();
        for line in DOCS.lines() {
            if let Some(heading) = line.strip_prefix("### `<") {
                heading.trim_end_matches(">`").clone_into(&mut element);
            } else if line.starts_with('#') {
                element.clear();
            } else if let Some(row) = line.strip_prefix("| `").filter(|_| !element.is_empty()) {
                let (names, _) = row.split_once(" | ").expect("a table has cells");
                for name in names.split('`').filter(|name| !name.is_empty() && *name != ", ") {
                    documented.insert((element.clone(), name.to_owned()));
                }
            }
        }
        documented
    }

    #[test]
    fn docs_and_grammar_name_the_same_attributes() {
        let mut known = BTreeSet::new();
        for kind in KINDS {
            assert!(DOCS.contains(&format!("### `<{}>`", kind.name)), "{} is not documented", kind.name);
            known.extend(kind.attributes.iter().map(|name| (kind.name.to_owned(), (*name).to_owned())));
        }
        let documented = documented();
        assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
        assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    }

    #[test]
    fn docs_name_every_type_and_its_unit() {
        use model::Unit;
        for metric in model::metric::METRICS {
            let row = match metric.unit {
                Unit::Percent => "| percentages",
                Unit::Bytes => "| bytes:",
                Unit::BytesPerSecond => "| bytes per second",
                Unit::Seconds => "| spans of time",
                Unit::Celsius => "| degrees Celsius",
                Unit::PerSecond | Unit::Count => "| plain numbers",
                Unit::Flag => "| `yes` or `no`",
            };
            let row = DOCS.lines().find(|line| line.starts_with(row)).expect("a row for each unit");
            assert!(row.contains(&format!("`{}`", metric.name)), "{} is not in its row", metric.name);
        }
    }
}
