//! `DynamoDB`: a table has what the mart has, also after a publisher that died at any of its calls, and nothing that the
//! mart no longer has.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use e2e::internals::{Embedded, Stack as _};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::world::{HARD, World};
use crate::common::{Ran, program, query, run};
use crate::crash::{calls_after, points, run_killed, stride};

const URL: &str = "dynamodb:fleet-";
const WAYS: &str = "select ymd, id, rows, meters from way";

fn publisher(world: &World, stack: &Embedded) -> Command {
    let mut command = world.publisher(URL, &["--select", "way", "--select", "types"]);
    command.envs(stack.environment());
    command
}

fn publish(world: &World, stack: &Embedded) -> Ran {
    run(&mut publisher(world, stack))
}

/// The items of a table as rows: each attribute with its value alone.
fn items(stack: &Embedded, table: &str) -> Vec<BTreeMap<String, Value>> {
    let items = stack.scan(table).expect("a table");
    let value = |value: &Value| value.as_object().and_then(|value| value.values().next().cloned()).unwrap_or_default();
    let row = |item: Value| match item {
        Value::Object(item) => item.iter().map(|(name, of)| (name.clone(), value(of))).collect(),
        other => panic!("{other} is no item"),
    };
    items.into_iter().map(row).collect()
}

/// The rows of the ways, as texts in an order.
fn ways(stack: &Embedded) -> Vec<String> {
    let mut rows: Vec<String> = items(stack, "fleet-way")
        .into_iter()
        .map(|mut row| {
            let sort = row.remove("fms_row");
            assert_eq!(sort.as_ref(), row.get("ymd"), "the only other key is the partition key");
            json!(row).to_string().replace('"', "")
        })
        .collect();
    rows.sort();
    rows
}

/// The same of the mart.
fn of_mart(world: &World) -> Vec<String> {
    let mut rows: Vec<String> = query(world.lake(), WAYS).iter().map(|row| row.to_string().replace('"', "")).collect();
    rows.sort();
    rows
}

#[test]
fn a_table_has_what_the_mart_has_and_no_more() {
    let (world, stack) = (World::new(), Embedded::start().expect("the services"));
    let ran = publish(&world, &stack).ok();
    assert!(ran.ends_with("8 partitions published; 0 were there; 0 failed\n"), "{ran}");
    assert_eq!(ways(&stack), of_mart(&world));
    let types = items(&stack, "fleet-types");
    assert_eq!(types.len(), 12);
    let hard = types.iter().find(|item| item["color"] == HARD[0]).expect("an item");
    assert_eq!(hard["fms_row"], "2023-01-04#000000000007");
    assert_eq!((&hard["way"], &hard["is_far"], &hard["half"]), (&json!("4100"), &json!(true), &json!("2050")));
    assert_eq!((&hard["at"], &hard["both"][1]["S"]), (&json!("2023-01-04T09:00:00.000Z"), &json!(HARD[0])));
    let none = types.iter().find(|item| item["color"] == "-").expect("an item");
    assert!(!none.contains_key("note"), "{none:?}");

    assert_eq!(publish(&world, &stack).ok(), "0 partitions published; 8 were there; 0 failed\n");
    world.late();
    world.forget_eight();
    let ran = publish(&world, &stack).ok();
    assert!(ran.contains("way 2023-01-02: 1 rows; its rows have changed\n"), "{ran}");
    assert_eq!(ways(&stack), of_mart(&world));
    assert_eq!(ways(&stack).len(), 4);
}

/// A day on which a check has failed is not served, until the check passes or somebody says so. All others are.
#[test]
fn a_day_on_which_a_check_has_failed_is_held_back() {
    let (world, stack) = (World::new(), Embedded::start().expect("the services"));
    let checks = tempfile::Builder::new().suffix(".yml").tempfile().expect("a file");
    let check = |max: u64, from: &str, to: &str, now: &str| {
        let text = "table: way\nowner: a@example.com\nchecks:\n  - {name: near, range: {column: meters, max: ";
        std::fs::write(checks.path(), format!("{text}{max}}}}}\n")).expect("written");
        let mut command = program();
        command.args(["quality", "run", "--now", now, "--from", from, "--to", to, "--lake"]).arg(world.lake());
        run(command.arg("--history").arg(world.lake()).arg(checks.path())).status
    };
    assert_eq!(check(0, "2023-01-02", "2023-01-03", "2023-01-05T00:00:00Z"), Some(1));
    // One of the days has passed since.
    assert_eq!(check(99_999, "2023-01-03", "2023-01-03", "2023-01-05T01:00:00Z"), Some(0));
    let ran = publish(&world, &stack).ok();
    let held = "way 2023-01-02: it is held back, because its check `near` has failed; it is published when the check has \
                passed, or with `--despite-failed`\n";
    assert!(ran.contains(held), "{ran}");
    assert!(ran.ends_with("7 partitions published; 0 were there; 1 held back; 0 failed\n"), "{ran}");
    assert!(ways(&stack).iter().all(|row| !row.contains("2023-01-02")), "{:?}", ways(&stack));
    let ran = run(publisher(&world, &stack).arg("--despite-failed")).ok();
    assert!(ran.ends_with("1 partitions published; 7 were there; 0 failed\n"), "{ran}");
    assert_eq!(ways(&stack), of_mart(&world));
}

#[test]
fn whenever_a_publisher_dies_the_next_one_leaves_what_the_mart_has() {
    let world = World::new();
    let stack = Embedded::start().expect("the services");
    publish(&world, &stack).ok();
    world.late();
    world.forget_eight();
    let begun = stack.calls().snapshot().len();
    publish(&world, &stack).ok();
    let calls = calls_after(&stack, begun);
    let after = ways(&stack);

    // The mart as it was, so that the tables can be published once more.
    let old = World::new();
    let points = points(&calls);
    let (mut tried, mut hit) = (0, 0);
    for &(call, moment) in points.iter().step_by(stride()) {
        let at = format!("killed {moment:?} {call:?}");
        let stack = Embedded::start().expect("the services");
        publish(&old, &stack).ok();
        tried += 1;
        let ended = run_killed(&stack, &mut publisher(&world, &stack), call, moment);
        hit += usize::from(ended.signal() == Some(Signal::SIGKILL as i32));
        publish(&world, &stack).ok();
        assert_eq!(ways(&stack), after, "{at}");
        let again = publish(&world, &stack).ok();
        assert!(again.starts_with("0 partitions published"), "{at}: {again}");
    }
    println!("{} calls, {tried} of {} crash points tried, {hit} hit", calls.len(), points.len());
    assert!(tried > 4 && hit * 10 >= tried * 9, "{hit} of {tried} crash points were hit");
}
