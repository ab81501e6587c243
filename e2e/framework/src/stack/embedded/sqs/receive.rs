//! Receiving messages, with long polls that wake when a message can be received.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::attributes::{self, md5_of_body};
use super::messages::{Receipt, id};
use super::queue::{Message, seconds, since_epoch};
use super::settings::{VISIBILITY, WAIT, unknown};
use super::{ACCOUNT, Queues, Refusal, State, arn, done, name_in, out_of_range};

/// How long a request waits that does not wait as long as it asks to. It is long enough for a process that is being told to
/// stop not to ask many times.
const MOMENT: Duration = Duration::from_millis(20);

/// What SQS itself says of a message that was received, if it is asked to. The last ones do not occur here.
const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "SenderId",
    "SentTimestamp",
    "AWSTraceHeader",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SequenceNumber",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Receive {
    queue_url: String,
    /// The older name of the next member.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<u32>,
    visibility_timeout: Option<u32>,
    wait_time_seconds: Option<u32>,
}

impl Receive {
    fn check(&self) -> Result<(), Refusal> {
        for (value, name, range) in [
            (self.max_number_of_messages, "MaxNumberOfMessages", 1..=10),
            (self.visibility_timeout, "VisibilityTimeout", VISIBILITY),
            (self.wait_time_seconds, "WaitTimeSeconds", WAIT),
        ] {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(out_of_range(value, name, &range));
            }
        }
        let is_known = |name: &&str| *name == "All" || SYSTEM_ATTRIBUTES.contains(name);
        self.system_attributes().find(|name| !is_known(name)).map_or(Ok(()), |name| Err(unknown(name)))
    }

    fn system_attributes(&self) -> impl Iterator<Item = &str> {
        self.attribute_names.iter().chain(&self.message_system_attribute_names).map(String::as_str)
    }

    /// Whether the receiver asks for the sender's attribute of this name.
    fn asks_for(&self, name: &str) -> bool {
        self.message_attribute_names.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => asked == "All" || asked == name,
        })
    }
}

/// Receives what is visible, or waits for it as long as the request or the queue says.
pub(super) async fn receive(queues: &Queues, input: &Receive) -> Result<Value, Refusal> {
    input.check()?;
    let name = name_in(&input.queue_url)?;
    let begun = Instant::now();
    loop {
        // What changes from here on is noticed below.
        let changed = queues.shared.changed.notified();
        let look_again = {
            let state = &mut *queues.state();
            let now = Instant::now();
            let (messages, moved) = take(state, name, input, now)?;
            if moved {
                queues.shared.changed.notify_waiters();
            }
            if !messages.is_empty() {
                return Ok(json!({"Messages": messages}));
            }
            let longest = if state.ends_polls { MOMENT } else { Duration::MAX };
            let queue = state.named(name)?;
            let end = begun + seconds(input.wait_time_seconds.unwrap_or(queue.settings.wait)).min(longest);
            if now >= end {
                return Ok(done());
            }
            queue.next_visible(now).map_or(end, |visible| visible.min(end))
        };
        tokio::select! {
            () = changed => {}
            () = sleep_until(look_again) => {}
        }
    }
}

/// The messages that are visible now, as they are shown to their receiver; and whether some were moved to the
/// dead-letter queue instead.
fn take(state: &mut State, name: &str, input: &Receive, now: Instant) -> Result<(Vec<Value>, bool), Refusal> {
    let max = usize::try_from(input.max_number_of_messages.unwrap_or(1)).unwrap_or(usize::MAX);
    let settings = &state.named(name)?.settings;
    let hide = seconds(input.visibility_timeout.unwrap_or(settings.visibility));
    let redrive = settings.redrive.clone().filter(|redrive| state.queues.contains_key(&redrive.target));
    let queue = state.named(name)?;
    let taken = queue.take(max, hide, redrive.as_ref().map(|redrive| redrive.max_receives), now);
    let shown = |number| {
        let message = queue.messages.get(&number)?;
        Some(show(message, &Receipt { number, receives: message.receives }, name, input))
    };
    let messages = taken.received.into_iter().filter_map(shown).collect();
    let moved = !taken.dead.is_empty();
    if let Some(redrive) = redrive {
        let target = state.named(&redrive.target)?;
        for (number, message) in taken.dead {
            target.put_dead(number, message, name, now);
        }
    }
    Ok((messages, moved))
}

fn show(message: &Message, receipt: &Receipt, queue: &str, input: &Receive) -> Value {
    let mut shown = json!({
        "MessageId": id(receipt.number),
        "ReceiptHandle": receipt.handle(queue),
        "MD5OfBody": md5_of_body(&message.body),
        "Body": message.body,
    });
    let asked: Vec<&str> = input.system_attributes().collect();
    let system: Map<String, Value> = SYSTEM_ATTRIBUTES
        .into_iter()
        .filter(|name| asked.contains(name) || asked.contains(&"All"))
        .filter_map(|name| Some((name.to_owned(), Value::String(system_attribute(message, name)?))))
        .collect();
    if !system.is_empty() {
        shown["Attributes"] = Value::Object(system);
    }
    let attributes: Vec<_> = message.attributes.iter().filter(|(name, _)| input.asks_for(name)).collect();
    if let Some(md5) = attributes::md5(attributes.iter().copied()) {
        shown["MD5OfMessageAttributes"] = json!(md5);
        shown["MessageAttributes"] = attributes.into_iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    }
    shown
}

fn system_attribute(message: &Message, name: &str) -> Option<String> {
    let millis = |time| since_epoch(time).as_millis().to_string();
    match name {
        "ApproximateFirstReceiveTimestamp" => message.first_received.map(millis),
        "ApproximateReceiveCount" => Some(message.receives.to_string()),
        "DeadLetterQueueSourceArn" => message.source.as_deref().map(arn),
        "SenderId" => Some(ACCOUNT.to_owned()),
        "SentTimestamp" => Some(millis(message.sent)),
        _ => None,
    }
}
