//! What is made of what, down to columns, as a text, as a page, and as events of `OpenLineage`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::{MODELS, WAY, convert, four_days, mart, small_models, status};
use crate::backend::{Backend, Received, down};
use crate::common::{program, run};

fn lineage(models: &str, format: &str) -> String {
    run(program().args(["mart", "lineage", "--models", models, "--format", format])).ok()
}

#[test]
fn lineage_says_what_is_made_of_what() {
    insta::assert_snapshot!(lineage(MODELS, "tables"));
}

#[test]
fn each_column_is_followed_to_those_that_it_is_made_of() {
    let models = small_models();
    insta::assert_snapshot!(lineage(models.path().to_str().expect("UTF-8"), "columns"), @r"
    way: a vehicle on a day
      id <- vehicle_status_report.id
      rows <- vehicle_status_report.odometer (aggregated)
      meters <- vehicle_status_report.odometer (aggregated)
      ymd <- vehicle_status_report.ymd
      decided by <- vehicle_status_report.id, vehicle_status_report.ymd
    total: a day
      fleet <- no column
      meters <- way.meters (aggregated)
      ymd <- way.ymd
      decided by <- way.ymd
    ");
    // All models that there are.
    let all = lineage(MODELS, "columns");
    for column in [
        "distance_km <- vehicle_kinematic_report.latitude (aggregated), vehicle_kinematic_report.longitude (aggregated)",
        "trip_id <- vehicle_event_report.trip_id (aggregated)",
    ] {
        assert!(all.contains(column), "{column}: {all}");
    }
}

#[test]
fn every_column_of_the_page_is_a_place_and_every_link_leads_to_one() {
    let page = lineage(MODELS, "html");
    let all = |begin: &str| -> BTreeSet<String> {
        let parts = page.split(begin).skip(1).filter_map(|rest| rest.split('"').next());
        parts.map(str::to_owned).collect()
    };
    let (places, links) = (all("id=\""), all("href=\"#"));
    let nowhere: Vec<&String> = links.difference(&places).collect();
    assert!(nowhere.is_empty(), "{nowhere:?}");
    for link in ["trip.distance_km", "vehicle_kinematic_report.latitude", "daily_vehicle.ymd"] {
        assert!(links.contains(link) && places.contains(link), "{link}");
    }
    for outside in ["<script", "http", "src="] {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
}

/// The events of a build: of each model whether it has begun, and what has become of it.
#[test]
fn a_build_tells_what_it_reads_and_writes() {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    convert(lake.path(), &[four_days()]);
    let events = lake.path().join("events");
    let told = || {
        let arguments = ["--openlineage", events.to_str().expect("UTF-8")];
        mart(lake.path(), models.path(), "apply", &arguments);
        let text = fs::read_to_string(&events).expect("events");
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    let short = |events: &[Value]| {
        let statistics = |event: &Value| event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"].clone();
        let short = |event: &Value| json!([event["eventType"], event["job"]["name"], statistics(event)]).to_string();
        events.iter().map(short).collect::<Vec<_>>()
    };
    let first = told();
    assert_eq!(
        short(&first),
        [
            r#"["START","mart.way",null]"#,
            r#"["COMPLETE","mart.way",8]"#,
            r#"["START","mart.total",null]"#,
            r#"["COMPLETE","mart.total",4]"#,
        ]
    );
    assert_eq!(first[0]["run"]["runId"], first[1]["run"]["runId"]);
    assert_ne!(first[0]["run"]["runId"], first[2]["run"]["runId"]);
    let facets = &first[1]["outputs"][0]["facets"];
    assert_eq!(
        facets["schema"]["fields"][2],
        json!({
            "name": "meters", "type": "bigint",
            "description": "m, from the first row of the day before to the last one of the day",
        })
    );
    let meters = &facets["columnLineage"]["fields"]["meters"]["inputFields"];
    assert_eq!(
        *meters,
        json!([{
            "namespace": "fms", "name": "vehicle_status_report", "field": "odometer",
            "transformations": [{"type": "DIRECT", "subtype": "AGGREGATION"}],
        }])
    );
    assert_eq!(told().len(), first.len(), "nothing was built");

    // A day that does not pass its check.
    convert(lake.path(), &[("topics/b.json".to_owned(), status(7, 4, 7, 9000))]);
    let all = told();
    assert_eq!(short(&all[4..]), [r#"["START","mart.way",null]"#, r#"["FAIL","mart.way",0]"#]);
    let message = all[5]["run"]["facets"]["errorMessage"]["message"].as_str().expect("a text");
    assert!(message.starts_with("way 2023-01-04: the rows do not pass the checks"), "{message}");
    read_by_its_own_library(&events);
}

/// Builds a new lake, and gives what it was told on standard error.
fn build_for(variables: &[(&str, &str)]) -> String {
    let (lake, models) = (tempfile::tempdir().expect("a folder"), small_models());
    convert(lake.path(), &[four_days()]);
    let mut apply = program();
    apply.args(["mart", "apply", "--lake"]).arg(lake.path()).arg("--models").arg(models.path());
    let ran = run(apply.envs(variables.iter().copied()));
    assert_eq!(ran.status, Some(0), "{}", ran.error);
    assert!(ran.output.contains("8 partitions built"), "{}", ran.output);
    ran.error
}

/// A backend that is busy at first gets all events, in their order, by the variables of the clients of `OpenLineage`.
#[test]
fn a_backend_is_told_of_a_build() {
    let backend = Backend::start(&[503, 429, 201]);
    let said = build_for(&[
        ("OPENLINEAGE_URL", &backend.url),
        ("OPENLINEAGE_API_KEY", "hidden"),
        ("OPENLINEAGE_ENDPOINT", "lineage/events"),
    ]);
    assert_eq!(said, "");
    let received = backend.received();
    let events: Vec<String> = received
        .iter()
        .map(|Received { body, .. }| serde_json::from_str::<Value>(body).expect("JSON"))
        .map(|event| format!("{} {}", event["eventType"], event["job"]["name"]).replace('"', ""))
        .collect();
    assert_eq!(events, ["START mart.way", "COMPLETE mart.way", "START mart.total", "COMPLETE mart.total"]);
    for Received { head, .. } in received {
        assert!(head.starts_with("POST /lineage/events HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer hidden\r\n"), "{head}");
    }
}

/// What a backend has not got is named, and the tables are built.
#[test]
fn a_backend_that_is_down_fails_no_build() {
    let url = down();
    let said = build_for(&[("OPENLINEAGE_URL", &url)]);
    for event in ["START of mart.way", "COMPLETE of mart.way", "START of mart.total", "COMPLETE of mart.total"] {
        let line = format!("OpenLineage: {url}/api/v1/lineage has not got the event `{event}`: it cannot be reached");
        assert!(said.contains(&line), "{line}: {said}");
    }
    // What it refuses is not sent again.
    let backend = Backend::start(&[400]);
    let said = build_for(&[("OPENLINEAGE_URL", &backend.url)]);
    assert!(said.contains("the event `START of mart.way`: it answers 400 Bad Request: no"), "{said}");
    assert_eq!(backend.received().len(), 3);
    assert_eq!(build_for(&[("OPENLINEAGE_URL", &down()), ("OPENLINEAGE_DISABLED", "true")]), "");
}

#[test]
fn a_backend_that_is_none_is_named_before_anything_is_built() {
    let lake = tempfile::tempdir().expect("a folder");
    let mut apply = program();
    let ran = run(apply.args(["mart", "apply", "--lake"]).arg(lake.path()).env("OPENLINEAGE_URL", "marquez"));
    assert_eq!(ran.status, Some(2));
    assert!(ran.error.contains("OPENLINEAGE_URL and OPENLINEAGE_ENDPOINT are no URL"), "{}", ran.error);
}

/// `OpenLineage` for Python reads the events, if `E2E_PYTHON` or `python3` has it.
fn read_by_its_own_library(events: &std::path::Path) {
    let python = std::env::var("E2E_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&python).args(["-c", "import openlineage.client"]).output();
    if !import.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: `{python}` has no openlineage-python. Name another interpreter in E2E_PYTHON");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sql/mart/read_events.py");
    let output = Command::new(python).arg(script).arg(events).output().expect("Python");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn models_whose_files_are_others_than_before_are_selected() {
    let (now, before) = (small_models(), small_models());
    let selected = || {
        let mut program = program();
        program.args(["mart", "lineage", "--models"]).arg(now.path());
        program.args(["--select", "state:modified+", "--state"]).arg(before.path());
        run(&mut program).ok()
    };
    assert_eq!(selected(), "");
    fs::write(before.path().join("total.sql"), "another text").expect("written");
    assert!(selected().starts_with("total: a day\n"), "{}", selected());
    fs::write(before.path().join("way.sql"), WAY.replace("a vehicle", "a car")).expect("written");
    assert!(selected().starts_with("way: a vehicle on a day\n"), "{}", selected());
}
