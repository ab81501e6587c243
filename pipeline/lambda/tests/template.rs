//! The template of `deploy/lambda`: what its numbers and names have to be to each other and to the program.

use std::collections::BTreeMap;

use fms_lambda::{Settings, VARIABLES};

const TEMPLATE: &str = include_str!("../../../deploy/lambda/template.yaml");

/// The value of a key that the template has once.
fn text(key: &str) -> &'static str {
    let values: Vec<&str> =
        TEMPLATE.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": ")).collect();
    let [value] = values[..] else { panic!("`{key}` is {} times in the template", values.len()) };
    value.trim_matches('"')
}

fn number(key: &str) -> u32 {
    text(key).parse().unwrap_or_else(|_| panic!("`{key}` is no number: {}", text(key)))
}

/// The variables of the environment, with something in place of what is known only when it is deployed.
fn environment() -> BTreeMap<String, String> {
    let lines = TEMPLATE.lines().map(str::trim).filter(|line| line.starts_with("FMS_"));
    let variable = |line: &'static str| {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        let value = match value {
            "!Ref Timezone" => "UTC",
            "!Ref EncryptionKey"
            | "!Ref StorageClass"
            | "!Ref Tags"
            | "!Ref LakeBucketOwner"
            | "!Ref RawBucketOwner" => "",
            value => value.trim_start_matches("!Sub ").trim_matches('"'),
        };
        (name.to_owned(), value.to_owned())
    };
    lines.map(variable).collect()
}

#[test]
fn a_message_is_invisible_for_six_times_as_long_as_the_function_may_take() {
    assert!(number("VisibilityTimeout") >= 6 * number("Timeout") + number("MaximumBatchingWindowInSeconds"));
}

#[test]
fn the_function_gives_up_a_message_before_its_queue_does() {
    assert!(number("maxReceiveCount") > number("FMS_LAKE_MAX_ATTEMPTS"));
}

#[test]
fn the_function_reads_every_variable_and_memory_allows_what_they_ask_for() {
    let mut environment = environment();
    for name in environment.keys() {
        assert!(VARIABLES.contains(&name.as_str()), "{name}");
    }
    for option in ["SSE_KMS_KEY_ID", "STORAGE_CLASS", "TAG", "EXPECTED_BUCKET_OWNER", "EXPECTED_RAW_BUCKET_OWNER"] {
        assert!(environment.contains_key(&format!("FMS_LAKE_{option}")), "the template cannot set {option}");
    }
    let asked = environment["FMS_LAKE_CONCURRENCY"].clone();
    environment.insert("AWS_LAMBDA_FUNCTION_NAME".into(), "lake".into());
    environment.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".into(), text("MemorySize").into());
    let settings = Settings::read(&environment.into_iter().collect::<Vec<_>>()).expect("no problem");
    assert_eq!(settings.at_a_time.to_string(), asked);
}

#[test]
fn only_the_messages_that_failed_are_received_again_and_concurrency_is_bounded_where_messages_are_received() {
    assert_eq!(text("FunctionResponseTypes"), "[ReportBatchItemFailures]");
    assert_eq!(text("MaximumConcurrency"), "!Ref MaximumConcurrency");
    assert!(!TEMPLATE.contains("ReservedConcurrentExecutions"));
}

/// What only commands need that the function does not have.
const OF_OTHERS: [&str; 2] = ["glue:GetTables", "glue:BatchDeletePartition"];

/// The permissions are those that docs/lake.md lists, and no others.
#[test]
fn the_role_may_do_what_the_lake_needs() {
    let documented = include_str!("../../../docs/lake.md");
    let (_, documented) = documented.split_once("\n### Permissions\n").expect("the section");
    let (documented, _) = documented.split_once("\n## ").expect("a section after it");
    let actions = |text: &'static str, service: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':');
        let mut actions: Vec<&str> =
            words.filter(|word| word.len() > service.len() && word.starts_with(service)).collect();
        actions.sort_unstable();
        actions.dedup();
        actions
    };
    // `Resource: …:glue:…` is no action.
    for service in ["s3:", "kms:", "glue:"] {
        let mut needed = actions(documented, service);
        needed.retain(|action| !OF_OTHERS.contains(action));
        assert_eq!(actions(TEMPLATE, service), needed, "{service}");
    }
    assert_eq!(actions(TEMPLATE, "sqs:").len(), 5);
    assert!(!TEMPLATE.contains(":*\"") && !TEMPLATE.contains("Resource: \"*\""));
}
