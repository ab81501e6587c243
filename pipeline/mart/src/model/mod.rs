//! A model: the SQL of a table of the mart, and what its front matter says of it.

mod cells;
mod columns;
mod front;
mod order;
mod set;

use std::collections::BTreeMap;
use std::path::PathBuf;

use fms_lake::Field;
use jiff::{SignedDuration, Span};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use cells::Cells;
pub use columns::Column;
pub use set::Models;

/// The partition key of every table of the mart: a day of the fleet, as in the lake.
pub(crate) const DAY: &str = "ymd";

/// Moves when partitions have to be built anew although neither their model nor their inputs have changed.
const FORMAT: &str = "1";

/// What is wrong with the file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct ModelError {
    /// The file.
    pub path: PathBuf,
    /// The line in it, from 1 on.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// A table of the mart: how it is made, and what holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name of the table, and of the file without its extension.
    pub name: String,
    /// What the table has, in words.
    pub description: String,
    /// Who answers for it.
    pub owner: String,
    /// What a row is.
    pub grain: String,
    /// The columns that tell rows of a day apart, by which they are sorted. They are never null.
    pub keys: Vec<String>,
    /// The columns, without the partition key.
    pub columns: Vec<Column>,
    /// The tables that it reads, by their names.
    pub sources: BTreeMap<String, Reads>,
    /// What has to be true for every row, or else a partition is not swapped in.
    pub checks: Vec<Check>,
    /// Rows of sources, and the rows that have to become of them.
    pub examples: Vec<Example>,
    /// The query. Its columns are those of the model, and the partition key.
    pub sql: String,
    /// The line of the file in which the query begins.
    pub line: usize,
}

/// What a model reads of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    /// How many days before its own one a partition reads.
    pub before: u32,
    /// How many days after its own one a partition reads.
    pub after: u32,
    /// For how long the source may be without a new partition before people are warned.
    pub freshness: Option<SignedDuration>,
    /// The columns that are read. A column that the lake's table does not have is null.
    pub columns: Vec<Field>,
    /// Whether the source is another model.
    pub is_model: bool,
}

/// A condition that is true for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it ensures, in words.
    pub name: String,
    /// The condition, in SQL. That it is null counts as false.
    pub sql: String,
}

/// Rows of sources, and the rows that have to become of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// What it shows.
    pub name: String,
    /// The line of the file in which it begins.
    pub line: usize,
    /// The rows of sources; the others are empty.
    pub given: BTreeMap<String, Cells>,
    /// The rows of all days, in the order of days and keys. Columns that are not named may have any value.
    pub expect: Cells,
}

impl Model {
    /// A digest of all that the rows depend on beside the inputs.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(FORMAT);
        add(&self.sql);
        for key in &self.keys {
            add(key);
        }
        for Column { field, .. } in &self.columns {
            add(&format!("{} {}", field.name, field.data_type));
        }
        for (source, reads) in &self.sources {
            add(&format!("{source} {} {}", reads.before, reads.after));
            for column in reads.columns.iter().filter(|_| !reads.is_model) {
                add(&format!("{} {}", column.name, column.data_type));
            }
        }
        hex::encode(hash.finalize())[..16].to_owned()
    }

    /// The columns as a catalog has them.
    pub fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|column| column.field.clone()).collect()
    }
}

impl Reads {
    /// The days that are read beside the own one, as `reads` has them; `None` if there is none.
    pub fn days(&self) -> Option<String> {
        let days = |number: u32| if number == 1 { "1 day".to_owned() } else { format!("{number} days") };
        match (self.before, self.after) {
            (0, 0) => None,
            (before, 0) => Some(format!("{} before", days(before))),
            (0, after) => Some(format!("{} after", days(after))),
            (before, _) => Some(format!("{} before and after", days(before))),
        }
    }

    /// The first and the last day that the partition of a day reads.
    pub fn window(&self, day: jiff::civil::Date) -> (jiff::civil::Date, jiff::civil::Date) {
        let days = |days: u32| Span::new().days(i64::from(days));
        (day.saturating_sub(days(self.before)), day.saturating_add(days(self.after)))
    }
}
