//! Transforms of single fields: `InsertField`, `ReplaceField` and `MaskField`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::build::KeyProblem;
use super::json::{Fields, Json, Kind, get, kind, quoted, set};
use super::{Record, TransformError};
use crate::{Config, Key, ValueType};

/// Accepted as in Kafka Connect: values have no schema, so nothing has a default.
pub(super) const REPLACE_NULL: Key = Key::new(
    "replace.null.with.default",
    ValueType::Bool,
    "Without schemas there are no defaults, so it has no effect",
)
.low();

pub(super) const INSERT_KEYS: &[Key] = &[
    Key::new("topic.field", ValueType::Text, "This field is set to the topic"),
    Key::new("partition.field", ValueType::Text, "This field is set to the number of the partition"),
    Key::new("offset.field", ValueType::Text, "This field is set to the offset"),
    Key::new("timestamp.field", ValueType::Text, "This field is set to Kafka's timestamp, in milliseconds since 1970"),
    Key::new("static.field", ValueType::Text, "This field is set to `static.value`"),
    Key::new("static.value", ValueType::Text, "The text that `static.field` is set to"),
    REPLACE_NULL,
];

pub(super) const REPLACE_KEYS: &[Key] = &[
    Key::new("exclude", ValueType::List, "These fields are left out; it precedes `include`"),
    Key::new("include", ValueType::List, "Only these fields are kept, unless it is empty"),
    Key::new("renames", ValueType::List, "Fields are renamed, as `old:new` separated by commas"),
    REPLACE_NULL,
];

pub(super) const MASK_KEYS: &[Key] = &[
    Key::new("fields", ValueType::List, "The values of these fields are masked").required().high(),
    Key::new(
        "replacement",
        ValueType::Text,
        "A number or a text is replaced by this value. If the key is unset, a value is replaced by what is empty of its \
         kind: 0, an empty text, `false`, an empty list or object",
    )
    .low(),
    REPLACE_NULL,
];

/// A transform of single fields.
#[derive(Debug, Clone)]
pub(super) enum FieldTransform {
    Insert(Vec<(String, Inserted)>),
    Replace { exclude: BTreeSet<String>, include: BTreeSet<String>, renames: BTreeMap<String, String> },
    Mask { fields: Vec<String>, replacement: Option<String> },
}

/// What is inserted.
#[derive(Debug, Clone)]
pub(super) enum Inserted {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static(String),
}

impl FieldTransform {
    pub fn insert(config: &Config) -> Result<Self, KeyProblem> {
        let mut fields = Vec::new();
        let mut insert = |key: &str, what: Inserted| {
            // What is optional in a schema is said behind the name.
            let name = config.get(key).map(|name| name.strip_suffix(['?', '!']).unwrap_or(name));
            fields.extend(name.map(|name| (name.to_owned(), what)));
        };
        insert("topic.field", Inserted::Topic);
        insert("partition.field", Inserted::Partition);
        insert("offset.field", Inserted::Offset);
        insert("timestamp.field", Inserted::Timestamp);
        match (config.get("static.field"), config.get("static.value")) {
            (Some(_), Some(value)) => insert("static.field", Inserted::Static(quoted(value))),
            (Some(_), None) => return Err(("static.value", "is missing: `static.field` needs it".into())),
            (None, Some(_)) => return Err(("static.value", "has no effect without `static.field`: remove it".into())),
            (None, None) => {}
        }
        if fields.is_empty() {
            return Err(("static.field", "is missing, and so is every other field to insert".into()));
        }
        Ok(Self::Insert(fields))
    }

    pub fn replace(config: &Config) -> Result<Self, KeyProblem> {
        let mut renames = BTreeMap::new();
        for rename in config.list("renames") {
            match rename.split(':').collect::<Vec<_>>()[..] {
                [old, new] if !old.is_empty() && !new.is_empty() => {
                    renames.insert(old.to_owned(), new.to_owned());
                }
                _ => return Err(("renames", format!("`{rename}` is not of the form `old:new`"))),
            }
        }
        let list = |key| config.list(key).into_iter().map(str::to_owned).collect();
        Ok(Self::Replace { exclude: list("exclude"), include: list("include"), renames })
    }

    pub fn mask(config: &Config) -> Result<Self, KeyProblem> {
        let replacement = config.get("replacement").map(str::to_owned);
        if replacement.as_deref() == Some("") {
            return Err(("replacement", "is empty: leave it out, or give a value".into()));
        }
        Ok(Self::Mask { fields: config.list("fields").into_iter().map(str::to_owned).collect(), replacement })
    }

    fn purpose(&self) -> &'static str {
        match self {
            Self::Insert(_) => "field insertion",
            Self::Replace { .. } => "field replacement",
            Self::Mask { .. } => "masking fields",
        }
    }

    /// Applies it to a key or value of `record`. A null is left as it is, but cannot be masked.
    pub fn apply<'r>(&self, operand: Json<'r>, record: &Record<'r>) -> Result<Json<'r>, TransformError> {
        let Some(mut fields) = operand.fields(self.purpose())? else {
            return match self {
                Self::Mask { .. } => Err(TransformError::data("null has no fields, which masking fields needs".into())),
                Self::Insert(_) | Self::Replace { .. } => Ok(Json::Null),
            };
        };
        match self {
            Self::Insert(insert) => {
                let origin = record.origin;
                for (name, what) in insert {
                    let value = match what {
                        Inserted::Topic => quoted(&record.topic),
                        Inserted::Partition => origin.partition.partition.to_string(),
                        Inserted::Offset => origin.offset.to_string(),
                        Inserted::Timestamp => match origin.timestamp {
                            Some(millis) => millis.to_string(),
                            None => continue,
                        },
                        Inserted::Static(value) => value.clone(),
                    };
                    set(&mut fields, name, value.into());
                }
            }
            Self::Replace { exclude, include, renames } => {
                fields.retain(|(name, _)| !exclude.contains(name) && (include.is_empty() || include.contains(name)));
                if !renames.is_empty() {
                    let mut renamed: Fields<'r> = Vec::with_capacity(fields.len());
                    for (name, value) in fields {
                        // Of two fields that come to have the same name, the later one stays.
                        set(&mut renamed, renames.get(&name).unwrap_or(&name), value);
                    }
                    fields = renamed;
                }
            }
            Self::Mask { fields: masked, replacement } => {
                for name in masked {
                    let value = get(&fields, name).unwrap_or("null");
                    let value = mask(value, replacement.as_deref())
                        .map_err(|error| TransformError { text: format!("field `{name}`: {}", error.text), ..error })?;
                    // All of that name: none of them may show what is masked.
                    fields.iter_mut().filter(|(own, _)| own == name).for_each(|(_, own)| *own = value.clone().into());
                    set(&mut fields, name, Cow::Owned(value));
                }
            }
        }
        Ok(Json::Object(fields))
    }
}

/// What stands for a masked value.
fn mask(value: &str, replacement: Option<&str>) -> Result<String, TransformError> {
    let of = kind(value);
    let number = |replacement: &str| {
        TransformError::data(format!("`{replacement}`, which is to replace {}, is none", of.name()))
    };
    Ok(match (of, replacement) {
        (Kind::Null, _) => "null".into(),
        (Kind::Bool, None) => "false".into(),
        (Kind::Integer, None) => "0".into(),
        (Kind::Float, None) => "0.0".into(),
        (Kind::Text, None) => "\"\"".into(),
        (Kind::List, None) => "[]".into(),
        (Kind::Object, None) => "{}".into(),
        (Kind::Integer, Some(text)) => text.trim().parse::<i64>().map_err(|_| number(text))?.to_string(),
        (Kind::Float, Some(text)) => {
            let value = text.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            value.ok_or_else(|| number(text))?.to_string()
        }
        (Kind::Text, Some(text)) => quoted(text),
        (Kind::Bool | Kind::List | Kind::Object, Some(_)) => {
            return Err(TransformError::data(format!("{} cannot be masked with a `replacement`", of.name())));
        }
    })
}
