//! A fault gets into a lake: the checks find it, its owner is told, and told again when it is mended.

use std::fs;
use std::path::{Path, PathBuf};

use fms_lake::Settings;
use insta::assert_snapshot;
use serde_json::json;

use super::read;
use super::world::{World, time};
use crate::common::{convert, program, query as rows, run};

const CHECKS: &str = "\
table: vehicle_tire_report
owner: workshop@example.com
description: The pressure of each wheel.
mask: [latitude]
checks:
  - name: pressure is possible
    description: A sensor that reports more is broken.
    range: { column: pressure, min: 0, max: 1200 }
  - name: enough wheels
    row_count: { min: 4 }
";

/// The lake of four wheels, of which one has this pressure.
fn lake(folder: &Path, pressure: i64) -> PathBuf {
    let lake = folder.join("lake");
    if lake.exists() {
        fs::remove_dir_all(&lake).expect("removed");
    }
    let row = |wheel: i64| {
        let pressure = if wheel == 3 { pressure } else { 250 };
        json!({
            "object": "vehicle", "type": "tire", "command": "report", "id": 7, "timestamp_iso": "2023-01-01T08:00:00Z",
            "seq": wheel, "wheel": wheel, "pressure": pressure, "latitude": 37.5,
        })
        .to_string()
    };
    let raw: Vec<String> = (0..4).map(row).collect();
    convert(&lake, &Settings::default(), &[("topics/a.json".to_owned(), raw.join("\n"))]);
    lake
}

/// Checks the lake and sends what follows, at this hour.
fn check_and_send(world: &World, lake: &Path, hour: i64) -> (Option<i32>, String) {
    let (checks, results, rows) = (world.path("checks.yml"), world.path("found.json"), world.path("rows"));
    fs::write(&checks, CHECKS).expect("written");
    let now = time(hour);
    let mut program = program();
    program.args(["quality", "run", "--now", &now, "--format", "json", "--output"]).arg(&results);
    let checked = run(program.arg("--bad-rows").arg(&rows).arg("--lake").arg(lake).arg(&checks));
    world.slack.forget_pace();
    let sent = run(world.sender(&results, hour).arg("--bad-rows").arg(&rows));
    (checked.status, sent.done().trim_end().to_owned())
}

#[test]
fn a_fault_in_the_lake_is_told_and_so_is_that_it_is_mended() {
    let world = World::bot("run_book: https://example.com/runbook#fmsqualityfailed\nquery_options: --lake lake");
    world.slack.add_user("workshop@example.com", "U777");

    let well = lake(world.folder.path(), 250);
    assert_eq!(check_and_send(&world, &well, 2), (Some(0), "2 results taken; 0 problems open; 0 messages sent".into()));

    let ill = lake(world.folder.path(), -5);
    let (status, said) = check_and_send(&world, &ill, 3);
    assert_eq!((status, said.as_str()), (Some(1), "2 results taken; 1 problem open; 1 message sent"));
    let messages = world.slack.messages();
    assert_snapshot!(read(&messages[0]));
    // The query of the message shows the row.
    let text = read(&messages[0]);
    let query = text.split("```").find(|code| code.starts_with("fms query --lake lake '")).expect("a query");
    let query = query.trim_start_matches("fms query --lake lake '").trim_end_matches('\'').replace(r"'\''", "'");
    let query = query.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&");
    assert_eq!(rows(&ill, &query)[0]["pressure"], -5);

    let mended = lake(world.folder.path(), 250);
    let (status, said) = check_and_send(&world, &mended, 5);
    assert_eq!((status, said.as_str()), (Some(0), "2 results taken; 0 problems open; 2 messages sent"));
    let messages = world.slack.messages();
    assert_eq!(messages.len(), 2);
    assert_snapshot!(read(&messages[0]), @r"
    Resolved: 1 check of vehicle_tire_report
    <@U777>: 1 resolved
    :white_check_mark: vehicle_tire_report: *pressure is possible* is resolved: it passes for 2023-01-01: 0 of 4 rows (run at 2023-01-02T05:00:00Z)
    Run book: https://example.com/runbook#fmsqualityfailed
    ");
    assert_eq!(messages[1]["thread_ts"], "1700000000.000001");
    assert_snapshot!(read(&messages[1]), @r"
    Resolved: 1 check of vehicle_tire_report
    1 resolved
    :white_check_mark: vehicle_tire_report: *pressure is possible* is resolved: it passes for 2023-01-01: 0 of 4 rows (run at 2023-01-02T05:00:00Z)
    Run book: https://example.com/runbook#fmsqualityfailed
    ");
}
