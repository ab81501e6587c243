//! Counts what a query reads: partitions and files while it is planned, and bytes while it runs.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a query reads.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The bytes that were read from files.
    pub bytes: Count,
    /// The partitions that are read.
    pub partitions: Count,
    /// The partitions that the catalog named, and that are not read.
    pub pruned: Count,
    /// The files of the partitions that are read.
    pub files: Count,
    /// The bytes of these files.
    pub size: Count,
}

/// A store whose reads are counted.
#[derive(Debug)]
pub(crate) struct Metered {
    pub store: Arc<dyn ObjectStore>,
    pub meter: Arc<Meter>,
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Metered {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult, Error> {
        let is_read = !options.head;
        let result = self.store.get_opts(path, options).await?;
        if is_read {
            self.meter.bytes.add(result.range.end - result.range.start);
        }
        Ok(result)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let read = self.store.get_ranges(path, ranges).await?;
        self.meter.bytes.add(read.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(read)
    }

    fn list(&self, folder: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        self.store.list(folder)
    }

    async fn list_with_delimiter(&self, folder: Option<&Path>) -> Result<ListResult, Error> {
        self.store.list_with_delimiter(folder).await
    }

    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult, Error> {
        self.store.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, Error> {
        self.store.put_multipart_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path, Error>>) -> BoxStream<'static, Result<Path, Error>> {
        self.store.delete_stream(paths)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<(), Error> {
        self.store.copy_opts(from, to, options).await
    }
}
