//! The limits of a run, and what was measured beside them.

use serde::{Deserialize, Serialize};

use super::report::Report;
use super::slope::Growth;

/// The limits of a run. One that is not said is not checked. That rows are lost or stored twice is never allowed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of every 100 rows, 99 can be read in DynamoDB within this time, in milliseconds.
    pub dynamodb_p99_ms: Option<u64>,
    /// Of every 100 rows, 99 are in a raw object within this time.
    pub raw_p99_ms: Option<u64>,
    /// Of every 100 rows, 99 are in a Parquet file of the catalog within this time.
    pub lake_p99_ms: Option<u64>,
    /// The most messages that a group is behind, over all partitions.
    pub lag_messages: Option<u64>,
    /// How long the pipeline takes to store what is left in the end, in seconds.
    pub drain_seconds: Option<f64>,
    /// The most memory of a process of the pipeline, in MB.
    pub memory_mb: Option<f64>,
    /// How long it takes, after the broker was away, until everything is stored that was sent by then, in seconds.
    pub recover_seconds: Option<f64>,
    /// By how many MB the memory of a process of the pipeline grows in an hour, in the steady part of the run.
    pub memory_mb_per_hour: Option<f64>,
    /// By how much the number of its open files and connections grows.
    pub open_per_hour: Option<f64>,
    /// The most calls that are throttled, or of which a part is.
    pub throttled_calls: Option<u64>,
    /// What the calls of a million rows cost, in USD.
    pub usd_per_million_rows: Option<f64>,
    /// What the calls of a month cost at the rate of the run, in USD.
    pub usd_per_month: Option<f64>,
    /// The least share of the rows of one worker, times their number, that several workers store, in a search for the
    /// capacity of several numbers of workers.
    pub efficiency: Option<f64>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was measured, with its unit.
    pub what: String,
    /// How much it was.
    pub measured: f64,
    /// How much it may be.
    pub limit: f64,
    /// Whether it was kept.
    pub is_kept: bool,
}

impl Check {
    fn new(what: &str, measured: f64, limit: f64) -> Self {
        Self { what: what.to_owned(), measured, limit, is_kept: measured <= limit }
    }
}

impl Limits {
    /// What has to be kept, and whether it was, with that no row was lost and none was stored too often.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn checks(&self, report: &Report) -> Vec<Check> {
        let mut checks = Vec::new();
        for store in &report.stores {
            checks.push(Check::new(&format!("rows lost: {}", store.store), store.missing as f64, 0.0));
            checks.push(Check::new(&format!("rows too many: {}", store.store), store.too_many as f64, 0.0));
            let hours = Check::new(&format!("hours that differ: {}", store.store), store.hours.len() as f64, 0.0);
            checks.push(hours);
        }
        for (store, limit) in [("dynamodb", self.dynamodb_p99_ms), ("raw", self.raw_p99_ms), ("lake", self.lake_p99_ms)]
        {
            let Some(limit) = limit else { continue };
            let delays = report.delays.get(store).cloned().unwrap_or_default();
            let what = format!("p99 from due to {store}, ms");
            let mut check = Check::new(&what, delays.p99, limit as f64);
            // A delay of which nothing was measured is not kept.
            check.is_kept &= delays.count > 0;
            checks.push(check);
            checks.push(Check::new(&format!("rows without a delay: {store}"), delays.missing as f64, 0.0));
        }
        let memory = report.memory().into_values().fold(0.0, f64::max);
        let recovered = report.recoveries.iter().map(|recovery| recovery.seconds).reduce(f64::max);
        let growth = report.growth();
        let grows = |of: &dyn Fn(&Growth) -> f64| growth.values().map(of).reduce(f64::max);
        let others = [
            ("most messages behind", self.lag_messages.map(|limit| limit as f64), Some(report.most_lag() as f64)),
            ("seconds to drain", self.drain_seconds, Some(report.drain_seconds)),
            ("seconds to recover", self.recover_seconds, recovered),
            ("most memory of a process, MB", self.memory_mb, Some(memory)),
            ("growth of a process in an hour, MB", self.memory_mb_per_hour, grows(&|growth| growth.memory_mb)),
            ("growth of its open files in an hour", self.open_per_hour, grows(&|growth| growth.open)),
            ("throttled calls", self.throttled_calls.map(|limit| limit as f64), Some(report.throttled() as f64)),
            ("USD a million rows", self.usd_per_million_rows, Some(report.cost.usd_per_million_rows)),
            ("USD a month", self.usd_per_month, Some(report.cost.usd_per_month)),
        ];
        for (what, limit, measured) in others {
            let mut check = limit.map(|limit| Check::new(what, measured.unwrap_or(0.0), limit));
            // What was not measured is not kept.
            if let Some(check) = &mut check {
                check.is_kept &= measured.is_some();
            }
            checks.extend(check);
        }
        checks
    }
}
