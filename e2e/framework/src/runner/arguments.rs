//! The arguments of the runner's default command.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use super::cases::Part;
use crate::schedule::Schedules;
use crate::stack::{Isolation, StackKind};
use crate::{Options, Schedule, variables};

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct RunArguments {
    /// Run only the cases whose name, `protocol::case`, contains one of these texts.
    #[arg(value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Run only one part of these cases, such as 1/4. Together, the parts are all of them.
    #[arg(long, value_name = "K/N")]
    pub part: Option<Part>,
    /// How many cases run at once. Cases mostly wait, so without this option there are at least four for every processor, and
    /// more as long as processors idle.
    #[arg(long, short)]
    pub jobs: Option<NonZeroUsize>,
    /// Accept what the pipeline has stored: write new and changed snapshots, and remove those that nothing produces
    /// any more.
    #[arg(long)]
    pub update: bool,
    /// Keep the evidence of cases that pass, too: the log, the offsets, the calls and everything that was observed.
    #[arg(long)]
    pub keep_evidence: bool,
    /// The services: embedded (in this process), docker (containers that the framework starts), or external (services
    /// that run already; `KAFKA_BOOTSTRAP_SERVERS` and `AWS_ENDPOINT_URL` name them, and without the latter they are
    /// those of AWS).
    #[arg(long, env = variables::STACK, default_value = "embedded")]
    pub stack: StackKind,
    /// The containers of the docker stack: shared (one set for the whole run) or per-test.
    #[arg(long, env = variables::ISOLATION, default_value = "shared")]
    pub isolation: Isolation,
    /// Leave the shared set of containers to the next run, which then starts faster. That run ends the containers,
    /// unless it keeps them too.
    #[arg(long)]
    pub keep: bool,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub json: bool,
    /// How runs are disturbed: one or several of plain, twice, reordered, reordered:SEED, one-by-one, partitions-N,
    /// restarted, restarted:N, throttled, flaky, slow, denied, clock, memory, broker-down, commit-lost, leader-change, takeover,
    /// frozen, variant:NAME and killed:CALL, separated by commas; or all, which are those that need neither NAME nor CALL.
    /// killed:s3.PutObject:2 kills the pipeline at the second of these calls; killed:s3.PutObject:2:after does so after S3
    /// has carried out the call.
    #[arg(long, value_name = "NAME[,NAME…]", env = variables::SCHEDULE, default_value = "plain")]
    pub schedule: Schedules,
    /// Run every case undisturbed, then once for each of its calls to AWS and Kafka with the pipeline killed before the
    /// call, and once with the pipeline killed after it; a batch is also torn.
    #[arg(long, conflicts_with_all = ["schedule", "update", "subject_running"])]
    pub sweep: bool,
    /// Instead of the project's fixtures, run all workloads of up to N messages, which are those of
    /// fixtures/generate/messages.toml. An undisturbed run says what each leads to, and other schedules have to lead to the same.
    #[arg(long, value_name = "N", conflicts_with_all = ["update", "subject_running"])]
    pub generate: Option<NonZeroUsize>,
    /// With --sweep: how many crashes there are in one run. With 2, what is started again after a crash is killed at each of
    /// its own calls, too.
    #[arg(long, value_name = "N", requires = "sweep", default_value = "1")]
    pub depth: NonZeroUsize,
    /// With --sweep: kill the pipeline at this many of the calls only, and with --depth 2 at as many of those that follow a
    /// crash. A seed chooses them.
    #[arg(long, value_name = "N", requires = "sweep")]
    pub sample: Option<NonZeroUsize>,
    /// With --sample: the seed, which chooses the same calls again. Without it, a new one is chosen and printed.
    #[arg(long, value_name = "S", requires = "sample")]
    pub seed: Option<u64>,
    /// Test this command instead of the suite's own pipeline. It runs in the project's folder and finds the services
    /// in its environment.
    #[arg(long, value_name = "COMMAND")]
    pub subject: Option<String>,
    /// Test a pipeline that runs already, under its own names, on the external stack. Its tables are emptied first,
    /// so the services have to be at http:// endpoints.
    #[arg(long, conflicts_with = "subject", requires = "stack")]
    pub subject_running: bool,
    /// Make the first run that fails under a schedule smaller at once, as the command `shrink` does.
    #[arg(long, conflicts_with_all = ["json", "subject_running"])]
    pub shrink: bool,
    /// Append the outcome as Markdown to this file, for example to the summary of a CI job.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

impl RunArguments {
    /// The arguments beside its case and the stack that make one of these runs the same.
    pub(super) fn same(&self, options: &Options) -> Vec<String> {
        let mut same = vec!["--schedule".to_owned(), options.schedule.to_string()];
        if let Some(bound) = self.generate {
            same.extend(["--generate".to_owned(), bound.to_string()]);
        }
        if options.isolation != Isolation::default() {
            same.extend(["--isolation".to_owned(), options.isolation.to_string()]);
        }
        if let Some(subject) = &self.subject {
            same.extend(["--subject".to_owned(), subject.clone()]);
        }
        same
    }

    /// The options of a run, for the plain schedule.
    pub(super) fn options(&self) -> Options {
        Options {
            stack: self.stack,
            isolation: self.isolation,
            keep: self.keep || variables::kept(),
            whole_run: true,
            schedule: Schedule::Plain,
            must_disturb: false,
            keep_evidence: self.keep_evidence,
            killed_states: None,
        }
    }
}
