//! One partition that the task owns. Rows go into the objects of the open generation; closed generations wait for their
//! flush.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use fms_connect::{Budget, ErrantRow, Flush, SinkError, SinkRecord, Tick, TopicPartition};
use fms_record::EventTime;

use crate::extractor::Extractor;
use crate::layout::Layout;
use crate::metrics::{Metrics, Sources};
use crate::object::{ClosedObject, Object};
use crate::partitioner::PlacementError;
use crate::rotation::{Buffered, FlushReason, Rotation};
use crate::store::Store;
use crate::uploads::{Pending, Uploads};

/// The records of one flush, as far as they have come. It is open until a rule of rotation ends it.
#[derive(Default)]
struct Generation {
    /// The objects, by their folders.
    objects: BTreeMap<String, Object>,
    /// The offset after the last record; `None` before the first one.
    end: Option<i64>,
    /// How many records there are.
    records: i64,
    /// The moment at which the schedule ends it.
    scheduled: Option<i64>,
    /// Where the event times of the rows came from.
    times: Sources,
}

/// A generation that has ended and waits for its flush.
struct Closed {
    objects: Vec<ClosedObject>,
    /// Where the objects are stored.
    store: Store,
    end: i64,
    reason: FlushReason,
}

/// A row of the current record, and its folders.
struct Placed {
    row: usize,
    folders: Range<usize>,
    time: Option<EventTime>,
}

impl Placed {
    /// The row's event time in milliseconds, if it was read.
    fn millis(&self) -> Option<i64> {
        self.time.map(|time| time.millis)
    }
}

/// How and where objects are written: by today's settings, or by those of an intent.
#[derive(Clone)]
pub struct Destination {
    /// How objects are named and written.
    pub layout: Layout,
    /// The bucket that they are stored in.
    pub store: Store,
}

/// A flush of a previous owner that is to be repeated.
pub struct Repeat {
    /// The offset at which it ends.
    pub end: i64,
    /// How it is written.
    pub destination: Destination,
}

/// One partition that the task owns.
pub struct Partition {
    id: TopicPartition,
    rotation: Rotation,
    today: Destination,
    /// The flush to repeat, until its generation is closed.
    repeat: Option<Repeat>,
    open: Generation,
    /// The offset at which the open generation starts, whether or not there still is a record at it. It is committed
    /// together with the intent, and so a replay of the generation is opened with it. `None` before the first record of
    /// a partition where nothing was ever committed.
    start: Option<i64>,
    /// The bytes that the next object will probably have: those of the last one, if that was alone in its generation.
    expected: usize,
    closed: VecDeque<Closed>,
    flushing: Option<Arc<Pending>>,
    uploads: Uploads,
    budget: Budget,
    metrics: Metrics,
    /// The rows of the current record and their folders. The two are kept between records for their memory.
    placed: Vec<Placed>,
    folders: String,
}

impl Partition {
    /// A partition without records yet. `start` is the offset that the group has committed; `uploads` has begun its
    /// clean-up.
    #[expect(clippy::too_many_arguments, reason = "each is one field of the struct")]
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
            self.end_generation(FlushReason::Replay)?;
        }
        self.place(record, errant);
        if self.repeat.is_none() && self.is_too_late() {
            self.end_generation(FlushReason::Interval)?;
        }
        let start = *self.start.get_or_insert(offset);
        let ends = self.append(record, start)?;
        let end = offset + 1;
        self.open.end = Some(end);
        self.open.records += 1;
        match (&self.repeat, ends) {
            (Some(repeat), _) if end >= repeat.end => self.end_generation(FlushReason::Replay),
            (None, Some(reason)) => self.end_generation(reason),
            (Some(_), _) | (None, None) => Ok(()),
        }
    }

    /// Finds the folders of every row. A row that has none is errant.
    ///
    /// Whether a row is errant must depend on the record and the layout alone, because a replay has to leave out the
    /// same rows.
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
                    // Rows of one message mostly have the same folders.
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
                    let PlacementError { class, error } = misfit;
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

    /// Appends the rows that were placed to the generation that starts at `start`. Gives the reason if the generation
    /// ends after them.
    fn append(&mut self, record: &SinkRecord<'_>, start: i64) -> Result<Option<FlushReason>, SinkError> {
        let destination = self.repeat.as_ref().map_or(&self.today, |repeat| &repeat.destination);
        // When little memory is left, the object grows with its rows instead.
        let alone = self.open.objects.is_empty() && self.budget.has_room(self.expected);
        let expected = if alone { self.expected } else { 0 };
        let mut ends = None;
        let mut sources = Sources::default();
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

    /// Ends the open generation. The bytes of its objects are then settled, and it waits for its flush.
    fn end_generation(&mut self, reason: FlushReason) -> Result<(), SinkError> {
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
            // A replay that has all of the records gives the very same object, so its rows need not be compared.
            object.digests = object.digests.filter(|_| has_gaps);
            objects.push(object.close(&store, &mut self.uploads, &self.budget)?);
        }
        self.expected = match &objects[..] {
            // A little more, because rows differ in length.
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

    /// How many flushes wait for the one under way.
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
    fn ends_now(&mut self, tick: &Tick) -> Option<FlushReason> {
        if self.repeat.is_some() {
            // Only a record at or behind its end ends a repeated flush. That the partition's end is reached may be
            // outdated.
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
