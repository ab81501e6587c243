//! The models of `deploy/mart` give what was worked out by hand, and a model that does not is found.

use std::fs;

use super::harness::{MODELS, TOTAL, WAY, models};
use crate::common::{Ran, program, run};

fn test(folder: &std::path::Path, arguments: &[&str]) -> Ran {
    run(program().args(["mart", "test", "--models"]).arg(folder).args(arguments))
}

#[test]
fn every_model_gives_what_was_worked_out_by_hand() {
    let ran = test(MODELS.as_ref(), &[]);
    assert_eq!((ran.status, ran.error.as_str()), (Some(0), ""), "{}", ran.output);
    let models = fs::read_dir(MODELS).expect("the models").count();
    let examples: usize = ran.output.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(models >= 12 && examples >= models, "{}", ran.output);
}

#[test]
fn other_rows_than_expected_are_shown_beside_them() {
    let folder = models(&[("way.sql", &WAY.replace("1    | 50", "1    | 51")), ("total.sql", TOTAL)]);
    let ran = test(folder.path(), &["--select", "way"]);
    assert_eq!((ran.status, ran.error.as_str()), (Some(1), ""));
    insta::assert_snapshot!(ran.output, @r"
    way.sql, line 20: the example `two days` expects
        ymd        | id | rows | meters
        2023-01-01 | 7  | 1    | 0
        2023-01-02 | 7  | 1    | 51
      and the query gives
        ymd        | id | rows | meters
        2023-01-01 | 7  | 1    | 0
        2023-01-02 | 7  | 1    | 50
    0 examples are as expected, 1 are not
    ");
}

#[test]
fn a_mistake_in_a_query_is_named_with_its_line() {
    let said = |from: &str, to: &str| {
        assert!(WAY.contains(from), "{from}");
        let folder = models(&[("way.sql", &WAY.replacen(from, to, 1)), ("total.sql", TOTAL)]);
        let ran = test(folder.path(), &["--select", "way"]);
        assert_eq!((ran.status, ran.error.as_str()), (Some(1), ""));
        ran.output.replace("0 examples are as expected, 1 are not\n", "")
    };
    let problems = [
        said("max(a.odometer)", "max(a.odometr)"),
        said("group by a.ymd, a.id\n", "group by a.ymd a.id\n"),
        said("from vehicle_status_report as a", "from vehicle_tire_report as a"),
        said("select a.ymd,", "select"),
        said(" as meters", " as metres"),
        said("count(distinct a.odometer) as rows", "avg(a.odometer) as rows"),
        said(
            "[sources.vehicle_status_report]",
            "[sources.trip]\ncolumns = \"id bigint\"\n[sources.vehicle_status_report]",
        ),
    ];
    insta::assert_snapshot!(problems.concat());
}

#[test]
fn a_mistake_in_the_front_matter_is_named_before_anything_is_begun() {
    let folder = models(&[("way.sql", &WAY.replace("owner =", "ownr =")), ("total.sql", TOTAL)]);
    let ran = test(folder.path(), &[]);
    assert_eq!((ran.status, ran.output.as_str()), (Some(2), ""));
    let error = ran.error.replace(&folder.path().display().to_string(), "mart");
    insta::assert_snapshot!(error, @"fms mart: mart/way.sql:3: unknown field `ownr`, expected one of `description`, `owner`, `grain`, `keys`, `columns`, `sources`, `checks`, `examples`");
}

#[test]
fn the_model_of_the_documentation_is_complete() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/mart.md")).expect("the page");
    let model = page.split("```sql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a model");
    let files = fs::read_dir(MODELS).expect("the models").map(|entry| entry.expect("an entry").path());
    let folder = models(&[("daily_harsh_events.sql", model)]);
    for file in files {
        fs::copy(&file, folder.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    assert_eq!(
        test(folder.path(), &["--select", "daily_harsh_events"]).ok(),
        "1 examples are as expected, 0 are not\n"
    );
    for file in fs::read_dir(MODELS).expect("the models") {
        let name = file.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(page.contains(&format!("(../deploy/mart/{name})")), "the page does not name {name}");
    }
}
