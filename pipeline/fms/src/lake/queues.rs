//! The two queues of `fms lake poll` and `fms lake redrive`.

use anyhow::ensure;
use aws_config::SdkConfig;
use clap::{Args, value_parser};
use fms_lake::poll::Sqs;

#[derive(Debug, Args)]
pub(super) struct QueueArguments {
    /// The URL of the SQS queue whose messages name raw objects.
    #[arg(long, env = "FMS_LAKE_QUEUE_URL", value_name = "URL")]
    queue: String,
    /// The URL of the SQS queue that gets what could not be converted, with the reason.
    #[arg(long, env = "FMS_LAKE_FALLBACK_QUEUE_URL", value_name = "URL")]
    fallback_queue: String,
    /// How long a receive waits for a message, from 1 to 20 seconds. A shorter time means more calls, and a longer
    /// one means that the program ends later after SIGTERM.
    #[arg(
        long,
        env = "FMS_LAKE_WAIT_TIME",
        value_name = "SECONDS",
        default_value_t = 3,
        value_parser = value_parser!(u16).range(1..=20)
    )]
    wait_time: u16,
}

pub(super) struct Queues {
    pub main: Sqs,
    pub fallback: Sqs,
}

impl QueueArguments {
    pub fn queues(&self, config: &SdkConfig) -> anyhow::Result<Queues> {
        ensure!(
            self.queue != self.fallback_queue,
            "`--queue` and `--fallback-queue` are the same queue, so what fails would be tried again without end"
        );
        let sqs = |url: &str| Sqs::new(config, url, self.wait_time);
        Ok(Queues { main: sqs(&self.queue), fallback: sqs(&self.fallback_queue) })
    }
}

impl Queues {
    /// Finds both queues. Gives every problem.
    pub async fn check(&self) -> Result<(), Vec<String>> {
        let problems: Vec<_> = [self.main.check().await, self.fallback.check().await]
            .into_iter()
            .filter_map(|found| found.err().map(|error| error.to_string()))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
