//! How files are stored in S3: what the requests ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fms_lake::Storage;

use crate::harness::{Action, World, row};

const HEADERS: [&str; 4] = [
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-expected-bucket-owner",
];

#[test]
fn every_file_is_stored_as_the_options_say_and_every_call_names_the_owner() {
    let world = World::new();
    let lines: Vec<String> = (0..5).map(|n| n.to_string().repeat(4 << 20)).collect();
    world.put("t/a.json", &[&[row(3, r#""n":1"#)], &lines[..]].concat());
    let seen: Arc<Mutex<BTreeMap<String, [String; 4]>>> = Arc::default();
    let noting = Arc::clone(&seen);
    let bucket = world.disturbed("l", move |request| {
        if request.headers().get("x-amz-target").is_none() && request.uri().contains("/lake") {
            let kind =
                ["conversions/", "formatted/", "quarantine/"].into_iter().find(|kind| request.uri().contains(kind));
            let query = request.uri().split_once('?').map_or("", |(_, query)| query.split('=').next().unwrap_or(""));
            let what = format!("{} {} {query}", request.method(), kind.unwrap_or_default());
            let headers = HEADERS.map(|name| request.headers().get(name).unwrap_or("-").to_owned());
            noting.lock().expect("no panic").insert(what, headers);
        }
        Action::Pass
    });
    let bucket = bucket.storing(Storage {
        sse_kms_key_id: Some("alias/lake".into()),
        storage_class: Some("STANDARD_IA".into()),
        tags: vec![("team".into(), "fleet".into()), ("cost center".into(), "a&b".into())],
        expected_bucket_owner: Some("111122223333".into()),
    });
    // The service in memory need not have all of it; what counts is what it is asked for.
    let _ = world.convert(&bucket, "t/a.json");
    let seen = seen.lock().expect("no panic");
    assert!(seen.values().all(|[.., owner]| owner == "111122223333"), "{seen:?}");
    let whole = ["alias/lake", "STANDARD_IA", "team=fleet&cost%20center=a%26b"];
    let stored = |kind: &str| {
        let found =
            seen.iter().find(|(what, _)| what.contains(kind) && (what.starts_with("PUT") || what.contains("uploads")));
        found.map(|(_, headers)| headers[..3].to_vec()).unwrap_or_default()
    };
    assert_eq!(stored("formatted/"), whole, "{seen:?}");
    assert_eq!(stored("conversions/"), ["alias/lake", "-", "-"], "{seen:?}");
    let parts = seen.iter().find(|(what, _)| what.starts_with("POST quarantine/ uploads"));
    assert_eq!(parts.map(|(_, headers)| &headers[..3]), Some(&whole.map(str::to_owned)[..]), "{seen:?}");
}
