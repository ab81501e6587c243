//! One invocation: a batch of messages of SQS, of which Lambda deletes those that are not reported.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use fms_lake::Bucket;
use fms_lake::poll::{Batch, Message, Raws, Sqs};
use lambda_runtime::{Error, LambdaEvent};
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use crate::emf::Emf;
use crate::settings::Settings;

/// How long before its time is up an invocation ends: so long may the answer take on a function that is busy.
const MARGIN: Duration = Duration::from_secs(3);

/// What is kept from one invocation to the next.
pub(crate) struct Function {
    batch: Batch<Sqs, Raws>,
    metrics: Arc<Emf>,
}

impl Function {
    pub fn new(settings: Settings, bucket: Bucket, fallback: Sqs, metrics: Arc<Emf>) -> Self {
        let Settings { conversion, raw_prefix, at_a_time, max_attempts, .. } = settings;
        let raws = Raws { bucket, settings: conversion, prefix: raw_prefix };
        Self { batch: Batch::new(fallback, raws, at_a_time, max_attempts), metrics }
    }

    /// Handles the messages, and reports those that have to be received again.
    pub async fn invoke(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        let LambdaEvent { payload, context } = event;
        let messages = payload.records.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let left = context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let until = Instant::now() + left.saturating_sub(MARGIN);
        let request_id = context.request_id;
        let span = info_span!("invocation", request_id);
        let again = self.batch.handle(&messages, until).instrument(span).await;
        self.metrics.write(&request_id);
        Ok(response(again))
    }
}

/// A message as the poller receives it. One without an id could not be reported, so it fails the batch as a whole.
fn message(sent: SqsMessage) -> Result<Message, Error> {
    let number = |name: &str| sent.attributes.get(name)?.parse::<u64>().ok();
    let attempts = number("ApproximateReceiveCount").and_then(|count| count.try_into().ok()).unwrap_or(1);
    let time = number("SentTimestamp").map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
    Ok(Message {
        attempts,
        sent: time,
        id: sent.message_id.ok_or("a message has no `messageId`; is the function invoked by an SQS queue?")?,
        body: sent.body.unwrap_or_default(),
        receipt: sent.receipt_handle.unwrap_or_default(),
    })
}

fn response(again: Vec<String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = again
        .into_iter()
        .map(|id| {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failure
        })
        .collect();
    response
}
