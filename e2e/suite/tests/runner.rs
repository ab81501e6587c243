//! The runner in situations that a newcomer meets: another project, an environment that is not usual, and a command
//! that the shell would misunderstand.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// A project of one case, in a folder of its own.
fn project() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    let case = root.path().join("fixtures/things/one");
    fs::create_dir_all(&case).expect("created");
    fs::write(root.path().join("fixtures/suite.toml"), "topic = 't'\ngroups = ['g']\n[topics]\nt = 1\n")
        .expect("written");
    fs::write(case.join("messages.ndjson"), "{}\n").expect("written");
    root
}

fn runner(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    command.current_dir(folder).env_remove("CARGO_MANIFEST_DIR").env("CARGO_TARGET_DIR", folder.join("target"));
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_project_that_the_current_folder_is_in_is_tested_and_named() {
    let project = project();
    let root = project.path().canonicalize().expect("it is there");
    let deep = root.join("a/b");
    fs::create_dir_all(&deep).expect("created");
    let output = runner(&deep).args(["--subject", "false"]).output().expect("the runner");
    let text = said(&output);
    assert!(text.contains("things::one") && text.contains(&format!("project: {}\n", root.display())), "{text}");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let root_option = ["--root".as_ref(), root.as_os_str()];
    let output = runner(elsewhere.path()).args(root_option).args(["--subject", "false"]).output().expect("the runner");
    assert!(said(&output).contains(&format!("project: {}\n", root.display())), "{}", said(&output));
    let output = runner(elsewhere.path()).output().expect("the runner");
    let text = said(&output);
    assert!(output.status.code() == Some(2) && text.contains("no fixtures/suite.toml in"), "{text}");
}

/// Commands work with `--root` on either side of their name, and what they tell people to type names the project
/// again.
#[test]
fn a_hint_names_the_project_that_root_named() {
    let project = project();
    let root = project.path().display().to_string();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| said(&runner(elsewhere.path()).args(arguments).output().expect("the runner"));
    let text = run(&["--root", &root, "new", "things/two"]);
    assert!(text.contains(&format!(" --root '{root}' things::two shows")), "{text}");
    assert!(project.path().join("fixtures/things/two/messages.ndjson").is_file());
    let text = run(&["new", "things/three", "--root", &root]);
    assert!(text.contains(&format!(" --root '{root}' things::three shows")), "{text}");
    let text = run(&["--root", &root, "--subject", "false", "one"]);
    assert!(text.contains(&format!(" --root '{root}' things::one --subject 'false'\n")), "{text}");
    let text = run(&["--root", &root, "--json", "new", "things/four"]);
    assert!(text.contains("`--json` stands before the command `new`"), "{text}");
    assert!(!project.path().join("fixtures/things/four").exists());
    let text = run(&["--root", &root, "init", "--subject", "false"]);
    assert!(text.contains("`init` takes the folder of the new project as its argument"), "{text}");
}

#[test]
fn what_would_do_something_else_than_is_meant_is_refused() {
    let project = project();
    for (variable, value, says) in [
        ("E2E_STACK", "", "E2E_STACK is set and empty"),
        ("CARGO_TARGET_DIR", "", "CARGO_TARGET_DIR is set and empty"),
        ("INSTA_FORCE_PASS", "1", "every case would pass"),
    ] {
        let output = runner(project.path()).env(variable, value).output().expect("the runner");
        assert!(output.status.code() == Some(2) && said(&output).contains(says), "{}", said(&output));
    }
    for (arguments, says) in [
        (&["--sample", "3"][..], "--sweep"),
        (&["--sweep", "--seed", "3"], "--sample"),
        (&["--schedule", "twice,plain", "--update"], "snapshots are written by the plain schedule, not by twice,plain"),
        (&["--schedule", "twice,al"], "there is no schedule `al`, but plain, twice, "),
    ] {
        let output = runner(project.path()).args(arguments).output().expect("the runner");
        assert!(output.status.code() == Some(2) && said(&output).contains(says), "{}", said(&output));
    }
    let output = runner(project.path()).args(["--subject", "FOO=1 cmd"]).output().expect("the runner");
    assert!(output.status.code() == Some(2) && said(&output).contains("write `env FOO=1 cmd`"), "{}", said(&output));
}
