//! One dead letter: a record, or one row of it, that cannot be stored, and why.

use std::sync::Arc;

use crate::Origin;

/// Where in a record's way the error happened, in Kafka Connect's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorStage {
    /// The value is not what the converter reads.
    ValueConverter,
    /// Its rows could not be made as configured.
    Transformation,
    /// The sink cannot store it.
    TaskPut,
}

impl ErrorStage {
    /// The value of `__connect.errors.stage`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A record, or one row of it, that cannot be stored.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The record.
    pub origin: Arc<Origin>,
    /// The record's value as it arrived (`None`: a tombstone), or the text of the row.
    pub value: Option<Vec<u8>>,
    /// The row's index in the record, if the letter is of one row.
    pub row: Option<usize>,
    /// Where it happened.
    pub stage: ErrorStage,
    /// The kind of error, for `__connect.errors.exception.class.name`.
    pub error_class: &'static str,
    /// What is wrong and what to do about it.
    pub error: String,
    /// The service's id of the call that refused it, if one did: another for each call, and so no part of the text.
    pub request_id: Option<String>,
}

impl DeadLetter {
    /// Bytes it takes in memory and, about, on the wire.
    pub(super) fn size(&self) -> usize {
        let headers = self.origin.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
        self.value.as_ref().map_or(0, Vec::len)
            + self.origin.key.as_ref().map_or(0, Vec::len)
            + headers.sum::<usize>()
            + self.error.len()
            // The context headers and the bookkeeping.
            + 512
    }
}
