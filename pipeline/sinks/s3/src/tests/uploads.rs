//! Objects that are uploaded in parts, and the uploads that a previous owner has left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fms_connect::{Demand, SinkError, SinkTask as _, TopicPartition};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::task::CALLS;

/// Beyond a part's size parts go ahead and give their memory back; the object appears only in the flush, whole.
#[test]
fn large_objects_go_in_parts() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "13")]).open();
    for offset in 0..13 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    driver.wait("two parts and the last", |driver| {
        driver.due(&SETTINGS);
        (driver.held() == 0).then_some(())
    });
    assert_eq!(world.open_uploads(), ["topics/t/partition=0/t+0+0000000000.json"]);
    assert_eq!(world.texts(), []);
    assert_eq!(driver.flush_all(&SETTINGS), [(13, "flush.size")]);
    let rows: String = (0..13).map(|offset| big_row(offset) + "\n").collect();
    assert_eq!(world.texts(), [("topics/t/partition=0/t+0+0000000000.json".to_owned(), rows)]);
    assert_eq!(world.open_uploads(), [""; 0]);
}

/// While parts are on their way, a full worker waits for them instead of making smaller objects.
#[test]
fn memory_waits_for_parts_under_way() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "100")]).open();
    for offset in 0..6 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    assert_eq!(driver.due(&tick(Demand::Memory, None)), None, "its clean-up and its part have just begun");
    let flush = driver.wait("the part", |driver| driver.due(&tick(Demand::Memory, None)));
    assert_eq!(flush, Flush { end: 6, intent: true, reason: "buffer.memory" });
}

/// Whoever takes a partition over aborts the uploads that were left behind there, in whatever folders, and no others.
#[test]
fn uploads_left_behind_are_aborted() {
    let world = World::new();
    let settings = S3Settings::parse(&World::config(&[])).expect("valid settings");
    let client = client(&world.aws, &settings.layout);
    let others = [
        "topics/t/partition=0/other.json",
        "topics/t/partition=10/t+10+0000000000.json",
        "topics/t2/partition=0/t2+0+0000000000.json",
    ];
    let ours = ["topics/t/a=t+1/hour=03/t+0+0000000000.json.gz", "topics/t/partition=0/t+0+0000000005.json"];
    world.runtime.block_on(async {
        for key in others.iter().chain(&ours) {
            client.create_multipart_upload().bucket(BUCKET).key(*key).send().await.expect("an upload");
        }
        // More than a page of them.
        for number in 0..1001 {
            let key = format!("topics/t/partition=0/t+0+{number:010}.json.zst");
            client.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("an upload");
        }
    });
    let mut driver = world.task(&[]).open();
    driver.put_hours(0, &[1, 1, 1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(3, "flush.size")]);
    assert_eq!(world.open_uploads(), others, "before anything of ours is stored");
}

/// However many partitions are opened at once, a task has no more calls under way than its limit: clean-ups take their
/// turns too.
#[test]
fn clean_ups_take_turns() {
    const PARTITIONS: i32 = 1000;
    let mut world = World::new();
    let (most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let listener = world.runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    world.aws = world.aws.to_builder().endpoint_url(endpoint).build();
    let (counted, listed) = (Arc::clone(&most), Arc::clone(&done));
    world.runtime.spawn(async move {
        let under_way = Arc::new(AtomicUsize::new(0));
        while let Ok((mut connection, _)) = listener.accept().await {
            let (under_way, most, done) = (Arc::clone(&under_way), Arc::clone(&counted), Arc::clone(&listed));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = connection.read_u8().await else { return };
                    head.push(byte);
                }
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // All that are allowed are there before the first is answered.
                while most.load(Ordering::SeqCst) < CALLS {
                    tokio::task::yield_now().await;
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                let body = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    let mut driver = world.task(&[]);
    for partition in 0..PARTITIONS {
        driver.task.open(&TopicPartition { topic: "t".into(), partition }, None, None).expect("to open");
    }
    driver.wait("the clean-ups", |_| (done.load(Ordering::SeqCst) == 1000).then_some(()));
    assert_eq!(most.load(Ordering::SeqCst), CALLS);
}

/// An upload that another owner has aborted cannot be completed: the partition starts over.
#[test]
fn aborted_uploads_restart_the_partition() {
    let world = World::new();
    let mut driver = world.task(&[("flush.size", "7")]).open();
    let mut next = world.task(&[("flush.size", "7")]);
    for offset in 0..7 {
        driver.put(offset, &big_row(offset)).expect("to put");
    }
    driver.wait("the parts", |driver| {
        driver.due(&SETTINGS);
        (driver.held() == 0).then_some(())
    });
    next = next.open();
    next.wait("the clean-up", |next| {
        next.due(&SETTINGS);
        next.world.open_uploads().is_empty().then_some(())
    });
    assert!(driver.due(&SETTINGS).is_some());
    let error = driver.flush().expect_err("the upload is gone");
    assert!(matches!(&error, SinkError::Restart { text, .. } if text.contains("t+0+0000000000.json")), "{error:?}");
    assert_eq!(world.texts(), []);
}
