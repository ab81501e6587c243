//! The queues of a fixture, `[queues.NAME]`, and what is said of queues and buckets elsewhere.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::did_you_mean;
use crate::stack::{DeadLetterQueue, Notification, Queue, Resources};

/// How long SQS hides a received message, in seconds, unless a file says something else. It is AWS's own default.
const VISIBILITY_TIMEOUT: u32 = 30;

/// A queue as a file describes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct QueueSettings {
    /// For how many seconds a received message is hidden, 30 by default.
    visibility_timeout: Option<u32>,
    /// The queue to which messages go that were received too often.
    dead_letters: Option<String>,
    /// How often a message is received before it goes to the queue of `dead_letters`.
    max_receives: Option<u32>,
}

impl QueueSettings {
    /// The queue; the error says what is missing.
    pub(super) fn queue(&self, name: &str) -> Result<Queue, String> {
        let dead_letters = match (&self.dead_letters, self.max_receives) {
            (Some(queue), Some(max_receives @ 1..)) => Some(DeadLetterQueue { queue: queue.clone(), max_receives }),
            (None, None) => None,
            _ => {
                return Err(format!(
                    "the queue `{name}`: `dead_letters` and `max_receives`, which is at least 1, belong together"
                ));
            }
        };
        Ok(Queue { visibility_timeout: self.visibility_timeout.unwrap_or(VISIBILITY_TIMEOUT), dead_letters })
    }
}

/// Checks that what queues, notifications, `drained_queues` and `unobserved_objects` name is created.
pub(super) fn check(resources: &Resources, drained: &[String], unobserved: &[String]) -> Result<(), String> {
    let queues: Vec<&String> = resources.queues.keys().collect();
    let buckets: Vec<&String> = resources.buckets.iter().collect();
    let dead_letters = resources.queues.values().filter_map(|queue| queue.dead_letters.as_ref());
    for dead_letters in dead_letters {
        known("`dead_letters` of a queue", &dead_letters.queue, "queues", &queues)?;
    }
    for Notification { bucket, queue, .. } in &resources.notifications {
        known("a notification", bucket, "buckets", &buckets)?;
        known("a notification", queue, "queues", &queues)?;
    }
    for prefix in unobserved {
        let (bucket, _) = prefix.split_once('/').ok_or_else(|| {
            format!("`unobserved_objects` has `{prefix}`; write a bucket and the beginning of keys, as `bucket/state/`")
        })?;
        known("`unobserved_objects`", &bucket.to_owned(), "buckets", &buckets)?;
    }
    drained.iter().try_for_each(|queue| known("`drained_queues`", queue, "queues", &queues))
}

fn known(what: &str, name: &String, place: &str, names: &[&String]) -> Result<(), String> {
    if names.contains(&name) {
        return Ok(());
    }
    let near = did_you_mean(name, names.iter().map(|name| name.as_str()));
    Err(format!("{what} has `{name}`, which is not among `{place}`{near}"))
}

/// The queues of several files, of which the nearest comes last.
pub(super) fn merge<'a>(
    files: impl IntoIterator<Item = &'a BTreeMap<String, QueueSettings>>,
) -> Result<BTreeMap<String, Queue>, String> {
    let mut queues = BTreeMap::new();
    for (name, settings) in files.into_iter().flatten() {
        queues.insert(name.clone(), settings.queue(name)?);
    }
    Ok(queues)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(text: &str) -> Result<Queue, String> {
        toml::from_str::<QueueSettings>(text).map_err(|error| error.to_string())?.queue("events")
    }

    #[test]
    fn a_queue_has_the_defaults_of_aws() {
        assert_eq!(queue(""), Ok(Queue { visibility_timeout: 30, dead_letters: None }));
        let dead_letters = Some(DeadLetterQueue { queue: "left".into(), max_receives: 3 });
        let text = "visibility_timeout = 2\ndead_letters = 'left'\nmax_receives = 3";
        assert_eq!(queue(text), Ok(Queue { visibility_timeout: 2, dead_letters }));
        let error = queue("max_receives = 3").expect_err("no queue for them");
        assert!(error.contains("the queue `events`: `dead_letters` and `max_receives`"), "{error}");
    }

    #[test]
    fn what_is_named_has_to_be_created() {
        let mut resources = Resources::bucket("raw");
        resources.queues = merge([&BTreeMap::from([("events".to_owned(), QueueSettings::default())])]).expect("valid");
        let notification = |bucket: &str, queue: &str| {
            let text = format!("bucket = '{bucket}'\nqueue = '{queue}'\nprefix = 'topics/'");
            toml::from_str::<Notification>(&text).expect("valid")
        };
        resources.notifications = vec![notification("raw", "events")];
        assert_eq!(check(&resources, &["events".to_owned()], &["raw/state/".to_owned()]), Ok(()));
        let error = check(&resources, &["event".to_owned()], &[]).expect_err("unknown");
        assert!(error.contains("`event`, which is not among `queues`; did you mean `events`?"), "{error}");
        resources.notifications = vec![notification("rww", "events")];
        assert!(check(&resources, &[], &[]).expect_err("unknown").contains("`rww`, which is not among `buckets`"));
    }
}
