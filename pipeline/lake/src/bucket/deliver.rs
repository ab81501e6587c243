//! How the file of a converted object reaches readers whose partition was compacted, or is being compacted.
//!
//! A converter puts the file into the partition's base folder and then reads the manifest. `compact` says why that is
//! enough, and what each of the states means.

use std::collections::BTreeSet;
use std::io;

use super::failure;
use super::manifest::{Content, Manifest, Place};
use super::spool::Spool;
use super::store::{Put, Store};
use crate::object::Published;

/// How often the manifest is read again because others changed it.
const MAX_ROUNDS: usize = 32;

/// Where a file that was stored is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivered {
    pub published: Published,
    pub lead: Lead,
}

/// What the catalog has to have for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The folder to which readers are to be sent.
    pub location: String,
    /// Whether the partition may have been taken out of the catalog since it was seen.
    pub is_dropped: bool,
}

/// Stores a file wherever readers of the partition look for it. If the rows of an earlier file of this name are in
/// compacted files, it waits for the next compaction.
pub(super) async fn put(
    store: &Store,
    (place, name): (&Place, &str),
    body: &mut Spool,
    put: Put,
) -> io::Result<Delivered> {
    let base = format!("{}{name}", place.base());
    let digest = body.digest();
    let mut published = store.put(&base, body, put).await?;
    let mut done = BTreeSet::from([base]);
    let lead = loop_while_changing(store, place, async |content| {
        if put.is_before(content.types) {
            published = Published::Outdated;
        }
        if published == Published::Outdated {
            return Ok(false);
        }
        let missing = wanted(content, place, name, &digest).into_iter().find(|path| !done.contains(path));
        let Some(path) = missing else { return Ok(false) };
        published = store.put(&path, body, Put { is_new: false, ..put }).await?;
        done.insert(path);
        Ok(true)
    });
    Ok(Delivered { lead: lead.await?, published })
}

/// The paths at which a file with this digest has to be, beside the base folder.
fn wanted(content: &Content, place: &Place, name: &str, digest: &str) -> Vec<String> {
    let Some(merged) = content.sources.get(name) else {
        return content.live().map(|location| format!("{location}{name}")).collect();
    };
    // A name that has the digest is never used for other bytes, so a compactor may remove the file when it is merged.
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let waiting = format!("{stem}-{}.{extension}", &digest[..16]);
    let is_merged = merged.as_deref() == Some(digest) || content.sources.contains_key(&waiting);
    if is_merged { Vec::new() } else { vec![format!("{}{waiting}", place.waiting())] }
}

/// Removes a file from wherever readers of the partition look for it. Rows of it that are in compacted files stay.
pub(super) async fn remove(store: &Store, (place, name): (&Place, &str)) -> io::Result<()> {
    let base = place.base();
    store.delete(&format!("{base}{name}")).await?;
    let mut done = BTreeSet::from([base]);
    loop_while_changing(store, place, async |content| {
        if content.sources.contains_key(name) {
            tracing::warn!(
                "the rows of an earlier version of `{name}` stay in the compacted files of {}",
                place.base()
            );
            return Ok(false);
        }
        let Some(location) = content.live().find(|location| !done.contains(*location)) else { return Ok(false) };
        store.delete(&format!("{location}{name}")).await?;
        done.insert(location.clone());
        Ok(true)
    })
    .await
    .map(drop)
}

/// Reads the manifest until there is nothing more to do for what it says, which `step` says, and no compaction is under
/// way that may have seen the partition as it was before. Gives where readers are to be sent.
async fn loop_while_changing(
    store: &Store,
    place: &Place,
    mut step: impl AsyncFnMut(&Content) -> io::Result<bool>,
) -> io::Result<Lead> {
    for _ in 0..MAX_ROUNDS {
        let mut manifest = Manifest::read(store, place).await?;
        if manifest.content.next.is_some() {
            // The compactor cannot replace the manifest any more, and leaves the partition for later.
            let without = Content { next: None, ..manifest.content.clone() };
            manifest.replace(store, without).await?;
        } else if !step(&manifest.content).await? {
            let Content { current: location, is_dropped, .. } = manifest.content;
            return Ok(Lead { location, is_dropped });
        }
    }
    Err(failure::restless(format!(
        "{} was changed by others {MAX_ROUNDS} times in a row; convert the object again later",
        place.manifest()
    )))
}
