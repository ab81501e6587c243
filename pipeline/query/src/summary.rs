//! What a query has read, and what Athena would have charged for it.

use std::fmt;

use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanVisitor, accept};

use crate::meter::Meter;
use crate::size::Size;

/// The least bytes that Athena counts for a query.
const LEAST_CHARGED: u64 = 10_000_000;
/// For how many bytes it charges a hundred-thousandth of a US dollar: 5 dollars are for a terabyte.
const CHARGED_TOGETHER: u64 = 2_000_000;

/// What a query has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    rows: u64,
    bytes: u64,
    partitions: u64,
    pruned_partitions: u64,
    files: u64,
    pruned_files: u64,
    pruned_row_groups: u64,
    spilled: u64,
}

impl Summary {
    pub(crate) fn new(rows: u64, meter: &Meter, plan: &dyn ExecutionPlan) -> Self {
        let mut metrics = Metrics::default();
        // The visitor never fails.
        let _ = accept(plan, &mut metrics);
        let files = meter.files.get();
        Self {
            rows,
            bytes: meter.bytes.get(),
            partitions: meter.partitions.get(),
            pruned_partitions: meter.pruned.get(),
            files: files.saturating_sub(metrics.files),
            pruned_files: metrics.files.min(files),
            pruned_row_groups: metrics.row_groups,
            spilled: metrics.spilled,
        }
    }
}

#[derive(Default)]
struct Metrics {
    files: u64,
    row_groups: u64,
    spilled: u64,
}

impl ExecutionPlanVisitor for Metrics {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, plan: &dyn ExecutionPlan) -> Result<bool, Self::Error> {
        let Some(metrics) = plan.metrics() else { return Ok(true) };
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::PruningMetrics { name, pruning_metrics } => match name.as_ref() {
                    "files_ranges_pruned_statistics" => self.files += pruning_metrics.pruned() as u64,
                    "row_groups_pruned_statistics" | "row_groups_pruned_bloom_filter" => {
                        self.row_groups += pruning_metrics.pruned() as u64;
                    }
                    _ => {}
                },
                MetricValue::SpilledBytes(bytes) => self.spilled += bytes.value() as u64,
                _ => {}
            }
        }
        Ok(true)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, bytes, partitions, pruned_partitions, files, pruned_files, pruned_row_groups, spilled } =
            *self;
        let charge = bytes.max(LEAST_CHARGED).div_ceil(CHARGED_TOGETHER);
        writeln!(f, "{}, {} scanned", counted(rows, "row"), Size::from(bytes))?;
        writeln!(f, "  partitions: {partitions} read, {pruned_partitions} of those that the catalog named pruned")?;
        writeln!(f, "  files: {files} read, {pruned_files} pruned; row groups pruned: {pruned_row_groups}")?;
        if spilled > 0 {
            writeln!(f, "  written to temporary files: {}", Size::from(spilled))?;
        }
        write!(f, "  Athena would have charged {}.{:05} USD", charge / 100_000, charge % 100_000)
    }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
