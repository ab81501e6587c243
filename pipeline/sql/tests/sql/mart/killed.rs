//! The program is killed with SIGKILL at its calls to AWS, just before a call takes effect or just after it did, and is
//! started again. The tables are whole then, nothing is there twice, and no reader saw half a partition in between.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;

use bytes::Bytes;
use e2e::internals::{CallName, Stack as _};
use nix::sys::signal::Signal;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::harness::{World, four_days, late};
use crate::crash::{calls_after, points, run_killed, stride};

const ONE: [&str; 2] = ["--at-once", "1"];

/// A mart that was built, and then a row came late.
fn begin() -> World {
    let world = World::new();
    world.convert(&[four_days()]);
    world.mart("apply", &ONE).ok();
    world.convert(&[late()]);
    world
}

/// What a reader sees that asks the catalog where the partitions are: the rows of each one.
fn seen(world: &World) -> BTreeMap<String, Vec<String>> {
    let objects = world.stack.objects("lake").expect("the bucket");
    let mut seen = BTreeMap::new();
    for table in ["way", "total"] {
        for partition in world.table(table)["Partitions"].as_array().expect("partitions") {
            let location = partition["StorageDescriptor"]["Location"].as_str().expect("a location");
            let folder = location.strip_prefix("s3://lake/").expect("in the lake");
            let files: Vec<_> = objects.iter().filter(|(key, _)| key.starts_with(folder)).collect();
            assert_eq!(files.len(), 1, "a partition is one file: {location}");
            let reader = SerializedFileReader::new(Bytes::from(files[0].1.clone())).expect("a whole file of Parquet");
            let rows = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string());
            seen.insert(format!("{table} {}", partition["Values"]), rows.collect());
        }
    }
    seen
}

/// The calls of an undisturbed run.
fn calls(world: &World) -> Vec<CallName> {
    let before = world.stack.calls().snapshot().len();
    world.mart("apply", &ONE).ok();
    calls_after(&world.stack, before)
}

#[test]
fn tables_are_whole_whenever_a_build_dies() {
    let undisturbed = begin();
    let before = seen(&undisturbed);
    let calls = calls(&undisturbed);
    let after = seen(&undisturbed);
    assert_ne!(before, after);
    let points = points(&calls);
    let (mut tried, mut hit) = (0, 0);
    for &(call, moment) in points.iter().step_by(stride()) {
        let at = format!("killed {moment:?} {call:?}");
        let world = begin();
        let ended = run_killed(&world.stack, &mut world.command("apply", &ONE), call, moment);
        tried += 1;
        if ended.signal() == Some(Signal::SIGKILL as i32) {
            hit += 1;
            let halfway = seen(&world);
            let is_either =
                |(name, rows): (&String, &Vec<String>)| Some(rows) == before.get(name) || Some(rows) == after.get(name);
            assert!(halfway.len() == before.len() && halfway.iter().all(is_either), "{at}: {halfway:#?}");
        } else {
            assert!(ended.success(), "{at}: it ended with {ended}");
        }
        world.mart("apply", &ONE).ok();
        assert_eq!(seen(&world), after, "{at}");
        let again = world.mart("apply", &ONE).ok();
        assert!(again.starts_with("0 partitions built"), "{at}: {again}");
        // What the dead one has left lies beside the partitions until it is removed.
        world.mart("expire", &["--grace", "0s"]).ok();
        assert_eq!((seen(&world), world.keys().len()), (after.clone(), after.len()), "{at}");
    }
    println!("{} calls, {tried} of {} crash points tried, {hit} hit", calls.len(), points.len());
    assert!(tried > 2 && hit * 10 >= tried * 9, "{hit} of {tried} crash points were hit");
}
