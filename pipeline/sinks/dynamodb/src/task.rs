//! One task of the sink: it takes rows, keeps calls under way, and knows up to which offset each partition is stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use fms_aws::Retry;
use fms_connect::metrics::SinkMetrics;

use fms_connect::{
    Demand, ErrantRow, Flush, Replay, Reservation, SinkError, SinkRecord, SinkTask, TaskContext, Tick, TopicPartition,
};
use fms_record::Row;
use metrics::{Counter, counter};
use tokio::sync::Notify;

use crate::batcher::{BATCH_ITEMS, Batcher, Opening, Put};
use crate::item::write_item;
use crate::table::Table;
use crate::write::{self, Refusal, write};

/// The most calls in flight at once. With 25 items in a call they use a table's default quota at usual latencies. More
/// calls of one task would only be repeated when the table throttles.
const CALLS: usize = 8;

/// The most keys that wait to be sent: enough that each call can be followed by another at once.
const WAITING: usize = 2 * CALLS * BATCH_ITEMS;

/// The result of a call in the background.
struct Answer {
    puts: Vec<Arc<Put>>,
    result: Result<Vec<Refusal>, SinkError>,
}

/// Sends the answer of a call when it is dropped. A call that panics would otherwise be waited for without end.
struct Reply {
    puts: Vec<Arc<Put>>,
    result: Result<Vec<Refusal>, SinkError>,
    answers: Sender<Answer>,
    wake: Arc<Notify>,
}

impl Reply {
    fn set(&mut self, result: Result<Vec<Refusal>, SinkError>) {
        self.result = result;
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let puts = std::mem::take(&mut self.puts);
        let result = std::mem::replace(&mut self.result, Ok(Vec::new()));
        // An error means that the task has ended. The rows will be read again.
        let _ = self.answers.send(Answer { puts, result });
        self.wake.notify_one();
    }
}

/// A partition that the task owns.
struct Partition {
    opening: Arc<Opening>,
    /// The end of the flush under way.
    flush: Option<i64>,
    /// The rows that DynamoDB refused and that have not been reported yet.
    errant: Vec<ErrantRow>,
}

struct Metrics {
    sink: SinkMetrics,
    superseded: Counter,
    calls: Counter,
}

/// A task of the sink.
pub struct Task {
    table: Arc<Table>,
    context: TaskContext,
    retry: Retry,
    batcher: Batcher,
    partitions: HashMap<TopicPartition, Partition>,
    next_opening: u64,
    in_flight: usize,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
    reservation: Reservation,
    failure: Option<SinkError>,
    metrics: Metrics,
}

impl Task {
    /// A task without partitions.
    pub fn new(table: Arc<Table>, context: TaskContext) -> Self {
        let (sender, answers) = channel();
        let reservation = context.budget.reservation();
        let metrics = Metrics::new(&context, &table);
        let retry = write::retry(&context.connector, context.task, context.retry);
        Self {
            table,
            context,
            retry,
            batcher: Batcher::default(),
            partitions: HashMap::new(),
            next_opening: 0,
            in_flight: 0,
            sender,
            answers,
            reservation,
            failure: None,
            metrics,
        }
    }

    /// Takes in the answers of calls, and sends what may be sent.
    fn step(&mut self) -> Result<(), SinkError> {
        while let Ok(answer) = self.answers.try_recv() {
            self.in_flight -= 1;
            self.take_answer(answer);
        }
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        while self.in_flight < CALLS {
            let batch = self.batcher.take();
            if batch.is_empty() {
                break;
            }
            self.in_flight += 1;
            self.send(batch);
        }
        self.reservation.resize(self.batcher.memory());
        Ok(())
    }

    fn send(&self, batch: Vec<Arc<Put>>) {
        let (table, retry, calls) = (Arc::clone(&self.table), self.retry.clone(), self.metrics.calls.clone());
        let mut reply = Reply {
            puts: batch,
            result: Err(SinkError::fatal(format!(
                "a call to table `{}` ended without a result; this is a defect: report it with the log, then restart \
                 the task",
                self.table.name
            ))),
            answers: self.sender.clone(),
            wake: Arc::clone(&self.context.wake),
        };
        self.context.runtime.spawn(async move {
            let result = write(&table, &retry, &calls, &reply.puts).await;
            reply.set(result);
        });
    }

    fn take_answer(&mut self, answer: Answer) {
        let refusals = match answer.result {
            Ok(refusals) => refusals,
            Err(error) if answer.puts.iter().any(|put| !put.opening.is_revoked()) => {
                self.failure.get_or_insert(error);
                return;
            }
            // All of its rows belong to other owners now, who will see the same error.
            Err(_) => Vec::new(),
        };
        let mut refusals = refusals.into_iter().peekable();
        for (at, put) in answer.puts.iter().enumerate() {
            let refusal = refusals.next_if(|refusal| refusal.at == at);
            // A row whose partition was closed may have been stored or not. The next owner writes it again.
            if refusal.is_none() && !put.opening.is_revoked() {
                self.metrics.superseded.increment(self.batcher.stored(&put.key) as u64);
                self.metrics.sink.written(1, put.bytes as u64);
                continue;
            }
            if let Some(put) = self.batcher.not_stored(&put.key)
                && let Some(refusal) = refusal
                && let Some(partition) = self.partitions.get_mut(&put.origin.partition)
            {
                partition.errant.push(ErrantRow {
                    origin: Arc::clone(&put.origin),
                    index: put.index,
                    text: put.text.clone().into_bytes(),
                    class: refusal.class,
                    error: refusal.error,
                    request_id: refusal.request_id,
                });
            }
        }
    }

    fn partition(&mut self, partition: &TopicPartition) -> Result<&mut Partition, SinkError> {
        self.partitions.get_mut(partition).ok_or_else(|| {
            SinkError::fatal(format!(
                "partition {partition} was not opened; this is a defect of the runtime: report it"
            ))
        })
    }
}

/// The row as it is to be written, or the reason why it cannot be.
fn convert(table: &Table, opening: &Arc<Opening>, record: &SinkRecord<'_>, row: &Row<'_>) -> Result<Put, ErrantRow> {
    let mut text = Vec::new();
    row.write_json(&mut text);
    let errant = |text: Vec<u8>, class: &'static str, error: String| ErrantRow {
        origin: Arc::clone(record.origin.get()),
        index: row.index(),
        text,
        class,
        error: format!("no item for table `{}`: {error}", table.name),
        request_id: None,
    };
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(errant(error.as_bytes().to_vec(), "NotUtf8", error.to_string())),
    };
    let (key, key_bytes) = match table.key.fill(row) {
        Ok(filled) => filled,
        Err(error) => return Err(errant(text.into_bytes(), error.class(), error.to_string())),
    };
    let mut item = Vec::with_capacity(2 * text.len());
    let bytes = match write_item(&text, key_bytes, table.key.of(&key), &mut item) {
        Ok(bytes) => bytes,
        Err(error) => return Err(errant(text.into_bytes(), error.class(), error.to_string())),
    };
    item.shrink_to_fit();
    Ok(Put {
        opening: Arc::clone(opening),
        origin: Arc::clone(record.origin.get()),
        index: row.index(),
        text,
        key: Arc::new(key),
        item,
        bytes,
    })
}

impl SinkTask for Task {
    fn open(
        &mut self,
        partition: &TopicPartition,
        _start: Option<i64>,
        _replay: Option<&Replay>,
    ) -> Result<(), SinkError> {
        let opening = Arc::new(Opening::new(self.next_opening));
        self.next_opening += 1;
        self.batcher.open(&opening);
        let opened = Partition { opening, flush: None, errant: Vec::new() };
        self.partitions.insert(partition.clone(), opened);
        Ok(())
    }

    fn put(&mut self, record: &SinkRecord<'_>, errant: &mut Vec<ErrantRow>) -> Result<(), SinkError> {
        let table = Arc::clone(&self.table);
        let opening = Arc::clone(&self.partition(record.partition)?.opening);
        for row in record.rows {
            match convert(&table, &opening, record, row) {
                Ok(put) => self.batcher.put(put),
                Err(row) => errant.push(row),
            }
        }
        self.step()
    }

    fn is_full(&mut self) -> Result<bool, SinkError> {
        self.step()?;
        Ok(self.batcher.waiting() >= WAITING)
    }

    fn due(&mut self, partition: &TopicPartition, tick: &Tick) -> Result<Option<Flush>, SinkError> {
        self.step()?;
        let state = self.partition(partition)?;
        let reason = match tick.demand {
            demand @ (Demand::Commit | Demand::Memory | Demand::Pause | Demand::Shutdown) => demand.reason(),
            Demand::Settings if tick.idle.is_some() => "idle",
            // Refused rows are reported only by a flush, and should not wait.
            Demand::Settings if !state.errant.is_empty() => "errant rows",
            Demand::Settings => return Ok(None),
        };
        state.flush = tick.uncommitted;
        Ok(state.flush.map(|end| Flush { end, intent: false, reason }))
    }

    fn flush(&mut self, _partition: &TopicPartition) -> Result<(), SinkError> {
        // Rows are sent as they come, so nothing is left to begin.
        self.step()
    }

    fn poll(&mut self, partition: &TopicPartition, errant: &mut Vec<ErrantRow>) -> Result<bool, SinkError> {
        self.step()?;
        let state = self.partition(partition)?;
        let (opening, flush) = (Arc::clone(&state.opening), state.flush);
        let done = flush.is_none_or(|end| self.batcher.is_done(&opening, end));
        let state = self.partition(partition)?;
        errant.append(&mut state.errant);
        if done {
            state.flush = None;
        }
        Ok(done)
    }

    fn close(&mut self, partition: &TopicPartition) {
        if let Some(partition) = self.partitions.remove(partition) {
            partition.opening.revoke();
            self.batcher.close(&partition.opening);
            self.reservation.resize(self.batcher.memory());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Calls that wait for their next attempt end there.
        for partition in self.partitions.values() {
            partition.opening.revoke();
        }
    }
}

impl Metrics {
    fn new(context: &TaskContext, table: &Table) -> Self {
        let labels = || {
            [
                ("connector", context.connector.to_string()),
                ("task", context.task.to_string()),
                ("target", table.name.clone()),
            ]
        };
        let [connector, task, target] = labels();
        let operation = ("operation", "BatchWriteItem".to_owned());
        Self {
            sink: SinkMetrics::new(&context.connector, context.task),
            superseded: counter!("fms_sink_rows_superseded_total", &labels()),
            calls: counter!("fms_sink_calls_total", &[connector, task, target, operation]),
        }
    }
}
