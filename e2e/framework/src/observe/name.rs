//! Makes the names of sections, which are also the names of snapshot files.

use std::fmt::Write;

/// The longest name that is made from names that a pipeline chose. File systems allow 255 bytes, `.snap.new` included.
const LONGEST_NAME: usize = 200;

/// A name for a snapshot file. The parts are joined by `__`, which is how insta writes a `/`, and characters that not
/// every file system allows are escaped.
///
/// Different parts give different files. A name that could be the same as another one gets a digest of all parts at its
/// end. This concerns names that were too long and were cut, names with capitals, which some file systems do not
/// distinguish from small letters, names with an escaped character, and names that contain `__` themselves.
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
        // FNV-1a is short and gives the same result everywhere, and it only has to keep names apart.
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
