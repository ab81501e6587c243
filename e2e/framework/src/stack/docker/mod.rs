//! The Docker stack: Apache Kafka, LocalStack (S3, SQS) and DynamoDB Local in containers, shared by a run or one set for every test.

pub mod engine;
pub mod files;
pub mod images;
pub mod process;
pub mod reaper;
pub mod run;
pub mod set;

use std::path::Path;
use std::time::Duration;

use self::engine::runtime;
use self::files::Run;
use self::process::Process;
use self::set::Set;
use super::remote::{self, Backing, Remote};
use super::{Isolation, Stack, StackError, namespace};

/// Labels of containers: the run they belong to, their set, the process that they must not outlive, the machine it is on, and whether
/// their run was told to keep them.
const RUN: &str = "e2e.run";
const SET: &str = "e2e.set";
const OWNER: &str = "e2e.owner";
const HOST: &str = "e2e.host";
const KEEP: &str = "e2e.keep";

/// The variable that makes a run leave its containers to the next one, as `--keep` does.
pub const KEEP_VARIABLE: &str = "E2E_KEEP";

/// This machine: processes of others cannot be looked for here.
fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{name}/{}", boot.trim())
}

/// A set behind the services of a test.
struct Containers {
    set: Set,
    /// Whether the run has them, and not the test.
    shared: bool,
}

impl Backing for Containers {
    fn health(&self) -> Result<(), StackError> {
        runtime()?.block_on(self.set.health())
    }

    fn outlives_the_test(&self) -> bool {
        self.shared
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if self.shared {
            return;
        }
        // What cannot be ended now is ended by the reaper.
        let _ = runtime().and_then(|runtime| runtime.block_on(self.set.end()));
    }
}

/// How containers of a run are started.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Whether tests share them.
    pub isolation: Isolation,
    /// Whether a shared set is left for the next run.
    pub keep: bool,
    /// Whether this process is the whole run, as the runner is; else it is a test of nextest's or cargo's run.
    pub whole_run: bool,
    /// Where processes of a run find each other.
    pub folder: &'a Path,
}

/// The services of one test, and how long its containers took; a shared set is started by the first test that needs it.
pub fn start(options: Options<'_>) -> Result<(impl Stack + use<>, Set), StackError> {
    let set = start_set(options)?;
    let shared = options.isolation == Isolation::Shared;
    let namespace = if shared { namespace::new() } else { String::new() };
    let containers = Containers { set: set.clone(), shared };
    Ok((Remote::connect(remote::threads()?, &set.endpoints()?, namespace, Box::new(containers))?, set))
}

/// The containers alone: the run's own, or a new set.
pub fn start_set(Options { isolation, keep, whole_run, folder }: Options<'_>) -> Result<Set, StackError> {
    let runtime = runtime()?;
    let run = if whole_run { Run::itself(folder) } else { Run::of_this_test(folder) };
    runtime.block_on(engine::client())?;
    run.join(keep && isolation == Isolation::Shared)?;
    match isolation {
        Isolation::Shared => runtime.block_on(run.shared_set(keep)),
        Isolation::PerTest => {
            let labels = run.labels(&namespace::new(), Process::itself(), false);
            runtime.block_on(set::start(&labels))
        }
    }
}

/// How long a set took, for people: `Kafka 3.1 s, LocalStack 4.0 s, …, together 4.2 s`.
pub fn describe(set: &Set) -> String {
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let mut parts: Vec<String> = Vec::new();
    for container in &set.containers {
        let pulled = if container.pulled.is_zero() {
            String::new()
        } else {
            format!(" (pulled in {})", seconds(container.pulled))
        };
        parts.push(format!("{} {}{pulled}", container.service.name(), seconds(container.started)));
    }
    format!("{}; together {}", parts.join(", "), seconds(set.ready))
}
