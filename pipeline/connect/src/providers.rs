//! Kafka Connect's config providers: `${env:NAME}` and `${file:PATH:KEY}` in a value.
//!
//! Any other `${…}` is left as it is, because templates over row fields are written in the same way. The value that a
//! provider gives is not searched for references again.

use std::collections::HashMap;
use std::path::Path;

type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The sources of the values of `${env:…}` and `${file:…}`.
pub struct Providers {
    env: Environment,
}

/// Why a reference cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// `${env:NAME}` without such a variable.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// `${file:…}` without a key.
    #[error("`${{file:{0}}}` has no key: write `${{file:PATH:KEY}}`")]
    NoKey(String),
    /// The file cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file has no such key.
    #[error("`{path}` has no key `{key}`")]
    NoSuchKey {
        /// The file.
        path: String,
        /// The key.
        key: String,
    },
}

impl Providers {
    /// Providers that read the environment of the process, and files.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Providers that read this environment, and files.
    pub fn new(env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { env: Box::new(env) }
    }

    /// The text, with the value of every reference filled in.
    pub fn resolve(&self, text: &str) -> Result<String, ProviderError> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            let (before, reference) = (&rest[..start], &rest[start + 2..start + length]);
            let value = match reference.split_once(':') {
                Some(("env", name)) => Some(self.variable(name)?),
                Some(("file", place)) => Some(property(place)?),
                _ => None,
            };
            resolved.push_str(before);
            // Of a `${` that begins no reference, only these two characters are passed over, because a reference may
            // begin within the rest.
            let taken = if let Some(value) = value {
                resolved.push_str(&value);
                start + length + 1
            } else {
                resolved.push_str("${");
                start + 2
            };
            rest = &rest[taken..];
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn variable(&self, name: &str) -> Result<String, ProviderError> {
        (self.env)(name).ok_or_else(|| ProviderError::Unset(name.into()))
    }
}

/// Whether the text may have a reference to a provider.
pub fn refers(text: &str) -> bool {
    text.contains("${env:") || text.contains("${file:")
}

/// The parts of `PATH:KEY`. The path may have colons.
fn property(place: &str) -> Result<String, ProviderError> {
    let (path, key) = place.rsplit_once(':').ok_or_else(|| ProviderError::NoKey(place.into()))?;
    let unreadable = |reason: String| ProviderError::Unreadable { path: path.into(), reason };
    let bytes = std::fs::read(Path::new(path)).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
    properties(&text).remove(key).ok_or_else(|| ProviderError::NoSuchKey { path: path.into(), key: key.into() })
}

/// Reads a Java properties file: `key=value`, `key: value` or `key value`, comments with `#` or `!`, lines that a
/// backslash continues, and the escapes of Java. If a key stands twice, the last value counts, as in Java.
pub fn properties(text: &str) -> HashMap<String, String> {
    let mut properties = HashMap::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some(next) => logical.push_str(next),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        properties.insert(unescape(key), unescape(value));
    }
    properties
}

/// Whether the line is continued, which it is if it ends with an odd number of backslashes.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Splits a line. The key ends at the first `=`, `:` or blank that is not escaped; the separator and the blanks around
/// it belong to neither part.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .find(|c: char| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
            escaped = c == '\\' && !escaped;
            ends
        })
        .unwrap_or(line.len());
    let blanks = [' ', '\t', '\x0c'];
    let value = line[end..].trim_start_matches(blanks);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(blanks))
}

fn unescape(text: &str) -> String {
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.as_str().starts_with('u') {
            let digits = chars.as_str().get(1..5).unwrap_or_default();
            if let Ok(unit) = u16::from_str_radix(digits, 16) {
                // Java writes a character outside of the first plane as two escapes, one after the other.
                units.push(unit);
                chars = chars.as_str()[5..].chars();
                continue;
            }
        }
        out.push_str(&String::from_utf16_lossy(&std::mem::take(&mut units)));
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            other => other,
        });
    }
    out.push_str(&String::from_utf16_lossy(&units));
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn providers() -> Providers {
        Providers::new(|name| match name {
            "TABLE" => Some("vehicles".into()),
            "SELF" => Some("${env:TABLE}".into()),
            _ => None,
        })
    }

    #[test]
    fn references_are_filled_in_and_templates_are_not() {
        let resolve = |text| providers().resolve(text).unwrap();
        assert_eq!(resolve("a-${env:TABLE}-${id}#${a|b}"), "a-vehicles-${id}#${a|b}");
        assert_eq!(resolve("${x${env:TABLE}"), "${xvehicles");
        assert_eq!(resolve("${env:SELF}"), "${env:TABLE}", "a provider's value is not looked at again");
        assert_eq!(resolve("${vault:a:b} ${"), "${vault:a:b} ${");
    }

    #[test]
    fn a_missing_value_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.properties");
        std::fs::write(&path, "user = vehicle\\\n  s\n").unwrap();
        let resolve = |text: String| providers().resolve(&text);
        let problem = |text: String| {
            let error = resolve(text).unwrap_err().to_string();
            error.replace(folder.path().to_str().unwrap(), ".")
        };
        let path = path.display();
        assert_eq!(resolve(format!("<${{file:{path}:user}}>")).unwrap(), "<vehicles>");
        assert_snapshot!(problem(format!("${{file:{path}:password}}")), @"`./secrets.properties` has no key `password`");
        assert_snapshot!(problem(format!("${{file:{path}x:user}}")), @"cannot read `./secrets.propertiesx`: No such file or directory (os error 2)");
        assert_snapshot!(problem("${file:x}".into()), @"`${file:x}` has no key: write `${file:PATH:KEY}`");
        assert_snapshot!(problem("${env:NONE}".into()), @"the environment variable `NONE` is not set");
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let read = properties(
            "# comment\n! too\n\n a = 1 \nb:2\nc 3\nd\ne\\ f = g\\=h\ni = \\u00e9\\ud83d\\ude00\nj = a\\tb\\\\\nk = x=y:z\na = 4\n",
        );
        let expected = [
            ("a", "4"),
            ("b", "2"),
            ("c", "3"),
            ("d", ""),
            ("e f", "g=h"),
            ("i", "é😀"),
            ("j", "a\tb\\"),
            ("k", "x=y:z"),
        ];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    proptest! {
        #[test]
        fn text_without_a_provider_is_unchanged(text in "([a-z:|@]|\\$\\{|\\}|\\$|é){0,40}") {
            prop_assume!(!text.contains("env:") && !text.contains("file:"));
            prop_assert_eq!(providers().resolve(&text).unwrap(), text);
        }

        #[test]
        fn what_stands_around_a_reference_is_kept(before in "[^$]{0,20}", after in "[^$]{0,20}") {
            let text = format!("{before}${{env:TABLE}}{after}");
            prop_assert_eq!(providers().resolve(&text).unwrap(), format!("{before}vehicles{after}"));
        }

        #[test]
        fn an_escaped_property_is_read_back(key in "\\PC{1,12}", value in "[ -~éあ\t\n]{0,30}") {
            let escape = |text: &str| text.chars().fold(String::new(), |mut out, c| {
                match c {
                    '\n' => out.push_str("\\n"),
                    '\t' => out.push_str("\\t"),
                    // A letter after a backslash may be an escape; every other character may be escaped.
                    c if c.is_ascii_alphanumeric() => out.push(c),
                    c => { out.push('\\'); out.push(c); }
                }
                out
            });
            let file = format!("{}={}\n", escape(&key), escape(&value));
            prop_assert_eq!(properties(&file).remove(&key), Some(value), "{}", file);
        }

        #[test]
        fn no_properties_file_panics(text in "(\\PC|\\\\|\\\\u|=|:|\n){0,60}") {
            properties(&text);
        }
    }
}
