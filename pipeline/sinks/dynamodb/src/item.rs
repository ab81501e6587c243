//! A row's JSON text as the attributes of an item: numbers digit for digit, and what no item can be is refused with its reason.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;
use fms_record::json::{self, Event, Events};

use crate::number::{self, NumberError};

/// The largest item in bytes, names and values together.
pub const ITEM_BYTES: usize = 400 * 1024;

/// The longest attribute name in bytes.
const NAME_BYTES: usize = 64 * 1024 - 1;

/// How deep values may be, an attribute's own value being the first level. Since the row's own object is open around all of them,
/// this is also how many may be open around a value.
const LEVELS: usize = 32;

/// Why a row cannot be an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// A problem inside of one field.
    #[error("field `{field}`: {problem}")]
    Field {
        /// The row's field.
        field: String,
        /// What is wrong in it.
        problem: Problem,
    },
    /// A problem of the row as a whole.
    #[error("{0}")]
    Row(Problem),
    /// Over [`ITEM_BYTES`].
    #[error(
        "the item has {bytes} bytes (names and values), DynamoDB stores at most {ITEM_BYTES}; the largest field, `{largest}`, is {largest_bytes} bytes of JSON"
    )]
    TooLarge {
        /// Bytes of the item.
        bytes: usize,
        /// Its largest field.
        largest: String,
        /// Bytes of that one's JSON text.
        largest_bytes: usize,
    },
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The row is not JSON.
    #[error("not valid JSON at byte {at} of the row: expected {expected}")]
    InvalidJson {
        /// The byte of the row's text at which it stops being JSON.
        at: usize,
        /// What would have been right there.
        expected: &'static str,
    },
    /// A string is not Unicode text.
    #[error(
        "a string has half of a surrogate pair (\\u{unit:04x}) at byte {at} of the row, which is no character and cannot be stored"
    )]
    LoneSurrogate {
        /// The byte of the row's text at which the escape begins.
        at: usize,
        /// The half that is there.
        unit: u16,
    },
    /// A value is inside of too many lists and objects.
    #[error(
        "lists and objects are nested more than {limit} levels deep, which is DynamoDB's limit: flatten the value, or send it as a string"
    )]
    TooDeep {
        /// DynamoDB's limit.
        limit: usize,
    },
    /// Cannot be held.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// An object has a field twice.
    #[error(
        "{} has the field `{name}` twice, at bytes {first} and {second} of the row, of which DynamoDB can store only one",
        if path.is_empty() { "the row".into() } else { format!("the object `{path}`") }
    )]
    Twice {
        /// Names and indexes (from 0) that lead from the row to the object, such as `imu.samples[2]`; empty for the row itself.
        path: String,
        /// The field.
        name: String,
        /// Byte of the row's text at which the first begins.
        first: usize,
        /// Byte of the row's text at which the second begins.
        second: usize,
    },
    /// An object has a field without a name.
    #[error("an object has a field with an empty name, which DynamoDB does not store")]
    EmptyName,
    /// An object has a field with too long a name.
    #[error("an object has a field name of {0} bytes, DynamoDB stores at most {NAME_BYTES}")]
    LongName(usize),
    /// Not an object.
    #[error("a row has to be a JSON object")]
    NoObject,
}

impl From<json::Error> for Problem {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::Syntax { at, expected } => Self::InvalidJson { at, expected },
            json::Error::LoneSurrogate { at, unit } => Self::LoneSurrogate { at, unit },
            json::Error::Depth { limit } => Self::TooDeep { limit },
        }
    }
}

impl ItemError {
    /// The cause's name, as a dead letter names it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Field { problem, .. } | Self::Row(problem) => problem.class(),
            Self::TooLarge { .. } => "ItemTooLarge",
        }
    }
}

impl Problem {
    fn class(&self) -> &'static str {
        match self {
            Self::InvalidJson { .. } => "InvalidJson",
            Self::LoneSurrogate { .. } => "LoneSurrogate",
            Self::TooDeep { .. } => "NestedTooDeep",
            Self::Number(error) => error.class(),
            Self::Twice { .. } => "DuplicateField",
            Self::EmptyName => "EmptyFieldName",
            Self::LongName(_) => "FieldNameTooLong",
            Self::NoObject => "NotAnObject",
        }
    }

    fn within(self, field: Option<&Cow<'_, str>>) -> ItemError {
        match field {
            Some(field) => ItemError::Field { field: field.to_string(), problem: self },
            None => ItemError::Row(self),
        }
    }
}

/// The names of an object that is open. A few are compared one by one, and only where length and last byte have been seen.
#[derive(Default)]
struct Names<'t> {
    seen: [u64; 4],
    few: Vec<Cow<'t, str>>,
    many: HashSet<Cow<'t, str>>,
}

impl<'t> Names<'t> {
    const FEW: usize = 32;

    /// Whether it is a new one.
    fn insert(&mut self, name: Cow<'t, str>) -> bool {
        if self.many.is_empty() {
            let last = name.as_bytes().last().copied().unwrap_or(0);
            let mark = usize::from(last ^ name.len().to_le_bytes()[0].rotate_left(3));
            let (word, bit) = (mark >> 6, 1 << (mark & 63));
            if self.seen[word] & bit != 0 && self.few.contains(&name) {
                return false;
            }
            self.seen[word] |= bit;
            if self.few.len() < Self::FEW {
                self.few.push(name);
                return true;
            }
            self.many.extend(self.few.drain(..));
        }
        self.many.insert(name)
    }
}

/// Appends the item of the row of this text in DynamoDB's JSON, as it is sent, and after the row's own the attributes of `key` that it does
/// not have. Gives its bytes by DynamoDB's rules: names and values, with the overhead of lists and objects; `key_bytes` is what the key
/// adds to them.
///
/// Checks everything that can be known about the row. Strings, and numbers other than zero, are copied as they stand in the row: both are the
/// same in either JSON. After an error, what was appended is of no use.
pub fn write_item<'k>(
    text: &str,
    key_bytes: usize,
    key: impl Iterator<Item = (&'k str, AttributeValue)>,
    out: &mut Vec<u8>,
) -> Result<usize, ItemError> {
    let mut absent: Vec<_> = key.collect();
    let mut size = key_bytes;
    // The names of each object that is open; those of a list stay empty.
    let mut open: Vec<Names<'_>> = Vec::new();
    let mut field = None;
    let mut events = Events::new(text, LEVELS);
    while let Some(event) = events.next() {
        let event = event.map_err(|e| Problem::from(e).within(field.as_ref()))?;
        let source = &text.as_bytes()[events.start()..events.position()];
        // An element of a list, or of an object below the row's own, takes one byte more.
        let overhead = usize::from(open.len() > 1);
        let Some(names) = open.last_mut() else {
            // After its end there is nothing more.
            if event != Event::ObjectStart {
                return Err(ItemError::Row(Problem::NoObject));
            }
            open.push(Names::default());
            out.push(b'{');
            continue;
        };
        if !matches!(event, Event::ObjectEnd | Event::ArrayEnd) && !matches!(out.last(), Some(b'{' | b'[' | b':')) {
            out.push(b',');
        }
        let bytes = match event {
            Event::Name(name) => {
                if overhead == 0 {
                    field = Some(name.clone());
                    absent.retain(|(absent, _)| *absent != name);
                }
                let bytes = match name.len() {
                    0 => Err(Problem::EmptyName),
                    bytes @ 1..=NAME_BYTES if names.insert(name) => Ok(bytes),
                    1..=NAME_BYTES => Err(twice(text, events.start())),
                    bytes => Err(Problem::LongName(bytes)),
                };
                size += bytes.map_err(|problem| problem.within(field.as_ref()))?;
                // With its colon.
                out.extend_from_slice(source);
                continue;
            }
            Event::ObjectEnd | Event::ArrayEnd => {
                open.pop();
                match event {
                    Event::ArrayEnd => out.extend_from_slice(b"]}"),
                    _ if open.is_empty() => write_key(&absent, out)?,
                    _ => out.extend_from_slice(b"}}"),
                }
                continue;
            }
            Event::ObjectStart | Event::ArrayStart => {
                open.push(Names::default());
                out.extend_from_slice(if event == Event::ObjectStart { br#"{"M":{"# } else { br#"{"L":["# });
                3
            }
            Event::Null => {
                out.extend_from_slice(br#"{"NULL":true}"#);
                1
            }
            Event::Bool(value) => {
                out.extend_from_slice(if value { br#"{"BOOL":true}"# } else { br#"{"BOOL":false}"# });
                1
            }
            Event::Number(number) => {
                let (sent, bytes) = number::check(number).map_err(|e| Problem::from(e).within(field.as_ref()))?;
                write_pieces(out, [br#"{"N":""#, sent.as_bytes(), br#""}"#]);
                bytes
            }
            Event::String(text) => {
                write_pieces(out, [br#"{"S":"#, source, b"}"]);
                text.len()
            }
        };
        size += bytes + overhead;
    }
    if size > ITEM_BYTES {
        let (largest, largest_bytes) = largest_field(text);
        return Err(ItemError::TooLarge { bytes: size, largest, largest_bytes });
    }
    Ok(size)
}

/// Ends an item with the attributes of its key that its row does not have.
fn write_key(absent: &[(&str, AttributeValue)], out: &mut Vec<u8>) -> Result<(), ItemError> {
    for (name, value) in absent {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        write_string(name, out);
        let (kind, text): (&[u8], _) = match value {
            AttributeValue::N(text) => (br#":{"N":"#, text),
            AttributeValue::S(text) => (br#":{"S":"#, text),
            // Keys are of these two types.
            _ => return Err(ItemError::Row(Problem::NoObject)),
        };
        out.extend_from_slice(kind);
        write_string(text, out);
        out.push(b'}');
    }
    out.push(b'}');
    Ok(())
}

fn write_pieces(out: &mut Vec<u8>, pieces: [&[u8]; 3]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends a text as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    // A vector takes everything.
    let _infallible = serde_json::to_writer(out, text);
}

/// What is wrong with the name that begins at byte `second`, which its object has already. Reads the text again, to find where that is.
#[cold]
fn twice(text: &str, second: usize) -> Problem {
    let mut around: Vec<Around<'_>> = Vec::new();
    let mut events = Events::new(text, LEVELS);
    while let Some(Ok(event)) = events.next() {
        // An element of a list begins; `Name` says so of an object's.
        if let (Some(Around::List(elements)), false) = (around.last_mut(), event == Event::ArrayEnd) {
            *elements += 1;
        }
        match event {
            Event::Name(name) => {
                if events.start() == second {
                    return found_twice(&around, name.into_owned(), second);
                }
                if let Some(Around::Map(names)) = around.last_mut() {
                    names.push((name, events.start()));
                }
            }
            Event::ObjectStart => around.push(Around::Map(Vec::new())),
            Event::ArrayStart => around.push(Around::List(0)),
            Event::ObjectEnd | Event::ArrayEnd => {
                around.pop();
            }
            Event::Null | Event::Bool(_) | Event::Number(_) | Event::String(_) => {}
        }
    }
    Problem::NoObject
}

/// A list or an object around a place in the text.
enum Around<'t> {
    /// How many elements have begun.
    List(usize),
    /// The names so far and where they begin.
    Map(Vec<(Cow<'t, str>, usize)>),
}

fn found_twice(around: &[Around<'_>], name: String, second: usize) -> Problem {
    let Some((Around::Map(names), outer)) = around.split_last() else { return Problem::NoObject };
    let mut path = String::new();
    for step in outer {
        match step {
            Around::List(elements) => {
                let _infallible = write!(path, "[{}]", elements.saturating_sub(1));
            }
            Around::Map(names) => {
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(names.last().map_or("", |(name, _)| name));
            }
        }
    }
    let first = names.iter().find(|(known, _)| *known == name).map_or(second, |(_, first)| *first);
    Problem::Twice { path, name, first, second }
}

/// The field with the longest text, for the message about an item that is too large.
fn largest_field(text: &str) -> (String, usize) {
    let mut largest = (String::new(), 0);
    let mut current: Option<(String, usize)> = None;
    let mut events = Events::new(text, LEVELS);
    while let Some(Ok(event)) = events.next() {
        let next = match event {
            Event::Name(name) if events.depth() == 1 => Some((name.into_owned(), events.position())),
            Event::ObjectEnd if events.depth() == 0 => None,
            _ => continue,
        };
        if let Some((name, start)) = std::mem::replace(&mut current, next) {
            let bytes = events.position() - start;
            if bytes > largest.1 {
                largest = (name, bytes);
            }
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Attributes as JSON text in which every number is the text that was sent, names sorted.
    fn json(value: &AttributeValue) -> String {
        let quoted = |text: &String| serde_json::to_string(text).expect("a string");
        match value {
            AttributeValue::N(text) => text.clone(),
            AttributeValue::S(text) => quoted(text),
            AttributeValue::Bool(value) => value.to_string(),
            AttributeValue::Null(_) => "null".into(),
            AttributeValue::L(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(",")),
            AttributeValue::M(map) => {
                let mut fields: Vec<_> = map.iter().map(|(name, v)| format!("{}:{}", quoted(name), json(v))).collect();
                fields.sort();
                format!("{{{}}}", fields.join(","))
            }
            other => panic!("no such JSON value: {other:?}"),
        }
    }

    /// The bytes of the item that a row is.
    fn check(text: &str, key_bytes: usize) -> Result<usize, ItemError> {
        write_item(text, key_bytes, std::iter::empty(), &mut Vec::new())
    }

    fn error(text: &str) -> String {
        check(text, 0).expect_err(text).to_string()
    }

    #[test]
    fn values_keep_their_text() {
        let text = r#"{"a":1.10,"b":-1,"c":12345678901234567890123456789012345678,"d":1E+2,"e":"é\\n","f":null,"g":[],"h":{"i":[true,""]}}"#;
        assert_eq!(sent(text, &[]), text);
    }

    /// What is sent, read as DynamoDB reads it.
    fn sent(text: &str, key: &[(&str, &str)]) -> String {
        fn value(json: &serde_json::Value) -> AttributeValue {
            let (kind, content) = json.as_object().and_then(|one| one.iter().next()).expect("a type and a value");
            match (kind.as_str(), content) {
                ("NULL", _) => AttributeValue::Null(true),
                ("BOOL", content) => AttributeValue::Bool(content.as_bool().expect("a boolean")),
                ("N", content) => AttributeValue::N(content.as_str().expect("a text").into()),
                ("S", content) => AttributeValue::S(content.as_str().expect("a text").into()),
                ("L", content) => AttributeValue::L(content.as_array().expect("a list").iter().map(value).collect()),
                ("M", content) => map(content),
                other => panic!("no such type: {other:?}"),
            }
        }
        fn map(json: &serde_json::Value) -> AttributeValue {
            let fields = json.as_object().expect("an object").iter();
            AttributeValue::M(fields.map(|(name, json)| (name.clone(), value(json))).collect())
        }
        let mut out = Vec::new();
        let key = key.iter().map(|(name, text)| (*name, AttributeValue::S((*text).into())));
        write_item(text, 0, key, &mut out).expect("an item");
        json(&map(&serde_json::from_slice(&out).expect("JSON")))
    }

    /// A key that the row has under its own name, be it escaped, stays the row's.
    #[test]
    fn items_are_sent_with_their_keys() {
        assert_eq!(sent("{}", &[("pk", "a\"\\\n")]), r#"{"pk":"a\"\\\n"}"#);
        let text = r#" { "a" : [ 1 , {"pk":[]}, {} ] , "b\u006b" : "x" } "#;
        assert_eq!(sent(text, &[("pk", "1"), ("bk", "2")]), r#"{"a":[1,{"pk":[]},{}],"bk":"x","pk":"1"}"#);
    }

    #[test]
    fn sizes_are_as_documented() {
        let cases = [
            ("{}", 0),
            (r#"{"a":null}"#, 2),
            (r#"{"ab":true}"#, 3),
            (r#"{"a":"äö"}"#, 5),
            (r#"{"a":123}"#, 4),
            (r#"{"a":[]}"#, 4),
            (r#"{"a":{}}"#, 4),
            // 1 + 3 + two elements of (1 + 1) bytes
            (r#"{"a":[true,null]}"#, 8),
            // 1 + 3 + (name of 2 + overhead of 1 + list of 3 + (overhead of 1 + text of 1))
            (r#"{"a":{"bc":["x"]}}"#, 12),
        ];
        for (text, bytes) in cases {
            assert_eq!(check(text, 0), Ok(bytes), "{text}");
        }
        // 7 + 1 + 3 + (1 + 2) + (1 + 3 + (1 + 1 + 2))
        assert_eq!(check(r#"{"a":[1,{"b":2}]}"#, 7), Ok(22));
    }

    /// 409,600 bytes are an item, one more is not.
    #[test]
    fn the_limit_is_exact() {
        let text = |bytes: usize| format!(r#"{{"x":1,"text":"{}"}}"#, "t".repeat(bytes - 4 - 3));
        assert_eq!(check(&text(ITEM_BYTES), 0), Ok(ITEM_BYTES));
        let error = error(&text(ITEM_BYTES + 1));
        assert!(error.contains("409601 bytes") && error.contains("`text`"), "{error}");
        assert!(check(&text(ITEM_BYTES), 1).is_err());
    }

    #[test]
    fn what_no_item_can_be_is_refused_with_its_field() {
        let digits = "9".repeat(39);
        assert!(error(&format!(r#"{{"a":1,"odo":[{digits}]}}"#)).starts_with("field `odo`: 9999"));
        for (text, place) in [
            (
                r#"{"a":{"b":1,"b":2}}"#,
                "field `a`: the object `a` has the field `b` twice, at bytes 6 and 12 of the row",
            ),
            (r#"{"a":{"b":1,"\u0062":2}}"#, "the object `a` has the field `b` twice, at bytes 6 and 12 of the row"),
            (r#"{"a":1,"a":2}"#, "the row has the field `a` twice, at bytes 1 and 7 of the row"),
            (
                r#"{"x":{},"i":[0,[],[{}, {"b":1,"c":{"b":[2]}, "b":1}]]}"#,
                "the object `i[2][1]` has the field `b` twice, at bytes 24 and 45 of the row",
            ),
            (r#"{"a":{"b":1,"c":{"d":1,"d":1}}}"#, "the object `a.c` has the field `d` twice"),
        ] {
            let error = error(text);
            assert!(error.contains(place), "{text}: {error}");
        }
        assert!(error(r#"{"":1}"#).contains("empty name"));
        assert!(error(r#"{"a":[{"":1}]}"#).contains("field `a`: an object has a field with an empty name"));
        assert!(error(&format!(r#"{{"{}":1}}"#, "n".repeat(65536))).contains("65536 bytes"));
        assert!(error(r#"{"a":"\ud800"}"#).contains("surrogate"));
        assert!(error("[1]").contains("object"));
        assert!(error("3").contains("object"));
    }

    /// A value on level 32 is stored, one below it is not; an object's own fields are on level 1.
    #[test]
    fn depth() {
        let nested = |lists: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(lists), "]".repeat(lists));
        assert!(check(&nested(31), 0).is_ok());
        assert!(error(&nested(32)).contains("32 levels deep, which is DynamoDB's limit"));
        assert!(error(&format!(r#"{{"a":{}"#, "[".repeat(100_000))).contains("32 levels"));
    }

    /// A value's text, and the one that is stored: they differ in zeros.
    type Text = (String, String);

    fn joined(parts: &[Text]) -> Text {
        let join = |part: fn(&Text) -> &String| parts.iter().map(part).cloned().collect::<Vec<_>>().join(",");
        (join(|(text, _)| text), join(|(_, stored)| stored))
    }

    fn number() -> impl Strategy<Value = Text> {
        let mantissa = "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,18})?";
        (mantissa, "([eE][-+]?[0-9]{1,2})?").prop_map(|(mantissa, exponent)| {
            let text = format!("{mantissa}{exponent}");
            let stored = if mantissa.contains(|c| matches!(c, '1'..='9')) { text.clone() } else { "0".into() };
            (text, stored)
        })
    }

    fn value() -> impl Strategy<Value = Text> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|v| v.to_string()),
            any::<String>().prop_map(|v| serde_json::to_string(&v).expect("a string")),
        ];
        let scalar = prop_oneof![3 => scalar.prop_map(|text| (text.clone(), text)), 1 => number()];
        scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|list| {
                    let (text, stored) = joined(&list);
                    (format!("[{text}]"), format!("[{stored}]"))
                }),
                object(inner),
            ]
        })
    }

    fn object(inner: impl Strategy<Value = Text>) -> impl Strategy<Value = Text> {
        prop::collection::btree_map("[a-zä\"\\\\]{1,3}", inner, 0..4).prop_map(|map| {
            let quoted = |name: &String| serde_json::to_string(name).expect("a string");
            let mut fields: Vec<Text> = map
                .iter()
                .map(|(name, (text, stored))| {
                    (format!("{}:{text}", quoted(name)), format!("{}:{stored}", quoted(name)))
                })
                .collect();
            fields.sort();
            let (text, stored) = joined(&fields);
            (format!("{{{text}}}"), format!("{{{stored}}}"))
        })
    }

    proptest! {
        /// Any row that passes the check comes back with every name, every string and every digit, but for those of a zero.
        #[test]
        fn round_trip((text, stored) in object(value())) {
            serde_json::from_str::<&RawValue>(&text).expect("valid JSON");
            prop_assert!(check(&text, 0).is_ok(), "{:?}", check(&text, 0));
            prop_assert_eq!(sent(&text, &[]), stored);
        }
    }
}
