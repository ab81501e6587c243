//! A group of workers: connectors that are created by REST on one are seen and run by all, and operated through any;
//! workers are killed, frozen and stopped, and each row is stored exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use e2e::Options;
use e2e::internals::{self, Embedded, Log, Record, Resources, Stack, Subject, Waited, docker};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::calls::ask;
use super::client;
use super::worker::membership;

/// How long anything may take to be reached.
const LIMIT: Duration = Duration::from_secs(25);
const PARTITIONS: i32 = 6;
const SESSION: Duration = Duration::from_millis(1200);
const REAL_SESSION: Duration = Duration::from_secs(3);

/// The settings of workers on embedded services.
pub const EMBEDDED_SETTINGS: [(&str, &str); 1] = [("CONNECT_CONSUMER_GROUP_PROTOCOL", "consumer")];

/// The settings of workers on a real broker.
pub const REAL_SETTINGS: [(&str, &str); 5] = [
    ("CONNECT_CONSUMER_SESSION_TIMEOUT_MS", "3000"),
    ("CONNECT_CONSUMER_HEARTBEAT_INTERVAL_MS", "300"),
    ("CONNECT_CONFIG_STORAGE_REPLICATION_FACTOR", "1"),
    ("CONNECT_STATUS_STORAGE_REPLICATION_FACTOR", "1"),
    ("CONNECT_STATUS_STORAGE_PARTITIONS", "12"),
];

/// Embedded services with the topics of a group, because their broker neither creates topics nor compacts them.
pub fn embedded_stack() -> Result<Box<dyn Stack>, Failed> {
    let stack = Embedded::start()?;
    stack.set_session_timeout(SESSION, SESSION / 12)?;
    for (topic, partitions) in [("connect-configs", 1), ("connect-status", 12)] {
        stack.provide(&Resources::topic(topic, partitions))?;
    }
    Ok(Box::new(stack))
}

/// Real services, on which the workers create the topics of the group.
pub fn real_stack() -> Result<Box<dyn Stack>, Failed> {
    let options = Options { keep: internals::kept(), ..Options::default() };
    Ok(docker::start(&options, &fms_e2e::suite().docker_folder())?.0)
}

pub fn embedded() -> Result<(), Failed> {
    Group::new(embedded_stack()?, SESSION, &EMBEDDED_SETTINGS)?.run()
}

pub fn real() -> Result<(), Failed> {
    Group::new(real_stack()?, REAL_SESSION, &REAL_SETTINGS)?.run()
}

/// A worker of the group.
struct Worker {
    subject: Subject,
    log: Log,
    address: String,
}

struct Group {
    stack: Box<dyn Stack>,
    session: Duration,
    environment: BTreeMap<String, String>,
    folder: tempfile::TempDir,
    workers: Vec<Worker>,
    logs: Vec<Log>,
    sent: BTreeSet<String>,
    offsets: BTreeMap<i32, i64>,
}

impl Group {
    fn new(stack: Box<dyn Stack>, session: Duration, settings: &[(&str, &str)]) -> Result<Self, Failed> {
        for resources in [Resources::topic("t", PARTITIONS), Resources::bucket("lake")] {
            stack.provide(&resources)?;
        }
        let mut environment = stack.environment();
        environment.extend(membership(stack.namespace()).map(|(name, value)| (name.to_owned(), value)));
        let own = [
            ("CONNECT_LISTENERS", "http://127.0.0.1:0"),
            ("CONNECT_REST_CHANGES_ENABLE", "true"),
            ("CONNECT_CONSUMER_FETCH_WAIT_MAX_MS", "10"),
            ("RUST_LOG", "info"),
        ];
        let settings = own.iter().chain(settings);
        environment.extend(settings.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Ok(Self {
            stack,
            session,
            environment,
            folder: tempfile::tempdir()?,
            workers: Vec::new(),
            logs: Vec::new(),
            sent: BTreeSet::new(),
            offsets: BTreeMap::new(),
        })
    }

    fn run(mut self) -> Result<(), Failed> {
        let verdict = self.operate();
        verdict.map_err(|error| {
            let text = error.message().unwrap_or_default();
            let logs: Vec<_> = self.logs.iter().map(|log| log.last(40)).collect();
            Failed::from(format!("{text}\n{}", logs.join("\n---\n")))
        })
    }

    fn operate(&mut self) -> Result<(), Failed> {
        let config = self.config("3");
        for _ in 0..3 {
            self.join()?;
        }
        // Somebody else's client is content with what a group answers.
        self.change(0, "POST", "/connectors", &json!({"name": "first", "config": config}), 201)?;
        self.change(0, "DELETE", "/connectors/first", &Value::Null, 204)?;
        self.wait("no connector", |group| Ok(group.get(1, "/connectors")? == json!([])))?;
        client::against(&format!("http://{}", self.workers[1].address), &self.config("1"))?;

        // Created on one, seen by all, and taken by nobody else.
        self.send(30)?;
        let body = json!({"name": "s3", "config": config});
        let created = self.change(0, "POST", "/connectors", &body, 201)?;
        if created["tasks"].as_array().map(Vec::len) != Some(3) {
            return Err(format!("a connector with other than three tasks: {created}").into());
        }
        self.wait("all to see it", |group| group.all(|group, i| Ok(group.get(i, "/connectors")? == json!(["s3"]))))?;
        self.change(2, "POST", "/connectors", &body, 409)?;
        // Everywhere, the same three tasks on three workers.
        self.runs(3, 3)?;
        self.stored()?;
        self.wait("the topics that were read", |group| {
            let topics = json!({"s3": {"topics": [format!("{}t", group.stack.namespace())]}});
            group.all(|group, i| Ok(group.get(i, "/connectors/s3/topics")? == topics))
        })?;

        // Killed: its tasks move.
        self.send(30)?;
        drop(self.workers.remove(1));
        self.send(30)?;
        self.runs(3, 2)?;
        self.stored()?;

        // Frozen past its session, and woken again when another has its tasks.
        self.send(30)?;
        let frozen = self.workers.remove(1);
        frozen.subject.freeze();
        self.send(30)?;
        self.runs(3, 1)?;
        std::thread::sleep(self.session);
        frozen.subject.thaw();
        self.workers.push(frozen);
        self.send(30)?;
        self.runs(3, 2)?;
        self.stored()?;

        // Operated through whichever worker.
        self.change(1, "PUT", "/connectors/s3/pause", &Value::Null, 202)?;
        self.states("PAUSED", 3)?;
        self.send(10)?;
        self.change(0, "PUT", "/connectors/s3/resume", &Value::Null, 202)?;
        self.states("RUNNING", 3)?;
        self.stored()?;
        let restarted = self.change(1, "POST", "/connectors/s3/restart?includeTasks=true", &Value::Null, 202)?;
        if restarted["tasks"].as_array().is_none_or(|tasks| tasks.iter().any(|task| task["state"] != "RESTARTING")) {
            return Err(format!("what is restarted is not told: {restarted}").into());
        }
        for task in 0..3 {
            self.restarts(task)?;
        }
        self.change(0, "PATCH", "/connectors/s3/config", &json!({"tasks.max": "4"}), 200)?;
        self.states("RUNNING", 4)?;
        let offset = json!({"offsets": [{"partition": {"kafka_topic": "t", "kafka_partition": 0}, "offset": null}]});
        self.change(1, "PATCH", "/connectors/s3/offsets", &offset, 400)?;
        self.change(1, "PUT", "/connectors/s3/stop", &Value::Null, 204)?;
        self.states("STOPPED", 0)?;
        self.send(10)?;

        // A group that ends and comes again finds its connectors as they were.
        self.leave()?;
        self.join()?;
        self.join()?;
        self.states("STOPPED", 0)?;
        self.change(1, "PUT", "/connectors/s3/resume", &Value::Null, 202)?;
        self.runs(4, 2)?;
        self.stored()?;
        self.change(0, "DELETE", "/connectors/s3", &Value::Null, 204)?;
        self.wait("no connector", |group| group.all(|group, i| Ok(group.get(i, "/connectors")? == json!([]))))?;
        self.leave()?;
        self.once()
    }

    fn config(&self, tasks: &str) -> Value {
        let prefix = self.stack.namespace();
        json!({
            "connector.class": "S3Sink", "topics": format!("{prefix}t"), "tasks.max": tasks, "flush.size": "10",
            "rotate.idle.ms": "100", "s3.bucket.name": format!("{prefix}lake"), "s3.region": "us-east-1",
            "partitioner.class": "Default", "s3.compression.type": "none",
        })
    }

    /// Starts a worker.
    fn join(&mut self) -> Result<(), Failed> {
        let log = Log::default();
        self.logs.push(log.clone());
        let (program, folder) = (fms_e2e::suite().program, self.folder.path());
        let subject = Subject::start(&program, &["connect".to_owned()], &self.environment, folder, &log)?;
        if !matches!(subject.wait_for_line("listens at http://", Instant::now() + LIMIT), Waited::Found(_)) {
            return Err("a worker did not start".into());
        }
        let line = log.find("listens at http://").unwrap_or_default();
        let address = line.rsplit("http://").next().and_then(|rest| rest.split_whitespace().next());
        let address = address.unwrap_or_default().to_owned();
        self.workers.push(Worker { subject, log, address });
        Ok(())
    }

    /// Stops all workers, which have to end with status 0.
    fn leave(&mut self) -> Result<(), Failed> {
        for worker in &self.workers {
            worker.subject.terminate();
        }
        for worker in self.workers.drain(..) {
            match worker.subject.wait(Instant::now() + LIMIT) {
                Some(status) if status.success() => {}
                other => return Err(format!("a worker ended with {other:?}: {}", worker.log.last(10)).into()),
            }
        }
        Ok(())
    }

    /// The answer of a worker to a call that reads. Reading is possible while the group rebalances.
    fn get(&self, worker: usize, path: &str) -> Result<Value, Failed> {
        match ask(&self.workers[worker].address, "GET", path, "")? {
            (200, answer) => Ok(answer),
            (404, _) => Ok(Value::Null),
            (status, answer) => Err(format!("GET {path}: {status} {answer}").into()),
        }
    }

    /// Makes a call that changes something, again while the group rebalances, until the answer has this status.
    fn change(&self, worker: usize, method: &str, path: &str, body: &Value, expected: u16) -> Result<Value, Failed> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let started = Instant::now();
        loop {
            match ask(&self.workers[worker].address, method, path, &body)? {
                (409, answer) if answer["message"].as_str().is_some_and(|text| text.contains("rebalance")) => {
                    if started.elapsed() > LIMIT {
                        return Err(format!("{method} {path}: the group still rebalances").into());
                    }
                }
                (status, answer) if status == expected => return Ok(answer),
                (status, answer) => return Err(format!("{method} {path}: {status}, not {expected}: {answer}").into()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&self, what: &str, reached: impl Fn(&Self) -> Result<bool, Failed>) -> Result<(), Failed> {
        let started = Instant::now();
        while !reached(self)? {
            if started.elapsed() > LIMIT {
                let status = self.get(0, "/connectors?expand=status")?;
                return Err(format!("not within {} s: {what}: {status}", LIMIT.as_secs()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn all(&self, of: impl Fn(&Self, usize) -> Result<bool, Failed>) -> Result<bool, Failed> {
        for worker in 0..self.workers.len() {
            if !of(self, worker)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until every worker says that so many tasks run, on so many workers, all of which are there.
    fn runs(&self, tasks: usize, workers: usize) -> Result<(), Failed> {
        let there: BTreeSet<&str> = self.workers.iter().map(|worker| worker.address.as_str()).collect();
        self.wait(&format!("{tasks} tasks on {workers} workers"), |group| {
            group.all(|group, i| {
                let status = group.get(i, "/connectors/s3/status")?;
                let all = status["tasks"].as_array().cloned().unwrap_or_default();
                let at: BTreeSet<&str> = all.iter().filter_map(|task| task["worker_id"].as_str()).collect();
                let running = all.iter().all(|task| task["state"] == "RUNNING");
                Ok(running && all.len() == tasks && at.len() == workers && at.is_subset(&there))
            })
        })
    }

    /// Waits until every worker says that the connector and so many tasks are in this state.
    fn states(&self, state: &str, tasks: usize) -> Result<(), Failed> {
        self.wait(&format!("{tasks} tasks and their connector {state}"), |group| {
            group.all(|group, i| {
                let status = group.get(i, "/connectors/s3/status")?;
                let all = status["tasks"].as_array().cloned().unwrap_or_default();
                let so = all.iter().all(|task| task["state"] == state) && all.len() == tasks;
                Ok(so && status["connector"]["state"] == state)
            })
        })
    }

    /// Restarts a task through a worker that may not be its own, and waits until it has begun anew.
    fn restarts(&self, task: u32) -> Result<(), Failed> {
        let starts = |log: &Log| log.text().matches(&format!("task started connector=\"s3\" task={task}")).count();
        let all = |group: &Self| group.workers.iter().map(|worker| starts(&worker.log)).sum::<usize>();
        let before = all(self);
        self.change(0, "POST", &format!("/connectors/s3/tasks/{task}/restart"), &Value::Null, 204)?;
        self.wait(&format!("task {task} restarted"), |group| Ok(all(group) > before))?;
        self.states("RUNNING", 3)
    }

    fn send(&mut self, count: usize) -> Result<(), Failed> {
        let first = self.sent.len();
        let mut records = Vec::new();
        for number in first..first + count {
            let partition = i32::try_from(number)? % PARTITIONS;
            let offset = self.offsets.entry(partition).or_default();
            records.push(Record {
                topic: "t".to_owned(),
                partition,
                offset: *offset,
                timestamp: 1_672_570_800_000,
                key: None,
                value: Some(format!(r#"{{"row":"{number}"}}"#).into_bytes()),
                headers: Vec::new(),
            });
            *offset += 1;
            self.sent.insert(number.to_string());
        }
        Ok(self.stack.produce(&records)?)
    }

    /// The rows in S3, and how often each is there.
    fn rows(&self) -> Result<BTreeMap<String, usize>, Failed> {
        let mut rows = BTreeMap::new();
        for (_, body) in self.stack.objects("lake")? {
            for line in String::from_utf8(body)?.lines() {
                let row: Value = serde_json::from_str(line)?;
                *rows.entry(row["row"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        Ok(rows)
    }

    /// Waits until everything that was sent is stored.
    fn stored(&self) -> Result<(), Failed> {
        self.wait("every row stored", |group| {
            let rows = group.rows()?;
            Ok(group.sent.iter().all(|row| rows.contains_key(row)))
        })
    }

    /// Every row is stored exactly once.
    fn once(&self) -> Result<(), Failed> {
        let rows = self.rows()?;
        let twice: Vec<_> = rows.iter().filter(|(_, count)| **count > 1).collect();
        let lost: Vec<_> = self.sent.iter().filter(|row| !rows.contains_key(*row)).collect();
        println!("{} rows sent, {} stored", self.sent.len(), rows.len());
        if twice.is_empty() && lost.is_empty() && rows.len() == self.sent.len() {
            return Ok(());
        }
        Err(format!("stored more than once: {twice:?}; lost: {lost:?}").into())
    }
}
