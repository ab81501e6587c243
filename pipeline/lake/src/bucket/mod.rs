//! A lake in S3 with a Glue catalog. Any number of processes may write to it at the same time.
//!
//! - `catalog`, `partitions`, `alteration`: tables and partitions, and how they are changed while others change them;
//! - `store`: files, which are replaced only in the state in which they were seen;
//! - `manifest`, `deliver`: where the files of a partition are that was compacted, and how new files get there;
//! - `record`: which files a raw object has, so that a conversion can be resumed, skipped, or replaced by another;
//! - `raw`: raw objects;
//! - `files`: files of tables that are made of the lake's;
//! - `quarantine`: what is in quarantine, and how it is converted once more.

pub(crate) mod alteration;
mod calls;
pub(crate) mod catalog;
pub(crate) mod deliver;
pub(crate) mod failure;
mod files;
pub(crate) mod manifest;
mod partitions;
mod quarantine;
mod raw;
pub(crate) mod record;
pub(crate) mod schema;
pub(crate) mod spool;
mod storage;
pub(crate) mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use aws_config::SdkConfig;
use fms_aws::Retry;
use fms_glue::Glue;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Handle;

use self::catalog::Catalog;
use self::deliver::Lead;
use self::failure::Replaced;
use self::manifest::Place;
pub(crate) use self::raw::Reading;
use self::record::{Record, Source};
use self::schema::Version;
use self::spool::Spool;
use self::store::{Put, Store};
use crate::convert::{Settings, Surroundings, Target, Written};
use crate::ddl::External;
use crate::explain::Explained;
use crate::object::{Lake, ObjectError, Published, Report, convert_object};
use crate::partition::Partition;
use crate::quarantine::Object;
use crate::table::{Identity, Table};
use crate::task::joined;
use crate::types::Field;

pub(crate) use calls::describe;

pub use calls::count_retry;
pub use failure::{CallFailed, Conflict};
pub use files::{Files, StoredFile};
pub use raw::{Raw, S3Url};
pub use storage::Storage;

/// How many files of a table are stored at a time.
const PUTS: usize = 8;

/// How often an object is converted again because another conversion of it was under way.
const MAX_CONFLICTS: usize = 5;

/// How often an object is looked at again because it was replaced while it was being read.
const MAX_REPLACED: usize = 5;

/// What is done with an object that is on record as converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// It is left as it is.
    No,
    /// It is converted.
    Yes,
    /// It is converted if the settings are those of before, whatever other conversions do at the same time.
    Replay,
}

/// A lake in a bucket, whose tables are in a database of the Glue catalog. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) reading: Reading,
}

impl Bucket {
    /// The lake at `place`, with its tables in `database`. Every call is retried by `retry`.
    pub fn new(aws: &SdkConfig, place: &S3Url, database: &str, retry: Retry) -> Self {
        let store = Store::new(aws, place, retry.clone());
        let catalog = Catalog {
            glue: Glue::new(aws, retry.clone()).counting(calls::count_glue),
            database: database.into(),
            root: format!("s3://{}/{}", store.bucket, store.prefix).into(),
            known: Arc::default(),
        };
        let reading = Reading::new(aws, retry);
        Self { store, catalog, reading }
    }

    /// The same lake, whose files are stored in this way from now on.
    #[must_use]
    pub fn storing(mut self, storage: Storage) -> Self {
        self.store.storage = Arc::new(storage);
        self
    }

    /// The same lake, whose raw objects are in buckets of this account. If another one owns a bucket, nothing is read
    /// there.
    #[must_use]
    pub fn expecting_raw_owner(mut self, account: Option<String>) -> Self {
        self.reading.owner = account.map(Into::into);
        self
    }

    /// Checks that the bucket and the database exist.
    pub async fn check(&self) -> io::Result<()> {
        self.store.check().await?;
        self.catalog.check().await
    }

    /// The tables of these names as engines see them, or all: with their columns, and where the rows of each hour are.
    pub async fn external(&self, tables: &[String]) -> io::Result<Vec<External>> {
        self.catalog.external(tables).await
    }

    /// Locks the table of this name, so that data adds no columns to it, or lets it grow again. Gives whether that
    /// changed anything.
    pub async fn lock(&self, table: &str, is_locked: bool) -> io::Result<bool> {
        self.catalog.lock(table, is_locked).await
    }

    /// The raw objects of this key or below it, without what belongs to the lake itself, as far as one answer of S3 has
    /// them; and what the next call has to be given to go on, if there are more.
    pub async fn raws(&self, url: &S3Url, next: Option<String>) -> io::Result<(Vec<Raw>, Option<String>)> {
        let (mut raws, next) = self.reading.list(url, next).await?;
        raws.retain(|raw| !self.has(&raw.object));
        Ok((raws, next))
    }

    /// Whether an object belongs to the lake itself, and so is no raw object.
    pub fn has(&self, object: &Object) -> bool {
        let below = object.key.strip_prefix(&*self.store.prefix).filter(|_| *object.bucket == *self.store.bucket);
        let folders = ["formatted/", "compacted/", "quarantine/", "conversions/"];
        below.is_some_and(|path| folders.iter().any(|folder| path.starts_with(folder)))
    }

    /// The state of a raw object, in the version that it names or in the current one.
    pub async fn raw(&self, object: Object) -> io::Result<Raw> {
        self.reading.find(object).await
    }

    /// Converts a raw object. `None` if it is on record that the same bytes were converted by the same settings, unless
    /// it is to be converted `again`.
    ///
    /// The work is done on a thread of its own, so that this may be called in an async context.
    pub async fn convert(
        &self,
        settings: &Arc<Settings>,
        raw: &Raw,
        again: bool,
    ) -> Result<Option<Report>, ObjectError> {
        self.convert_as(settings, raw, if again { Again::Yes } else { Again::No }).await
    }

    async fn convert_as(
        &self,
        settings: &Arc<Settings>,
        raw: &Raw,
        again: Again,
    ) -> Result<Option<Report>, ObjectError> {
        let (bucket, settings, raw) = (self.clone(), Arc::clone(settings), Arc::new(raw.clone()));
        let handle = Handle::current();
        // What the log says on that thread belongs to whatever this conversion belongs to.
        let span = tracing::Span::current();
        let converting =
            tokio::task::spawn_blocking(move || span.in_scope(|| bucket.convert_here(&settings, &raw, again, &handle)));
        joined(converting).await.unwrap_or_else(|error| Err(ObjectError::Read(error)))
    }

    /// Finds a raw object and converts it, as [`convert`](Self::convert) does. One that is replaced meanwhile is found
    /// again.
    pub async fn convert_current(
        &self,
        settings: &Arc<Settings>,
        object: &Object,
    ) -> Result<Option<Report>, ObjectError> {
        self.convert_current_as(settings, object, Again::No).await
    }

    async fn convert_current_as(
        &self,
        settings: &Arc<Settings>,
        object: &Object,
        again: Again,
    ) -> Result<Option<Report>, ObjectError> {
        let mut replaced = 0;
        loop {
            let raw = self.raw(object.clone()).await?;
            match self.convert_as(settings, &raw, again).await {
                Err(ObjectError::Read(error)) if is::<Replaced>(&error) && replaced < MAX_REPLACED => replaced += 1,
                result => return result,
            }
        }
    }

    /// The table of this identity as it is, if there is one. Nothing is changed.
    pub async fn table(&self, identity: &Identity) -> io::Result<Option<Table>> {
        self.catalog.seen(identity).await
    }

    /// Adds to `explained` what a raw object would do to the lake, of which nothing is changed. It blocks, so it must
    /// not be called in an async context.
    pub fn explain(
        &self,
        settings: &Settings,
        by: &[String],
        raw: &Raw,
        handle: &Handle,
        explained: &mut Explained,
    ) -> Result<(), ObjectError> {
        let raw = Arc::new(raw.clone());
        let open = || self.reading.open(&raw, handle.clone());
        explained.add(settings, by, &raw.object, open, |identity| handle.block_on(self.table(identity)))
    }

    fn convert_here(
        &self,
        settings: &Settings,
        raw: &Arc<Raw>,
        again: Again,
        handle: &Handle,
    ) -> Result<Option<Report>, ObjectError> {
        let source = Source::new(&raw.etag, settings, &self.catalog.database);
        let mut conflicts = 0;
        loop {
            let record = handle.block_on(Record::read(&self.store, &raw.object)).map_err(ObjectError::Announce)?;
            match again {
                Again::Replay if record.is_of_other_version(&raw.object) => return Ok(None),
                Again::Replay if record.is_by_other_settings(&source) => return Err(ObjectError::OtherSettings),
                Again::No if record.is_result_of(&source) => return Ok(None),
                // After a conflict, the other conversion may have done all of it.
                Again::Yes if record.is_result_of(&source) && conflicts > 0 => return Ok(None),
                _ => {}
            }
            let mut conversion = Conversion {
                bucket: self,
                handle: handle.clone(),
                source: source.clone(),
                record,
                published_by: BTreeMap::new(),
                rows: BTreeMap::new(),
            };
            let open = || self.reading.open(raw, handle.clone());
            match convert_object(settings, &raw.object, open, &mut conversion) {
                Err(error) if is_conflict(&error) && conflicts < MAX_CONFLICTS => conflicts += 1,
                result => return result.map(Some),
            }
        }
    }
}

fn is_conflict(error: &ObjectError) -> bool {
    let (ObjectError::Announce(error) | ObjectError::End(error) | ObjectError::Publish { error, .. }) = error else {
        return false;
    };
    is::<Conflict>(error)
}

fn is<E: std::error::Error + 'static>(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<E>)
}

/// Whether all files are stored as they are.
async fn are_stored(store: &Store, files: &[(String, Written<Spool>)]) -> io::Result<bool> {
    for (path, file) in files {
        if !store.has(path, &file.out.digest()).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The conversion of one object, on a thread that may block.
struct Conversion<'b> {
    bucket: &'b Bucket,
    handle: Handle,
    source: Source,
    record: Record,
    /// The version of each table by which files were published last.
    published_by: BTreeMap<Identity, Version>,
    /// The number of rows of each file that was published.
    rows: BTreeMap<String, u64>,
}

impl Surroundings for Conversion<'_> {
    type Out = Spool;

    fn table(&mut self, identity: &Identity) -> io::Result<Option<Table>> {
        self.handle.block_on(self.bucket.catalog.table(identity))
    }

    fn create(&mut self, _: &Target) -> io::Result<Spool> {
        Ok(Spool::new())
    }
}

impl Lake for Conversion<'_> {
    fn grow(&mut self, identity: &Identity, _: Option<&Table>, columns: &[Field]) -> io::Result<()> {
        self.handle.block_on(self.bucket.catalog.grow(identity, columns))
    }

    fn announce(&mut self, object: &Object, targets: &BTreeSet<Target>) -> io::Result<()> {
        let files = targets.iter().map(|target| target.key(object)).collect();
        self.handle.block_on(self.record.announce(&self.bucket.store, &self.source, &files))
    }

    fn publish(&mut self, object: &Object, files: Vec<Written<Spool>>, version: Option<&str>) -> io::Result<Published> {
        let version: Option<Version> = version.and_then(|version| version.parse().ok());
        let mut table: Option<Identity> = None;
        for file in &files {
            match &file.target {
                Target::Unclassified => {}
                Target::Quarantine(identity) | Target::Rows(identity, _) => table = Some(identity.clone()),
            }
        }
        // The table was read again, and it is not newer: it was deleted and created since the files were written.
        let is_newest = table.as_ref().zip(version).is_some_and(|(table, version)| {
            let before = self.published_by.insert(table.clone(), version);
            before == Some(version)
        });
        let Bucket { store, catalog, .. } = self.bucket;
        let (record, source) = (&mut self.record, &self.source);
        let files: Vec<(String, Written<Spool>)> =
            files.into_iter().map(|file| (file.target.key(object), file)).collect();
        self.rows.extend(files.iter().map(|(path, file)| (path.clone(), file.rows as u64)));
        self.handle.block_on(async {
            if record.is_result_of(source) && !are_stored(store, &files).await? {
                record.reopen(store).await?;
            }
            let (rows, quarantine): (Vec<_>, Vec<_>) =
                files.into_iter().partition(|(_, file)| matches!(file.target, Target::Rows(..)));
            let put = |(path, mut file): (String, Written<Spool>)| {
                // A file that was announced only now is most likely not there.
                let put = Put { version, is_newest, is_new: !record.had(&path) };
                async move {
                    let Some((place, name)) = Place::of(&path) else {
                        return Ok((store.put(&path, &mut file.out, put).await?, None));
                    };
                    let delivered = deliver::put(store, (&place, name), &mut file.out, put).await?;
                    Ok::<_, io::Error>((delivered.published, Some((place.partition, delivered.lead))))
                }
            };
            // What was in quarantine is visible elsewhere before it leaves it, and whoever looks for what is left of a
            // replay that has died finds it there.
            let stored: Vec<_> = stream::iter(rows.into_iter().map(put)).buffer_unordered(PUTS).try_collect().await?;
            if stored.iter().any(|(published, _)| *published == Published::Outdated) {
                return Ok(Published::Outdated);
            }
            let leads: BTreeMap<Partition, Lead> = stored.into_iter().filter_map(|(_, place)| place).collect();
            if let Some(identity) = table.filter(|_| !leads.is_empty()) {
                let types = catalog.add_partitions(&identity.table(), &leads).await?;
                if (Put { version, is_newest, is_new: false }).is_before(types) {
                    return Ok(Published::Outdated);
                }
            }
            for file in quarantine {
                if put(file).await?.0 == Published::Outdated {
                    return Ok(Published::Outdated);
                }
            }
            Ok(Published::Visible)
        })
    }

    fn end(&mut self, object: &Object, published: &BTreeSet<Target>) -> io::Result<()> {
        let files = published.iter().map(|target| {
            let path = target.key(object);
            let rows = self.rows.get(&path).copied().unwrap_or_default();
            (path, rows)
        });
        let files = files.collect();
        self.handle.block_on(self.record.end(&self.bucket.store, object, &self.source, files))
    }
}
