//! The embedded services answer as the real ones do: the real client libraries make the same calls to both, and each
//! answer is compared.
//!
//! Each service has a list of calls. Whatever differs by design (ids, dates, names of the run) is left out of the
//! answers. Every other difference is listed in `differences.toml` with its reason. A test fails if a difference is not
//! listed, or if a listed one is gone.

mod answers;
mod dynamodb;
mod events;
mod glue;
mod kafka;
mod s3;
mod sqs;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use e2e::internals::{self, Embedded, Resources, Stack, docker};
use e2e::{Options, StackKind};
use libtest_mimic::{Arguments, Failed, Trial};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::runtime::Runtime;

use self::answers::{Answers, Known, compare};

/// The session timeout of the group members. In a rebalance, the embedded broker waits about as long for the members.
const SESSION: Duration = Duration::from_millis(1200);

type CreateTopic = Box<dyn Fn(&str, i32) -> Result<(), String>>;

/// The services of one stack, with a namespace for one list of calls.
pub struct Endpoints {
    /// The variables that the stack gives a subject: `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL_S3` and so on.
    environment: BTreeMap<String, String>,
    /// The session timeout of the group members.
    session: Duration,
    /// Creates a topic with this number of partitions. Each stack has its own way, because librdkafka's mock cluster
    /// has no request for it.
    create_topic: CreateTopic,
    /// The prefix of all names that the calls create.
    namespace: String,
}

impl Endpoints {
    /// A variable of the stack's environment; empty if there is none.
    fn get(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }
}

/// Makes the calls of one service and returns the answers.
type Calls = fn(&Runtime, &Endpoints) -> Result<Answers, String>;

fn main() -> ExitCode {
    fms_e2e::worker_or(tests)
}

/// The comparisons are ignored unless the Docker stack was asked for; the other tests always run.
fn tests() -> ExitCode {
    let asked = internals::options().is_ok_and(|options| options.stack == StackKind::Docker);
    if !asked {
        eprintln!(
            "the comparisons are ignored: they need the Docker stack; use nextest's profile `docker` or set E2E_STACK=docker"
        );
    }
    let services: [(&str, Calls); 4] = [
        ("dynamodb", |runtime, at| Ok(dynamodb::calls(runtime, at))),
        ("s3", s3::calls),
        ("sqs", sqs::calls),
        ("kafka", kafka::calls),
    ];
    let mut trials: Vec<Trial> = services
        .into_iter()
        .map(|(service, calls)| {
            let trial = Trial::test(format!("{service}_answers_alike"), move || parity(service, calls));
            trial.with_ignored_flag(!asked)
        })
        .collect();
    let alike = Trial::test("queues_events_and_the_catalog_are_observed_alike", queues_and_events);
    trials.push(alike.with_ignored_flag(!asked));
    trials.push(Trial::test("glue_answers_alike", catalogs).with_ignored_flag(!asked));
    trials.push(Trial::test("the_comparison_finds_every_kind_of_difference", || Ok(answers::check_the_comparison()?)));
    trials.push(Trial::test("the_table_of_differences_is_of_these_services", move || {
        let services: Vec<&str> = services.iter().map(|(service, _)| *service).chain(["glue"]).collect();
        match table()?.keys().find(|named| !services.contains(&named.as_str())) {
            Some(named) => Err(format!("differences.toml has a table {named}, which is no service").into()),
            None => Ok(()),
        }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Makes the calls of a service on both stacks and reports every difference that is not listed, and every listed one
/// that is gone.
fn parity(service: &str, calls: Calls) -> Result<(), Failed> {
    let real = real()?;
    let runtime = Runtime::new()?;
    let stack = Embedded::start()?;
    let environment = stack.environment();
    stack.set_session_timeout(SESSION, SESSION / 12)?;
    let create_topic = Box::new(move |topic: &str, count: i32| {
        stack.provide(&Resources::topic(topic, count)).map_err(|e| e.to_string())
    });
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
    verdict(&embedded, &real, &known)
}

/// An error that tells every difference that is not listed, and every listed one that is gone.
fn verdict(embedded: &Answers, real: &Answers, known: &Known) -> Result<(), Failed> {
    let problems = compare(embedded, real, known);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} answers:\n  {}", problems.len(), real.count(), problems.join("\n  ")).into())
}

/// Compares the embedded Glue with moto's, as LocalStack's free image has none.
fn catalogs() -> Result<(), Failed> {
    let runtime = Runtime::new()?;
    let stack = Embedded::start()?;
    let embedded = glue::calls(&runtime, stack.environment().get("AWS_ENDPOINT_URL_GLUE").map_or("", String::as_str))?;
    let moto = glue::Moto::start()?;
    let real = glue::calls(&runtime, &moto.endpoint)?;
    let known = table()?.remove("glue").unwrap_or_default();
    println!("glue: {} calls, {} known differences", real.count(), known.len());
    verdict(&embedded, &real, &known)
}

/// Compares what both stacks let a test observe of queues, of the events that fill them and of the catalog.
fn queues_and_events() -> Result<(), Failed> {
    let real = containers()?;
    let embedded = events::observed(&Embedded::start()?)?;
    let real = events::observed(real.as_ref())?;
    if embedded == real { Ok(()) } else { Err(format!("embedded: {embedded:#?}\nreal: {real:#?}").into()) }
}

/// The listed differences, by service and call.
fn table() -> Result<BTreeMap<String, Known>, String> {
    toml::from_str(include_str!("differences.toml")).map_err(|error| format!("differences.toml: {error}"))
}

/// A short prefix that no other run has, and that the names of topics, tables and buckets may all begin with.
fn namespace() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("e2e{}x{:07}-", std::process::id(), since.as_micros() % 10_000_000)
}

/// The containers that the tests of the run share.
fn containers() -> Result<Box<dyn Stack>, String> {
    let options = Options { keep: internals::kept(), ..Options::default() };
    let started = docker::start(&options, &fms_e2e::suite().docker_folder());
    started.map(|(stack, _)| stack).map_err(|error| error.to_string())
}

/// The real services, which are the containers that the tests of the run share. Topics get Kafka's default limit for
/// messages.
fn real() -> Result<Endpoints, String> {
    let stack = containers()?;
    let environment = stack.environment();
    let kafka = environment.get("KAFKA_BOOTSTRAP_SERVERS").cloned().unwrap_or_default();
    let create_topic = move |topic: &str, partitions: i32| {
        // The services live as long as the stack, so this closure keeps it.
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
