//! The two queues of `fms lake poll` and `fms lake redrive`.

use anyhow::ensure;
use aws_config::SdkConfig;
use clap::Args;
use fms_lake::poll::Sqs;

#[derive(Debug, Args)]
pub(super) struct QueueArguments {
    /// The URL of the SQS queue whose messages name raw objects.
    #[arg(long, env = "FMS_LAKE_QUEUE_URL", value_name = "URL")]
    queue: String,
    /// The URL of the SQS queue that gets what could not be converted, with the reason.
    #[arg(long, env = "FMS_LAKE_FALLBACK_QUEUE_URL", value_name = "URL")]
    fallback_queue: String,
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
        Ok(Queues { main: Sqs::new(config, &self.queue), fallback: Sqs::new(config, &self.fallback_queue) })
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
