//! `fms-sql quality`: the checks of `deploy/quality` on lakes with and without what they look for.

mod bucket;
mod fleet;
mod history;
mod items;
mod judged;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;

use crate::backend::{Backend, Received, down};
use crate::common::{Ran, lake, program, query as rows_of, run};

const CHECKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/quality");

/// Runs the checks of a lake, as if it were the day after.
fn quality(lake: &Path, arguments: &[&str]) -> Ran {
    let now = "2023-01-02T02:00:00Z";
    run(program().args(["quality", "run", "--now", now, "--lake"]).arg(lake).args(arguments))
}

/// The verdicts on a lake.
fn verdicts(lake: &Path) -> Vec<Value> {
    let ran = quality(lake, &[CHECKS, "--format", "json"]);
    assert!(ran.output.contains('{'), "{}", ran.error);
    ran.output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn names(verdicts: &[Value], outcomes: &[&str]) -> BTreeSet<String> {
    let has = |verdict: &&Value| outcomes.contains(&verdict["outcome"].as_str().expect("an outcome"));
    let name = |verdict: &Value| format!("{}: {}", verdict["table"], verdict["check"]).replace('"', "");
    verdicts.iter().filter(has).map(name).collect()
}

/// A suite with these checks, in a file.
fn suite(checks: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yml").tempfile().expect("a file");
    let text = format!("table: vehicle_status_report\nowner: fleet@example.com\nchecks:\n{checks}");
    fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let lake = lake(&fleet::well());
    let found = names(&verdicts(lake.path()), &["warn", "fail", "error"]);
    assert_eq!(found, fleet::without_a_mart(), "{found:#?}");
}

#[test]
fn each_check_finds_what_it_is_there_for() {
    let lake = lake(&fleet::unwell());
    let all = verdicts(lake.path());
    // The rows are new now, and are not in the evening.
    let not_found: Vec<String> = names(&all, &["pass"]).into_iter().collect();
    assert_eq!(not_found, ["vehicle_status_report: the newest row is of yesterday"]);
    let evening = ["--table", "vehicle_status_report", "--tag", "loss", "--now", "2023-01-02T18:00:00Z"];
    let ran = run(program().args(["quality", "run", CHECKS, "--lake"]).arg(lake.path()).args(evening));
    assert!(ran.output.contains("fail  vehicle_status_report: the newest row is of yesterday"), "{}", ran.output);
    assert_eq!(names(&all, &["error"]), fleet::without_a_mart());
    // How many rows are bad, and what is said of them.
    let ran = quality(lake.path(), &[CHECKS]);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    assert_snapshot!(ran.output);
}

#[test]
fn the_query_of_a_check_shows_its_bad_rows_and_masks_what_nobody_may_see() {
    let lake = lake(&fleet::unwell());
    let kept = tempfile::tempdir().expect("a folder");
    let folder = kept.path().to_str().expect("a path");
    quality(lake.path(), &[CHECKS, "--bad-rows", folder]);
    for verdict in verdicts(lake.path()) {
        let Some(query) = verdict["query"].as_str() else { continue };
        // The parameters of a query that a person wrote.
        let query =
            query.replace("$today", "'2023-01-02'").replace("$from", "'2023-01-01'").replace("$to", "'2023-01-01'");
        let shown = rows_of(lake.path(), &query);
        let name = verdict["check"].as_str().expect("a name").replace(|c: char| !c.is_alphanumeric(), "-");
        let file = kept.path().join(format!("{}.{name}.jsonl", verdict["table"].as_str().expect("a table")));
        let kept = fs::read_to_string(&file).expect("a file of bad rows");
        assert_eq!(kept.lines().count(), shown.len(), "{verdict}");
        assert!(kept.lines().count() > 0, "{verdict}");
        for row in kept.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
            let table = verdict["table"].as_str();
            let has_rows =
                ["holds", "range", "accepted", "not_null", "length", "pattern", "step", "jump", "stuck", "transitions"];
            if has_rows.contains(&verdict["kind"].as_str().expect("a kind")) {
                let file = row["$path"].as_str().expect("a file");
                assert!(lake.path().join(file).exists(), "{row}");
            }
            if table == Some("vehicle_kinematic_report") {
                assert!(row.get("latitude").is_none_or(Value::is_null), "{row}");
                assert!(row["previous"].get("latitude").is_none_or(Value::is_null), "{row}");
            }
        }
    }
}

/// Which rows may follow others, how long texts are, and how many rows there are beside the days before.
#[test]
fn transitions_lengths_and_numbers_of_rows_are_looked_at_row_by_row_and_day_by_day() {
    let day = |day: u32, gears: &[&str]| -> Vec<String> {
        let row = |(at, gear): (usize, &&str)| {
            serde_json::json!({
                "object": "vehicle", "type": "status", "command": "report", "id": 7, "seq": at, "gear": gear,
                "timestamp_iso": format!("2023-01-{day:02}T08:00:{at:02}Z"), "message_id": format!("{day}-{at}"),
            })
            .to_string()
        };
        gears.iter().enumerate().map(row).collect()
    };
    let mut rows: Vec<String> = (1..=4).flat_map(|number| day(number, &["park"; 10])).collect();
    // `other` is passed over, so `drive` follows `park`; `park` may not follow `drive`, and nothing knows of `fly`.
    rows.extend(day(5, &["park", "other", "drive", "park", "fly"]));
    let lake = lake(&rows);
    let checks = "  - name: gears\n    transitions: {column: gear, allowed: {park: [park, drive], drive: [drive]}}\n    \
                  where: gear <> 'other'\n  \
                  - {name: short, length: {column: gear, min: 4, max: 5}, where: gear <> 'park'}\n  \
                  - {name: half, row_count: {min: 50 %, days: 4}}\n  \
                  - {name: more than half, row_count: {min: 51 %, max: 200 %, days: 4}}\n  \
                  - {name: not known, row_count: {min: 51 %, days: 30}}\n";
    let file = suite(checks);
    let path = file.path().to_str().expect("a path");
    let ran = quality(lake.path(), &[path, "--from", "2023-01-02", "--to", "2023-01-05"]);
    assert_snapshot!(ran.output);
    // The rows that are shown are those.
    let ran = quality(lake.path(), &[path, "--from", "2023-01-05", "--format", "json"]);
    let queries: Vec<Value> = ran.output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown = |at: usize, column: &str| -> Vec<Value> {
        let found = rows_of(lake.path(), queries[at]["query"].as_str().expect("a query"));
        found.iter().map(|row| row[column].clone()).collect()
    };
    assert_eq!(shown(0, "gear"), ["park", "fly"]);
    assert_eq!(shown(1, "gear"), ["fly"]);
    assert_eq!(shown(3, "ymd"), ["2023-01-05"]);
}

/// Only the check that is wrong could not run. The others have their verdicts.
#[test]
fn a_check_that_is_wrong_keeps_no_other_from_running() {
    let lake = lake(&fleet::well());
    let file = suite(
        "  - {name: fuel, range: {column: fuel_level, min: 0, max: 100}}\n  \
         - {name: misspelt, range: {column: fuel_levle, max: 100}}\n  \
         - {name: of no table, in_table: {column: id, table: vehicles, to: id}}\n  \
         - {name: rows, row_count: {min: 1}}\n  \
         - {name: fresh, freshness: {max_age: 26h}}\n  \
         - {name: types, schema: {id: bigint, rpm: double, wheels: int}}\n  \
         - {name: same, equal: {left: select id from vehicle_status_report, right: select id from vehicle_status_report}}\n  \
         - {name: not same, equal: {left: select id from vehicle_status_report, right: select 7 as id}}\n",
    );
    let path = file.path().to_str().expect("a path");
    let ran = quality(lake.path(), &[path]);
    assert_eq!(ran.status, Some(1), "{}", ran.error);
    assert_snapshot!(ran.output);
}

#[test]
fn the_exit_status_tells_a_failure_from_a_check_that_could_not_run() {
    let lake = lake(&fleet::well());
    let status = |checks: &str, arguments: &[&str]| {
        let file = suite(checks);
        let path = file.path().to_str().expect("a path").to_owned();
        quality(lake.path(), &[&[path.as_str()], arguments].concat()).status
    };
    let warning = "  - {name: a, row_count: {max: 1}, severity: warning}\n";
    assert_eq!(status("  - {name: a, row_count: {min: 1}}\n", &[]), Some(0));
    assert_eq!(status("  - {name: a, row_count: {max: 1}}\n", &[]), Some(1));
    assert_eq!(status("  - {name: a, holds: nothing > 1}\n", &[]), Some(2));
    assert_eq!(status(warning, &[]), Some(0));
    assert_eq!(status(warning, &["--severity", "warning"]), Some(1));
    let warns = "  - {name: a, row_count: {max: 1}, warn: 1}\n";
    assert_eq!(status(warns, &[]), Some(0));
    assert_eq!(status(warns, &["--fail-on", "warn"]), Some(1));
    assert_eq!(status("  - {name: a, holds: nothing > 1}\n", &["--fail-on", "warn"]), Some(2));
}

#[test]
fn days_without_rows_and_rows_that_are_not_settled_are_not_looked_at() {
    let lake = lake(&fleet::unwell());
    let file = suite(
        "  - {name: fuel, range: {column: fuel_level, max: 100}}\n  \
         - {name: settled, range: {column: fuel_level, max: 100}, settle: 48h}\n",
    );
    let path = file.path().to_str().expect("a path");
    let of = |arguments: &[&str]| quality(lake.path(), &[&[path, "--format", "json"], arguments].concat()).output;
    let totals = |output: &str| -> Vec<u64> {
        output
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["total"].as_u64().expect("a number"))
            .collect()
    };
    let day = totals(&of(&[]));
    assert!(day[0] > 0 && day[1] == 0, "{day:?}");
    assert_eq!(totals(&of(&["--from", "2022-11-01", "--to", "2022-11-30"])), [0, 0]);
}

#[test]
fn mistakes_are_explained_and_nothing_is_run() {
    let lake = lake(&fleet::well());
    let empty = tempfile::tempdir().expect("a folder");
    let folder = empty.path().to_str().expect("a path");
    let file = suite("  - {name: a, rows: 3}\n");
    let path = file.path().to_str().expect("a path");
    for (arguments, says) in [
        (vec![folder], "has no file that ends in .yml or .yaml"),
        (vec!["nowhere.yml"], "cannot read nowhere.yml"),
        (vec![path], "unknown field `rows`"),
        (vec![CHECKS, "--tag", "nothing"], "no check is chosen"),
        (vec![CHECKS, "--from", "2023-01-02", "--to", "2023-01-01"], "--from 2023-01-02 is after --to 2023-01-01"),
    ] {
        let ran = quality(lake.path(), &arguments);
        assert_eq!(ran.status, Some(2), "{}", ran.error);
        assert!(ran.error.contains(says), "{}", ran.error);
    }
}

/// A run writes every report that is asked for, and a form that is none is named.
#[test]
fn a_run_writes_as_many_reports_as_it_is_asked_for() {
    let lake = lake(&fleet::well());
    let folder = tempfile::tempdir().expect("a folder");
    let file = suite("  - {name: a, row_count: {min: 1}}\n");
    let path = file.path().to_str().expect("a path").to_owned();
    let report = |format: &str| format!("--report={format}={}", folder.path().join(format).display());
    let formats = ["dbt", "html", "json", "junit", "openlineage", "prometheus", "text"];
    let mut arguments = vec![path];
    arguments.extend(formats.map(report));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = quality(lake.path(), &arguments);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), ""));
    for format in formats {
        let text = fs::read_to_string(folder.path().join(format)).expect(format);
        assert!(text.contains("vehicle_status_report"), "{format}: {text}");
    }
    let ran = quality(lake.path(), &["--report", "pdf=a"]);
    assert!(ran.status == Some(2) && ran.error.contains("there is no format `pdf`"), "{}", ran.error);
}

/// A backend of `OpenLineage` has the verdicts. That it is down changes none of them.
#[test]
fn a_backend_is_told_of_verdicts() {
    let lake = lake(&fleet::well());
    let file = suite("  - {name: a, row_count: {min: 1}}\n");
    let check = |url: &str| {
        let mut command = program();
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--lake"]).arg(lake.path());
        run(command.arg(file.path()).env("OPENLINEAGE_URL", url))
    };
    let backend = Backend::start(&[]);
    check(&backend.url).ok();
    let received = backend.received();
    let [Received { head, body }] = received.as_slice() else { panic!("{received:?}") };
    let event: Value = serde_json::from_str(body).expect("JSON");
    assert!(head.starts_with("POST /api/v1/lineage HTTP/1.1\r\n"), "{head}");
    let assertions = &event["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"];
    assert_eq!(assertions[0]["assertion"], "row_count: a");
    let url = down();
    let ran = check(&url);
    assert_eq!(ran.status, Some(0), "{}", ran.error);
    assert!(ran.error.contains(&format!("{url}/api/v1/lineage has not got the event `COMPLETE of quality`")));
}

/// Prometheus has the verdicts of a job that has ended from a Pushgateway. That it refuses them changes none of them.
#[test]
fn a_pushgateway_is_told_of_verdicts() {
    let lake = lake(&fleet::well());
    let file = suite("  - {name: a, row_count: {min: 1}}\n");
    let push = |statuses: &[u16]| {
        let backend = Backend::start(statuses);
        let url = format!("{}/metrics/job/fms-quality", backend.url);
        let ran = quality(lake.path(), &[file.path().to_str().expect("a path"), "--push-to", &url]);
        assert_eq!(ran.status, Some(0), "{}", ran.error);
        (ran.error, backend.received())
    };
    let (said, received) = push(&[]);
    assert_eq!(said, "");
    let [Received { head, body }] = received.as_slice() else { panic!("{received:?}") };
    assert!(head.starts_with("PUT /metrics/job/fms-quality HTTP/1.1\r\n"), "{head}");
    assert!(body.contains("fms_quality_outcome{table=\"vehicle_status_report\",check=\"a\""), "{body}");
    let (said, received) = push(&[400]);
    assert!(said.contains("the Pushgateway 127.0.0.1 does not take the verdicts: 400 Bad Request: no"), "{said}");
    assert!(received.is_empty());
}

/// A signal ends a run with the status of one that could not run, and leaves no temporary file behind.
#[test]
fn a_run_that_is_stopped_leaves_nothing_behind() {
    let lake = lake(&fleet::well());
    let kept = tempfile::tempdir().expect("a folder");
    // A check whose query takes much longer than a signal.
    let rows = "vehicle_kinematic_report";
    let endless =
        format!("select a.id from {rows} a, {rows} b, {rows} c, {rows} d where a.speed + b.speed + c.speed < d.id");
    let file = suite(&format!("  - {{name: endless, sql: \"{endless}\"}}\n"));
    let mut command = program();
    command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--lake"]).arg(lake.path());
    command.arg(file.path()).arg("--bad-rows").arg(kept.path()).env("TMPDIR", kept.path());
    command.env("RUST_LOG", "fms_quality=info").stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("fms-sql starts");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("an id"));
    // It says so when it listens for signals.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("standard error")));
    let first = lines.next().expect("a line").expect("a line");
    assert!(first.contains("checks are run"), "{first}");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
    let rest: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(2));
    assert!(rest.concat().contains("it was stopped by a signal"), "{rest:?}");
    let left: Vec<_> = fs::read_dir(kept.path()).expect("the folder").collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is proposed for a table passes on the rows by which it was proposed.
#[test]
fn a_proposed_suite_passes_on_the_rows_it_was_proposed_by() {
    let lake = lake(&fleet::well());
    let root = lake.path().to_str().expect("a path");
    let profile = |table: &str, arguments: &[&str]| {
        let mut command = program();
        command.args(["quality", "profile", table, "--owner", "fleet@example.com", "--lake", root]);
        let ran = run(command.args(["--now", "2023-01-02T02:00:00Z"]).args(arguments));
        (ran.status, ran.output, ran.error)
    };
    let (status, proposed, error) = profile("vehicle_status_report", &[]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    assert_snapshot!(proposed);
    let file = tempfile::Builder::new().suffix(".yml").tempfile().expect("a file");
    fs::write(file.path(), proposed).expect("written");
    let ran = quality(lake.path(), &[file.path().to_str().expect("a path")]);
    assert_eq!(ran.status, Some(0), "{}{}", ran.output, ran.error);

    let (status, _, error) = profile("vehicles", &[]);
    assert!(status == Some(2) && error.contains("there is no table `vehicles`"), "{error}");
    let (status, _, error) = profile("vehicle_status_report", &["--from", "2022-01-01"]);
    assert!(status == Some(2) && error.contains("has no rows from 2022-01-01"), "{error}");
}

#[test]
fn rules_of_other_tools_become_files_that_run() {
    let lake = lake(&fleet::well());
    let folder = tempfile::tempdir().expect("a folder");
    let (rules, out) = (folder.path().join("rules"), folder.path().join("checks"));
    let import = |text: &str, arguments: &[&str]| {
        fs::write(&rules, text).expect("written");
        let mut command = program();
        command.args(["quality", "import", "--owner", "fleet@example.com", "--out"]).arg(&out).arg(&rules);
        let ran = run(command.args(arguments));
        (ran.status, ran.error)
    };
    let dqdl = "Rules = [ IsComplete \"id\", ColumnValues \"fuel_level\" between 0 and 100, Entropy \"id\" > 1 ]";
    let (status, error) = import(dqdl, &["--of", "dqdl", "--table", "vehicle_status_report"]);
    assert_eq!(status, Some(1));
    assert!(error.contains("not taken: Entropy \"id\" > 1: no kind of check here is the same"), "{error}");
    let dbt = "models: [{name: vehicle_tire_report, columns: [{name: pressure, tests: [not_null]}]}]";
    assert_eq!(import(dbt, &["--of", "dbt"]), (Some(0), String::new()));
    let (status, error) = import(dbt, &["--of", "dbt"]);
    assert!(status == Some(2) && error.contains("a file that is there is not replaced"), "{error}");
    let ran = quality(lake.path(), &[out.to_str().expect("a path")]);
    assert_eq!(ran.status, Some(0), "{}", ran.error);
    assert_snapshot!(ran.output);
}
