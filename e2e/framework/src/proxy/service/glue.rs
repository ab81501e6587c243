//! Glue's catalog: JSON with the operation in `X-Amz-Target`, and database and table in the body.

use hyper::StatusCode;
use serde::Deserialize;

use super::{Batch, Refusal, Service, begins_with_any, operation};
use crate::calls::{Effect, Request};

const READS: [&str; 5] = ["Get", "BatchGet", "List", "Search", "Check"];

/// Glue.
pub(crate) static GLUE: Service = Service {
    name: "glue",
    title: "Glue",
    target_prefix: Some("AWSGlue"),
    streams: false,
    request: |head, body| {
        let operation = operation(head, body);
        let effect = if begins_with_any(&operation, &READS) { Effect::Read } else { Effect::Write };
        Request { operation, target: table(body), effect, can_be_partial: false, deletes: 0 }
    },
    throttled: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
    },
    denied: Refusal {
        status: StatusCode::BAD_REQUEST,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"AccessDeniedException","message":"User is not authorized to perform this action."}"#,
    },
    failed: Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        content_type: "application/x-amz-json-1.1",
        body: r#"{"__type":"InternalServiceException","message":"An internal service error has occurred."}"#,
    },
    shorten: None,
    batches: &[
        Batch { operation: "BatchCreatePartition", items: "PartitionInputList" },
        Batch { operation: "BatchUpdatePartition", items: "Entries" },
        Batch { operation: "BatchDeletePartition", items: "PartitionsToDelete" },
        Batch { operation: "BatchDeleteTable", items: "TablesToDelete" },
    ],
};

/// Database and table that a request is about, joined by a slash, as far as it names them.
fn table(body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase", default)]
    struct Named {
        database_name: Option<String>,
        table_name: Option<String>,
        name: Option<String>,
        table_input: Option<Input>,
        database_input: Option<Input>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Input {
        name: String,
    }
    let Named { database_name, table_name, name, table_input, database_input } =
        serde_json::from_slice(body).unwrap_or_default();
    let inner = table_name.or(name).or(table_input.or(database_input).map(|input| input.name));
    database_name.into_iter().chain(inner).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    #[test]
    fn a_call_is_about_a_database_and_a_table() {
        for (operation, body, target, effect) in [
            ("GetTable", r#"{"DatabaseName":"lake","Name":"rows"}"#, "lake/rows", Effect::Read),
            ("BatchCreatePartition", r#"{"DatabaseName":"lake","TableName":"rows"}"#, "lake/rows", Effect::Write),
            ("UpdateTable", r#"{"DatabaseName":"lake","TableInput":{"Name":"rows"}}"#, "lake/rows", Effect::Write),
            ("CreateDatabase", r#"{"DatabaseInput":{"Name":"lake"}}"#, "lake", Effect::Write),
            ("GetDatabases", "{}", "", Effect::Read),
        ] {
            let target_header = format!("AWSGlue.{operation}");
            let call = (GLUE.request)(&head("POST", "/", &[("x-amz-target", &target_header)]), body.as_bytes());
            assert_eq!((call.operation.as_str(), call.target.as_str(), call.effect), (operation, target, effect));
        }
    }
}
