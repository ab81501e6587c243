//! One set of containers: Kafka, LocalStack and DynamoDB Local, started in parallel. A container is ready when its
//! service has answered a real call.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::http::uri::Authority;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::core::logs::LogFrame;
use testcontainers::core::{ContainerPort, ExecCommand, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, Image, ImageExt, TestcontainersError};
use testcontainers_modules::dynamodb_local::DynamoDb;
use testcontainers_modules::kafka::apache::KAFKA_PORT;
use testcontainers_modules::localstack::LocalStack;

use super::broker;
use super::engine::{self, LAST_LINES};
use super::images::{ContainerService, ImageName, PREFIX};
use crate::stack::StackError;
use crate::stack::remote::{self, Access, Endpoints};
use crate::upstream::Upstream;

/// How long a container may take from its start until its service answers.
const START_LIMIT: Duration = Duration::from_mins(2);

/// The interval between two requests to a service that is not ready yet.
const ASK: Duration = Duration::from_millis(50);

/// How long one such request may take.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// The exit status of LocalStack if it needs a token and has none.
const NO_TOKEN: i64 = 55;

const REGION: &str = "us-east-1";
/// The key for the services. DynamoDB Local accepts only letters and digits in it.
const ACCESS_KEY: &str = "e2e";
const SECRET_KEY: &str = "e2e";

/// A container that is ready.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Container {
    /// The service that runs in the container.
    pub service: ContainerService,
    /// The id of the container.
    pub id: String,
    /// The image, as `name:tag`.
    pub image: String,
    /// The address of the service for this machine, as `host:port`.
    pub address: String,
    /// How long it took to pull the image. It is zero if the image was present.
    pub pulled: Duration,
    /// The time from the creation of the container to the first answer of its service.
    pub started: Duration,
}

/// A set of containers that are ready.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Set {
    /// Its containers.
    pub containers: Vec<Container>,
    /// The time from the first step until every service has answered.
    pub ready: Duration,
}

impl Set {
    /// The endpoints of the services.
    pub(crate) fn endpoints(&self) -> Result<Endpoints, StackError> {
        endpoints(self.containers.iter().map(|container| (container.service, container.address.as_str())))
    }

    /// Whether the containers have the images that the environment variables ask for now.
    pub(super) fn is_wanted(&self) -> bool {
        self.containers.iter().all(|Container { service, image, .. }| {
            ImageName::of(*service, |name| std::env::var(name).ok()).is_ok_and(|wanted| wanted.full() == *image)
        })
    }

    /// Checks that all containers run. If one does not, the error shows the last lines of its log.
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

/// Starts all containers with these labels, and so many brokers. When one of them does not start, the others are ended.
pub(crate) async fn start(labels: &BTreeMap<String, String>, brokers: u8) -> Result<Set, StackError> {
    let begun = Instant::now();
    let docker = engine::client().await?;
    let containers = tokio::try_join!(
        cluster(&docker, labels, brokers),
        launch(&docker, ContainerService::LocalStack, 4566.tcp(), labels, localstack),
        launch(&docker, ContainerService::DynamoDb, 8000.tcp(), labels, dynamodb),
    );
    match containers {
        Ok((mut containers, localstack, dynamodb)) => {
            containers.extend([localstack, dynamodb]);
            Ok(Set { containers, ready: begun.elapsed() })
        }
        Err(error) => {
            // The reaper, which knows the labels too, ends the containers that cannot be ended now.
            for (name, value) in labels.iter().filter(|(name, _)| *name == super::SET) {
                let found = engine::labelled(&docker, &format!("{name}={value}")).await.unwrap_or_default();
                let _ = engine::remove(&docker, found.iter().map(|(id, _)| id.as_str())).await;
            }
            Err(error)
        }
    }
}

/// Starts the brokers of a cluster, the first of which is its controller and has to be there before the others.
async fn cluster(
    docker: &Docker,
    labels: &BTreeMap<String, String>,
    brokers: u8,
) -> Result<Vec<Container>, StackError> {
    let mut controller: Option<String> = None;
    let mut started = Vec::new();
    for number in 1..=brokers {
        let at = controller.clone();
        let prepare = move |image| broker::launch(image, number, at.as_deref());
        let container = launch(docker, ContainerService::Kafka, KAFKA_PORT, labels, prepare).await?;
        if number == 1 && brokers > 1 {
            let found = engine::address(docker, &container.id).await;
            let action = "looking for the address of the first broker, to which the second one connects";
            controller = Some(found.map_err(|problem| StackError::infrastructure(action, problem))?);
        }
        started.push(container);
    }
    Ok(started)
}

/// The endpoints of the services in these containers. Each container is given with its address `host:port`.
fn endpoints<'a>(containers: impl Iterator<Item = (ContainerService, &'a str)>) -> Result<Endpoints, StackError> {
    let access = Access::Key { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() };
    let mut endpoints = Endpoints { kafka: String::new(), services: Vec::new(), region: REGION.to_owned(), access };
    let mut brokers = Vec::new();
    for (container, address) in containers {
        if container == ContainerService::Kafka {
            brokers.push(address);
            continue;
        }
        let authority = Authority::try_from(address)
            .map_err(|error| StackError::infrastructure(format!("reading the address `{address}`"), error))?;
        let at = Upstream::http(authority);
        endpoints.services.extend(container.aws_services().map(|service| (service, at.clone())));
    }
    endpoints.kafka = brokers.join(",");
    Ok(endpoints)
}

/// How a service is started, and how it is asked whether it is ready.
pub(super) struct Launch<I: Image> {
    pub request: ContainerRequest<I>,
    /// The command to run in the container as soon as it has started. It depends on the container's address.
    pub after_start: Option<fn(&str) -> ExecCommand>,
    pub ready: Box<dyn Fn(Endpoints) -> Answer + Send + Sync>,
}

pub(super) type Answer = std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The module's own ready conditions are not used, because they end with a sleep of three seconds, here and for
/// DynamoDB Local.
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
            client.list_buckets().send().await.map(drop).map_err(|error| remote::with_causes(&error))
        })
    };
    Launch { request: request.with_mapped_port(0, 4566.tcp()), after_start: None, ready: Box::new(ready) }
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
            client.list_tables().send().await.map(drop).map_err(|error| remote::with_causes(&error))
        })
    };
    Launch { request: request.with_mapped_port(0, 8000.tcp()), after_start: None, ready: Box::new(ready) }
}

/// The last lines that a container printed. They are kept while it starts, because Testcontainers removes a container
/// that does not start.
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
    service: ContainerService,
    port: ContainerPort,
    labels: &BTreeMap<String, String>,
    prepare: impl FnOnce(ImageName) -> Launch<I>,
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
        // A container that has already ended has no port any more.
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
    // The container has to outlive this value. The set or the reaper ends it.
    std::mem::forget(container);
    Ok(Container { service, id, image, address, pulled, started: begun.elapsed() })
}

/// Waits until the service answers, its container ends, or the deadline passes. The error comes with the exit status,
/// if there is one.
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

/// The host at which the ports of containers are reached. It is this machine unless `DOCKER_HOST` names another one.
fn engine_host() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let remote = ["tcp://", "http://", "https://"].iter().find_map(|scheme| host.strip_prefix(scheme));
    let name = remote.map(|rest| rest.split(['/', ':']).next().unwrap_or(rest));
    name.filter(|name| !name.is_empty() && *name != "localhost").unwrap_or("127.0.0.1").to_owned()
}

fn pull_failed(service: ContainerService, image: &str, error: &TestcontainersError) -> StackError {
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
    service: ContainerService,
    image: &str,
    port: ContainerPort,
    problem: &str,
    code: Option<i64>,
    log: &str,
) -> StackError {
    let advice = match (service, code) {
        (ContainerService::LocalStack, Some(NO_TOKEN)) => {
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
