//! Text in which everything can be seen: what a terminal or an editor would hide, reorder or break a line at is escaped.

use std::fmt::Write;

/// `text` with every invisible character as `\u{…}`. Unambiguous for JSON, in which `\u{` cannot stand.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_invisible(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Any bytes as one line, and how they are written, to be put before it: UTF-8 in which everything is visible as it stands; else with `\\`
/// for a backslash, `\n`, `\r`, `\t`, `\u{…}` for an invisible character and `\xb1` for a byte that is not UTF-8.
pub(super) fn line(bytes: &[u8]) -> (&'static str, String) {
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text
        && !text.contains(is_invisible)
        && !text.ends_with(char::is_whitespace)
    {
        return ("", text.to_owned());
    }
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str("\\\\"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                c if is_invisible(c) => {
                    let _ = write!(shown, "{}", c.escape_unicode());
                }
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    // A line's end is where an editor would drop it.
    if shown.ends_with(char::is_whitespace)
        && let Some(last) = shown.pop()
    {
        let _ = write!(shown, "{}", last.escape_unicode());
    }
    (if text.is_ok() { ", escaped" } else { ", not UTF-8, escaped" }, shown)
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidirectional controls, and characters of no width.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_be_hidden_is_shown() {
        assert_eq!(visible("a\u{2028}b\u{202e}c\u{85}\u{0}é한"), r"a\u{2028}b\u{202e}c\u{85}\u{0}é한");
        assert_eq!(visible(r#"{"a":"\\\n"}"#), r#"{"a":"\\\n"}"#);
    }

    #[test]
    fn bytes_are_text_as_far_as_they_are() {
        assert_eq!(line(br#"{"a":"\n"#), ("", r#"{"a":"\n"#.to_owned()));
        assert_eq!(line("{\n\\ \u{feff}é ".as_bytes()), (", escaped", r"{\n\\ \u{feff}é\u{20}".to_owned()));
        assert_eq!(line(b"\"\xb1\xe8\n"), (", not UTF-8, escaped", r#""\xb1\xe8\n"#.to_owned()));
        assert_eq!(line(b""), ("", String::new()));
    }

    proptest! {
        #[test]
        fn different_bytes_are_different_lines(a in any::<Vec<u8>>(), b in any::<Vec<u8>>()) {
            prop_assert_eq!(line(&a) == line(&b), a == b);
            let (_, text) = line(&a);
            prop_assert!(!text.contains(is_invisible) && !text.ends_with(char::is_whitespace));
        }
    }
}
