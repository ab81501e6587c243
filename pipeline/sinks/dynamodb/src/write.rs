//! Sending one batch until every row of it is stored or refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::WriteRequest;
use bytes::Bytes;
use fms_aws::{Retry, Verdict};
use fms_connect::{Origin, RetryLimits, SinkError, TopicPartition};
use metrics::Counter;

use crate::batcher::Put;
use crate::item::write_string;
use crate::table::Table;

/// A row that DynamoDB does not store.
#[derive(Debug)]
pub struct Refusal {
    /// The position of the row in the batch.
    pub at: usize,
    /// The cause's name, as a dead letter names it.
    pub class: &'static str,
    /// DynamoDB's reason.
    pub error: String,
    /// The id of the call that was refused.
    pub request_id: Option<String>,
}

/// How calls for this task of the connector are retried. Each retry counts in the task's metrics.
pub(crate) fn retry(connector: &str, task: u32, limits: RetryLimits) -> Retry {
    let (client, connector) = (format!("connector {connector}, task {task}"), connector.to_owned());
    Retry::new(client, limits.timeout, limits.delay_max, move |reason| {
        fms_connect::metrics::retry(&connector, task, reason);
    })
}

/// Why one attempt did not write all rows.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("{0}")]
    Call(#[from] fms_aws::Error),
    #[error("DynamoDB left {left} of {sent} items unprocessed")]
    Unprocessed { left: usize, sent: usize },
}

impl AttemptError {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Call(error) => error.verdict(),
            Self::Unprocessed { .. } => Verdict::Throttled("unprocessed-items"),
        }
    }

    /// The error of the call, if a single row is at fault without which the others can be stored.
    fn of_a_row(&self) -> Option<&fms_aws::Error> {
        match self {
            Self::Call(error)
                if matches!(error.code(), Some("ValidationException" | "ItemCollectionSizeLimitExceededException")) =>
            {
                Some(error)
            }
            Self::Call(_) | Self::Unprocessed { .. } => None,
        }
    }

    fn advice(&self) -> &'static str {
        let Self::Call(error) = self else { return "Repair the cause" };
        match (error.code(), error.verdict()) {
            (Some("ResourceNotFoundException"), _) => "Create the table again, or correct `dynamodb.table`",
            (Some("AccessDeniedException"), _) => "Allow dynamodb:BatchWriteItem on the table for these credentials",
            (Some("UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException"), _) => {
                "Check the AWS credentials"
            }
            (_, Verdict::Transient(_)) => "Make sure that the service can be reached, or raise `errors.retry.timeout`",
            (_, Verdict::Throttled(_) | Verdict::Permanent) => "Repair the cause",
        }
    }
}

/// Writes the rows of a batch, whose keys differ. Gives the rows that DynamoDB refuses for their content; all others
/// are stored. A row whose partition is closed meanwhile is dropped before the next attempt. The error is of a call
/// that failed for good.
///
/// DynamoDB refuses a batch as a whole, whichever of its rows is at fault. It is split in halves until that row is
/// alone, which takes at most 11 calls for one row of 25.
pub async fn write(
    table: &Table,
    retry: &Retry,
    calls: &Counter,
    puts: &[Arc<Put>],
) -> Result<Vec<Refusal>, SinkError> {
    let mut refusals = Vec::new();
    // The part that is written next is the last.
    let mut parts: Vec<Vec<usize>> = vec![(0..puts.len()).collect()];
    while let Some(part) = parts.pop() {
        let left = Mutex::new(part);
        let what = format!("BatchWriteItem to table `{}`", table.name);
        let Err(error) = retry.run(what, AttemptError::verdict, || batch(table, calls, puts, &left)).await else {
            continue;
        };
        let mut part = left.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (error.of_a_row(), &*part) {
            (Some(error), &[at]) => refusals.push(Refusal {
                at,
                class: "RefusedByTable",
                error: format!("table `{}` refuses the item {}: {}", table.name, puts[at].key, error.reason()),
                request_id: error.request_id().map(Into::into),
            }),
            (Some(_), [_, ..]) => {
                let second = part.split_off(part.len().div_ceil(2));
                parts.extend([second, part]);
            }
            (None, _) | (Some(_), []) => {
                part.extend(parts.into_iter().rev().flatten());
                return Err(failure(table, puts, &part, error));
            }
        }
    }
    Ok(refusals)
}

/// One attempt with the rows that are left. Afterwards, `left` has the rows that are still to be written.
async fn batch(
    table: &Table,
    calls: &Counter,
    puts: &[Arc<Put>],
    left: &Mutex<Vec<usize>>,
) -> Result<(), AttemptError> {
    let sent: Vec<usize> = {
        let mut left = lock(left);
        left.retain(|at| !puts[*at].opening.is_revoked());
        left.clone()
    };
    if sent.is_empty() {
        return Ok(());
    }
    let body = body(table, sent.iter().map(|at| &*puts[*at]));
    calls.increment(1);
    let output = table
        .client
        .batch_write_item()
        // The table's name has to be there, because the SDK chooses the endpoint by it.
        .request_items(&table.name, Vec::new())
        .customize()
        .interceptor(PreparedBody(body))
        .send()
        .await
        .map_err(fms_aws::Error::from)?;
    let unprocessed: Vec<WriteRequest> =
        output.unprocessed_items.into_iter().flatten().flat_map(|(_, requests)| requests).collect();
    if unprocessed.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> =
        unprocessed.iter().map(|request| request.put_request().and_then(|put| table.key.read(put.item()))).collect();
    // If one of the items cannot be recognized, all are sent again: writing an item twice is the same as writing it
    // once.
    if keys.iter().all(Option::is_some) {
        let again = |at: &usize| keys.iter().flatten().any(|key| *key == *puts[*at].key);
        *lock(left) = sent.iter().copied().filter(again).collect();
    }
    Err(AttemptError::Unprocessed { left: unprocessed.len(), sent: sent.len() })
}

/// The body of the request in DynamoDB's JSON.
fn body<'p>(table: &Table, puts: impl Iterator<Item = &'p Put> + Clone) -> Bytes {
    let items: usize = puts.clone().map(Put::wire).sum();
    let mut body = Vec::with_capacity(items + table.name.len() + 64);
    body.extend_from_slice(br#"{"RequestItems":{"#);
    write_string(&table.name, &mut body);
    let mut before: &[u8] = b":[";
    for put in puts {
        body.extend_from_slice(before);
        body.extend_from_slice(br#"{"PutRequest":{"Item":"#);
        body.extend_from_slice(&put.item);
        body.extend_from_slice(b"}}");
        before = b",";
    }
    body.extend_from_slice(b"]}}");
    body.into()
}

/// Sends this body instead of the SDK's, signed in the same way. Building the SDK's types from a row and serializing
/// them takes longer than the rest of a call.
#[derive(Debug)]
struct PreparedBody(Bytes);

impl Intercept for PreparedBody {
    fn name(&self) -> &'static str {
        "PreparedBody"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.headers_mut().try_insert("content-length", self.0.len().to_string())?;
        *request.body_mut() = self.0.clone().into();
        Ok(())
    }
}

/// The error that says which rows were not written, why, and what to do about it.
fn failure(table: &Table, puts: &[Arc<Put>], left: &[usize], error: AttemptError) -> SinkError {
    let mut offsets: BTreeMap<&TopicPartition, (i64, i64)> = BTreeMap::new();
    for at in left {
        let Origin { partition, offset, .. } = &*puts[*at].origin;
        let range = offsets.entry(partition).or_insert((*offset, *offset));
        *range = (range.0.min(*offset), range.1.max(*offset));
    }
    let offsets: Vec<_> =
        offsets.iter().map(|(partition, (first, last))| format!("{partition} offsets {first} to {last}")).collect();
    let key = left.first().map(|at| puts[*at].key.to_string()).unwrap_or_default();
    let text = format!(
        "cannot write {} item(s) to table `{}` (the first with key {key}; {}): {error}. {}; the task restarts by \
         itself, from the committed offsets",
        left.len(),
        table.name,
        offsets.join(", "),
        error.advice()
    );
    SinkError::fatal(text).caused_by(error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
