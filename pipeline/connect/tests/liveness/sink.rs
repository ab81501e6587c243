//! A sink in memory that does what a test wants: it notes what it stores, refuses, or never comes to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fms_connect::{
    Config, ConfigError, Demand, ErrantRow, Flush, Replay, Reservation, SinkConnector, SinkError, SinkRecord, SinkTask,
    TaskContext, TaskFactory, Tick, TopicPartition,
};
use tokio::runtime::Handle;

/// What the sink does and has done, as a test sees it.
#[derive(Default)]
pub struct Notes {
    /// The offsets that were stored, by partition.
    pub stored: Mutex<BTreeMap<String, BTreeSet<i64>>>,
    /// How many records were stored that were stored already.
    pub twice: AtomicUsize,
    /// How many flushes it still refuses.
    pub refusals: AtomicUsize,
    /// Whether its flushes never end.
    pub stuck: AtomicBool,
    /// How many flushes it has begun.
    pub flushes: AtomicUsize,
    /// How often it was asked whether it is full: once a pass, at least.
    pub passes: AtomicUsize,
    /// How often it was asked whether a flush is due.
    pub looks: AtomicUsize,
}

impl Notes {
    /// How many records are stored of the partitions whose name begins so.
    pub fn count(&self, prefix: &str) -> usize {
        let stored = self.stored.lock().expect("no panic");
        stored.iter().filter(|(partition, _)| partition.starts_with(prefix)).map(|(_, offsets)| offsets.len()).sum()
    }

    /// How many records were stored once more.
    pub fn stored_twice(&self) -> usize {
        self.twice.load(Ordering::Relaxed)
    }
}

/// A sink in memory.
pub struct Memory {
    /// The values of `connector.class` that name it.
    pub classes: &'static [&'static str],
    /// What it does and has done.
    pub notes: Arc<Notes>,
}

impl SinkConnector for Memory {
    fn classes(&self) -> &'static [&'static str] {
        self.classes
    }

    fn start(&self, _: &Config, _: &Handle) -> Result<TaskFactory, ConfigError> {
        let notes = Arc::clone(&self.notes);
        Ok(Arc::new(move |context| Box::new(Task { notes: Arc::clone(&notes), context, partitions: BTreeMap::new() })))
    }
}

struct Partition {
    buffered: BTreeSet<i64>,
    flushing: Option<i64>,
    memory: Reservation,
}

struct Task {
    notes: Arc<Notes>,
    context: TaskContext,
    partitions: BTreeMap<String, Partition>,
}

impl Task {
    fn partition(&mut self, partition: &TopicPartition) -> &mut Partition {
        self.partitions.get_mut(&partition.to_string()).expect("a partition that was opened")
    }
}

impl SinkTask for Task {
    fn open(&mut self, partition: &TopicPartition, _: Option<i64>, _: Option<&Replay>) -> Result<(), SinkError> {
        let memory = self.context.budget.reservation();
        self.partitions.insert(partition.to_string(), Partition { buffered: BTreeSet::new(), flushing: None, memory });
        Ok(())
    }

    fn put(&mut self, record: &SinkRecord<'_>, _: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        record.rows.iter().for_each(|row| row.write_json(&mut bytes));
        let partition = self.partition(record.partition);
        partition.buffered.insert(record.offset);
        partition.memory.grow(bytes.len());
        Ok(())
    }

    fn is_full(&mut self) -> Result<bool, SinkError> {
        self.notes.passes.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        self.notes.looks.fetch_add(1, Ordering::Relaxed);
        let partition = self.partition(partition);
        let asked = tick.demand != Demand::Settings || tick.idle.is_some();
        let Some(last) = partition.buffered.last().filter(|_| asked && partition.flushing.is_none()) else {
            return Ok(None);
        };
        let end = last + 1;
        partition.flushing = Some(end);
        Ok(Some(Flush { end, intent: true, reason: "asked" }))
    }

    fn flush(&mut self, _: &TopicPartition) -> Result<(), SinkError> {
        self.notes.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn poll(&mut self, partition: &TopicPartition, _: &mut Vec<ErrantRow>) -> Result<bool, SinkError> {
        let notes = Arc::clone(&self.notes);
        if notes.stuck.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let refused = notes.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if refused.is_ok() {
            return Err(SinkError::fatal(format!("access to the place of {partition} is denied")));
        }
        let name = partition.to_string();
        let partition = self.partition(partition);
        let Some(end) = partition.flushing.take() else { return Ok(true) };
        let later = partition.buffered.split_off(&end);
        let done = std::mem::replace(&mut partition.buffered, later);
        partition.memory.resize(0);
        let mut stored = notes.stored.lock().expect("no panic");
        let offsets = stored.entry(name).or_default();
        for offset in done {
            let new = offsets.insert(offset);
            notes.twice.fetch_add(usize::from(!new), Ordering::Relaxed);
        }
        Ok(true)
    }

    fn close(&mut self, partition: &TopicPartition) {
        self.partitions.remove(&partition.to_string());
    }
}
