//! The client against canned answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use fms_aws::Verdict;
use serde_json::json;

use super::*;
use crate::{PartitionInput, TableInput};

/// A Glue that answers as it was told, and keeps what it was asked.
#[derive(Debug, Clone, Default)]
struct Canned {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Debug, Clone)]
struct Asked {
    uri: String,
    target: String,
    authorization: String,
    body: Value,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name: &str| request.headers().get(name).unwrap_or_default().to_owned();
        let body = serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("JSON");
        let (target, authorization) = (header("x-amz-target"), header("authorization"));
        let asked = Asked { uri: request.uri().to_owned(), target, authorization, body };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        HttpConnectorFuture::ready(match answer {
            None => Err(ConnectorError::io("no answer is left".into())),
            Some((status, body)) => {
                let status = StatusCode::try_from(status).expect("a status");
                let mut response = HttpResponse::new(status, SdkBody::from(body));
                response.headers_mut().insert("x-amzn-requestid", "R1");
                Ok(response)
            }
        })
    }
}

impl Canned {
    fn with(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let answers = answers.into_iter().map(|(status, body)| (status, body.to_string())).collect();
        Self { answers: Arc::new(Mutex::new(answers)), asked: Arc::default() }
    }

    fn glue(&self) -> Glue {
        let connector = SharedHttpConnector::new(self.clone());
        let config = SdkConfig::builder()
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("K", "S", None, None, "test")))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Glue::new(&config, Retry::new("test", Some(Duration::ZERO), Duration::from_millis(1), |_| {}))
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn partition(number: usize) -> PartitionInput {
    PartitionInput { values: vec![number.to_string()], ..PartitionInput::default() }
}

#[tokio::test]
async fn a_call_is_signed_for_glue_in_its_region() {
    let canned = Canned::with([(200, json!({"Table": {"Name": "t", "VersionId": "3"}}))]);
    let table = canned.glue().table("lake", "t").await.expect("an answer").expect("a table");
    assert_eq!((table.name.as_str(), table.version_id.as_deref()), ("t", Some("3")));
    let asked = &canned.asked()[0];
    assert_eq!(asked.uri, "https://glue.eu-west-1.amazonaws.com/");
    assert_eq!(asked.target, "AWSGlue.GetTable");
    assert_eq!(asked.body, json!({"DatabaseName": "lake", "Name": "t"}));
    assert!(asked.authorization.contains("/eu-west-1/glue/aws4_request"), "{}", asked.authorization);
    assert!(asked.authorization.contains("x-amz-target"), "{}", asked.authorization);
}

#[tokio::test]
async fn what_does_not_exist_is_no_error() {
    let answer = || (400, json!({"__type": "com.amazonaws.glue#EntityNotFoundException", "Message": "no"}));
    let glue = Canned::with([answer(), answer(), answer()]).glue();
    assert_eq!(glue.table("lake", "t").await.expect("an answer"), None);
    assert_eq!(glue.database("lake").await.expect("an answer"), None);
    assert!(!glue.delete_table("lake", "t").await.expect("an answer"));
}

#[tokio::test]
async fn an_error_has_glues_code_message_and_request() {
    let canned = Canned::with([(400, json!({"__type": "ConcurrentModificationException", "Message": "moved"}))]);
    let error = canned.glue().update_table("lake", &TableInput::default(), Some("4")).await.expect_err("an error");
    assert!(modified_meanwhile(&error));
    assert_eq!(error.verdict(), Verdict::Permanent, "the caller has to read the table again");
    assert_eq!(error.to_string(), "ConcurrentModificationException: moved (HTTP 400, request id R1)");
    let body = &canned.asked()[0].body;
    assert_eq!((&body["VersionId"], &body["SkipArchive"]), (&json!("4"), &json!(true)));
}

#[tokio::test]
async fn a_throttled_call_is_repeated() {
    let throttled = (400, json!({"__type": "ThrottlingException", "message": "Rate exceeded"}));
    let canned = Canned::with([throttled.clone(), throttled, (200, json!({}))]);
    canned.glue().create_table("lake", &TableInput::default()).await.expect("created");
    assert_eq!(canned.asked().len(), 3);
}

#[tokio::test]
async fn what_is_no_answer_of_glue_is_an_error_that_may_pass() {
    let canned = Canned::with([]);
    let connection = canned.glue().database("lake").await.expect_err("an error");
    assert_eq!(connection.verdict(), Verdict::Transient("connection"));
    canned.answers.lock().unwrap_or_else(PoisonError::into_inner).push_back((502, "<html>".to_owned()));
    let gateway = canned.glue().database("lake").await.expect_err("an error");
    assert_eq!((gateway.status(), gateway.verdict()), (Some(502), Verdict::Transient("server-error")));
}

#[tokio::test]
async fn without_a_region_every_call_says_so() {
    let config = SdkConfig::builder().build();
    let glue = Glue::new(&config, Retry::new("test", None, Duration::from_millis(1), |_| {}));
    let error = glue.database("lake").await.expect_err("an error");
    assert_eq!(error.verdict(), Verdict::Permanent);
    assert!(error.to_string().contains("set AWS_REGION"), "{error}");
}

#[tokio::test]
async fn pages_are_read_to_the_last() {
    let canned = Canned::with([
        (200, json!({"Partitions": [{"Values": ["1"]}], "NextToken": "n"})),
        (200, json!({"Partitions": [{"Values": ["2"]}]})),
    ]);
    let found = canned.glue().partitions("lake", "t", Some("ymd = '1'")).await.expect("answers");
    let values: Vec<_> = found.into_iter().flat_map(|partition| partition.values).collect();
    assert_eq!(values, ["1", "2"]);
    let tokens: Vec<_> = canned.asked().iter().map(|asked| asked.body["NextToken"].clone()).collect();
    assert_eq!(tokens, [Value::Null, json!("n")]);
}

#[tokio::test]
async fn partitions_are_created_by_the_hundred_and_each_that_fails_is_told() {
    let exists = json!({"ErrorCode": "AlreadyExistsException", "ErrorMessage": "Partition already exists."});
    let canned = Canned::with([
        (200, json!({"Errors": [{"PartitionValues": ["7"], "ErrorDetail": exists}]})),
        (200, json!({})),
        (
            200,
            json!({"Errors": [{"PartitionValueList": ["8"], "ErrorDetail": {"ErrorCode": "EntityNotFoundException"}}]}),
        ),
    ]);
    let partitions: Vec<_> = (0..101).map(partition).collect();
    let failed = canned.glue().create_partitions("lake", "t", &partitions).await.expect("answers");
    assert!(failed.len() == 1 && failed[0].already_exists() && failed[0].values == ["7"], "{failed:?}");
    let sizes: Vec<_> =
        canned.asked().iter().map(|asked| asked.body["PartitionInputList"].as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [Some(100), Some(1)]);
    let failed = canned.glue().update_partitions("lake", "t", &partitions[8..9]).await.expect("an answer");
    assert!(failed.len() == 1 && failed[0].missing() && failed[0].values == ["8"], "{failed:?}");
}

#[tokio::test]
async fn keys_that_glue_left_are_asked_for_again() {
    let canned = Canned::with([
        (200, json!({"Partitions": [{"Values": ["1"]}], "UnprocessedKeys": [{"Values": ["2"]}]})),
        (200, json!({"Partitions": [{"Values": ["2"]}]})),
    ]);
    let values = [vec!["1".to_owned()], vec!["2".to_owned()]];
    let found = canned.glue().partitions_by_values("lake", "t", &values).await.expect("answers");
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn an_answer_of_nothing_but_keys_that_were_left_is_no_answer() {
    let left = json!({"Partitions": [], "UnprocessedKeys": [{"Values": ["2022-12-25", "03"]}]});
    let found = json!({"Partitions": [{"Values": ["2022-12-25", "03"]}]});
    let values = [vec!["2022-12-25".to_owned(), "03".to_owned()]];
    let patient = Retry::new("test", Some(Duration::from_mins(1)), Duration::from_millis(1), |_| {});
    let glue = Glue { retry: patient, ..Canned::with([(200, left.clone()), (200, found)]).glue() };
    assert_eq!(glue.partitions_by_values("lake", "t", &values).await.expect("answers").len(), 1);

    let glue = Canned::with([(200, left)]).glue();
    let error = glue.partitions_by_values("lake", "t", &values).await.expect_err("they stay unprocessed");
    assert!(error.to_string().contains("2022-12-25/03"), "{error}");
    assert_eq!(error.verdict(), Verdict::Transient("timeout"));
}
