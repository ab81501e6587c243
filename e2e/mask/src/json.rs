//! JSON as its source text: fields in the order in which they stand, every value as it was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of a JSON object in source order, duplicates included; `None` when `text` is not one valid JSON object.
pub fn fields(text: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_slice::<Fields<'_>>(text).ok().map(|fields| fields.0)
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
}
