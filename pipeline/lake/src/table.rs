//! Which table a row belongs to, and where the table's files are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use fms_layout::Value;
use fms_record::Row;
use fms_record::json::{self, LoneSurrogate};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::misfit::{Misfit, Reason};
use crate::types::Field;

/// The most bytes of a table's name: what Redshift takes. Glue takes 255.
const MAX_NAME: usize = 127;

/// A table as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The columns, without the partition keys.
    pub columns: Vec<Field>,
    /// The catalog's version of the table. Files that are written by the same version of it have the same bytes.
    pub version: String,
    /// Whether data may add columns.
    pub growth: Growth,
}

/// Whether data may add columns to a table. Where it may not, what has no column is kept as JSON in the column `_rest`,
/// which is added if it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Growth {
    /// Every new field becomes a column.
    #[default]
    Open,
    /// Somebody has locked the table.
    Locked,
    /// The table has as many columns as a catalog takes.
    Full,
}

impl Growth {
    /// Whether every new field becomes a column.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(crate) fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

/// What tells the rows of one table from those of another: the values of the fields that `lake.table.fields` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    fields: Vec<(String, String)>,
}

impl Identity {
    /// The identity of a row, whose object's key has given these values. All other fields have to be in the row, as
    /// strings, numbers or booleans that are not empty.
    pub fn of(row: &Row<'_>, fields: &[String], of_key: &BTreeMap<String, String>) -> Result<Self, Misfit> {
        let value = |field: &String| {
            if let Some(value) = of_key.get(field) {
                return Ok((field.clone(), value.clone()));
            }
            let value = row.find(field).unwrap_or("null");
            let text = said(value)?;
            if text.is_empty() {
                return Err(Misfit::new(Reason::NoTable, "a text or number that says the table", value).within(field));
            }
            Ok((field.clone(), text.into_owned()))
        };
        Ok(Self { fields: fields.iter().map(value).collect::<Result<_, _>>()? })
    }

    /// Whether [`Self::of`] gives this identity for a row. It copies nothing, unless a value has escapes.
    pub(crate) fn has(&self, row: &Row<'_>, of_key: &BTreeMap<String, String>) -> bool {
        let says = |found: &str, value: &str| said(found).is_ok_and(|said| said == value);
        self.fields
            .iter()
            .all(|(field, value)| of_key.contains_key(field) || row.find(field).is_some_and(|found| says(found, value)))
    }

    /// The identity whose folders these are; `None` if they are of none, or a value was too long to be kept whole.
    pub(crate) fn of_folders(folders: &str) -> Option<Self> {
        let field = |folder: &str| {
            let (name, value) = folder.split_once('=')?;
            match (fms_layout::unescape(name)?, fms_layout::unescape(value)?) {
                (Value::Whole(name), Value::Whole(value)) => Some((name, value)),
                _ => None,
            }
        };
        Some(Self { fields: folders.split('/').map(field).collect::<Option<_>>()? })
    }

    /// The table's name in the catalog: the values joined by `_`. No two identities share a name, for a hash follows
    /// where that alone would not do: where a letter was not in lower case, another character than a letter of ASCII, a
    /// digit or `_` had to be replaced, the name had to be cut, or a value before the last has a `_` of its own.
    pub fn table(&self) -> String {
        let values: Vec<&str> = self.fields.iter().map(|(_, value)| value.as_str()).collect();
        let joined = values.join("_");
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let name: String = joined.to_lowercase().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let is_ambiguous = values.iter().rev().skip(1).any(|value| value.contains('_'));
        if name == joined && name.len() <= MAX_NAME && !is_ambiguous {
            return name;
        }
        // Of the list of values, for the joined text may be that of others too.
        let hash = &hex::encode(Sha256::digest(serde_json::json!(values).to_string()))[..8];
        // The name is ASCII, so it can be cut anywhere.
        format!("{}_{hash}", &name[..name.len().min(MAX_NAME - 1 - hash.len())])
    }

    /// The folders of the table's files: `object=vehicle/type=tire/command=report`, escaped as Hive does it.
    pub fn folders(&self) -> String {
        let mut folders = String::new();
        for (field, value) in &self.fields {
            if !folders.is_empty() {
                folders.push('/');
            }
            fms_layout::Field::new(field).write(value, &mut folders);
        }
        folders
    }
}

/// What the value of a field says of the table: nothing if it is null, an object or an array.
fn said(value: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    match json::raw(value) {
        Some(text) => json::decode(text),
        None if value.starts_with(['{', '[']) || value == "null" => Ok(Cow::Borrowed("")),
        None => Ok(Cow::Borrowed(value)),
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folders())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(values: [&str; 3]) -> Identity {
        let fields = ["object", "type", "command"].into_iter().zip(values);
        Identity { fields: fields.map(|(field, value)| (field.to_owned(), value.to_owned())).collect() }
    }

    #[test]
    fn a_row_is_of_a_table_if_its_identity_is_the_tables() {
        let fields = ["a".to_owned(), "k".to_owned()];
        let of_key = BTreeMap::from([("k".to_owned(), "1".to_owned())]);
        let values = [
            r#""x""#,
            r#""y""#,
            r#""null""#,
            "null",
            r#""5""#,
            "5",
            r#""{}""#,
            "{}",
            r#""\\n""#,
            r#""\n""#,
            r#""\u0078""#,
        ];
        let rows: Vec<String> = values.iter().map(|value| format!(r#"{{"a":{value}}}"#)).collect();
        let mut parser = fms_record::Parser::new(None);
        let messages: Vec<_> = rows.iter().map(|row| parser.parse(row.as_bytes()).expect("a row")).collect();
        let rows = || messages.iter().map(|message| message.rows().next().expect("a row").expect("a row"));
        let mut of_the_same = 0;
        for (text, row) in values.iter().zip(rows()) {
            let Ok(identity) = Identity::of(&row, &fields, &of_key) else { continue };
            for (other_text, other) in values.iter().zip(rows()) {
                let is_same = Identity::of(&other, &fields, &of_key).as_ref() == Ok(&identity);
                let has = identity.has(&other, &of_key);
                assert_eq!(has, is_same, "{text} and {other_text}");
                of_the_same += usize::from(has);
            }
        }
        // Nine are of a table; an escaped `x` is `x`, and 5 is the text 5.
        assert_eq!(of_the_same, 13);
    }

    #[test]
    fn a_table_has_a_name_that_every_reader_takes_and_no_other_table_has() {
        assert_eq!(identity(["vehicle", "tire", "report"]).table(), "vehicle_tire_report");
        let long = "x".repeat(300);
        let names = ["tire", "Tire", "TIRE", "tire-1", "tire.1", "타이어", &long, &format!("{long}x"), "a_b"];
        let mut tables: Vec<String> = names.iter().map(|name| identity(["vehicle", name, "report"]).table()).collect();
        tables.push(identity(["vehicle", "a", "b_report"]).table());
        tables.push(identity(["vehicle_a", "b", "report"]).table());
        for table in &tables {
            assert!(table.len() <= 127 && table.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{table}");
            assert_eq!(tables.iter().filter(|other| *other == table).count(), 1, "{table}");
        }
    }

    #[test]
    fn the_folders_are_those_of_hive() {
        let identity = identity(["a/b", "t=", "가"]);
        assert_eq!(identity.folders(), "object=a%2Fb/type=t%3D/command=%EA%B0%80");
        assert_eq!(Identity::of_folders(&identity.folders()), Some(identity));
        assert_eq!(Identity::of_folders("unclassified"), None);
    }
}
