//! Sending and deleting messages and changing their visibility, one by one and in batches.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::attributes::{self, Attributes, md5_of_body};
use super::queue::seconds;
use super::settings::{DELAY, VISIBILITY};
use super::{Refusal, State, done, invalid_parameter, name_in, out_of_range, refusal};

/// The most entries that a batch may have.
const MAX_ENTRIES: usize = 10;

/// The most bytes that the messages of a batch may have together.
const MAX_BATCH: usize = 1024 * 1024;

/// A message to send.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Outgoing {
    message_body: String,
    delay_seconds: Option<u32>,
    #[serde(default)]
    message_attributes: Attributes,
}

impl Outgoing {
    /// A message without attributes.
    pub(super) fn text(body: &str) -> Self {
        Self { message_body: body.to_owned(), delay_seconds: None, message_attributes: Attributes::new() }
    }

    fn size(&self) -> usize {
        self.message_body.len() + attributes::size(&self.message_attributes)
    }
}

/// A message that was received, by its receipt.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Received {
    receipt_handle: String,
}

/// A message that was received, and the time from now for which it shall be hidden.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Hidden {
    receipt_handle: String,
    visibility_timeout: u32,
}

/// A request about one message of a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct One {
    queue_url: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A request about several messages of a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Batch {
    queue_url: String,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The members of a request beside its queue, or of an entry of a batch beside its id.
fn members<T: DeserializeOwned>(rest: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(rest))
        .map_err(|error| invalid_parameter(format!("The request does not describe a message: {error}.")))
}

/// Which receive of which message a receipt handle stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    /// The number of the message.
    pub number: u64,
    /// How often it had been received then.
    pub receives: u32,
}

impl Receipt {
    /// The handle that is given to the receiver. It is opaque to clients.
    pub(super) fn handle(&self, queue: &str) -> String {
        BASE64_STANDARD.encode(format!("{queue}/{}/{}", self.number, self.receives))
    }

    fn parse(queue: &str, handle: &str) -> Result<Self, Refusal> {
        let read = || {
            let text = String::from_utf8(BASE64_STANDARD.decode(handle).ok()?).ok()?;
            let (number, receives) = text.strip_prefix(queue)?.strip_prefix('/')?.split_once('/')?;
            Some(Self { number: number.parse().ok()?, receives: receives.parse().ok()? })
        };
        read().ok_or_else(|| {
            let problem = format!("The input receipt handle \"{handle}\" is not a valid one of queue {queue}.");
            refusal(("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"), problem)
        })
    }
}

/// The id of a message, in the form of a UUID. It is unique among all queues.
pub(super) fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// Adds a message to a queue, and returns what its sender is told.
pub(super) fn put(state: &mut State, name: &str, message: &Outgoing) -> Result<Value, Refusal> {
    let Outgoing { message_body: body, delay_seconds, message_attributes } = message;
    let settings = &state.named(name)?.settings;
    if let Some(delay) = delay_seconds.filter(|delay| !DELAY.contains(delay)) {
        return Err(out_of_range(delay, "DelaySeconds", &DELAY));
    }
    let delay = seconds(delay_seconds.unwrap_or(settings.delay));
    if body.is_empty() {
        let kind = ("MissingRequiredParameterException", "MissingParameter");
        return Err(refusal(kind, "The request must contain the parameter MessageBody."));
    }
    if body.chars().any(|c| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        let problem = "Invalid characters found: a body has the characters that XML 1.0 allows.";
        return Err(refusal(("InvalidMessageContents", "InvalidMessageContents"), problem));
    }
    attributes::check(message_attributes)?;
    let most = settings.max_size;
    if u32::try_from(message.size()).is_ok_and(|size| size <= most) {
        state.sent += 1;
        let number = state.sent;
        state.named(name)?.put(number, body, message_attributes, delay, Instant::now());
        let mut sent = json!({"MessageId": id(number), "MD5OfMessageBody": md5_of_body(body)});
        if let Some(md5) = attributes::md5(message_attributes) {
            sent["MD5OfMessageAttributes"] = json!(md5);
        }
        return Ok(sent);
    }
    let reason = format!("Message must be shorter than {most} bytes.");
    Err(invalid_parameter(format!("One or more parameters are invalid. Reason: {reason}")))
}

/// Deletes a message. Like AWS, it tells the receiver nothing if the message is gone already.
fn remove(state: &mut State, name: &str, Received { receipt_handle }: &Received) -> Result<Value, Refusal> {
    let queue = state.named(name)?;
    let Receipt { number, receives } = Receipt::parse(name, receipt_handle)?;
    if queue.held(number, receives, Instant::now()).is_some() {
        queue.messages.remove(&number);
    }
    Ok(done())
}

fn hide(state: &mut State, name: &str, input: &Hidden) -> Result<Value, Refusal> {
    let queue = state.named(name)?;
    let Receipt { number, receives } = Receipt::parse(name, &input.receipt_handle)?;
    if !VISIBILITY.contains(&input.visibility_timeout) {
        return Err(out_of_range(input.visibility_timeout, "VisibilityTimeout", &VISIBILITY));
    }
    let now = Instant::now();
    if !queue.messages.contains_key(&number) {
        let reason = "Message does not exist or is not available for visibility timeout change.";
        let handle = &input.receipt_handle;
        let problem = format!("Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}");
        return Err(invalid_parameter(problem));
    }
    let held = queue.held(number, receives, now);
    if held.is_some_and(|message| message.hide(seconds(input.visibility_timeout), now)) {
        return Ok(done());
    }
    let kind = ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight");
    Err(refusal(kind, "The message is not in flight, or it has been received again."))
}

pub(super) fn send(state: &mut State, One { queue_url, rest }: One) -> Result<Value, Refusal> {
    put(state, name_in(&queue_url)?, &members(rest)?)
}

pub(super) fn delete(state: &mut State, One { queue_url, rest }: One) -> Result<Value, Refusal> {
    remove(state, name_in(&queue_url)?, &members(rest)?)
}

pub(super) fn change_visibility(state: &mut State, One { queue_url, rest }: One) -> Result<Value, Refusal> {
    hide(state, name_in(&queue_url)?, &members(rest)?)
}

pub(super) fn send_batch(state: &mut State, batch: Batch) -> Result<Value, Refusal> {
    let (name, messages) = entries::<Outgoing>(state, batch)?;
    let size: usize = messages.iter().map(|(_, message)| message.size()).sum();
    if size > MAX_BATCH {
        let problem = format!("Batch requests cannot be longer than {MAX_BATCH} bytes. You have sent {size} bytes.");
        return Err(refusal(("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"), problem));
    }
    Ok(outcomes(messages, |message| put(state, &name, message)))
}

pub(super) fn delete_batch(state: &mut State, batch: Batch) -> Result<Value, Refusal> {
    let (name, messages) = entries(state, batch)?;
    Ok(outcomes(messages, |message| remove(state, &name, message)))
}

pub(super) fn change_visibility_batch(state: &mut State, batch: Batch) -> Result<Value, Refusal> {
    let (name, messages) = entries(state, batch)?;
    Ok(outcomes(messages, |message| hide(state, &name, message)))
}

/// The name of the queue of a batch, and its entries with their ids. The batch is refused as a whole if its queue does
/// not exist, or if its ids or their number are not allowed.
fn entries<T: DeserializeOwned>(state: &mut State, batch: Batch) -> Result<(String, Vec<(String, T)>), Refusal> {
    let name = name_in(&batch.queue_url)?.to_owned();
    state.named(&name)?;
    let count = batch.entries.len();
    if count == 0 {
        let kind = ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest");
        return Err(refusal(kind, "There should be at least one entry in the request."));
    }
    if count > MAX_ENTRIES {
        let kind = ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest");
        let problem = format!("Maximum number of entries per request are {MAX_ENTRIES}. You have sent {count}.");
        return Err(refusal(kind, problem));
    }
    let mut seen = BTreeSet::new();
    for Entry { id, .. } in &batch.entries {
        let characters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || id.len() > 80 || !id.chars().all(characters) {
            let kind = ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId");
            let problem = format!("The batch entry id `{id}` is not 1 to 80 alphanumeric characters, - and _.");
            return Err(refusal(kind, problem));
        }
        if !seen.insert(id) {
            let kind = ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct");
            return Err(refusal(kind, format!("Id {id} repeated.")));
        }
    }
    let entries = batch.entries.into_iter().map(|entry| Ok((entry.id, members(entry.rest)?)));
    Ok((name, entries.collect::<Result<_, Refusal>>()?))
}

/// The answer to a batch: what became of each entry.
fn outcomes<T>(entries: Vec<(String, T)>, mut carry_out: impl FnMut(&T) -> Result<Value, Refusal>) -> Value {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, entry) in entries {
        match carry_out(&entry) {
            Ok(mut outcome) => {
                outcome["Id"] = json!(id);
                successful.push(outcome);
            }
            Err(Refusal { kind, query_code, message }) => {
                let code = query_code.unwrap_or(kind);
                failed.push(json!({"Id": id, "Code": code, "Message": message, "SenderFault": true}));
            }
        }
    }
    json!({"Successful": successful, "Failed": failed})
}
