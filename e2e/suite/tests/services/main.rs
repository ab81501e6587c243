//! The embedded services answer as the real ones do: the same calls to both, by the real client libraries, compared answer by answer.
//!
//! Each service has its list of calls; what differs by design (ids, dates, names of the run) is left out of the answers. Every difference that
//! remains stands in `differences.toml` with its reason, and a test fails on one that does not, and on one that is no longer so.

mod answers;
mod dynamodb;
mod kafka;
mod s3;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::harness;
use e2e::stack::embedded::Embedded;
use e2e::stack::{Isolation, Kind, Stack as _, docker};
use libtest_mimic::{Arguments, Failed, Trial};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::runtime::Runtime;

use self::answers::{Answers, Known, compare};

/// The session of a group's member; the embedded broker waits about as long for a group to join again.
const SESSION: Duration = Duration::from_millis(1200);

type CreateTopic = Box<dyn Fn(&str, i32) -> Result<(), String>>;

/// The services of one stack, and a namespace of its own for one list of calls.
pub struct Endpoints {
    /// `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL_S3` and so on, as a stack gives them.
    environment: BTreeMap<String, String>,
    /// The shortest session of a group's member that the broker takes; the embedded one waits about as long for a group to join again.
    session: Duration,
    /// Creates a topic with so many partitions: librdkafka's mock cluster does not know the request.
    create_topic: CreateTopic,
    /// What the names of everything that the calls create begin with.
    namespace: String,
}

impl Endpoints {
    /// A setting of the stack's environment.
    fn get(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }
}

/// The calls of one service.
type Calls = fn(&Runtime, &Endpoints) -> Result<Answers, String>;

fn main() -> ExitCode {
    fms_e2e::worker_or(tests)
}

/// Without a word from the one who runs the tests they need no Docker.
fn tests() -> ExitCode {
    let asked = harness::options().is_ok_and(|options| options.stack == Kind::Docker);
    if !asked {
        eprintln!(
            "the comparisons are ignored: they need the Docker stack, by nextest's profile `docker` or E2E_STACK=docker"
        );
    }
    let services: [(&str, Calls); 3] =
        [("dynamodb", |runtime, at| Ok(dynamodb::calls(runtime, at))), ("s3", s3::calls), ("kafka", kafka::calls)];
    let mut trials: Vec<Trial> = services
        .into_iter()
        .map(|(service, calls)| {
            let trial = Trial::test(format!("{service}_answers_alike"), move || parity(service, calls));
            trial.with_ignored_flag(!asked)
        })
        .collect();
    trials.push(Trial::test("the_comparison_finds_every_kind_of_difference", || Ok(answers::check_the_comparison()?)));
    trials.push(Trial::test("the_table_of_differences_is_of_these_services", move || {
        match table()?.keys().find(|named| services.iter().all(|(service, _)| service != named)) {
            Some(named) => Err(format!("differences.toml has a table {named}, which is no service").into()),
            None => Ok(()),
        }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Makes the calls of a service on both stacks and reports everything that is wrong between the answers.
fn parity(service: &str, calls: Calls) -> Result<(), Failed> {
    let real = real()?;
    let runtime = Runtime::new()?;
    let stack = Embedded::start()?;
    let environment = stack.environment();
    stack.set_session_timeout(SESSION, SESSION / 12)?;
    let create_topic =
        Box::new(move |topic: &str, count: i32| stack.create_topic(topic, count).map_err(|e| e.to_string()));
    let embedded = Endpoints { environment, session: SESSION, create_topic, namespace: namespace() };
    let known = table()?.remove(service).unwrap_or_default();
    let started = Instant::now();
    let embedded = calls(&runtime, &embedded)?;
    let embedded_time = started.elapsed();
    let started = Instant::now();
    let real = calls(&runtime, &real)?;
    println!(
        "{service}: {} calls, {} known differences, {embedded_time:.1?} embedded, {:.1?} real",
        real.count(),
        known.len(),
        started.elapsed()
    );
    let problems = compare(&embedded, &real, &known);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} answers:\n  {}", problems.len(), real.count(), problems.join("\n  ")).into())
}

/// The known differences, by service and call.
fn table() -> Result<BTreeMap<String, Known>, String> {
    toml::from_str(include_str!("differences.toml")).map_err(|error| format!("differences.toml: {error}"))
}

/// Short, of this run, and good for topics, tables and buckets alike.
fn namespace() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("e2e{}x{:07}-", std::process::id(), since.as_micros() % 10_000_000)
}

/// The real services: the containers that the run's tests share, with Kafka's own limit for messages.
fn real() -> Result<Endpoints, String> {
    let folder = fms_e2e::suite().docker_folder();
    let options =
        docker::Options { isolation: Isolation::Shared, keep: harness::kept(), whole_run: false, folder: &folder };
    let (stack, _) = docker::start(options).map_err(|error| error.to_string())?;
    let environment = stack.environment();
    let kafka = environment.get("KAFKA_BOOTSTRAP_SERVERS").cloned().unwrap_or_default();
    let create_topic = move |topic: &str, partitions: i32| {
        // The services are there for as long as this is.
        let _services = &stack;
        let action = |error: &dyn std::fmt::Display| format!("creating topic {topic} at {kafka}: {error}");
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &kafka).create().map_err(|error| action(&error))?;
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("max.message.bytes", "1048588");
        let runtime = Runtime::new().map_err(|error| action(&error))?;
        let created = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()));
        for created in created.map_err(|error| action(&error))? {
            created.map_err(|(_, code)| action(&code))?;
        }
        Ok(())
    };
    Ok(Endpoints { environment, session: SESSION, create_topic: Box::new(create_topic), namespace: namespace() })
}
