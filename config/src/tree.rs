//! The XML of a file as a tree whose every part knows where it stands. What XML forbids, and what a configuration has
//! no use for (DOCTYPE, entities, CDATA, text), is reported here; names and values are judged later.

use std::borrow::Cow;
use std::collections::HashSet;

use quick_xml::Reader;
use quick_xml::errors::IllFormedError;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesDecl, Event};

use crate::fault::{Sink, Wrong};
use crate::markup::{attribute_syntax, is_forbidden, misshapen, syntax, value};
use crate::nearest::nearest;
use crate::source::{FileId, Span};

/// No element stands deeper than this; the grammar needs 3.
const DEPTH: usize = 8;
/// An element has at most so many attributes; the grammar needs 30.
const ATTRIBUTES: usize = 100;
/// There are at most so many elements in all files together: 100,000 clients with ten alerts each.
const ELEMENTS: usize = 1_100_000;

/// An element with what it holds.
#[derive(Debug)]
pub(crate) struct Element<'a> {
    pub(crate) name: &'a str,
    /// Its name in the start tag.
    pub(crate) at: Span,
    /// Its whole start tag.
    pub(crate) tag: Span,
    pub(crate) attributes: Vec<Attribute<'a>>,
    pub(crate) children: Vec<Element<'a>>,
    /// Whether attributes may be missing because they could not be read.
    pub(crate) broken: bool,
}

impl Element<'_> {
    /// A `<config>` that stands nowhere, for elements that were meant to stand in one.
    pub(crate) fn root(file: FileId) -> Self {
        let nowhere = Span::new(file, 0, 0);
        Self {
            name: "config",
            at: nowhere,
            tag: nowhere,
            attributes: Vec::new(),
            children: Vec::new(),
            broken: true,
        }
    }
}

/// An attribute with its value as XML means it: references resolved, white space made blanks.
#[derive(Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: Span,
    pub(crate) value: Cow<'a, str>,
    pub(crate) value_at: Span,
}

/// Reads a file, of which the root element is returned; what is wrong goes to `sink`. `elements` counts those of all
/// files.
pub(crate) fn read<'a>(sink: &mut Sink<'a>, file: FileId, elements: &mut usize) -> Option<Element<'a>> {
    let text = sink.sources.get(file).text.as_str();
    if let Some((at, c)) = text.char_indices().find(|&(_, c)| is_forbidden(c)) {
        let wrong = Wrong::new(format!("the character U+{:04X} cannot stand in XML", u32::from(c)));
        sink.report(Span::new(file, at, at + c.len_utf8()), wrong.help("remove it"));
        return None;
    }
    let faults_before = sink.count();
    let mut builder = Builder { sink, file, text, open: Vec::new(), root: None, elements, faults_before };
    builder.read();
    builder.root
}

struct Builder<'s, 'a> {
    sink: &'s mut Sink<'a>,
    file: FileId,
    text: &'a str,
    open: Vec<Element<'a>>,
    root: Option<Element<'a>>,
    elements: &'s mut usize,
    faults_before: usize,
}

impl<'a> Builder<'_, 'a> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn report(&mut self, span: Span, wrong: Wrong) {
        self.sink.report(span, wrong);
    }

    /// Where `part`, a slice of the text, stands in it.
    fn position(&self, part: &str) -> Span {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        self.span(start, start + part.len())
    }

    fn read(&mut self) {
        let mut reader = Reader::from_str(self.text);
        let config = reader.config_mut();
        // End tags are matched here, for faults that name both places.
        config.check_end_names = false;
        config.allow_unmatched_ends = true;
        loop {
            let start = reader.buffer_position() as usize;
            let event = reader.read_event();
            let span = self.span(start, reader.buffer_position() as usize);
            match event {
                Ok(Event::Eof) => break,
                Ok(event) => {
                    if !self.event(&event, span) {
                        return;
                    }
                }
                Err(error) => {
                    let at = (reader.error_position() as usize).min(self.text.len());
                    self.report(self.span(at, at + 1), syntax(&error));
                    // Only a lone `&` lets the reader go on; and it must have gone on.
                    let goes_on =
                        matches!(&error, quick_xml::Error::IllFormed(IllFormedError::UnclosedReference));
                    if !goes_on || span.end <= start {
                        self.sink.unbalance(self.file);
                        while let Some(element) = self.open.pop() {
                            self.close(element);
                        }
                        return;
                    }
                }
            }
        }
        self.end_of_file();
    }

    /// Takes one event in; says whether to go on.
    fn event(&mut self, event: &Event<'_>, span: Span) -> bool {
        match event {
            Event::Start(tag) => return self.start(span, 1, tag.name().as_ref().len(), false),
            Event::Empty(tag) => return self.start(span, 2, tag.name().as_ref().len(), true),
            Event::End(tag) => self.end(tag.name().as_ref(), span),
            Event::Text(text) => self.text_event(text, span),
            Event::Decl(declaration) => self.declaration(declaration, span),
            Event::CData(_) | Event::GeneralRef(_) => self.text_fault(span),
            Event::DocType(_) => {
                let wrong =
                    Wrong::new("a DOCTYPE has no place in this file").help("remove it, with its entities");
                self.report(span, wrong);
            }
            Event::Comment(_) | Event::PI(_) | Event::Eof => {}
        }
        true
    }

    fn text_event(&mut self, text: &str, span: Span) {
        let inner = text.trim_matches([' ', '\t', '\r', '\n']);
        if !inner.is_empty() {
            let start = span.start + (text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len());
            self.text_fault(self.span(start, start + inner.lines().next().map_or(1, str::len)));
        }
    }

    fn text_fault(&mut self, span: Span) {
        let wrong = Wrong::new("text has no place here")
            .expected("elements and comments only: every setting is an attribute")
            .help("remove the text, or make it a comment: <!-- ... -->");
        self.report(span, wrong);
    }

    fn declaration(&mut self, declaration: &BytesDecl<'_>, span: Span) {
        if span.start > 0 {
            let wrong = Wrong::new("the XML declaration must be the first thing in the file");
            self.report(span, wrong.help("move it to the very beginning, or remove it"));
        }
        if declaration.version().map_or(true, |version| version != "1.0") {
            let wrong =
                Wrong::new("this is not XML 1.0").expected(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
            self.report(span, wrong);
        }
        let known = |name: &str| ["utf-8", "utf8", "us-ascii"].contains(&name.to_ascii_lowercase().as_str());
        if let Some(encoding) = declaration.encoding()
            && !encoding.is_ok_and(|name| known(&name))
        {
            let wrong = Wrong::new("the file is read as UTF-8, but it declares another encoding");
            self.report(span, wrong.help("save the file as UTF-8 and declare that, or nothing"));
        }
    }

    fn start(&mut self, span: Span, closing: usize, name_length: usize, empty: bool) -> bool {
        let inner = &self.text[span.start + 1..span.end - closing];
        let name = &inner[..name_length];
        let name_start = span.start + 1;
        let at = self.span(name_start, name_start + name.len().max(1));
        *self.elements += 1;
        if self.open.len() >= DEPTH || *self.elements > ELEMENTS {
            let wrong = if self.open.len() >= DEPTH {
                Wrong::new(format!("elements stand more than {DEPTH} deep in each other"))
            } else {
                Wrong::new(format!("there are more than {ELEMENTS} elements"))
            };
            self.report(at, wrong);
            return false;
        }
        if self.open.is_empty() && self.root.is_some() {
            let wrong = Wrong::new(format!("<{name}> stands behind the end of the file's one root element"));
            self.report(at, wrong.help("move it before </config>"));
        }
        let (attributes, broken) = self.attributes(inner, name_start, name_length);
        let element = Element { name, at, tag: span, attributes, children: Vec::new(), broken };
        if empty {
            self.close(element);
        } else {
            self.open.push(element);
        }
        true
    }

    fn attributes(
        &mut self,
        inner: &'a str,
        offset: usize,
        name_length: usize,
    ) -> (Vec<Attribute<'a>>, bool) {
        let mut read: Vec<Attribute<'a>> = Vec::new();
        let mut names = HashSet::new();
        let mut attributes = Attributes::new(inner, name_length);
        for (count, attribute) in attributes.with_checks(false).enumerate() {
            let (name, raw) = match attribute {
                Ok(attribute) => match attribute.value {
                    Cow::Borrowed(raw) => (attribute.key.0, raw),
                    Cow::Owned(_) => unreachable!("values of a borrowed text are borrowed"),
                },
                Err(error) => {
                    let (at, wrong) = attribute_syntax(&error);
                    let at = offset + at.min(inner.len());
                    self.report(self.span(at, at + 1), wrong);
                    return (read, true);
                }
            };
            let at = self.position(name);
            let value_at = self.position(raw);
            if let Some(wrong) = misshapen(self.text, at, name) {
                self.report(at, wrong);
                return (read, true);
            }
            if count == ATTRIBUTES {
                self.report(at, Wrong::new(format!("an element has at most {ATTRIBUTES} attributes")));
                return (read, true);
            }
            if !names.insert(name) {
                let wrong = Wrong::new(format!("the attribute `{name}` stands here twice"));
                self.report(at, wrong.help("keep one of the two"));
                continue;
            }
            match value(raw) {
                Ok(value) => read.push(Attribute { name, at, value, value_at }),
                Err((from, to, wrong)) => {
                    self.report(self.span(value_at.start + from, value_at.start + to), wrong);
                    // Present, so that nothing calls it missing; empty values are judged by nobody but their reader.
                    read.push(Attribute { name, at, value: Cow::Borrowed(raw), value_at });
                }
            }
        }
        (read, false)
    }

    fn end(&mut self, name: &str, span: Span) {
        let Some(matching) = self.open.iter().rposition(|element| element.name == name) else {
            let wrong = Wrong::new("this end tag ends nothing");
            let Some(open) = self.open.last().map(|element| element.name) else {
                self.report(span, wrong.help("remove it"));
                return;
            };
            self.report(span, wrong.expected(format!("</{open}>")));
            // A slip of the pen ends what it was meant to end; anything else leaves the places of what follows unclear.
            if nearest(name, [open]).is_some() {
                if let Some(element) = self.open.pop() {
                    self.close(element);
                }
            } else {
                self.sink.unbalance(self.file);
            }
            return;
        };
        while self.open.len() > matching {
            let Some(element) = self.open.pop() else { return };
            if self.open.len() > matching {
                self.unclosed(&element);
            }
            self.close(element);
        }
    }

    fn end_of_file(&mut self) {
        while let Some(element) = self.open.pop() {
            self.unclosed(&element);
            self.close(element);
        }
        if self.root.is_none() && self.sink.count() == self.faults_before {
            let wrong = Wrong::new("the file holds no element").expected("<config>...</config>");
            self.report(self.span(0, 0), wrong);
        }
    }

    fn unclosed(&mut self, element: &Element<'a>) {
        self.sink.unbalance(self.file);
        let name = element.name;
        let wrong = Wrong::new(format!("<{name}> is never ended")).help(format!(
            "end its tag by `/>` if it holds nothing, else write </{name}> behind what it holds"
        ));
        self.report(element.at, wrong);
    }

    fn close(&mut self, element: Element<'a>) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None if self.root.is_none() => self.root = Some(element),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, Sources};

    fn tree_of(text: &str, check: impl FnOnce(Option<&Element<'_>>, Option<crate::fault::Faults>)) {
        let sources = Sources::new(1);
        let source = Source::new("config.xml".into(), "config.xml".into(), text.to_owned().into(), 0o600);
        let file = sources.add(source).unwrap();
        let mut sink = Sink::new(&sources);
        let root = read(&mut sink, file, &mut 0);
        check(root.as_ref(), sink.finish());
    }

    #[test]
    fn parts_know_their_places() {
        let text = "<?xml version='1.0'?>\n<!-- c -->\n<config ><client ip = 'a'\n port=\"2\"/></config >\n";
        tree_of(text, |root, faults| {
            assert_eq!(faults, None);
            let client = &root.unwrap().children[0];
            let cut = |span: Span| &text[span.start..span.end];
            assert_eq!(cut(client.at), "client");
            assert_eq!(cut(client.tag), "<client ip = 'a'\n port=\"2\"/>");
            assert_eq!(cut(client.attributes[1].at), "port");
            assert_eq!(cut(client.attributes[1].value_at), "2");
        });
    }

    #[test]
    fn many_attributes_are_refused() {
        let many: String = (0..10_000).fold(String::new(), |text, n| text + &format!(" a{n}='1'"));
        tree_of(&format!("<config{many}/>"), |_, faults| {
            assert!(faults.unwrap().to_string().contains("at most 100 attributes"));
        });
    }

    #[test]
    fn depth_is_bounded() {
        tree_of(&"<a>".repeat(100_000), |_, faults| {
            assert!(faults.unwrap().to_string().contains("more than 8 deep"));
        });
    }
}
