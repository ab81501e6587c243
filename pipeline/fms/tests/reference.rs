//! `fms connect keys` and the page that is made by it.

use std::path::Path;
use std::process::Command;

fn keys(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fms")).args(["connect", "keys"]).args(arguments).output();
    let output = output.expect("fms starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_page_is_current() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest set it");
    let page = std::fs::read_to_string(Path::new(&package).join("../../docs/configuration.md")).unwrap_or_default();
    let (_, current, _) = keys(&["--markdown"]);
    let line = page.lines().zip(current.lines()).position(|(page, current)| page != current);
    assert!(
        page == current,
        "docs/configuration.md is not current (first at line {}); renew it:\n\n    \
         cargo run --bin fms -- connect keys --markdown > docs/configuration.md\n",
        line.unwrap_or_else(|| page.lines().count().min(current.lines().count())) + 1
    );
}

#[test]
fn keys_are_told_for_people_and_programs() {
    let (status, text, _) = keys(&["--connector", "io.confluent.connect.s3.S3SinkConnector"]);
    assert_eq!(status, Some(0));
    for part in ["flush.size", "errors.retry.timeout", "HIGH    required  rows", "      ! "] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("CONNECT_BUFFER_MEMORY") && !text.contains("dynamodb.table"), "{text}");

    let (_, json, _) = keys(&["--json"]);
    for part in [r#""name": "CONNECT_BUFFER_MEMORY""#, r#""unit": "bytes""#, r#""name": "dynamodb.table""#] {
        assert!(json.contains(part), "{json}");
    }

    let (status, _, error) = keys(&["--connector", "S3Snk"]);
    assert_eq!(status, Some(2));
    assert!(error.contains("S3Sink"), "{error}");
}
