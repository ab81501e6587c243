//! The calls of S3 and Glue, counted by operation and result. Without a recorder of metrics, nothing is counted.

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use fms_aws::Error;
use metrics::{counter, describe_counter, describe_gauge, gauge};

const S3: &str = "fms_lake_s3_calls_total";
const GLUE: &str = "fms_lake_glue_calls_total";
const RETRIES: &str = "fms_lake_retries_total";
const TABLE_VERSION: &str = "fms_lake_table_version";

/// Describes the metrics.
pub(crate) fn describe() {
    let results = "ok, not-found, conflict (somebody else was faster), or error";
    describe_counter!(S3, format!("Calls of S3, by operation and result: {results}."));
    describe_counter!(GLUE, format!("Calls of Glue, by operation and result: {results}."));
    describe_counter!(RETRIES, "Calls of S3 and Glue retried, by reason.");
    describe_gauge!(TABLE_VERSION, "How often the columns of a table have changed, by table, as it was read last.");
}

/// Counts a retry of a call to S3 or Glue. It is for the `count` of [`fms_aws::Retry::new`].
pub fn count_retry(reason: &'static str) {
    counter!(RETRIES, "reason" => reason).increment(1);
}

/// Notes how often the columns of a table have changed.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has doubles only; exact up to 2^53")]
pub(super) fn note_version(table: &str, number: u64) {
    gauge!(TABLE_VERSION, "table" => table.to_owned()).set(number as f64);
}

/// Counts a call of Glue.
pub(super) fn count_glue(operation: &'static str, answer: Result<(), &Error>) {
    let result = match answer {
        Ok(()) => "ok",
        Err(error) if fms_glue::missing(error) => "not-found",
        Err(error) if fms_glue::already_exists(error) || fms_glue::modified_meanwhile(error) => "conflict",
        Err(_) => "error",
    };
    counter!(GLUE, "operation" => operation, "result" => result).increment(1);
}

/// Counts every call of a client of S3.
#[derive(Debug)]
pub(super) struct CountS3;

impl Intercept for CountS3 {
    fn name(&self) -> &'static str {
        "CountS3"
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let result = match (context.output_or_error(), context.response().map(|answer| answer.status().as_u16())) {
            (Some(Ok(_)), _) => "ok",
            (_, Some(404)) => "not-found",
            (_, Some(409 | 412)) => "conflict",
            _ => "error",
        };
        let operation = config.load::<Metadata>().map_or_else(|| "unknown".to_owned(), |call| call.name().to_owned());
        counter!(S3, "operation" => operation, "result" => result).increment(1);
        Ok(())
    }
}
