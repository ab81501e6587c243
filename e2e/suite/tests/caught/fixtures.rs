//! What a fixture can say about a pipeline, and what becomes of its snapshots: each test is a project whose case says
//! it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};

use super::{CASE, EXPECTED, Project, SNAPSHOTS, Verdict, project};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_snapshot_names_no_place_of_this_machine", names_no_place_of_this_machine),
        Trial::test("cargo_insta_is_told_to_which_snapshots_a_test_refers", refers_to_its_snapshots),
        Trial::test("a_snapshot_that_cannot_be_written_fails_the_case", cannot_be_written),
        Trial::test("a_full_disk_leaves_the_old_snapshot_and_nothing_else", full_disk),
        Trial::test("a_record_goes_to_the_topic_that_it_names", several_topics),
        Trial::test("a_redaction_that_matches_nothing_fails_the_plain_schedule", matches_nothing),
        Trial::test("what_varies_in_the_names_of_objects_is_redacted", random_names),
        Trial::test("rows_are_compared_whatever_objects_they_are_in", rows_only),
        Trial::test("the_records_of_an_output_topic_are_observed", output_topics),
        Trial::test("a_new_snapshot_is_written_only_if_every_run_gives_it", at_birth),
        Trial::test("what_was_stored_before_an_expected_failure_is_compared_if_asked_for", before_a_failure),
    ]
}

impl Project {
    pub fn snapshot(&self, name: &str) -> PathBuf {
        self.root.path().join(SNAPSHOTS).join(format!("{name}.snap"))
    }

    /// Runs the case and accepts what it observes.
    pub fn accepts(&self) -> Verdict {
        Verdict::of(self.command(&[], "").env("INSTA_UPDATE", "force"))
    }

    /// Fails unless a snapshot that was accepted has this content.
    pub fn has(&self, name: &str, content: &str) -> Result<(), Failed> {
        let text = fs::read_to_string(self.snapshot(name)).map_err(|error| format!("{name}: {error}"))?;
        let found = text.split_once("\n---\n").map_or("", |(_, content)| content.trim_end());
        if found == content { Ok(()) } else { Err(format!("{name} should be\n{content}\nbut is\n{found}").into()) }
    }
}

fn names_no_place_of_this_machine() -> Result<(), Failed> {
    let project = project().without_snapshots();
    project.accepts().passes()?;
    for (name, content) in EXPECTED {
        let text = fs::read_to_string(project.snapshot(name))?;
        let header = "---\nsource: e2e/framework/src/snapshot.rs\ninput_file: fixtures/words/three\n---\n";
        if text != format!("{header}{content}\n") {
            return Err(format!("{name}: {text}").into());
        }
    }
    Ok(())
}

/// `cargo insta test --unreferenced` removes or reports all others.
fn refers_to_its_snapshots() -> Result<(), Failed> {
    let project = project();
    let list = project.root.path().join("references");
    Verdict::of(project.command(&[], "").env("INSTA_SNAPSHOT_REFERENCES_FILE", &list)).passes()?;
    let folder = project.root.path().canonicalize()?.join(SNAPSHOTS);
    let expected = EXPECTED.map(|(name, _)| format!("{}/{name}.snap", folder.display())).join("\n");
    let found = fs::read_to_string(list)?;
    if found.trim_end() == expected { Ok(()) } else { Err(format!("should be\n{expected}\nbut is\n{found}").into()) }
}

/// There is a file in the place of the folder. Permissions would not do, for tests may run as root, whom they do not
/// stop.
fn cannot_be_written() -> Result<(), Failed> {
    let project = project().without_snapshots();
    project.write(CASE, "snapshots", "a file in the place of the folder");
    for update in ["force", "new"] {
        Verdict::of(project.command(&[], "").env("INSTA_UPDATE", update)).fails_with(&[
            "cannot make the folder ",
            "/fixtures/words/three/snapshots: File exists",
            "snapshots/table__rows.snap: new, 3 items",
        ])?;
    }
    Ok(())
}

/// No file of this process may have more than 2 blocks, which are 1 or 2 KiB: as if the disk were full at that point.
fn full_disk() -> Result<(), Failed> {
    let project = project();
    project.write(CASE, "messages.ndjson", &format!("{}\n{}\n", "a".repeat(1_900), "b".repeat(1_900)));
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\""]).arg(std::env::current_exe()?);
    let inner = project.command(&[], "");
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let verdict = Verdict::of(shell.env("INSTA_UPDATE", "force"));
    verdict.fails_with(&["cannot write ", "snapshots/s3__raw__rows.snap: File too large", "unchanged"])?;
    let (name, content) = EXPECTED[1];
    project.has(name, content)?;
    let files = fs::read_dir(project.root.path().join(SNAPSHOTS))?.count();
    if files == EXPECTED.len() { Ok(()) } else { Err(format!("there are {files} files").into()) }
}

fn before_a_failure() -> Result<(), Failed> {
    let project = project();
    project.write(CASE, "messages.ndjson", "one\ntwo\npoison\n");
    project.case("expect_failure = 'it is poison'").run("").fails_with(&[
        "three/snapshots: the case expects a failure, so nothing is compared with these snapshots",
        "write `compare_outputs = true`",
    ])?;
    let project = project.without_snapshots();
    project.case("expect_failure = 'it is poison'\ncompare_outputs = true");
    project.run("").fails_with(&["3 snapshots differ", "snapshots/s3__raw__rows.snap: new, 2 rows\n  + one"])?;
    project.accepts().passes()?;
    project.has("table__rows", "{\"id\":\"one\",\"length\":3}\n{\"id\":\"two\",\"length\":3}")?;
    project.run("").passes()?;
    project.run("drops a row").fails_with(&["snapshots/table__rows.snap: 1 item missing"])?;
    project.run("drops everything").fails_with(&["snapshots/table__rows.snap: nothing of this was observed"])
}

/// A run has drained only when the groups have read all topics, also if messages are sent in two parts or twice.
fn several_topics() -> Result<(), Failed> {
    let settings =
        "objects = 'rows only'\nenv = { TOPICS = 'in,control', OBJECT_NAMES = 'random' }\n[topics]\ncontrol = 2\n";
    let control = r#"{"$record": {"topic": "control", "value": "two", "partition": 1}}"#;
    for schedule in ["plain", "restarted", "twice"] {
        let project = project().under(schedule);
        project.write("fixtures/words", "protocol.toml", settings);
        project.write(CASE, "messages.ndjson", &format!("one\n{control}\nthree\n"));
        project.write(SNAPSHOTS, "s3__raw__rows.snap", "---\nsource: here\n---\none\nthree\ntwo\n");
        fs::remove_file(project.snapshot("objects"))?;
        project.run("").passes()?;
    }
    Ok(())
}

fn matches_nothing() -> Result<(), Failed> {
    let project = project();
    project.case("redact = ['$.items[*].length', '$.items[*].lenght', '$.dead_letters[*].timestamp']");
    project.accepts().fails_with(&[
        "`$.items[*].lenght` matches nothing; remove it or correct the path",
        "`$.dead_letters[*].timestamp` matches nothing",
    ])?;
    project.has(
        "table__rows",
        &["one", "three", "two"].map(|id| format!(r#"{{"id":"{id}","length":"[redacted]"}}"#)).join("\n"),
    )?;
    let project = project.under("restarted");
    project.run("").passes()?;
    let project = project.under("plain");
    project.case("redact = ['$.items[*].length']").run("").passes()
}

fn random_names() -> Result<(), Failed> {
    let project = project().without_snapshots();
    let settings = "env = { OBJECT_NAMES = 'random' }\n";
    project.write("fixtures/words", "protocol.toml", &format!("{settings}redact_names = ['[0-9a-f]{{16}}']\n"));
    project.accepts().passes()?;
    let listed = [4, 6, 4].map(|bytes| format!("raw/rows/[redacted].json: 1 row, {bytes} bytes uncompressed"));
    project.has("objects", &listed.join("\n"))?;
    project.has("s3__raw__rows", "one\nthree\ntwo")?;
    project.run("").passes()?;
    project.run("drops a row").fails_with(&["snapshots/s3__raw__rows.snap: 1 row missing\n  - two"])?;
    project.write("fixtures/words", "protocol.toml", settings);
    project.run("").fails_with(&["snapshots/objects.snap: 3 objects missing, 3 objects not expected"])
}

fn rows_only() -> Result<(), Failed> {
    let project = project().without_snapshots();
    project.write("fixtures/words", "protocol.toml", "env = { OBJECT_NAMES = 'random' }\n");
    project.write(CASE, "messages.ndjson", "f a d b g\nc c\ne\n");
    project.case("objects = 'rows only'").accepts().passes()?;
    project.has("s3__raw__rows", "a\nb\nc\nc\nd\ne\nf\ng")?;
    if project.snapshot("objects").exists() {
        return Err("the objects are listed".into());
    }
    for _ in 0..3 {
        project.run("").passes()?;
    }
    project.run("drops a row").fails_with(&["snapshots/s3__raw__rows.snap: 2 rows missing\n  - c\n  - c"])
}

/// The settings of a pipeline that also sends its records to an output topic.
pub(super) const COPIES: &str = "output_topics = ['copies']\nenv = { COPY_TO = 'copies' }\nredact = ['$.records[*].timestamp', \
                                 '$.records[*].headers.number', '$.records[*].value.meta.number']\n";

fn output_topics() -> Result<(), Failed> {
    let project = project();
    project.write("fixtures/words", "protocol.toml", COPIES);
    project.run("").fails_with(&["snapshots/topic__copies.snap: new, 3 records"])?;
    project.accepts().passes()?;
    let blocks = ["one", "three", "two"].map(|id| {
        format!(
            "key: \"{id}\"\npartition: 0\ntimestamp: [redacted]\nheader number: [redacted]\n\
             value, redacted: {{\"id\":\"{id}\",\"meta\":{{\"number\":\"[redacted]\"}}}}"
        )
    });
    project.has("topic__copies", &blocks.join("\n\n"))?;
    project.run("").passes()?;
    project.run("drops a row").fails_with(&["snapshots/topic__copies.snap: 1 record missing\n  - key: \"two\""])?;
    let mut project = project;
    for schedule in ["twice", "killed:s3.PutObject:2:after", "killed:kafka.Produce:2", "killed:kafka.Produce:2:after"] {
        project = project.under(schedule);
        project.run("").passes().map_err(|error| format!("{schedule}: {error:?}"))?;
    }
    Ok(())
}

/// The pipeline sends a number with each record that chance decides.
fn at_birth() -> Result<(), Failed> {
    let project = project();
    project.write("fixtures/words", "protocol.toml", "output_topics = ['copies']\nenv = { COPY_TO = 'copies' }\n");
    for update in ["force", "new"] {
        Verdict::of(project.command(&[], "").env("INSTA_UPDATE", update)).fails_with(&[
            "the snapshots are new, and 3 runs do not give the same, so none was written",
            "topic__copies.snap: 3 records missing, 3 records not expected",
            "        \"$.records[*].headers.number\",\n",
            "        \"$.records[*].timestamp\",\n",
            "        \"$.records[*].value.meta.number\",\n",
        ])?;
        let written =
            ["snap", "snap.new"].map(|ending| project.snapshot("topic__copies").with_extension(ending).exists());
        if written != [false, false] {
            return Err(format!("INSTA_UPDATE={update} has written a snapshot").into());
        }
    }
    Ok(())
}
