//! A key or value while it is transformed: JSON of which only what is asked for is read, and whose parts keep their text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::TransformError;

/// The fields of an object, in order: each name, with its escapes decoded, and the text of its value.
pub(super) type Fields<'t> = Vec<(String, Cow<'t, str>)>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json<'t> {
    /// Nothing, as the value of a tombstone, or `null`.
    Null,
    /// Text that was not looked into yet.
    Text(Cow<'t, str>),
    /// An object.
    Object(Fields<'t>),
}

impl<'t> Json<'t> {
    /// The value of this text.
    pub fn of(text: Cow<'t, str>) -> Self {
        if text.trim() == "null" { Self::Null } else { Self::Text(text) }
    }

    /// The fields, for the transform that does `purpose`, which takes nothing else. `None` for null.
    pub fn fields(self, purpose: &str) -> Result<Option<Fields<'t>>, TransformError> {
        match self {
            Self::Null => Ok(None),
            Self::Object(fields) => Ok(Some(fields)),
            Self::Text(text) if kind(&text) != Kind::Object => Err(TransformError::data(format!(
                "only an object has fields, which {purpose} needs: this is {}",
                kind(&text).name()
            ))),
            Self::Text(Cow::Borrowed(text)) => {
                let fields = read(text)?.into_iter();
                Ok(Some(fields.map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect()))
            }
            Self::Text(Cow::Owned(text)) => {
                let fields = read(&text)?.into_iter();
                Ok(Some(fields.map(|(name, value)| (name, Cow::Owned(value.get().to_owned()))).collect()))
            }
        }
    }

    /// The JSON text; `None` for null.
    pub fn into_text(self) -> Option<Cow<'t, str>> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Object(fields) => Some(Cow::Owned(write(&fields))),
        }
    }
}

/// The text of an object of these fields.
pub(super) fn write(fields: &Fields<'_>) -> String {
    let mut text = String::with_capacity(fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum());
    text.push('{');
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&quoted(name));
        text.push(':');
        text.push_str(value);
    }
    text.push('}');
    text
}

/// The text of a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Sets a field in its place, or appends it.
pub(super) fn set<'t>(fields: &mut Fields<'t>, name: &str, value: Cow<'t, str>) {
    match fields.iter_mut().rfind(|(own, _)| own == name) {
        Some((_, own)) => *own = value,
        None => fields.push((name.to_owned(), value)),
    }
}

/// The text of a field's value. Of a name that is there twice the last one counts.
pub(super) fn get<'f>(fields: &'f Fields<'_>, name: &str) -> Option<&'f str> {
    fields.iter().rfind(|(own, _)| own == name).map(|(_, value)| &**value)
}

/// What a JSON text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    List,
    Object,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a number with a fraction",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// What a JSON text is, by its beginning.
pub(super) fn kind(text: &str) -> Kind {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::List,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        Some(_) if text.contains(['.', 'e', 'E']) => Kind::Float,
        Some(_) => Kind::Integer,
    }
}

/// Reads an object.
fn read(text: &str) -> Result<Vec<(String, &RawValue)>, TransformError> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                fields.push((name, map.next_value()?));
            }
            Ok(fields)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let fields = reader.deserialize_map(Names).map_err(|error| TransformError::unreadable(&error))?;
    reader.end().map_err(|error| TransformError::unreadable(&error))?;
    Ok(fields)
}
