//! One object: rows are appended to its writer, full parts are uploaded ahead, and at the end of the flush it is
//! closed.

use std::io;
use std::sync::Arc;

use fms_connect::{Budget, Reservation, SinkError, TopicPartition};
use fms_record::Row;

use crate::content::{self, Checksum, Content};
use crate::partition::Destination;
use crate::store::{ObjectTarget, Store};
use crate::uploads::{Multipart, ObjectBody, Uploads};
use crate::writer::Writer;

/// Memory is reserved in steps of this many bytes. One step more than needed stands for what an object takes besides
/// its rows.
const STEP: usize = 16 * 1024;

/// An object of the open generation, to which rows are appended.
pub(crate) struct Object {
    target: Arc<ObjectTarget>,
    pub writer: Writer,
    upload: Option<Multipart>,
    pub rows: u64,
    bytes: u64,
    pub parts: usize,
    checksum: Checksum,
    /// The digests of its rows, if the flush is a repeated one.
    pub digests: Option<Vec<u64>>,
    /// The event time of the first row that has one.
    pub first_time: Option<i64>,
    memory: Reservation,
}

/// An object to which no rows will be appended any more.
pub(crate) struct ClosedObject {
    pub target: Arc<ObjectTarget>,
    pub body: ObjectBody,
    pub content: Content,
    pub rows: u64,
}

impl Object {
    /// The object in these folders of the flush that starts at this offset. It will probably have `expected` bytes.
    pub fn new(
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
            target: Arc::new(ObjectTarget {
                bucket: Arc::clone(store.bucket()),
                key,
                partition: partition.clone(),
                start,
            }),
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

    /// Appends a row with this event time.
    pub fn append(&mut self, row: &Row<'_>, millis: Option<i64>) -> Result<(), SinkError> {
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

    /// The error for a compressor that fails, which has no memory or is at fault itself.
    fn broken(&self, error: &io::Error) -> SinkError {
        SinkError::fatal(format!(
            "compressing rows for {}: {error}; give the worker more memory or lower `s3.compression.level`",
            self.target
        ))
    }

    /// Makes the reservation as large as the memory that the object takes.
    pub fn reserve(&mut self) {
        let bytes = (self.writer.memory() + self.digest_memory()).next_multiple_of(STEP) + STEP;
        if bytes != self.memory.bytes() {
            self.memory.resize(bytes);
        }
    }

    fn digest_memory(&self) -> usize {
        self.digests.as_ref().map_or(0, |digests| digests.capacity() * size_of::<u64>())
    }

    /// Begins to upload a part, ahead of the flush.
    pub fn upload(&mut self, part: Vec<u8>, store: &Store, uploads: &mut Uploads, budget: &Budget) {
        let mut memory = budget.reservation();
        memory.resize(part.capacity());
        self.parts += 1;
        self.bytes += part.len() as u64;
        self.checksum.update(&part);
        uploads.part(store, &self.target, self.upload.get_or_insert_default(), part, memory);
    }

    /// Settles the object's bytes. An object that is smaller than a part is kept, to be stored in one call; of a larger
    /// one, the last part is uploaded.
    pub fn close(mut self, store: &Store, uploads: &mut Uploads, budget: &Budget) -> Result<ClosedObject, SinkError> {
        let mut ends = self.writer.finish().map_err(|error| self.broken(&error))?;
        // There is more than one end only if what was left is larger than a part.
        let last = ends.pop().unwrap_or_default();
        for part in ends {
            self.upload(part, store, uploads, budget);
        }
        let body = if self.upload.is_some() {
            self.upload(last, store, uploads, budget);
            self.memory.resize(self.digest_memory());
            ObjectBody::Parts(self.upload.take().unwrap_or_default(), self.memory)
        } else {
            self.bytes += last.len() as u64;
            self.checksum.update(&last);
            self.memory.resize(last.capacity() + self.digest_memory() + STEP);
            ObjectBody::Whole(uploads.pool().share(last), self.memory)
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
