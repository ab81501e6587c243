//! What is in quarantine in a lake in S3, and how its raw objects are converted once more.

use std::io::{self, Read};
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::runtime::Handle;

use super::store::Listed;
use super::{Again, Bucket};
use crate::convert::Settings;
use crate::object::{ObjectError, Report};
use crate::quarantine::Object;
use crate::review::{FOLDER, QuarantineFile, Selection};

/// How many files are read at a time.
const READS: usize = 16;

impl Bucket {
    /// Reads the files in quarantine that have rows of a selection, several at a time, and gives what `read` makes of
    /// each, in their order. A file that is removed meanwhile is left out.
    pub fn quarantine<T: Send + 'static>(
        &self,
        selection: Selection,
        read: impl Fn(&QuarantineFile, &mut dyn Read) -> io::Result<T> + Send + Sync + 'static,
    ) -> impl Stream<Item = io::Result<T>> {
        let read = Arc::new(read);
        self.quarantine_files()
            .try_filter(move |file| std::future::ready(selection.has_file(file)))
            .map(move |file| {
                let (bucket, read) = (self.clone(), Arc::clone(&read));
                async move {
                    let file = file?;
                    bucket.read_quarantine(file, read).await
                }
            })
            .buffered(READS)
            .try_filter_map(|found| std::future::ready(Ok(found)))
    }

    fn quarantine_files(&self) -> impl Stream<Item = io::Result<QuarantineFile>> {
        let file = |found: Listed| {
            let stored = Timestamp::from_second(found.modified).ok()?;
            (!found.path.ends_with('/')).then_some(Ok(QuarantineFile { path: found.path, stored }))
        };
        stream::once(self.store.list(FOLDER))
            .map_ok(move |files| stream::iter(files.into_iter().filter_map(file)))
            .try_flatten()
    }

    async fn read_quarantine<T: Send + 'static>(
        &self,
        file: QuarantineFile,
        read: Arc<impl Fn(&QuarantineFile, &mut dyn Read) -> io::Result<T> + Send + Sync + 'static>,
    ) -> io::Result<Option<T>> {
        let key = format!("{}{}", self.store.prefix, file.path);
        let object = Object { bucket: self.store.bucket.to_string(), key, version_id: None };
        let raw = match self.reading.find(object).await {
            Ok(raw) => Arc::new(raw),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (reading, handle) = (self.reading.clone(), Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            let found = reading.open(&raw, handle).and_then(|mut bytes| read(&file, &mut bytes));
            found.map_err(|error| io::Error::new(error.kind(), format!("cannot read {raw}: {error}")))
        });
        reading.await.map_err(io::Error::other)?.map(Some)
    }

    /// Converts a raw object once more that has rows in quarantine: those that fit by now are stored, and the others
    /// stay. `None` if another version of the object was converted meanwhile.
    ///
    /// It is an error if the object was converted by other settings before, for its rows would move to other tables or
    /// partitions. If the process dies, the file in quarantine is still there or the object is not on record as
    /// converted, so nothing is lost, and a further replay leaves the lake as if nothing had happened.
    pub async fn replay(&self, settings: &Arc<Settings>, object: &Object) -> Result<Option<Report>, ObjectError> {
        self.convert_current_as(settings, object, Again::Replay).await
    }
}
