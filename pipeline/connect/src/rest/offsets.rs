//! `/connectors/{name}/offsets`: what the group of a connector has committed.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Served;
use super::answer::{bad_request, ok, operate};
use crate::TopicPartition;
use crate::worker::NewOffsets;

pub(super) async fn read(State(served): State<Served>, Path(name): Path<String>) -> Response {
    operate(
        &served,
        move |herder| herder.offsets(&name),
        |offsets| {
            let entry = |(partition, offset): (TopicPartition, i64)| {
                let TopicPartition { topic, partition } = partition;
                json!({
                    "partition": {"kafka_topic": &*topic, "kafka_partition": partition},
                    "offset": {"kafka_offset": offset},
                })
            };
            let offsets: Vec<Value> = offsets.into_iter().map(entry).collect();
            ok(&json!({"offsets": offsets}))
        },
    )
    .await
}

pub(super) async fn alter(State(served): State<Served>, Path(name): Path<String>, body: Bytes) -> Response {
    let offsets = match new_offsets(&body) {
        Ok(offsets) => offsets,
        Err(problem) => return bad_request(&problem),
    };
    operate(
        &served,
        move |herder| herder.alter_offsets(&name, &offsets),
        |()| ok(&json!({"message": "The offsets for this connector have been altered successfully"})),
    )
    .await
}

pub(super) async fn reset(State(served): State<Served>, Path(name): Path<String>) -> Response {
    operate(
        &served,
        move |herder| herder.reset_offsets(&name),
        |()| ok(&json!({"message": "The offsets for this connector have been reset successfully"})),
    )
    .await
}

/// The offsets that a request sets. Numbers may be written as texts, as in Kafka Connect.
fn new_offsets(body: &[u8]) -> Result<NewOffsets, String> {
    let body: Value = serde_json::from_slice(body).map_err(|problem| format!("the body is not JSON: {problem}"))?;
    let entries = body["offsets"].as_array().filter(|entries| !entries.is_empty());
    let entries = entries.ok_or("Partitions / offsets need to be provided for an alter offsets request")?;
    let mut offsets = NewOffsets::new();
    for entry in entries {
        let partition = entry["partition"].as_object().ok_or("The partition of an offset cannot be null or missing")?;
        let (Some(topic), Some(number)) = (partition.get("kafka_topic"), partition.get("kafka_partition")) else {
            return Err("a partition needs the keys `kafka_topic` and `kafka_partition`".into());
        };
        let topic = topic.as_str().ok_or("`kafka_topic` is not a text")?;
        let number = integer(number)
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| format!("`kafka_partition` of `{topic}` is not an integer: {number}"))?;
        let offset = match &entry["offset"] {
            Value::Null => None,
            Value::Object(offset) => match offset.get("kafka_offset") {
                Some(offset) => {
                    Some(integer(offset).filter(|offset| *offset >= 0).ok_or_else(|| {
                        format!("`kafka_offset` of {topic}-{number} is not an integer from 0: {offset}")
                    })?)
                }
                None => return Err(format!("the offset of {topic}-{number} is not null and has no `kafka_offset`")),
            },
            other => return Err(format!("the offset of {topic}-{number} is neither null nor an object: {other}")),
        };
        let partition = TopicPartition { topic: topic.into(), partition: number };
        if offsets.insert(partition, offset).is_some() {
            return Err(format!("{topic}-{number} is there twice"));
        }
    }
    Ok(offsets)
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn offsets_are_read_as_numbers_and_texts_and_null() {
        let body = br#"{"offsets": [
            {"partition": {"kafka_topic": "a", "kafka_partition": 0}, "offset": {"kafka_offset": 7}},
            {"partition": {"kafka_topic": "a", "kafka_partition": "1"}, "offset": {"kafka_offset": "8"}},
            {"partition": {"kafka_topic": "b", "kafka_partition": 0}, "offset": null}]}"#;
        let read = new_offsets(body).expect("offsets");
        let read: Vec<_> = read.iter().map(|(partition, offset)| (partition.to_string(), *offset)).collect();
        assert_eq!(read, [("a-0".to_owned(), Some(7)), ("a-1".to_owned(), Some(8)), ("b-0".to_owned(), None)]);
    }

    #[test]
    fn what_is_wrong_with_offsets_is_said() {
        let wrong = |entry: &str| new_offsets(format!(r#"{{"offsets": [{entry}]}}"#).as_bytes()).expect_err("wrong");
        assert_snapshot!(wrong(""), @"Partitions / offsets need to be provided for an alter offsets request");
        assert_snapshot!(wrong(r#"{"offset": null}"#), @"The partition of an offset cannot be null or missing");
        assert_snapshot!(wrong(r#"{"partition": {"kafka_topic": "a"}}"#), @"a partition needs the keys `kafka_topic` and `kafka_partition`");
        assert_snapshot!(wrong(r#"{"partition": {"kafka_topic": "a", "kafka_partition": 1.5}}"#), @"`kafka_partition` of `a` is not an integer: 1.5");
        assert_snapshot!(wrong(r#"{"partition": {"kafka_topic": "a", "kafka_partition": 1}, "offset": {}}"#), @"the offset of a-1 is not null and has no `kafka_offset`");
        assert_snapshot!(wrong(r#"{"partition": {"kafka_topic": "a", "kafka_partition": 1}, "offset": {"kafka_offset": -1}}"#), @"`kafka_offset` of a-1 is not an integer from 0: -1");
    }
}
