//! What is compiled into the function: neither librdkafka nor `DataFusion`, which would make it large and slow to start.

use std::process::Command;

#[test]
fn neither_librdkafka_nor_datafusion_is_compiled_into_the_function() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--package", "fms-lambda", "--edges", "normal,build", "--prefix", "none"]);
    // What other platforms need is not there on a machine that has built this one.
    let output = tree.args(["--locked", "--offline"]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"fms-lake") && names.contains(&"parquet"), "{names:?}");
    for unwanted in ["rdkafka", "datafusion", "fms-connect"] {
        let found = names.iter().find(|name| name.starts_with(unwanted));
        assert_eq!(found, None, "`cargo tree -p fms-lambda -e normal -i {unwanted}` says where it comes from");
    }
}
