//! A run leaves no container behind, however it ends, and a failure of a container is never reported as a failure of
//! the pipeline.
//!
//! Each run is a separate process: the real runner, or a script that stands in for nextest and gives its test processes
//! the same variables as nextest does. A pipeline that does nothing but wait keeps a case in the middle of its run.
//! nextest's profile `docker` runs these tests. The test of dead letters that are too large for their topic is here
//! too, because only a real broker refuses them.

mod letters;
mod runs;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use e2e::internals::docker::{ContainerService, Process, Set, runtime, start_set};
use e2e::{Isolation, Options, Program, Suite, harness};
use libtest_mimic::{Arguments, Failed, Trial};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer};

use self::runs::{CASE, Place, SUBJECT, docker, kill_process, labelled, wait_until};

/// How long it may take until the containers of a killed test are gone.
const SOON: Duration = Duration::from_secs(10);

/// How long a service of a set may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// The number of containers in a set.
const SET: usize = 3;

fn main() -> ExitCode {
    fms_e2e::worker_or(|| match std::env::var(SUBJECT) {
        Ok(command) => harness::main_of(&Suite { program: Program::Shell(command), ..fms_e2e::suite() }),
        Err(_) => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    })
}

fn trials() -> Vec<Trial> {
    vec![
        Trial::test("nothing_is_left_of_a_runner_that_is_killed_in_mid_run", || killed_in_mid_run(false)),
        Trial::test("nothing_is_left_if_the_target_folder_is_emptied_as_well", || killed_in_mid_run(true)),
        Trial::test("nothing_is_left_of_a_runner_that_is_killed_while_the_set_starts", killed_while_starting),
        Trial::test("nothing_but_evidence_is_left_after_ctrl_c", interrupted),
        Trial::test("nothing_is_left_of_nextest_that_is_killed", nextest_killed),
        Trial::test("containers_of_a_test_that_is_killed_end_and_those_of_others_stay", test_killed),
        Trial::test("a_kept_set_serves_the_next_run_and_ends_with_one_that_does_not_keep_it", kept),
        Trial::test("a_kept_set_of_other_images_is_not_used_and_ends", kept_of_other_images),
        Trial::test("an_image_that_wants_a_token_is_explained", token_wanted),
        Trial::test("an_image_that_has_no_broker_is_named_at_once", no_broker),
        Trial::test("an_image_that_cannot_be_pulled_is_named", not_pulled),
        Trial::test("the_native_kafka_image_is_refused", native_image),
        Trial::test("without_an_engine_one_line_says_what_to_do", no_engine),
        Trial::test("a_container_that_dies_is_not_the_pipelines_fault", container_dies),
        Trial::test("a_set_starts_in_parallel_and_the_broker_has_its_settings", set_starts),
        Trial::test("a_dead_letter_larger_than_its_topic_takes_arrives_with_what_fits", large_letters),
        Trial::test("a_test_takes_away_what_it_has_made_on_a_shared_set", namespace_is_cleaned),
        Trial::test("the_broker_of_one_pipeline_is_disturbed_and_holds_its_commits", disturbed_broker),
    ]
}

fn killed_in_mid_run(clean: bool) -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.start(place.holding_runner()?)?;
    place.until_held(&mut run, 1)?;
    expect_eq("containers in mid-run", run.containers()?.len(), SET)?;
    if clean {
        std::fs::remove_dir_all(place.path("e2e"))?;
    }
    run.kill()?;
    Ok(place.nothing_is_left(&run)?)
}

fn killed_while_starting() -> Result<(), Failed> {
    for containers in 0..=SET {
        let place = Place::new()?;
        let mut run = place.start(place.holding_runner()?)?;
        wait_until(&format!("{containers} containers that start"), ANSWER, || {
            let found = run.containers()?.len();
            let joined = run.file("users").exists();
            if joined && found >= containers { Ok(()) } else { Err(format!("{found}; {}", run.output())) }
        })?;
        run.kill()?;
        place.nothing_is_left(&run)?;
    }
    Ok(())
}

fn interrupted() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.start(place.holding_runner()?)?;
    place.until_held(&mut run, 1)?;
    run.interrupt()?;
    let (status, output) = run.end()?;
    expect_eq("exit status after SIGINT", status, Some(128 + 2))?;
    let evidence = place.path("e2e").join(CASE.replace("::", "/") + "@docker");
    if !evidence.is_dir() {
        return Err(format!("no evidence in {}: {output}", evidence.display()).into());
    }
    Ok(place.nothing_is_left(&run)?)
}

fn nextest_killed() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.nextest("shared", &[CASE, "vehicle-tire::report"])?;
    place.until_held(&mut run, 2)?;
    expect_eq("containers of two tests that share them", run.containers()?.len(), SET)?;
    run.kill()?;
    Ok(place.nothing_is_left(&run)?)
}

fn test_killed() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.nextest("per-test", &[CASE, "vehicle-tire::report"])?;
    let tests = place.until_held(&mut run, 2)?;
    let of = |test: Process| labelled(&format!("e2e.owner={test}"));
    let (killed, other) = (tests[0].0, tests[1].0);
    let stay = of(other)?;
    expect_eq("containers of the one and the other", (of(killed)?.len(), stay.len()), (SET, SET))?;
    kill_process(killed)?;
    wait_until("its containers gone", SOON, || match of(killed)? {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })?;
    expect_eq("containers of the other one", of(other)?, stay.clone())?;
    let running = docker(&[&["inspect", "--format", "{{.State.Running}}"], &*strs(&stay)].concat())?;
    expect_eq("whether they run", running, vec!["true".to_owned(); SET])?;
    run.kill()?;
    Ok(place.nothing_is_left(&run)?)
}

fn disturbed_broker() -> Result<(), Failed> {
    const SCHEDULES: [&str; 5] = [
        "broker-down",
        "commit-lost",
        "leader-change",
        "killed:kafka.OffsetCommit:1:before",
        "killed:kafka.OffsetCommit:1:after",
    ];
    let place = Place::new()?;
    let mut run = place.start(place.runner(&["--json", "--schedule", &SCHEDULES.join(",")]))?;
    let (status, output) = run.end()?;
    expect_eq("exit status", status, Some(0)).map_err(|problem| format!("{problem}: {output}"))?;
    let json = output.lines().find(|line| line.starts_with('{')).ok_or_else(|| format!("no JSON: {output}"))?;
    let found: serde_json::Value = serde_json::from_str(json)?;
    let of = |name: &str| found[name].as_u64().unwrap_or_default();
    expect_eq("runs that passed, and those that were not disturbed", (of("passed"), of("undisturbed")), (5, 0))
        .map_err(|problem| format!("{problem}: {output}"))?;
    Ok(place.nothing_is_left(&run)?)
}

fn kept() -> Result<(), Failed> {
    let place = Place::new()?;
    // The case fails, because `false` is no pipeline. Only its containers matter here.
    let run = |arguments: &[&str]| {
        let begun = Instant::now();
        let mut run = place.start(place.runner(&[&["--subject", "false"], arguments].concat()))?;
        let (status, output) = run.end()?;
        let took = begun.elapsed();
        if status == Some(1) { Ok((run, took)) } else { Err(format!("ended with {status:?}: {output}")) }
    };
    let (first, starting) = run(&["--keep"])?;
    let started = sorted(first.containers()?);
    expect_eq("containers that are kept", started.len(), SET)?;
    let (second, taken_over) = run(&["--keep"])?;
    expect_eq("containers after the second run", sorted(first.containers()?), started)?;
    expect_eq("containers that the second run has started", second.containers()?, Vec::new())?;
    if taken_over > starting / 2 {
        return Err(format!("a run took {starting:?}, and {taken_over:?} with containers that were there").into());
    }
    let (last, _) = run(&[])?;
    place.nothing_is_left(&last)?;
    Ok(place.nothing_is_left(&first)?)
}

fn kept_of_other_images() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut first = place.start(place.runner(&["--subject", "false", "--keep"]))?;
    first.end()?;
    expect_eq("containers that are kept", first.containers()?.len(), SET)?;
    let mut command = place.runner(&["--keep"]);
    command.env("E2E_KAFKA_IMAGE", "localhost:1/none:1");
    let mut second = place.start(command)?;
    let (status, output) = second.end()?;
    expect_eq("exit status", status, Some(3)).map_err(|problem| format!("{problem}: {output}"))?;
    place.nothing_is_left(&second)?;
    Ok(place.nothing_is_left(&first)?)
}

fn token_wanted() -> Result<(), Failed> {
    let image = Image::of("echo License activation failed; exit 55")?;
    fails_to_start(
        &[("E2E_LOCALSTACK_IMAGE", &image.0)],
        &[&image.0, "License activation failed", "LOCALSTACK_AUTH_TOKEN", "localstack/localstack:4.14.0"],
    )
}

/// The image lacks the folder for the script that the broker's container waits for.
fn no_broker() -> Result<(), Failed> {
    let image = Image::of("exit")?;
    fails_to_start(
        &[("E2E_KAFKA_IMAGE", &image.0)],
        &[&image.0, "starting Kafka", "/opt/kafka/testcontainers_start.sh", "E2E_KAFKA_IMAGE"],
    )
}

fn not_pulled() -> Result<(), Failed> {
    let image = "localhost:1/none:1";
    fails_to_start(&[("E2E_KAFKA_IMAGE", image)], &[image, "pulling", "E2E_KAFKA_IMAGE"])
}

fn native_image() -> Result<(), Failed> {
    let image = "apache/kafka-native:4.3.1";
    fails_to_start(&[("E2E_KAFKA_IMAGE", image)], &[image, "apache/kafka:4.3.1"])
}

/// Checks a run whose services do not start: it reports the failure once, ends with status 3 and leaves nothing behind.
fn fails_to_start(environment: &[(&str, &str)], says: &[&str]) -> Result<(), Failed> {
    let place = Place::new()?;
    let mut command = place.runner(&[]);
    command.envs(environment.iter().copied());
    let mut run = place.start(command)?;
    let (status, output) = run.end()?;
    expect_eq("exit status", status, Some(3)).map_err(|problem| format!("{problem}: {output}"))?;
    expect_says(&output, says)?;
    expect_eq("how often it is said", output.matches("infrastructure, not the pipeline").count(), 1)?;
    Ok(place.nothing_is_left(&run)?)
}

fn no_engine() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut command = place.runner(&[]);
    command.env("DOCKER_HOST", "unix:///nowhere.sock");
    let (status, output) = place.start(command)?.end()?;
    expect_eq("exit status", status, Some(2)).map_err(|problem| format!("{problem}: {output}"))?;
    expect_eq("lines", output.lines().count(), 1).map_err(|problem| format!("{problem}: {output}"))?;
    Ok(expect_says(&output, &["Docker engine", "unix:///nowhere.sock", "DOCKER_HOST", "start Docker", "embedded"])?)
}

fn container_dies() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.start(place.holding_runner()?)?;
    place.until_held(&mut run, 1)?;
    let set = place.lease(&run.id)?;
    let dynamodb =
        set.containers.iter().find(|container| container.service == ContainerService::DynamoDb).ok_or("no DynamoDB")?;
    docker(&["kill", &dynamodb.id])?;
    let log = docker(&["logs", "--tail", "1", &dynamodb.id])?.concat();
    place.release()?;
    let (status, output) = run.end()?;
    expect_eq("exit status", status, Some(3)).map_err(|problem| format!("{problem}: {output}"))?;
    let says = ["infrastructure, not the pipeline", "DynamoDB Local", "it ended with 137", log.trim()];
    expect_says(&output, &says)?;
    let report = std::fs::read_to_string(place.path("e2e/report.html"))?;
    expect_says(&report, &says)?;
    Ok(place.nothing_is_left(&run)?)
}

fn set_starts() -> Result<(), Failed> {
    let place = Place::new()?;
    let folder = place.path("docker");
    let options = Options { isolation: Isolation::PerTest, whole_run: true, ..Options::default() };
    let set = start_set(&options, &folder)?;
    let slowest = set.containers.iter().map(|container| container.started).max().unwrap_or_default();
    if set.ready > slowest.mul_f64(1.5) {
        return Err(format!("the slowest took {slowest:?}, all together {:?}", set.ready).into());
    }

    let client = ClientConfig::new().set("bootstrap.servers", address(&set, ContainerService::Kafka)?).clone();
    let producer: BaseProducer = client.create()?;
    let broker = producer.client().fetch_metadata(None, ANSWER)?.brokers().first().ok_or("no broker")?.id();
    let admin: AdminClient<DefaultClientContext> = client.create()?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let resource = [ResourceSpecifier::Broker(broker)];
    let found = runtime()?.block_on(admin.describe_configs(&resource, &options))?;
    let settings = found.into_iter().next().ok_or("no settings")??;
    for (name, value) in [("group.initial.rebalance.delay.ms", "0"), ("transaction.state.log.replication.factor", "1")]
    {
        let found = settings.get(name).and_then(|entry| entry.value.as_deref());
        expect_eq(name, found, Some(value))?;
    }
    Ok(runtime()?.block_on(set.end())?)
}

fn large_letters() -> Result<(), Failed> {
    let place = Place::new()?;
    let folder = place.path("docker");
    let options = Options { isolation: Isolation::PerTest, whole_run: true, ..Options::default() };
    let set = start_set(&options, &folder)?;
    letters::arrive_with_what_fits(address(&set, ContainerService::Kafka)?)?;
    Ok(runtime()?.block_on(set.end())?)
}

fn namespace_is_cleaned() -> Result<(), Failed> {
    let place = Place::new()?;
    let mut run = place.start(place.runner(&["--keep"]))?;
    let (status, output) = run.end()?;
    expect_eq("exit status", status, Some(0)).map_err(|problem| format!("{problem}: {output}"))?;
    let set = wait_until("the lease for the next run", SOON, || place.lease("kept"))?;

    let client: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", address(&set, ContainerService::Kafka)?).create()?;
    let topics = client.client().fetch_metadata(None, ANSWER)?;
    let mut left: Vec<String> = topics.topics().iter().map(|topic| topic.name().to_owned()).collect();
    left.retain(|topic| topic != "__consumer_offsets");
    let groups = client.client().fetch_group_list(None, ANSWER)?;
    left.extend(groups.groups().iter().map(|group| group.name().to_owned()));
    runtime()?.block_on(async {
        let tables =
            aws_sdk_dynamodb::Client::new(&sdk(&set, ContainerService::DynamoDb).await?).list_tables().send().await?;
        left.extend(tables.table_names().iter().cloned());
        let buckets =
            aws_sdk_s3::Client::new(&sdk(&set, ContainerService::LocalStack).await?).list_buckets().send().await?;
        left.extend(buckets.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)));
        Ok::<(), Failed>(())
    })?;
    Ok(expect_eq("topics, groups, tables and buckets that are left", left, Vec::new())?)
}

fn address(set: &Set, service: ContainerService) -> Result<&str, String> {
    let container = set.containers.iter().find(|container| container.service == service);
    container.map(|container| container.address.as_str()).ok_or_else(|| format!("the set has no {}", service.name()))
}

async fn sdk(set: &Set, service: ContainerService) -> Result<SdkConfig, String> {
    // DynamoDB Local keeps separate tables for each access key and region, so these have to be those that the framework
    // uses.
    let config = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("e2e", "e2e", None, None, "e2e"))
        .region(Region::new("us-east-1"))
        .endpoint_url(format!("http://{}", address(set, service)?))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Ok(config.load().await)
}

/// An image that only runs a script. Dropping the value removes the image.
struct Image(String);

impl Image {
    fn of(script: &str) -> Result<Self, String> {
        let name = format!("e2e-test-{}", Process::itself());
        docker(&["create", "--name", &name, "debian:bookworm-slim", "sh", "-c", script])?;
        let image = Self(format!("{name}:1"));
        let made = docker(&["commit", &name, &image.0]);
        docker(&["rm", "--force", &name])?;
        made.map(|_| image)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&["rmi", "--force", &self.0]);
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn expect_eq<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    match (found, expected) {
        (found, expected) if found == expected => Ok(()),
        (found, expected) => Err(format!("{what}: {found:?}, not {expected:?}")),
    }
}

fn expect_says(text: &str, parts: &[&str]) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(**part)) {
        Some(missing) => Err(format!("`{missing}` is not said in:\n{text}")),
        None => Ok(()),
    }
}
