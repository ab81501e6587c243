//! What the dashboard of the checks of the data shows: the results of their last run, over time.

use super::{Dashboard, Kind, Row, Unit, panel};

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "fms-quality",
        title: "fms: checks of the data",
        job: "fms-quality",
        labels: &[("owner", "fms_quality_outcome"), ("table", "fms_quality_outcome")],
        rows: vec![wrong(), failing(), by_owner(), by_table()],
    }
}

fn wrong() -> Row {
    let panels = vec![
        panel(
            "Checks",
            "Checks whose results are known. None means that nobody runs them, or that their file is not read.",
            Kind::NumberAbove { red_to: 0.0 },
            Unit::Count,
            &[(r#"count(fms_quality_outcome{owner=~"$owner",table=~"$table",instance=~"$instance"})"#, "checks")],
        ),
        panel(
            "Failed",
            "Checks whose last run found too many bad rows; the run-book's FmsQualityFailed says what to do.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"count(fms_quality_outcome{severity!="info",owner=~"$owner",table=~"$table",instance=~"$instance"} == 2) or vector(0)"#,
                "checks",
            )],
        ),
        panel(
            "Could not run",
            "Checks of which nothing is known, because a table or a column is not there, or the lake could not be read.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"count(fms_quality_outcome{owner=~"$owner",table=~"$table",instance=~"$instance"} == 3) or vector(0)"#,
                "checks",
            )],
        ),
        panel(
            "Did not run",
            "Checks whose last run was more than 26 hours ago: the job that runs them does not.",
            Kind::Number { red_from: 1.0 },
            Unit::Count,
            &[(
                r#"count(time() - fms_quality_last_run_timestamp_seconds{owner=~"$owner",table=~"$table",instance=~"$instance"} > 26 * 3600) or vector(0)"#,
                "checks",
            )],
        ),
    ];
    Row { title: "Is anything wrong?", panels }
}

fn failing() -> Row {
    let panels = vec![panel(
        "Checks that failed or could not run",
        "Each with its table and its owner. The value 2 says that it failed, and 3 that it could not run.",
        Kind::Table,
        Unit::Count,
        &[(
            r#"fms_quality_outcome{owner=~"$owner",table=~"$table",instance=~"$instance"} >= 2"#,
            "{{table}}: {{check}}",
        )],
    )];
    Row { title: "What is wrong", panels }
}

fn by_owner() -> Row {
    let panels = vec![
        panel(
            "Run within a day",
            "How many checks of each owner ran within the last 24 hours. A line that falls is a job that does not run.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"sum by (owner) (time() - fms_quality_last_run_timestamp_seconds{owner=~"$owner",table=~"$table",instance=~"$instance"} < bool 86400)"#,
                "{{owner}}",
            )],
        ),
        panel(
            "Failed",
            "How many checks of each owner failed in their last run.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"sum by (owner) (fms_quality_outcome{owner=~"$owner",table=~"$table",instance=~"$instance"} == bool 2)"#,
                "{{owner}}",
            )],
        ),
    ];
    Row { title: "By owner", panels }
}

fn by_table() -> Row {
    let panels = vec![
        panel(
            "Bad rows",
            "How many bad rows the checks of each table found. A row that several checks find is counted by each.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"sum by (table) (fms_quality_bad_rows{owner=~"$owner",table=~"$table",instance=~"$instance"})"#,
                "{{table}}",
            )],
        ),
        panel(
            "Rows",
            "How many rows the check of each table that saw most looked at. A line that falls is data that does not arrive.",
            Kind::Lines,
            Unit::Count,
            &[(
                r#"max by (table) (fms_quality_rows{owner=~"$owner",table=~"$table",instance=~"$instance"})"#,
                "{{table}}",
            )],
        ),
    ];
    Row { title: "By table", panels }
}
