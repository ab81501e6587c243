//! The lake as a function of AWS Lambda: the messages of an SQS queue name raw objects, which are converted by the same
//! code as `fms lake poll` has.
//!
//! - `settings`: what the environment says, read once at the start;
//! - `function`: one invocation, with a batch of messages;
//! - `emf`: the metrics, as lines of the log that `CloudWatch` makes metrics of;
//! - `log`: the log, as JSON.
//!
//! Neither librdkafka nor `DataFusion` is compiled into it, so that the function starts fast; a test says so.

mod emf;
mod function;
mod log;
mod settings;

use std::process::ExitCode;

use fms_aws::Retry;
use fms_lake::Bucket;
use fms_lake::poll::Sqs;
use lambda_runtime::service_fn;
use tokio::runtime::Builder;
use tracing::{error, info};

use self::emf::Emf;
use self::function::Function;
pub use self::settings::{Settings, VARIABLES};

/// How long a call to S3 or Glue is repeated. A message for which that is not enough is reported, to be received again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// The longest wait between two attempts of a call.
const DELAY_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// The wait of a receive. The function receives nothing: Lambda does.
const NO_WAIT: u16 = 0;

/// Serves invocations until Lambda ends the process. If it cannot start, the exit status is 2, and the log has every
/// problem.
pub fn run() -> ExitCode {
    log::start();
    let Err(problems) = serve() else { return ExitCode::SUCCESS };
    error!(?problems, "the function does not start");
    ExitCode::from(2)
}

fn serve() -> Result<(), Vec<String>> {
    let settings = Settings::read(&variables())?;
    let one = |problem: String| vec![problem];
    // Clients, connections and what is known of tables and partitions are kept from one invocation to the next.
    let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let threads = threads.map_err(|error| one(format!("cannot start threads: {error}")))?;
    let metrics = Emf::install(&settings.function).map_err(one)?;
    let aws = fms_aws::load(threads.handle());
    let retry = Retry::new("fms lake", Some(PATIENCE), DELAY_MAX, fms_lake::count_retry);
    let bucket = Bucket::new(&aws, &settings.to, &settings.database, retry).storing(settings.storage.clone());
    let bucket = bucket.expecting_raw_owner(settings.raw_owner.clone());
    let fallback = Sqs::new(&aws, &settings.fallback_queue, NO_WAIT);
    threads.block_on(async {
        let (queue, lake) = tokio::join!(fallback.check(), bucket.check());
        let problems = [queue.err().map(|error| error.to_string()), lake.err().map(|error| error.to_string())];
        let problems: Vec<String> = problems.into_iter().flatten().collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        info!(version = env!("CARGO_PKG_VERSION"), at_a_time = settings.at_a_time, "the function has started");
        let function = Function::new(settings, bucket, fallback, metrics);
        let served = lambda_runtime::run(service_fn(async |event| function.invoke(event).await)).await;
        served.map_err(|error| one(format!("Lambda gives no events any more: {error}")))
    })
}

/// The variables of the environment that are Unicode, which all of the function's are.
fn variables() -> Vec<(String, String)> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}
