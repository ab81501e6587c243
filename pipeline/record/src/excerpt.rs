//! Pieces of a payload and places in it, as error messages show them.

use std::fmt;

/// A place in a payload, shown as line, column and byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1. A byte order mark does not count.
    pub column: usize,
    /// The byte in the payload, counted from 0.
    pub offset: usize,
}

impl Position {
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line = before.rsplit('\n').next().unwrap_or(before);
        Self {
            line: before.matches('\n').count() + 1,
            column: line.trim_start_matches('\u{feff}').chars().count() + 1,
            offset,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {} (byte offset {} of the message)", self.line, self.column, self.offset)
    }
}

/// A short piece of a payload, shown in backquotes. Control characters are escaped, so that a log line stays one line;
/// NUL bytes at the beginning are only counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// What comes after the NUL bytes.
    pub(crate) text: String,
    /// How many NUL bytes it begins with.
    pub(crate) nuls: usize,
}

impl Excerpt {
    const LENGTH: usize = 40;

    /// The beginning of `text`.
    pub(crate) fn start_of(text: &str) -> Self {
        let nuls = text.bytes().take_while(|&byte| byte == 0).count();
        let text = &text[nuls..];
        let mut excerpt = printable(text.chars().take(Self::LENGTH));
        if text.chars().nth(Self::LENGTH).is_some() {
            excerpt.push('…');
        }
        Self { text: excerpt, nuls }
    }

    /// The end of `text`.
    pub(crate) fn end_of(text: &str) -> Self {
        let start = text.char_indices().rev().take(Self::LENGTH).last().map_or(0, |(start, _)| start);
        let more = if start > 0 { "…" } else { "" };
        Self { text: format!("{more}{}", printable(text[start..].chars())), nuls: 0 }
    }

    /// The excerpt with `word` before it; nothing if there is nothing to show.
    pub(crate) fn after(&self, word: &str) -> String {
        if self.text.is_empty() { String::new() } else { format!("{word} {self}") }
    }
}

fn printable(characters: impl Iterator<Item = char>) -> String {
    characters
        .flat_map(|c| {
            c.is_control().then(|| c.escape_default()).into_iter().flatten().chain((!c.is_control()).then_some(c))
        })
        .collect()
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nuls {
            0 => write!(f, "`{}`", self.text),
            1 => f.write_str("a NUL byte"),
            nuls => write!(f, "{nuls} NUL bytes"),
        }
    }
}

/// The type of a value, with its article, for error messages.
pub(crate) fn kind(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_value_has_its_name() {
        for (json, name) in [
            ("{}", "an object"),
            ("[]", "an array"),
            ("\"{\"", "a string"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("-1", "a number"),
        ] {
            assert_eq!(kind(json), name, "{json}");
        }
    }
}
