//! JSON without the white space that means nothing, which is that between tokens and never that inside of strings.

use std::borrow::Cow;

use super::scan;

/// Whether a byte is white space in JSON. Inside of a string, a space is the only one that can stand there unescaped.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Appends a piece of JSON as one line: as it stands if it has no line breaks, and otherwise without the white space
/// between its tokens.
pub(crate) fn write_line(out: &mut Vec<u8>, json: &[u8]) {
    if memchr::memchr2(b'\n', b'\r', json).is_none() {
        out.extend_from_slice(json);
    } else {
        write(out, json);
    }
}

/// A value's text without white space between its tokens.
pub(crate) fn value(json: &str) -> Cow<'_, [u8]> {
    // Only an array or an object has more than one token.
    if !json.starts_with(['[', '{']) || !json.bytes().any(is_space) {
        return Cow::Borrowed(json.as_bytes());
    }
    let mut out = Vec::with_capacity(json.len());
    write(&mut out, json.as_bytes());
    Cow::Owned(out)
}

fn write(out: &mut Vec<u8>, json: &[u8]) {
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let end = match byte {
            b'"' => scan::string(json, at + 1).unwrap_or(json.len()),
            _ => at + 1,
        };
        if !is_space(byte) {
            out.extend_from_slice(&json[at..end]);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> String {
        let mut out = Vec::new();
        write_line(&mut out, json.as_bytes());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_and_single_lines_keep_their_spaces() {
        let spaced = r#"{ "a b\" ,": [ 1 , "\\" ] }"#;
        assert_eq!(line(spaced), spaced);
        assert_eq!(line(&spaced.replace("1 ", "1\r\n")), r#"{"a b\" ,":[1,"\\"]}"#);
        assert_eq!(&*value(spaced), br#"{"a b\" ,":[1,"\\"]}"#);
        assert_eq!(&*value(r#"" a  b ""#), br#"" a  b ""#);
    }
}
