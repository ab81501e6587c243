//! JSON as its source text: fields in the order in which they stand, every value as it was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of a JSON object in source order, duplicates included; `None` when `text` is not one valid JSON object.
pub(crate) fn fields(text: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_slice::<Fields<'_>>(text).ok().map(|fields| fields.0)
}

/// The text of a scalar: a string's own text, else the source text of a number or boolean; `None` for null, lists and objects.
pub(crate) fn scalar(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The object with the value at `path` (field names, outermost first) replaced by `"[redacted]"`; `None` if nothing is
/// there.
pub(crate) fn redact(text: &str, path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let mut found = false;
    let fields: Vec<String> = fields(text.as_bytes())?
        .iter()
        .map(|(name, value)| {
            let redacted = match rest {
                _ if name != first => None,
                [] => Some(quoted("[redacted]")),
                rest => redact(value.get(), rest),
            };
            found |= redacted.is_some();
            format!("{}:{}", quoted(name), redacted.as_deref().unwrap_or(value.get()))
        })
        .collect();
    found.then(|| format!("{{{}}}", fields.join(",")))
}

struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object).map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_and_fields_their_order() {
        let fields = fields(br#"{"b":1.50,"a":{"x":1e5}}"#).expect("an object");
        assert_eq!(
            fields.iter().map(|(n, v)| (n.as_str(), v.get())).collect::<Vec<_>>(),
            [("b", "1.50"), ("a", r#"{"x":1e5}"#)]
        );
    }

    #[test]
    fn what_is_not_an_object_has_no_fields() {
        assert!(fields(b"[1]").is_none());
        assert!(fields(b"{\"a\":1").is_none());
        assert!(fields(b"\xff").is_none());
    }

    #[test]
    fn redaction_replaces_one_value_and_keeps_the_rest_as_written() {
        let path = ["a".to_owned(), "t".to_owned()];
        let redacted = redact(r#"{"n":1.50,"a":{"t":99,"u":2.0}}"#, &path);
        assert_eq!(redacted.as_deref(), Some(r#"{"n":1.50,"a":{"t":"[redacted]","u":2.0}}"#));
        for without in [r#"{"n": 1.50}"#, r#"{"a":{"u":1}}"#, r#"{"a":1}"#, "a"] {
            assert_eq!(redact(without, &path), None, "{without}");
        }
    }
}
