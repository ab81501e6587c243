//! A lake in a folder, without a service: files below `formatted/` and `quarantine/`, and the tables as JSON files
//! below `tables/`. Query engines read it as it is.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::convert::{Surroundings, Target, Written};
use crate::key::file_name;
use crate::object::Lake;
use crate::quarantine::Object;
use crate::table::{Identity, Table};
use crate::types::{Field, Type};

/// A lake in a folder. One process at a time may write to it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    object: Object,
}

/// A table as its file has it.
#[derive(Debug, Serialize, Deserialize)]
struct TableFile {
    /// The folder of the table's files, below that of the lake.
    location: String,
    version: u64,
    columns: Vec<ColumnEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

impl Folder {
    /// The lake in a folder, which is created when the first file is written, for the conversion of `object`.
    pub fn new(root: impl Into<PathBuf>, object: Object) -> Self {
        Self { root: root.into(), object }
    }

    fn table_file(&self, identity: &Identity) -> PathBuf {
        self.root.join("tables").join(format!("{}.json", identity.table()))
    }

    fn read_table(&self, identity: &Identity) -> io::Result<Option<TableFile>> {
        let path = self.table_file(identity);
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| at("read the table", &path, &error.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read the table", &path, &error)),
        }
    }

    /// A file that appears under its name when it is complete.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        fs::create_dir_all(&self.root)
            // Everybody may read the lake, as far as the umask allows; temporary files are private otherwise.
            .and_then(|()| {
                let mut file = tempfile::Builder::new();
                file.prefix(".writing-").permissions(Permissions::from_mode(0o666)).tempfile_in(&self.root)
            })
            .map_err(|error| at("create a file in", &self.root, &error))
    }

    fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(|error| at("create the folder", folder, &error))?;
        file.persist(path).map(drop).map_err(|error| at("write", path, &error.error))
    }
}

impl Surroundings for Folder {
    type Out = BufWriter<NamedTempFile>;

    fn table(&mut self, identity: &Identity) -> io::Result<Option<Table>> {
        let Some(TableFile { version, columns, .. }) = self.read_table(identity)? else { return Ok(None) };
        let field = |entry: ColumnEntry| {
            let data_type: Type = entry.data_type.parse().map_err(|error| {
                at(
                    "use the table",
                    &self.table_file(identity),
                    &io::Error::other(format!("column `{}`: {error}", entry.name)),
                )
            })?;
            Ok::<_, io::Error>(Field { name: entry.name, data_type })
        };
        let columns = columns.into_iter().map(field).collect::<Result<_, _>>()?;
        Ok(Some(Table { columns, version: version.to_string() }))
    }

    fn create(&mut self, _: &Target) -> io::Result<Self::Out> {
        Ok(BufWriter::new(self.temporary()?))
    }
}

impl Lake for Folder {
    fn grow(&mut self, identity: &Identity, _: Option<&Table>, columns: &[Field]) -> io::Result<()> {
        let version = self.read_table(identity)?.map_or(0, |table| table.version + 1);
        let entry = |field: &Field| ColumnEntry { name: field.name.clone(), data_type: field.data_type.to_string() };
        let location = format!("formatted/{}", identity.folders());
        let table = TableFile { location, version, columns: columns.iter().map(entry).collect() };
        let mut file = self.temporary()?;
        serde_json::to_writer_pretty(&mut file, &table)?;
        Self::persist(file, &self.table_file(identity))
    }

    fn publish(&mut self, file: Written<Self::Out>, _: Option<&str>) -> io::Result<()> {
        let path = self.root.join(file.target.key(&self.object));
        let mut out = file.out;
        out.flush().map_err(|error| at("write", &path, &error))?;
        let file = out.into_inner().map_err(|error| at("write", &path, &error.into_error()))?;
        Self::persist(file, &path)
    }

    fn end(&mut self, published: &BTreeSet<Target>) -> io::Result<()> {
        let name = file_name(&self.object);
        let kept: BTreeSet<PathBuf> = published.iter().map(|target| self.root.join(target.key(&self.object))).collect();
        for folder in ["formatted", "quarantine"].map(|folder| self.root.join(folder)) {
            for file in files(&folder).map_err(|error| at("list", &folder, &error))? {
                let is_of_object = file.file_stem().is_some_and(|stem| *stem == *name);
                if is_of_object && !kept.contains(&file) {
                    fs::remove_file(&file).map_err(|error| at("remove", &file, &error))?;
                }
            }
        }
        Ok(())
    }
}

/// All files below a folder; none if there is no folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn at(doing: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", path.display()))
}
