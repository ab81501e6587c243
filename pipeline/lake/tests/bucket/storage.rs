//! How files are stored in S3: what the requests ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fms_lake::{Bucket, Storage};
use jiff::Timestamp;

use crate::compaction::{LATER, compact, options};
use crate::harness::{Action, World, row};

const HEADERS: [&str; 4] = [
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-expected-bucket-owner",
];

/// The account that owns the buckets.
const ACCOUNT: &str = "000000000000";

/// What the last request of each kind asked for.
type Seen = Arc<Mutex<BTreeMap<String, [String; 4]>>>;

/// A lake whose files are stored with everything that there is to ask for. The requests to its bucket are noted.
fn storing(world: &World) -> (Bucket, Seen) {
    let seen = Seen::default();
    let noting = Arc::clone(&seen);
    let bucket = world.disturbed("l", move |request| {
        if request.headers().get("x-amz-target").is_none() && request.uri().contains("/lake") {
            let kinds = ["conversions/", "manifest.json", "compacted/", "formatted/", "quarantine/"];
            let kind = kinds.into_iter().find(|kind| request.uri().contains(kind));
            let query = request.uri().split_once('?').map_or("", |(_, query)| query.split('=').next().unwrap_or(""));
            let what = format!("{} {} {query}", request.method(), kind.unwrap_or_default());
            let headers = HEADERS.map(|name| request.headers().get(name).unwrap_or("-").to_owned());
            noting.lock().expect("no panic").insert(what, headers);
        }
        Action::Pass
    });
    let storage = Storage {
        sse_kms_key_id: Some("alias/lake".into()),
        storage_class: Some("STANDARD_IA".into()),
        tags: vec![("team".into(), "fleet".into()), ("cost center".into(), "a&b".into())],
        expected_bucket_owner: Some(ACCOUNT.into()),
    };
    (bucket.storing(storage), seen)
}

/// What the requests that stored a file of this kind asked for, apart from the owner, which all of them have to name.
#[track_caller]
fn stored(seen: &Seen, kind: &str) -> Vec<String> {
    let seen = seen.lock().expect("no panic");
    assert!(seen.values().all(|[.., owner]| *owner == ACCOUNT), "{seen:?}");
    let is_stored = |what: &str| what.contains(kind) && (what.starts_with("PUT") || what.contains("uploads"));
    let found = seen.iter().find(|(what, _)| is_stored(what));
    let Some((_, headers)) = found else { panic!("no file of {kind} in {seen:?}") };
    headers[..3].to_vec()
}

const WHOLE: [&str; 3] = ["alias/lake", "STANDARD_IA", "team=fleet&cost%20center=a%26b"];
const SMALL: [&str; 3] = ["alias/lake", "-", "-"];

#[test]
fn every_file_is_stored_as_the_options_say_and_every_call_names_the_owner() {
    let world = World::new();
    let lines: Vec<String> = (0..5).map(|n| n.to_string().repeat(4 << 20)).collect();
    world.put("t/a.json", &[&[row(3, r#""n":1"#)], &lines[..]].concat());
    let (bucket, seen) = storing(&world);
    // The service in memory need not have all of it; what counts is what it is asked for.
    let _ = world.convert(&bucket, "t/a.json");
    assert_eq!(stored(&seen, "formatted/"), WHOLE);
    assert_eq!(stored(&seen, "conversions/"), SMALL);
    assert_eq!(stored(&seen, "POST quarantine/ uploads"), WHOLE, "a file of several parts");
}

#[test]
fn every_call_for_raw_objects_names_their_owner() {
    let world = World::new();
    world.put("t/a.json", &[row(3, r#""n":1"#)]);
    let owners: Arc<Mutex<Vec<String>>> = Arc::default();
    let noting = Arc::clone(&owners);
    let bucket = world.disturbed("l", move |request| {
        if request.headers().get("x-amz-target").is_none() && request.uri().contains("/raw") {
            let owner = request.headers().get("x-amz-expected-bucket-owner").unwrap_or("-");
            noting.lock().expect("no panic").push(owner.to_owned());
        }
        Action::Pass
    });
    let bucket = bucket.expecting_raw_owner(Some(ACCOUNT.into()));
    let url = "s3://raw/t/".parse().expect("a URL");
    let (raws, _) = world.runtime.block_on(bucket.raws(&url, None)).expect("listed");
    assert_eq!(raws.len(), 1);
    world.convert(&bucket, "t/a.json").expect("converted");
    let owners = owners.lock().expect("no panic");
    assert!(owners.len() >= 3 && owners.iter().all(|owner| *owner == ACCOUNT), "{owners:?}");
}

#[test]
fn compacted_files_are_stored_as_the_options_say_too() {
    let world = World::new();
    for object in ["t/a.json", "t/b.json"] {
        world.put(object, &[row(3, &format!(r#""from":"{object}""#))]);
        world.convert(&world.bucket("l"), object).expect("converted");
    }
    let (bucket, seen) = storing(&world);
    let _ = world.runtime.block_on(compact(bucket, options(Timestamp::now() + LATER)));
    assert_eq!(stored(&seen, "manifest.json"), SMALL);
    assert_eq!(stored(&seen, "compacted/"), WHOLE);
}
