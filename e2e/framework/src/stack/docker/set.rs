//! One set of containers: Kafka, LocalStack and DynamoDB Local, started in parallel, each ready when it has answered a real call.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::http::uri::Authority;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::core::logs::LogFrame;
use testcontainers::core::{CmdWaitFor, ContainerPort, ExecCommand, IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, Image, ImageExt, TestcontainersError};
use testcontainers_modules::dynamodb_local::DynamoDb;
use testcontainers_modules::kafka::apache::{KAFKA_PORT, Kafka};
use testcontainers_modules::localstack::LocalStack;

use super::engine::{self, LAST_LINES};
use super::images::{ImageName, PREFIX, Service};
use crate::stack::StackError;
use crate::stack::remote::{self, Access, Endpoints};
use crate::upstream::Upstream;

/// How long a container may take from its start until it answers.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How often a container that is not ready yet is asked again.
const ASK: Duration = Duration::from_millis(50);

/// How long one such question may take.
const ANSWER: Duration = Duration::from_secs(2);

/// What LocalStack exits with when it needs a token and has none.
const NO_TOKEN: i64 = 55;

const REGION: &str = "us-east-1";
/// DynamoDB Local takes letters and digits only.
const ACCESS_KEY: &str = "e2e";
const SECRET_KEY: &str = "e2e";

/// What the broker is told beyond the module's settings. Its own defaults vanish as soon as one variable is set.
const KAFKA: [(&str, &str); 16] = [
    // A group's first assignment is made at once, not after three seconds in which more members may come.
    ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    // There is one broker.
    ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
    ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
    ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
    // Fifty partitions each, by default, for a handful of groups.
    ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4"),
    ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4"),
    // Members that were killed have to be missed soon.
    ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "100"),
    ("KAFKA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS", "100"),
    ("KAFKA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS", "50"),
    // Those of the protocol `consumer` (KIP-848) do not say themselves how long they may be missed.
    ("KAFKA_GROUP_CONSUMER_SESSION_TIMEOUT_MS", "3000"),
    ("KAFKA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS", "300"),
    ("KAFKA_MESSAGE_MAX_BYTES", "5242880"),
    // A mistyped name has to be an error.
    ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
    // Short-lived: what the compiler saves later it costs now.
    ("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m"),
    ("KAFKA_JVM_PERFORMANCE_OPTS", "-server -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true"),
];

/// A container that is ready.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Container {
    /// What runs in it.
    pub service: Service,
    /// Its id.
    pub id: String,
    /// `name:tag`.
    pub image: String,
    /// `host:port` from here.
    pub address: String,
    /// How long its image was pulled; zero if it was there.
    pub pulled: Duration,
    /// From its creation to its first answer.
    pub started: Duration,
}

/// A set that is ready.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Set {
    /// Its containers.
    pub containers: Vec<Container>,
    /// From the first step to the last answer.
    pub ready: Duration,
}

impl Set {
    /// Where the services are.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, StackError> {
        endpoints(self.containers.iter().map(|container| (container.service, container.address.as_str())))
    }

    /// Whether these are the images that the environment asks for now.
    pub(super) fn is_wanted(&self) -> bool {
        self.containers.iter().all(|Container { service, image, .. }| {
            ImageName::of(*service, |name| std::env::var(name).ok()).is_ok_and(|wanted| wanted.full() == *image)
        })
    }

    /// Whether all containers run; else what the one that does not said last.
    pub async fn health(&self) -> Result<(), StackError> {
        let docker = engine::client().await?;
        for Container { service, id, image, address, .. } in &self.containers {
            let action = format!("running {} ({image}) at {address}", service.name());
            let state = match docker.inspect_container(id, None).await {
                Ok(found) => found.state.unwrap_or_default(),
                Err(error) => {
                    return Err(StackError::infrastructure(action, format!("the container is gone: {error}")));
                }
            };
            if state.running != Some(true) {
                let log = engine::last_lines(&docker, id).await;
                let code = state.exit_code.unwrap_or_default();
                return Err(StackError::infrastructure(
                    action,
                    format!("it ended with {code}; its last lines:\n{log}"),
                ));
            }
        }
        Ok(())
    }

    /// Ends all containers.
    pub async fn end(&self) -> Result<(), StackError> {
        let docker = engine::client().await?;
        let ids = self.containers.iter().map(|container| container.id.as_str());
        engine::remove(&docker, ids).await.map_err(|error| StackError::infrastructure("ending containers", error))
    }
}

/// Starts all containers with these labels. When one of them does not start, the others are ended.
pub async fn start(labels: &BTreeMap<String, String>) -> Result<Set, StackError> {
    let begun = Instant::now();
    let docker = engine::client().await?;
    let containers = tokio::try_join!(
        launch(&docker, Service::Kafka, KAFKA_PORT, labels, kafka),
        launch(&docker, Service::LocalStack, 4566.tcp(), labels, localstack),
        launch(&docker, Service::DynamoDb, 8000.tcp(), labels, dynamodb),
    );
    match containers {
        Ok((kafka, localstack, dynamodb)) => {
            Ok(Set { containers: vec![kafka, localstack, dynamodb], ready: begun.elapsed() })
        }
        Err(error) => {
            // What cannot be ended now is ended by the reaper, which knows the labels too.
            for (name, value) in labels.iter().filter(|(name, _)| *name == super::SET) {
                let found = engine::labelled(&docker, &format!("{name}={value}")).await.unwrap_or_default();
                let _ = engine::remove(&docker, found.iter().map(|(id, _)| id.as_str())).await;
            }
            Err(error)
        }
    }
}

/// Where the services of these containers are, each given with its address `host:port`.
fn endpoints<'a>(containers: impl Iterator<Item = (Service, &'a str)>) -> Result<Endpoints, StackError> {
    let access = Access::Key { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() };
    let mut endpoints = Endpoints { kafka: String::new(), services: Vec::new(), region: REGION.to_owned(), access };
    for (container, address) in containers {
        if container == Service::Kafka {
            address.clone_into(&mut endpoints.kafka);
            continue;
        }
        let authority = Authority::try_from(address)
            .map_err(|error| StackError::infrastructure(format!("reading the address `{address}`"), error))?;
        let at = Upstream::http(authority);
        endpoints.services.extend(container.aws_services().map(|service| (service, at.clone())));
    }
    Ok(endpoints)
}

/// The module's broker without what the module does after its start: it takes the port of the host from testcontainers, which finds none of
/// Podman 4's, and advertises 127.0.0.1, where a remote engine is not.
#[derive(Debug)]
struct Broker(Kafka);

impl Image for Broker {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn tag(&self) -> &str {
        self.0.tag()
    }

    fn ready_conditions(&self) -> Vec<WaitFor> {
        self.0.ready_conditions()
    }

    fn entrypoint(&self) -> Option<&str> {
        self.0.entrypoint()
    }

    fn env_vars(&self) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        self.0.env_vars()
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        self.0.cmd()
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        self.0.expose_ports()
    }
}

/// What says that the broker's start script is there.
const WRITTEN: &str = "start script written";

/// Writes the script that the broker's container waits for: only now is it known where the broker is reached from here.
fn start_broker(address: &str) -> ExecCommand {
    let script = "/opt/kafka/testcontainers_start.sh";
    let listeners = format!("PLAINTEXT://{address},BROKER://localhost:9093");
    // Written beside and renamed, so that it is never run half.
    let write = format!(
        "exec 2>&1; \
         printf '#!/usr/bin/env bash\\nexport KAFKA_ADVERTISED_LISTENERS={listeners}\\nexec /etc/kafka/docker/run\\n' > {script}.new && \
         mv {script}.new {script} && echo {WRITTEN}"
    );
    // An image that has no place for it would wait for it until the time is up.
    ExecCommand::new(["sh", "-c", write.as_str()]).with_cmd_ready_condition(CmdWaitFor::message_on_stdout(WRITTEN))
}

/// What starts a service, and how it is asked whether it is ready.
struct Launch<I: Image> {
    request: ContainerRequest<I>,
    /// What is run in its container at this address as soon as it has started.
    after_start: Option<fn(&str) -> ExecCommand>,
    ready: fn(Endpoints) -> Answer,
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

fn kafka(image: ImageName) -> Launch<Broker> {
    let mut request = Broker(Kafka::default().with_jvm_image()).with_name(image.name).with_tag(image.tag);
    for (name, value) in KAFKA {
        request = request.with_env_var(name, value);
    }
    Launch {
        request: request.with_mapped_port(0, KAFKA_PORT),
        after_start: Some(start_broker),
        ready: |endpoints| Box::pin(kafka_answers(endpoints)),
    }
}

async fn kafka_answers(endpoints: Endpoints) -> Result<(), String> {
    let ask = move || {
        let client: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &endpoints.kafka)
            .create()
            .map_err(|error| error.to_string())?;
        let metadata = client.client().fetch_metadata(None, ANSWER).map_err(|error| error.to_string())?;
        if metadata.brokers().is_empty() { Err("the cluster has no broker yet".to_owned()) } else { Ok(()) }
    };
    tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?
}

/// The module's own conditions would end in a sleep of three seconds, here and for DynamoDB Local.
fn localstack(image: ImageName) -> Launch<LocalStack> {
    let mut request = LocalStack::default()
        .with_name(image.name)
        .with_tag(image.tag)
        .with_ready_conditions(Vec::new())
        .with_env_var("SERVICES", "s3,sqs")
        .with_env_var("EAGER_SERVICE_LOADING", "1")
        .with_env_var("DISABLE_EVENTS", "1")
        .with_env_var("SKIP_SSL_CERT_DOWNLOAD", "1");
    if let Ok(token) = std::env::var("LOCALSTACK_AUTH_TOKEN") {
        request = request.with_env_var("LOCALSTACK_AUTH_TOKEN", token);
    }
    let ready = |endpoints: Endpoints| -> Answer {
        Box::pin(async move {
            let client = remote::s3(&endpoints).map_err(|error| error.to_string())?;
            client.list_buckets().send().await.map(drop).map_err(|error| remote::words(&error))
        })
    };
    Launch { request: request.with_mapped_port(0, 4566.tcp()), after_start: None, ready }
}

fn dynamodb(image: ImageName) -> Launch<DynamoDb> {
    let request =
        DynamoDb::default().with_name(image.name).with_tag(image.tag).with_ready_conditions(Vec::new()).with_cmd([
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-jar",
            "DynamoDBLocal.jar",
            "-inMemory",
        ]);
    let ready = |endpoints: Endpoints| -> Answer {
        Box::pin(async move {
            let client = remote::dynamodb(&endpoints).map_err(|error| error.to_string())?;
            client.list_tables().send().await.map(drop).map_err(|error| remote::words(&error))
        })
    };
    Launch { request: request.with_mapped_port(0, 8000.tcp()), after_start: None, ready }
}

/// The last lines that a container printed, kept while it starts: Testcontainers removes one that does not start.
type Printed = Arc<Mutex<VecDeque<String>>>;

fn follow(printed: &Printed) -> impl Fn(&LogFrame) + Send + Sync + 'static {
    let printed = Arc::clone(printed);
    move |frame| {
        let mut lines = printed.lock().unwrap_or_else(PoisonError::into_inner);
        for line in String::from_utf8_lossy(frame.bytes()).lines() {
            lines.push_back(line.to_owned());
            if lines.len() > LAST_LINES {
                lines.pop_front();
            }
        }
    }
}

fn lines(printed: &Printed) -> String {
    let lines = printed.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.is_empty() {
        return engine::NOTHING.to_owned();
    }
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

async fn launch<I: Image>(
    docker: &Docker,
    service: Service,
    port: ContainerPort,
    labels: &BTreeMap<String, String>,
    prepare: fn(ImageName) -> Launch<I>,
) -> Result<Container, StackError> {
    let name = ImageName::of(service, |name| std::env::var(name).ok())?;
    let image = name.full();
    let Launch { request, after_start, ready } = prepare(name);

    let begun = Instant::now();
    let missing =
        matches!(docker.inspect_image(&image).await, Err(Error::DockerResponseServerError { status_code: 404, .. }));
    let request = if missing {
        request.pull_image().await.map_err(|error| pull_failed(service, &image, &error))?
    } else {
        request
    };
    let pulled = if missing { begun.elapsed() } else { Duration::ZERO };

    let begun = Instant::now();
    let printed = Printed::default();
    let request = request.with_labels(labels).with_startup_timeout(START_LIMIT).with_log_consumer(follow(&printed));
    let failed =
        |problem: String, code: Option<i64>, log: &str| start_failed(service, &image, port, &problem, code, log);
    let container = match request.start().await {
        Ok(container) => container,
        Err(error) => return Err(failed(error.to_string(), None, &lines(&printed))),
    };
    let id = container.id().to_owned();
    let published = match engine::published(docker, &id, port).await {
        Ok(port) => port,
        // One that has ended already has no port any more.
        Err(problem) => {
            let code = container.exit_code().await.ok().flatten();
            return Err(failed(code.map_or(problem, ended), code, &engine::last_lines(docker, &id).await));
        }
    };
    let address = format!("{}:{published}", engine_host());
    if let Some(command) = after_start {
        let run = tokio::time::timeout_at((begun + START_LIMIT).into(), container.exec(command(&address))).await;
        if let Err(problem) =
            run.map_err(|late| late.to_string()).and_then(|run| run.map_err(|error| error.to_string()))
        {
            return Err(failed(problem, None, &engine::last_lines(docker, &id).await));
        }
    }
    let at = endpoints(std::iter::once((service, address.as_str())))?;
    if let Err((problem, code)) = await_answer(&container, begun + START_LIMIT, || ready(at.clone())).await {
        return Err(failed(problem, code, &engine::last_lines(docker, &id).await));
    }
    // It outlives this value: its set ends it, or the reaper.
    std::mem::forget(container);
    Ok(Container { service, id, image, address, pulled, started: begun.elapsed() })
}

/// Waits until the service answers, its container ends, or the deadline passes. The error comes with the exit status, if there is one.
async fn await_answer<I: Image>(
    container: &ContainerAsync<I>,
    deadline: Instant,
    ask: impl Fn() -> Answer,
) -> Result<(), (String, Option<i64>)> {
    loop {
        let answer = tokio::time::timeout(2 * ANSWER, ask()).await.unwrap_or_else(|_| Err("no answer".to_owned()));
        let Err(problem) = answer else { return Ok(()) };
        match container.exit_code().await {
            Ok(Some(code)) => return Err((ended(code), Some(code))),
            Ok(None) => {}
            Err(error) => return Err((format!("the container is gone: {error}"), None)),
        }
        if Instant::now() > deadline {
            return Err((format!("no answer after {} s: {problem}", START_LIMIT.as_secs()), None));
        }
        tokio::time::sleep(ASK).await;
    }
}

fn ended(code: i64) -> String {
    format!("it ended with exit status {code}")
}

/// Where ports of the engine's containers are reached: this machine, unless `DOCKER_HOST` names another.
fn engine_host() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let remote = ["tcp://", "http://", "https://"].iter().find_map(|scheme| host.strip_prefix(scheme));
    let name = remote.map(|rest| rest.split(['/', ':']).next().unwrap_or(rest));
    name.filter(|name| !name.is_empty() && *name != "localhost").unwrap_or("127.0.0.1").to_owned()
}

fn pull_failed(service: Service, image: &str, error: &TestcontainersError) -> StackError {
    let text = error.to_string();
    let advice = if text.contains("toomanyrequests") || text.contains("429") {
        format!("the registry limits pulls: log in (`docker login`), or name a mirror in {PREFIX}")
    } else {
        format!(
            "see to the registry being reachable, or name another image in {}, or a mirror in {PREFIX}",
            service.variable()
        )
    };
    StackError::infrastructure(format!("pulling {image} for {}", service.name()), format!("{text}; {advice}"))
}

fn start_failed(
    service: Service,
    image: &str,
    port: ContainerPort,
    problem: &str,
    code: Option<i64>,
    log: &str,
) -> StackError {
    let advice = match (service, code) {
        (Service::LocalStack, Some(NO_TOKEN)) => {
            "LocalStack's images need a token from 2026-03 on: set LOCALSTACK_AUTH_TOKEN, or use the last one that does not, \
             localstack/localstack:4.14.0, in E2E_LOCALSTACK_IMAGE"
                .to_owned()
        }
        _ => format!("try `docker run --rm {image}`, more memory for the engine, or another image in {}", service.variable()),
    };
    StackError::infrastructure(
        format!("starting {} ({image}, port {port})", service.name()),
        format!("{problem}; its last lines:\n{log}\n{advice}"),
    )
}
