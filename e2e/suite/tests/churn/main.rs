//! Each row is in S3 exactly once and in DynamoDB at least once while workers join, leave, freeze for longer than their
//! session, and are killed. On real services the broker and S3 freeze too.
//!
//! The workers are real processes of `fms connect` in one consumer group. As during a rolling change, they have one of
//! two configurations of the S3 sink. A worker that takes over a flush has to repeat it with the settings that are in
//! its intent, and not with its own.
//!
//! With nextest's profile `docker` the services are real, and there is one test for each of Kafka's three group
//! protocols.
//!
//! In one more test, on embedded and on real services, the workers are a group, whose connectors are in its config topic,
//! and what changes is the record there.
//!
//! `upgrade` does the same with workers of two versions.

mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::docker::{self, ContainerService, Set};
use e2e::internals::{self, Embedded, Log, Record, Resources, Stack, Subject, Table, Waited};
use e2e::{Isolation, Options, Program, StackKind};
use libtest_mimic::{Arguments, Failed, Trial};

const TOPIC: &str = "fms.vehicle.real";
const PARTITIONS: i32 = 8;
const BUCKET: &str = "raw-data";
const TABLE: &str = "fleet";
const GROUPS: [&str; 2] = ["connect-dynamodb", "connect-s3"];
/// Rows of a message. With the `flush.size` below, a flush has only a few messages, so hundreds of flushes can be
/// interrupted.
const ROWS: usize = 3;
/// How often the engine is asked to pause a container whose processes could not be frozen in time.
const FREEZE_ATTEMPTS: usize = 20;
/// The rounds of a run, unless `CHURN_ROUNDS` says another number.
const ROUNDS: usize = 24;
/// The seeds on embedded services. One that has failed is added here, so that every run repeats it.
const KEPT: [u64; 2] = [1, 2];
/// The test of workers that are a group.
const OF_A_GROUP: &str = "every_row_once_under_churn_of_a_group";
/// The settings that make the workers a group, and the number of tasks that each connector has in it.
const GROUP: [(&str, &str); 6] = [
    ("CONNECT_GROUP_ID", "workers"),
    ("CONNECT_CONFIG_STORAGE_TOPIC", "configs"),
    ("CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR", "1"),
    ("CONNECT_STATUS_STORAGE_TOPIC", "states"),
    ("CONNECT_STATUS_STORAGE_REPLICATION_FACTOR", "1"),
    ("CONNECT_STATUS_STORAGE_PARTITIONS", "24"),
];
const GROUP_TASKS: u32 = 4;
const SESSION: Duration = Duration::from_millis(1200);
/// The session on the containers' broker: the broker sets it for the protocol `consumer`, and members ask for it with
/// the other protocols.
const REAL_SESSION: Duration = Duration::from_secs(3);
/// How long the workers may take to drain the topic after the last disturbance.
const DRAIN: Duration = Duration::from_mins(1);
/// The most anonymous memory that a worker may have (`RssAnon`, so without its program): 1.3 times the default of
/// `buffer.memory`.
const MEMORY_KIB: u64 = 64 * 1024 * 13 / 10;

/// The group protocol, by which a group assigns its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Range,
    Cooperative,
    Consumer,
}

impl Protocol {
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        const SESSION: (&str, &str) = ("CONNECT_CONSUMER_SESSION_TIMEOUT_MS", "3000");
        const HEARTBEAT: (&str, &str) = ("CONNECT_CONSUMER_HEARTBEAT_INTERVAL_MS", "300");
        match self {
            Self::Range => &[SESSION, HEARTBEAT, ("CONNECT_CONSUMER_PARTITION_ASSIGNMENT_STRATEGY", "range")],
            Self::Cooperative => {
                &[SESSION, HEARTBEAT, ("CONNECT_CONSUMER_PARTITION_ASSIGNMENT_STRATEGY", "cooperative-sticky")]
            }
            // With this protocol the broker sets the session timeout.
            Self::Consumer => &[("CONNECT_CONSUMER_GROUP_PROTOCOL", "consumer")],
        }
    }
}

fn main() -> ExitCode {
    fms_e2e::worker_or(|| {
        let real = internals::options().is_ok_and(|options| options.stack == StackKind::Docker);
        let trials = if real {
            let first = seed();
            let of = |(protocol, name): (Protocol, &str)| {
                Trial::test(format!("every_row_once_under_churn_{name}"), move || Churn::real(first, protocol)?.run())
            };
            let all =
                [(Protocol::Range, "range"), (Protocol::Cooperative, "cooperative"), (Protocol::Consumer, "kip_848")];
            let mut all: Vec<_> = all.map(of).into();
            all.push(Trial::test(OF_A_GROUP, move || Churn::grouped_real(first)?.run()));
            all
        } else {
            let of = |seed| {
                Trial::test(format!("every_row_once_under_churn_seed_{seed}"), move || Churn::embedded(seed)?.run())
            };
            let mut all: Vec<_> = KEPT.map(of).into();
            all.push(Trial::test(OF_A_GROUP, || Churn::grouped(3)?.run()));
            all.push(Trial::test("every_row_once_through_an_upgrade_and_back", upgrade::there_and_back));
            all
        };
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    })
}

/// The value of `CHURN_SEED`, or a random seed. It is printed at the start and with a failure.
fn seed() -> u64 {
    number("CHURN_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000))
}

/// The number that a variable of the environment has.
fn number<N: FromStr<Err: Display>>(variable: &str) -> Option<N> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}; give a number, or leave it out")))
}

/// One run: the services, the workers, and everything that was sent.
struct Churn {
    stack: Box<dyn Stack>,
    /// The containers that the services run in.
    containers: Option<Set>,
    protocol: Protocol,
    /// How many records the config topic of the group has, if the workers are one.
    group: Option<i64>,
    seed: u64,
    /// The session timeout: how long a member may be silent.
    session: Duration,
    /// How many messages are sent in each round.
    messages: usize,
    /// Containers that are frozen, each with the time at which it is thawed.
    paused: Vec<(ContainerService, Instant)>,
    folder: tempfile::TempDir,
    random: fastrand::Rng,
    workers: Vec<(Subject, Log)>,
    /// Workers that are frozen, each with the time at which it is thawed.
    frozen: Vec<((Subject, Log), Instant)>,
    logs: Vec<Log>,
    /// The most anonymous memory that any worker was seen to have, in KiB.
    memory_kib: u64,
    sent: BTreeSet<String>,
    offsets: BTreeMap<i32, i64>,
    actions: Vec<String>,
}

impl Churn {
    /// A run on the embedded services.
    fn embedded(seed: u64) -> Result<Self, Failed> {
        let stack = Embedded::start()?;
        stack.set_session_timeout(SESSION, SESSION / 12)?;
        // The embedded broker gives members of this protocol unique ids. It names members of the classic protocol after
        // an address in its memory, which another member may get later; a frozen worker would then be mistaken for that
        // member.
        Self::new(seed, Protocol::Consumer, Box::new(stack), None)
    }

    /// A run on the embedded services with workers that are a group.
    fn grouped(seed: u64) -> Result<Self, Failed> {
        let mut churn = Self::embedded(seed)?;
        for (topic, partitions) in [("configs", 1), ("states", 24)] {
            churn.stack.provide(&Resources::topic(topic, partitions))?;
        }
        churn.group = Some(0);
        churn.configure("dynamodb", "dynamodb.json")?;
        churn.configure("s3", "a.json")?;
        Ok(churn)
    }

    /// A run on real services with workers that are a group. The first one creates the topics of the group, so it is
    /// there before its connectors are.
    fn grouped_real(seed: u64) -> Result<Self, Failed> {
        let mut churn = Self::real(seed, Protocol::Cooperative)?;
        churn.group = Some(0);
        churn.launch(&fms_e2e::suite().program, &["connect".to_owned()])?;
        let (worker, log) = &churn.workers[0];
        if !matches!(worker.wait_for_line("listens at", Instant::now() + DRAIN), Waited::Found(_)) {
            return Err(format!("the first worker of the group did not start: {}", log.last(20)).into());
        }
        churn.configure("dynamodb", "dynamodb.json")?;
        churn.configure("s3", "a.json")?;
        Ok(churn)
    }

    /// Writes the configuration of a connector to the config topic.
    fn configure(&mut self, name: &str, file: &str) -> Result<(), Failed> {
        let properties: serde_json::Value = serde_json::from_slice(&fs::read(self.folder.path().join(file))?)?;
        let records = [
            (format!("commit-{name}"), serde_json::json!({"tasks": GROUP_TASKS})),
            (format!("connector-{name}"), serde_json::json!({"properties": properties})),
        ];
        for (key, value) in records {
            let offset = self.group.as_mut().ok_or("the workers are no group")?;
            let record = Record {
                topic: "configs".into(),
                partition: 0,
                offset: *offset,
                timestamp: 1_672_570_800_000,
                key: Some(key.into_bytes()),
                value: Some(value.to_string().into_bytes()),
                headers: Vec::new(),
            };
            *offset += 1;
            self.stack.produce(&[record])?;
        }
        self.actions.push(format!("configure {file}"));
        Ok(())
    }

    /// A run on real services of its own, which are frozen too.
    fn real(seed: u64, protocol: Protocol) -> Result<Self, Failed> {
        let folder = fms_e2e::suite().docker_folder();
        let options = Options { isolation: Isolation::PerTest, ..Options::default() };
        let (stack, set) = docker::start(&options, &folder)?;
        Self::new(seed, protocol, stack, Some(set))
    }

    fn new(seed: u64, protocol: Protocol, stack: Box<dyn Stack>, containers: Option<Set>) -> Result<Self, Failed> {
        println!("seed {seed}");
        stack.provide(&Resources::topic(TOPIC, PARTITIONS))?;
        for dead_letters in ["fms.dead-letter.s3", "fms.dead-letter.dynamodb"] {
            stack.provide(&Resources::topic(dead_letters, 1))?;
        }
        stack.provide(&Resources::bucket(BUCKET))?;
        let key = |name: &str| (name.to_owned(), "S".to_owned());
        stack.provide(&Resources::table(Table {
            name: TABLE.into(),
            partition_key: key("pk"),
            sort_key: Some(key("sk")),
            indexes: Vec::new(),
        }))?;
        let folder = tempfile::tempdir()?;
        let deployed = format!("{}/../../deploy/connectors", std::env::var("CARGO_MANIFEST_DIR")?);
        fs::copy(format!("{deployed}/dynamodb.json"), folder.path().join("dynamodb.json"))?;
        let s3: BTreeMap<String, String> = serde_json::from_slice(&fs::read(format!("{deployed}/s3.json"))?)?;
        for (name, changes) in [
            ("a.json", [("topics.dir", "a"), ("flush.size", "20"), ("partition.field.name", "object,type")]),
            ("b.json", [("topics.dir", "b"), ("flush.size", "33"), ("partition.field.name", "command")]),
        ] {
            let mut config = s3.clone();
            config.insert("s3.compression.type".into(), "none".into());
            config.extend(changes.map(|(key, value)| (key.to_owned(), value.to_owned())));
            fs::write(folder.path().join(name), serde_json::to_vec(&config)?)?;
        }
        let real = containers.is_some();
        Ok(Self {
            stack,
            containers,
            protocol,
            group: None,
            seed,
            session: if real { REAL_SESSION } else { SESSION },
            messages: if real { 300 } else { 40 },
            paused: Vec::new(),
            folder,
            random: fastrand::Rng::with_seed(seed),
            workers: Vec::new(),
            frozen: Vec::new(),
            logs: Vec::new(),
            memory_kib: 0,
            sent: BTreeSet::new(),
            offsets: BTreeMap::new(),
            actions: Vec::new(),
        })
    }

    fn run(mut self) -> Result<(), Failed> {
        let verdict = self.disturb().and_then(|()| self.drain()).and_then(|()| self.check());
        self.explained(verdict)
    }

    /// With what was done and what the workers said, if it has failed.
    fn explained(self, verdict: Result<(), Failed>) -> Result<(), Failed> {
        verdict.map_err(|error| {
            let report = std::env::temp_dir().join(format!("churn-{}.log", std::process::id()));
            let logs: Vec<String> = self.logs.iter().map(Log::text).collect();
            let log = match fs::write(&report, logs.join("\n")) {
                Ok(()) => format!("the workers' logs: {}", report.display()),
                Err(_) => self.logs.iter().map(|log| log.last(20)).collect::<Vec<_>>().join("\n"),
            };
            let text = error.message().unwrap_or_default();
            let (seed, done) = (self.seed, self.actions.join(", "));
            Failed::from(format!("{text}\nCHURN_SEED={seed}, what was done: {done}\n{log}"))
        })
    }

    /// Sends messages in rounds and disturbs workers and services between the rounds.
    fn disturb(&mut self) -> Result<(), Failed> {
        self.join()?;
        for round in 0..number("CHURN_ROUNDS").unwrap_or(ROUNDS) {
            self.resume(false)?;
            self.send(round)?;
            self.thaw(false);
            match self.random.u8(0..if self.containers.is_some() { 14 } else { 10 }) {
                0..=3 if self.workers.len() < 4 => self.join()?,
                4 | 5 if self.workers.len() > 1 => self.leave()?,
                6 | 7 if !self.workers.is_empty() => self.kill(),
                8 | 9 if !self.workers.is_empty() => self.freeze(),
                10..=12 => self.pause(ContainerService::Kafka)?,
                13 => self.pause(ContainerService::LocalStack)?,
                _ => self.join()?,
            }
            // The length of this pause is part of the disturbance: sometimes the group can finish its rebalance,
            // sometimes it cannot.
            thread::sleep(self.session * self.random.u32(5..60) / 100);
            self.weigh();
        }
        self.resume(true)
    }

    /// Starts a worker once no service is frozen: a worker that cannot reach its services at start rightly ends.
    fn join(&mut self) -> Result<(), Failed> {
        self.resume(true)?;
        self.start(None)
    }

    /// Starts a worker: of this version, or the program `other`.
    fn start(&mut self, other: Option<&str>) -> Result<(), Failed> {
        let config = if self.random.bool() { "a.json" } else { "b.json" };
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let arguments = if self.group.is_some() {
            // The worker finds its connectors, and those that run change theirs.
            self.configure("s3", config)?;
            vec!["connect".to_owned()]
        } else {
            vec!["connect".to_owned(), "--config".to_owned(), path("dynamodb.json"), path(config)]
        };
        let program = match other {
            None => fms_e2e::suite().program,
            Some(other) => Program::Shell(format!("'{other}' {}", arguments.join(" "))),
        };
        self.launch(&program, &arguments)?;
        self.actions.push(format!("join {config}{}", if other.is_some() { " (previous)" } else { "" }));
        Ok(())
    }

    /// Starts this program as a worker.
    fn launch(&mut self, program: &Program, arguments: &[String]) -> Result<(), Failed> {
        let settings = [
            ("FMS_PREFIX", ""),
            ("DYNAMODB_TABLE", TABLE),
            ("DYNAMODB_TASKS_MAX", "1"),
            ("S3_BUCKET", BUCKET),
            ("S3_TASKS_MAX", "1"),
            ("S3_FLUSH_SIZE", "100000"),
            ("S3_ROTATE_IDLE_MS", "300"),
            ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
            ("CONNECT_OFFSET_FLUSH_INTERVAL_MS", "200"),
            ("CONNECT_CONSUMER_FETCH_WAIT_MAX_MS", "10"),
            ("RUST_LOG", "info"),
        ];
        let group = if self.group.is_some() { &GROUP[..] } else { &[] };
        let settings = settings.iter().chain(group).chain(self.protocol.settings());
        let mut environment = self.stack.environment();
        environment.extend(settings.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let log = Log::default();
        let worker = Subject::start(program, arguments, &environment, self.folder.path(), &log)?;
        self.logs.push(log.clone());
        self.workers.push((worker, log));
        Ok(())
    }

    /// Notes how much memory the running workers have. Without `/proc` it notes nothing.
    fn weigh(&mut self) {
        let now = self.workers.iter().filter_map(|(worker, _)| anonymous_kib(worker.id())).max();
        self.memory_kib = self.memory_kib.max(now.unwrap_or(0));
    }

    fn one(&mut self) -> (Subject, Log) {
        let i = self.random.usize(0..self.workers.len());
        self.workers.swap_remove(i)
    }

    /// Stops a worker with SIGTERM once no service is frozen: before, it could not store its rows and would not end
    /// with status 0.
    fn leave(&mut self) -> Result<(), Failed> {
        self.resume(true)?;
        let worker = self.one();
        self.actions.push("leave".into());
        stop(&worker)
    }

    fn kill(&mut self) {
        // Dropping a subject sends SIGKILL to it.
        drop(self.one());
        self.actions.push("kill".into());
    }

    fn freeze(&mut self) {
        let worker = self.one();
        await_start(&worker);
        worker.0.freeze();
        // Mostly the worker is frozen for longer than its session. When it wakes up in the middle of its work, other
        // workers have taken over.
        let time = self.session * self.random.u32(1..4) / 2 + Duration::from_millis(200);
        self.frozen.push((worker, Instant::now() + time));
        self.actions.push(format!("freeze {} ms", time.as_millis()));
    }

    fn thaw(&mut self, all: bool) {
        for (worker, until) in std::mem::take(&mut self.frozen) {
            if all || until <= Instant::now() {
                worker.0.thaw();
                self.workers.push(worker);
                self.actions.push("thaw".into());
            } else {
                self.frozen.push((worker, until));
            }
        }
    }

    /// Freezes a container for up to twice the session timeout. A frozen service accepts connections but does not
    /// answer.
    fn pause(&mut self, service: ContainerService) -> Result<(), Failed> {
        if self.paused.iter().any(|(paused, _)| *paused == service) {
            return Ok(());
        }
        let time = self.session * self.random.u32(10..200) / 100;
        self.workers.iter().for_each(await_start);
        self.freeze_container(service)?;
        self.actions.push(format!("pause {} {} ms", service.name(), time.as_millis()));
        self.paused.push((service, Instant::now() + time));
        Ok(())
    }

    /// Thaws the containers whose time is over. It waits until the time of the broker is over, because the next
    /// messages need the broker, and with `all` until the time of every container is over.
    fn resume(&mut self, all: bool) -> Result<(), Failed> {
        for (service, until) in std::mem::take(&mut self.paused) {
            if all || service == ContainerService::Kafka {
                thread::sleep(until.saturating_duration_since(Instant::now()));
            }
            if until <= Instant::now() {
                self.container("unpause", service)?;
            } else {
                self.paused.push((service, until));
            }
        }
        Ok(())
    }

    /// Pauses a container. The kernel gives up freezing its processes if one of them does not stop in time, as on a busy
    /// machine. The engine then leaves the container as it was and says so, and it is asked again.
    fn freeze_container(&self, service: ContainerService) -> Result<(), String> {
        let mut attempts = 1;
        loop {
            match self.container("pause", service) {
                Err(error) if attempts < FREEZE_ATTEMPTS && error.contains("unable to freeze") => attempts += 1,
                done => return done,
            }
        }
    }

    fn container(&self, verb: &str, service: ContainerService) -> Result<(), String> {
        let of = |set: &Set| set.containers.iter().find(|found| found.service == service).map(|found| found.id.clone());
        let id = self.containers.as_ref().and_then(of).ok_or("the services have no such container")?;
        let output = Command::new("docker").args([verb, &id]).output().map_err(|error| format!("docker: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("docker {verb} {id}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn send(&mut self, round: usize) -> Result<(), Failed> {
        let records: Vec<Record> = (0..self.messages)
            .map(|message| {
                let partition = self.random.i32(0..PARTITIONS);
                let offset = self.offsets.entry(partition).or_default();
                let rows: Vec<String> = (0..ROWS)
                    .map(|row| {
                        let name = format!("{round}-{message}-{row}");
                        // Some rows belong to the hour before, so that several objects are open at once.
                        let hour = 11 + self.random.u8(0..2);
                        let text = format!(r#"{{"timestamp_iso":"2023-01-01T{hour}:00:00Z","name":"{name}"}}"#);
                        self.sent.insert(name);
                        text
                    })
                    .collect();
                let value = format!(
                    r#"{{"object":"vehicle","type":"kinematic","command":"report","id":1,"measurements":[{}]}}"#,
                    rows.join(",")
                );
                let record = Record {
                    topic: TOPIC.into(),
                    partition,
                    offset: *offset,
                    timestamp: 1_672_570_800_000,
                    key: None,
                    value: Some(value.into_bytes()),
                    headers: Vec::new(),
                };
                *offset += 1;
                record
            })
            .collect();
        Ok(self.stack.produce(&records)?)
    }

    /// Starts a new worker and stops all others; the new one has to drain everything.
    fn drain(&mut self) -> Result<(), Failed> {
        self.thaw(true);
        // The new worker starts first, so that the others can hand their partitions over to it when they leave.
        self.join()?;
        self.drain_by_last()
    }

    /// Stops all workers but the one that was started last, which has to drain everything.
    fn drain_by_last(&mut self) -> Result<(), Failed> {
        let last = self.workers.pop().ok_or("no worker")?;
        for worker in std::mem::take(&mut self.workers) {
            stop(&worker)?;
        }
        let partitions: Vec<_> = (0..PARTITIONS).map(|partition| (TOPIC.to_owned(), partition)).collect();
        let ends = self.stack.end_offsets(&[TOPIC.to_owned()])?;
        let started = Instant::now();
        loop {
            let mut behind = Vec::new();
            for group in GROUPS {
                let committed = self.stack.committed(group, &partitions)?;
                for (partition, end) in ends.iter().filter(|(_, end)| **end > 0) {
                    let at = committed.get(partition).map_or(0, |(offset, _)| *offset);
                    if at != *end {
                        behind.push(format!("{group} {}-{} at {at} of {end}", partition.0, partition.1));
                    }
                }
            }
            if behind.is_empty() {
                break;
            }
            self.memory_kib = self.memory_kib.max(anonymous_kib(last.0.id()).unwrap_or(0));
            if let Some(status) = last.0.status() {
                return Err(format!("the last worker ended with {status} before it had drained").into());
            }
            if started.elapsed() > DRAIN {
                return Err(format!("not drained after {} s: {}", DRAIN.as_secs(), behind.join(", ")).into());
            }
            // Kafka offers no event for a commit, so the offsets have to be polled.
            thread::sleep(Duration::from_millis(20));
        }
        stop(&last)
    }

    fn check(&self) -> Result<(), Failed> {
        let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, body) in self.stack.objects(BUCKET)? {
            for line in String::from_utf8(body)?.lines() {
                let row: serde_json::Value = serde_json::from_str(line)?;
                stored.entry(name_of(&row["name"])).or_default().push(key.clone());
            }
        }
        let mut wrong: Vec<String> = self
            .sent
            .iter()
            .filter(|name| !stored.contains_key(*name))
            .map(|name| format!("row {name} is not in S3"))
            .collect();
        wrong.extend(
            stored
                .iter()
                .filter(|(_, keys)| keys.len() > 1)
                .map(|(name, keys)| format!("row {name} is in S3 {} times: {}", keys.len(), keys.join(", "))),
        );
        let items: BTreeSet<String> = self.stack.scan(TABLE)?.iter().map(|item| name_of(&item["name"]["S"])).collect();
        wrong.extend(self.sent.difference(&items).map(|name| format!("row {name} is not in DynamoDB")));
        for log in &self.logs {
            wrong.extend(log.find("task failed").map(|line| format!("a worker says: {line}")));
        }
        let open = self.stack.open_uploads(BUCKET)?;
        wrong.extend(open.iter().map(|key| format!("an upload of {key} was left behind")));
        println!("no worker had more than {} KiB of its own", self.memory_kib);
        if self.memory_kib > MEMORY_KIB {
            wrong.push(format!("a worker had {} KiB of its own, more than {MEMORY_KIB}", self.memory_kib));
        }
        if wrong.is_empty() && stored.len() == self.sent.len() {
            return Ok(());
        }
        wrong.truncate(20);
        Err(format!("{} rows sent, {} in S3:\n{}", self.sent.len(), stored.len(), wrong.join("\n")).into())
    }
}

/// `RssAnon` of a process in KiB, as proc(5) describes it.
fn anonymous_kib(process: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn name_of(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or("(a row without a name)").to_owned()
}

/// Waits until the tasks of a worker have started, or until the worker has ended.
fn await_start((worker, _): &(Subject, Log)) {
    worker.wait_for_line("task started", Instant::now() + DRAIN);
}

/// Sends SIGTERM to a worker, which has to end with status 0.
fn stop(subject: &(Subject, Log)) -> Result<(), Failed> {
    // A signal that arrives before the program is loaded would simply end the process.
    await_start(subject);
    let (worker, log) = subject;
    worker.terminate();
    match worker.wait(Instant::now() + DRAIN) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("a worker that was asked to leave ended with {status}: {}", log.last(5)).into()),
        None => {
            let limit = DRAIN.as_secs();
            Err(format!("a worker did not leave within {limit} s: {}", log.last(5)).into())
        }
    }
}
