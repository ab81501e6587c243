//! The path of a column as SQL: `doors.fl` is a field of a struct, and `dtcs[].code` one of each element of a list.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// What stands for an element of the list that a query takes apart.
pub(crate) const ELEMENT: &str = "quality_element";

/// The path of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Path {
    /// The names that lead to a list whose elements are looked at one by one.
    list: Option<Vec<String>>,
    /// The names from there on.
    names: Vec<String>,
}

impl Path {
    /// The list whose elements are looked at, as SQL.
    pub fn list(&self) -> Option<String> {
        self.list.as_deref().map(sql)
    }

    /// The value as SQL: of a row, or of an element of the list.
    pub fn sql(&self) -> String {
        match self.list {
            None => sql(&self.names),
            Some(_) => self.names.iter().fold(ELEMENT.to_owned(), |sql, name| format!("{sql}[{}]", text(name))),
        }
    }

    /// All names on the way.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.list.iter().flatten().chain(&self.names).map(String::as_str)
    }

    /// The column of the table to which the path leads.
    pub fn column(&self) -> &str {
        self.list.as_deref().unwrap_or(&self.names).first().map_or("", String::as_str)
    }
}

fn sql(names: &[String]) -> String {
    let Some((first, fields)) = names.split_first() else { return String::new() };
    fields.iter().fold(identifier(first), |sql, name| format!("{sql}[{}]", text(name)))
}

impl FromStr for Path {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let names = |path: &str| -> Result<Vec<String>, String> {
            let names: Vec<String> = path.split('.').map(str::to_owned).collect();
            let is_wrong = |name: &String| name.is_empty() || name.contains(['[', ']']);
            if names.iter().any(is_wrong) {
                return Err(format!(
                    "`{path}` is no path of a column; write `column`, `column.field`, or `list[].field` for each element \
                     of one list"
                ));
            }
            Ok(names)
        };
        match path.split_once("[]") {
            None => Ok(Self { list: None, names: names(path)? }),
            Some((list, "")) => Ok(Self { list: Some(names(list)?), names: Vec::new() }),
            Some((list, fields)) => {
                let fields = fields.strip_prefix('.').unwrap_or(fields);
                Ok(Self { list: Some(names(list)?), names: names(fields)? })
            }
        }
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(path: String) -> Result<Self, String> {
        path.parse()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(list) = &self.list {
            write!(f, "{}[]", list.join("."))?;
            if !self.names.is_empty() {
                f.write_str(".")?;
            }
        }
        f.write_str(&self.names.join("."))
    }
}

/// A name as SQL.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_leads_to_a_column_a_field_or_the_elements_of_a_list() {
        let sql = |path: &str| {
            let path: Path = path.parse().expect("a path");
            (path.list(), path.sql())
        };
        assert_eq!(sql("speed"), (None, r#""speed""#.into()));
        assert_eq!(sql("doors.fl"), (None, r#""doors"['fl']"#.into()));
        assert_eq!(sql("dtcs[].code"), (Some(r#""dtcs""#.into()), "quality_element['code']".into()));
        assert_eq!(sql("bus.codes[]"), (Some(r#""bus"['codes']"#.into()), "quality_element".into()));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for wrong in ["", "a..b", ".a", "a[0]", "[].a", "a[].b[].c"] {
            let error = wrong.parse::<Path>().expect_err(wrong);
            assert!(error.contains("is no path of a column"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_written_as_it_was_read(
            list in proptest::option::of("[a-z]{1,3}(\\.[a-z]{1,3}){0,2}"), names in "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}",
        ) {
            let text = list.map_or(names.clone(), |list| format!("{list}[].{names}"));
            let path: Path = text.parse().expect("a path");
            prop_assert_eq!(path.to_string(), text);
        }
    }
}
