//! Tests of the embedded Kafka with librdkafka as its client.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rdkafka::error::RDKafkaErrorCode as Code;

use super::*;

fn consumer(stack: &Embedded, group: &str) -> BaseConsumer {
    settings(stack, group).create().unwrap()
}

fn settings(stack: &Embedded, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    config
}

/// Reads the next message. A poll may end early without a message, after a rebalance.
fn next(consumer: &BaseConsumer) -> Vec<u8> {
    let deadline = soon();
    loop {
        if let Some(message) = consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            return message.unwrap().payload().unwrap().to_vec();
        }
        assert!(Instant::now() < deadline, "no message");
    }
}

/// The next message, from a broker that may have been away.
fn next_of_any(consumer: &BaseConsumer) -> Vec<u8> {
    let deadline = soon();
    loop {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(10)) {
            return message.payload().unwrap().to_vec();
        }
        assert!(Instant::now() < deadline, "no message");
    }
}

#[test]
fn records_are_read_as_they_were_sent() {
    let stack = start();
    stack.provide(&Resources::topic("fms.vehicle.real", 3)).unwrap();
    let mut odd = record("fms.vehicle.real", 0, 1, "\u{feff}{");
    odd.headers = vec![("a".into(), None), ("a".into(), Some(b"2".to_vec())), ("a".into(), Some(Vec::new()))];
    odd.key = None;
    let mut tombstone = record("fms.vehicle.real", 2, 0, "");
    tombstone.value = None;
    let mut empty = record("fms.vehicle.real", 2, 1, "");
    empty.key = Some(Vec::new());
    let sent = [record("fms.vehicle.real", 0, 0, "{}"), odd, tombstone, empty];
    stack.produce(&sent).unwrap();
    assert_eq!(stack.read_topic("fms.vehicle.real").unwrap(), sent);
    let ends: Vec<_> = stack.end_offsets(&["fms.vehicle.real".into()]).unwrap().into_values().collect();
    assert_eq!(ends, [2, 0, 2]);
    assert_eq!(stack.read_topic("unknown").unwrap(), []);
    assert!(stack.end_offsets(&["unknown".into()]).unwrap_err().to_string().contains("does not exist"));
}

#[test]
fn order_is_kept_within_each_partition() {
    let stack = start();
    stack.provide(&Resources::topic("t", 4)).unwrap();
    let sent: Vec<_> = (0..4000).map(|n| record("t", n % 4, i64::from(n / 4), &format!("{{\"n\":{n}}}"))).collect();
    stack.produce(&sent[..1999]).unwrap();
    stack.produce(&sent[1999..]).unwrap();
    let mut expected = sent;
    expected.sort_by_key(|record| (record.partition, record.offset));
    assert!(stack.read_topic("t").unwrap() == expected, "records differ");
}

#[test]
fn a_group_joins_without_delay_and_its_commits_are_read_with_their_metadata() {
    let stack = start();
    stack.provide(&Resources::topic("t", 2)).unwrap();
    stack.produce(&[record("t", 0, 0, "a"), record("t", 0, 1, "b")]).unwrap();
    let partitions = [("t".to_owned(), 0), ("t".to_owned(), 1)];
    assert!(stack.committed("connect-s3", &partitions).unwrap().is_empty());

    let begun = Instant::now();
    let subject = consumer(&stack, "connect-s3");
    subject.subscribe(&["t"]).unwrap();
    assert_eq!(next(&subject), b"a");
    eprintln!("subscribed to first record: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(3), "the group's first assignment was delayed");

    let commit = |offset, metadata: &str| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset)).unwrap();
        list.find_partition("t", 0).unwrap().set_metadata(metadata);
        subject.commit(&list, CommitMode::Sync).unwrap();
    };
    commit(1, "{\"end\":2}");
    let committed = stack.committed("connect-s3", &partitions).unwrap();
    assert_eq!(committed, BTreeMap::from([(("t".to_owned(), 0), (1, "{\"end\":2}".to_owned()))]));
    commit(2, "");
    let begun = Instant::now();
    let committed = stack.committed("connect-s3", &partitions).unwrap();
    eprintln!("committed() of a known group: {:?}", begun.elapsed());
    assert_eq!(committed, BTreeMap::from([(("t".to_owned(), 0), (2, String::new()))]));
}

fn committed(stack: &Embedded) -> Option<i64> {
    let partition = ("t".to_owned(), 0);
    stack.committed("connect-s3", std::slice::from_ref(&partition)).unwrap().get(&partition).map(|(offset, _)| *offset)
}

fn offset(offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(offset)).unwrap();
    list
}

/// A relayed broker, and a subject that has received the only record of its topic.
fn after_one_record() -> (Embedded, BaseConsumer) {
    let stack = Embedded::start_with(Brokers::Relayed(Absent::Stay), Vec::new()).unwrap();
    stack.provide(&Resources::topic("t", 1)).unwrap();
    stack.produce(&[record("t", 0, 0, "a")]).unwrap();
    let subject = consumer(&stack, "connect-s3");
    subject.subscribe(&["t"]).unwrap();
    assert_eq!(next(&subject), b"a");
    (stack, subject)
}

#[test]
fn a_broker_that_was_away_still_has_what_was_sent_and_committed() {
    let (stack, subject) = after_one_record();
    subject.commit(&offset(1), CommitMode::Sync).unwrap();

    assert!(stack.set_broker_up(false).unwrap());
    let away = subject.fetch_metadata(Some("t"), Duration::from_millis(100)).expect_err("the broker is away");
    assert!(
        matches!(away.rdkafka_error_code(), Some(Code::BrokerTransportFailure | Code::OperationTimedOut)),
        "{away}"
    );
    assert!(stack.set_broker_up(true).unwrap());
    stack.produce(&[record("t", 0, 1, "b")]).unwrap();
    assert_eq!(next_of_any(&subject), b"b");
    assert_eq!(committed(&stack), Some(1));
}

/// librdkafka's mock cluster does not see the orderly end of a connection on which a member waits to join, and would end
/// this process when the member asks again.
#[test]
fn a_member_that_waits_to_join_asks_again_when_its_connection_is_broken() {
    const JOIN_GROUP: i16 = 11;
    let stack = Embedded::start_with(Brokers::Relayed(Absent::Stay), Vec::new()).unwrap();
    stack.provide(&Resources::topic("t", 2)).unwrap();
    let joins = || stack.kafka.keys().unwrap().into_iter().filter(|key| *key == JOIN_GROUP).count();
    let join = || {
        let mut config = settings(&stack, "connect-s3");
        // The members notice soon that the group forms anew, and the broker does not wait long for those that do not.
        config.set("heartbeat.interval.ms", "50").set("session.timeout.ms", "6000");
        let member: BaseConsumer = config.create().unwrap();
        member.subscribe(&["t"]).unwrap();
        member
    };
    let poll_until = |members: &[&BaseConsumer], what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = soon();
        while !is_so() {
            assert!(Instant::now() < deadline, "not so: {what}");
            for member in members {
                let _ = member.poll(Duration::from_millis(1));
            }
        }
    };
    let has_partition = |member: &BaseConsumer| member.assignment().unwrap().count() == 1;
    let (waits, is_away) = (join(), join());
    poll_until(&[&waits, &is_away], "each has a partition", &|| has_partition(&waits) && has_partition(&is_away));
    // The group waits for the member that is not polled, and so for the answer to the other ones.
    let (before, third) = (joins(), join());
    poll_until(&[&waits, &third], "the third one joins, and the first one again", &|| joins() >= before + 2);
    assert!(stack.set_broker_up(true).unwrap());
    poll_until(&[&waits, &third], "both ask again", &|| joins() >= before + 4);
    drop(third);
    stack.produce(&[record("t", 0, 0, "a"), record("t", 1, 0, "b")]).unwrap();
    let ends = || stack.end_offsets(&["t".into()]).unwrap().into_values().sum::<i64>();
    assert_eq!(ends(), 2, "the broker still answers");
}

#[test]
fn a_commit_whose_answer_is_lost_has_taken_effect() {
    let (stack, subject) = after_one_record();
    assert!(stack.hold_kafka_request("OffsetCommit", 1, Moment::After).unwrap());
    subject.commit(&offset(1), CommitMode::Async).unwrap();
    let deadline = soon();
    while !stack.holds_kafka_request("OffsetCommit").unwrap() {
        assert!(Instant::now() < deadline, "no commit came");
        let _ = subject.poll(Duration::from_millis(1));
    }
    assert!(stack.set_broker_up(true).unwrap());
    assert_eq!(committed(&stack), Some(1));
}

#[test]
fn partitions_and_groups_move_to_the_other_broker_and_back() {
    let stack = Embedded::start_with(Brokers::Two, Vec::new()).unwrap();
    stack.provide(&Resources::topic("t", 2)).unwrap();
    let subject = consumer(&stack, "connect-s3");
    let leaders = || -> Vec<i32> {
        let metadata = subject.fetch_metadata(Some("t"), PATIENCE).unwrap();
        metadata.topics()[0].partitions().iter().map(rdkafka::metadata::MetadataPartition::leader).collect()
    };
    let groups = ["connect-s3".to_owned()];
    assert!(stack.move_leaders(&groups).unwrap());
    assert_eq!(leaders(), [1, 2]);
    stack.produce(&[record("t", 0, 0, "a")]).unwrap();
    subject.subscribe(&["t"]).unwrap();
    assert_eq!(next(&subject), b"a");
    assert!(stack.move_leaders(&groups).unwrap());
    assert_eq!(leaders(), [2, 1]);
    subject.commit(&offset(1), CommitMode::Sync).unwrap();
    stack.produce(&[record("t", 0, 1, "b")]).unwrap();
    assert_eq!(next_of_any(&subject), b"b");
    assert_eq!(committed(&stack), Some(1));
    assert!(!start().move_leaders(&groups).unwrap(), "a single broker has none to move to");
}

#[test]
fn a_member_that_is_assigned_partitions_asks_for_its_offsets() {
    let stack = start();
    stack.provide(&Resources::topic("t", 1)).unwrap();
    stack.produce(&[record("t", 0, 0, "a")]).unwrap();
    assert_eq!(stack.offset_fetches().unwrap(), Some(0));
    let subject = consumer(&stack, "connect-s3");
    subject.subscribe(&["t"]).unwrap();
    assert_eq!(next(&subject), b"a");
    assert_eq!(stack.offset_fetches().unwrap(), Some(1));
}

#[test]
fn a_message_of_four_mebibytes_reaches_a_client_with_default_settings() {
    let stack = start();
    stack.provide(&Resources::topic("t", 1)).unwrap();
    let value = "x".repeat(4 * MIB);
    stack.produce(&[record("t", 0, 0, &value), record("t", 0, 1, "after")]).unwrap();
    let subject = consumer(&stack, "defaults");
    subject.subscribe(&["t"]).unwrap();
    assert!(next(&subject) == value.as_bytes());
    assert_eq!(next(&subject), b"after");
}

#[test]
fn what_the_broker_would_evict_is_refused_before_anything_is_sent() {
    let stack = start();
    stack.provide(&Resources::topic("t", 2)).unwrap();
    let large = "x".repeat(3 * MIB);
    let refused = stack.produce(&[record("t", 0, 0, &large), record("t", 0, 1, &large)]).unwrap_err().to_string();
    assert!(refused.contains("t-0") && refused.contains("use more partitions"), "{refused}");
    assert_eq!(stack.end_offsets(&["t".into()]).unwrap()[&("t".to_owned(), 0)], 0);
    stack.produce(&[record("t", 0, 0, &large), record("t", 1, 0, &large)]).unwrap();
    assert!(stack.produce(&[record("t", 0, 1, &large)]).is_err(), "earlier records count");

    let refused = stack.produce(&[record("t", 2, 0, "")]).unwrap_err().to_string();
    assert!(refused.contains("2 partitions"), "{refused}");
    assert!(stack.produce(&[record("u", 0, 0, "")]).unwrap_err().to_string().contains("not been created"));
    assert!(stack.provide(&Resources::topic("t", 1)).unwrap_err().to_string().contains("creating topic t"));
}

#[test]
fn a_partition_keeps_all_that_is_admitted_to_it() {
    let stack = start();
    stack.provide(&Resources::topic("t", 1)).unwrap();
    let mut small = record("t", 0, 0, &"x".repeat(900));
    small.headers = vec![("name".into(), Some(b"value".to_vec())); 3];
    let mut sent = 0;
    // Records do not linger, so that batches are small and their overhead counts.
    while stack.produce(&vec![small.clone(); 40]).is_ok() {
        sent += 40;
    }
    while stack.produce(std::slice::from_ref(&small)).is_ok() {
        sent += 1;
    }
    assert!(sent > 4500, "{sent} records are fewer than fit into 5 MiB");
    assert_eq!(stack.read_topic("t").unwrap().len(), sent);
}

#[test]
fn a_partition_from_which_the_broker_evicted_records_is_not_read_as_if_it_were_whole() {
    let stack = start();
    stack.provide(&Resources::topic("letters", 1)).unwrap();
    let subject: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &stack.environment["KAFKA_BOOTSTRAP_SERVERS"])
        .set("message.max.bytes", "5000000")
        .create()
        .unwrap();
    let letter = vec![b'x'; 2 * MIB];
    for _ in 0..3 {
        subject.send(BaseRecord::<(), _>::to("letters").partition(0).payload(&letter)).unwrap();
        subject.flush(PATIENCE).unwrap();
    }
    let error = stack.read_topic("letters").unwrap_err().to_string();
    assert!(error.contains("letters-0") && error.contains("are gone"), "{error}");
}

/// A request of a client without a name, of a kind that has a group, a generation and a member.
fn request_of_member(key: u8, group: &str, member: &str) -> Vec<u8> {
    let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let head = [0, key, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let request = [&head[..], &text(group), &[0, 0, 0, 1], &text(member)].concat();
    [&u32::try_from(request.len()).unwrap().to_be_bytes()[..], &request].concat()
}

#[test]
fn a_member_leaves_when_its_connection_ends_if_the_broker_is_to_forget_it() {
    const LEAVE_GROUP: i16 = 13;
    const HEARTBEAT: u8 = 12;
    for (absent, leaves) in [(Absent::Leave, 1), (Absent::Stay, 0)] {
        let stack = Embedded::start_with(Brokers::Relayed(absent), Vec::new()).unwrap();
        let address = stack.environment()["KAFKA_BOOTSTRAP_SERVERS"].clone();
        let count = |key: i16| stack.kafka.keys().unwrap().into_iter().filter(|other| *other == key).count();
        {
            let mut client = TcpStream::connect(&address).unwrap();
            client.write_all(&request_of_member(HEARTBEAT, "connect-s3", "m1")).unwrap();
            let mut answer = [0; 4];
            client.read_exact(&mut answer).unwrap();
        }
        let deadline = soon();
        while count(LEAVE_GROUP) < leaves {
            assert!(Instant::now() < deadline, "the member has not left");
            std::thread::sleep(Duration::from_millis(1));
        }
        // This waits until all connections that there were have ended, with all that this leads to.
        assert!(stack.set_broker_up(true).unwrap());
        assert_eq!(count(LEAVE_GROUP) > 0, leaves > 0, "{absent:?}");
    }
}
