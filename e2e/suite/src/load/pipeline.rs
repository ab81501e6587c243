//! The pipeline of a load test on the services of a stack: workers and pollers, each a process of its own, that are
//! started and stopped while it runs.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::internals::{Case, Log, Stack, Subject, start_stack};
use e2e::{CaseId, Options, Program, Schedule, StackKind, Suite};

use super::failure::Failure;
use super::ready::{Awaited, Ready};

/// The case whose settings say what the pipeline needs: topics, tables, buckets, queues and its environment.
const CASE: (&str, &str) = ("vehicle-kinematic", "one");
/// How long a process may take to start or to stop.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is asked whether something has happened that nothing tells of.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How the names of workers begin.
const WORKER: &str = "worker-";
/// The variable by which the recording proxy tells processes apart.
const PROCESS: &str = "AWS_SDK_UA_APP_ID";

/// The end of each partition, and the offset that a group has committed, by group, topic and partition.
type Offsets = BTreeMap<(String, String, i32), (i64, i64)>;

/// A pipeline on its services.
pub struct Pipeline {
    /// The services.
    pub stack: Arc<dyn Stack>,
    /// What the pipeline is given, with the names of the stack filled in.
    pub case: Case,
    /// The variables of every process.
    pub environment: BTreeMap<String, String>,
    suite: Suite,
    program: Program,
    /// The processes by their names, in the order in which they were started.
    processes: Vec<Process>,
    /// A worker that was told to stop and may still run.
    stopping: Option<Process>,
}

/// A process of the pipeline.
pub struct Process {
    /// Its name, such as `worker-1`.
    pub name: String,
    /// The process.
    pub subject: Subject,
    /// What it has printed.
    pub log: Log,
}

impl Pipeline {
    /// Starts the services and creates what the pipeline needs. No process is started. `environment` is added to that
    /// of the fixtures, and `subject` is started as the worker in the place of the suite's own, if there is one.
    pub fn prepare(
        suite: &Suite,
        stack: StackKind,
        subject: Option<&str>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        let program = subject.map_or_else(|| Ok(suite.program.clone()), Program::shell)?;
        // Of the embedded broker, connections can be broken.
        let options = Options { stack, whole_run: true, schedule: Schedule::BrokerDown, ..Options::default() };
        let services = start_stack(&options, suite)?;
        let id = CaseId { protocol: CASE.0.into(), name: CASE.1.into() };
        let mut case = Case::read(&suite.fixtures, &id).map_err(|error| error.to_string())?;
        case.settings = case.settings.within(services.namespace());
        services.provide(&case.settings.resources).map_err(|error| error.to_string())?;
        let mut variables = services.environment();
        variables.extend(case.settings.env.clone());
        variables.extend(environment.clone());
        let suite = suite.clone();
        let processes = Vec::new();
        Ok(Self { stack: services, case, environment: variables, suite, program, processes, stopping: None })
    }

    /// The processes that run, one that is about to stop among them.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().chain(&self.stopping)
    }

    /// The workers that run.
    pub fn workers(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.name.starts_with(WORKER))
    }

    /// Starts or stops workers until there are so many.
    pub fn set_workers(&mut self, workers: usize) -> Result<(), String> {
        for number in self.workers().count()..workers {
            self.start_worker(format!("{WORKER}{}", number + 1))?;
        }
        let mut names: Vec<String> = self.workers().map(|worker| worker.name.clone()).collect();
        names.sort_by_key(|name| name.strip_prefix(WORKER).and_then(|number| number.parse::<usize>().ok()));
        for name in names.iter().skip(workers) {
            self.processes.extract_if(.., |process| process.name == *name).try_for_each(|process| stop(&process))?;
        }
        Ok(())
    }

    /// Starts a worker of this name.
    pub(super) fn start_worker(&mut self, name: String) -> Result<(), String> {
        let (program, args) = (self.program.clone(), self.case.settings.args.clone());
        self.start(name, &program, &args)
    }

    /// Tells a worker to stop in good order, and does not wait for it.
    pub(super) fn tell_to_stop(&mut self, name: &str) -> Result<(), String> {
        let at = self.processes.iter().position(|process| process.name == name);
        let process = self.processes.remove(at.ok_or_else(|| format!("there is no {name} to stop"))?);
        process.subject.terminate();
        self.stopping = Some(process);
        Ok(())
    }

    /// Whether the worker that was told to stop has ended. An error if it has not ended in good order.
    pub(super) fn has_stopped(&mut self) -> Result<bool, String> {
        match self.stopping.take_if(|process| process.subject.status().is_some()) {
            Some(process) => stop(&process).map(|()| true),
            None => Ok(self.stopping.is_none()),
        }
    }

    /// Starts the other processes of the pipeline, such as the poller of the lake.
    pub fn start_others(&mut self) -> Result<(), String> {
        for other in self.case.settings.subjects.clone() {
            let program = other.command.as_deref().map_or_else(|| Ok(self.suite.own.clone()), Program::shell)?;
            self.start(other.name.as_str().to_owned(), &program, &other.args)?;
        }
        Ok(())
    }

    fn start(&mut self, name: String, program: &Program, args: &[String]) -> Result<(), String> {
        let mut environment = self.environment.clone();
        environment.insert(PROCESS.to_owned(), name.clone());
        let log = Log::default();
        let subject = Subject::start(program, args, &environment, &self.suite.root, &log);
        let subject = subject.map_err(|error| format!("{name}: {error}"))?;
        self.processes.push(Process { name, subject, log });
        Ok(())
    }

    /// Waits until all workers are ready.
    pub(super) fn await_ready(&self, ready: &Ready) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut awaited = Awaited::new(ready.clone());
        while let Some(missed) = awaited.is_missed_by(self) {
            self.check()?;
            if Instant::now() > deadline {
                return Err(Failure::Pipeline(format!(
                    "the pipeline did not start within {} s: {missed}\n{}",
                    PATIENCE.as_secs(),
                    self.logs()
                )));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// An error if a process has ended by itself.
    pub fn check(&self) -> Result<(), Failure> {
        match self.processes.iter().find(|process| process.subject.status().is_some()) {
            Some(process) => {
                let (name, lines) = (&process.name, process.log.last(15));
                Err(Failure::Pipeline(format!("{name} has ended by itself; its last lines:\n{lines}")))
            }
            None => Ok(()),
        }
    }

    /// How many messages the groups of the pipeline have not committed, by group, topic and partition.
    pub fn lag(&self) -> Result<BTreeMap<(String, String, i32), i64>, String> {
        let offsets = self.offsets()?;
        Ok(offsets.into_iter().map(|(partition, (end, committed))| (partition, end - committed)).collect())
    }

    /// How many messages the group has committed that has committed least, over all partitions.
    pub fn least_committed(&self) -> Result<i64, String> {
        let mut committed: BTreeMap<&str, i64> =
            self.case.settings.groups.iter().map(|group| (group.as_str(), 0)).collect();
        let offsets = self.offsets()?;
        for ((group, ..), (_, offset)) in &offsets {
            *committed.entry(group).or_default() += offset;
        }
        Ok(committed.into_values().min().unwrap_or(0))
    }

    /// The end of each partition, and the offset that each group has committed, by group, topic and partition.
    fn offsets(&self) -> Result<Offsets, String> {
        let topics: Vec<String> = self.consumed().map(|(topic, _)| topic.clone()).collect();
        let ends = self.stack.end_offsets(&topics).map_err(|error| error.to_string())?;
        let ends: BTreeMap<_, _> = ends.into_iter().filter(|(_, end)| *end > 0).collect();
        let partitions: Vec<(String, i32)> = ends.keys().cloned().collect();
        let mut offsets = BTreeMap::new();
        for group in &self.case.settings.groups {
            let committed = self.stack.committed(group, &partitions).map_err(|error| error.to_string())?;
            for ((topic, partition), end) in &ends {
                let offset = committed.get(&(topic.clone(), *partition)).map_or(0, |(offset, _)| *offset);
                offsets.insert((group.clone(), topic.clone(), *partition), (*end, offset));
            }
        }
        Ok(offsets)
    }

    /// The topics that the pipeline consumes, with their numbers of partitions: all but those of its dead letters.
    pub fn consumed(&self) -> impl Iterator<Item = (&String, &i32)> {
        let settings = &self.case.settings;
        settings.resources.topics.iter().filter(|(topic, _)| !settings.dead_letters.contains(topic))
    }

    /// Waits until everything that was sent is stored: offsets are committed, queues are empty, no call is in flight. False
    /// if `is_due` says before that there is something else to do. An error says what is left when so much time has passed
    /// since `begin`.
    pub fn drain(&self, begin: Instant, limit: Duration, is_due: &dyn Fn() -> bool) -> Result<bool, Failure> {
        loop {
            self.check()?;
            let Some(left) = self.left()? else { return Ok(true) };
            if begin.elapsed() > limit {
                let seconds = limit.as_secs();
                let problem = format!("the pipeline has not drained after {seconds} s: {left}\n{}", self.logs());
                return Err(Failure::Pipeline(problem));
            }
            if is_due() {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What is left to do, for people.
    fn left(&self) -> Result<Option<String>, String> {
        let mut left = Vec::new();
        for ((group, topic, partition), lag) in self.lag()?.into_iter().filter(|(_, lag)| *lag > 0) {
            left.push(format!("{group} is {lag} messages behind in {topic}-{partition}"));
        }
        for queue in &self.case.settings.drained_queues {
            let depth = self.stack.queue(queue).map_err(|error| error.to_string())?;
            let messages = depth.visible + depth.in_flight + depth.delayed;
            if messages > 0 {
                left.push(format!("queue {queue} has {messages} messages"));
            }
        }
        match self.stack.calls().in_flight() {
            0 => {}
            calls => left.push(format!("{calls} calls are in flight")),
        }
        Ok((!left.is_empty()).then(|| left.join("; ")))
    }

    /// Stops every process in good order.
    pub fn stop(&mut self) -> Result<(), String> {
        self.processes.drain(..).try_for_each(|process| stop(&process))
    }

    /// Runs `fms` with these arguments and the environment of the pipeline.
    pub fn fms(&self, arguments: &[&str]) -> Result<Output, String> {
        let output = self.fms_command(arguments).and_then(|mut command| command.output());
        output.map_err(|error| format!("cannot start fms {}: {error}", arguments.join(" ")))
    }

    /// The command that [`Self::fms`] runs.
    pub fn fms_command(&self, arguments: &[&str]) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(crate::ROLE.0, crate::ROLE.1).args(arguments).envs(&self.environment).env("RUST_LOG", "warn");
        command.env(PROCESS, "verify");
        Ok(command)
    }

    /// The last lines of every process.
    pub(super) fn logs(&self) -> String {
        let logs = self.processes().map(|process| format!("{}:\n{}", process.name, process.log.last(10)));
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// Stops a process in good order. What it has started has to end, too.
fn stop(process: &Process) -> Result<(), String> {
    let stopped = process.subject.stop(PATIENCE);
    stopped.map_err(|problem| format!("{} {problem} on SIGTERM:\n{}", process.name, process.log.last(15)))
}
