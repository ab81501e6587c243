//! Names of sections, which are names of snapshot files.

use std::fmt::Write;

/// The longest file name made from what a pipeline wrote; file systems allow 255 bytes, `.snap.new` included.
const LONGEST_NAME: usize = 200;

/// A name for a snapshot file: the parts are joined by `__`, as insta writes a `/`, and what file systems do not allow everywhere is
/// escaped.
///
/// Two different names never give the same file. A name that could be mistaken for another one ends in a digest of the whole: one that was
/// too long and is cut, one with capitals, which some file systems do not tell from small letters, and one that has something escaped or a
/// `__` of its own.
pub(super) fn safe(parts: &[&str]) -> String {
    let mut name = String::new();
    let mut ambiguous = false;
    for (i, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        name.push_str(if i > 0 { "__" } else { "" });
        ambiguous |= part.contains("__") || part.contains(|c: char| c.is_ascii_uppercase());
        for byte in part.bytes() {
            match byte {
                b'/' => name.push_str("__"),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'=' | b'+' | b'%' => {
                    name.push(byte.into());
                }
                other => {
                    ambiguous = true;
                    let _ = write!(name, "%{other:02X}");
                }
            }
        }
    }
    if ambiguous || name.len() > LONGEST_NAME {
        // FNV-1a is short and stable, and names need no more than to differ.
        let digest = parts
            .join("\0")
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        name.truncate(LONGEST_NAME - 10);
        let _ = write!(name, "__{digest:08x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_short_and_different() {
        assert_eq!(
            safe(&["s3", "raw", "topics/a.b/ymd=2023-01-01/hour=12"]),
            "s3__raw__topics__a.b__ymd=2023-01-01__hour=12"
        );
        assert!(safe(&["s3", "raw", "a:b c/é"]).starts_with("s3__raw__a%3Ab%20c__%C3%A9__"));
        let lower = |part: &str| safe(&["s3", part]).to_ascii_lowercase();
        for (a, b) in [("type=KIN", "type=kin"), ("type=KIN", "type=Kin"), ("a b", "a%20b"), ("a/b", "a__b")] {
            assert_ne!(lower(a), lower(b));
        }
        let long = |tail: &str| safe(&["s3", &("x".repeat(300) + tail)]);
        assert_eq!(long("a").len(), LONGEST_NAME);
        assert_ne!(long("a"), long("b"));
    }
}
