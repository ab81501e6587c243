//! Whether raw objects have as many rows as was noted when they were converted: what shows a row that the converter itself
//! has lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Handle;

use crate::bucket::failure::is_gone;
use crate::bucket::record::Recorded;
use crate::bucket::{Bucket, Raw, S3Url};
use crate::lines::{Line, each_line};
use crate::status::name;
use crate::task::joined;

/// How many raw objects are read at a time.
const COUNTS: usize = 4;

impl Bucket {
    /// The raw objects at these places that are on record as converted and have other numbers of rows than the record says:
    /// how many they have, and how many are in files of the lake or in quarantine. All of these objects are read; one that
    /// is replaced or deleted meanwhile is left out, because the record is not about what is there then.
    pub async fn miscounted(&self, raw: &[S3Url]) -> io::Result<BTreeMap<(String, String), (u64, u64)>> {
        let raws = self.all_raws(raw).await?;
        let counted = raws.into_iter().map(|raw| async move {
            let recorded = Recorded::read(&self.store, &Recorded::path(&raw.object)).await?;
            let Some(recorded) = recorded.filter(|found| found.converted.as_ref() == Some(&raw.etag)) else {
                return Ok(None);
            };
            // A record of an earlier version of this program does not say it.
            let Some(stored) = recorded.files.values().copied().sum::<Option<u64>>() else { return Ok(None) };
            let found = match self.count_lines(&raw).await {
                Err(error) if is_gone(&error) => return Ok(None),
                counted => counted?,
            };
            Ok::<_, io::Error>((found != stored).then(|| (name(&raw.object), (found, stored))))
        });
        let counted = stream::iter(counted).buffer_unordered(COUNTS);
        counted.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    /// How many lines of an object are not empty, each of which is a row or in quarantine.
    async fn count_lines(&self, raw: &Raw) -> io::Result<u64> {
        let (reading, raw, handle) = (self.reading.clone(), Arc::new(raw.clone()), Handle::current());
        let counting = tokio::task::spawn_blocking(move || {
            let mut count = 0;
            each_line(reading.open(&raw, handle)?, |line| {
                count += u64::from(!matches!(line, Line::Whole(text) if text.iter().all(u8::is_ascii_whitespace)));
                Ok::<_, io::Error>(())
            })?;
            Ok(count)
        });
        joined(counting).await?
    }
}
