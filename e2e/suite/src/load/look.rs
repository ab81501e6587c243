//! Looks for rows in DynamoDB until they can be read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_types::app_name::AppName;
use fms_simulator::Message;
use tokio::runtime::Builder;

/// The name by which the recording proxy tells these calls from those of the pipeline.
pub const PROCESS: &str = "load";
/// How long is waited between two looks at everything that was not found yet: the resolution of the delays.
const PAUSE: Duration = Duration::from_millis(3);
/// For how many rows is looked at once.
const AT_ONCE: usize = 8;

/// What stands before the time of a row.
const TIME: &str = "\"timestamp_iso\":\"";

/// A row that is looked for: the first one of a message.
#[derive(Debug, Clone)]
pub struct Look {
    partition_key: String,
    sort_key_begins: String,
    message_id: String,
    due: Instant,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// When each row was due, and how long after that it could be read.
    pub delays: Vec<(Instant, Duration)>,
    /// How many rows were not found.
    pub missing: u64,
}

impl Look {
    /// The first row of a message, if DynamoDB has to have it, with the keys of `deploy/connectors/dynamodb.json`.
    pub fn of(message: &Message, due: Instant) -> Option<Self> {
        if message.is_copy || message.is_refused_by_dynamodb || message.rows.is_empty() || !message.is_json {
            return None;
        }
        let text = std::str::from_utf8(message.value.as_deref()?).ok()?;
        let (time, _) = text.get(text.find(TIME)? + TIME.len()..)?.split_once('"')?;
        let protocol = message.protocol.to_string().replace('/', "#");
        Some(Self {
            partition_key: format!("{}#{protocol}", message.id),
            sort_key_begins: format!("{time}#"),
            message_id: message.message_id.clone(),
            due,
        })
    }
}

/// Looks for rows in a table until all are found, or until `is_over` says that what was not found will never be there.
pub fn look(
    environment: &BTreeMap<String, String>,
    table: &str,
    rows: &Receiver<Look>,
    is_over: &AtomicBool,
) -> Result<Found, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let client = client(environment)?;
    let (mut found, mut left, mut is_closed) = (Found::default(), Vec::new(), false);
    loop {
        // Whoever says that it is over has said so before the last look.
        let is_last = is_over.load(Ordering::Acquire);
        loop {
            match rows.try_recv() {
                Ok(row) => left.push(row),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    is_closed = true;
                    break;
                }
            }
        }
        let mut still = Vec::new();
        for some in left.chunks(AT_ONCE) {
            let looks = some.iter().map(|row| is_there(&client, table, row));
            let there = runtime.block_on(futures_util::future::join_all(looks));
            for (row, is_there) in some.iter().zip(there) {
                if is_there? {
                    let delay = row.due.elapsed();
                    super::metrics::found(delay);
                    found.delays.push((row.due, delay));
                } else {
                    still.push(row.clone());
                }
            }
        }
        left = still;
        if is_closed && (left.is_empty() || is_last) {
            found.missing = left.len() as u64;
            return Ok(found);
        }
        std::thread::sleep(PAUSE);
    }
}

async fn is_there(client: &Client, table: &str, row: &Look) -> Result<bool, String> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let query = client
        .query()
        .table_name(table)
        .consistent_read(true)
        .key_condition_expression("pk = :p and begins_with(sk, :s)")
        // Rows of two messages may say the same time.
        .filter_expression("message_id = :m")
        .expression_attribute_values(":p", text(&row.partition_key))
        .expression_attribute_values(":s", text(&row.sort_key_begins))
        .expression_attribute_values(":m", text(&row.message_id))
        .projection_expression("pk");
    let answer = query.send().await;
    let answer =
        answer.map_err(|error| format!("cannot look into the table {table}: {}", DisplayErrorContext(error)))?;
    Ok(answer.count > 0)
}

fn client(environment: &BTreeMap<String, String>) -> Result<Client, String> {
    let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        environment.get("AWS_SESSION_TOKEN").cloned(),
        None,
        "load",
    );
    let endpoint = environment.get("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| environment.get("AWS_ENDPOINT_URL"));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(credentials)
        .http_client(fms_aws::https())
        .retry_config(RetryConfig::standard())
        .app_name(AppName::new(PROCESS).map_err(|error| error.to_string())?)
        .endpoint_url(endpoint.ok_or("the services have no address for DynamoDB")?)
        .build();
    Ok(Client::from_conf(config))
}
