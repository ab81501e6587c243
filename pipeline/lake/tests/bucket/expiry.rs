//! Expiry: old hours leave the lake, also when it dies at any call.

use std::io;

use fms_lake::{Bucket, Expire, Expired, TimeZone};

use super::compaction::halfway;
use super::harness::World;
use super::interference::stride;

pub async fn expire(bucket: Bucket, options: Expire) -> io::Result<Expired> {
    let mut sum = Expired::default();
    for expiring in bucket.expiring(&options).await? {
        sum.add(&bucket.expire(&options, &expiring).await?);
    }
    Ok(sum)
}

pub fn expiring(before: &str) -> Expire {
    let before = before.parse().expect("a time");
    Expire { tables: Vec::new(), zone: TimeZone::UTC, before, dry_run: false }
}

impl World {
    /// Lets all hours leave a lake. A reader looks through the files of all lakes.
    pub fn expire_all(&self, lake: &str) {
        self.runtime.block_on(expire(self.beside(lake), expiring("2999-01-01T00:00:00Z"))).expect("expired");
    }
}

#[test]
fn hours_leave_by_their_own_time_and_the_quarantine_by_that_of_its_files() {
    let world = World::new();
    halfway(&world, "l");
    world.put("t/bad.json", &["no JSON".into()]);
    world.convert(&world.bucket("l"), "t/bad.json").expect("converted");
    let before = world.files("l");
    let dry = Expire { dry_run: true, ..expiring("2023-01-01T04:00:00Z") };
    let foreseen = world.runtime.block_on(expire(world.bucket("l"), dry)).expect("foreseen");
    assert_eq!(world.files("l"), before);
    let expired = world.runtime.block_on(expire(world.bucket("l"), expiring("2023-01-01T04:00:00Z"))).expect("expired");
    assert_eq!(expired, foreseen);
    assert_eq!((expired.partitions, expired.quarantined), (2, 0), "the hour 3 of both tables");
    assert!(!world.files("l").keys().any(|path| path.contains("hour=03")));
    let left = world.assert_once("l", "afterwards");
    assert!(left.len() == 2 && left.iter().all(|row| row.contains("04:00:00")), "{left:?}");
    let all = world.runtime.block_on(expire(world.bucket("l"), expiring("2999-01-01T00:00:00Z"))).expect("expired");
    assert_eq!((all.partitions, all.quarantined), (1, 1));
    assert!(world.files("l").keys().all(|path| path.starts_with("conversions/")));
    let bucket = world.bucket("l");
    assert_eq!(world.convert(&bucket, "t/a.json").expect("on record"), None, "what has expired does not come back");
}

#[test]
fn an_expiry_may_die_at_any_call_and_is_finished_by_the_next() {
    for is_answer_lost in [false, true] {
        let world = World::new();
        for number in (0..).step_by(stride()) {
            let lake = format!("l{number}");
            halfway(&world, &lake);
            let dying = world.dying(&lake, number, is_answer_lost);
            let died = world.runtime.block_on(expire(dying, expiring("2023-01-01T04:00:00Z"))).is_err();
            world.assert_once(&lake, "halfway");
            let finished = world.runtime.block_on(expire(world.bucket(&lake), expiring("2023-01-01T04:00:00Z")));
            finished.expect("expired");
            assert!(!world.files(&lake).keys().any(|path| path.contains("hour=03")), "dead at call {number}");
            assert_eq!(world.assert_once(&lake, "afterwards").len(), 2);
            if !died {
                assert!(number > 8, "the expiry made {number} calls only");
                break;
            }
        }
    }
}
