//! The background work of one partition. It begins after the clean-up, reports its first error, and ends when it is
//! dropped.

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
use crate::store::{ObjectTarget, Store};

/// An upload in parts, which begins with its first part.
#[derive(Debug, Default)]
pub struct Multipart {
    id: Arc<OnceCell<String>>,
    parts: Vec<oneshot::Receiver<CompletedPart>>,
}

/// What an object still needs when its flush may be completed.
#[derive(Debug)]
pub enum ObjectBody {
    /// The whole object is to be stored in one call.
    Whole(Bytes, Reservation),
    /// Its parts are being uploaded, and are to be made an object.
    Parts(Multipart, Reservation),
}

/// The number of objects of a flush that are not stored yet.
#[derive(Debug)]
pub struct Pending(AtomicUsize);

impl Pending {
    /// Begins with this number of objects.
    pub fn new(objects: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(objects)))
    }

    /// Whether all objects are stored.
    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Wakes the task's thread when the work ends, even by a panic.
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
    /// The permits for calls, which the whole task shares.
    permits: Arc<Semaphore>,
    /// Becomes true when the clean-up is done. It is closed without that if the clean-up failed.
    ready: watch::Receiver<bool>,
    failure: Arc<OnceLock<SinkError>>,
    /// The buffers of the task.
    pool: Pool,
    /// Every part that is being uploaded has a clone. `tasks` cannot be asked instead: a task is still in it while it
    /// wakes the task's thread.
    parts: Arc<()>,
    /// The work, which is aborted when this is dropped.
    tasks: JoinSet<()>,
}

impl Uploads {
    /// Begins with `clean_up`, which needs a permit like every call. All other work waits until it has succeeded.
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
                // Only the first error is kept, because the others follow from it.
                let _ = failure.set(error);
            }
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// The first error of any work of this partition, after looking at the work that has ended.
    pub fn check(&mut self) -> Result<(), SinkError> {
        while let Some(end) = self.tasks.try_join_next() {
            if let Err(error) = end
                && error.is_panic()
            {
                let _ = self.failure.set(SinkError::fatal(format!(
                    "an upload of {} panicked, which is a defect of this program: {error}; report it with the log, and \
                     restart the connector",
                    self.partition
                )));
            }
        }
        self.failure()
    }

    /// The first error that is known, without looking at the work that has ended. This is cheap enough for every
    /// record.
    pub fn failure(&self) -> Result<(), SinkError> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Whether parts are being uploaded, whose memory is free when that is done.
    pub fn is_busy(&self) -> bool {
        Arc::strong_count(&self.parts) > 1
    }

    /// The pool that buffers are taken from and given back to.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Uploads the next part of an object. `memory` is reserved until that is done.
    pub fn part(
        &mut self,
        store: &Store,
        target: &Arc<ObjectTarget>,
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
            // An error means that the partition was closed.
            let _ = uploaded.send(part);
            Ok(())
        });
    }

    /// Completes an object, which appears then. Afterwards `stored` is called.
    pub fn complete(
        &mut self,
        store: &Store,
        target: &Arc<ObjectTarget>,
        body: ObjectBody,
        content: Content,
        pending: &Arc<Pending>,
        stored: impl FnOnce() + Send + 'static,
    ) {
        let (store, target, pending) = (store.clone(), Arc::clone(target), Arc::clone(pending));
        let turn = self.turn();
        self.spawn(async move {
            match body {
                ObjectBody::Whole(bytes, memory) => {
                    let Some(_permit) = turn.await else { return Ok(()) };
                    store.put(&target, bytes, &content).await?;
                    drop(memory);
                }
                ObjectBody::Parts(upload, memory) => {
                    let mut parts = Vec::with_capacity(upload.parts.len());
                    for part in upload.parts {
                        // The upload of a missing part has reported its own error.
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

    /// Waits for the clean-up and for a permit. `None` if the clean-up failed, which has been reported.
    fn turn(&self) -> impl Future<Output = Option<tokio::sync::OwnedSemaphorePermit>> + Send + 'static {
        let (mut ready, permits) = (self.ready.clone(), Arc::clone(&self.permits));
        async move {
            ready.wait_for(|ready| *ready).await.ok()?;
            permits.acquire_owned().await.ok()
        }
    }
}
