//! What the calls of a run cost, by a dated table of prices.

use std::collections::BTreeMap;

use e2e::internals::Call;
use serde::{Deserialize, Serialize};

/// The table of prices, which is part of the program.
const PRICES: &str = include_str!("prices.toml");
const MONTH_SECONDS: f64 = 30.0 * 86_400.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    as_of: String,
    region: String,
    dynamodb_writes: f64,
    dynamodb_reads: f64,
    s3_puts: f64,
    s3_gets: f64,
    sqs_requests: f64,
    glue_requests: f64,
    left_out: Vec<String>,
}

/// What the calls of a run cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Of when the prices are, and of which region.
    pub as_of: String,
    /// The region of the prices.
    pub region: String,
    /// USD by what is paid for.
    pub usd: BTreeMap<String, f64>,
    /// USD of all calls.
    pub total_usd: f64,
    /// USD of a million rows.
    pub usd_per_million_rows: f64,
    /// USD of a month at the rate of this run.
    pub usd_per_month: f64,
    /// What is not in these figures.
    pub left_out: Vec<String>,
}

/// What was stored: how many rows, and in how many seconds they were sent.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Rows that were written to DynamoDB, each time that one was.
    pub item_writes: u64,
    /// Rows that were sent.
    pub rows: u64,
    /// How long it took to send them.
    pub seconds: f64,
}

/// What these calls cost. A row counts as a write request unit of DynamoDB, or as many as its request has kilobytes.
#[expect(clippy::cast_precision_loss, reason = "counts of calls")]
pub fn of<'c>(calls: impl Iterator<Item = &'c Call>, stored: Stored) -> Result<Cost, String> {
    let prices: Prices = toml::from_str(PRICES).map_err(|error| format!("prices.toml: {error}"))?;
    let mut usd: BTreeMap<String, f64> = BTreeMap::new();
    let mut written = 0_u64;
    for call in calls {
        let (what, price) = match (call.service.as_str(), call.operation.as_str()) {
            ("dynamodb", "BatchWriteItem" | "PutItem" | "UpdateItem" | "DeleteItem") => {
                written += call.request_bytes as u64;
                continue;
            }
            ("dynamodb", operation) if operation.starts_with("Describe") => continue,
            ("dynamodb", _) => ("DynamoDB reads", prices.dynamodb_reads / 1e6),
            ("s3", operation) if is_put(operation) => ("S3 PUT and LIST", prices.s3_puts / 1e3),
            // S3 takes nothing for these.
            ("s3", operation) if operation.starts_with("Delete") || operation.starts_with("Abort") => continue,
            ("s3", _) => ("S3 GET and others", prices.s3_gets / 1e3),
            ("sqs", _) => ("SQS", prices.sqs_requests / 1e6),
            ("glue", _) => ("Glue catalog", prices.glue_requests / 1e6),
            _ => continue,
        };
        *usd.entry(what.to_owned()).or_default() += price;
    }
    let units = stored.item_writes.max(written / 1024) as f64;
    if units > 0.0 {
        usd.insert("DynamoDB writes".to_owned(), units * prices.dynamodb_writes / 1e6);
    }
    let total_usd: f64 = usd.values().sum();
    Ok(Cost {
        as_of: prices.as_of,
        region: prices.region,
        usd,
        total_usd,
        usd_per_million_rows: total_usd / (stored.rows.max(1) as f64 / 1e6),
        usd_per_month: total_usd / stored.seconds.max(1.0) * MONTH_SECONDS,
        left_out: prices.left_out,
    })
}

fn is_put(operation: &str) -> bool {
    ["Put", "Copy", "Post", "List", "Create", "Upload", "Complete"].iter().any(|begin| operation.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use e2e::internals::Effect;

    use super::*;

    fn call(service: &str, operation: &str, request_bytes: usize) -> Call {
        Call {
            number: 1,
            service: service.to_owned(),
            operation: operation.to_owned(),
            target: String::new(),
            effect: Effect::Write,
            process: String::new(),
            deletes: 0,
            can_be_torn: false,
            started: Instant::now(),
            finished: None,
            request_bytes,
        }
    }

    #[test]
    fn calls_cost_what_the_table_says() {
        let mut calls = vec![call("dynamodb", "BatchWriteItem", 4096); 10];
        calls.extend(vec![call("s3", "PutObject", 10); 1000]);
        calls.extend(vec![call("sqs", "ReceiveMessage", 10); 1000]);
        calls.push(call("s3", "DeleteObject", 0));
        let cost = of(calls.iter(), Stored { item_writes: 100, rows: 1_000_000, seconds: 2_592.0 }).expect("a cost");
        let cents = |what: &str| (cost.usd[what] * 1e7).round() / 1e5;
        assert_eq!((cents("DynamoDB writes"), cents("S3 PUT and LIST"), cents("SQS")), (0.00625, 0.5, 0.04));
        assert!((cost.usd_per_million_rows - cost.total_usd).abs() < 1e-12);
        assert!((cost.usd_per_month - cost.total_usd * 1000.0).abs() < 1e-9);
        // Large rows take more units than there are rows.
        let cost =
            of([call("dynamodb", "BatchWriteItem", 1 << 20)].iter(), Stored { item_writes: 1, rows: 1, seconds: 1.0 });
        assert!((cost.expect("a cost").usd["DynamoDB writes"] - 1024.0 * 0.625 / 1e6).abs() < 1e-12);
    }
}
