//! A table in a folder whose partitions have places of their own, as tables of the mart have. Its file says where they
//! are, and is replaced as a whole, so that readers see a partition as it was or as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context as _;
use fms_lake::Field;
use serde::{Deserialize, Serialize};

/// The folder of these tables, below that of the lake.
const FOLDER: &str = "mart";

/// The name of a table's file.
const NAME: &str = "table.json";

/// A table as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlacedTable {
    /// The names of the partition keys.
    pub keys: Vec<String>,
    /// The columns of the files.
    pub columns: Vec<PlacedColumn>,
    /// The partitions, by the values of the keys joined by `/`.
    pub partitions: BTreeMap<String, PlacedPartition>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as a catalog has it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// What it means.
    pub comment: String,
}

/// A partition of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlacedPartition {
    /// The folder of its files, below that of the lake.
    pub location: String,
    /// What is noted of it.
    pub parameters: BTreeMap<String, String>,
}

impl PlacedTable {
    /// Where the file of a table is, in a lake.
    pub fn path(lake: &Path, name: &str) -> PathBuf {
        lake.join(FOLDER).join(name).join(NAME)
    }

    /// Reads the file of a table; `None` if there is none.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => {
                let table = serde_json::from_slice(&text);
                table
                    .map(Some)
                    .with_context(|| format!("cannot read the table {}; remove it to build it anew", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read the table {}", path.display())),
        }
    }

    /// The tables of a lake by their names.
    pub fn all(lake: &Path) -> anyhow::Result<BTreeMap<String, Self>> {
        let folder = lake.join(FOLDER);
        let failed = || format!("cannot list {}", folder.display());
        let mut tables = BTreeMap::new();
        if folder.exists() {
            for entry in folder.read_dir().with_context(failed)? {
                let entry = entry.with_context(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                if let Some(table) = Self::read(&entry.path().join(NAME))? {
                    tables.insert(name, table);
                }
            }
        }
        Ok(tables)
    }

    /// The columns with their types.
    pub fn fields(&self) -> anyhow::Result<Vec<Field>> {
        let field = |column: &PlacedColumn| {
            let data_type = column.data_type.parse().with_context(|| format!("column `{}`", column.name))?;
            Ok(Field::new(&column.name, data_type))
        };
        self.columns.iter().map(field).collect()
    }
}
