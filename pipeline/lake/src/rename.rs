//! Fields whose columns have another name, and why: what nobody finds under the name that a message has for it.

use std::collections::BTreeMap;
use std::fmt;

use crate::name;

/// The most fields of a table that are noted. Where names are data, such as identifiers, there is no end of them.
const MOST: usize = 1000;

/// Why a field's column has another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Renaming {
    /// The name has upper case or characters that columns do not have, such as dots and spaces.
    Form,
    /// Another field of the same object has the name.
    Conflict,
    /// It is the name of a partition key, `_rest`, or ends like those of original texts.
    Reserved,
    /// The name is too long.
    Length,
}

impl Renaming {
    /// The reason in a word, as metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Conflict => "conflict",
            Self::Reserved => "reserved",
            Self::Length => "length",
        }
    }

    /// Why the field `name` has this column; `None` if it has its own name. `reserved` are names that none may have.
    pub(crate) fn of(name: &str, column: &str, reserved: &[&str]) -> Option<Self> {
        if name == column {
            return None;
        }
        let wanted = name::column(name);
        Some(if reserved.contains(&&*wanted) || name::ends_as_original(name) {
            Self::Reserved
        } else if wanted != column {
            Self::Conflict
        } else if name::is_too_long(name) {
            Self::Length
        } else {
            Self::Form
        })
    }
}

impl fmt::Display for Renaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "columns have no upper case, dots or spaces",
            Self::Conflict => "another field has that name",
            Self::Reserved => "that name is reserved",
            Self::Length => "that name is too long",
        })
    }
}

/// The fields of a table that have other names as columns: the name of the field, that of the column, and why. Within a
/// struct, both begin with the column of the struct.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renames(BTreeMap<(String, String), Renaming>);

impl Renames {
    /// Notes the fields of an object by their columns, and those that have another name.
    pub(crate) fn note<'n>(&mut self, fields: impl Iterator<Item = (&'n str, &'n str)>, reserved: &[&str]) {
        for (name, column) in fields {
            if let Some(why) = Renaming::of(name, column, reserved) {
                self.add(name.to_owned(), column.to_owned(), why);
            }
        }
    }

    fn add(&mut self, field: String, column: String, why: Renaming) {
        if self.0.len() < MOST {
            self.0.insert((field, column), why);
        }
    }

    /// Adds those of an object whose fields are in the column `within`, which is empty or ends with a dot.
    pub(crate) fn add_within(&mut self, within: &str, others: &Self) {
        for ((field, column), why) in &others.0 {
            self.add(format!("{within}{field}"), format!("{within}{column}"), *why);
        }
    }

    /// Adds those of other objects.
    pub fn extend(&mut self, others: Self) {
        others.0.into_iter().for_each(|((field, column), why)| self.add(field, column, why));
    }

    /// Each field with its column and the reason, by the names of the fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Renaming)> {
        self.0.iter().map(|((field, column), why)| (field.as_str(), column.as_str(), *why))
    }

    /// Whether all columns have the names of their fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::RESERVED;

    #[test]
    fn each_renaming_has_its_reason() {
        let long = "a".repeat(251);
        let names = ["id", "Speed", "speed", "a.b", "hour", "_rest", "x__raw", long.as_str()];
        let columns = name::columns(&names, &RESERVED).expect("no name twice");
        let mut renames = Renames::default();
        renames.note(names.iter().copied().zip(columns.iter().map(|name| &**name)), &RESERVED);
        let told: Vec<String> =
            renames.iter().map(|(field, column, why)| format!("{:.8} {:.8} {}", field, column, why.as_str())).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        Speed speed__2 conflict
        _rest _rest__2 reserved
        a.b a_b form
        aaaaaaaa aaaaaaaa length
        hour hour__2 reserved
        x__raw x__raw_ reserved
        ");
    }

    #[test]
    fn the_names_within_a_struct_begin_with_its_column_and_there_is_an_end_of_them() {
        let (mut all, mut inner) = (Renames::default(), Renames::default());
        inner.note([("Rear", "rear")].into_iter(), &[]);
        all.add_within("doors.", &inner);
        assert_eq!(all.iter().collect::<Vec<_>>(), [("doors.Rear", "doors.rear", Renaming::Form)]);
        let names: Vec<(String, String)> = (0..2 * MOST).map(|n| (format!("N{n}"), format!("n{n}"))).collect();
        all.note(names.iter().map(|(name, column)| (name.as_str(), column.as_str())), &[]);
        assert_eq!(all.iter().count(), MOST);
    }
}
