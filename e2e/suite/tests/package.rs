//! The crate `e2e` is complete as a package: it has everything that it is compiled from and that a user needs, and
//! refers to nothing outside of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

/// The folder of the crate.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../framework")
}

/// The files that `cargo package` puts into the package.
fn packaged() -> BTreeSet<String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(folder())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names of files").lines().map(str::to_owned).collect()
}

/// The path without `.` and `..`; `None` if it leads out of the folder that it begins in.
fn within(path: &Path) -> Option<String> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::ParentDir => drop(names.pop()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(names.join("/"))
}

/// The paths that a source file names in `include_str!`, `include_bytes!` and `#[path]`, relative to its folder.
fn included(text: &str) -> Vec<&str> {
    let beginnings = ["include_str!(\"", "include_bytes!(\"", "path = \""];
    let named = beginnings.iter().flat_map(|beginning| text.split(beginning).skip(1));
    named.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn what_a_user_needs_is_in_the_package() {
    let packaged = packaged();
    for name in [
        "Cargo.toml",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "schema/suite.schema.json",
        "schema/protocol.schema.json",
        "schema/case.schema.json",
    ] {
        assert!(packaged.contains(name), "{name} is not among {packaged:?}");
    }
}

#[test]
fn every_file_that_the_sources_include_is_in_the_package() {
    let packaged = packaged();
    let mut seen = 0;
    for source in packaged.iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "rs")) {
        let text = fs::read_to_string(folder().join(source)).expect(source);
        let parent = Path::new(source).parent().expect("a folder");
        for path in included(&text) {
            let file = within(&parent.join(path));
            assert!(
                file.is_some_and(|file| packaged.contains(&file)),
                "{source} includes {path}, which is not packaged"
            );
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} included files were found, so this test looks for them in the wrong way");
}
