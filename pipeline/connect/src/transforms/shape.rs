//! Transforms of a whole key or value: `ExtractField`, `HoistField` and `Flatten`.

use std::borrow::Cow;

use super::TransformError;
use super::build::KeyProblem;
use super::fields::REPLACE_NULL;
use super::json::{Fields, Json, Kind, get, kind, set};
use crate::{Config, Key, ValueType};

pub(super) const EXTRACT_KEYS: &[Key] = &[
    Key::new("field", ValueType::Text, "The value of this field takes the place of the object").required(),
    Key::new(
        "field.syntax.version",
        ValueType::OneOf(&["V1", "V2"]),
        "With `V2`, `a.b` is the field `b` of the object in the field `a`, and `` `a.b` `` the field of that name",
    )
    .default("V1"),
    REPLACE_NULL,
];

pub(super) const HOIST_KEYS: &[Key] =
    &[Key::new("field", ValueType::Text, "The key or value becomes the only field, of this name, of an object")
        .required()];

pub(super) const FLATTEN_KEYS: &[Key] =
    &[Key::new("delimiter", ValueType::Text, "This stands between the names that a flattened name is made of")
        .default(".")];

/// A transform of a whole key or value.
#[derive(Debug, Clone)]
pub(super) enum ShapeTransform {
    Extract(Vec<String>),
    Hoist(String),
    Flatten(String),
}

impl ShapeTransform {
    pub fn extract(config: &Config) -> Result<Self, KeyProblem> {
        let field = config.text("field");
        let path = match config.text("field.syntax.version") {
            "V2" => path(field).map_err(|problem| ("field", problem))?,
            _ => vec![field.to_owned()],
        };
        Ok(Self::Extract(path))
    }

    pub fn hoist(config: &Config) -> Self {
        Self::Hoist(config.text("field").into())
    }

    pub fn flatten(config: &Config) -> Self {
        Self::Flatten(config.text("delimiter").into())
    }

    /// Applies it to a key or value.
    pub fn apply<'r>(&self, operand: Json<'r>) -> Result<Json<'r>, TransformError> {
        match self {
            Self::Extract(path) => {
                let mut at = operand;
                for (depth, name) in path.iter().enumerate() {
                    // Below the first object, what is not there or has no fields is null, as in Kafka Connect.
                    if depth > 0 && matches!(&at, Json::Text(text) if kind(text) != Kind::Object) {
                        return Ok(Json::Null);
                    }
                    let Some(fields) = at.fields("field extraction")? else { return Ok(Json::Null) };
                    let found = fields.into_iter().rfind(|(own, _)| own == name);
                    at = found.map_or(Json::Null, |(_, value)| Json::of(value));
                }
                Ok(at)
            }
            Self::Hoist(field) => {
                let text = operand.into_text().unwrap_or(Cow::Borrowed("null"));
                Ok(Json::Object(vec![(field.clone(), text)]))
            }
            Self::Flatten(delimiter) => {
                let Some(fields) = operand.fields("flattening")? else { return Ok(Json::Null) };
                let mut flat = Vec::with_capacity(fields.len());
                flatten(fields, "", delimiter, &mut flat)?;
                Ok(Json::Object(flat))
            }
        }
    }
}

/// Adds the fields of an object, and those of the objects in it, to `flat`. Lists stay as they are.
fn flatten<'r>(fields: Fields<'r>, prefix: &str, delimiter: &str, flat: &mut Fields<'r>) -> Result<(), TransformError> {
    for (name, value) in fields {
        let name = if prefix.is_empty() { name } else { format!("{prefix}{delimiter}{name}") };
        if kind(&value) == Kind::Object {
            let below = Json::Text(value).fields("flattening")?.unwrap_or_default();
            flatten(below, &name, delimiter, flat)?;
        } else if get(flat, &name).is_some() {
            set(flat, &name, value);
        } else {
            flat.push((name, value));
        }
    }
    Ok(())
}

/// Reads a path in Kafka Connect's second syntax: names between dots, of which one with dots stands in back-quotes.
fn path(text: &str) -> Result<Vec<String>, String> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('`') {
            let end = quoted.find('`').ok_or("has a back-quote without its end")?;
            (&quoted[..end], &quoted[end + 1..])
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            (&rest[..end], &rest[end..])
        };
        if name.is_empty() {
            return Err("has an empty name".into());
        }
        path.push(name.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(path),
            None => return Err("has text behind a back-quote: write a dot there".into()),
        }
    }
}
