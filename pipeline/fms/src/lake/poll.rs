//! `fms lake poll`: raw objects in S3 are converted as messages of a queue name them, into a lake in S3.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::{Args, value_parser};
use fms_aws::Retry;
use fms_lake::poll::{Health, Poll, Raws, Settings as PollSettings, Stopped};
use fms_lake::{Bucket, S3Url, Settings, count_retry};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::{error, info};

use super::queues::QueueArguments;
use super::settings::ConversionArguments;
use super::storage::{RawOwnerArguments, StorageArguments};
use crate::{LogFormat, NOT_STARTED, report, start_log, stop_signal};

/// How long a call to S3 or Glue is repeated. A message for which that is not enough waits in its queue for a while.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest wait between two attempts of a call.
const DELAY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    queues: QueueArguments,
    /// The lake, as `s3://bucket/prefix`. It gets `formatted/`, `quarantine/` and `conversions/`. Any number of processes
    /// may write to it.
    #[arg(long, env = "FMS_LAKE_TO", value_name = "URL")]
    to: S3Url,
    /// The database of the Glue catalog that gets the tables. It has to exist.
    #[arg(long, env = "FMS_LAKE_DATABASE", value_name = "NAME")]
    database: String,
    #[command(flatten)]
    conversion: ConversionArguments,
    #[command(flatten)]
    storage: StorageArguments,
    #[command(flatten)]
    raw_owner: RawOwnerArguments,
    /// The objects whose keys begin with this are raw objects. Messages about others are deleted.
    #[arg(long, env = "FMS_LAKE_RAW_PREFIX", value_name = "PREFIX", default_value = "")]
    raw_prefix: String,
    /// The most messages that are handled at a time; as many as there are processors by default. Memory may allow less.
    #[arg(long, env = "FMS_LAKE_CONCURRENCY", value_name = "MESSAGES")]
    concurrency: Option<NonZeroUsize>,
    /// The memory that conversions may take together, MiB; one takes up to 160. Leave a quarter of a container's to the
    /// rest.
    #[arg(long, env = "FMS_LAKE_MEMORY_MIB", value_name = "MIB", default_value_t = 640)]
    memory: usize,
    /// For how long a message is invisible to others after the process has died, seconds. While an object is being
    /// converted, that is extended again and again.
    #[arg(
        long,
        env = "FMS_LAKE_VISIBILITY_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 120,
        value_parser = value_parser!(u64).range(1..=43_200)
    )]
    visibility_timeout: u64,
    /// How often a message may be received. After that, it goes to the fallback queue: the process has died with it, or S3
    /// or Glue could not be reached, that often.
    #[arg(
        long,
        env = "FMS_LAKE_MAX_ATTEMPTS",
        value_name = "TIMES",
        default_value_t = 5,
        value_parser = value_parser!(u32).range(1..)
    )]
    max_attempts: u32,
    /// How long conversions under way may take after SIGTERM, seconds. What is not done then is visible to others at
    /// once. Up to 5 seconds more are needed; Kubernetes gives 30 in all by default.
    #[arg(long, env = "FMS_LAKE_SHUTDOWN_TIMEOUT", value_name = "SECONDS", default_value_t = 20)]
    shutdown_timeout: u64,
    /// Where `/health` and `/metrics` listen. With port 0 the system chooses a port, which the log names.
    #[arg(long, env = "FMS_LAKE_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8083")]
    listen: SocketAddr,
}

/// Polls until SIGTERM or SIGINT. The exit status is 0 then, whatever went to the fallback queue, and 2 if nothing was
/// begun, with every problem on standard error.
pub(crate) fn run(arguments: Arguments, format: LogFormat) -> ExitCode {
    let stop = stop_signal().map_err(|error| vec![format!("cannot listen for SIGTERM and SIGINT: {error}")]);
    let started = start_log(format).map_err(|error| vec![format!("{error:#}")]);
    match stop.and_then(|stop| started.and_then(|()| poll(arguments, stop))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            report("fms lake poll", &problems, format);
            NOT_STARTED.into()
        }
    }
}

fn poll(arguments: Arguments, stop: watch::Receiver<bool>) -> Result<(), Vec<String>> {
    let metrics = fms_serve::recorder();
    let runtime = Runtime::new().map_err(|error| vec![format!("cannot start threads: {error}")])?;
    let aws = fms_aws::load(runtime.handle());
    let at_a_time = at_a_time(&arguments, &Settings::default());
    let conversion = arguments.conversion.settings().map_err(|error| vec![error.to_string()])?;
    let queues = arguments.queues.queues(&aws).map_err(|error| vec![error.to_string()]);
    let listener = listen(arguments.listen)
        .map_err(|error| vec![format!("cannot listen at {}, which `--listen` names: {error}", arguments.listen)]);
    let (at_a_time, queues, (listener, address)) = all(at_a_time, queues, listener)?;
    let retry = Retry::new("fms lake poll", Some(PATIENCE), DELAY_MAX, count_retry);
    let bucket = Bucket::new(&aws, &arguments.to, &arguments.database, retry).storing(arguments.storage.storage());
    let bucket = bucket.expecting_raw_owner(arguments.raw_owner.expected_raw_bucket_owner.clone());
    let found = runtime.block_on(async {
        let checks = async {
            let (queues, bucket) = tokio::join!(queues.check(), bucket.check());
            all(queues, bucket.map_err(|error| vec![error.to_string()]), Ok(()))
        };
        tokio::select! {
            found = checks => found.map(|_| true),
            () = stopped(stop.clone()) => Ok(false),
        }
    })?;
    if !found {
        info!("the poller was stopped before it had started");
        return Ok(());
    }
    let settings = settings(&arguments, at_a_time);
    let version = env!("CARGO_PKG_VERSION");
    info!(version, at_a_time, "fms lake poll starts and listens at http://{address}");
    let raws = Raws { bucket, settings: Arc::new(conversion), prefix: arguments.raw_prefix };
    let poll = Poll::new(queues.main, queues.fallback, raws, settings);
    let router = router(poll.health(), metrics);
    runtime.spawn(async move {
        if let Err(error) = fms_serve::serve(listener, router).await {
            error!(%address, %error, "`/health` and `/metrics` do not answer any more");
        }
    });
    runtime.spawn(fms_serve::upkeep(metrics));
    let Stopped { returned } = runtime.block_on(async {
        tokio::select! {
            stopped = poll.run(stop) => stopped,
            never = poll.measure() => match never {},
        }
    });
    info!(returned, "the poller has stopped");
    // Conversions that were given up go on until the process ends.
    runtime.shutdown_background();
    Ok(())
}

/// The values, or the problems of all of them.
fn all<A, B, C>(
    a: Result<A, Vec<String>>,
    b: Result<B, Vec<String>>,
    c: Result<C, Vec<String>>,
) -> Result<(A, B, C), Vec<String>> {
    match (a, b, c) {
        (Ok(a), Ok(b), Ok(c)) => Ok((a, b, c)),
        (a, b, c) => Err([a.err(), b.err(), c.err()].into_iter().flatten().flatten().collect()),
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error cannot happen, because the sender lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How many conversions there may be at a time.
fn at_a_time(arguments: &Arguments, settings: &Settings) -> Result<usize, Vec<String>> {
    let one = settings.memory();
    let by_memory = arguments.memory / one;
    if by_memory == 0 {
        let given = arguments.memory;
        return Err(vec![format!(
            "`--memory` is {given} MiB, but one conversion takes up to {one}; give it at least that"
        )]);
    }
    let concurrency = arguments.concurrency.or_else(|| thread::available_parallelism().ok());
    Ok(concurrency.map_or(1, NonZeroUsize::get).min(by_memory))
}

fn settings(arguments: &Arguments, at_a_time: usize) -> PollSettings {
    PollSettings {
        at_a_time,
        visibility: Duration::from_secs(arguments.visibility_timeout),
        max_attempts: arguments.max_attempts,
        shutdown_limit: Duration::from_secs(arguments.shutdown_timeout),
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn router(health: Health, metrics: &'static fms_serve::PrometheusHandle) -> Router {
    Router::new()
        .route("/health", get(async move || answer(&health)))
        .route("/metrics", get(async move || fms_serve::metrics_text(metrics)))
}

/// The health of the poller: status 503 while the queue cannot be read, with the reason.
fn answer(health: &Health) -> Response {
    let (status, body) = match health.problem() {
        None => (StatusCode::OK, json!({"status": "healthy"})),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "unhealthy", "reason": problem})),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
