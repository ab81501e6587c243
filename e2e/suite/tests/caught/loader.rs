//! The second process of the small project's pipeline: for each event of a new object, it stores the object's key as an
//! item of the table `loaded`, and then deletes the event's message.

use std::process::ExitCode;

use anyhow::{Context, Result};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::pipeline::run_to_its_end;

pub fn main() -> ExitCode {
    run_to_its_end(run())
}

async fn run() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let queue = sqs.get_queue_url().queue_name("events").send().await.context("looking for the queue `events`")?;
    let queue = queue.queue_url.context("the queue has no URL")?;
    loop {
        let receive = sqs.receive_message().queue_url(&queue).wait_time_seconds(1).send();
        let received = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            received = receive => received.context("receiving from the queue `events`")?,
        };
        for message in received.messages.unwrap_or_default() {
            for key in keys(message.body.as_deref().unwrap_or_default())? {
                let put = dynamodb.put_item().table_name("loaded").item("id", AttributeValue::S(key.clone()));
                put.send().await.with_context(|| format!("storing {key}"))?;
            }
            let delete = sqs.delete_message().queue_url(&queue).set_receipt_handle(message.receipt_handle);
            delete.send().await.context("deleting a message of the queue `events`")?;
        }
    }
}

/// The keys of the objects of which a message tells. The test event that S3 sends first tells of none.
fn keys(body: &str) -> Result<Vec<String>> {
    let event: Value = serde_json::from_str(body).with_context(|| format!("reading the message {body}"))?;
    let records = event["Records"].as_array().cloned().unwrap_or_default();
    Ok(records.iter().filter_map(|record| record["s3"]["object"]["key"].as_str().map(str::to_owned)).collect())
}
