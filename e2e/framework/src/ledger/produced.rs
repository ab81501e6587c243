//! What was produced: every row of every message, and every line of the objects that were there before, with its origin.

use std::fmt;

use serde_json::value::RawValue;

use super::content::Content;
use crate::case::LedgerRules;
use crate::json;
use crate::observe::MessageId;
use crate::stack::Record;

/// Where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// A message, or an element of its list.
    Message { message: MessageId, index: Option<usize> },
    /// A line of an object that was there before the pipeline started, counted from 1.
    Line { object: String, line: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { message, index: Some(index) } => write!(f, "{message}, index {index} of its list"),
            Self::Message { message, index: None } => write!(f, "{message}, the whole message"),
            Self::Line { object, line } => write!(f, "object {object}, line {line}"),
        }
    }
}

/// A row that was produced.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub origin: Origin,
    pub content: Content,
}

/// Everything that was produced.
#[derive(Debug, Default)]
pub(crate) struct Produced {
    pub(super) rows: Vec<Row>,
    /// Every message with its value, also those that have no rows.
    pub(super) messages: Vec<(MessageId, Option<Vec<u8>>)>,
}

impl Produced {
    /// The rows of these messages, as the rules unroll them.
    pub(crate) fn of(records: Vec<Record>, rules: &LedgerRules) -> Self {
        let mut produced = Self::default();
        for record in records {
            let message = MessageId { topic: record.topic, partition: record.partition, offset: record.offset };
            for (index, content) in rows(record.value.as_deref(), rules) {
                let origin = Origin::Message { message: message.clone(), index };
                produced.rows.push(Row { origin, content });
            }
            produced.messages.push((message, record.value));
        }
        produced
    }

    /// Adds the lines of an object that was there before. A blank line is no row.
    pub(crate) fn add_lines(&mut self, object: &str, lines: &[String]) {
        let row = |(line, text): (usize, &String)| Row {
            origin: Origin::Line { object: object.to_owned(), line },
            content: Content::of_text(text),
        };
        self.rows.extend((1..).zip(lines).filter(|(_, text)| !text.trim().is_empty()).map(row));
    }
}

/// The rows of a message, each with its index in the list. A message that cannot be unrolled is one row as a whole.
fn rows(value: Option<&[u8]>, rules: &LedgerRules) -> Vec<(Option<usize>, Content)> {
    let Some(value) = value else { return vec![(None, Content::of_text("null"))] };
    let text = String::from_utf8_lossy(value);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let whole = || vec![(None, Content::of_text(text))];
    let Ok(message) = serde_json::from_str::<&RawValue>(text) else { return whole() };
    let Some(message) = inner(message, &rules.message) else { return whole() };
    unrolled(message, &rules.list).unwrap_or_else(|| vec![(None, Content::of_text(message.get()))])
}

/// The value at a path of names with dots between them; the value itself if there is no path.
fn inner<'a>(value: &'a RawValue, path: &str) -> Option<&'a RawValue> {
    let mut names = path.split('.').filter(|name| !name.is_empty());
    names.try_fold(value, |value, name| {
        let fields = json::fields(value.get().as_bytes())?;
        fields.into_iter().rev().find(|(field, _)| field == name).map(|(_, value)| value)
    })
}

/// The rows of a message that has the list: the elements, each with the fields of its envelope that it has not itself.
/// `None` if there is no such list.
fn unrolled(message: &RawValue, list: &str) -> Option<Vec<(Option<usize>, Content)>> {
    let elements: Vec<&RawValue> = match list {
        "" => return None,
        "$" => serde_json::from_str(message.get()).ok()?,
        path => serde_json::from_str(inner(message, path)?.get()).ok()?,
    };
    // What stands before the first object of a message that is a list belongs to its rows, as the fields `$0`, `$1`, ….
    let is_object = |element: &&RawValue| element.get().starts_with('{');
    let skipped = if list == "$" { elements.iter().position(is_object).unwrap_or(0) } else { 0 };
    let envelope = if list == "$" {
        let before = elements[..skipped].iter().enumerate();
        before.map(|(at, &value)| (format!("${at}"), value.to_owned())).collect()
    } else {
        without(message, list)?
    };
    let envelope: Vec<(String, &RawValue)> = envelope.iter().map(|(name, value)| (name.clone(), &**value)).collect();
    let row = |element: &RawValue| {
        let Some(own) = json::fields(element.get().as_bytes()) else { return Content::of_text(element.get()) };
        let is_own = |name: &String| own.iter().any(|(known, _)| known == name);
        let mut fields: Vec<_> = envelope.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
        fields.extend(own.iter().cloned());
        Content::of_fields(&fields, element.get().to_owned())
    };
    Some(elements.iter().enumerate().skip(skipped).map(|(at, element)| (Some(at), row(element))).collect())
}

/// The fields of an object without what is at a path.
fn without(object: &RawValue, path: &str) -> Option<Vec<(String, Box<RawValue>)>> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let mut kept = Vec::new();
    for (name, value) in json::fields(object.get().as_bytes())? {
        match rest {
            _ if name != first => kept.push((name, value.to_owned())),
            None => {}
            Some(rest) => {
                let fields = without(value, rest)?;
                let fields: Vec<String> =
                    fields.iter().map(|(name, value)| format!("{}:{value}", json::quoted(name))).collect();
                kept.push((name, RawValue::from_string(format!("{{{}}}", fields.join(","))).ok()?));
            }
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn produced(message: &str, list: &str, value: Option<&[u8]>) -> Vec<(Option<usize>, Content)> {
        rows(value, &LedgerRules { message: message.into(), list: list.into(), ..LedgerRules::default() })
    }

    fn same(value: &str, message: &str, list: &str, expected: &[(Option<usize>, &str)]) {
        let found = produced(message, list, Some(value.as_bytes()));
        let identities: Vec<_> = found.iter().map(|(index, content)| (*index, content.identity)).collect();
        let expected: Vec<_> = expected.iter().map(|(index, text)| (*index, Content::of_text(text).identity)).collect();
        assert_eq!(identities, expected, "{value}: {found:?}");
    }

    #[test]
    fn a_message_is_unrolled_by_its_list() {
        let expected = [(Some(0), r#"{"id":7,"a":1}"#), (Some(1), r#"{"id":8}"#), (Some(2), "3")];
        same(r#"{"id":7,"list":[{"a":1},{"id":8},3]}"#, "", "list", &expected);
        let expected = [(Some(0), r#"{"id":7,"data":{"t":5},"code":1}"#)];
        same(r#"{"id":7,"data":{"t":5,"dp":[{"code":1}]}}"#, "", "data.dp", &expected);
        same(r#"{"payload":{"after":{"id":1}}}"#, "payload.after", "", &[(None, r#"{"id":1}"#)]);
        same(r#"[2,"x",{"a":1}]"#, "", "$", &[(Some(2), r#"{"$0":2,"$1":"x","a":1}"#)]);
        same("[2,3]", "", "$", &[(Some(0), "2"), (Some(1), "3")]);
        same(r#"{"list":[]}"#, "", "list", &[]);
        same("\u{feff}{\"list\":[{}]}", "", "list", &[(Some(0), "{}")]);
    }

    #[test]
    fn a_message_that_cannot_be_unrolled_is_one_row() {
        for text in [r#"{"list":"#, r#"{"id":1}"#, r#"{"list":null}"#, r#"{"list":{"a":1}}"#, "7", ""] {
            same(text, "", "list", &[(None, text)]);
        }
        same(r#"{"payload":null}"#, "payload.after", "", &[(None, r#"{"payload":null}"#)]);
        assert_eq!(produced("", "list", None)[0].1.text, "null");
        assert_eq!(produced("", "list", Some(b"\xff\xfe"))[0].0, None);
    }

    #[test]
    fn half_of_a_surrogate_pair_and_any_depth_are_no_obstacle() {
        let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
        let value = format!(r#"{{"list":[{{"a":"\ud800"}},{{"b":{deep}}}]}}"#);
        let found = produced("", "list", Some(value.as_bytes()));
        assert_eq!(found.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [Some(0), Some(1)]);
    }
}
