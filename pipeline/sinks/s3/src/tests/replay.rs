//! A takeover repeats the flush that a previous owner announced: the same names and bytes, and nothing that is stored
//! is replaced.

use fms_connect::{Demand, SinkError, SinkTask as _};

use super::*;

/// Whatever today's settings are, a takeover writes what the previous owner announced: the same keys, the same bytes.
#[test]
fn replay_writes_the_same_objects() {
    let settings: Vec<_> = [HOURLY, &[("s3.compression.type", "gzip"), ("flush.size", "100")]].concat();
    let hours = [3, 4, 3, 5, 4, 3, 3];
    let world = World::new();
    let mut first = world.task(&settings).open();
    first.put_hours(0, &hours);
    assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(7, "shutdown")]);
    let written = world.objects();
    assert_eq!(written.len(), 3);

    let world_after = World::new();
    let today = [
        ("flush.size", "1"),
        ("topics.dir", "elsewhere"),
        ("s3.compression.type", "zstd"),
        ("rotate.interval.ms", "1"),
    ];
    let mut next = world_after.task(&today).take_over(7, &first.intent);
    next.put_hours(0, &hours[..6]);
    assert_eq!(next.due(&tick(Demand::Shutdown, None)), None, "only its end ends it");
    next.put_hours(6, &hours[6..]);
    assert_eq!(next.flush_all(&SETTINGS), [(7, "replay")]);
    assert_eq!(world_after.objects(), written);

    // Then today's settings count.
    next.put_hours(7, &[9]);
    assert_eq!(next.flush_all(&SETTINGS), [(8, "flush.size")]);
    assert!(world_after.objects().contains_key("elsewhere/t/partition=0/t+0+0000000007.json.zst"));
}

/// Records that are compacted away between a flush and its replay, the first, the last or all of a folder, change no
/// name.
#[test]
fn a_replay_without_its_first_records_has_the_same_names() {
    let hours = [3, 4, 3, 5, 4, 3, 3];
    let world = World::new();
    let mut first = world.task(&[HOURLY, &[("flush.size", "100")]].concat()).open_at(Some(10));
    first.put_hours(10, &hours);
    assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(17, "shutdown")]);
    let written: Vec<_> = world.objects().into_keys().collect();
    assert_eq!(written.len(), 3);

    for (left, end_comes_with) in [(&[12, 13, 14, 16][..], 16), (&[15, 16], 16), (&[12], 30), (&[], 30)] {
        let world = World::new();
        let mut next = world.task(HOURLY).take_over_at(10, 17, &first.intent);
        for offset in left.iter().copied().chain((end_comes_with > 16).then_some(end_comes_with)) {
            let hour = usize::try_from(offset - 10).ok().and_then(|at| hours.get(at)).copied().unwrap_or(9);
            next.put_hours(offset, &[hour]);
        }
        assert_eq!(next.flush_all(&SETTINGS), [(17, "replay")], "{left:?}");
        let names: Vec<_> = world.objects().into_keys().collect();
        assert!(names.iter().all(|name| written.contains(name)), "{left:?}: {names:?}");
        assert_eq!(names.is_empty(), left.is_empty(), "{left:?}: {names:?}");

        // The flush after it starts where it ends.
        next.put_hours(40, &[9]);
        next.flush_all(&tick(Demand::Shutdown, None));
        assert!(world.objects().contains_key("topics/t/hour=09/t+0+0000000017.json"), "{left:?}: {:?}", world.texts());
    }
}

/// The last records before the announced end may no longer exist: a later record ends the replay, and nothing else
/// does.
#[test]
fn replay_ends_at_its_end_across_gaps() {
    let world = World::new();
    let mut driver = world.task(&[]);
    let intent = driver.intent.clone();
    driver = driver.take_over(10, &intent);
    driver.put_hours(0, &[1, 1]);
    assert_eq!(driver.due(&SETTINGS), None);
    driver.put_hours(10, &[1]);
    assert_eq!(driver.flush_all(&SETTINGS), [(10, "replay")]);
    assert_eq!(world.texts()[0].1.lines().count(), 2, "the record at the end is not part of it");
    driver.task.close(&partition());

    driver = driver.take_over(10, &intent);
    driver.put_hours(0, &[1, 1]);
    assert_eq!(driver.due(&tick(Demand::Settings, Some(0))), None, "the partition's end may be old news");
    driver.task.close(&partition());

    driver = driver.take_over(10, &intent);
    driver.put_hours(12, &[1]);
    let due = driver.due(&SETTINGS);
    assert_eq!(due, Some(Flush { end: 10, intent: false, reason: "replay" }), "nothing is left to be written");
}

/// A flush that is repeated where its objects are stored already finds them there, and leaves them: in one piece or in
/// parts, and also in a store that has no checksum of them.
#[test]
fn a_replay_of_the_same_bytes_is_done() {
    let rows = [r#"{"n":1}"#.to_owned(), r#"{"n":2}"#.to_owned()];
    for rows in [&rows[..], &(0..7).map(big_row).collect::<Vec<_>>()] {
        for has_checksum in [true, false] {
            let world = World::new();
            let mut first = world.task(&[("flush.size", "100")]).open();
            let put_all = |driver: &mut Driver<'_>| {
                for (offset, row) in (0..).zip(rows) {
                    driver.put(offset, row).expect("to put");
                }
            };
            put_all(&mut first);
            assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)).len(), 1);
            let written = world.objects();
            if !has_checksum {
                world.store("topics/t/partition=0/t+0+0000000000.json", &written.values().next().expect("one")[..]);
            }
            let end = i64::try_from(rows.len()).expect("few");
            let mut next = world.task(&[]).take_over(end, &first.intent);
            put_all(&mut next);
            assert_eq!(next.flush_all(&SETTINGS), [(end, "replay")]);
            assert_eq!(world.objects(), written);
            assert_eq!(world.open_uploads(), [""; 0], "the upload that was not needed is aborted");
        }
    }
}

/// Another object of the same name is never replaced, whether it is larger, smaller or as large, and in one piece or in
/// parts. The error says which it is and what to do.
#[test]
fn another_object_is_not_replaced() {
    let name = "topics/t/partition=0/t+0+0000000000.json";
    for row in [r#"{"n":1}"#.to_owned(), big_row(0).replace("xx", &"x".repeat(12))] {
        let bytes = row.len() + 1;
        for other in [vec![b'x'; bytes], vec![b'x'; 3]] {
            let world = World::new();
            world.store(name, &other);
            let mut driver = world.task(&[("flush.size", "1")]).open();
            driver.put(0, &row).expect("to put");
            assert_eq!(driver.due(&SETTINGS).map(|flush| flush.end), Some(1));
            let error = driver.flush().expect_err("it is another");
            let text = error.to_string();
            assert!(matches!(error, SinkError::Fatal { .. }), "{text}");
            let length = format!("another object of {} bytes", other.len());
            for part in [
                "s3://raw/topics/t/partition=0/t+0+",
                "of t-0 from offset 0 on",
                &length,
                "`topics.dir`",
                "created again",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.contains(&format!("this one has {bytes}")), other.len() != bytes, "{text}");
            assert!(!text.contains("  "), "{text}");
            assert_eq!(world.objects().into_values().collect::<Vec<_>>(), [other]);
        }
    }
}

/// Records that are compacted away between a flush and its replay: what was stored before has every row, and stays. But
/// an object that lacks a row of the replay is another, and so is every other one where no record is gone.
#[test]
fn what_was_stored_before_compaction_stays() {
    for compression in ["none", "gzip", "zstd"] {
        let world = World::new();
        let settings = [HOURLY, &[("flush.size", "100"), ("s3.compression.type", compression)]].concat();
        let mut first = world.task(&settings).open();
        first.put_hours(0, &[3, 4, 3, 3, 4]);
        assert_eq!(first.flush_all(&tick(Demand::Shutdown, None)), [(5, "shutdown")]);
        let written = world.objects();
        let mut next = world.task(&[]).take_over(5, &first.intent);
        next.put_hours(2, &[3, 3]);
        next.put_hours(9, &[9]);
        assert_eq!(next.flush_all(&SETTINGS), [(5, "replay")]);
        assert_eq!(world.objects(), written, "{compression}");

        let mut next = world.task(&[]).take_over(5, &first.intent);
        next.put_hours(2, &[3]);
        next.put(3, r#"{"n":-1,"timestamp":"2023-01-01T03:00:00Z"}"#).expect("to put");
        next.put_hours(9, &[9]);
        assert_eq!(next.due(&SETTINGS).map(|flush| flush.end), Some(5));
        let error = next.flush().expect_err("a row is not there");
        assert!(error.to_string().contains("another object"), "{compression}: {error}");

        let mut next = world.task(&[]).take_over(4, &first.intent);
        next.put_hours(0, &[3, 4, 3, 4]);
        assert_eq!(next.due(&SETTINGS).map(|flush| flush.end), Some(4));
        next.flush().expect_err("no record is gone, so it is another flush");
        assert_eq!(world.objects(), written, "{compression}");
    }
}
