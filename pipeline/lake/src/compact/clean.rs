//! What follows a compaction: readers are sent to the current folder, and files that have been replaced are removed.

use std::io;

use super::plan::Listing;
use super::rewrite::is_begun_before;
use super::{Compact, Compacting};
use crate::bucket::Bucket;
use crate::bucket::manifest::{Manifest, Place, Replaced};
use crate::bucket::schema::is_same;
use crate::bucket::store::Listed;

/// Sees to it that the catalog sends readers to the current folder, and that it is noted since when. `before` is the
/// folder that was the current one until now.
pub(super) async fn send_readers(
    bucket: &Bucket,
    compact: &Compact,
    compacting: &Compacting,
    manifest: &mut Manifest,
    before: &str,
) -> io::Result<()> {
    let current = &manifest.content.current;
    if manifest.content.replaced.is_empty() && compacting.is_sent_to(&bucket.catalog.url(current)) {
        return Ok(());
    }
    let (table, url) = (&compacting.table, bucket.catalog.url(current));
    let found = bucket.catalog.relocate(table, compacting.place.partition, &url).await?;
    // If the catalog had sent readers back to another folder, they may have come to any of them until now.
    let expected = [&url, &bucket.catalog.url(before)];
    let is_expected = found.is_none_or(|found| expected.iter().any(|expected| is_same(expected, &found)));
    let mut content = manifest.content.clone();
    for replaced in &mut content.replaced {
        replaced.since = replaced.since.filter(|_| is_expected).or(Some(compact.now.as_second()));
    }
    // If others have changed the manifest, the next compaction notes it.
    manifest.replace(&bucket.store, content).await.map(drop)
}

/// Removes those of the listed files that no reader has been sent to for the grace period. Gives how many.
pub(super) async fn remove(
    bucket: &Bucket,
    compact: &Compact,
    place: &Place,
    manifest: &mut Manifest,
    listing: &Listing,
) -> io::Result<u64> {
    let Ok(limit) = compact.now.checked_sub(compact.grace) else { return Ok(0) };
    let is_abandoned = manifest.content.next.as_deref().is_some_and(|next| is_begun_before(next, limit));
    let limit = limit.as_second();
    let is_kept = |replaced: &Replaced| replaced.since.is_none_or(|since| since > limit);
    if is_abandoned || !manifest.content.replaced.iter().all(is_kept) {
        // Converters stop writing to a folder before its files are removed.
        let mut content = manifest.content.clone();
        content.replaced.retain(is_kept);
        content.next.take_if(|_| is_abandoned);
        if !manifest.replace(&bucket.store, content).await? {
            return Ok(0);
        }
    }
    let content = &manifest.content;
    let (waiting, is_base_live) = (place.waiting(), content.is_live(&place.base()));
    let is_dead = |file: &&Listed| {
        let is_used = content.is_live(file.folder()) || content.next.as_deref() == Some(file.folder());
        let is_other = file.path == place.manifest() || file.folder() == waiting;
        !is_other && !is_used && file.modified <= limit
    };
    let is_merged = |file: &&Listed| content.sources.contains_key(file.name());
    let waited = listing.compacted.iter().filter(|file| file.folder() == waiting);
    let base = listing.base.iter().filter(|_| !is_base_live);
    let dead = listing.compacted.iter().filter(is_dead).chain(waited.chain(base).filter(is_merged));
    let mut removed = 0;
    for file in dead {
        bucket.store.delete(&file.path).await?;
        removed += 1;
    }
    Ok(removed)
}
