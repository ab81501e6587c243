//! DynamoDB: JSON with the operation in `X-Amz-Target`, and the table in the body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Batch, Refusal, Service, Shortened, begins_with_any, operation};
use crate::calls::{Effect, Request};

const JSON: &str = "application/x-amz-json-1.0";

/// The one operation of which DynamoDB may do a part.
const BATCH: &str = "BatchWriteItem";

const READS: [&str; 7] = ["Get", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet"];

/// DynamoDB.
pub(crate) static DYNAMODB: Service = Service {
    name: "dynamodb",
    title: "DynamoDB",
    target_prefix: Some("DynamoDB"),
    streams: false,
    request: |head, body| {
        let operation = operation(head, body);
        let effect = if begins_with_any(&operation, &READS) { Effect::Read } else { Effect::Write };
        Request { target: tables(body), effect, can_be_partial: operation == BATCH, deletes: 0, operation }
    },
    throttled: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: JSON,
        body: "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException\",\
               \"message\":\"The level of configured provisioned throughput for the table was exceeded.\"}",
    },
    denied: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: JSON,
        body: "{\"__type\":\"com.amazonaws.dynamodb.v20120810#AccessDeniedException\",\
               \"message\":\"User is not authorized to perform this action.\"}",
    },
    failed: Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: JSON,
        body: "{\"__type\":\"com.amazonaws.dynamodb.v20120810#InternalServerError\",\
               \"message\":\"The request could not be processed because of a server error.\"}",
    },
    shorten: Some(shorten),
    // A transaction is carried out as a whole or not at all.
    batches: &[Batch { operation: BATCH, items: "RequestItems" }],
};

/// The tables that a DynamoDB request names, without reading its items.
#[expect(clippy::zero_sized_map_values, reason = "a set would not read past the values of a JSON object")]
fn tables(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "TableName")]
        table: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "RequestItems")]
        batch: Option<BTreeMap<Cow<'a, str>, IgnoredAny>>,
        #[serde(borrow, rename = "TransactItems")]
        transaction: Option<Vec<BTreeMap<Cow<'a, str>, Named<'a>>>>,
    }
    fn collect<'a>(named: Named<'a>, tables: &mut Vec<Cow<'a, str>>) {
        tables.extend(named.table);
        tables.extend(named.batch.into_iter().flat_map(BTreeMap::into_keys));
        for action in named.transaction.into_iter().flatten().flat_map(BTreeMap::into_values) {
            collect(action, tables);
        }
    }
    let mut tables = Vec::new();
    if let Ok(named) = serde_json::from_slice(body) {
        collect(named, &mut tables);
    }
    tables.sort_unstable();
    tables.dedup();
    tables.join(",")
}

/// Takes the last item out of a `BatchWriteItem`; `None` if it has no items.
fn shorten(body: &[u8]) -> Option<Shortened> {
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let tables = request.get_mut("RequestItems")?.as_object_mut()?;
    let table = tables.iter().rfind(|(_, items)| items.as_array().is_some_and(|items| !items.is_empty()))?.0.clone();
    let items = tables.get_mut(&table)?.as_array_mut()?;
    let item = items.pop()?;
    if items.is_empty() {
        tables.remove(&table);
    }
    let rest = (!tables.is_empty()).then(|| request.to_string().into());
    let add = Box::new(move |answer: &mut Value| {
        let Some(answer) = answer.as_object_mut() else { return };
        let tables = answer.entry("UnprocessedItems").or_insert_with(|| json!({}));
        let Some(tables) = tables.as_object_mut() else { return };
        if let Some(items) = tables.entry(table).or_insert_with(|| json!([])).as_array_mut() {
            items.push(item);
        }
    });
    Some(Shortened { rest, content_type: JSON, add })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn reads_are_told_from_writes() {
        let effect = |operation: &str| {
            let target = format!("DynamoDB_20120810.{operation}");
            (DYNAMODB.request)(&head("POST", "/", &[("x-amz-target", &target)]), b"{}").effect
        };
        for operation in ["GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable", "TransactGetItems"] {
            assert_eq!(effect(operation), Effect::Read, "{operation}");
        }
        for operation in ["PutItem", "BatchWriteItem", "TransactWriteItems", "UpdateItem", "DeleteItem"] {
            assert_eq!(effect(operation), Effect::Write, "{operation}");
        }
    }

    #[test]
    fn tables_are_named_in_three_ways() {
        let named = |body: Value| tables(body.to_string().as_bytes());
        assert_eq!(named(json!({"TableName": "rows", "Item": {"pk": {"S": "TableName"}}})), "rows");
        assert_eq!(named(json!({"RequestItems": {"b": [], "a": []}})), "a,b");
        let transaction = json!({"TransactItems": [{"Put": {"TableName": "b"}}, {"Delete": {"TableName": "a"}}, {"Put": {"TableName": "b"}}]});
        assert_eq!(named(transaction), "a,b");
        assert_eq!(tables(b"not JSON"), "");
    }

    #[test]
    fn the_last_item_of_a_batch_is_taken_out_and_nothing_else() {
        let put = |id: &str| json!({"PutRequest": {"Item": {"pk": {"S": id}}}});
        let batch = json!({"RequestItems": {"rows": [put("1"), put("2")]}, "ReturnConsumedCapacity": "NONE"});
        let shortened = shorten(batch.to_string().as_bytes()).unwrap();
        let rest: Value = serde_json::from_slice(shortened.rest.as_deref().unwrap()).unwrap();
        assert_eq!(rest, json!({"RequestItems": {"rows": [put("1")]}, "ReturnConsumedCapacity": "NONE"}));
        let answer = shortened.add_to(json!({"UnprocessedItems": {"rows": [put("1")]}, "ConsumedCapacity": []}));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer, json!({"UnprocessedItems": {"rows": [put("1"), put("2")]}, "ConsumedCapacity": []}));

        let single = json!({"RequestItems": {"rows": [put("1")]}});
        let shortened = shorten(single.to_string().as_bytes()).unwrap();
        assert_eq!(shortened.rest, None);
        let answer: Value = serde_json::from_slice(&shortened.add_to(json!({}))).unwrap();
        assert_eq!(answer, json!({"UnprocessedItems": {"rows": [put("1")]}}));
        assert!(shorten(b"{\"RequestItems\": {\"rows\": []}}").is_none());
    }
}
