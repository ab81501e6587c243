//! Files of tables that are made of the lake's, such as those of the mart. They are stored as the lake stores its own.

use std::io;
use std::sync::Arc;

use aws_config::SdkConfig;
use fms_aws::Retry;

use super::raw::S3Url;
use super::spool::Spool;
use super::storage::Storage;
use super::store::{Put, Store};

/// The files below a place in S3.
#[derive(Debug, Clone)]
pub struct Files {
    store: Store,
}

/// A file as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its path below the place.
    pub path: String,
    /// When it was stored, in seconds since the Unix epoch.
    pub modified: i64,
}

impl Files {
    /// The files below `place`. Every call is retried by `retry`.
    pub fn new(aws: &SdkConfig, place: &S3Url, retry: Retry, storage: Storage) -> Self {
        let store = Store { storage: Arc::new(storage), ..Store::new(aws, place, retry) };
        Self { store }
    }

    /// Checks that the bucket exists.
    pub async fn check(&self) -> io::Result<()> {
        self.store.check().await
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("s3://{}/{}{path}", self.store.bucket, self.store.prefix)
    }

    /// Stores a file under a path that nobody else uses.
    pub async fn put(&self, path: &str, body: &mut Spool) -> io::Result<()> {
        self.store.put(path, body, Put { version: None, is_newest: true, is_new: true }).await.map(drop)
    }

    /// The files whose paths begin so.
    pub async fn list(&self, prefix: &str) -> io::Result<Vec<StoredFile>> {
        let listed = self.store.list(prefix).await?;
        Ok(listed.into_iter().map(|file| StoredFile { path: file.path, modified: file.modified }).collect())
    }

    /// Removes a file, if it exists.
    pub async fn delete(&self, path: &str) -> io::Result<()> {
        self.store.delete(path).await
    }
}
