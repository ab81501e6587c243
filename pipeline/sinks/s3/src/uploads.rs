//! The background work of one partition: it begins after the clean-up, reports its first error, and ends when it is dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use fms_connect::{Reservation, SinkError, TaskContext, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use crate::content::Content;
use crate::pool::Pool;
use crate::store::{Store, Target};

/// An upload in parts. It is begun with its first part.
#[derive(Debug, Default)]
pub struct Multipart {
    id: Arc<OnceCell<String>>,
    parts: Vec<oneshot::Receiver<CompletedPart>>,
}

/// What is left to be done for an object when its flush may be completed.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes, Reservation),
    /// Its parts are on their way.
    Parts(Multipart, Reservation),
}

/// Objects of a flush that are not stored yet.
#[derive(Debug)]
pub struct Pending(AtomicUsize);

impl Pending {
    /// So many.
    pub fn new(objects: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(objects)))
    }

    /// Whether there are none.
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Wakes the task's thread however the work ends, a panic included.
struct WakeAtEnd(Arc<Notify>);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// The background work of one partition.
pub struct Uploads {
    partition: TopicPartition,
    runtime: Handle,
    wake: Arc<Notify>,
    /// How many calls the whole task makes at once.
    permits: Arc<Semaphore>,
    /// Whether the clean-up is done; closed without when it failed.
    ready: watch::Receiver<bool>,
    failure: Arc<OnceLock<SinkError>>,
    /// The task's buffers.
    pool: Pool,
    /// A clone is with every part that is under way. `tasks` would not do: a task counts there until after it has woken us.
    parts: Arc<()>,
    /// Aborted when dropped.
    tasks: JoinSet<()>,
}

impl Uploads {
    /// Begins with `clean_up`, which takes its turn among the task's calls; everything else waits for its success.
    pub fn new(
        partition: &TopicPartition,
        context: &TaskContext,
        permits: Arc<Semaphore>,
        pool: Pool,
        clean_up: impl Future<Output = Result<(), SinkError>> + Send + 'static,
    ) -> Self {
        let (done, ready) = watch::channel(false);
        let mut uploads = Self {
            partition: partition.clone(),
            runtime: context.runtime.clone(),
            wake: Arc::clone(&context.wake),
            permits,
            pool,
            ready,
            failure: Arc::default(),
            parts: Arc::default(),
            tasks: JoinSet::new(),
        };
        let turn = Arc::clone(&uploads.permits).acquire_owned();
        uploads.spawn(async move {
            // Nobody closes the semaphore.
            let Ok(_permit) = turn.await else { return Ok(()) };
            clean_up.await?;
            done.send_replace(true);
            Ok(())
        });
        uploads
    }

    fn spawn(&mut self, work: impl Future<Output = Result<(), SinkError>> + Send + 'static) {
        let failure = Arc::clone(&self.failure);
        let wake = WakeAtEnd(Arc::clone(&self.wake));
        let work = async move {
            let _wake = wake;
            if let Err(error) = work.await {
                // Only the first is of interest: the others follow from it.
                let _ = failure.set(error);
            }
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// The first error of any work of this partition.
    pub fn check(&mut self) -> Result<(), SinkError> {
        while let Some(end) = self.tasks.try_join_next() {
            if let Err(error) = end
                && error.is_panic()
            {
                let _ = self.failure.set(SinkError::fatal(format!(
                    "an upload of {} panicked, a mistake in this program: {error}; restart the connector",
                    self.partition
                )));
            }
        }
        self.failure()
    }

    /// The same without a look at what has ended meanwhile: cheap enough to be asked for every record.
    pub fn failure(&self) -> Result<(), SinkError> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether parts are under way, which give their memory back when they are uploaded.
    pub fn is_busy(&self) -> bool {
        Arc::strong_count(&self.parts) > 1
    }

    /// Where buffers come from and go to.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Uploads the next part of an object. `memory` is held until it is uploaded.
    pub fn part(
        &mut self,
        store: &Store,
        target: &Arc<Target>,
        upload: &mut Multipart,
        bytes: Vec<u8>,
        memory: Reservation,
    ) {
        let bytes = self.pool.share(bytes);
        let (uploaded, part) = oneshot::channel();
        upload.parts.push(part);
        let number = i32::try_from(upload.parts.len()).unwrap_or(i32::MAX);
        let (store, target, id) = (store.clone(), Arc::clone(target), Arc::clone(&upload.id));
        let (turn, under_way) = (self.turn(), Arc::clone(&self.parts));
        self.spawn(async move {
            let Some(_permit) = turn.await else { return Ok(()) };
            let id = id.get_or_try_init(|| store.begin(&target)).await?;
            let part = store.part(&target, id, number, bytes).await?;
            drop((memory, under_way));
            // Nobody waits for it any more if the partition was closed.
            let _ = uploaded.send(part);
            Ok(())
        });
    }

    /// Makes an object appear; `stored` is called when it has.
    pub fn complete(
        &mut self,
        store: &Store,
        target: &Arc<Target>,
        body: Body,
        content: Content,
        pending: &Arc<Pending>,
        stored: impl FnOnce() + Send + 'static,
    ) {
        let (store, target, pending) = (store.clone(), Arc::clone(target), Arc::clone(pending));
        let turn = self.turn();
        self.spawn(async move {
            match body {
                Body::Whole(bytes, memory) => {
                    let Some(_permit) = turn.await else { return Ok(()) };
                    store.put(&target, bytes, &content).await?;
                    drop(memory);
                }
                Body::Parts(upload, memory) => {
                    let mut parts = Vec::with_capacity(upload.parts.len());
                    for part in upload.parts {
                        // A part that was not uploaded has reported its error.
                        let Ok(part) = part.await else { return Ok(()) };
                        parts.push(part);
                    }
                    let Some(id) = upload.id.get() else { return Ok(()) };
                    let Some(_permit) = turn.await else { return Ok(()) };
                    store.complete(&target, id, parts, &content).await?;
                    drop(memory);
                }
            }
            stored();
            pending.0.fetch_sub(1, Ordering::AcqRel);
            Ok(())
        });
    }

    /// The turn to call S3: after the clean-up, with a permit. `None` if the clean-up failed, which it has reported.
    fn turn(&self) -> impl Future<Output = Option<tokio::sync::OwnedSemaphorePermit>> + Send + 'static {
        let (mut ready, permits) = (self.ready.clone(), Arc::clone(&self.permits));
        async move {
            ready.wait_for(|ready| *ready).await.ok()?;
            permits.acquire_owned().await.ok()
        }
    }
}
