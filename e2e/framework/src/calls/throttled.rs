//! Whether a service refused a call because there were too many, in the words of each service.

use serde_json::Value;

/// How the codes of such refusals begin: of DynamoDB, Glue and SQS, which answer with 400, and of S3.
const CODES: [&str; 6] = [
    "ProvisionedThroughputExceeded",
    "Throttling",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequests",
    "SlowDown",
];
/// What an answer to a batch calls the parts that were not carried out.
const LEFT: [&str; 2] = ["UnprocessedItems", "UnprocessedKeys"];

/// Whether this answer refuses the call, or a part of its batch, because there were too many. Of an answer that is not JSON,
/// the code stands in the element `Code`.
pub(super) fn is_throttled(status: u16, body: &[u8]) -> bool {
    if matches!(status, 429 | 503) {
        return true;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        return status >= 400 && code.is_some_and(|(code, _)| is_code(code));
    };
    if status >= 400 {
        return ["__type", "code", "Code"].iter().any(|name| answer[name].as_str().is_some_and(is_code));
    }
    let is_left = LEFT.iter().any(|name| answer[name].as_object().is_some_and(|left| !left.is_empty()));
    // SQS names the messages of a batch that it refused, each with its code.
    let failed = answer["Failed"].as_array().into_iter().flatten();
    is_left || failed.filter_map(|entry| entry["Code"].as_str()).any(is_code)
}

/// A code may stand behind the name of its service and `#`.
fn is_code(code: &str) -> bool {
    let code = code.rsplit('#').next().unwrap_or(code);
    CODES.iter().any(|known| code.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_says_in_its_own_way_that_there_were_too_many() {
        let throughput = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}"#;
        for (status, body, expected) in [
            (400, throughput, true),
            (400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, true),
            (400, r#"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#, true),
            (400, r#"{"__type":"ValidationException","message":"no Throttling here"}"#, false),
            (400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", true),
            (503, "<Error><Code>SlowDown</Code></Error>", true),
            (429, "", true),
            (404, "<Error><Code>NoSuchKey</Code></Error>", false),
            (200, r#"{"UnprocessedItems":{"fleet":[{}]}}"#, true),
            (200, r#"{"UnprocessedItems":{}}"#, false),
            (200, r#"{"Failed":[{"Id":"1","Code":"RequestThrottled"}]}"#, true),
            (200, r#"{"Failed":[{"Id":"1","Code":"ReceiptHandleIsInvalid"}]}"#, false),
            (200, "", false),
        ] {
            assert_eq!(is_throttled(status, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
