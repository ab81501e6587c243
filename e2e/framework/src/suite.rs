//! A suite, which is a project's fixtures with the pipeline that they test, and the options of a run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::drive::KilledStates;
use crate::schedule::Schedule;
use crate::stack::embedded::Embedded;
use crate::stack::{Isolation, Stack, StackError, StackKind, docker, external};
use crate::subject::Program;

/// A project's fixtures and the pipeline that they test.
#[derive(Debug, Clone)]
pub struct Suite {
    /// The project's folder. It is the pipeline's working directory, so paths in fixtures are relative to it.
    pub root: PathBuf,
    /// The folder of the fixtures.
    pub fixtures: PathBuf,
    /// What is started as the pipeline.
    pub program: Program,
    /// The suite's own pipeline, which is `program` unless another one is tested. It is what `[[subjects]]` of the
    /// fixtures are that name no command.
    pub own: Program,
}

impl Suite {
    /// The fixtures in `root/fixtures`.
    pub fn new(root: impl Into<PathBuf>, program: Program) -> Self {
        let root = root.into();
        // Paths are shown to people, so `/project/e2e/suite/../..` becomes `/project`.
        let root = root.canonicalize().unwrap_or(root);
        Self { fixtures: root.join("fixtures"), root, own: program.clone(), program }
    }

    /// The folder for evidence and reports: `CARGO_TARGET_DIR` or, if that is not set, `target` below the root.
    pub fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |folder| self.root.join(folder))
    }

    /// The folder through which processes that share containers find each other.
    pub fn docker_folder(&self) -> PathBuf {
        self.target().join("e2e/.docker")
    }
}

/// How cases are run.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each of them is an option of its own")]
pub struct Options {
    /// The services on which cases run.
    pub stack: StackKind,
    /// How tests are isolated from each other on the Docker stack.
    pub isolation: Isolation,
    /// Whether a shared set of containers is left for the next run.
    pub keep: bool,
    /// Whether this process is the whole run, as the runner is. Otherwise it is one of the processes of nextest or
    /// cargo.
    pub whole_run: bool,
    /// How runs are disturbed.
    pub schedule: Schedule,
    /// Whether a run fails if its schedule did not disturb it. This is so if the schedule was chosen for a single
    /// case.
    pub must_disturb: bool,
    /// Whether the evidence of a passing run is kept too.
    pub keep_evidence: bool,
    /// The states in which processes were killed, if runs that reach one of them again are to end there.
    pub killed_states: Option<KilledStates>,
}

impl Options {
    /// Starts or connects to the services of one test.
    pub(crate) fn start(&self, suite: &Suite) -> Result<Arc<dyn Stack>, StackError> {
        Ok(match (self.stack, &suite.program) {
            (StackKind::External, Program::Running) => Arc::new(external::of_running_subject()?),
            (_, Program::Running) => {
                let problem = "a pipeline that runs already is tested on the services that it uses: --stack external";
                return Err(StackError::new("choosing the services", problem));
            }
            (StackKind::Embedded, _) => Arc::new(Embedded::start_with(self.schedule.brokers(), Vec::new())?),
            (StackKind::Docker, _) => Arc::from(docker::start(self, &suite.docker_folder())?.0),
            (StackKind::External, _) => Arc::new(external::start()?),
        })
    }
}
