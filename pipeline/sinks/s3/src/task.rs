//! One task of the sink, with the partitions that it owns.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use fms_aws::Retry;

use fms_connect::{
    Config, Demand, ErrantRow, Flush, Replay, SinkError, SinkRecord, SinkTask, TaskContext, Tick, TopicPartition,
};
use tokio::sync::Semaphore;

use crate::layout::Layout;
use crate::metrics::Metrics;
use crate::partition::{Destination, Partition, Repeat};
use crate::pool::Pool;
use crate::recent::Recent;
use crate::settings::S3Settings;
use crate::store::{self, Store};
use crate::uploads::Uploads;

/// The calls to S3 that a task makes at the same time. With 200 ms for a call and the smallest parts, they upload 200
/// MB/s. The parts of all of them are in memory.
pub const CALLS: usize = 8;

/// A task of the sink.
pub struct S3Task {
    context: TaskContext,
    config: Config,
    settings: S3Settings,
    aws: SdkConfig,
    client: Client,
    retry: Retry,
    permits: Arc<Semaphore>,
    pool: Pool,
    metrics: Metrics,
    partitions: Recent<TopicPartition, Partition>,
    /// How many flushes of all partitions wait for the one under way.
    waiting: usize,
}

impl S3Task {
    /// A task without partitions yet.
    pub fn new(context: TaskContext, config: Config, settings: S3Settings, aws: SdkConfig, client: Client) -> Self {
        let permits = Arc::new(Semaphore::new(CALLS));
        let metrics = Metrics::new(&context);
        let pool = Pool::new(context.budget.clone());
        let retry = store::retry(&context.connector, context.task, context.retry);
        Self {
            context,
            config,
            settings,
            aws,
            client,
            retry,
            permits,
            pool,
            metrics,
            partitions: Recent::new(),
            waiting: 0,
        }
    }

    /// Frees the buffers that are kept for later use.
    pub fn release(&self) {
        self.pool.clear();
    }

    /// Calls the partition, which the runtime has to have opened, and keeps count of the flushes that wait.
    fn on<T>(&mut self, id: &TopicPartition, call: impl FnOnce(&mut Partition) -> T) -> Result<T, SinkError> {
        let partition = self.partitions.get_mut(id).ok_or_else(|| {
            SinkError::fatal(format!(
                "the S3 sink was called for {id}, which was not opened; this is a defect of the runtime: report it \
                 with the log"
            ))
        })?;
        let before = partition.waiting();
        let result = call(partition);
        self.waiting = self.waiting + partition.waiting() - before;
        Ok(result)
    }

    /// The flush that a previous owner announced, with the settings in its intent.
    fn repeat(&self, partition: &TopicPartition, replay: &Replay) -> Result<Repeat, SinkError> {
        let layout = Layout::of_intent(&self.config, replay).map_err(|error| {
            SinkError::fatal(format!(
                "repeating the flush of {partition} up to offset {}, which a previous owner announced with settings \
                 that this version does not understand: {error}; run the version that wrote the intent until it has \
                 completed it",
                replay.end
            ))
        })?;
        let today = &self.settings.layout;
        let client =
            if layout.region == today.region { self.client.clone() } else { store::client(&self.aws, &layout) };
        let store = Store::new(client, &layout, self.retry.clone());
        Ok(Repeat { end: replay.end, destination: Destination { layout, store } })
    }
}

impl SinkTask for S3Task {
    fn open(
        &mut self,
        partition: &TopicPartition,
        start: Option<i64>,
        replay: Option<&Replay>,
    ) -> Result<(), SinkError> {
        let layout = self.settings.layout.clone();
        let store = Store::new(self.client.clone(), &layout, self.retry.clone());
        let today = Destination { layout, store };
        let repeat = replay.map(|replay| self.repeat(partition, replay)).transpose()?;
        if let Some(repeat) = &repeat {
            tracing::info!(
                topic = &*partition.topic,
                partition = partition.partition,
                start,
                end = repeat.end,
                "the task repeats the flush that a previous owner of the partition announced"
            );
        }

        // The last owner has left its uploads where it wrote: where the intent says, or else where this task writes.
        let place = |Destination { layout, store }: &Destination| {
            let stored = layout.stored_as(partition);
            let prefix = layout.topic_prefix(&stored.topic);
            (store.clone(), stored, prefix)
        };
        let mut places = vec![place(&today)];
        if let Some(repeat) = &repeat {
            let other = place(&repeat.destination);
            if (other.0.bucket(), &other.2) != (places[0].0.bucket(), &places[0].2) {
                places.push(other);
            }
        }
        let (id, metrics) = (partition.clone(), self.metrics.clone());
        let clean_up = async move {
            for (store, stored, prefix) in places {
                let aborted = store.abort_left_behind(&stored, &prefix).await?;
                if aborted > 0 {
                    tracing::info!(
                        topic = &*id.topic,
                        partition = id.partition,
                        aborted,
                        "the task has aborted the uploads that the last owner of the partition left behind"
                    );
                    metrics.aborted(aborted);
                }
            }
            Ok(())
        };
        let uploads = Uploads::new(partition, &self.context, Arc::clone(&self.permits), self.pool.clone(), clean_up);
        let opened = Partition::new(
            partition.clone(),
            start,
            self.settings.rotation.clone(),
            today,
            repeat,
            uploads,
            self.context.budget.clone(),
            self.metrics.clone(),
        );
        self.close(partition);
        self.partitions.insert(partition.clone(), opened);
        Ok(())
    }

    fn put(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        self.on(record.partition, |partition| partition.put(record, errant))?
    }

    /// The task has enough when half of its partitions have a flush ready behind the one under way. More would only
    /// take memory, and the other partitions fill theirs in less time than a call takes.
    fn is_full(&mut self) -> Result<bool, SinkError> {
        Ok(self.waiting >= self.partitions.len().div_ceil(2).max(1))
    }

    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        if tick.demand == Demand::Memory {
            self.release();
        }
        self.on(partition, |partition| partition.due(tick))?
    }

    fn flush(&mut self, partition: &TopicPartition) -> Result<(), SinkError> {
        self.on(partition, Partition::flush)
    }

    fn poll(&mut self, partition: &TopicPartition, _errant: &mut Vec<ErrantRow>) -> Result<bool, SinkError> {
        self.on(partition, Partition::poll)?
    }

    /// The partition's uploads are left to the clean-up of the next owner. Aborting them here could hit uploads that
    /// the next owner has already begun.
    fn close(&mut self, partition: &TopicPartition) {
        if let Some(closed) = self.partitions.remove(partition) {
            self.waiting -= closed.waiting();
        }
        if self.partitions.len() == 0 {
            self.release();
        }
    }
}
