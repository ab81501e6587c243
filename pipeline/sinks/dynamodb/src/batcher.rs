//! What may be sent when: a state machine without I/O.
//!
//! - A key is in a batch at most once and in flight at most once; a row for a key that is in flight waits.
//! - Of the rows that wait for one key only the newest is sent. The older ones are done when it is stored. If DynamoDB refuses it, they
//!   are not lost: the newest of them is sent next.
//! - Nothing is held back: a batch is whatever may be sent now, up to the limits of one call.
//! - Keys are served in the order in which they began to wait, so no row is overtaken for ever by others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fms_connect::Origin;

use crate::key::{Hashed, ItemKey};

/// Most items of one `BatchWriteItem`.
pub const BATCH_ITEMS: usize = 25;

/// Most bytes of one batch; an item that is larger goes alone. DynamoDB takes 16 MB: staying far below costs nothing, since
/// capacity is counted in bytes, and bounds the memory of the calls in flight.
pub const BATCH_BYTES: usize = 2 << 20;

/// Most bytes of a request around an item.
const ITEM_FRAME: usize = br#",{"PutRequest":{"Item":}}"#.len();

/// One opening of a partition: rows that were put before a close have nothing to do with those after the next open.
#[derive(Debug)]
pub struct Source {
    /// Unique within the task.
    pub id: u64,
    revoked: AtomicBool,
}

impl Source {
    /// An opening that is in force.
    pub fn new(id: u64) -> Self {
        Self { id, revoked: AtomicBool::new(false) }
    }

    /// The partition is no longer ours: nothing of it is to be sent any more.
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
    /// The opening of the partition it came through.
    pub source: Arc<Source>,
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
    /// Most bytes that it takes in a request.
    pub fn wire(&self) -> usize {
        self.item.len() + ITEM_FRAME
    }

    /// Estimate of the memory it takes while it waits.
    fn waiting_memory(&self) -> usize {
        // The key twice at most, and its share of the maps.
        size_of::<Self>() + self.text.len() + self.item.len() + self.key.memory() + 128
    }

    /// Estimate of the memory that sending it takes on top: its share of the request's body.
    fn sending_memory(&self) -> usize {
        self.wire()
    }
}

/// What is known about one key. It is in flight, or queued, or both lists are empty and it is forgotten.
#[derive(Debug, Default)]
struct Slot {
    /// The row that was sent is the last; those before it were superseded by it.
    in_flight: Vec<Arc<Put>>,
    /// Oldest first. Only the last one will be sent.
    waiting: Vec<Arc<Put>>,
    queued: bool,
}

/// The rows of one opening that are neither stored nor refused: how many there are of each offset, offsets rising.
type Outstanding = VecDeque<(i64, usize)>;

/// The rows that a task holds.
#[derive(Debug, Default)]
pub struct Batcher {
    slots: HashMap<Arc<ItemKey>, Slot, Hashed>,
    /// Keys with rows that wait and may be sent. A key whose rows were dropped by a close may still be in it.
    queue: VecDeque<Arc<ItemKey>>,
    open: HashMap<u64, Outstanding>,
    memory: usize,
}

impl Batcher {
    /// Rows of this opening are expected from now on.
    pub fn open(&mut self, source: &Source) {
        self.open.insert(source.id, Outstanding::new());
    }

    /// Forgets the rows of this opening. What is in flight stays so until it is answered, so that no key is in flight twice.
    pub fn close(&mut self, source: &Source) {
        self.open.remove(&source.id);
        let mut freed = 0;
        for slot in self.slots.values_mut() {
            slot.waiting.retain(|put| {
                let keep = put.source.id != source.id;
                freed += if keep { 0 } else { put.waiting_memory() };
                keep
            });
        }
        self.memory -= freed;
    }

    /// Takes a row. Offsets of one opening do not fall from call to call.
    pub fn put(&mut self, put: Put) {
        let Some(outstanding) = self.open.get_mut(&put.source.id) else { return };
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

    /// The next batch, which is in flight from now on; empty if nothing may be sent.
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

    /// The row of this key that was in flight is stored, and with it those that it superseded are done. Gives how many those are.
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

    /// The row of this key that was in flight is not stored: DynamoDB refuses it, or its partition was closed and it was dropped. It is given
    /// back in the first case; the rows that it had superseded wait again.
    pub fn not_stored(&mut self, key: &ItemKey) -> Option<Arc<Put>> {
        let slot = self.slots.get_mut(key)?;
        let mut rows = std::mem::take(&mut slot.in_flight);
        let sent = rows.pop()?;
        self.memory -= sent.sending_memory();
        rows.retain(|put| {
            let keep = self.open.contains_key(&put.source.id);
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
    pub fn is_done(&self, source: &Source, end: i64) -> bool {
        self.open.get(&source.id).is_none_or(|rows| rows.front().is_none_or(|(offset, _)| *offset >= end))
    }

    /// Keys whose newest row may be sent.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Estimate of the memory that all rows take, in bytes.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Counts a row as done; gives whether its opening is in force.
    fn done(&mut self, put: &Put) -> bool {
        self.memory -= put.waiting_memory();
        let Some(outstanding) = self.open.get_mut(&put.source.id) else { return false };
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

    /// After an answer: a key with rows that wait is queued, one without is forgotten.
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
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use fms_connect::TopicPartition;
    use proptest::prelude::*;

    use super::*;
    use crate::key::KeyValue;

    fn key(n: u8) -> ItemKey {
        ItemKey::new(KeyValue::Text(n.to_string()), None)
    }

    fn put(source: &Arc<Source>, offset: i64, index: usize, of: u8, text: &str) -> Put {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        Put {
            source: Arc::clone(source),
            origin: Arc::new(Origin { partition, offset, timestamp: None, key: None, headers: Vec::new() }),
            index,
            text: text.into(),
            key: Arc::new(key(of)),
            item: text.into(),
            bytes: text.len(),
        }
    }

    fn opened() -> (Batcher, Arc<Source>) {
        let mut batcher = Batcher::default();
        let source = Arc::new(Source::new(1));
        batcher.open(&source);
        (batcher, source)
    }

    fn texts(batch: &[Arc<Put>]) -> Vec<&str> {
        batch.iter().map(|put| put.text.as_str()).collect()
    }

    #[test]
    fn newest_of_a_key_is_sent_once() {
        let (mut batcher, source) = opened();
        batcher.put(put(&source, 0, 0, 1, "old"));
        batcher.put(put(&source, 0, 1, 1, "new"));
        batcher.put(put(&source, 0, 2, 2, "other"));
        assert_eq!(texts(&batcher.take()), ["new", "other"]);
        assert!(!batcher.is_done(&source, 1));
        assert_eq!(batcher.stored(&key(1)), 1);
        assert!(!batcher.is_done(&source, 1));
        assert_eq!(batcher.stored(&key(2)), 0);
        assert!(batcher.is_done(&source, 1));
        assert_eq!(batcher.memory(), 0);
    }

    #[test]
    fn row_waits_for_its_key_in_flight() {
        let (mut batcher, source) = opened();
        batcher.put(put(&source, 0, 0, 1, "first"));
        assert_eq!(texts(&batcher.take()), ["first"]);
        batcher.put(put(&source, 1, 0, 1, "second"));
        assert!(batcher.take().is_empty());
        batcher.stored(&key(1));
        assert!(batcher.is_done(&source, 1) && !batcher.is_done(&source, 2));
        assert_eq!(texts(&batcher.take()), ["second"]);
    }

    /// What a refused row had superseded is not lost with it.
    #[test]
    fn superseded_row_takes_the_place_of_a_refused_one() {
        let (mut batcher, source) = opened();
        batcher.put(put(&source, 0, 0, 1, "good"));
        batcher.put(put(&source, 1, 0, 1, "bad"));
        assert_eq!(texts(&batcher.take()), ["bad"]);
        assert_eq!(batcher.not_stored(&key(1)).expect("open").text, "bad");
        assert!(!batcher.is_done(&source, 1));
        assert_eq!(texts(&batcher.take()), ["good"]);
        batcher.stored(&key(1));
        assert!(batcher.is_done(&source, 2));
    }

    #[test]
    fn batches_are_bounded_by_items_and_bytes() {
        let (mut batcher, source) = opened();
        for n in 0..30 {
            batcher.put(put(&source, i64::from(n), 0, n, "x"));
        }
        assert_eq!(batcher.take().len(), BATCH_ITEMS);
        assert_eq!(batcher.take().len(), 5);
        let large = "x".repeat(BATCH_BYTES / 3 + 1);
        for n in 100..105 {
            batcher.put(put(&source, i64::from(n), 0, n, &large));
        }
        assert_eq!(batcher.take().len(), 2);
        batcher.put(put(&source, 200, 0, 200, &"x".repeat(BATCH_BYTES + 1)));
        assert_eq!(batcher.take().len(), 2);
        assert_eq!(batcher.take().len(), 1);
        assert_eq!(batcher.take().len(), 1);
        assert!(batcher.take().is_empty());
    }

    #[test]
    fn closed_partition_is_forgotten_but_its_key_stays_in_flight() {
        let (mut batcher, source) = opened();
        batcher.put(put(&source, 0, 0, 1, "sent"));
        batcher.take();
        batcher.put(put(&source, 1, 0, 1, "waits"));
        batcher.put(put(&source, 1, 1, 2, "waits"));
        batcher.close(&source);
        let again = Arc::new(Source::new(2));
        batcher.open(&again);
        batcher.put(put(&again, 0, 0, 1, "again"));
        assert!(batcher.take().is_empty());
        assert!(batcher.not_stored(&key(1)).is_none());
        assert!(!batcher.is_done(&again, 1));
        assert_eq!(texts(&batcher.take()), ["again"]);
        batcher.stored(&key(1));
        assert!(batcher.is_done(&again, 1));
        assert_eq!(batcher.memory(), 0);
    }

    /// A row that gives way to one of another partition comes back when that one is dropped.
    #[test]
    fn superseded_row_outlives_a_closed_partition() {
        let (mut batcher, ours) = opened();
        let other = Arc::new(Source::new(2));
        batcher.open(&other);
        batcher.put(put(&ours, 0, 0, 1, "ours"));
        batcher.put(put(&other, 0, 0, 1, "other"));
        assert_eq!(texts(&batcher.take()), ["other"]);
        batcher.close(&other);
        assert!(batcher.not_stored(&key(1)).is_none());
        assert!(!batcher.is_done(&ours, 1));
        assert_eq!(texts(&batcher.take()), ["ours"]);
    }

    /// What happens to the batcher, by chance.
    #[derive(Debug, Clone)]
    enum Step {
        /// A record with rows of these keys, through this partition.
        Put(usize, Vec<u8>),
        Take,
        /// One of the batches in flight is answered; rows whose bit is set are refused.
        Answer(usize, u32),
        Reopen(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..2usize, prop::collection::vec(0..6u8, 0..8)).prop_map(|(p, keys)| Step::Put(p, keys)),
            3 => Just(Step::Take),
            3 => (any::<usize>(), prop_oneof![2 => Just(0), 1 => any::<u32>()]).prop_map(|(n, r)| Step::Answer(n, r)),
            1 => (0..2usize).prop_map(Step::Reopen),
        ]
    }

    /// The batcher among two partitions, a table, and the truth about both.
    struct Model {
        batcher: Batcher,
        sources: Vec<Arc<Source>>,
        offsets: [i64; 2],
        next_row: usize,
        flights: Vec<Vec<Arc<Put>>>,
        table: BTreeMap<String, usize>,
        refused: Vec<usize>,
        /// Every row of an opening in force, by key, oldest first.
        rows: Vec<(u64, String, usize)>,
    }

    impl Model {
        fn new() -> Self {
            let sources: Vec<_> = (0..2).map(|id| Arc::new(Source::new(id))).collect();
            let mut batcher = Batcher::default();
            for source in &sources {
                batcher.open(source);
            }
            Self {
                batcher,
                sources,
                offsets: [0; 2],
                next_row: 0,
                flights: Vec::new(),
                table: BTreeMap::new(),
                refused: Vec::new(),
                rows: Vec::new(),
            }
        }

        fn run(&mut self, step: &Step) {
            match step {
                Step::Put(partition, keys) => {
                    for (index, of) in keys.iter().enumerate() {
                        let source = &self.sources[*partition];
                        let row = put(source, self.offsets[*partition], index, *of, &self.next_row.to_string());
                        self.rows.push((source.id, row.key.to_string(), self.next_row));
                        self.batcher.put(row);
                        self.next_row += 1;
                    }
                    self.offsets[*partition] += 1;
                }
                Step::Take => self.take(),
                Step::Answer(which, refused) if !self.flights.is_empty() => {
                    let flight = self.flights.remove(which % self.flights.len());
                    for (at, row) in flight.iter().enumerate() {
                        let number: usize = row.text.parse().expect("a row's number");
                        let is_refused = refused >> at & 1 == 1;
                        if !is_refused {
                            self.table.insert(row.key.to_string(), number);
                        }
                        if is_refused || row.source.is_revoked() {
                            self.refused.extend(self.batcher.not_stored(&row.key).map(|_| number));
                        } else {
                            self.batcher.stored(&row.key);
                        }
                    }
                }
                Step::Answer(..) => {}
                Step::Reopen(partition) => {
                    let source = Arc::new(Source::new(self.sources[*partition].id + 2));
                    let old = std::mem::replace(&mut self.sources[*partition], source);
                    old.revoke();
                    self.batcher.close(&old);
                    self.rows.retain(|(id, ..)| *id != old.id);
                    self.batcher.open(&self.sources[*partition]);
                }
            }
        }

        fn take(&mut self) {
            let batch = self.batcher.take();
            assert!(batch.len() <= BATCH_ITEMS);
            let mut keys: HashSet<&ItemKey> = self.flights.iter().flatten().map(|put| &*put.key).collect();
            for row in &batch {
                assert!(keys.insert(&row.key), "{} is in flight twice", row.key);
                assert!(!row.source.is_revoked(), "a row of a closed partition was sent");
            }
            if !batch.is_empty() {
                self.flights.push(batch);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// However calls end: no key is in flight twice, every row is answered in the end, each key's item is its newest row that was not
        /// refused, and no memory is left over.
        #[test]
        fn all_rows_arrive_and_the_newest_wins(steps in prop::collection::vec(step(), 0..60)) {
            let mut model = Model::new();
            for step in &steps {
                model.run(step);
            }
            loop {
                model.take();
                if model.flights.is_empty() {
                    break;
                }
                model.run(&Step::Answer(0, 0));
            }
            for source in &model.sources {
                prop_assert!(model.batcher.is_done(source, i64::MAX));
            }
            prop_assert_eq!(model.batcher.memory(), 0);
            prop_assert!(model.batcher.slots.is_empty() && model.batcher.queue.is_empty());
            let mut newest = BTreeMap::new();
            for (_, key, row) in &model.rows {
                if !model.refused.contains(row) {
                    newest.insert(key.clone(), *row);
                }
            }
            for (key, row) in newest {
                // A row of a partition that was closed later may be newer.
                prop_assert!(model.table.get(&key).is_some_and(|stored| *stored >= row), "{} is not {}", key, row);
            }
        }

        /// An offset is done only when each of its rows is stored, superseded by one that is, or refused.
        #[test]
        fn nothing_is_done_early(steps in prop::collection::vec(step(), 0..60)) {
            let mut model = Model::new();
            for step in &steps {
                model.run(step);
                for (source, end) in model.sources.iter().zip(model.offsets) {
                    if model.batcher.is_done(source, end) {
                        for (_, key, row) in model.rows.iter().filter(|(id, ..)| *id == source.id) {
                            let stored = model.table.get(key).is_some_and(|stored| stored >= row);
                            prop_assert!(stored || model.refused.contains(row), "row {} of {} is not done", row, key);
                        }
                    }
                }
            }
        }
    }
}
