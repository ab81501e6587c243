//! `fms-bench` measures how fast the worker is on a real broker and how much CPU and memory it needs.
//!
//! ```text
//! cargo run --release -p fms-bench                    # all runs, on a broker in a container (needs Docker)
//! KAFKA_BOOTSTRAP_SERVERS=host:9092 fms-bench …       # on an existing broker; topics are deleted unless it is stopped
//! fms-bench --messages 20000                          # a quick check of a few seconds
//! fms-bench --scale                                   # what a row costs as partitions, keys, objects and workers grow
//! fms-bench --only flat --peer 'my-sink --config x'   # only some of the runs, and another program for comparison
//! ```
//!
//! **What is sent.** Two topics with 4 partitions each are filled once, and every run reads them from the beginning.
//! One topic has `--messages` flat messages of about 295 bytes; the other has a hundredth of that number, each with 60
//! rows and about 17.8 KB. The record batches have 128 KiB and no compression. Every row has a unique number. Before
//! the first run each topic is read once, so that the first run does not pay for the compilation in the broker's JVM.
//!
//! **What is run.** The worker is `fms connect` in a separate process (this program in another role, or `--worker`),
//! with `tasks.max` = 2 and otherwise default settings, including the intents. The runs are:
//!
//! - to S3 with `flush.size` = 10000: flat messages with Kafka Connect's default partitioner and, in another run, in
//!   the layout of `deploy/connectors/s3.json` (by fields and hour); unrolled messages in that same layout;
//! - to DynamoDB with the key templates of `deploy/connectors/dynamodb.json`;
//! - five connectors at once, which show that the memory limit holds for the worker and not for each connector.
//!
//! **What is measured.**
//!
//! - *rows/s* is measured from the call with which the first tenth of the rows was complete to the call that began
//!   the last tenth.
//! - *wall* is the time from the start of the process to the last call that stores rows. It includes a second in which
//!   the group waits for both tasks.
//! - *µs/row* is the user and system time of the worker's process, as the kernel counts it, including its start,
//!   divided by the rows.
//! - *RSS* is the peak of the resident memory (`VmHWM`). The column *at half* has the peak up to half of the time,
//!   which shows whether the memory still grows.
//!
//! **How it is checked.** The endpoint is a part of this process, with one thread for each connection. It stores the
//! bodies and does not look into them during a run, so it costs only the copy out of the socket; it needs as much
//! memory as it is sent (1.5 GB for DynamoDB). When the worker has committed the end of the topic, it is stopped. Then
//! all bodies are decompressed and searched for the numbers of the rows; each number has to be there exactly once. The
//! exit status is 1 if any row is lost or doubled.
//!
//! **Scale.** `--scale` carries out other runs, see `scale`: one thing grows from run to run, and a table in Markdown
//! shows what a row costs then.
//!
//! **Peers.** `sh` runs the command of `--peer` with these variables: `KAFKA_BOOTSTRAP_SERVERS`, `FMS_BENCH_TOPIC` (the
//! flat topic), `FMS_BENCH_GROUP`, `FMS_BENCH_BUCKET`, `AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL` (with the bucket in
//! the path), a region and credentials. The peer has to read the topic from the beginning and to store the messages in
//! the bucket, one message a line. It is measured and checked in the same way. Its run ends when its group has
//! committed the end of the topic, or when it has stored nothing for 15 s; it has to end with status 0 on SIGTERM. Rows
//! that a peer loses are shown, but they do not change the exit status.

mod broker;
mod check;
mod consume;
mod endpoint;
mod scale;
mod subject;
mod topics;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker::Broker;
use crate::check::{Tally, per_second, tally};
use crate::endpoint::{Endpoint, STORE};
use crate::subject::Usage;
use crate::topics::{MessageKind, Shape, Topic};

/// The allocator of the worker, because this program also runs as the worker.
#[global_allocator]
static ALLOCATOR: fms::allocator::Allocator = fms::allocator::Allocator;

/// The delay of each answer in the run with a slow endpoint.
const SLOW: Duration = Duration::from_millis(200);

/// Measure how fast `fms connect` is on a real broker. The documentation of `main.rs` says what is measured, and how.
#[derive(Debug, Parser)]
#[command(name = "fms-bench", version)]
struct Arguments {
    /// How many flat messages are sent. A hundredth of that number is sent as messages of 60 rows each.
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    messages: u64,
    /// Run only those runs whose names contain this text. May be repeated.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// The `fms` binary to measure; by default, this program itself is the worker.
    #[arg(long, value_name = "FMS")]
    worker: Option<OsString>,
    /// A command for `sh` that runs another program, to measure it on the flat topic. May be repeated.
    #[arg(long, value_name = "COMMAND")]
    peer: Vec<String>,
    /// Show as a table what a row costs as partitions, keys, objects and workers grow, instead of the other runs.
    #[arg(long, conflicts_with_all = ["only", "peer"])]
    scale: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// The roles in which this program starts itself as a separate process.
#[derive(Debug, Subcommand)]
enum Role {
    /// Run as the worker, `fms connect`.
    #[command(hide = true, disable_help_flag = true)]
    Connect {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Read a topic and do nothing with it.
    #[command(hide = true)]
    Consume { servers: String, topic: String, partitions: u16, messages: usize },
}

/// One run of the worker: what it reads, how it is configured, and how slow the endpoint is.
struct Run {
    name: String,
    kind: MessageKind,
    config: serde_json::Value,
    delay: Duration,
    /// How many connectors do the same at once, each into its own folder.
    connectors: u64,
    /// How many workers share the work.
    workers: usize,
}

/// What a run has shown.
struct Outcome {
    tally: Tally,
    usage: Usage,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Some(Role::Connect { arguments }) => {
            // Here only: children inherit part of it, and a peer is measured as it comes.
            fms::allocator::configure();
            return fms::main_with(["fms", "connect"].into_iter().map(OsString::from).chain(arguments));
        }
        Some(Role::Consume { servers, topic, partitions, messages }) => {
            consume::consume(&servers, &topic, partitions, messages).map(|()| true)
        }
        None => measure(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fms-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Carries out all runs and returns whether no row was lost or doubled. Ctrl-C and SIGTERM end the runs and everything
/// that they have started.
fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let done = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            done = all(arguments), if !arguments.scale => done,
            done = scale::run(arguments), if arguments.scale => done,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // The runtime does not wait until a topic is filled.
    runtime.shutdown_background();
    done
}

/// The configuration of the S3 sink, with this one besides.
fn s3(compression: &str, more: &serde_json::Value) -> serde_json::Value {
    let mut config = json!({
        "connector.class": "S3Sink", "s3.bucket.name": STORE, "s3.region": "us-east-1", "topics.dir": "raw",
        "s3.compression.type": compression, "flush.size": "10000", "rotate.idle.ms": "200",
    });
    extend(&mut config, more);
    config
}

/// The configuration of the DynamoDB sink.
fn dynamodb() -> serde_json::Value {
    json!({
        "connector.class": "DynamoDbSink", "dynamodb.table": STORE,
        "dynamodb.partition.key": "${id}#${object}#${type}#${command}", "dynamodb.sort.key": "${timestamp_iso}#${@digest}",
    })
}

fn runs() -> Vec<Run> {
    let default = json!({"partitioner.class": "Default"});
    let fields = json!({
        "partitioner.class": "FieldAndTime", "partition.field.name": "object,type,command",
        "path.format": "'ymd'=yyyyMMdd/'hour'=HH", "partition.duration.ms": "3600000", "timezone": "UTC",
        "timestamp.extractor": "RecordField", "timestamp.field": "timestamp_iso",
    });
    let mut deployed = fields.clone();
    extend(&mut deployed, &json!({"converter.split.list.key": "measurements"}));
    let run =
        |name: &str, kind, config, delay| Run { name: name.to_owned(), kind, config, delay, connectors: 1, workers: 1 };
    let now = Duration::ZERO;
    vec![
        run("flat", MessageKind::Flat, s3("none", &default), now),
        run("flat gzip", MessageKind::Flat, s3("gzip", &default), now),
        run("flat by hour", MessageKind::Flat, s3("none", &fields), now),
        run("unrolled", MessageKind::Unrolled, s3("none", &deployed), now),
        run("unrolled gzip", MessageKind::Unrolled, s3("gzip", &deployed), now),
        run("dynamodb", MessageKind::Flat, dynamodb(), now),
        run("flat, 200 ms a call", MessageKind::Flat, s3("none", &default), SLOW),
        Run { connectors: 5, ..run("flat, 5 connectors", MessageKind::Flat, s3("none", &default), now) },
    ]
}

fn extend(config: &mut serde_json::Value, more: &serde_json::Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
}

async fn all(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| name.contains(only.as_str()));
    let runs: Vec<Run> = runs().into_iter().filter(|run| chosen(&run.name)).collect();
    let bench = Bench::start(arguments).await?;
    let id = std::process::id();
    let mut topics = Vec::new();
    let right = async {
        for (kind, name, messages) in [
            (MessageKind::Flat, "flat", arguments.messages),
            (MessageKind::Unrolled, "unrolled", arguments.messages / 100),
        ] {
            if runs.iter().any(|run| run.kind == kind) || kind == MessageKind::Flat {
                eprintln!("filling {name}: {messages} messages");
                let name = format!("fms-bench-{id}-{name}");
                topics.push((kind, topics::fill(&bench.broker.servers, name, kind, Shape::of(messages)).await?));
            }
        }
        let topic =
            |kind| topics.iter().find(|(of, _)| *of == kind).map(|(_, topic)| topic).context("a topic that was filled");

        for (_, topic) in &topics {
            bench.read(topic).await?;
        }
        println!(
            "{:<24} {:>10} {:>8} {:>8} {:>9} {:>9} {:>8} {:>6} {:>7}",
            "run", "rows/s", "wall s", "µs/row", "RSS MiB", "at half", "MB", "lost", "doubled"
        );
        let mut right = true;
        if chosen("librdkafka alone") {
            bench.consume(topic(MessageKind::Flat)?).await?;
        }
        for run in &runs {
            let outcome = bench.worker(run, topic(run.kind)?).await.with_context(|| format!("run `{}`", run.name))?;
            outcome.show(&run.name);
            let Outcome { tally, .. } = outcome;
            right &= tally.lost == 0 && tally.doubled == 0;
        }
        for (number, peer) in arguments.peer.iter().enumerate() {
            let outcome = bench.peer(number, peer, topic(MessageKind::Flat)?).await;
            let program = peer.split_whitespace().next().map(Path::new).and_then(Path::file_name).unwrap_or_default();
            let name = format!("peer {} {}", number + 1, program.to_string_lossy());
            outcome.with_context(|| format!("peer `{peer}`"))?.show(&name);
        }
        anyhow::Ok(right)
    }
    .await;
    // Also if a run has failed, for the broker may be an existing one.
    let mut removed = Ok(());
    for (_, topic) in &topics {
        removed = removed.and(topics::remove(&bench.broker.servers, &topic.name).await);
    }
    let right = right?;
    removed.map(|()| right)
}

struct Bench {
    broker: Broker,
    endpoint: Endpoint,
    folder: TempDir,
    worker: Option<OsString>,
}

impl Bench {
    async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let (broker, worker) = (Broker::from_env().await?, arguments.worker.clone());
        Ok(Self { broker, endpoint: Endpoint::start()?, folder: tempfile::tempdir()?, worker })
    }

    /// Reads a topic in a separate process and returns the numbers that [`consume::consume`] prints.
    async fn read(&self, topic: &Topic) -> anyhow::Result<[u64; 4]> {
        let mut command = Command::new(std::env::current_exe()?);
        let Shape { messages, partitions, .. } = topic.shape;
        command.args(["consume", &self.broker.servers, &topic.name, &partitions.to_string(), &messages.to_string()]);
        let output = command.kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "reading {}: {}", topic.name, String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        numbers.try_into().map_err(|_| anyhow::anyhow!("reading {}: {text}", topic.name))
    }

    async fn consume(&self, topic: &Topic) -> anyhow::Result<()> {
        let [millis, cpu, peak, bytes] = self.read(topic).await?;
        let time = Duration::from_millis(millis);
        line(
            "librdkafka alone",
            topic.rows,
            per_second(topic.rows, time),
            time,
            Duration::from_millis(cpu),
            [peak, peak],
            bytes,
            [0, 0],
        );
        Ok(())
    }

    async fn worker(&self, run: &Run, topic: &Topic) -> anyhow::Result<Outcome> {
        let name = run.name.replace(|c: char| !c.is_alphanumeric(), "-");
        let names: Vec<String> =
            (1..=run.connectors).map(|number| format!("fms-bench-{}-{name}-{number}", std::process::id())).collect();
        let mut files = Vec::new();
        for name in &names {
            let mut config = json!({
                "name": name, "topics": topic.name, "tasks.max": "2", "errors.tolerance": "none",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
            });
            extend(&mut config, &run.config);
            if run.connectors > 1 {
                extend(&mut config, &json!({"topics.dir": name}));
            }
            let file = self.folder.path().join(format!("{name}.json"));
            std::fs::write(&file, config.to_string())?;
            files.push(file);
        }
        let mut commands = Vec::new();
        for _ in 0..run.workers {
            let mut command = match &self.worker {
                Some(worker) => Command::new(worker),
                None => Command::new(std::env::current_exe()?),
            };
            command.arg("connect");
            if self.worker.is_none() {
                command.arg("--");
            }
            command.arg("--config").args(&files).env("CONNECT_LISTENERS", "http://127.0.0.1:0");
            commands.push(command);
        }
        self.endpoint.set_delay(run.delay);
        let groups: Vec<String> = names.iter().map(|name| format!("connect-{name}")).collect();
        self.run(commands, &groups, topic).await
    }

    async fn peer(&self, number: usize, peer: &str, topic: &Topic) -> anyhow::Result<Outcome> {
        self.endpoint.set_delay(Duration::ZERO);
        let group = format!("fms-bench-{}-peer-{number}", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {peer}")]).envs([
            ("FMS_BENCH_TOPIC", topic.name.as_str()),
            ("FMS_BENCH_GROUP", group.as_str()),
            ("FMS_BENCH_BUCKET", STORE),
        ]);
        self.run(vec![command], &[group], topic).await
    }

    async fn run(&self, mut commands: Vec<Command>, groups: &[String], topic: &Topic) -> anyhow::Result<Outcome> {
        let url = self.endpoint.url();
        for command in &mut commands {
            command.env("KAFKA_BOOTSTRAP_SERVERS", &self.broker.servers);
            for variable in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB"] {
                command.env(variable, &url);
            }
            let access =
                [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench")];
            command.envs(access);
        }
        let log = self.folder.path().join("log");
        drop(self.endpoint.take());
        let usage = subject::run(commands, &log, &self.broker.servers, groups, topic, &self.endpoint).await?;
        let (contents, rows, copies) = (self.endpoint.take(), topic.rows, groups.len() as u64);
        let tally = tokio::task::spawn_blocking(move || tally(contents, rows, copies)).await??;
        Ok(Outcome { tally, usage })
    }
}

impl Outcome {
    fn show(&self, name: &str) {
        let Self { tally, usage } = self;
        let Usage { since, cpu, peak, peak_at_half } = *usage;
        let wall = tally.last.map_or(Duration::ZERO, |last| last - since);
        line(
            name,
            tally.arrived,
            tally.rate,
            wall,
            cpu,
            [peak, peak_at_half],
            tally.bytes,
            [tally.lost, tally.doubled],
        );
    }

    /// User and system time for each row, in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "the figure is shown to people")]
    fn micros_each(&self) -> f64 {
        self.usage.cpu.as_secs_f64() * 1e6 / self.tally.arrived.max(1) as f64
    }
}

#[expect(
    clippy::too_many_arguments,
    clippy::cast_precision_loss,
    reason = "these are the columns of one line, shown to people"
)]
fn line(name: &str, rows: u64, rate: f64, wall: Duration, cpu: Duration, peaks: [u64; 2], bytes: u64, wrong: [u64; 2]) {
    let [peak, half] = peaks.map(|kib| kib as f64 / 1024.0);
    let each = cpu.as_secs_f64() * 1e6 / rows.max(1) as f64;
    println!(
        "{name:<24} {rate:>10.0} {:>8.2} {each:>8.2} {peak:>9.1} {half:>9.1} {:>8.1} {:>6} {:>7}",
        wall.as_secs_f64(),
        bytes as f64 / 1e6,
        wrong[0],
        wrong[1],
    );
}
