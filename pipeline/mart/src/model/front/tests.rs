//! What is wrong with a file is said with its line.

use super::*;

const GOOD: &str = r#"/*
description = "How far each vehicle drove."
owner = "fleet@example.com"
grain = "a vehicle and day"
keys = ["id"]
columns = """
id bigint the vehicle
km double km; the way
"""

[sources.vehicle_kinematic_report]
reads = "1 day before"
freshness = "26h"
columns = "id bigint, odometer bigint"

[checks]
"nobody drives backwards" = "km >= 0"

[[examples]]
name = "the odometer tells"
given.vehicle_kinematic_report = """
id | odometer | ymd
1  | 1000     | 2023-01-01
"""
expect = """
ymd        | id | km
2023-01-01 | 1  | 0
"""
*/
select 1
;
"#;

fn model(text: &str) -> Result<Model, String> {
    read(Path::new("mart/way.sql"), text).map_err(|error| error.to_string())
}

#[test]
fn a_model_is_read_with_all_that_it_says() {
    let model = model(GOOD).expect("a model");
    assert_eq!((model.name.as_str(), model.sql.as_str(), model.line), ("way", "select 1", 30));
    let reads = &model.sources["vehicle_kinematic_report"];
    assert_eq!((reads.before, reads.after, reads.columns.len()), (1, 0, 2));
    assert_eq!(reads.freshness, Some(SignedDuration::from_hours(26)));
    assert_eq!(model.columns[1].description, "km; the way");
    assert_eq!((model.examples[0].line, model.examples[0].expect.rows.len()), (20, 1));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let said = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        model(&GOOD.replacen(from, to, 1)).expect_err(from)
    };
    let problems = [
        said("/*\n", "--\n"),
        said("*/", ""),
        said("select 1\n;", ""),
        said("owner =", "ownr ="),
        said("owner = \"fleet@example.com\"", "owner = \"\""),
        said("keys = [\"id\"]", "keys = [\"vin\"]"),
        said("km double km; the way", "km decimal km; the way"),
        said("km double km; the way", "km double"),
        said("1 day before", "a day before"),
        said("26h", "soon"),
        said("id bigint, odometer bigint", "id, odometer bigint"),
        said("given.vehicle_kinematic_report", "given.vehicle_status_report"),
        said("1  | 1000     | 2023-01-01", "1  | 1000"),
        said("ymd        | id | km", "ymd        | id | miles"),
    ];
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn a_window_is_a_number_of_days_on_one_side_or_both() {
    assert_eq!(window("2 days after"), Ok((0, 2)));
    assert_eq!(window("1 day before and after"), Ok((1, 1)));
    for wrong in ["", "1 day", "0 days before", "99 days before", "1 hour before", "1 day before and"] {
        assert!(window(wrong).is_err(), "{wrong}");
    }
}
