//! The Docker stack: Apache Kafka, LocalStack (S3, SQS) and DynamoDB Local in containers. A run shares one set of them,
//! or every test has its own set.

mod broker;
pub(crate) mod engine;
mod files;
pub(crate) mod images;
pub(crate) mod process;
pub(crate) mod reaper;
mod run;
pub(crate) mod set;

use std::path::Path;
use std::time::Duration;

use self::engine::runtime;
pub(crate) use self::engine::{check as check_engine, find as find_engine};
use self::files::Run;
use self::process::Process;
pub use self::reaper::main_if_asked as reaper_if_asked;
use self::set::Set;
use super::remote::{self, Backing, Remote};
use super::{Isolation, Stack, StackError, namespace};
use crate::suite::Options;

/// The labels of containers: the run that they belong to, their set, the process that they must not outlive, the
/// machine of that process, and whether their run was told to keep them.
const RUN: &str = "e2e.run";
const SET: &str = "e2e.set";
const OWNER: &str = "e2e.owner";
const HOST: &str = "e2e.host";
const KEEP: &str = "e2e.keep";

/// The name of this machine. It is part of the labels because processes of another machine cannot be found here.
fn host() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{name}/{}", boot.trim())
}

/// The set of containers that the services of a test run in.
struct Containers {
    set: Set,
    /// Whether the set belongs to the run, and not to this test.
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
        // The reaper ends the containers that cannot be ended now.
        let _ = runtime().and_then(|runtime| runtime.block_on(self.set.end()));
    }
}

/// The services of one test, and the set of containers that they run in. A shared set is started by the first test that
/// needs it; tests whose schedule needs two brokers share another one. The processes of a run find each other through the files in `folder`.
pub fn start(options: &Options, folder: &Path) -> Result<(Box<dyn Stack>, Set), StackError> {
    let set = start_set(options, folder)?;
    let shared = options.isolation == Isolation::Shared;
    let namespace = if shared { namespace::new() } else { String::new() };
    let containers = Containers { set: set.clone(), shared };
    let stack = Remote::connect(remote::threads()?, &set.endpoints()?, namespace, Box::new(containers))?.relayed()?;
    Ok((Box::new(stack), set))
}

/// Only the containers: the set of the run, or a new set. `folder` is the same as for [`start`].
pub fn start_set(options: &Options, folder: &Path) -> Result<Set, StackError> {
    let &Options { isolation, keep, .. } = options;
    let brokers = options.schedule.brokers().number();
    let runtime = runtime()?;
    let run = if options.whole_run { Run::itself(folder) } else { Run::of_this_test(folder) };
    runtime.block_on(engine::client())?;
    run.join(keep && isolation == Isolation::Shared)?;
    match isolation {
        Isolation::Shared => runtime.block_on(run.shared_set(brokers, keep)),
        Isolation::PerTest => {
            let labels = run.labels(&namespace::new(), Process::itself(), false);
            runtime.block_on(set::start(&labels, brokers))
        }
    }
}

/// How long it took to start a set, for people: `Kafka 3.1 s, LocalStack 4.0 s, …, together 4.2 s`.
pub(crate) fn describe(set: &Set) -> String {
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
