//! What a JSON string says once its escapes are decoded.

use std::borrow::Cow;

/// The text between the quotes of a value, if it is a string.
pub(crate) fn raw(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// The text between a JSON string's quotes with its escapes decoded; `None` if a surrogate has no partner. The text is a checked string.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else { return Some(Cow::Borrowed(raw)) };
    let mut decoded = String::with_capacity(raw.len());
    decoded.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let (letter, mut tail) = (*escape.as_bytes().first()?, escape.get(1..)?);
        decoded.push(match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = code_unit(tail)?;
                tail = &tail[4..];
                let second = tail.strip_prefix("\\u").and_then(code_unit);
                let pair = second.filter(|_| (0xd800..0xdc00).contains(&unit));
                if pair.is_some() {
                    tail = &tail[6..];
                }
                char::decode_utf16([Some(unit), pair].into_iter().flatten()).next()?.ok()?
            }
            other => char::from(other),
        });
        let plain = memchr::memchr(b'\\', tail.as_bytes()).unwrap_or(tail.len());
        decoded.push_str(&tail[..plain]);
        rest = &tail[plain..];
    }
    Some(Cow::Owned(decoded))
}

fn code_unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a string is JSON");
            prop_assert_eq!(decode(&json[1..json.len() - 1]), Some(Cow::Borrowed(text.as_str())));
            let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
            prop_assert_eq!(decode(&escaped), Some(Cow::Borrowed(text.as_str())));
        }

        #[test]
        fn decoding_agrees_with_serde_json(pieces in proptest::collection::vec(
            prop_oneof![Just("a"), Just("é"), Just("\\n"), Just("\\/"), Just("\\ud83d"), Just("\\ude00"), Just("\\u0041")], 0..8)) {
            let raw = pieces.concat();
            let theirs = serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
            prop_assert_eq!(decode(&raw).map(Cow::into_owned), theirs);
        }
    }
}
