//! Notifications: a message in a queue for every object that is created in a bucket.
//!
//! The message is sent under the lock under which the object is stored, so that a queue gets the messages in the order
//! of the writes.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{Object, State, Store};
use crate::stack::embedded::REGION;
use crate::stack::{Notification, StackError};

/// The characters of a key that a message has as they are. A space becomes a plus sign afterwards.
const PLAIN_IN_MESSAGES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b' ');

/// How an object was created.
#[derive(Debug, Clone, Copy)]
pub(super) enum Creation {
    Put,
    Copy,
    CompleteMultipartUpload,
}

impl Store {
    /// From now on, sends a message to the queue for every object that is created in the bucket and that matches. As S3 does, it sends an `s3:TestEvent` first, and refuses two notifications of a bucket that one
    /// object could match both. A notification that exists already is left unchanged.
    pub(crate) fn notify(&self, new: &Notification) -> Result<(), StackError> {
        let Notification { bucket, queue, .. } = new;
        let refused = |problem: String| {
            StackError::new(format!("setting a notification of bucket {bucket} to queue {queue}"), problem)
        };
        let state = &mut *self.state();
        let there = state.buckets.get_mut(bucket).ok_or_else(|| refused("the bucket does not exist".to_owned()))?;
        if there.notifications.contains(new) {
            return Ok(());
        }
        if let Some(Notification { queue, prefix, suffix, .. }) =
            there.notifications.iter().find(|old| overlap(old, new))
        {
            return Err(refused(format!(
                "it overlaps with the one to queue {queue} for prefix `{prefix}` and suffix `{suffix}`; \
                 choose prefixes or suffixes that no key has both of"
            )));
        }
        let test = json!({
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": now(),
            "Bucket": bucket,
            "RequestId": "0000000000000000",
            "HostId": "embedded",
        });
        if !state.queues.send(queue, &test.to_string()) {
            return Err(refused("the queue does not exist; create it first".to_owned()));
        }
        there.notifications.push(new.clone());
        Ok(())
    }
}

impl State {
    /// Stores an object in a bucket that exists, and announces it.
    pub(super) fn create(&mut self, bucket: &str, key: String, object: Object, creation: Creation) {
        let Some(there) = self.buckets.get_mut(bucket) else { return };
        self.created += 1;
        for notification in there.notifications.iter().filter(|notification| notification.matches(&key)) {
            // A queue that was deleted in the meantime gets no message, as in AWS.
            self.queues.send(&notification.queue, &message(bucket, &key, &object, creation, self.created));
        }
        there.objects.insert(key, object);
    }
}

/// Whether a key could match both.
fn overlap(a: &Notification, b: &Notification) -> bool {
    let one_begins = a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix);
    let one_ends = a.suffix.ends_with(&b.suffix) || b.suffix.ends_with(&a.suffix);
    one_begins && one_ends
}

/// The message that announces an object. Of two objects of the same key, the later one has the greater sequencer.
fn message(bucket: &str, key: &str, object: &Object, creation: Creation, sequencer: u64) -> String {
    let name = match creation {
        Creation::Put => "ObjectCreated:Put",
        Creation::Copy => "ObjectCreated:Copy",
        Creation::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
    };
    let record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": now(),
        "eventName": name,
        "userIdentity": {"principalId": "embedded"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "0000000000000000", "x-amz-id-2": "embedded"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "embedded",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "embedded"},
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": {
                "key": encoded(key),
                "size": object.body.len(),
                "eTag": object.etag,
                "sequencer": format!("{sequencer:018X}"),
            },
        },
    });
    json!({"Records": [record]}).to_string()
}

/// A key as a form encodes it, but with its slashes.
fn encoded(key: &str) -> String {
    utf8_percent_encode(key, PLAIN_IN_MESSAGES).to_string().replace(' ', "+")
}

/// The time as messages have it, in milliseconds.
fn now() -> String {
    format!("{:.3}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_encoded_as_a_form_but_with_its_slashes() {
        assert_eq!(encoded("ymd=2023-01-01/a b+c_é.parquet"), "ymd%3D2023-01-01/a+b%2Bc_%C3%A9.parquet");
    }

    #[test]
    fn a_time_has_milliseconds() {
        assert_eq!(format!("{:.3}", Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
