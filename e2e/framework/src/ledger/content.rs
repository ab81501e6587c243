//! What a row says, in a form that stays the same on its way through a pipeline.
//!
//! Pipelines add fields to rows, such as keys; they normalize numbers; and a typed column holds the text `"12.5"` as the
//! number 12.5, a time as an instant, and a null as nothing. So two values are the same here if they are the same
//! number, the same instant or the same text. Of names, only letters and digits count, without their case, because
//! catalogs know no others. Nulls, and lists and objects without anything else, are as good as absent.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use serde_json::value::RawValue;

use crate::json;

/// How deep values are read. What is nested deeper is compared as text.
const DEEPEST: usize = 64;

/// A row, as far as it can be recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// Its text, or that of its fields, for people.
    pub text: String,
    /// Equal only for rows that have the same fields with the same texts, in any order. Entries have none, because only
    /// rows that were produced are merged.
    pub identity: Option<u64>,
    /// Its fields, each as the digests of its name and its value, sorted. What is no JSON object has one field without
    /// a name.
    fields: Vec<(u64, u64)>,
}

impl Content {
    /// The content of a row that is a text, such as a line of an object.
    pub(super) fn of_text(text: &str) -> Self {
        match json::fields(text.as_bytes()) {
            Some(fields) => Self::of_fields(&fields, text.to_owned()),
            None => Self { identity: Some(digest(&text.trim())), ..Self::of_entry(text) },
        }
    }

    /// The content of something that is stored.
    pub(super) fn of_entry(text: &str) -> Self {
        let fields = match json::fields(text.as_bytes()) {
            Some(fields) => digests(&folded(&fields, 0)),
            None => vec![(digest(&""), digest(&without_structure(text.trim())))],
        };
        Self { text: text.to_owned(), identity: None, fields }
    }

    /// The content of a row with these fields. If a name is there twice, its last value counts.
    pub(super) fn of_fields(fields: &[(String, &RawValue)], text: String) -> Self {
        let mut identity: Vec<(&str, String)> =
            fields.iter().map(|(name, value)| (name.as_str(), compact(value.get()))).collect();
        identity.sort();
        Self { text, identity: Some(digest(&identity)), fields: digests(&folded(fields, 0)) }
    }

    /// The names of its fields.
    pub(super) fn shape(&self) -> Vec<u64> {
        self.fields.iter().map(|(name, _)| *name).collect()
    }

    /// A digest of the fields of these names; `None` if it lacks one of them.
    pub(super) fn projection(&self, shape: &[u64]) -> Option<u64> {
        let value = |name: &u64| {
            let at = self.fields.binary_search_by_key(name, |(name, _)| *name).ok()?;
            Some(self.fields[at].1)
        };
        shape.iter().map(value).collect::<Option<Vec<_>>>().map(|values| digest(&values))
    }

    /// The number of its fields.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// How much two contents have in common: two points for a field with the same value, one for a value that has
    /// another name.
    pub(super) fn likeness(&self, other: &Self) -> usize {
        let point = |field: &(u64, u64)| {
            if other.fields.binary_search(field).is_ok() {
                2
            } else {
                usize::from(other.fields.iter().any(|(_, value)| *value == field.1))
            }
        };
        self.fields.iter().map(point).sum()
    }
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn digests(fields: &[(String, String)]) -> Vec<(u64, u64)> {
    let mut digests: Vec<_> = fields.iter().map(|(name, value)| (digest(name), digest(value))).collect();
    digests.sort_unstable();
    digests
}

/// The fields with their folded names, sorted, without those that are as good as absent.
fn folded(fields: &[(String, &RawValue)], depth: usize) -> Vec<(String, String)> {
    let mut folded: Vec<(String, String)> = Vec::with_capacity(fields.len());
    let mut later = HashSet::with_capacity(fields.len());
    for (name, value) in fields.iter().rev() {
        let is_last = later.insert(name);
        if let Some(value) = is_last.then(|| loose(value.get(), depth + 1)).flatten() {
            folded.push((fold(name), value));
        }
    }
    folded.sort();
    folded
}

fn fold(name: &str) -> String {
    let is_folded = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.bytes().all(is_folded) {
        return name.to_owned();
    }
    let character = |c: char| if c.is_alphanumeric() { c } else { '_' };
    name.chars().map(character).flat_map(char::to_lowercase).collect()
}

/// A JSON value in the form that is compared; `None` if it is as good as absent.
fn loose(json: &str, depth: usize) -> Option<String> {
    let text = json.trim();
    match text.as_bytes().first()? {
        _ if depth > DEEPEST => Some(compact(text)),
        b'n' => None,
        b'"' => Some(serde_json::from_str(text).map_or_else(|_| text.to_owned(), |text: String| scalar(&text))),
        b'{' => {
            let fields = folded(&json::fields(text.as_bytes())?, depth);
            (!fields.is_empty()).then(|| format!("object {:016x}", digest(&fields)))
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let elements: Vec<_> = elements.iter().map(|element| loose(element.get(), depth + 1)).collect();
            elements.iter().any(Option::is_some).then(|| format!("list {:016x}", digest(&elements)))
        }
        _ => Some(scalar(text)),
    }
}

/// What is no object in the form that is compared.
fn without_structure(text: &str) -> String {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    is_json.then(|| loose(text, 0)).flatten().unwrap_or_else(|| text.to_owned())
}

/// A text or a number by what it means: an instant in milliseconds, a number, or itself.
fn scalar(text: &str) -> String {
    if let Ok(integer) = text.parse::<i128>() {
        return integer.to_string();
    }
    let begins = text.as_bytes().first().is_some_and(|c| c.is_ascii_digit() || b"-+.".contains(c));
    if let (true, Ok(number)) = (begins, text.parse::<f64>())
        && number.is_finite()
    {
        return format!("{number}");
    }
    // The shortest such text is `2024-09-07T16:55:00Z`. What is shorter costs no attempt.
    if let (true, 20..=40, Ok(time)) = (begins, text.len(), text.parse::<jiff::Timestamp>()) {
        return format!("instant {}", time.as_millisecond());
    }
    text.to_owned()
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    let keep = |c: &char| {
        let keeps = is_text || !c.is_ascii_whitespace();
        if is_text && !is_escaped && *c == '\\' {
            is_escaped = true;
        } else {
            is_text ^= *c == '"' && !is_escaped;
            is_escaped = false;
        }
        keeps
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the second text has every field of the first one, as an entry has those of its row.
    fn is_in(row: &str, entry: &str) -> bool {
        let (row, entry) = (Content::of_text(row), Content::of_text(entry));
        row.projection(&row.shape()) == entry.projection(&row.shape())
    }

    #[test]
    fn a_row_is_recognized_whatever_is_added_and_retyped() {
        for (row, entry) in [
            (r#"{"a":1.50,"b":"x"}"#, r#"{"pk":"x","b":"x","a":1.5}"#),
            (r#"{"at":"2024-09-07T16:55:00.000+09:00"}"#, r#"{"at":"2024-09-07T07:55:00.000Z","at__raw":"…"}"#),
            (r#"{"Speed km/h":"12.5","gone":null,"none":{"a":[null]}}"#, r#"{"speed_km_h":12.5}"#),
            (r#"{"ok":"true","n":7.0,"id":1e2}"#, r#"{"ok":true,"n":"7","id":100}"#),
            (r#"{"s":{"b":1,"A":[1.0,{"c":null}]}}"#, r#"{"s":{"a":[1,null],"b":1}}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("not json", "not json"),
            (r#""text""#, "text"),
        ] {
            assert!(is_in(row, entry), "{row} is in {entry}");
        }
    }

    #[test]
    fn what_is_nested_deeply_is_read_in_no_time() {
        let nested = |depth: usize| format!(r#"{{"a":{}[]{}}}"#, r#"{"a":[1,"#.repeat(depth), "]}".repeat(depth));
        for depth in [20, 1_000] {
            assert!(is_in(&nested(depth), &nested(depth)));
            assert!(!is_in(&nested(depth), &nested(depth - 1)));
        }
    }

    #[test]
    fn other_values_are_another_row() {
        for (row, entry) in [
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#),
            ("one", r#"{"id":"one"}"#),
        ] {
            assert!(!is_in(row, entry), "{row} is not in {entry}");
        }
        assert_eq!(Content::of_text("one").likeness(&Content::of_text(r#"{"id":"one","n":3}"#)), 1);
    }

    #[test]
    fn identity_is_that_of_the_texts_in_any_order() {
        let identity = |text: &str| Content::of_text(text).identity;
        assert_eq!(identity(r#"{"a":[1, "x y"],"b":2}"#), identity(r#"{"b":2,"a":[1,"x y"]}"#));
        assert_ne!(identity(r#"{"a":1.0}"#), identity(r#"{"a":1}"#));
        assert_ne!(identity(r#"{"a":"x y"}"#), identity(r#"{"a":"xy"}"#));
    }
}
