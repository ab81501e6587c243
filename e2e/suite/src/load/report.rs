//! The report of a run: everything that was measured, and the verdict. It is written as JSON, and other forms are made of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::delays::Percentiles;
use super::limits::Check;
use super::plan::Plan;
use super::recovery::Recovery;
use super::rolling::Restart;
use super::slope::{Growth, growth};
use super::usage::Usage;

/// What a run has shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The name of the plan's file, without its ending.
    pub name: String,
    /// The plan.
    pub plan: Plan,
    /// The services.
    pub stack: String,
    /// The pipeline that was tested.
    pub subject: String,
    /// The machine on which everything ran.
    pub machine: Machine,
    /// What was sent.
    pub sent: SentFigures,
    /// Delays, by the store in which rows can be read.
    pub delays: BTreeMap<String, Percentiles>,
    /// What was measured in each step.
    pub steps: Vec<StepFigures>,
    /// What was measured in each second.
    pub moments: Vec<Moment>,
    /// The most messages that were not committed at any moment of the run, by group and partition.
    pub worst_lag: BTreeMap<String, i64>,
    /// The workers that were restarted, in their order.
    #[serde(default)]
    pub restarts: Vec<Restart>,
    /// How the pipeline has recovered, each time that the broker was away.
    #[serde(default)]
    pub recoveries: Vec<Recovery>,
    /// How long it took until everything was stored, after all was sent.
    pub drain_seconds: f64,
    /// The calls of the pipeline.
    pub calls: Vec<CallFigures>,
    /// What they cost.
    pub cost: Cost,
    /// What each store has in the end.
    pub stores: Vec<StoreFigures>,
    /// Whether the run says anything at all; why not, if it does not.
    pub invalid: Option<String>,
    /// What was to be kept, and whether it was.
    pub checks: Vec<Check>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// When the run began.
    pub at: String,
    /// Cores.
    pub cores: usize,
    /// Memory in GB.
    pub memory_gb: f64,
    /// The processor.
    pub processor: String,
    /// Whether the programs are built as releases are.
    pub is_release: bool,
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentFigures {
    /// Messages.
    pub messages: u64,
    /// Their rows.
    pub rows: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// For how long.
    pub seconds: f64,
    /// The share of messages that left late.
    pub late_share: f64,
    /// By how much the latest one was late, in milliseconds.
    pub latest_ms: f64,
}

/// What was measured in a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFigures {
    /// Its name.
    pub name: String,
    /// When it begins, in seconds since the begin of the run.
    pub begins: f64,
    /// When it ends.
    pub ends: f64,
    /// Messages a second that were sent.
    pub messages_per_second: f64,
    /// Messages a second that the slowest group has stored.
    pub stored_per_second: f64,
    /// How many messages the slowest group is behind in the end.
    pub lag: i64,
    /// The 99th percentile of the delay in milliseconds, by store.
    pub p99: BTreeMap<String, Option<f64>>,
}

/// What was measured at a moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Seconds since the begin of the run.
    pub second: f64,
    /// Messages that were sent so far.
    pub sent: u64,
    /// Messages that each group is behind, over all partitions. Empty if the broker does not answer.
    pub lag: BTreeMap<String, i64>,
    /// What processes use. `load` is the one of this program, with the fleet and, on the embedded stack, the services.
    pub processes: BTreeMap<String, Usage>,
}

/// The calls of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallFigures {
    /// The service.
    pub service: String,
    /// The operation.
    pub operation: String,
    /// How many calls there were, those that were repeated among them.
    pub calls: u64,
    /// How many were refused, or a part of them was, because there were too many.
    pub throttled: u64,
    /// How many failed for another reason, and so may have been repeated.
    pub failed: u64,
    /// The bytes of the requests.
    pub bytes: u64,
}

/// What a store has in the end, as `fms simulate verify --json` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFigures {
    /// The store.
    pub store: String,
    /// How many rows it has to have.
    pub expected: u64,
    /// How many it has.
    pub found: u64,
    /// How many are lost.
    pub missing: u64,
    /// How many are there too often.
    pub too_many: u64,
    /// Protocols and hours that differ.
    pub hours: Vec<String>,
    /// Some of the rows that differ.
    pub rows: Vec<String>,
    /// How many of the hours that differ were not looked at row by row.
    pub unnamed_hours: u64,
}

impl Moment {
    /// One moment of several that follow each other: the last one, with the most that was used and that groups were behind.
    pub(super) fn together(moments: impl Iterator<Item = Self>) -> Option<Self> {
        moments.reduce(|before, mut last| {
            for (group, lag) in before.lag {
                let most = last.lag.entry(group).or_default();
                *most = lag.max(*most);
            }
            for (name, usage) in before.processes {
                let most = last.processes.entry(name).or_insert(usage);
                most.cores = most.cores.max(usage.cores);
                most.memory = most.memory.max(usage.memory);
                most.open = most.open.max(usage.open);
            }
            last
        })
    }
}

impl Report {
    /// Whether the run is valid and every limit was kept.
    pub fn is_passed(&self) -> bool {
        self.invalid.is_none() && self.checks.iter().all(|check| check.is_kept)
    }

    /// The verdict in a word.
    pub fn verdict(&self) -> &'static str {
        match (&self.invalid, self.is_passed()) {
            (Some(_), _) => "INVALID",
            (None, true) => "PASSED",
            (None, false) => "FAILED",
        }
    }

    /// The calls that were throttled.
    pub fn throttled(&self) -> u64 {
        self.calls.iter().map(|calls| calls.throttled).sum()
    }

    /// The most memory of each process, in MB. That of this program is left out.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn memory(&self) -> BTreeMap<&str, f64> {
        let mut memory: BTreeMap<&str, f64> = BTreeMap::new();
        let processes = self.moments.iter().flat_map(|moment| &moment.processes).filter(|(name, _)| *name != "load");
        for (name, usage) in processes {
            let most = memory.entry(name).or_default();
            *most = most.max(usage.memory as f64 / 1e6);
        }
        memory
    }

    /// How much each process of the pipeline grows in an hour, in the steady part of the run. It is empty if the run is too
    /// short to say it.
    pub fn growth(&self) -> BTreeMap<String, Growth> {
        let mut growth = growth(&self.steps, &self.moments);
        growth.remove("load");
        growth
    }

    /// The most memory of a worker from when the broker was there again until the pipeline had recovered, in MB.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn memory_of(&self, recovery: &Recovery) -> f64 {
        // What a second measures may begin before it.
        let during = recovery.since..=recovery.since + recovery.seconds + 1.0;
        let moments = self.moments.iter().filter(|moment| during.contains(&moment.second));
        let workers = moments.flat_map(|moment| &moment.processes).filter(|(name, _)| name.starts_with("worker-"));
        workers.map(|(_, usage)| usage.memory as f64 / 1e6).fold(0.0, f64::max)
    }

    /// The most messages that a group was behind.
    pub fn most_lag(&self) -> i64 {
        self.moments.iter().flat_map(|moment| moment.lag.values()).copied().max().unwrap_or(0)
    }

    /// Compares what was measured with the limits of the plan.
    pub fn check(&mut self) {
        self.checks = self.plan.limits.checks(self);
    }

    /// Reads a report that was written as JSON.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| format!("cannot read the report {shown}: {error}"))?;
        serde_json::from_slice(&text).map_err(|error| format!("{shown} is no report of `e2e load`: {error}"))
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| format!("cannot write the report: {error}"))
    }
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kilobytes: Option<f64> =
            field(&read("/proc/meminfo"), "MemTotal").strip_suffix(" kB").and_then(|number| number.parse().ok());
        Self {
            at: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get),
            memory_gb: kilobytes.map_or(0.0, |kilobytes| (kilobytes / 1e5).round() / 10.0),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            is_release: !cfg!(debug_assertions),
        }
    }
}
