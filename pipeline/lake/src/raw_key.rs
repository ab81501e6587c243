//! What the key of a raw object says about all of its rows, by a template such as `topics/{topic}/`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::misfit::{Misfit, Reason};

/// A template of raw keys: the folders with which they begin. What comes after them does not matter.
///
/// A folder is a text that has to be there, or has a field in it, as `{topic}` and `vendor={vendor}` do, or is any
/// folder, which is `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    folders: Vec<Folder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    Any,
    Literal(String),
    Field { before: String, name: String, after: String },
}

/// Why a text is no template of keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyTemplateError {
    /// A folder is empty, or has a brace that belongs to no field, or two fields.
    #[error("`{0}` is no folder of a template; write a text, one `{{field}}` with or without text around it, or `*`")]
    Folder(String),
    /// Nothing would be read from the key.
    #[error("it has no field; write `{{field}}` where the value is, as in `topics/{{topic}}/`")]
    NoField,
    /// The same field is in two folders.
    #[error("it has the field `{0}` twice")]
    Twice(String),
}

impl FromStr for KeyTemplate {
    type Err = KeyTemplateError;

    fn from_str(text: &str) -> Result<Self, KeyTemplateError> {
        let folders = text.strip_suffix('/').unwrap_or(text).split('/').map(str::parse).collect::<Result<_, _>>()?;
        let template = Self { text: text.to_owned(), folders };
        let mut names: Vec<&str> = template.fields().collect();
        if names.is_empty() {
            return Err(KeyTemplateError::NoField);
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(KeyTemplateError::Twice(pair[0].to_owned())),
            None => Ok(template),
        }
    }
}

impl FromStr for Folder {
    type Err = KeyTemplateError;

    fn from_str(text: &str) -> Result<Self, KeyTemplateError> {
        let wrong = || KeyTemplateError::Folder(text.to_owned());
        let is_plain = |text: &str| !text.contains(['{', '}']);
        match text.split_once('{') {
            None if text == "*" => Ok(Self::Any),
            None if !text.is_empty() && is_plain(text) => Ok(Self::Literal(text.to_owned())),
            None => Err(wrong()),
            Some((before, rest)) => {
                let (name, after) = rest.split_once('}').ok_or_else(wrong)?;
                if name.is_empty() || ![before, name, after].into_iter().all(is_plain) {
                    return Err(wrong());
                }
                let [before, name, after] = [before, name, after].map(str::to_owned);
                Ok(Self::Field { before, name, after })
            }
        }
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl KeyTemplate {
    /// The names of its fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().filter_map(|folder| match folder {
            Folder::Field { name, .. } => Some(name.as_str()),
            Folder::Any | Folder::Literal(_) => None,
        })
    }

    /// The values of the fields in a key. The misfit says that the key is not one of the template.
    pub(crate) fn read(&self, key: &str) -> Result<BTreeMap<String, String>, Misfit> {
        // The last part of a key is the name of a file, and no folder.
        let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
        let mut found = folders.split('/');
        let mut values = BTreeMap::new();
        for folder in &self.folders {
            let text = found.next().filter(|text| !text.is_empty());
            let is_there = text.is_some_and(|text| folder.take(text, &mut values));
            if !is_there {
                return Err(Misfit::new(Reason::NoTable, format!("a raw object with a key like `{self}`"), key));
            }
        }
        Ok(values)
    }
}

impl Folder {
    /// Whether a folder of a key is one of the template; notes the value in it.
    fn take(&self, text: &str, values: &mut BTreeMap<String, String>) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => text == literal,
            Self::Field { before, name, after } => {
                let value = text.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(after.as_str()));
                let Some(value) = value.filter(|value| !value.is_empty()) else { return false };
                // As Hive and the S3 sink escape values.
                let decoded = percent_decode_str(value).decode_utf8().map_or_else(|_| value.into(), Into::into);
                values.insert(name.clone(), decoded);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str, key: &str) -> Result<String, String> {
        let template: KeyTemplate = template.parse().expect("a template");
        let values = template.read(key).map_err(|misfit| misfit.to_string())?;
        Ok(values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn fields_are_read_from_the_folders_of_a_key() {
        let key = "topics/fleet.v1/vendor=a%2Fb%EA%B0%80/ymd=2023-01-01/x.json";
        assert_eq!(read("topics/{topic}", key), Ok("topic=fleet.v1".into()));
        assert_eq!(read("topics/{topic}/vendor={vendor}/", key), Ok("topic=fleet.v1 vendor=a/b가".into()));
        assert_eq!(read("*/fleet.{version}", key), Ok("version=v1".into()));
        assert_eq!(read("{all}/{topic}.v1", key), Ok("all=topics topic=fleet".into()));
        assert_eq!(read("{x}", "%ff/a.json"), Ok("x=%ff".into()));
    }

    #[test]
    fn a_key_of_another_form_is_said() {
        for key in ["topics/a.json", "other/t/a.json", "topics//a.json", "a.json", ""] {
            let error = read("topics/{topic}/", key).expect_err(key);
            assert!(error.contains("expected a raw object with a key like `topics/{topic}/`, found"), "{error}");
        }
        assert!(read("vendor={v}", "vendor=/a.json").is_err(), "an empty value");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, says) in [
            ("topics/", "it has no field"),
            ("", "`` is no folder"),
            ("topics//{a}", "`` is no folder"),
            ("{a}{b}", "`{a}{b}` is no folder"),
            ("{}", "`{}` is no folder"),
            ("a}/{b}", "`a}` is no folder"),
            ("{a", "`{a` is no folder"),
            ("{a}/x={a}", "the field `a` twice"),
        ] {
            let error = text.parse::<KeyTemplate>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
