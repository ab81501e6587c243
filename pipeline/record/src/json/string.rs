//! Strings of a JSON text: what stands between the quotes, and what it says once its escapes are decoded.

use std::borrow::Cow;

/// A surrogate escape without its partner: such a string is no Unicode text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoneSurrogate {
    /// The byte of the string's text at which the escape begins.
    pub at: usize,
    /// The surrogate.
    pub unit: u16,
}

/// The text between the quotes of a value, if that is a string.
#[inline]
pub fn raw(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// Decodes the escapes of a string's text. The text has to be that of valid JSON.
pub fn decode(raw: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else { return Ok(Cow::Borrowed(raw)) };
    let mut decoded = String::with_capacity(raw.len());
    decoded.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(escape) = rest.strip_prefix('\\') {
        let at = raw.len() - rest.len();
        let mut letters = escape.chars();
        let letter = letters.next();
        let mut tail = letters.as_str();
        decoded.push(match letter {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let unit = code_unit(tail);
                tail = tail.get(4..).unwrap_or_default();
                let second = tail.strip_prefix("\\u").map(code_unit);
                let second = second.filter(|_| (0xd800..0xdc00).contains(&unit));
                let mut decoded = char::decode_utf16([Some(unit), second].into_iter().flatten());
                if second.is_some() {
                    tail = tail.get(6..).unwrap_or_default();
                }
                decoded.next().and_then(Result::ok).ok_or(LoneSurrogate { at, unit })?
            }
            // A quote, a backslash or a slash, which stands for itself.
            other => other.unwrap_or_default(),
        });
        let plain = memchr::memchr(b'\\', tail.as_bytes()).unwrap_or(tail.len());
        decoded.push_str(&tail[..plain]);
        rest = &tail[plain..];
    }
    Ok(Cow::Owned(decoded))
}

/// The number of four hexadecimal digits, which valid JSON has after `\u`.
fn code_unit(text: &str) -> u16 {
    text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_surrogate_is_named_with_its_place() {
        for (raw, at, unit) in [(r"\ud800", 0, 0xd800), (r"é\n\udc00", 4, 0xdc00), (r"\ud83d\ude00\ud800A", 12, 0xd800)]
        {
            assert_eq!(decode(raw), Err(LoneSurrogate { at, unit }), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(text in any::<String>()) {
            let json = serde_json::to_string(&text).expect("a string is JSON");
            prop_assert_eq!(decode(&json[1..json.len() - 1]), Ok(Cow::Borrowed(text.as_str())));
            let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
            prop_assert_eq!(decode(&escaped), Ok(Cow::Borrowed(text.as_str())));
        }

        #[test]
        fn decoding_agrees_with_serde_json(pieces in proptest::collection::vec(
            prop_oneof![Just("a"), Just("é"), Just("\\n"), Just("\\/"), Just("\\ud83d"), Just("\\ude00"), Just("\\u0041")], 0..8)) {
            let raw = pieces.concat();
            let theirs = serde_json::from_str::<String>(&format!("\"{raw}\"")).ok();
            prop_assert_eq!(decode(&raw).ok().map(Cow::into_owned), theirs);
        }
    }
}
