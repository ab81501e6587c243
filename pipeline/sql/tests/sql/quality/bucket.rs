//! The history of a lake in S3 with its tables in Glue.

use std::process::Stdio;

use fms_lake::Settings;

use super::{fleet, suite};
use crate::common::Services;

#[test]
fn runs_at_the_same_time_add_their_verdicts_to_a_table_in_s3() {
    let services = Services::start();
    services.convert(Settings::default(), &[("topics/a.json".to_owned(), fleet::well().join("\n"))]);
    let file =
        suite("  - {name: fuel, range: {column: fuel_level, max: 100}}\n  - {name: rows, row_count: {min: 1}}\n");
    let run = |more: &[&str]| {
        let mut command = services.program();
        command.stderr(Stdio::inherit());
        command.args(["quality", "run", "--now", "2023-01-02T02:00:00Z", "--database", "fleet"]);
        command.args(["--history", "s3://lake/v1"]).arg(file.path()).args(more).stdout(Stdio::piped());
        command.spawn().expect("fms-sql starts")
    };
    for child in [run(&[]), run(&[])] {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    let sql = "select check_name, outcome, count(*) as n, count(distinct version) as versions from quality_results \
               group by check_name, outcome order by check_name";
    let kept: Vec<String> = services.query(sql).iter().map(ToString::to_string).collect();
    let each = |name: &str| format!(r#"{{"check_name":"{name}","n":2,"outcome":"pass","versions":1}}"#);
    assert_eq!(kept, [each("fuel"), each("rows")]);
    let output = run(&["--changed", "--format", "json"]).wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
