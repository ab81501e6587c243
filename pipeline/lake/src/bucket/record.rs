//! What the lake remembers of each raw object: which files it has, and from which bytes by which settings they were
//! made.
//!
//! The record is one small object, `conversions/<name>.json`, because to find the files of a raw object by listing
//! would mean to list the whole lake. Before files are published, the record names them, so that it never knows too
//! few: a conversion that ends half way leaves files, and the next one finds them. At its end a conversion removes the
//! files that it did not publish, and then writes that the object is converted.
//!
//! The record is replaced only in the state in which it was read. Where another conversion of the same object was
//! faster, this one has to start over, for it does not know what the other left.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::deliver;
use super::failure::Conflict;
use super::manifest::Place;
use super::store::Store;
use crate::convert::Settings;
use crate::key::file_name;
use crate::quarantine::Object;

/// The folder of the records.
pub(crate) const FOLDER: &str = "conversions/";

/// Changes when the same bytes and settings give other files than before.
const FORMAT: u32 = 1;

/// The files of an object are the result of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// The `ETag` of the raw object.
    pub etag: String,
    /// A digest of the settings.
    pub settings: String,
}

impl Source {
    /// The bytes with this `ETag`, converted by these settings into this database.
    pub fn new(etag: &str, settings: &Settings, database: &str) -> Self {
        let zone = settings.zone.iana_name().map_or_else(|| format!("{:?}", settings.zone), ToOwned::to_owned);
        let Settings { table_fields, key_template, time_field, sort_fields, .. } = settings;
        let mut all = serde_json::json!([FORMAT, table_fields, time_field, zone, sort_fields, database]);
        // Without a template, the digest is what it was before there were any.
        if let (Some(all), Some(template)) = (all.as_array_mut(), key_template) {
            all.push(template.to_string().into());
        }
        Self { etag: etag.to_owned(), settings: hex::encode(&Sha256::digest(all.to_string())[..8]) }
    }
}

/// The record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    object: Object,
    /// `None` while files are being published.
    converted: Option<Source>,
    /// The paths of all files that the object may have in the lake.
    files: BTreeSet<String>,
    /// How many rows each of the files has, in their order. Records of earlier versions of this program, and of objects
    /// that are not converted, do not say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows: Vec<u64>,
}

/// What the record of an object says, for those who only look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub object: Object,
    /// The `ETag` of the bytes that were converted; `None` while files are being published.
    pub converted: Option<String>,
    /// The paths of all files that the object may have, with the number of rows of each if it is known.
    pub files: BTreeMap<String, Option<u64>>,
}

impl Recorded {
    /// The path of the record of an object.
    pub fn path(object: &Object) -> String {
        format!("{FOLDER}{}.json", file_name(object))
    }

    /// Reads the record with this path; `None` if there is none.
    pub async fn read(store: &Store, path: &str) -> io::Result<Option<Self>> {
        let Some((bytes, _)) = store.get(path).await? else { return Ok(None) };
        let Content { object, converted, files, rows } = Content::parse(store, path, &bytes)?;
        let rows = rows.into_iter().map(Some).chain(std::iter::repeat(None));
        let files = files.into_iter().zip(rows).collect();
        Ok(Some(Self { object, converted: converted.map(|source| source.etag), files }))
    }
}

impl Content {
    fn parse(store: &Store, path: &str, bytes: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            let bucket = &store.bucket;
            io::Error::other(format!("cannot read the record s3://{bucket}/{}{path}: {error}", store.prefix))
        })
    }
}

/// The record of one object, as it was read or written last.
#[derive(Debug)]
pub(super) struct Record {
    path: String,
    content: Content,
    /// The `ETag` of the record; `None` if there is none yet.
    etag: Option<String>,
    /// The files that the record had when it was read.
    before: BTreeSet<String>,
}

impl Record {
    /// Reads the record of an object, which may not exist.
    pub async fn read(store: &Store, object: &Object) -> io::Result<Self> {
        let path = Recorded::path(object);
        let empty = Content { object: object.clone(), converted: None, files: BTreeSet::new(), rows: Vec::new() };
        let Some((bytes, etag)) = store.get(&path).await? else {
            return Ok(Self { path, content: empty, etag: None, before: BTreeSet::new() });
        };
        let content = Content::parse(store, &path, &bytes)?;
        let before = content.files.clone();
        Ok(Self { path, content, etag: Some(etag), before })
    }

    /// Whether the object's files are the result of this.
    pub fn is_result_of(&self, source: &Source) -> bool {
        self.content.converted.as_ref() == Some(source)
    }

    /// Whether it is that of another version of the object.
    pub fn is_of_other_version(&self, object: &Object) -> bool {
        self.content.object != *object
    }

    /// Whether the object is converted, and by other settings than these.
    pub fn is_by_other_settings(&self, source: &Source) -> bool {
        self.content.converted.as_ref().is_some_and(|converted| converted.settings != source.settings)
    }

    /// Notes that the object is not converted any more, because its files are about to change. Whoever finds the record
    /// after this process has died converts the object.
    pub async fn reopen(&mut self, store: &Store) -> io::Result<()> {
        let next = Content { converted: None, rows: Vec::new(), ..self.content.clone() };
        self.write(store, next).await
    }

    /// Whether an earlier conversion of the object may have left this file.
    pub fn had(&self, path: &str) -> bool {
        self.before.contains(path)
    }

    /// Notes files before they are published.
    pub async fn announce(&mut self, store: &Store, source: &Source, files: &BTreeSet<String>) -> io::Result<()> {
        let mut next = self.content.clone();
        next.files.extend(files.iter().cloned());
        // Publishing again what is there already needs no note.
        next.converted.take_if(|converted| converted != source || next.files != self.content.files);
        if next.converted.is_none() {
            next.rows.clear();
        }
        self.write(store, next).await
    }

    /// Removes the files that were not published, and notes that the object is converted. `published` has the number of
    /// rows of each file.
    pub async fn end(
        &mut self,
        store: &Store,
        object: &Object,
        source: &Source,
        published: BTreeMap<String, u64>,
    ) -> io::Result<()> {
        let name = file_name(object);
        for path in self.content.files.iter().filter(|path| !published.contains_key(*path)) {
            // A record that somebody changed must not lead to other objects' files.
            let file = path.rsplit('/').next().and_then(|file| file.rsplit_once('.'));
            if file.is_none_or(|(stem, _)| stem != name) {
                return Err(io::Error::other(format!(
                    "the record {} names `{path}`, which is no file of this object; was it changed by hand?",
                    self.path
                )));
            }
            match Place::of(path) {
                Some(file) => deliver::remove(store, (&file.0, file.1)).await?,
                None => store.delete(path).await?,
            }
        }
        let (files, rows) = published.into_iter().unzip();
        let next = Content { object: object.clone(), converted: Some(source.clone()), files, rows };
        self.write(store, next).await
    }

    /// Writes the record if it changes.
    async fn write(&mut self, store: &Store, next: Content) -> io::Result<()> {
        if next == self.content {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&next)?.into();
        let Some(etag) = store.put_small(&self.path, bytes, self.etag.as_deref()).await? else {
            return Err(Conflict.into());
        };
        self.etag = Some(etag);
        self.content = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_settings_or_databases_are_another_source() {
        let settings = Settings::default();
        let source = Source::new("e", &settings, "lake");
        assert_eq!(source, Source::new("e", &Settings { buffer: 1, ..settings.clone() }, "lake"));
        let zone = crate::TimeZone::get("Asia/Seoul").expect("a zone");
        for other in [
            Source::new("f", &settings, "lake"),
            Source::new("e", &settings, "mart"),
            Source::new("e", &Settings { zone, ..settings.clone() }, "lake"),
            Source::new("e", &Settings { sort_fields: vec!["x".into()], ..settings.clone() }, "lake"),
            Source::new("e", &Settings { key_template: "{object}/".parse().ok(), ..settings.clone() }, "lake"),
        ] {
            assert_ne!(source, other);
        }
    }
}
