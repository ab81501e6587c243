//! Compactors and converters at the same time: one dies at each of its calls in turn, or another works there. A reader
//! that looks before every call sees no row twice, and misses none that was settled.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use fms_lake::{Bucket, ObjectError, Report};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::compaction::{LATER, compact, halfway, options};
use super::harness::{Action, World, convert, death, row, row_of};
use super::operation;

/// The rows of objects whose conversion has ended.
type Settled = Arc<Mutex<BTreeSet<String>>>;

/// Something that happens before a call.
type Event = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A process of whose calls the one with this number is special, and a reader that looks before each of its calls.
fn watched(
    world: &Arc<World>,
    lake: &str,
    settled: &Settled,
    special: impl Fn(usize) -> Action + Send + Sync + 'static,
) -> (Bucket, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let (world_of_reader, lake_of_reader, count) = (Arc::clone(world), lake.to_owned(), Arc::clone(&calls));
    let settled = Arc::clone(settled);
    let bucket = world.disturbed(lake, move |request: &HttpRequest| {
        let call = count.fetch_add(1, Ordering::Relaxed);
        let at = format!("before call {call}, {} {}", operation(request), request.uri());
        let seen = world_of_reader.assert_once(&lake_of_reader, &at);
        let settled = settled.lock().expect("no panic");
        let missing: Vec<_> = settled.difference(&seen).collect();
        assert!(missing.is_empty(), "{at}, a reader misses {missing:?}");
        special(call)
    });
    (bucket, calls)
}

/// How many calls are passed over from one special call to the next. With `FMS_EVERY_CALL` in the environment, every
/// call is special once, which takes minutes.
pub fn stride() -> usize {
    if std::env::var_os("FMS_EVERY_CALL").is_some() { 1 } else { 11 }
}

/// Runs an action in lake after lake, with something special at a later call each time, until it makes no more calls.
fn at_every_call(
    begin: impl Fn(&World, &str),
    action: impl Fn(&World, Bucket) -> bool,
    special: impl Fn(&Arc<World>, &str, &Settled, usize, usize) -> Action + Send + Sync + Clone + 'static,
    finish: impl Fn(&World, &str, &str),
) {
    let world = Arc::new(World::new());
    for number in (0..).step_by(stride()) {
        let lake = format!("l{number}");
        begin(&world, &lake);
        let settled = Arc::new(Mutex::new(world.assert_once(&lake, "at first")));
        let (special, of_special, name, rows) =
            (special.clone(), Arc::clone(&world), lake.clone(), Arc::clone(&settled));
        let (bucket, calls) =
            watched(&world, &lake, &settled, move |call| special(&of_special, &name, &rows, number, call));
        let is_done = action(&world, bucket);
        let at = format!("call {number} being special");
        let seen = world.assert_once(&lake, &at);
        assert!(seen.is_superset(&settled.lock().expect("no panic")), "with {at}, a reader misses rows in the end");
        finish(&world, &lake, &at);
        world.expire_all(&lake);
        if calls.load(Ordering::Relaxed) <= number {
            assert!(is_done && number > 8, "there were {number} calls only");
            return;
        }
    }
}

fn dies(is_answer_lost: bool) -> impl Fn(&Arc<World>, &str, &Settled, usize, usize) -> Action + Clone {
    move |_, _, _, number, call| death(call, number, is_answer_lost)
}

fn compacts(now: Timestamp) -> impl Fn(&World, Bucket) -> bool {
    move |world, bucket| world.runtime.block_on(compact(bucket, options(now))).is_ok()
}

#[test]
fn a_compactor_may_die_before_every_call() {
    at_every_call(World::begin, compacts(Timestamp::now()), dies(false), World::assert_clean_afterwards);
}

#[test]
fn a_compactor_may_die_before_the_answer_to_every_call() {
    at_every_call(World::begin, compacts(Timestamp::now()), dies(true), World::assert_clean_afterwards);
}

#[test]
fn a_later_compactor_that_also_removes_files_may_die_before_every_call() {
    at_every_call(halfway, compacts(Timestamp::now() + LATER), dies(false), World::assert_clean_afterwards);
}

#[test]
fn a_later_compactor_that_also_removes_files_may_die_before_the_answer_to_every_call() {
    at_every_call(halfway, compacts(Timestamp::now() + LATER), dies(true), World::assert_clean_afterwards);
}

/// What a process does at the same time as another: it converts these objects again, after which their rows are
/// settled.
fn converts(world: &Arc<World>, lake: &str, settled: &Settled, keys: &'static [&'static str]) -> Event {
    let (world, lake, settled, bucket) = (Arc::clone(world), lake.to_owned(), Arc::clone(settled), world.beside(lake));
    Box::pin(async move {
        for key in keys {
            convert(bucket.clone(), (*key).to_owned(), true).await.expect("converted");
        }
        let seen = world.assert_once(&lake, "when the other process is done");
        let expected = settled.lock().expect("no panic").clone();
        assert!(seen.is_superset(&expected), "rows are missing when the other process is done");
        for n in ["n=21", "n=22"] {
            assert!(seen.iter().any(|row| row.contains(n)), "{n} is settled, and a reader misses it");
        }
        *settled.lock().expect("no panic") = seen;
    })
}

#[test]
fn a_converter_may_write_at_every_call_of_a_compactor() {
    a_converter_writes_at_every_call(World::begin);
}

#[test]
fn a_converter_may_write_at_every_call_of_a_later_compactor() {
    a_converter_writes_at_every_call(halfway);
}

fn a_converter_writes_at_every_call(start: impl Fn(&World, &str)) {
    let begin = |world: &World, lake: &str| {
        start(world, lake);
        world.put("t/x.json", &[row(3, r#""n":21"#), row(6, r#""n":21"#)]);
        world.put("t/y.json", &[row(3, r#""k":"n=22""#), row_of("p", 3, r#""n":22"#)]);
    };
    let special = |world: &Arc<World>, lake: &str, settled: &Settled, number: usize, call: usize| match call {
        call if call == number => Action::After(converts(world, lake, settled, &["t/x.json", "t/y.json", "t/a.json"])),
        _ => Action::Pass,
    };
    at_every_call(begin, compacts(Timestamp::now()), special, World::assert_clean_afterwards);
}

/// Compacts before the call with this number.
fn compacts_at(world: &Arc<World>, lake: &str, _: &Settled, number: usize, call: usize) -> Action {
    if call != number {
        return Action::Pass;
    }
    let bucket = world.beside(lake);
    Action::After(Box::pin(async move {
        compact(bucket, options(Timestamp::now())).await.expect("compacted");
    }))
}

#[test]
fn a_compactor_may_work_at_every_call_of_another() {
    at_every_call(halfway, compacts(Timestamp::now() + LATER), compacts_at, World::assert_clean_afterwards);
}

#[test]
fn a_compactor_may_work_at_every_call_of_a_converter() {
    let begin = |world: &World, lake: &str| {
        halfway(world, lake);
        world.put("t/x.json", &[row(3, r#""n":21"#), row(4, r#""k":"n=22""#), row(6, r#""n":23"#)]);
    };
    let converts = |world: &World, bucket: Bucket| {
        let converted: Result<Option<Report>, ObjectError> =
            world.runtime.block_on(convert(bucket, "t/x.json".into(), false));
        converted.is_ok()
    };
    at_every_call(begin, converts, compacts_at, |world, lake, at| {
        let seen = world.assert_once(lake, at);
        assert!(["n=21", "n=22", "n=23"].iter().all(|n| seen.iter().any(|row| row.contains(n))), "{at}: {seen:?}");
        world.assert_clean_afterwards(lake, at);
    });
}

#[test]
fn a_converter_of_a_late_object_may_die_before_every_call() {
    a_converter_dies(false);
}

#[test]
fn a_converter_of_a_late_object_may_die_before_the_answer_to_every_call() {
    a_converter_dies(true);
}

fn a_converter_dies(is_answer_lost: bool) {
    let begin = |world: &World, lake: &str| {
        halfway(world, lake);
        world.put("t/x.json", &[row(3, r#""n":21"#), row(4, r#""k":"n=22""#)]);
    };
    let converts =
        |world: &World, bucket: Bucket| world.runtime.block_on(convert(bucket, "t/x.json".into(), false)).is_ok();
    let dies = dies(is_answer_lost);
    // The first call is that of the test, which asks for the object.
    let special = move |world: &Arc<World>, lake: &str, settled: &Settled, number: usize, call: usize| {
        dies(world, lake, settled, number + 1, call)
    };
    at_every_call(begin, converts, special, |world, lake, at| {
        world.convert(&world.bucket(lake), "t/x.json").expect("converted");
        let seen = world.assert_once(lake, at);
        assert!(["n=21", "n=22"].iter().all(|n| seen.iter().any(|row| row.contains(n))), "{at}: {seen:?}");
        world.assert_clean_afterwards(lake, at);
    });
}

#[test]
fn several_converters_and_compactors_work_at_once() {
    let world = World::new();
    world.begin("l");
    let processes: Vec<Bucket> = (0..3).map(|_| world.bucket("l")).collect();
    let objects: Vec<String> = (0..24).map(|n| format!("t/{n}.json")).collect();
    for (n, key) in objects.iter().enumerate() {
        let more = if n % 6 == 5 { format!(r#","c{n}":1"#) } else { String::new() };
        world.put(key, &[row(3, &format!(r#""n":{}{more}"#, 100 + n)), row(4, &format!(r#""n":{}"#, 200 + n))]);
    }
    let conversions = async {
        let converting = objects.iter().zip(processes.iter().cycle());
        join_all(converting.map(|(key, bucket)| tokio::spawn(convert(bucket.clone(), key.clone(), false)))).await
    };
    let compactions = async {
        for bucket in processes.iter().cycle().take(9) {
            compact(bucket.clone(), options(Timestamp::now())).await.expect("compacted");
        }
    };
    let (reports, ..) = world.runtime.block_on(async { tokio::join!(conversions, compactions) });
    for report in reports {
        report.expect("no panic").expect("converted");
    }
    let seen = world.assert_once("l", "in the end");
    assert_eq!(seen.len(), 5 + 48);
    world.assert_clean_afterwards("l", "in the end");
}
