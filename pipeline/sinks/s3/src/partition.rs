//! One partition that is ours: rows go into the open generation's objects; closed generations wait for their turn to be flushed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fms_connect::{Budget, ErrantRow, Flush, Reservation, SinkError, SinkRecord, Tick, TopicPartition};
use fms_record::{EventTime, Row};

use crate::content::{self, Checksum, Content};
use crate::extractor::Extractor;
use crate::layout::Layout;
use crate::metrics::{Metrics, Sources};
use crate::partitioner::Misfit;
use crate::rotation::{Buffered, Reason, Rotation};
use crate::store::{Store, Target};
use crate::uploads::{Body, Multipart, Pending, Uploads};
use crate::writer::Writer;

/// Reservations are made in steps of this many bytes, which also stand for what an object holds besides its rows.
const STEP: usize = 16 * 1024;

/// An object that takes rows.
struct Object {
    target: Arc<Target>,
    writer: Writer,
    upload: Option<Multipart>,
    rows: u64,
    bytes: u64,
    parts: usize,
    checksum: Checksum,
    /// The digests of its rows, in a flush that is repeated.
    digests: Option<Vec<u64>>,
    /// The event time of its first row that has one.
    first_time: Option<i64>,
    memory: Reservation,
}

/// An object whose rows are complete.
struct ClosedObject {
    target: Arc<Target>,
    body: Body,
    content: Content,
    rows: u64,
}

/// The records of one flush, as far as they have come.
#[derive(Default)]
struct Generation {
    /// By their folders.
    objects: BTreeMap<String, Object>,
    /// The offset after its last record; `None` before the first.
    end: Option<i64>,
    /// How many records it has.
    records: i64,
    /// When the schedule ends it.
    scheduled: Option<i64>,
    /// Where the event times of its rows are from.
    times: Sources,
}

/// The records of one flush.
struct Closed {
    objects: Vec<ClosedObject>,
    /// Where they belong.
    store: Store,
    end: i64,
    reason: Reason,
}

/// A row of the current record and where it belongs.
struct Placed {
    row: usize,
    folders: Range<usize>,
    time: Option<EventTime>,
}

impl Placed {
    /// The row's event time, if it was looked for.
    fn millis(&self) -> Option<i64> {
        self.time.map(|time| time.millis)
    }
}

/// How and where objects are written: by today's settings, or by those of an intent.
#[derive(Clone)]
pub struct Destination {
    /// Names and bytes.
    pub layout: Layout,
    /// The bucket.
    pub store: Store,
}

/// A flush to repeat.
pub struct Repeat {
    /// Where it ends.
    pub end: i64,
    /// How it is written.
    pub destination: Destination,
}

/// One partition that is ours.
pub struct Partition {
    id: TopicPartition,
    rotation: Rotation,
    today: Destination,
    /// The flush to repeat, until the generation that it is has been closed.
    repeat: Option<Repeat>,
    open: Generation,
    /// Where the open generation starts, whether or not there still is a record at that offset: what will be committed when its intent
    /// is, and so what a replay of it is opened with. `None` before the first record where nothing was ever committed.
    start: Option<i64>,
    /// The bytes that the next object will probably have: those of the last one, where it was alone in its generation.
    expected: usize,
    closed: VecDeque<Closed>,
    flushing: Option<Arc<Pending>>,
    uploads: Uploads,
    budget: Budget,
    metrics: Metrics,
    /// Of the current record; kept for their memory.
    placed: Vec<Placed>,
    folders: String,
}

impl Partition {
    /// Without records yet. `start` is what the group has committed; `uploads` has begun with the clean-up.
    #[expect(clippy::too_many_arguments, reason = "each is one of its parts")]
    pub fn new(
        id: TopicPartition,
        start: Option<i64>,
        rotation: Rotation,
        today: Destination,
        repeat: Option<Repeat>,
        uploads: Uploads,
        budget: Budget,
        metrics: Metrics,
    ) -> Self {
        Self {
            id,
            rotation,
            today,
            repeat,
            open: Generation::default(),
            start,
            expected: 0,
            closed: VecDeque::new(),
            flushing: None,
            uploads,
            budget,
            metrics,
            placed: Vec::new(),
            folders: String::new(),
        }
    }

    /// See [`fms_connect::SinkTask::put`].
    pub fn put(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        self.uploads.failure()?;
        let offset = record.offset;
        if self.repeat.as_ref().is_some_and(|repeat| offset >= repeat.end) {
            self.end_generation(Reason::Replay)?;
        }
        self.place(record, errant);
        if self.repeat.is_none() && self.is_too_late() {
            self.end_generation(Reason::Interval)?;
        }
        let start = *self.start.get_or_insert(offset);
        let ends = self.append(record, start)?;
        let end = offset + 1;
        self.open.end = Some(end);
        self.open.records += 1;
        match (&self.repeat, ends) {
            (Some(repeat), _) if end >= repeat.end => self.end_generation(Reason::Replay),
            (None, Some(reason)) => self.end_generation(reason),
            _ => Ok(()),
        }
    }

    /// Finds the folders of every row; a row without is errant.
    ///
    /// Whether a row is errant must not depend on more than record and layout: a replay has to leave out the same rows.
    fn place(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) {
        self.placed.clear();
        self.folders.clear();
        let layout = self.repeat.as_mut().map_or(&mut self.today.layout, |repeat| &mut repeat.destination.layout);
        let needs_time = layout.partitioner.needs_time();
        let reads_time = needs_time || self.rotation.interval.is_some();
        for (index, row) in record.rows.iter().enumerate() {
            let start = self.folders.len();
            let time = reads_time.then(|| layout.extractor.time(row, record.timestamp));
            let placed = match time {
                Some(Err(error)) if needs_time => Err(error),
                time => {
                    let time = time.and_then(Result::ok);
                    let millis = time.map(|time| time.millis);
                    layout
                        .partitioner
                        .write(row, self.id.partition, millis, &mut self.folders)
                        .and_then(|()| layout.check_folders(&self.id, &self.folders[start..]))
                        .map(|()| time)
                }
            };
            match placed {
                Ok(time) => {
                    let mut folders = start..self.folders.len();
                    // Rows of a message mostly stay together.
                    if let Some(last) = self.placed.last()
                        && self.folders[last.folders.clone()] == self.folders[folders.clone()]
                    {
                        self.folders.truncate(start);
                        folders = last.folders.clone();
                    }
                    self.placed.push(Placed { row: index, folders, time });
                }
                Err(misfit) => {
                    self.folders.truncate(start);
                    let mut text = Vec::new();
                    row.write_json(&mut text);
                    let Misfit { class, error } = misfit;
                    let origin = Arc::clone(record.origin.get());
                    errant.push(ErrantRow { origin, index: row.index(), text, class, error, request_id: None });
                }
            }
        }
    }

    /// Whether the open generation ends before the record that was placed.
    fn is_too_late(&self) -> bool {
        self.rotation.interval.is_some()
            && self.placed.iter().any(|row| {
                let object = self.open.objects.get(&self.folders[row.folders.clone()]);
                self.rotation.ends_before(object.and_then(|object| object.first_time), row.millis())
            })
    }

    /// Appends the rows that were placed to the generation that starts at `start`, and says whether it ends after them.
    fn append(&mut self, record: &SinkRecord<'_>, start: i64) -> Result<Option<Reason>, SinkError> {
        let destination = self.repeat.as_ref().map_or(&self.today, |repeat| &repeat.destination);
        // With little memory left it grows with its rows.
        let alone = self.open.objects.is_empty() && self.budget.has_room(self.expected);
        let expected = if alone { self.expected } else { 0 };
        let mut ends = None;
        let mut sources = [0; 3];
        for rows in self.placed.chunk_by(|a, b| a.folders == b.folders) {
            let folders = &self.folders[rows[0].folders.clone()];
            if !self.open.objects.contains_key(folders) {
                let mut object =
                    Object::new(destination, &self.id, folders, start, expected, &self.uploads, &self.budget);
                object.digests = self.repeat.as_ref().map(|_| Vec::new());
                self.open.objects.insert(folders.to_owned(), object);
            }
            let Some(object) = self.open.objects.get_mut(folders) else { continue };
            for placed in rows {
                if let Some(time) = placed.time {
                    sources[time.source as usize] += 1;
                }
                object.append(&record.rows[placed.row], placed.millis())?;
                while let Some(part) = object.writer.part() {
                    object.upload(part, &destination.store, &mut self.uploads, &self.budget);
                }
            }
            object.reserve();
            ends = ends.or_else(|| self.rotation.ends_after(object.rows, object.parts));
        }
        self.metrics.event_times(sources);
        for (all, own) in self.open.times.iter_mut().zip(sources) {
            *all += own;
        }
        Ok(ends)
    }

    /// Ends the open generation. Its bytes are settled; they wait for their turn.
    fn end_generation(&mut self, reason: Reason) -> Result<(), SinkError> {
        let repeat = self.repeat.take();
        let Destination { layout, store } = repeat.as_ref().map_or(&self.today, |repeat| &repeat.destination);
        let store = store.clone();
        let open = std::mem::take(&mut self.open);
        if let Extractor::Field(field) = &layout.extractor {
            self.metrics.flush_times(field, &self.id, open.times);
        }
        let Some(end) = repeat.as_ref().map(|repeat| repeat.end).or(open.end) else { return Ok(()) };
        let mut objects = Vec::with_capacity(open.objects.len());
        let has_gaps = self.start.is_some_and(|start| open.records < end - start);
        for mut object in open.objects.into_values() {
            // With all of its records it can only be the same.
            object.digests = object.digests.filter(|_| has_gaps);
            objects.push(object.close(&store, &mut self.uploads, &self.budget)?);
        }
        self.expected = match &objects[..] {
            // And a bit more, for rows vary.
            [alone] => usize::try_from(alone.content.bytes + alone.content.bytes / 64).unwrap_or(usize::MAX),
            _ => 0,
        };
        tracing::info!(
            topic = &*self.id.topic,
            partition = self.id.partition,
            reason = reason.as_str(),
            start = self.start,
            end,
            objects = objects.len(),
            rows = objects.iter().map(|object| object.rows).sum::<u64>(),
            "a flush ends"
        );
        self.start = Some(end);
        self.closed.push_back(Closed { objects, store, end, reason });
        Ok(())
    }

    /// Flushes that wait for the one under way.
    pub fn waiting(&self) -> usize {
        self.closed.len()
    }

    /// See [`fms_connect::SinkTask::due`].
    pub fn due(&mut self, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        self.uploads.check()?;
        if self.flushing.is_some() {
            return Ok(None);
        }
        if self.closed.is_empty()
            && let Some(reason) = self.ends_now(tick)
        {
            self.end_generation(reason)?;
        }
        Ok(self.closed.front().map(|closed| Flush {
            end: closed.end,
            intent: !closed.objects.is_empty(),
            reason: closed.reason.as_str(),
        }))
    }

    /// Whether the open generation ends now.
    fn ends_now(&mut self, tick: &Tick) -> Option<Reason> {
        if self.repeat.is_some() {
            // Nothing but a record at or behind its end ends it: that the partition's end is reached may be old news.
            return None;
        }
        self.open.end?;
        let rows = !self.open.objects.is_empty();
        if rows && let Some(schedule) = &self.rotation.schedule {
            self.open.scheduled = schedule.moment(self.open.scheduled, tick.wall_millis);
        }
        let buffered = Buffered { rows, scheduled: self.open.scheduled, uploading: self.uploads.is_busy() };
        self.rotation.ends_now(buffered, tick)
    }

    /// See [`fms_connect::SinkTask::flush`].
    pub fn flush(&mut self) {
        let Some(closed) = self.closed.pop_front() else { return };
        let pending = Pending::new(closed.objects.len());
        for object in closed.objects {
            let ClosedObject { target, body, content, rows } = object;
            let (metrics, bytes) = (self.metrics.clone(), content.bytes);
            let stored = move || metrics.stored(rows, bytes);
            self.uploads.complete(&closed.store, &target, body, content, &pending, stored);
        }
        self.flushing = Some(pending);
    }

    /// See [`fms_connect::SinkTask::poll`].
    pub fn poll(&mut self) -> Result<bool, SinkError> {
        self.uploads.check()?;
        let done = self.flushing.as_ref().is_none_or(|pending| pending.is_done());
        if done {
            self.flushing = None;
        }
        Ok(done)
    }
}

impl Object {
    fn new(
        destination: &Destination,
        partition: &TopicPartition,
        folders: &str,
        start: i64,
        expected: usize,
        uploads: &Uploads,
        budget: &Budget,
    ) -> Self {
        let Destination { layout, store } = destination;
        let key = layout.key(partition, folders, start);
        Self {
            target: Arc::new(Target { bucket: Arc::clone(store.bucket()), key, partition: partition.clone(), start }),
            writer: Writer::new(layout.compression, layout.part_size, expected, uploads.pool()),
            upload: None,
            rows: 0,
            bytes: 0,
            parts: 0,
            checksum: Checksum::new(),
            digests: None,
            first_time: None,
            memory: budget.reservation(),
        }
    }

    fn append(&mut self, row: &Row<'_>, millis: Option<i64>) -> Result<(), SinkError> {
        let digests = &mut self.digests;
        let write = |out: &mut Vec<u8>| {
            let start = out.len();
            row.write_json(out);
            if let Some(digests) = digests {
                digests.push(content::digest(&out[start..]));
            }
        };
        self.writer.row(write).map_err(|error| self.broken(&error))?;
        self.rows += 1;
        self.first_time = self.first_time.or(millis);
        Ok(())
    }

    /// A compressor that fails has no memory, or is at fault itself.
    fn broken(&self, error: &io::Error) -> SinkError {
        SinkError::fatal(format!(
            "compressing rows for {}: {error}; give the worker more memory or lower `s3.compression.level`",
            self.target
        ))
    }

    /// Holds what it holds.
    fn reserve(&mut self) {
        let bytes = (self.writer.memory() + self.digest_memory()).next_multiple_of(STEP) + STEP;
        if bytes != self.memory.bytes() {
            self.memory.resize(bytes);
        }
    }

    fn digest_memory(&self) -> usize {
        self.digests.as_ref().map_or(0, |digests| digests.capacity() * size_of::<u64>())
    }

    /// Uploads a part ahead of the flush.
    fn upload(&mut self, part: Vec<u8>, store: &Store, uploads: &mut Uploads, budget: &Budget) {
        let mut memory = budget.reservation();
        memory.resize(part.capacity());
        self.parts += 1;
        self.bytes += part.len() as u64;
        self.checksum.update(&part);
        uploads.part(store, &self.target, self.upload.get_or_insert_default(), part, memory);
    }

    /// Ends it: one that stayed below a part is kept to be stored whole, the last part of another is uploaded.
    fn close(mut self, store: &Store, uploads: &mut Uploads, budget: &Budget) -> Result<ClosedObject, SinkError> {
        let mut ends = self.writer.finish().map_err(|error| self.broken(&error))?;
        // Only what is beyond a part's size is more than one.
        let last = ends.pop().unwrap_or_default();
        for part in ends {
            self.upload(part, store, uploads, budget);
        }
        let body = if self.upload.is_some() {
            self.upload(last, store, uploads, budget);
            self.memory.resize(self.digest_memory());
            Body::Parts(self.upload.take().unwrap_or_default(), self.memory)
        } else {
            self.bytes += last.len() as u64;
            self.checksum.update(&last);
            self.memory.resize(last.capacity() + self.digest_memory() + STEP);
            Body::Whole(uploads.pool().share(last), self.memory)
        };
        let content = Content {
            bytes: self.bytes,
            checksum: self.checksum.sum(),
            compression: self.writer.compression(),
            rows: self.digests,
        };
        Ok(ClosedObject { target: self.target, body, content, rows: self.rows })
    }
}
