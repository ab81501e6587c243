//! The batcher by example, and against a simple model of a table by chance.

use std::collections::{BTreeMap, HashSet};

use fms_connect::TopicPartition;
use proptest::prelude::*;

use super::*;
use crate::key::KeyValue;

fn key(n: u8) -> ItemKey {
    ItemKey::new(KeyValue::Text(n.to_string()), None)
}

fn put(opening: &Arc<Opening>, offset: i64, index: usize, of: u8, text: &str) -> Put {
    let partition = TopicPartition { topic: "t".into(), partition: 0 };
    Put {
        opening: Arc::clone(opening),
        origin: Arc::new(Origin { partition, offset, timestamp: None, key: None, headers: Vec::new() }),
        index,
        text: text.into(),
        key: Arc::new(key(of)),
        item: text.into(),
        bytes: text.len(),
    }
}

fn opened() -> (Batcher, Arc<Opening>) {
    let mut batcher = Batcher::default();
    let opening = Arc::new(Opening::new(1));
    batcher.open(&opening);
    (batcher, opening)
}

fn texts(batch: &[Arc<Put>]) -> Vec<&str> {
    batch.iter().map(|put| put.text.as_str()).collect()
}

#[test]
fn newest_of_a_key_is_sent_once() {
    let (mut batcher, opening) = opened();
    batcher.put(put(&opening, 0, 0, 1, "old"));
    batcher.put(put(&opening, 0, 1, 1, "new"));
    batcher.put(put(&opening, 0, 2, 2, "other"));
    assert_eq!(texts(&batcher.take()), ["new", "other"]);
    assert!(!batcher.is_done(&opening, 1));
    assert_eq!(batcher.stored(&key(1)), 1);
    assert!(!batcher.is_done(&opening, 1));
    assert_eq!(batcher.stored(&key(2)), 0);
    assert!(batcher.is_done(&opening, 1));
    assert_eq!(batcher.memory(), 0);
}

#[test]
fn row_waits_for_its_key_in_flight() {
    let (mut batcher, opening) = opened();
    batcher.put(put(&opening, 0, 0, 1, "first"));
    assert_eq!(texts(&batcher.take()), ["first"]);
    batcher.put(put(&opening, 1, 0, 1, "second"));
    assert!(batcher.take().is_empty());
    batcher.stored(&key(1));
    assert!(batcher.is_done(&opening, 1) && !batcher.is_done(&opening, 2));
    assert_eq!(texts(&batcher.take()), ["second"]);
}

/// What a refused row had superseded is not lost with it.
#[test]
fn superseded_row_takes_the_place_of_a_refused_one() {
    let (mut batcher, opening) = opened();
    batcher.put(put(&opening, 0, 0, 1, "good"));
    batcher.put(put(&opening, 1, 0, 1, "bad"));
    assert_eq!(texts(&batcher.take()), ["bad"]);
    assert_eq!(batcher.not_stored(&key(1)).expect("open").text, "bad");
    assert!(!batcher.is_done(&opening, 1));
    assert_eq!(texts(&batcher.take()), ["good"]);
    batcher.stored(&key(1));
    assert!(batcher.is_done(&opening, 2));
}

#[test]
fn batches_are_bounded_by_items_and_bytes() {
    let (mut batcher, opening) = opened();
    for n in 0..30 {
        batcher.put(put(&opening, i64::from(n), 0, n, "x"));
    }
    assert_eq!(batcher.take().len(), BATCH_ITEMS);
    assert_eq!(batcher.take().len(), 5);
    let large = "x".repeat(BATCH_BYTES / 3 + 1);
    for n in 100..105 {
        batcher.put(put(&opening, i64::from(n), 0, n, &large));
    }
    assert_eq!(batcher.take().len(), 2);
    batcher.put(put(&opening, 200, 0, 200, &"x".repeat(BATCH_BYTES + 1)));
    assert_eq!(batcher.take().len(), 2);
    assert_eq!(batcher.take().len(), 1);
    assert_eq!(batcher.take().len(), 1);
    assert!(batcher.take().is_empty());
}

#[test]
fn closed_partition_is_forgotten_but_its_key_stays_in_flight() {
    let (mut batcher, opening) = opened();
    batcher.put(put(&opening, 0, 0, 1, "sent"));
    batcher.take();
    batcher.put(put(&opening, 1, 0, 1, "waits"));
    batcher.put(put(&opening, 1, 1, 2, "waits"));
    batcher.close(&opening);
    let again = Arc::new(Opening::new(2));
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
    let other = Arc::new(Opening::new(2));
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
    openings: Vec<Arc<Opening>>,
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
        let openings: Vec<_> = (0..2).map(|id| Arc::new(Opening::new(id))).collect();
        let mut batcher = Batcher::default();
        for opening in &openings {
            batcher.open(opening);
        }
        Self {
            batcher,
            openings,
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
                    let opening = &self.openings[*partition];
                    let row = put(opening, self.offsets[*partition], index, *of, &self.next_row.to_string());
                    self.rows.push((opening.id, row.key.to_string(), self.next_row));
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
                    if is_refused || row.opening.is_revoked() {
                        self.refused.extend(self.batcher.not_stored(&row.key).map(|_| number));
                    } else {
                        self.batcher.stored(&row.key);
                    }
                }
            }
            Step::Answer(..) => {}
            Step::Reopen(partition) => {
                let opening = Arc::new(Opening::new(self.openings[*partition].id + 2));
                let old = std::mem::replace(&mut self.openings[*partition], opening);
                old.revoke();
                self.batcher.close(&old);
                self.rows.retain(|(id, ..)| *id != old.id);
                self.batcher.open(&self.openings[*partition]);
            }
        }
    }

    fn take(&mut self) {
        let batch = self.batcher.take();
        assert!(batch.len() <= BATCH_ITEMS);
        let mut keys: HashSet<&ItemKey> = self.flights.iter().flatten().map(|put| &*put.key).collect();
        for row in &batch {
            assert!(keys.insert(&row.key), "{} is in flight twice", row.key);
            assert!(!row.opening.is_revoked(), "a row of a closed partition was sent");
        }
        if !batch.is_empty() {
            self.flights.push(batch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However calls end: no key is in flight twice, every row is answered in the end, each key's item is its newest
    /// row that was not refused, and no memory is left over.
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
        for opening in &model.openings {
            prop_assert!(model.batcher.is_done(opening, i64::MAX));
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
            for (opening, end) in model.openings.iter().zip(model.offsets) {
                if model.batcher.is_done(opening, end) {
                    for (_, key, row) in model.rows.iter().filter(|(id, ..)| *id == opening.id) {
                        let stored = model.table.get(key).is_some_and(|stored| stored >= row);
                        prop_assert!(stored || model.refused.contains(row), "row {} of {} is not done", row, key);
                    }
                }
            }
        }
    }
}
