//! config.xsd, docs/config.md and the grammar say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::environment::Environment;
use crate::fault::Sink;
use crate::grammar::{EDITOR, KINDS};
use crate::source::{Source, Sources};
use crate::tree::{self, Element};

const SCHEMA: &str = include_str!("../config.xsd");
const DOCS: &str = include_str!("../../docs/config.md");

fn with_schema(check: impl FnOnce(&Element<'_>)) {
    let sources = Sources::new(1);
    let source = Source::new("config.xsd".into(), String::new(), SCHEMA.to_owned().into(), 0o600);
    let file = sources.add(source).expect("room for one");
    let mut sink = Sink::new(&sources);
    let root = tree::read(&mut sink, file, &mut 0);
    assert_eq!(sink.finish(), None);
    check(&root.expect("a schema"));
}

fn attribute<'e>(element: &'e Element<'_>, name: &str) -> &'e str {
    element
        .attributes
        .iter()
        .find(|attribute| attribute.name == name)
        .map_or("", |attribute| &attribute.value)
}

/// The `xs:NAME`s in `element`, however deep.
fn all<'e, 'a>(element: &'e Element<'a>, name: &str) -> Vec<&'e Element<'a>> {
    let own = element.children.iter().filter(|child| child.name.strip_prefix("xs:") == Some(name));
    own.chain(element.children.iter().flat_map(|child| all(child, name))).collect()
}

/// What the schema says of every element of config.xml.
fn described<'e, 'a>(schema: &'e Element<'a>) -> BTreeMap<&'e str, &'e Element<'a>> {
    let described =
        schema.children.iter().filter(|child| ["xs:element", "xs:complexType"].contains(&child.name));
    described.map(|element| (attribute(element, "name"), element)).collect()
}

/// The values of every type that lists them.
fn enumerated(schema: &Element<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let types = all(schema, "simpleType").into_iter().map(|kind| {
        let values = all(kind, "enumeration").into_iter().map(|value| attribute(value, "value").to_owned());
        (attribute(kind, "name").to_owned(), values.collect())
    });
    types.filter(|(_, values): &(_, BTreeSet<_>)| !values.is_empty()).collect()
}

#[test]
fn schema_and_grammar_name_the_same() {
    with_schema(|schema| {
        let described = described(schema);
        let kinds: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(described.keys().copied().collect::<BTreeSet<_>>(), kinds);
        for kind in KINDS {
            let here = described[kind.name];
            let names: BTreeSet<_> = all(here, "attribute").iter().map(|at| attribute(at, "name")).collect();
            // Those that are there for editors belong to XML Schema itself.
            let known = kind.attributes.iter().copied().filter(|name| !EDITOR.contains(name)).collect();
            assert_eq!(names, known, "the attributes of <{}>", kind.name);
            let holds: BTreeSet<_> =
                all(here, "element").iter().map(|held| attribute(held, "name")).collect();
            let held = KINDS.iter().filter(|held| held.parents.contains(&kind.name)).map(|held| held.name);
            assert_eq!(holds, held.collect(), "what <{}> holds", kind.name);
        }
    });
}

/// What the parser expects where the attribute says something unheard of; `None` where it is not one of a few values.
fn expected(element: &str, attribute: &str) -> Option<BTreeSet<String>> {
    let inner = format!("<{element} {attribute}=\"qqqqqqqqqqqqqqqqqqqqqqqqq\"/>");
    let inner = if element == "alert" { format!("<client ip=\"a\">{inner}</client>") } else { inner };
    let text = format!("<config>{inner}</config>");
    let told = crate::parse(&text, Path::new("config.xml"), &Environment::default()).err()?.to_string();
    let fault = told.split("\n\n").find(|fault| {
        ["is not known here", "is not a type of alert"].iter().any(|cause| fault.contains(cause))
    })?;
    let expected = fault.split_once("= expected: ")?.1.lines().next()?;
    Some(expected.split(", ").map(str::to_owned).collect())
}

#[test]
fn schema_and_parser_know_the_same_values() {
    with_schema(|schema| {
        let enumerated = enumerated(schema);
        let mut compared = 0;
        for (element, described) in described(schema).into_iter().filter(|(element, _)| *element != "config")
        {
            for written in all(described, "attribute") {
                let (name, kind) = (attribute(written, "name"), attribute(written, "type"));
                // A list of days, of which each is one of seven.
                if kind == "days" {
                    continue;
                }
                assert_eq!(expected(element, name).as_ref(), enumerated.get(kind), "{name} of <{element}>");
                compared += usize::from(enumerated.contains_key(kind));
            }
        }
        assert!(compared > 15, "{compared}");
    });
}

#[test]
fn docs_name_every_value() {
    with_schema(|schema| {
        let enumerated = enumerated(schema);
        for (element, described) in described(schema) {
            let section = DOCS.split(&format!("### `<{element}>`")).nth(1).expect("a section");
            let section = section.split("\n##").next().unwrap_or_default();
            for written in all(described, "attribute") {
                let (name, kind) = (attribute(written, "name"), attribute(written, "type"));
                let row = section.lines().find(|row| {
                    row.split(" | ")
                        .next()
                        .is_some_and(|cell| cell.starts_with('|') && cell.contains(&format!("`{name}`")))
                });
                let row = row.unwrap_or_else(|| panic!("{name} of <{element}> has no row"));
                // The types of alerts have a table of their own, which is compared with the metrics.
                if kind == "alertType" || row.contains("as in `<") {
                    continue;
                }
                for value in enumerated.get(kind).into_iter().flatten() {
                    assert!(row.contains(&format!("`{value}`")), "{value} of {name} of <{element}>: {row}");
                }
            }
        }
    });
}
