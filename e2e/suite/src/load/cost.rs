//! What the calls of a run cost, by a dated table of prices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::report::CallFigures;

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
    /// USD of a vehicle's month, in which it sends as it did in this run, at the speed of real ones.
    #[serde(default)]
    pub usd_per_vehicle_month: f64,
    /// What is not in these figures.
    pub left_out: Vec<String>,
}

/// What was stored: how many rows, and in how many seconds they were sent.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// The write request units of DynamoDB that the rows take, or how many rows were written, if nobody knows their sizes.
    pub units: u64,
    /// Rows that were sent.
    pub rows: u64,
    /// How long it took to send them.
    pub seconds: f64,
    /// How many seconds of vehicles that was, in the time of the fleet.
    pub vehicle_seconds: f64,
}

/// How many write request units of DynamoDB an item takes that has the fields of this JSON object: one for each kilobyte
/// that is begun. A name and a text take their bytes, a number half a byte for each digit and one more, and the keys, which
/// are made of fields that the row has, as much as these.
pub fn units(row: &[u8]) -> u64 {
    /// The names of the keys, and what is written in them between fields, and behind them.
    const KEYS: usize = 60;
    let Ok(row) = serde_json::from_slice::<BTreeMap<String, Value>>(row) else { return 1 };
    let of_key = |name: &&str| row.get(*name).map_or(0, size);
    let keys: usize = ["id", "object", "type", "command", "timestamp_iso"].iter().map(of_key).sum();
    let fields: usize = row.iter().map(|(name, value)| name.len() + size(value)).sum();
    ((KEYS + keys + fields) as u64).div_ceil(1024)
}

/// What a value takes in an item, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(number) => number.to_string().len().div_ceil(2) + 1,
        Value::String(text) => text.len(),
        Value::Array(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        Value::Object(fields) => 3 + fields.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
    }
}

/// What these calls cost.
#[expect(clippy::cast_precision_loss, reason = "counts of calls")]
pub fn of(calls: &[CallFigures], stored: Stored) -> Result<Cost, String> {
    let prices: Prices = toml::from_str(PRICES).map_err(|error| format!("prices.toml: {error}"))?;
    let mut usd: BTreeMap<String, f64> = BTreeMap::new();
    let mut writes = false;
    for of in calls {
        let (what, price) = match (of.service.as_str(), of.operation.as_str()) {
            ("dynamodb", "BatchWriteItem" | "PutItem" | "UpdateItem" | "DeleteItem") => {
                writes = true;
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
        *usd.entry(what.to_owned()).or_default() += price * of.calls as f64;
    }
    if writes && stored.units > 0 {
        usd.insert("DynamoDB writes".to_owned(), stored.units as f64 * prices.dynamodb_writes / 1e6);
    }
    let total_usd: f64 = usd.values().sum();
    Ok(Cost {
        as_of: prices.as_of,
        region: prices.region,
        usd,
        total_usd,
        usd_per_million_rows: total_usd / (stored.rows.max(1) as f64 / 1e6),
        usd_per_month: total_usd / stored.seconds.max(1.0) * MONTH_SECONDS,
        usd_per_vehicle_month: total_usd / stored.vehicle_seconds.max(1.0) * MONTH_SECONDS,
        left_out: prices.left_out,
    })
}

/// Fleets, for which a report says what a month costs.
pub const FLEETS: [u32; 4] = [100, 1_000, 10_000, 100_000];

fn is_put(operation: &str) -> bool {
    ["Put", "Copy", "Post", "List", "Create", "Upload", "Complete"].iter().any(|begin| operation.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(service: &str, operation: &str, calls: u64) -> CallFigures {
        let (service, operation) = (service.to_owned(), operation.to_owned());
        CallFigures { service, operation, calls, throttled: 0, failed: 0, bytes: 0 }
    }

    #[test]
    fn calls_cost_what_the_table_says() {
        let calls = [
            calls("dynamodb", "BatchWriteItem", 10),
            calls("s3", "PutObject", 1000),
            calls("sqs", "ReceiveMessage", 1000),
            calls("s3", "DeleteObject", 1),
        ];
        let stored = Stored { units: 100, rows: 1_000_000, seconds: 2_592.0, vehicle_seconds: 25_920.0 };
        let cost = of(&calls, stored).expect("a cost");
        let cents = |what: &str| (cost.usd[what] * 1e7).round() / 1e5;
        assert_eq!((cents("DynamoDB writes"), cents("S3 PUT and LIST"), cents("SQS")), (0.00625, 0.5, 0.04));
        assert!((cost.usd_per_million_rows - cost.total_usd).abs() < 1e-12);
        assert!((cost.usd_per_month - cost.total_usd * 1000.0).abs() < 1e-9);
        assert!((cost.usd_per_vehicle_month - cost.total_usd * 100.0).abs() < 1e-9);
        assert_eq!(cost.usd.len(), 3);
        // A pipeline that writes nothing to DynamoDB pays nothing for it.
        assert!(!of(&calls[1..], stored).expect("a cost").usd.contains_key("DynamoDB writes"));
    }

    /// Each item is rounded up, so that many small ones take more than their bytes together.
    #[test]
    fn an_item_takes_a_unit_for_each_kilobyte_that_is_begun() {
        assert_eq!(units(br#"{"id":7,"speed":52.5,"fix":null,"doors":{"fl":true},"codes":[1,2]}"#), 1);
        let row = |letters: usize| format!(r#"{{"text":"{}"}}"#, "x".repeat(letters)).into_bytes();
        // The name and the names of the keys take 64 bytes.
        assert_eq!([0, 960, 961, 1984, 1985].map(|letters| units(&row(letters))), [1, 1, 2, 2, 3]);
        assert_eq!(units(b"no object"), 1);
        let sizes = ["12.5", "-7", "true", "null", r#""abc""#, "[1,2]", r#"{"a":1}"#];
        let sizes = sizes.map(|text| size(&serde_json::from_str(text).expect("JSON")));
        assert_eq!(sizes, [3, 2, 1, 1, 3, 9, 7]);
    }
}
