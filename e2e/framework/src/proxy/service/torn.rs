//! Batches whose items a service carries out one by one: a call that ends in the middle leaves a part of them done.

use hyper::body::Bytes;
use serde_json::Value;

use super::{ALL, Service};

/// A batch whose items the service carries out one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The operation.
    pub operation: &'static str,
    /// The field of the request in which the items are: a list, or a list for each table.
    pub items: &'static str,
}

/// Whether a call of this operation may end when the service has carried out a part of it.
pub(crate) fn can_be_torn(service: &str, operation: &str) -> bool {
    ALL.iter().any(|known| known.name == service && known.batch(operation).is_some())
}

impl Service {
    fn batch(&self, operation: &str) -> Option<&'static Batch> {
        self.batches.iter().find(|batch| batch.operation == operation)
    }

    /// The same request with the first half of its items, without the one in the middle. `None` if it is no batch of two
    /// items or more.
    pub(crate) fn first_half(&self, operation: &str, body: &[u8]) -> Option<Bytes> {
        self.batch(operation).and_then(|batch| batch.first_half(body))
    }

    /// Whether [`Self::first_half`] gives anything.
    pub(crate) fn has_halves(&self, operation: &str, body: &[u8]) -> bool {
        self.batch(operation).is_some_and(|batch| batch.read(body).is_some())
    }
}

impl Batch {
    /// The request and how many items it has, if these are two or more.
    fn read(&self, body: &[u8]) -> Option<(Value, usize)> {
        let mut request: Value = serde_json::from_slice(body).ok()?;
        let count = self.lists(&mut request).iter().map(|list| list.len()).sum();
        (count >= 2).then_some((request, count))
    }

    /// The lists of items.
    fn lists<'r>(&self, request: &'r mut Value) -> Vec<&'r mut Vec<Value>> {
        match request.get_mut(self.items) {
            Some(Value::Array(list)) => vec![list],
            Some(Value::Object(tables)) => tables.values_mut().filter_map(Value::as_array_mut).collect(),
            _ => Vec::new(),
        }
    }

    fn first_half(&self, body: &[u8]) -> Option<Bytes> {
        let (mut request, count) = self.read(body)?;
        let mut left = count / 2;
        for list in self.lists(&mut request) {
            list.truncate(left);
            left -= list.len();
        }
        // No service accepts a table without items.
        if let Some(Value::Object(tables)) = request.get_mut(self.items) {
            tables.retain(|_, list| list.as_array().is_none_or(|list| !list.is_empty()));
        }
        Some(request.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{DYNAMODB, GLUE, S3, SQS};
    use super::*;

    #[test]
    fn batches_can_be_torn_and_what_is_done_as_a_whole_cannot() {
        assert!(can_be_torn("dynamodb", "BatchWriteItem") && can_be_torn("glue", "BatchCreatePartition"));
        for (service, operation) in
            [("dynamodb", "TransactWriteItems"), ("dynamodb", "PutItem"), ("s3", "PutObject"), ("kafka", "Produce")]
        {
            assert!(!can_be_torn(service, operation), "{service}.{operation}");
        }
    }

    #[test]
    fn the_first_half_of_the_items_is_left_and_all_else() {
        let half = |service: &Service, target: &str, body: Value| -> Option<Value> {
            let operation = target.rsplit('.').next().expect("the part after the last dot");
            let body = body.to_string();
            let half = service.first_half(operation, body.as_bytes());
            assert_eq!(service.has_halves(operation, body.as_bytes()), half.is_some(), "{target} {body}");
            Some(serde_json::from_slice(&half?).expect("JSON"))
        };
        let write = |body| half(&DYNAMODB, "DynamoDB_20120810.BatchWriteItem", body);
        assert_eq!(
            write(json!({"RequestItems": {"a": [1, 2], "b": [3, 4, 5]}, "ReturnConsumedCapacity": "NONE"})),
            Some(json!({"RequestItems": {"a": [1, 2]}, "ReturnConsumedCapacity": "NONE"}))
        );
        assert_eq!(write(json!({"RequestItems": {"a": [1, 2, 3]}})), Some(json!({"RequestItems": {"a": [1]}})));
        assert_eq!(write(json!({"RequestItems": {"a": [1]}})), None, "one item is done or not done");
        assert_eq!(half(&DYNAMODB, "DynamoDB_20120810.TransactWriteItems", json!({"TransactItems": [1, 2]})), None);
        assert_eq!(
            half(&SQS, "AmazonSQS.DeleteMessageBatch", json!({"QueueUrl": "q", "Entries": [1, 2]})),
            Some(json!({"QueueUrl": "q", "Entries": [1]}))
        );
        assert_eq!(
            half(&GLUE, "AWSGlue.BatchCreatePartition", json!({"PartitionInputList": [1, 2]})),
            Some(json!({"PartitionInputList": [1]}))
        );
        assert_eq!(half(&S3, "", json!({})), None);
    }
}
