//! What the subject called: every AWS request that passed the recording proxy, in order, and the faults to be injected.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// One call of the subject.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its number, from 1, in the order in which requests arrived.
    pub number: usize,
    /// `dynamodb` or `s3`.
    pub service: &'static str,
    /// `BatchWriteItem`, `PutObject`, `CompleteMultipartUpload`, …
    pub operation: String,
    /// Table, or bucket and key.
    pub target: String,
    /// When it arrived.
    pub started: Instant,
    /// When its answer was sent, and its HTTP status; `None` while it is in flight.
    pub finished: Option<(Instant, u16)>,
    /// Bytes of the request's body.
    pub request_bytes: usize,
}

impl Call {
    /// Whether it changes what a test observes (`Put…`, `BatchWrite…`, `Update…`, `Delete…`, multipart calls).
    pub fn is_write(&self) -> bool {
        false
    }
}

/// The timeline of one test's calls, shared with the proxy.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    _inner: Arc<(Mutex<Vec<Call>>, Condvar)>,
}
