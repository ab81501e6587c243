//! The operations on queues: creating, finding, emptying and deleting them, and their attributes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::queue::{Queue, since_epoch};
use super::settings::{Settings, unknown};
use super::{ACCOUNT, Refusal, State, arn, done, invalid_parameter, name_in, out_of_range, refusal, url};

/// For this time after a purge, another one is refused.
const PURGE_INTERVAL: Duration = Duration::from_mins(1);

/// Attributes that queues of AWS may have, but not those here. They can be asked for.
const NEVER_SET: [&str; 9] = [
    "Policy",
    "RedriveAllowPolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "SqsManagedSseEnabled",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Create {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Named {
    queue_name: String,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    queue_name_prefix: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct At {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct GetAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct SetAttributes {
    queue_url: String,
    attributes: BTreeMap<String, String>,
}

/// Creates a queue unless it exists already with these attributes.
pub(super) fn ensure(state: &mut State, name: &str, attributes: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let characters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 80 || !name.chars().all(characters) {
        return Err(invalid_parameter(format!(
            "The queue name `{name}` is invalid: it has 1 to 80 alphanumeric characters, hyphens and underscores; \
             there are only standard queues here."
        )));
    }
    let existing = state.queues.get(name).map(|queue| &queue.settings);
    let settings = existing.unwrap_or(&Settings::default()).with(attributes)?;
    if existing.is_some_and(|existing| *existing != settings) {
        let problem = format!("A queue already exists with the name {name} and different values of its attributes.");
        return Err(refusal(("QueueNameExists", "QueueAlreadyExists"), problem));
    }
    check_redrive(state, name, &settings)?;
    state.queues.entry(name.to_owned()).or_insert_with(|| Queue::new(settings));
    Ok(())
}

/// An error unless the dead-letter queue is another queue that exists.
fn check_redrive(state: &State, name: &str, settings: &Settings) -> Result<(), Refusal> {
    let Some(redrive) = &settings.redrive else { return Ok(()) };
    let target = &redrive.target;
    let reason = match state.queues.get(target) {
        Some(_) if target != name => return Ok(()),
        Some(_) => "A queue is not its own dead letter target.",
        None => "Dead letter target does not exist.",
    };
    Err(invalid_parameter(format!("Value {target} for parameter RedrivePolicy is invalid. Reason: {reason}")))
}

pub(super) fn create(state: &mut State, input: &Create, host: &str) -> Result<Value, Refusal> {
    ensure(state, &input.queue_name, &input.attributes)?;
    Ok(json!({"QueueUrl": url(host, &input.queue_name)}))
}

pub(super) fn get_url(state: &mut State, input: &Named, host: &str) -> Result<Value, Refusal> {
    if let Some(owner) = input.owner.as_ref().filter(|owner| *owner != ACCOUNT) {
        return Err(invalid_parameter(format!(
            "QueueOwnerAWSAccountId {owner} is not {ACCOUNT}, the only account here."
        )));
    }
    state.named(&input.queue_name)?;
    Ok(json!({"QueueUrl": url(host, &input.queue_name)}))
}

pub(super) fn list(state: &mut State, input: &List, host: &str) -> Result<Value, Refusal> {
    let page = input.max_results.unwrap_or(1000);
    if !(1..=1000).contains(&page) {
        return Err(out_of_range(page, "MaxResults", &(1..=1000)));
    }
    let after = input.next_token.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let rest = state.queues.range::<String, _>((after, Bound::Unbounded));
    let mut found = rest.map(|(name, _)| name).filter(|name| name.starts_with(&input.queue_name_prefix));
    let names: Vec<_> = found.by_ref().take(usize::try_from(page).unwrap_or(usize::MAX)).collect();
    let mut answer = json!({"QueueUrls": names.iter().map(|name| url(host, name)).collect::<Vec<_>>()});
    // As in AWS, only a request with a page size is answered in pages.
    if input.max_results.is_some() && found.next().is_some() {
        answer["NextToken"] = json!(names.last());
    }
    Ok(answer)
}

pub(super) fn delete(state: &mut State, input: &At) -> Result<Value, Refusal> {
    state.at(&input.queue_url)?;
    state.queues.remove(name_in(&input.queue_url)?);
    Ok(done())
}

pub(super) fn purge(state: &mut State, input: &At) -> Result<Value, Refusal> {
    let queue = state.at(&input.queue_url)?;
    let now = Instant::now();
    if queue.purged.is_some_and(|purged| now < purged + PURGE_INTERVAL) {
        let kind = ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress");
        return Err(refusal(kind, "Only one PurgeQueue operation on a queue is allowed every 60 seconds."));
    }
    queue.purged = Some(now);
    queue.messages.clear();
    Ok(done())
}

pub(super) fn get_attributes(state: &mut State, input: &GetAttributes) -> Result<Value, Refusal> {
    let queue = state.at(&input.queue_url)?;
    let depth = queue.depth(Instant::now());
    let mut all = queue.settings.shown();
    all.extend([
        ("ApproximateNumberOfMessages", depth.visible.to_string()),
        ("ApproximateNumberOfMessagesDelayed", depth.delayed.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", depth.in_flight.to_string()),
        ("CreatedTimestamp", since_epoch(queue.created).as_secs().to_string()),
        ("LastModifiedTimestamp", since_epoch(queue.modified).as_secs().to_string()),
        ("QueueArn", arn(name_in(&input.queue_url)?)),
    ]);
    let asked = &input.attribute_names;
    let is_known = |name: &str| {
        name == "All"
            || name == "RedrivePolicy"
            || NEVER_SET.contains(&name)
            || all.iter().any(|(known, _)| *known == name)
    };
    if let Some(name) = asked.iter().find(|name| !is_known(name)) {
        return Err(unknown(name));
    }
    let is_asked = |name: &str| asked.iter().any(|asked| asked == "All" || asked == name);
    let shown: Map<_, _> = all
        .into_iter()
        .filter(|(name, _)| is_asked(name))
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    Ok(if shown.is_empty() { done() } else { json!({"Attributes": shown}) })
}

pub(super) fn set_attributes(state: &mut State, input: &SetAttributes) -> Result<Value, Refusal> {
    let name = name_in(&input.queue_url)?;
    let settings = state.named(name)?.settings.with(&input.attributes)?;
    check_redrive(state, name, &settings)?;
    let queue = state.named(name)?;
    queue.settings = settings;
    queue.modified = SystemTime::now();
    Ok(done())
}
