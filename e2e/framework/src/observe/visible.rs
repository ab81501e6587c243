//! Makes text in which every character can be seen: characters that a terminal or an editor would hide, reorder or take
//! for a line break are escaped.

use std::fmt::Write;

/// `text` with every invisible character written as `\u{…}`. For JSON this is unambiguous, because JSON cannot contain
/// `\u{`.
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

/// Shows any bytes as one line. The first text of the result says how the line is written and is meant to stand before
/// it. UTF-8 text in which everything is visible is shown as it is. Otherwise a backslash is written `\\`, an invisible
/// character `\u{…}`, a byte that is not UTF-8 like `\xb1`, and line breaks and tabs `\n`, `\r` and `\t`.
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
    // Editors remove white space at the end of a line, so the last such character is escaped.
    if shown.ends_with(char::is_whitespace)
        && let Some(last) = shown.pop()
    {
        let _ = write!(shown, "{}", last.escape_unicode());
    }
    (if text.is_ok() { ", escaped" } else { ", not UTF-8, escaped" }, shown)
}

/// Whether a character is a control (C0, DEL, C1), a line or paragraph separator, a bidirectional control, or has no
/// width.
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
