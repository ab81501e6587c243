//! Dead letters on a mock cluster: what they say, when they count as delivered, and what is left out of those that are
//! too large.

use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::watch;

use super::topic::REPLICATION;
use super::*;
use crate::config::common::{COMMON, DEAD_LETTER_TOPIC};

/// A dead-letter queue of task 0 of connector `raw`, and the mock cluster that has its topic.
struct Fixture {
    cluster: MockCluster<'static, DefaultProducerContext>,
    client: ClientConfig,
    budget: Budget,
    queue: DeadLetterQueue,
}

impl Fixture {
    /// The queue of a connector with these settings.
    fn new(settings: &[(&str, &str)]) -> Self {
        let (cluster, client) = cluster();
        cluster.create_topic("dlq", 1, 1).unwrap();
        let budget = Budget::new(1 << 20);
        let queue = DeadLetterQueue::start(&config(settings), 0, &client, &budget).unwrap().unwrap();
        Self { cluster, client, budget, queue }
    }

    /// The next requests to produce are answered with these errors, one each.
    fn refuse(&self, errors: &[RDKafkaRespErr]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// Waits until every letter of a record before `end` is acknowledged. An error is one of the queue.
    fn wait(&mut self, end: i64) -> Result<(), SinkError> {
        let started = Instant::now();
        while !self.queue.acknowledged(&letter(0, None).origin.partition, end)? {
            assert!(started.elapsed() < Duration::from_secs(20), "no delivery report within 20 s");
            self.queue.producer.poll(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The first `count` messages of the topic.
    fn read(&self, count: usize) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer =
            self.client.clone().set("group.id", "test").set("enable.auto.commit", "false").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset("dlq", 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let next = || consumer.poll(Duration::from_secs(10)).expect("a message within 10 s").unwrap().detach();
        std::iter::repeat_with(next).take(count).collect()
    }
}

fn cluster() -> (MockCluster<'static, DefaultProducerContext>, ClientConfig) {
    let cluster = MockCluster::new(1).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    (cluster, client)
}

/// The configuration of connector `raw` with these settings, whose dead letters go to the topic `dlq`.
fn config(settings: &[(&str, &str)]) -> Config {
    let base = [("name", "raw"), ("connector.class", "S3"), ("topics", "t"), (DEAD_LETTER_TOPIC, "dlq")];
    let values = base.iter().chain(settings).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::new("raw", &[COMMON], values).unwrap()
}

fn letter(offset: i64, row: Option<usize>) -> DeadLetter {
    DeadLetter {
        origin: Arc::new(Origin {
            partition: TopicPartition { topic: "t".into(), partition: 3 },
            offset,
            timestamp: Some(1_672_542_000_000),
            key: Some(b"10022".to_vec()),
            headers: vec![("h".into(), Some(b"1".to_vec())), ("h".into(), None)],
        }),
        value: Some(b"{broken".to_vec()),
        row,
        stage: ErrorStage::ValueConverter,
        error_class: "fms_record::MessageError",
        error: "not JSON".into(),
        request_id: None,
    }
}

fn shown(message: &OwnedMessage) -> Vec<(String, Option<String>)> {
    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8(value.to_vec()).unwrap());
    message.headers().unwrap().iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
}

#[test]
fn a_letter_keeps_the_record_and_says_where_it_is_from_and_what_is_wrong() {
    let mut fixture = Fixture::new(&[(HEADERS, "true")]);
    fixture.queue.send(letter(17, None));
    assert!(fixture.budget.used() > 0);
    fixture.wait(18).unwrap();
    assert_eq!(fixture.budget.used(), 0);
    let message = &fixture.read(1)[0];
    assert_eq!(message.key(), Some(&b"10022"[..]));
    assert_eq!(message.payload(), Some(&b"{broken"[..]));
    assert_eq!(message.timestamp().to_millis(), Some(1_672_542_000_000));
    let some = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        shown(message),
        [
            some("h", "1"),
            ("h".into(), None),
            some("__connect.errors.topic", "t"),
            some("__connect.errors.partition", "3"),
            some("__connect.errors.offset", "17"),
            some("__connect.errors.connector.name", "raw"),
            some("__connect.errors.task.id", "0"),
            some("__connect.errors.stage", "VALUE_CONVERTER"),
            some("__connect.errors.class.name", "fms_record::Parser"),
            some("__connect.errors.exception.class.name", "fms_record::MessageError"),
            some("__connect.errors.exception.message", "not JSON"),
        ]
    );
}

#[test]
fn without_context_headers_only_a_rows_index_is_added() {
    let mut fixture = Fixture::new(&[]);
    let tombstone = DeadLetter { value: None, ..letter(1, None) };
    fixture.queue.send(letter(0, Some(4)));
    fixture.queue.send(tombstone);
    fixture.wait(2).unwrap();
    let messages = fixture.read(2);
    let own = [("h".to_owned(), Some("1".to_owned())), ("h".to_owned(), None)];
    assert_eq!(shown(&messages[0])[..2], own);
    assert_eq!(shown(&messages[0])[2..], [("__connect.errors.row.index".to_owned(), Some("4".to_owned()))]);
    assert_eq!(shown(&messages[1]), own);
    assert_eq!(messages[1].payload(), None);
}

#[test]
fn letters_count_as_acknowledged_up_to_the_first_that_is_not() {
    let mut fixture = Fixture::new(&[]);
    let partition = letter(0, None).origin.partition.clone();
    fixture.cluster.broker_down(1).unwrap();
    assert!(fixture.queue.acknowledged(&partition, i64::MAX).unwrap());
    fixture.queue.send(letter(17, None));
    assert!(fixture.queue.acknowledged(&partition, 17).unwrap(), "the letter is of a later record");
    assert!(!fixture.queue.acknowledged(&partition, 18).unwrap(), "no broker has it");
    fixture.cluster.broker_up(1).unwrap();
    fixture.wait(18).unwrap();
}

#[test]
fn more_letters_than_the_producer_takes_wait_and_none_is_lost() {
    let mut fixture = Fixture::new(&[("producer.override.queue.buffering.max.messages", "3")]);
    fixture.cluster.broker_down(1).unwrap();
    (0..10).for_each(|offset| fixture.queue.send(letter(offset, None)));
    assert!(!fixture.queue.waiting.is_empty());
    fixture.cluster.broker_up(1).unwrap();
    fixture.wait(10).unwrap();
    assert!(fixture.queue.waiting.is_empty());
    assert_eq!(fixture.read(10).len(), 10);
}

#[test]
fn a_letter_that_is_refused_fails_the_task_and_is_named() {
    let mut fixture = Fixture::new(&[]);
    fixture.refuse(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    fixture.queue.send(letter(17, None));
    let error = fixture.wait(18).unwrap_err();
    insta::assert_snapshot!(error, @"the dead letter of t-3 offset 17 was not delivered to the topic `dlq`: Message production error: TopicAuthorizationFailed (Broker: Topic authorization failed), for a value of 7 bytes; the offset is not committed, so the task reads the record again when it restarts");
    let again = fixture.queue.poll().unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "the task cannot go on");
}

/// A letter of which every part can be left out: in the order of their sizes value, headers, key.
fn full_letter() -> DeadLetter {
    let mut letter = letter(17, Some(4));
    let origin = Arc::make_mut(&mut letter.origin);
    origin.headers = vec![("trace-id".into(), Some(b"4bf9".to_vec()))];
    DeadLetter { value: Some(b"{\"n\":1,\"text\":\"x\"}".to_vec()), error: "é".repeat(1000), ..letter }
}

/// What arrives of [`full_letter`] after so many refusals for its size, or the task's error; and the metrics.
fn refused(times: usize, settings: &[(&str, &str)]) -> (Result<String, SinkError>, String) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = ::metrics::set_default_local_recorder(&recorder);
    let mut fixture = Fixture::new(settings);
    fixture.refuse(&vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; times]);
    fixture.queue.send(full_letter());
    let result = fixture.wait(18);
    assert_eq!(fixture.budget.used(), 0, "nothing is held any more");
    let arrived = result.map(|()| {
        let message = &fixture.read(1)[0];
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let headers = shown(message).into_iter().map(|(name, value)| {
            let value = value.unwrap_or_default();
            // Only the length of a long text matters.
            let value = if value.len() > 100 { format!("{} characters", value.chars().count()) } else { value };
            format!("\n  {}={value}", name.replace("__connect.errors.", "…"))
        });
        format!("key {:?}, value {:?}{}", text(message.key()), text(message.payload()), headers.collect::<String>())
    });
    (arrived, recorder.handle().render())
}

#[test]
fn a_letter_that_is_too_large_is_delivered_with_less_and_less() {
    let arrived = |times| refused(times, &[(HEADERS, "true")]).0.unwrap();
    let whole = arrived(0);
    insta::assert_snapshot!(whole, @r#"
    key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
      trace-id=4bf9
      …topic=t
      …partition=3
      …offset=17
      …connector.name=raw
      …task.id=0
      …stage=VALUE_CONVERTER
      …class.name=fms_record::Parser
      …exception.class.name=fms_record::MessageError
      …exception.message=1000 characters
      …row.index=4
    "#);
    assert_eq!(arrived(1), whole, "compressed and by itself");
    assert_eq!(arrived(2), whole.replace("1000 characters", "129 characters"), "with a shorter text");
    insta::assert_snapshot!(arrived(3), @r#"
    key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
      trace-id=4bf9
      …row.index=4
    "#);
    insta::assert_snapshot!(arrived(4), @r#"
    key Some("10022"), value None
      trace-id=4bf9
      …topic=t
      …partition=3
      …offset=17
      …connector.name=raw
      …task.id=0
      …stage=VALUE_CONVERTER
      …class.name=fms_record::Parser
      …exception.class.name=fms_record::MessageError
      …exception.message=129 characters
      …row.index=4
      …value.size=18
      …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
    "#);
    insta::assert_snapshot!(arrived(5), @r#"
    key Some("10022"), value None
      …topic=t
      …partition=3
      …offset=17
      …connector.name=raw
      …task.id=0
      …stage=VALUE_CONVERTER
      …class.name=fms_record::Parser
      …exception.class.name=fms_record::MessageError
      …exception.message=129 characters
      …row.index=4
      …value.size=18
      …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
      …headers.size=12
    "#);
    insta::assert_snapshot!(arrived(6), @r#"
    key None, value None
      …topic=t
      …partition=3
      …offset=17
      …connector.name=raw
      …task.id=0
      …stage=VALUE_CONVERTER
      …class.name=fms_record::Parser
      …exception.class.name=fms_record::MessageError
      …exception.message=129 characters
      …row.index=4
      …value.size=18
      …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
      …headers.size=12
      …key.size=5
      …key.sha256=22167355cff64913077bb69aa8a1ca4d7f80442050d5c18a08598b2f0fa17d93
    "#);
}

#[test]
fn without_context_headers_what_is_left_out_is_named_all_the_same() {
    insta::assert_snapshot!(refused(1, &[]).0.unwrap(), @r#"
    key Some("10022"), value Some("{\"n\":1,\"text\":\"x\"}")
      trace-id=4bf9
      …row.index=4
    "#);
    insta::assert_snapshot!(refused(2, &[]).0.unwrap(), @r#"
    key Some("10022"), value None
      trace-id=4bf9
      …topic=t
      …partition=3
      …offset=17
      …row.index=4
      …value.size=18
      …value.sha256=f839ca279f4105d2625bf71e802443efa68c9b0b4fe1334f2ac0796b2ee7e278
    "#);
}

#[test]
fn a_topic_that_takes_no_letter_at_all_fails_the_task() {
    insta::assert_snapshot!(refused(7, &[(HEADERS, "true")]).0.unwrap_err(), @"the dead letter of t-3 offset 17 was not delivered to the topic `dlq`: Message production error: MessageSizeTooLarge (Broker: Message size too large), even compressed and without its error message, value, headers, key; raise the topic's `max.message.bytes`; the offset is not committed, so the task reads the record again when it restarts");
}

#[test]
fn what_is_cut_from_letters_is_counted() {
    let cut = |times| -> Vec<String> {
        let metrics = refused(times, &[(HEADERS, "true")]).1;
        metrics.lines().filter(|line| line.starts_with("fms_dead_letters_cut_total{")).map(str::to_owned).collect()
    };
    assert!(cut(1).is_empty(), "it is whole");
    let of = |cut| format!(r#"fms_dead_letters_cut_total{{connector="raw",task="0",cut="{cut}"}} 1"#);
    assert_eq!(cut(3), [of("context headers")]);
    let mut both = cut(4);
    both.sort();
    assert_eq!(both, [of("error message"), of("value")]);
}

#[test]
fn the_largest_part_of_a_letter_is_left_out_first() {
    let mut letter = full_letter();
    Arc::make_mut(&mut letter.origin).key = Some(vec![b'k'; 100]);
    let mut form = LetterForm::default();
    let cuts: Vec<_> = std::iter::from_fn(|| form.shrink(&letter, false).then(|| form.cuts(&letter))).collect();
    let expected: [&[&str]; 4] = [
        &[],
        &["error message", "key"],
        &["error message", "key", "value"],
        &["error message", "key", "value", "headers"],
    ];
    assert_eq!(cuts, expected);
}

/// The limit of a topic applies to batches, so letters are refused because of others in their batch.
#[test]
fn letters_of_a_batch_that_is_too_large_are_all_delivered_whole() {
    let settings = [("producer.override.linger.ms", "500"), ("producer.override.batch.num.messages", "10")];
    let mut fixture = Fixture::new(&settings);
    fixture.refuse(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    (0..10).for_each(|offset| fixture.queue.send(letter(offset, None)));
    fixture.wait(10).unwrap();
    assert!(fixture.read(10).iter().all(|message| message.payload() == Some(b"{broken")));
}

#[test]
fn a_letter_over_the_clients_own_limit_is_delivered_whole() {
    let mut fixture = Fixture::new(&[("producer.override.message.max.bytes", "1000")]);
    fixture.queue.send(DeadLetter { value: Some(vec![b'x'; 5000]), ..letter(17, None) });
    fixture.wait(18).unwrap();
    assert_eq!(fixture.read(1)[0].payload().map(<[u8]>::len), Some(5000));
}

#[test]
fn letters_that_are_too_large_are_compressed_as_configured_or_at_all() {
    let of = |settings: &[(&str, &str)]| {
        let mut client = ClientConfig::new();
        for (key, value) in settings {
            client.set(*key, *value);
        }
        let single = single(&client);
        ["compression.codec", "compression.type", "message.max.bytes"].map(|key| single.get(key).map(str::to_owned))
    };
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(of(&[]), [None, some("zstd"), some("100000000")]);
    assert_eq!(
        of(&[("compression.codec", "none"), ("message.max.bytes", "1000")]),
        [None, some("zstd"), some("100000000")]
    );
    assert_eq!(
        of(&[("compression.codec", "lz4"), ("message.max.bytes", "200000000")]),
        [some("lz4"), None, some("200000000")]
    );
    assert_eq!(of(&[("compression.type", "gzip")]), [None, some("gzip"), some("100000000")]);
}

/// A letter that was sent back to its topic and fails again says what is wrong now, and nothing about the first error.
#[test]
fn headers_of_an_earlier_error_give_way() {
    let mut again = letter(17, None);
    let headers = &mut Arc::make_mut(&mut again.origin).headers;
    for name in ["topic", "offset", "exception.message", "row.index", "value.sha256"] {
        headers.push((format!("__connect.errors.{name}"), Some(b"old".to_vec())));
    }
    for (context, expected) in [("true", 2 + 9), ("false", 2)] {
        let mut fixture = Fixture::new(&[(HEADERS, context)]);
        fixture.queue.send(again.clone());
        fixture.wait(18).unwrap();
        let headers = shown(&fixture.read(1)[0]);
        assert!(headers.iter().all(|(_, value)| value.as_deref() != Some("old")), "{headers:?}");
        assert_eq!(headers.len(), expected, "{headers:?}");
    }
}

#[test]
fn the_id_of_the_call_that_refused_a_row_has_a_header_of_its_own() {
    let mut fixture = Fixture::new(&[(HEADERS, "true")]);
    fixture.queue.send(DeadLetter { request_id: Some("R1".into()), ..letter(17, Some(4)) });
    fixture.wait(18).unwrap();
    let headers = shown(&fixture.read(1)[0]);
    assert!(headers.contains(&("__connect.errors.request.id".into(), Some("R1".into()))), "{headers:?}");
}

#[test]
fn a_broker_that_creates_topics_creates_this_one() {
    let (_cluster, client) = cluster();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    ensure_topic(&config(&[]), &client, runtime.handle(), &watch::channel(false).1).unwrap();
    ensure_topic(&config(&[(REPLICATION, "1")]), &client, runtime.handle(), &watch::channel(false).1).unwrap();
}
