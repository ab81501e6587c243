//! Why a row cannot be stored in its table.

use std::fmt;

use fms_record::json::{Error, LoneSurrogate};
use fms_record::{MessageError, NameError};
use thiserror::Error as ThisError;

/// The most bytes of a value that are shown.
const SHOWN: usize = 200;

/// The kinds of reasons for which a row is put into quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The line is not a JSON object.
    NotJson,
    /// The line is longer than the lake reads.
    TooLong,
    /// A field that decides the table is missing or is no text or number.
    NoTable,
    /// The row has no event time that can be read.
    NoTime,
    /// A value is not of the type of its column, or would lose something in it.
    Type,
    /// An object has the same name twice.
    NameTwice,
    /// A value is nested too deep.
    TooDeep,
    /// A string has half of a surrogate pair, so it is no Unicode text.
    NotUnicode,
}

impl Reason {
    /// The name of the kind, as quarantined rows and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::TooLong => "too-long",
            Self::NoTable => "no-table",
            Self::NoTime => "no-time",
            Self::Type => "type",
            Self::NameTwice => "name-twice",
            Self::TooDeep => "too-deep",
            Self::NotUnicode => "not-unicode",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a row cannot be stored in its table: what is wrong with which column.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{reason}: {}expected {expected}, found {found}", in_column(column))]
pub struct Misfit {
    /// The kind of reason.
    pub reason: Reason,
    /// The column, with the fields and elements below it: `doors.fl`, `dtcs[].code`. Empty if it is about no column.
    pub column: String,
    /// What the column takes.
    pub expected: String,
    /// What the row has, as JSON text that is cut if it is long.
    pub found: String,
}

fn in_column(column: &str) -> String {
    if column.is_empty() { String::new() } else { format!("column `{column}`: ") }
}

impl Misfit {
    pub(crate) fn new(reason: Reason, expected: impl Into<String>, found: &str) -> Self {
        let end = found.floor_char_boundary(SHOWN);
        let more = if end < found.len() { "…" } else { "" };
        Self { reason, column: String::new(), expected: expected.into(), found: format!("{}{more}", &found[..end]) }
    }

    /// The same misfit, seen from the object in which the value is that of `name`.
    pub(crate) fn within(mut self, name: &str) -> Self {
        let dot = if self.column.is_empty() || self.column.starts_with('[') { "" } else { "." };
        self.column = format!("{name}{dot}{}", self.column);
        self
    }

    pub(crate) fn name_twice(name: &str) -> Self {
        Self::new(Reason::NameTwice, "each name once", name)
    }
}

impl From<Error> for Misfit {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Syntax { .. } => Reason::NotJson,
            Error::LoneSurrogate { .. } => Reason::NotUnicode,
            Error::Depth { .. } => Reason::TooDeep,
        };
        Self::new(reason, "a JSON value", &error.to_string())
    }
}

impl From<LoneSurrogate> for Misfit {
    fn from(surrogate: LoneSurrogate) -> Self {
        Self::from(Error::LoneSurrogate { at: surrogate.at, unit: surrogate.unit })
    }
}

impl From<&MessageError> for Misfit {
    fn from(error: &MessageError) -> Self {
        let reason = match error {
            MessageError::Name(NameError::LoneSurrogate { .. }) => Reason::NotUnicode,
            MessageError::Name(_) => Reason::NameTwice,
            _ => Reason::NotJson,
        };
        Self::new(reason, "a JSON object on one line", &error.to_string())
    }
}
