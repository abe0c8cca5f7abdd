//! `<template>`: alerts by name, and what they extend.

use std::collections::{BTreeMap, BTreeSet};

use crate::alert::{self, AlertPart};
use crate::fault::Wrong;
use crate::grammar;
use crate::nearest::nearest;
use crate::reading::{At, Reading};
use crate::source::Span;
use crate::tree::Element;
use crate::value;

/// The template that serves clients without rules.
pub(crate) const SHIPPED: &str = "linux";

/// So many templates may extend one another.
const DEPTH: usize = 32;
/// So many names are offered where one is not known.
const NAMED: usize = 20;

/// A `<template>` as written.
#[derive(Debug, Default)]
pub(crate) struct Template {
    pub(crate) extends: Option<At<String>>,
    pub(crate) alerts: Vec<AlertPart>,
}

/// The templates by name.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    by_name: BTreeMap<String, Template>,
    places: BTreeMap<String, Span>,
}

impl Templates {
    /// Reads a `<template>` and keeps it.
    pub(crate) fn read(&mut self, reading: &mut Reading<'_>, element: &Element<'_>) {
        let mut name = None;
        let mut template = Template::default();
        for attribute in grammar::known(&mut reading.sink, element) {
            let read = reading.take(attribute, value::plain_name);
            match attribute.name {
                "name" => name = read,
                _ => template.extends = read,
            }
        }
        for child in &element.children {
            if grammar::admits(&mut reading.sink, element, child) {
                template.alerts.extend(alert::read(reading, child));
            }
        }
        alert::bound(reading, element.at, &mut template.alerts);
        reading.missing(element, "name", "name=\"...\": what clients call it by");
        let Some(name) = name else { return };
        if let Some(first) = self.places.get(&name.value) {
            let line = reading.line(*first, name.span);
            let wrong = Wrong::new(format!("there is another template \"{}\" in {line}", name.value));
            reading.report(name.span, wrong.help("rename one of the two, or put their alerts into one"));
            return;
        }
        self.places.insert(name.value.clone(), name.span);
        self.by_name.insert(name.value, template);
    }

    /// Takes the shipped templates in, but for those that the file replaces.
    pub(crate) fn ship(&mut self, shipped: Self) {
        for (name, template) in shipped.by_name {
            self.by_name.entry(name).or_insert(template);
        }
    }

    /// Reports a name that no template has.
    pub(crate) fn check_name(&self, reading: &mut Reading<'_>, name: &At<String>) {
        if !self.by_name.contains_key(&name.value) {
            let names = || self.by_name.keys().map(String::as_str);
            let near = nearest(&name.value, names()).map(|near| format!("did you mean \"{near}\"?"));
            let wrong = Wrong::new(format!("there is no template {}", value::quoted(&name.value)));
            reading.report(
                name.span,
                wrong.expected(names().take(NAMED).collect::<Vec<_>>().join(", ")).maybe_help(near),
            );
        }
    }

    /// Reports what extends nothing, and what extends itself in the end: each cycle once.
    pub(crate) fn check(&self, reading: &mut Reading<'_>) {
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for (name, template) in &self.by_name {
            let Some(extends) = &template.extends else {
                continue;
            };
            self.check_name(reading, extends);
            let chain = self.names(name);
            if chain.len() > DEPTH {
                let wrong = Wrong::new(format!("more than {DEPTH} templates extend one another"));
                reading.report(extends.span, wrong.help("extend fewer, or remove the circle that they form"));
                continue;
            }
            let closes = |last: &str| {
                self.by_name
                    .get(last)
                    .and_then(|last| last.extends.as_ref())
                    .is_some_and(|next| next.value == *name)
            };
            if chain.last().is_some_and(|last| closes(last)) && !chain.iter().any(|name| told.contains(name))
            {
                told.extend(&chain);
                let path = chain.iter().chain([&name.as_str()]).copied().collect::<Vec<_>>().join(" -> ");
                let wrong = Wrong::new(format!("templates extend each other in a circle: {path}"));
                reading.report(extends.span, wrong.help("remove one `extends` of the circle"));
            }
        }
    }

    /// The names from `name` over what it extends, each once; no more than one beyond the bound.
    fn names<'t>(&'t self, name: &str) -> Vec<&'t str> {
        let mut names: Vec<&str> = Vec::new();
        let mut next = self.by_name.get_key_value(name);
        while let Some((name, template)) =
            next.filter(|(name, _)| names.len() <= DEPTH && !names.contains(&name.as_str()))
        {
            names.push(name);
            next = template.extends.as_ref().and_then(|extends| self.by_name.get_key_value(&extends.value));
        }
        names
    }

    /// The alerts of `name` by level, the lowest first: what is extended, then what extends.
    pub(crate) fn levels(&self, name: &str) -> Vec<&[AlertPart]> {
        self.names(name).into_iter().rev().map(|name| self.by_name[name].alerts.as_slice()).collect()
    }
}
