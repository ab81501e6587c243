//! The calls to SQS: queues and their attributes, messages and their visibility, batches, long polls and dead-letter
//! queues.

use std::collections::BTreeMap;
use std::fmt::Debug;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, ChangeMessageVisibilityBatchResultEntry,
    DeleteMessageBatchRequestEntry, DeleteMessageBatchResultEntry, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry, SendMessageBatchResultEntry,
};
use tokio::runtime::Runtime;

use crate::Endpoints;
use crate::answers::{Answers, refusal};

/// Makes all calls in order.
pub fn calls(runtime: &Runtime, at: &Endpoints) -> Result<Answers, String> {
    let mut sqs = Sqs::new(at);
    runtime.block_on(async {
        queues(&mut sqs).await?;
        limits(&mut sqs).await?;
        messages(&mut sqs).await?;
        visibility(&mut sqs).await?;
        batches(&mut sqs).await?;
        long_polls(&mut sqs).await?;
        dead_letters(&mut sqs).await?;
        ends(&mut sqs).await
    })?;
    Ok(sqs.answers)
}

/// Queues are created, found and described; what is no queue is refused.
async fn queues(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let name = sqs.real("jobs");
    let create = || client.create_queue().queue_name(&name);
    sqs.note("create a queue", create().send().await, |_| String::new());
    sqs.note("create it again", create().send().await, |_| String::new());
    sqs.note(
        "create it with another attribute",
        create().attributes(QueueAttributeName::VisibilityTimeout, "7").send().await,
        |_| String::new(),
    );
    let odd = client.create_queue().queue_name(sqs.real("a b")).send().await;
    sqs.note("create a queue with a name that is none", odd, |_| String::new());
    let found = client.get_queue_url().queue_name(&name).send().await;
    sqs.note("find a queue", found, |found| last_part(found.queue_url()));
    let missing = client.get_queue_url().queue_name(sqs.real("none")).send().await;
    sqs.note("find a queue that does not exist", missing, |_| String::new());
    let listed = client.list_queues().queue_name_prefix(&name).send().await;
    sqs.note("list queues", listed, |listed| {
        listed.queue_urls().iter().map(|url| last_part(Some(url))).collect::<Vec<_>>().join(", ")
    });
    let url = sqs.url("jobs").await?;
    let set = client.set_queue_attributes().queue_url(&url);
    let set = set.attributes(QueueAttributeName::VisibilityTimeout, "9").send().await;
    sqs.note("set an attribute", set, |_| String::new());
    for name in ["VisibilityTimeout", "DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "QueueArn"] {
        let asked = client.get_queue_attributes().queue_url(&url).attribute_names(name.into()).send().await;
        sqs.note(&format!("get the attribute {name}"), asked, |found| format!("{:?}", sorted(found.attributes())));
    }
    let asked = client.get_queue_attributes().queue_url(&url).attribute_names("Colour".into()).send().await;
    sqs.note("get an attribute that there is not", asked, |_| String::new());
    Ok(())
}

/// What is out of range. It has a queue of its own, for a service that takes it is not as it was afterwards.
async fn limits(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let created = client.create_queue().queue_name(sqs.real("limits")).send().await;
    sqs.note("limits: create", created, |_| String::new());
    let url = sqs.url("limits").await?;
    let set = client.set_queue_attributes().queue_url(&url);
    let set = set.attributes(QueueAttributeName::DelaySeconds, "901").send().await;
    sqs.note("limits: set too long a delay", set, |_| String::new());
    let answer = client.send_message().queue_url(&url).message_body("late").delay_seconds(901).send().await;
    sqs.note("limits: send with too long a delay", answer, |_| String::new());
    let received = client.receive_message().queue_url(&url).visibility_timeout(43_201).send().await;
    sqs.note("limits: receive for too long", received, self::received);
    let deleted = client.delete_queue().queue_url(url).send().await;
    sqs.note("limits: delete", deleted, |_| String::new());
    Ok(())
}

/// Messages are sent, received and deleted.
async fn messages(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let url = sqs.url("jobs").await?;
    let send = |body: &str| client.send_message().queue_url(&url).message_body(body);
    let value = MessageAttributeValue::builder().data_type("String").string_value("a").build();
    let value = value.map_err(|error| error.to_string())?;
    let answer = send("타이어").message_attributes("trace", value).send().await;
    sqs.note("send a message", answer, |answer| {
        format!("{:?} {:?}", answer.md5_of_message_body(), answer.md5_of_message_attributes())
    });
    sqs.note("send an empty message", send("").send().await, |_| String::new());
    sqs.note("send a message of a character that XML has not", send("\u{1}").send().await, |_| String::new());
    sqs.note("send a message of over 1 MiB", send(&"x".repeat((1 << 20) + 1)).send().await, |_| String::new());
    sqs.note("send to a queue that does not exist", sqs.to_none().send().await, |_| String::new());
    let receive = || {
        let receive = client.receive_message().queue_url(&url).message_attribute_names("All");
        receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
    };
    sqs.note("receive 11 messages", receive().max_number_of_messages(11).send().await, received);
    let first = receive().send().await;
    let handle = handle(&first);
    sqs.note("receive a message", first, received);
    sqs.note("receive while it is hidden", receive().send().await, received);
    sqs.counts("count while it is hidden", &url).await;
    let delete = |handle: &str| client.delete_message().queue_url(&url).receipt_handle(handle).send();
    sqs.note("delete by a handle that is none", delete("none").await, |_| String::new());
    sqs.note("delete a message", delete(&handle).await, |_| String::new());
    sqs.note("delete it again", delete(&handle).await, |_| String::new());
    sqs.note("delayed: send", send("late").delay_seconds(2).send().await, |_| String::new());
    sqs.counts("delayed: count", &url).await;
    sqs.note("delayed: receive before it is due", receive().send().await, received);
    let due = receive().wait_time_seconds(5).send().await;
    let handle = self::handle(&due);
    sqs.note("delayed: receive when it is due", due, received);
    sqs.note("delayed: delete", delete(&handle).await, |_| String::new());
    sqs.counts("count when all are deleted", &url).await;
    Ok(())
}

/// Messages are hidden for longer, and shown again.
async fn visibility(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let url = sqs.url("jobs").await?;
    let answer = client.send_message().queue_url(&url).message_body("job").send().await;
    sqs.note("visibility: send", answer, |_| String::new());
    let receive = || {
        let receive = client.receive_message().queue_url(&url);
        receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
    };
    let hide = |handle: &str, seconds: i32| {
        client.change_message_visibility().queue_url(&url).receipt_handle(handle).visibility_timeout(seconds).send()
    };
    sqs.note("visibility: receive for no time", receive().visibility_timeout(0).send().await, received);
    let again = receive().send().await;
    let handle = self::handle(&again);
    sqs.note("visibility: receive again", again, received);
    sqs.note("visibility: hide for longer", hide(&handle, 60).await, |_| String::new());
    sqs.note("visibility: hide for too long", hide(&handle, 43_201).await, |_| String::new());
    sqs.note("visibility: show", hide(&handle, 0).await, |_| String::new());
    let third = receive().wait_time_seconds(2).send().await;
    let handle = self::handle(&third);
    sqs.note("visibility: receive what was shown", third, received);
    let deleted = client.delete_message().queue_url(&url).receipt_handle(&handle).send().await;
    sqs.note("visibility: delete", deleted, |_| String::new());
    sqs.note("visibility: hide what is deleted", hide(&handle, 1).await, |_| String::new());
    sqs.note("visibility: hide by a handle that is none", hide("none", 1).await, |_| String::new());
    Ok(())
}

/// Batches, whose entries succeed and fail one by one.
async fn batches(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let url = sqs.url("jobs").await?;
    let entry = |id: &str, body: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(body).build();
    for (call, entries) in [
        ("three messages", vec![("a", "1"), ("b", "2"), ("c", "3")]),
        ("one of which is empty", vec![("a", "4"), ("b", "")]),
        ("an id twice", vec![("a", "1"), ("a", "2")]),
        ("an id that is none", vec![("a b", "1")]),
        (
            "11 messages",
            vec![
                ("0", ""),
                ("1", ""),
                ("2", ""),
                ("3", ""),
                ("4", ""),
                ("5", ""),
                ("6", ""),
                ("7", ""),
                ("8", ""),
                ("9", ""),
                ("10", ""),
            ],
        ),
    ] {
        let entries: Result<Vec<_>, _> = entries.into_iter().map(|(id, body)| entry(id, body)).collect();
        let entries = entries.map_err(|error| error.to_string())?;
        let answer = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await;
        sqs.note(&format!("batch: send {call}"), answer, |answer| {
            outcomes(answer.successful().iter().map(SendMessageBatchResultEntry::id), answer.failed())
        });
    }
    let received = client.receive_message().queue_url(&url).max_number_of_messages(10).send().await;
    let handles: Vec<String> = received
        .iter()
        .flat_map(ReceiveMessageOutput::messages)
        .filter_map(|message| message.receipt_handle.clone())
        .collect();
    sqs.note("batch: receive", received, self::received);
    let hidden = handles.iter().map(String::as_str).chain(["none"]).enumerate().map(|(at, handle)| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(at.to_string())
            .receipt_handle(handle)
            .visibility_timeout(30)
            .build()
    });
    let hidden = hidden.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let done = client.change_message_visibility_batch().queue_url(&url).set_entries(Some(hidden)).send().await;
    sqs.note("batch: hide, one by a handle that is none", done, |done| {
        outcomes(done.successful().iter().map(ChangeMessageVisibilityBatchResultEntry::id), done.failed())
    });
    let deleted = handles.iter().map(String::as_str).chain(["none"]).enumerate().map(|(at, handle)| {
        DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(handle).build()
    });
    let deleted = deleted.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let done = client.delete_message_batch().queue_url(&url).set_entries(Some(deleted)).send().await;
    sqs.note("batch: delete, one by a handle that is none", done, |done| {
        outcomes(done.successful().iter().map(DeleteMessageBatchResultEntry::id), done.failed())
    });
    let empty = client.delete_message_batch().queue_url(&url).set_entries(Some(Vec::new())).send().await;
    sqs.note("batch: delete nothing", empty, |_| String::new());
    sqs.counts("batch: count", &url).await;
    Ok(())
}

/// A receive that waits for a message.
async fn long_polls(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let url = sqs.url("jobs").await?;
    let receive = |seconds: i32| client.receive_message().queue_url(&url).wait_time_seconds(seconds).send();
    sqs.note("long poll: nothing comes", receive(1).await, received);
    sqs.note("long poll: too long", receive(21).await, received);
    let send = client.send_message().queue_url(&url).message_body("wake").send();
    let (woken, answer) = tokio::join!(receive(20), send);
    let handle = self::handle(&woken);
    sqs.note("long poll: send meanwhile", answer, |_| String::new());
    sqs.note("long poll: woken", woken, received);
    let deleted = client.delete_message().queue_url(&url).receipt_handle(handle).send().await;
    sqs.note("long poll: delete", deleted, |_| String::new());
    Ok(())
}

/// A message that is received too often goes to another queue.
async fn dead_letters(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let letters = sqs.real("letters");
    sqs.note("redrive: create the other queue", client.create_queue().queue_name(&letters).send().await, |_| {
        String::new()
    });
    let letters_url = sqs.url("letters").await?;
    let arn = client.get_queue_attributes().queue_url(&letters_url).attribute_names(QueueAttributeName::QueueArn);
    let arn = arn.send().await.map_err(|error| format!("{error:?}"))?;
    let arn = arn.attributes().and_then(|found| found.get(&QueueAttributeName::QueueArn)).cloned().unwrap_or_default();
    let create = |name: &str, policy: &str| {
        let create = client.create_queue().queue_name(sqs.real(name));
        create.attributes(QueueAttributeName::RedrivePolicy, policy).send()
    };
    let policy = |arn: &str, most: &str| format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":{most}}}"#);
    let (main, none, odd, text) = (
        create("main", &policy(&arn, "2")).await,
        create("to-none", &policy(&format!("{arn}-none"), "2")).await,
        create("odd", &policy(&arn, "0")).await,
        create("no-policy", "no policy").await,
    );
    sqs.note("redrive: create", main, |_| String::new());
    sqs.note("redrive: to a queue that does not exist", none, |_| String::new());
    sqs.note("redrive: after no receive", odd, |_| String::new());
    sqs.note("redrive: a policy that is none", text, |_| String::new());
    let url = sqs.url("main").await?;
    let answer = client.send_message().queue_url(&url).message_body("poison").send().await;
    sqs.note("redrive: send", answer, |_| String::new());
    let receive = |url: &str| {
        let receive = client.receive_message().queue_url(url).visibility_timeout(0);
        receive.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount).send()
    };
    for time in ["first", "second", "third"] {
        sqs.note(&format!("redrive: the {time} receive"), receive(&url).await, received);
    }
    sqs.counts("redrive: count", &url).await;
    sqs.note("redrive: receive the letter", receive(&letters_url).await, received);
    Ok(())
}

/// Queues are emptied and deleted.
async fn ends(sqs: &mut Sqs) -> Result<(), String> {
    let client = sqs.client.clone();
    let url = sqs.url("letters").await?;
    sqs.note("purge", client.purge_queue().queue_url(&url).send().await, |_| String::new());
    sqs.counts("count after the purge", &url).await;
    sqs.note("purge again", client.purge_queue().queue_url(&url).send().await, |_| String::new());
    for name in ["main", "letters", "jobs"] {
        let url = sqs.url(name).await?;
        sqs.note(&format!("delete {name}"), client.delete_queue().queue_url(url).send().await, |_| String::new());
    }
    let answer = client.send_message().queue_url(&url).message_body("late").send().await;
    sqs.note("send to a deleted queue", answer, |_| String::new());
    Ok(())
}

/// SQS of one stack, and its answers so far.
struct Sqs {
    client: Client,
    namespace: String,
    answers: Answers,
}

impl Sqs {
    fn new(at: &Endpoints) -> Self {
        let (key, secret) = (at.get("AWS_ACCESS_KEY_ID"), at.get("AWS_SECRET_ACCESS_KEY"));
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(at.get("AWS_REGION").to_owned()))
            .credentials_provider(Credentials::new(key, secret, None, None, "parity"))
            .endpoint_url(at.get("AWS_ENDPOINT_URL_SQS"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled());
        Self {
            client: Client::from_conf(config.build()),
            namespace: at.namespace.clone(),
            answers: Answers::new(&at.namespace),
        }
    }

    fn real(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    async fn url(&self, name: &str) -> Result<String, String> {
        let found = self.client.get_queue_url().queue_name(self.real(name)).send().await;
        let found = found.map_err(|error| format!("finding the queue {name}: {error:?}"))?;
        found.queue_url.ok_or_else(|| format!("the queue {name} has no address"))
    }

    /// A message to a queue that does not exist.
    fn to_none(&self) -> aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder {
        let url = format!("https://sqs.us-east-1.amazonaws.com/000000000000/{}none", self.namespace);
        self.client.send_message().queue_url(url).message_body("lost")
    }

    fn note<T, E: ProvideErrorMetadata + Debug>(
        &mut self,
        call: &str,
        answer: Result<T, SdkError<E, HttpResponse>>,
        show: impl FnOnce(&T) -> String,
    ) {
        let answer = match answer {
            Ok(output) => format!("ok {}", show(&output)),
            Err(error) => refusal(&error),
        };
        self.answers.add(call, answer.trim_end());
    }

    /// How many messages a queue has. The numbers of SQS are approximate, but not those of stand-ins.
    async fn counts(&mut self, call: &str, url: &str) {
        let counts = self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(vec![
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]));
        self.note(call, counts.send().await, |found| format!("{:?}", sorted(found.attributes())));
    }
}

fn sorted(attributes: Option<&std::collections::HashMap<QueueAttributeName, String>>) -> BTreeMap<String, &String> {
    attributes.into_iter().flatten().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
}

fn last_part(url: Option<&str>) -> String {
    url.and_then(|url| url.rsplit('/').next()).unwrap_or_default().to_owned()
}

/// The bodies of received messages, how often they were received, and their attributes.
fn received(output: &ReceiveMessageOutput) -> String {
    let message = |message: &aws_sdk_sqs::types::Message| {
        let counts = message.attributes.iter().flatten().map(|(name, value)| format!("{}={value}", name.as_str()));
        let attributes = message
            .message_attributes
            .iter()
            .flatten()
            .map(|(name, value)| format!("{name}={:?}", value.string_value()));
        let more: Vec<String> = counts.chain(attributes).collect();
        format!("{} {:?} [{}]", message.body().unwrap_or_default(), message.md5_of_body(), more.join(", "))
    };
    let mut messages: Vec<String> = output.messages().iter().map(message).collect();
    messages.sort();
    messages.join("; ")
}

fn handle<E>(received: &Result<ReceiveMessageOutput, E>) -> String {
    let message = received.as_ref().ok().and_then(|output| output.messages().first());
    message.and_then(|message| message.receipt_handle()).unwrap_or_default().to_owned()
}

/// Which entries of a batch succeeded, and how the others failed.
fn outcomes<'a>(successful: impl Iterator<Item = &'a str>, failed: &[BatchResultErrorEntry]) -> String {
    let mut successful: Vec<&str> = successful.collect();
    successful.sort_unstable();
    let failed: Vec<String> = failed
        .iter()
        .map(|failed| format!("{} {} by the sender: {}", failed.id(), failed.code(), failed.sender_fault()))
        .collect();
    format!("successful [{}] failed [{}]", successful.join(", "), failed.join(", "))
}
