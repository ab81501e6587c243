//! Values as folders of a key and back: a value is always exactly one folder, and no two values have the same one.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

/// What stands for the empty value, as in Hive. Spark and Athena read it as NULL; they refuse `field=` with nothing
/// after it.
const EMPTY: &str = "__HIVE_DEFAULT_PARTITION__";

/// An escaped value of up to this many bytes is kept whole. With `field=` before it, it is still a file name of at most
/// 255 bytes for those who copy a bucket to a disk.
const WHOLE: usize = 180;

/// Of a longer value at most this many bytes are kept, before `~` and its digest. Wherever the cut falls, the result
/// has more than [`WHOLE`] bytes, so it is never the escaped form of a shorter value.
const KEPT: usize = 128;

/// Appends `value`, escaped, to `out`: one path segment of 1 to 193 ASCII letters, digits, `-`, `_`, `.`, `%` and `~`.
/// Different values give different segments; for shortened ones, that is so as far as SHA-256 has no collisions.
///
/// - Letters, digits, `-`, `_` and `.` stay; every other byte of the UTF-8 text becomes `%XX`, as in Hive.
/// - The empty value becomes `__HIVE_DEFAULT_PARTITION__`; of a value that reads like this, the first byte is escaped.
/// - A value whose escaped form is longer than 180 bytes keeps the first 126 to 128 bytes of it, then come `~` and the
///   value's SHA-256 in hexadecimal.
pub fn escape(value: &str, out: &mut String) {
    if value.is_empty() {
        out.push_str(EMPTY);
        return;
    }
    let start = out.len();
    let mut rest = value.as_bytes();
    if value == EMPTY {
        out.push_str("%5F");
        rest = &rest[1..];
    }
    let mut kept = start;
    for &byte in rest {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        let length = out.len() - start;
        if length <= KEPT {
            kept = out.len();
        } else if length > WHOLE {
            out.truncate(kept);
            out.push('~');
            out.push_str(&hex::encode(Sha256::digest(value)));
            return;
        }
    }
}

/// What an escaped value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Whole(String),
    /// The escaped text of a value that was too long to be kept whole. The value can be learnt from the rows only.
    Shortened(String),
}

impl Value {
    /// Appends the value as [`escape`] does.
    pub(crate) fn escape(&self, out: &mut String) {
        match self {
            Self::Whole(value) => escape(value, out),
            Self::Shortened(escaped) => out.push_str(escaped),
        }
    }
}

/// The value that was escaped as this text; `None` for a text that [`escape`] does not write.
pub fn unescape(text: &str) -> Option<Value> {
    if text.len() > WHOLE {
        return is_shortened(text).then(|| Value::Shortened(text.into()));
    }
    let value = match text {
        EMPTY => String::new(),
        _ => percent_decode_str(text).decode_utf8().ok()?.into_owned(),
    };
    // Decoding also takes what escaping writes in another way, such as `%61` for `a`.
    let mut again = String::new();
    escape(&value, &mut again);
    (again == text).then_some(Value::Whole(value))
}

/// Whether the text has the form of a shortened value.
fn is_shortened(text: &str) -> bool {
    let Some((start, digest)) = text.split_once('~') else { return false };
    let is_hex = |digits: &[u8]| digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    // Of three bytes of an escape, up to two may have had no room any more.
    let is_start = (KEPT - 2..=KEPT).contains(&start.len()) && start.bytes().all(|b| is_plain(b) || b == b'%');
    is_start && digest.len() == 64 && is_hex(digest.as_bytes())
}

/// Whether the byte stands for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(value: &str) -> String {
        let mut out = String::new();
        escape(value, &mut out);
        out
    }

    /// The values that fleets send stay readable, and every other value has one documented form.
    #[test]
    fn forms() {
        let long = "x".repeat(300);
        let kanji = "東".repeat(300);
        for (value, expected) in [
            ("vehicle", "vehicle"),
            ("SFT-0010022_a.b", "SFT-0010022_a.b"),
            ("", "__HIVE_DEFAULT_PARTITION__"),
            ("__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"),
            ("../../etc", "..%2F..%2Fetc"),
            ("a=b/c", "a%3Db%2Fc"),
            ("50%", "50%25"),
            ("%2F", "%252F"),
            ("\n\0", "%0A%00"),
            ("東", "%E6%9D%B1"),
            (&"y".repeat(180), &"y".repeat(180)),
        ] {
            assert_eq!(escaped(value), expected, "{value:?}");
            assert_eq!(unescape(expected), Some(Value::Whole(value.into())), "{expected}");
        }
        assert!(escaped(&long).starts_with(&format!("{}~", "x".repeat(128))), "{}", escaped(&long));
        assert!(escaped(&kanji).starts_with(&format!("{}~", "%E6%9D%B1".repeat(14))), "{}", escaped(&kanji));
    }

    #[test]
    fn a_shortened_value_may_lack_the_end_of_an_escape() {
        for start in [128, 127, 126] {
            let text = format!("{}~{}", "x".repeat(start), "a".repeat(64));
            assert_eq!(unescape(&text), Some(Value::Shortened(text.clone())), "{text}");
        }
    }

    /// Long values that differ only behind their kept beginning have different forms, and so has a value that reads
    /// like a shortened one.
    #[test]
    fn shortened_values_stay_apart() {
        let (one, other) = (format!("{}1", "x".repeat(300)), format!("{}2", "x".repeat(300)));
        assert_ne!(escaped(&one), escaped(&other));
        assert_ne!(escaped(&escaped(&one)), escaped(&one));
    }

    #[test]
    fn a_text_that_is_never_written_is_not_read() {
        for text in [
            "",
            "a b",
            "%61",
            "%2f",
            "%zz",
            "%",
            "%FF",
            "a~b",
            "東",
            &"x".repeat(181),
            &format!("{}~{}", "x".repeat(128), "g".repeat(64)),
            // Too short a beginning, one with a character that would be escaped, and one that is too long.
            &format!("{}~{}", "x".repeat(125), "a".repeat(64)),
            &format!("{} ~{}", "x".repeat(127), "a".repeat(64)),
            &format!("{}~{}", "x".repeat(129), "a".repeat(64)),
        ] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    fn values() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[%2Ff/._=~-]{0,6}",
            "(%|%5F|_)_HIVE_DEFAULT_PARTITION__",
            "[a東]{170,185}",
            Just(EMPTY.to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn is_injective(a in values(), b in values()) {
            prop_assert_eq!(a == b, escaped(&a) == escaped(&b));
        }

        #[test]
        fn is_read_as_it_was_written(value in values()) {
            let text = escaped(&value);
            let expected = if text.contains('~') { Value::Shortened(text.clone()) } else { Value::Whole(value) };
            prop_assert_eq!(unescape(&text), Some(expected));
        }

        /// The result is one path segment: it is not empty, has neither slash nor control character, and its length is
        /// bounded.
        #[test]
        fn is_one_segment(value in values()) {
            let out = escaped(&value);
            prop_assert!((1..=193).contains(&out.len()), "{} bytes", out.len());
            prop_assert!(out.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%~".contains(&b)), "{}", out);
        }
    }
}
