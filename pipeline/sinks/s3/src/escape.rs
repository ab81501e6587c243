//! Field values as parts of S3 keys: no value leaves its place, and no two values share one.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What stands for the empty value, as in Hive; Spark and Athena read it as NULL and refuse `field=` with nothing after it.
const EMPTY: &str = "__HIVE_DEFAULT_PARTITION__";

/// Up to this many bytes an escaped value is kept whole: with `field=` before it, it still is a file name of at most 255 bytes for whoever
/// copies a bucket to disk.
const WHOLE: usize = 180;

/// Of a longer value at most this many bytes are kept, before `~` and its digest. The result has more than [`WHOLE`] bytes whatever
/// the cut left out, so it is never the escape of a shorter value.
const KEPT: usize = 128;

/// Appends `value`, escaped, to `out`. Injective (for the shortened, as far as SHA-256 is), and the result is one non-empty path
/// segment of ASCII letters, digits, `-`, `_`, `.`, `%` and `~`, at most 193 bytes long.
///
/// - Letters, digits, `-`, `_` and `.` stay; every other byte of the UTF-8 text becomes `%XX`, as in Hive.
/// - The empty value becomes `__HIVE_DEFAULT_PARTITION__`; a value that reads like this has its first byte escaped.
/// - What would be longer than 180 bytes keeps its first 126 to 128 bytes, then `~` and the SHA-256 of the value in hexadecimal.
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
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        let length = out.len() - start;
        if length <= KEPT {
            kept = out.len();
        } else if length > WHOLE {
            out.truncate(kept);
            let _ = write!(out, "~{:x}", Hex(&Sha256::digest(value)));
            return;
        }
    }
}

/// Bytes as lower-case hexadecimal.
struct Hex<'b>(&'b [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
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

    /// What fleets send stays readable; everything else has one documented form.
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
        }
        assert!(escaped(&long).starts_with(&format!("{}~", "x".repeat(128))), "{}", escaped(&long));
        assert!(escaped(&kanji).starts_with(&format!("{}~", "%E6%9D%B1".repeat(14))), "{}", escaped(&kanji));
    }

    /// Values that differ only after what is kept stay apart, also from a value that reads like a shortened one.
    #[test]
    fn shortened_values_stay_apart() {
        let (one, other) = (format!("{}1", "x".repeat(300)), format!("{}2", "x".repeat(300)));
        assert_ne!(escaped(&one), escaped(&other));
        assert_ne!(escaped(&escaped(&one)), escaped(&one));
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

        /// The result is one segment: not empty, no slash, no control character, bounded.
        #[test]
        fn is_one_segment(value in values()) {
            let out = escaped(&value);
            prop_assert!((1..=193).contains(&out.len()), "{} bytes", out.len());
            prop_assert!(out.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.%~".contains(&b)), "{}", out);
        }
    }
}
