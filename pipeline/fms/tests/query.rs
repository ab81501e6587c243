//! `fms query` and `fms mart` become the program `fms-sql`, wherever that is.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Puts `fms` into a folder where nothing is beside it, and a program that prints its arguments where `fms-sql` is to
/// be.
fn installed(folder: &Path, fms_sql: Option<&str>) {
    for place in ["bin", "path"] {
        fs::create_dir(folder.join(place)).expect("created");
    }
    fs::copy(env!("CARGO_BIN_EXE_fms"), folder.join("bin/fms")).expect("copied");
    if let Some(place) = fms_sql {
        let path = folder.join(place).join("fms-sql");
        fs::write(&path, "#!/bin/sh\nprintf '[%s]' \"$@\"\nexit 7\n").expect("written");
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("executable");
    }
}

/// The exit status, the output and the errors.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut fms = Command::new(folder.join("bin/fms"));
    let output = fms.args(arguments).env("PATH", folder.join("path")).output().expect("fms starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn arguments_and_exit_status_are_those_of_the_program() {
    for place in ["bin", "path"] {
        let folder = tempfile::tempdir().expect("a folder");
        installed(folder.path(), Some(place));
        let (status, output, _) = run(folder.path(), &["query", "--lake", "a b", "-f", "-", "select 1"]);
        assert_eq!((status, output.as_str()), (Some(7), "[--lake][a b][-f][-][select 1]"), "in {place}");
        let (_, output, _) = run(folder.path(), &["query", "--help"]);
        assert_eq!(output, "[--help]");
        let (_, output, _) = run(folder.path(), &["--log-format", "json", "query", "select 1"]);
        assert_eq!(output, "[--log-format][json][select 1]");
        let (_, output, _) = run(folder.path(), &["--log-format", "json", "mart", "apply", "--select", "+trip"]);
        assert_eq!(output, "[mart][--log-format][json][apply][--select][+trip]");
        let (_, output, _) = run(folder.path(), &["alerts", "show", "--state", "a.json"]);
        assert_eq!(output, "[alerts][show][--state][a.json]");
    }
}

#[test]
fn without_the_program_nothing_is_started_and_it_is_said_how_to_get_it() {
    let folder = tempfile::tempdir().expect("a folder");
    installed(folder.path(), None);
    let (status, output, error) = run(folder.path(), &["query", "select 1"]);
    assert_eq!((status, output.as_str()), (Some(2), ""));
    assert!(error.contains("cargo build --release --bin fms-sql"), "{error}");
}
