//! A state machine without I/O that decides which rows may be sent when.
//!
//! - A key is in a batch at most once and in flight at most once; a row for a key that is in flight waits.
//! - Of the rows that wait for one key only the newest is sent. The older ones are done when it is stored. If DynamoDB
//!   refuses it, they are not lost: the newest of them is sent next.
//! - Nothing is held back: a batch is whatever may be sent now, up to the limits of one call.
//! - Keys are served in the order in which they began to wait, so no row is overtaken for ever by others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fms_connect::Origin;

use crate::key::{ItemKey, KeyHashBuilder};

/// The most items of one `BatchWriteItem`.
pub const BATCH_ITEMS: usize = 25;

/// The most bytes of one batch; a larger item is sent alone. DynamoDB takes 16 MB. Staying far below that costs
/// nothing, because capacity is counted in bytes, and it limits the memory of the calls in flight.
pub const BATCH_BYTES: usize = 2 << 20;

/// The most bytes that a request has around an item.
const ITEM_FRAME: usize = br#",{"PutRequest":{"Item":}}"#.len();

/// One opening of a partition: rows that were put before a close have nothing to do with those after the next open.
#[derive(Debug)]
pub struct Opening {
    /// A number that is unique within the task.
    pub id: u64,
    revoked: AtomicBool,
}

impl Opening {
    /// An opening that is in force.
    pub fn new(id: u64) -> Self {
        Self { id, revoked: AtomicBool::new(false) }
    }

    /// Notes that the task no longer owns the partition, so that nothing of it is sent any more.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// Whether it was revoked.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

/// A row to be written.
#[derive(Debug)]
pub struct Put {
    /// The opening of the partition that it came through.
    pub opening: Arc<Opening>,
    /// Its record.
    pub origin: Arc<Origin>,
    /// Its index in the record.
    pub index: usize,
    /// Its JSON text.
    pub text: String,
    /// Its item's key.
    pub key: Arc<ItemKey>,
    /// Its item in DynamoDB's JSON.
    pub item: Vec<u8>,
    /// Its item's bytes by DynamoDB's rules.
    pub bytes: usize,
}

impl Put {
    /// The most bytes that it takes in a request.
    pub fn wire(&self) -> usize {
        self.item.len() + ITEM_FRAME
    }

    /// The memory that it takes while it waits, estimated.
    fn waiting_memory(&self) -> usize {
        // The key is there twice at most, and takes its share of the maps.
        size_of::<Self>() + self.text.len() + self.item.len() + self.key.memory() + 128
    }

    /// The additional memory while it is sent, estimated: its share of the request's body.
    fn sending_memory(&self) -> usize {
        self.wire()
    }
}

/// The rows of one key. The key is in flight or queued; when both lists are empty, it is forgotten.
#[derive(Debug, Default)]
struct Slot {
    /// The last is the row that was sent; those before it were superseded by it.
    in_flight: Vec<Arc<Put>>,
    /// The rows that wait, the oldest first. Only the last one will be sent.
    waiting: Vec<Arc<Put>>,
    queued: bool,
}

/// The rows of one opening that are neither stored nor refused: the number of rows for each offset, in the order of
/// offsets.
type Outstanding = VecDeque<(i64, usize)>;

/// The rows that a task holds.
#[derive(Debug, Default)]
pub struct Batcher {
    slots: HashMap<Arc<ItemKey>, Slot, KeyHashBuilder>,
    /// The keys of waiting rows that may be sent. A key may still be in it after a close has dropped its rows.
    queue: VecDeque<Arc<ItemKey>>,
    open: HashMap<u64, Outstanding>,
    memory: usize,
}

impl Batcher {
    /// Notes that rows of this opening may come from now on.
    pub fn open(&mut self, opening: &Opening) {
        self.open.insert(opening.id, Outstanding::new());
    }

    /// Forgets the waiting rows of this opening. Rows in flight stay until they are answered, so that no key is in
    /// flight twice.
    pub fn close(&mut self, opening: &Opening) {
        self.open.remove(&opening.id);
        let mut freed = 0;
        for slot in self.slots.values_mut() {
            slot.waiting.retain(|put| {
                let keep = put.opening.id != opening.id;
                freed += if keep { 0 } else { put.waiting_memory() };
                keep
            });
        }
        self.memory -= freed;
    }

    /// Takes a row. The offsets of one opening must not fall from call to call.
    pub fn put(&mut self, put: Put) {
        let Some(outstanding) = self.open.get_mut(&put.opening.id) else { return };
        match outstanding.back_mut() {
            Some((offset, rows)) if *offset == put.origin.offset => *rows += 1,
            _ => outstanding.push_back((put.origin.offset, 1)),
        }
        self.memory += put.waiting_memory();
        let slot = self.slots.entry(Arc::clone(&put.key)).or_default();
        if slot.in_flight.is_empty() && !slot.queued {
            slot.queued = true;
            self.queue.push_back(Arc::clone(&put.key));
        }
        slot.waiting.push(Arc::new(put));
    }

    /// The next batch, which is in flight from now on. It is empty if nothing may be sent.
    pub fn take(&mut self) -> Vec<Arc<Put>> {
        let mut batch: Vec<Arc<Put>> = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_ITEMS
            && let Some(key) = self.queue.front()
        {
            let Entry::Occupied(mut entry) = self.slots.entry(Arc::clone(key)) else {
                self.queue.pop_front();
                continue;
            };
            let slot = entry.get_mut();
            let Some(newest) = slot.waiting.last() else {
                self.queue.pop_front();
                entry.remove();
                continue;
            };
            bytes += newest.wire();
            if bytes > BATCH_BYTES && !batch.is_empty() {
                break;
            }
            self.queue.pop_front();
            self.memory += newest.sending_memory();
            batch.push(Arc::clone(newest));
            slot.queued = false;
            slot.in_flight = std::mem::take(&mut slot.waiting);
        }
        batch
    }

    /// Notes that the row of this key that was in flight is stored, so that the rows that it superseded are done too.
    /// Gives the number of the latter.
    pub fn stored(&mut self, key: &ItemKey) -> usize {
        let Some(slot) = self.slots.get_mut(key) else { return 0 };
        let done = std::mem::take(&mut slot.in_flight);
        if let Some(sent) = done.last() {
            self.memory -= sent.sending_memory();
        }
        for put in &done {
            self.done(put);
        }
        self.settle(key);
        done.len().saturating_sub(1)
    }

    /// Notes that the row of this key that was in flight is not stored. Either DynamoDB refuses it, and then the row is
    /// returned; or its partition was closed, and it was dropped. The rows that it had superseded wait again.
    pub fn not_stored(&mut self, key: &ItemKey) -> Option<Arc<Put>> {
        let slot = self.slots.get_mut(key)?;
        let mut rows = std::mem::take(&mut slot.in_flight);
        let sent = rows.pop()?;
        self.memory -= sent.sending_memory();
        rows.retain(|put| {
            let keep = self.open.contains_key(&put.opening.id);
            self.memory -= if keep { 0 } else { put.waiting_memory() };
            keep
        });
        rows.append(&mut slot.waiting);
        slot.waiting = rows;
        let is_open = self.done(&sent);
        self.settle(key);
        is_open.then_some(sent)
    }

    /// Whether every row of this opening before offset `end` is stored or refused.
    pub fn is_done(&self, opening: &Opening, end: i64) -> bool {
        self.open.get(&opening.id).is_none_or(|rows| rows.front().is_none_or(|(offset, _)| *offset >= end))
    }

    /// The number of keys whose newest row may be sent.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The memory that all rows take in bytes, estimated.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Counts a row as done. Gives whether its opening is still in force.
    fn done(&mut self, put: &Put) -> bool {
        self.memory -= put.waiting_memory();
        let Some(outstanding) = self.open.get_mut(&put.opening.id) else { return false };
        if let Ok(at) = outstanding.binary_search_by_key(&put.origin.offset, |(offset, _)| *offset)
            && let Some((_, rows)) = outstanding.get_mut(at)
        {
            *rows -= 1;
        }
        while outstanding.front().is_some_and(|(_, rows)| *rows == 0) {
            outstanding.pop_front();
        }
        true
    }

    /// After an answer, queues a key that has waiting rows, and forgets a key that has none.
    fn settle(&mut self, key: &ItemKey) {
        let Some((key, slot)) = self.slots.get_key_value(key) else { return };
        if slot.waiting.is_empty() {
            self.slots.remove(&Arc::clone(key));
            return;
        }
        let key = Arc::clone(key);
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.queued = true;
        }
        self.queue.push_back(key);
    }
}

#[cfg(test)]
mod tests;
