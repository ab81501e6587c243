//! A lake in a folder, without a service: files below `formatted/` and `quarantine/`, and the tables as JSON files
//! below `tables/`. Query engines read it as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::convert::{Surroundings, Target, Written};
use crate::ddl::External;
use crate::growth::{self, Grown};
use crate::key::file_name;
use crate::object::{Lake, Published};
use crate::partition::{KEYS, Partition};
use crate::quarantine::Object;
use crate::review::{FOLDER, QuarantineFile, Selection};
use crate::table::{Growth, Identity, Table};
use crate::types::{Field, Type};

/// The folder of the tables' files.
const TABLES: &str = "tables";

/// A lake in a folder. One process at a time may write to it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The files of each raw object, by their name. They are listed once, before the first ones are removed.
    files: Option<HashMap<OsString, Vec<PathBuf>>>,
}

/// A table as its file has it.
#[derive(Debug, Serialize, Deserialize)]
struct TableFile {
    /// The folder of the table's files, below that of the lake.
    location: String,
    version: u64,
    /// Whether data may add columns.
    #[serde(default, skip_serializing_if = "Growth::is_open")]
    schema: Growth,
    columns: Vec<ColumnEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

impl TableFile {
    /// Reads the file of a table; `None` if there is no such table.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| at("read the table", path, &error.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at("read the table", path, &error)),
        }
    }

    fn table(self, path: &Path) -> io::Result<Table> {
        let field = |entry: ColumnEntry| {
            let data_type: Type = entry.data_type.parse().map_err(|error| {
                at("use the table", path, &io::Error::other(format!("column `{}`: {error}", entry.name)))
            })?;
            Ok::<_, io::Error>(Field { name: entry.name, data_type })
        };
        let columns = self.columns.into_iter().map(field).collect::<Result<_, _>>()?;
        Ok(Table { columns, version: self.version.to_string(), growth: self.schema })
    }
}

impl Folder {
    /// The lake in a folder, which is created when the first file is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: None }
    }

    fn files(&mut self) -> io::Result<&mut HashMap<OsString, Vec<PathBuf>>> {
        let found = match &mut self.files {
            Some(found) => return Ok(found),
            none => none,
        };
        let mut by_name: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
        for folder in ["formatted", "quarantine"].map(|folder| self.root.join(folder)) {
            let files = if folder.exists() { files(&folder) } else { Ok(Vec::new()) };
            for file in files.map_err(|error| at("list", &folder, &error))? {
                by_name.entry(file.file_stem().unwrap_or_default().to_owned()).or_default().push(file);
            }
        }
        Ok(found.insert(by_name))
    }

    /// Reads the files in quarantine that have rows of a selection, and gives what `read` makes of each, in the order
    /// of their paths.
    pub fn quarantine<T>(
        &self,
        selection: &Selection,
        read: impl Fn(&QuarantineFile, &mut dyn Read) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let folder = self.root.join(FOLDER);
        let found = if folder.exists() { files(&folder) } else { Ok(Vec::new()) };
        let mut paths = found.map_err(|error| at("list", &folder, &error))?;
        paths.sort();
        let mut all = Vec::new();
        for path in paths {
            let failed = |error: io::Error| at("read", &path, &error);
            let stored = path.metadata().and_then(|file| file.modified()).map_err(failed)?;
            let stored = Timestamp::try_from(stored).and_then(|time| Timestamp::from_second(time.as_second()));
            let stored = stored.map_err(|error| failed(io::Error::other(error)))?;
            let below = path.strip_prefix(&self.root).unwrap_or(&path).to_string_lossy().into_owned();
            let file = QuarantineFile { path: below, stored };
            if selection.has_file(&file) {
                all.push(File::open(&path).and_then(|mut bytes| read(&file, &mut bytes)).map_err(failed)?);
            }
        }
        Ok(all)
    }

    /// The tables by name, each with the folder of its files below that of the lake.
    pub fn tables(&self) -> io::Result<BTreeMap<String, (String, Table)>> {
        let folder = self.root.join(TABLES);
        let mut tables = BTreeMap::new();
        for path in files(&folder).map_err(|error| at("list", &folder, &error))? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json")) else { continue };
            if let Some(file) = TableFile::read(&path)? {
                tables.insert(name.to_owned(), (file.location.clone(), file.table(&path)?));
            }
        }
        Ok(tables)
    }

    /// The tables as an engine sees them that finds this folder at `url`.
    pub fn external(&self, url: &str) -> io::Result<Vec<External>> {
        let url = url.trim_end_matches('/');
        let external = |(table, (folder, Table { columns, .. })): (String, (String, Table))| {
            let location = format!("{url}/{folder}");
            let hours = self.hours(&folder)?.into_iter().map(|hour| (hour, format!("{location}/{hour}/"))).collect();
            Ok(External { table, columns, location, hours })
        };
        self.tables()?.into_iter().map(external).collect()
    }

    /// The hours that have files below the folder of a table, in order.
    fn hours(&self, folder: &str) -> io::Result<BTreeSet<Partition>> {
        let folder = self.root.join(folder);
        let found = if folder.exists() { files(&folder) } else { Ok(Vec::new()) };
        let found = found.map_err(|error| at("list", &folder, &error))?;
        let hour = |file: PathBuf| {
            let mut folders = file.parent()?.strip_prefix(&folder).ok()?.iter();
            let mut value =
                |key: &str| folders.next()?.to_str()?.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
            Partition::of_values(&[value(KEYS[0])?, value(KEYS[1])?])
        };
        Ok(found.into_iter().filter_map(hour).collect())
    }

    /// Locks the table of this name, so that data adds no columns to it, or lets it grow again. Gives whether that
    /// changed anything.
    pub fn lock(&self, name: &str, is_locked: bool) -> io::Result<bool> {
        let path = self.root.join(TABLES).join(format!("{name}.json"));
        let Some(mut table) = TableFile::read(&path)? else {
            return Err(io::Error::other(format!("there is no table {}", path.display())));
        };
        let wanted = if is_locked { Growth::Locked } else { Growth::Open };
        if table.schema == wanted {
            return Ok(false);
        }
        // Files that are written from now on may differ from those by the version before.
        (table.schema, table.version) = (wanted, table.version + 1);
        self.write_table(&table, &path).map(|()| true)
    }

    fn write_table(&self, table: &TableFile, path: &Path) -> io::Result<()> {
        let mut file = self.temporary()?;
        serde_json::to_writer_pretty(&mut file, table)?;
        Self::persist(file, path)
    }

    fn table_file(&self, identity: &Identity) -> PathBuf {
        self.root.join(TABLES).join(format!("{}.json", identity.table()))
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
        let path = self.table_file(identity);
        TableFile::read(&path)?.map(|file| file.table(&path)).transpose()
    }

    fn create(&mut self, _: &Target) -> io::Result<Self::Out> {
        Ok(BufWriter::new(self.temporary()?))
    }
}

impl Lake for Folder {
    fn grow(&mut self, identity: &Identity, _: Option<&Table>, columns: &[Field]) -> io::Result<()> {
        let path = self.table_file(identity);
        let before = TableFile::read(&path)?;
        let version = before.as_ref().map_or(0, |table| table.version + 1);
        let before = before.map(|table| table.table(&path)).transpose()?;
        let (known, growth) = before.map_or((Vec::new(), Growth::Open), |table| (table.columns, table.growth));
        let Grown { columns, growth } = growth::grow(&known, growth, columns);
        let entry = |field: &Field| ColumnEntry { name: field.name.clone(), data_type: field.data_type.to_string() };
        let location = format!("formatted/{}", identity.folders());
        let columns = columns.iter().map(entry).collect();
        self.write_table(&TableFile { location, version, schema: growth, columns }, &path)
    }

    fn announce(&mut self, _: &Object, _: &BTreeSet<Target>) -> io::Result<()> {
        // The files of an object are found by their name.
        Ok(())
    }

    fn publish(&mut self, object: &Object, files: Vec<Written<Self::Out>>, _: Option<&str>) -> io::Result<Published> {
        for file in files {
            let path = self.root.join(file.target.key(object));
            let mut out = file.out;
            out.flush().map_err(|error| at("write", &path, &error))?;
            let file = out.into_inner().map_err(|error| at("write", &path, &error.into_error()))?;
            Self::persist(file, &path)?;
        }
        Ok(Published::Visible)
    }

    fn end(&mut self, object: &Object, published: &BTreeSet<Target>) -> io::Result<()> {
        let kept: BTreeSet<PathBuf> = published.iter().map(|target| self.root.join(target.key(object))).collect();
        let found = self.files()?.insert(file_name(object).into(), kept.iter().cloned().collect());
        for file in found.into_iter().flatten().filter(|file| !kept.contains(file)) {
            fs::remove_file(&file).map_err(|error| at("remove", &file, &error))?;
        }
        Ok(())
    }
}

/// The file itself, or all files below a folder.
pub fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in path.read_dir()? {
        found.extend(files(&entry?.path())?);
    }
    Ok(found)
}

fn at(doing: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", path.display()))
}
