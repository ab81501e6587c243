//! JSON as its source text: fields in the order in which they stand, every value as it was written.

pub(crate) use e2e_mask::{fields, quoted};
use serde_json::value::RawValue;

/// The text of a scalar: a string's own text, else the source text of a number or boolean; `None` for null, lists and objects.
pub(crate) fn scalar(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
