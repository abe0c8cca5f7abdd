//! What tells the series of one metric apart.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Labels of a series, such as `mount=/var`; sorted by key, so that equal labels are equal texts.
///
/// The text form is `key=value;key=value`, with `\` before `\`, `;` and `=` inside a key or a value. No labels is `""`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No labels.
    pub fn none() -> Self {
        Self::default()
    }

    /// One label.
    pub fn one(key: &str, value: &str) -> Self {
        [(key.to_owned(), value.to_owned())].into_iter().collect()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Key and value of each, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What a person calls the series, and what `match` and `exclude` of a rule look at: the values alone
    /// (`/var`, `eth0`), joined by a blank.
    pub fn object(&self) -> String {
        self.0.values().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        // One by one: `collect` would sort first, by code that takes room in every probe.
        let mut map = BTreeMap::new();
        map.extend(labels);
        Self(map)
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write as _;
    for c in text.chars() {
        if matches!(c, '\\' | ';' | '=') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(";")?;
            }
            escape(f, key)?;
            f.write_str("=")?;
            escape(f, value)?;
        }
        Ok(())
    }
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut labels = BTreeMap::new();
        if text.is_empty() {
            return Ok(Self(labels));
        }
        let fault = || format!("{text:?} is not key=value;key=value");
        let (mut key, mut part) = (None, String::new());
        let mut chars = text.chars();
        loop {
            match chars.next() {
                Some('\\') => part.push(chars.next().ok_or_else(fault)?),
                Some('=') if key.is_none() => key = Some(std::mem::take(&mut part)),
                Some('=') => return Err(fault()),
                end @ (Some(';') | None) => {
                    labels.insert(key.take().ok_or_else(fault)?, std::mem::take(&mut part));
                    if end.is_none() {
                        return Ok(Self(labels));
                    }
                }
                Some(c) => part.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_sorted_and_escaped() {
        let labels: Labels = [("type", "ext4"), ("mount", "/a;b=c\\d")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(labels.to_string(), r"mount=/a\;b\=c\\d;type=ext4");
        assert_eq!(labels.object(), r"/a;b=c\d ext4");
        assert_eq!(Labels::none().to_string(), "");
    }

    #[test]
    fn what_is_not_labels_is_refused() {
        for text in ["mount", "a=b=c", "a=b;", ";", "a=b\\"] {
            assert!(text.parse::<Labels>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(map in proptest::collection::btree_map(".*", ".*", 0..4)) {
            let labels = Labels(map);
            prop_assert_eq!(labels.to_string().parse::<Labels>(), Ok(labels));
        }
    }
}
