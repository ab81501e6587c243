//! Which raw objects a message names: the events of S3 as S3 itself, SNS and `EventBridge` write them. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::quarantine::Object;

/// The most characters of a message that an error shows.
const SHOWN: usize = 200;

/// What a key in an event of S3 has encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// Why a message or one of its records cannot be read.
#[derive(Debug, Error)]
pub enum EventError {
    /// The message is no JSON.
    #[error("the message is not JSON ({error}): {found}")]
    NotJson {
        /// What is wrong.
        #[source]
        error: serde_json::Error,
        /// The beginning of the message.
        found: String,
    },
    /// The message is none of the known events.
    #[error("the message is no event of S3, neither a direct one nor one from SNS or EventBridge: {found}")]
    Unknown {
        /// The beginning of the message.
        found: String,
    },
    /// The event lacks a field, or one is of another type.
    #[error("the {what} cannot be read ({error}): {found}")]
    Fields {
        /// The part of the message.
        what: &'static str,
        /// What is wrong.
        #[source]
        error: serde_json::Error,
        /// The beginning of that part.
        found: String,
    },
    /// A record is not of S3.
    #[error("a record is of `{found}`; only those of `aws:s3` name raw objects")]
    Source {
        /// The source of the record.
        found: String,
    },
    /// A key is not UTF-8 after it was decoded.
    #[error("the key `{found}` is not UTF-8 after it was decoded")]
    Key {
        /// The key as the message has it.
        found: String,
    },
}

/// An object that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The object.
    pub object: Object,
    /// Its bytes, as far as the event says them.
    pub size: Option<u64>,
}

/// Reads a message: the text of one in a queue, or the event with which a function is invoked. Gives the objects that
/// were created, in the order of the message; other events and the test event of S3 name none.
///
/// A record that cannot be read is an error in its place and hides no other one. A message that is none of the known
/// events is one error.
pub fn created_objects(message: &str) -> Vec<Result<Created, EventError>> {
    event(message).and_then(|event| records(&event)).unwrap_or_else(|error| vec![Err(error)])
}

/// The event of S3 that says that this object was created. [`created_objects`] reads it.
pub fn event_of(object: &Object) -> String {
    let key = utf8_percent_encode(&object.key, ENCODED).to_string();
    let mut of_object = json!({"key": key});
    if let Some(version_id) = &object.version_id {
        of_object["versionId"] = version_id.as_str().into();
    }
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Redrive",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": object.bucket}, "object": of_object},
    }]})
    .to_string()
}

/// The event of a message, without what SNS puts around it.
fn event(message: &str) -> Result<Value, EventError> {
    let event = parse(message)?;
    if event.get("Type").and_then(Value::as_str) != Some("Notification") {
        return Ok(event);
    }
    let notification: Notification = fields("notification of SNS", &event)?;
    // SNS delivers what was published to it and never another notification.
    parse(&notification.message)
}

fn records(event: &Value) -> Result<Vec<Result<Created, EventError>>, EventError> {
    let Value::Object(members) = event else { return Err(unknown(event)) };
    if members.contains_key("Records") {
        let event: Records = fields("event of S3", event)?;
        return Ok(event.records.iter().filter_map(|record| of_record(record).transpose()).collect());
    }
    if members.get("source").and_then(Value::as_str) == Some("aws.s3") {
        return Ok(of_event_bridge(event)?.into_iter().map(Ok).collect());
    }
    if is_test(members) { Ok(Vec::new()) } else { Err(unknown(event)) }
}

/// S3 sends a test event when the notifications of a bucket are configured.
fn is_test(members: &Map<String, Value>) -> bool {
    members.get("Event").and_then(Value::as_str) == Some("s3:TestEvent")
}

fn of_record(record: &Value) -> Result<Option<Created>, EventError> {
    let record: Record = fields("record of the event", record)?;
    if record.event_source != "aws:s3" {
        return Err(EventError::Source { found: shown(&record.event_source) });
    }
    // The configuration of a bucket writes the name with this prefix, and so do some services that are like S3.
    let name = record.event_name.strip_prefix("s3:").unwrap_or(&record.event_name);
    if !name.starts_with("ObjectCreated:") {
        return Ok(None);
    }
    let S3 { bucket, object } = fields("object of the record", &record.s3)?;
    let key = decode(&object.key)?;
    Ok(Some(object.created(bucket, key)))
}

/// Unlike S3 itself, `EventBridge` has keys as they are. AWS's documents do not say so; those who use it do.
fn of_event_bridge(event: &Value) -> Result<Option<Created>, EventError> {
    let event: EventBridge = fields("event of EventBridge", event)?;
    if event.detail_type != "Object Created" {
        return Ok(None);
    }
    let S3 { bucket, object } = fields("detail of the event of EventBridge", &event.detail)?;
    let key = object.key.clone();
    Ok(Some(object.created(bucket, key)))
}

/// A key in an event of S3 is encoded as in a form: `+` is a space and `%2B` a plus.
fn decode(key: &str) -> Result<String, EventError> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| EventError::Key { found: shown(key) })
}

fn parse(text: &str) -> Result<Value, EventError> {
    serde_json::from_str(text).map_err(|error| EventError::NotJson { error, found: shown(text) })
}

fn fields<T: DeserializeOwned>(what: &'static str, value: &Value) -> Result<T, EventError> {
    T::deserialize(value).map_err(|error| EventError::Fields { what, error, found: shown(&value.to_string()) })
}

fn unknown(event: &Value) -> EventError {
    EventError::Unknown { found: shown(&event.to_string()) }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: String,
    event_name: String,
    #[serde(default)]
    s3: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventBridge {
    detail_type: String,
    #[serde(default)]
    detail: Value,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
    object: Named,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Named {
    key: String,
    #[serde(alias = "versionId", alias = "version-id")]
    version_id: Option<String>,
    size: Option<u64>,
}

impl Named {
    fn created(self, bucket: Bucket, key: String) -> Created {
        Created { object: Object { bucket: bucket.name, key, version_id: self.version_id }, size: self.size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(name: &str, key: &str) -> Value {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
            "s3": {"bucket": {"name": "raw"}, "object": {"key": key, "versionId": "v1"}}})
    }

    fn bridge(kind: &str) -> Value {
        json!({"source": "aws.s3", "detail-type": kind,
            "detail": {"bucket": {"name": "raw"}, "object": {"key": "a+b%20c", "version-id": "v1"}}})
    }

    fn objects(event: &Value) -> Vec<Object> {
        let read = created_objects(&event.to_string()).into_iter();
        read.map(|created| created.expect("a record that can be read").object).collect()
    }

    fn keys(event: &Value) -> Vec<String> {
        let objects = objects(event);
        for object in &objects {
            assert_eq!((object.bucket.as_str(), object.version_id.as_deref()), ("raw", Some("v1")));
        }
        objects.into_iter().map(|object| object.key).collect()
    }

    fn error_of(message: &str) -> String {
        let [Err(error)] = &created_objects(message)[..] else { panic!("no error for {message}") };
        error.to_string()
    }

    fn error(event: &Value) -> String {
        error_of(&event.to_string())
    }

    #[test]
    fn an_event_names_the_objects_that_were_created() {
        let event = json!({"Records": [
            record("ObjectCreated:Put", "a+b%20c%2Bd%ED%95%9C"),
            record("ObjectRemoved:Delete", "gone"),
            record("ObjectCreated:CompleteMultipartUpload", "e"),
        ]});
        assert_eq!(keys(&event), ["a b c+d한", "e"]);
        assert_eq!(keys(&json!({"Type": "Notification", "Message": event.to_string()})), ["a b c+d한", "e"]);
    }

    #[test]
    fn event_bridge_has_keys_as_they_are() {
        assert_eq!(keys(&bridge("Object Created")), ["a+b%20c"]);
        assert!(keys(&bridge("Object Deleted")).is_empty());
    }

    #[test]
    fn a_test_event_names_no_object() {
        let event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "raw"});
        assert!(keys(&event).is_empty());
        assert!(keys(&json!({"Type": "Notification", "Message": event.to_string()})).is_empty());
    }

    #[test]
    fn version_and_size_are_read_as_far_as_they_are_there() {
        let mut event = json!({"Records": [record("ObjectCreated:Put", "a"), record("ObjectCreated:Put", "b")]});
        event["Records"][0]["s3"]["object"]["versionId"] = Value::Null;
        event["Records"][1]["s3"]["object"]["size"] = 7.into();
        let read: Vec<_> =
            created_objects(&event.to_string()).into_iter().map(|created| created.expect("read")).collect();
        assert_eq!((read[0].object.version_id.as_deref(), read[0].size), (None, None));
        assert_eq!((read[1].object.version_id.as_deref(), read[1].size), (Some("v1"), Some(7)));
    }

    #[test]
    fn a_record_that_cannot_be_read_hides_no_other_one() {
        let event = json!({"Records": [
            record("ObjectCreated:Put", "a"), record("ObjectCreated:Put", "%FF"), record("ObjectCreated:Put", "b"),
        ]});
        let read = created_objects(&event.to_string());
        let keys: Vec<_> =
            read.iter().map(|read| read.as_ref().ok().map(|created| created.object.key.as_str())).collect();
        assert_eq!(keys, [Some("a"), None, Some("b")]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_what_was_found() {
        let not_json = error_of("hello");
        assert!(not_json.contains("not JSON") && not_json.ends_with(": hello"), "{not_json}");
        assert!(error(&json!({"a": 1})).ends_with(r#"EventBridge: {"a":1}"#));
        assert!(error(&json!([1])).ends_with("EventBridge: [1]"));
        assert!(error(&json!({"Records": [{"eventSource": "aws:sqs", "eventName": "x"}]})).contains("`aws:sqs`"));
        assert!(error(&json!({"Records": [{"eventSource": "aws:s3"}]})).contains("missing field `eventName`"));
        assert!(error(&json!({"Records": [record("ObjectCreated:Put", "%FF")]})).contains("the key `%FF`"));
    }

    proptest! {
        #[test]
        fn a_key_that_was_encoded_as_a_form_is_decoded_to_itself(key in any::<String>()) {
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decode(&encoded).expect("UTF-8"), key.as_str());
            prop_assert_eq!(decode(&encoded.replace("%20", "+")).expect("UTF-8"), key);
        }

        #[test]
        fn the_event_of_an_object_names_it(key in any::<String>(), bucket: String, version_id: Option<String>) {
            let object = Object { bucket, key, version_id };
            let read = created_objects(&event_of(&object));
            prop_assert_eq!(read.into_iter().map(|read| read.expect("read").object).collect::<Vec<_>>(), [object]);
        }
    }
}
