//! The framework catches broken pipelines: each test breaks a pipeline in one way and checks what a person would be
//! told.
//!
//! This executable has three roles: it is the tests, the test target of a small project with its own fixtures, and
//! that project's pipeline.

mod fixtures;
mod ledger;
mod loader;
mod mutations;
mod pipeline;
mod processes;
mod schedules;
mod sweeps;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use e2e::{Program, Suite};
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::TempDir;

const ROLE: &str = "CAUGHT_ROLE";
const ROOT: &str = "CAUGHT_ROOT";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("pipeline") if std::env::args().any(|argument| argument == "load") => loader::main(),
        Ok("pipeline") => pipeline::main(),
        Ok("project") => {
            let root = std::env::var_os(ROOT).unwrap_or_default();
            let program = Program::Itself { name: "the copying pipeline", role: (ROLE, "pipeline") };
            e2e::harness::main_of(&Suite::new(root, program))
        }
        _ => {
            let others = [
                fixtures::trials(),
                ledger::trials(),
                mutations::trials(),
                processes::trials(),
                schedules::trials(),
                sweeps::trials(),
            ];
            let trials = trials().into_iter().chain(others.into_iter().flatten()).collect();
            libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
        }
    }
}

#[expect(clippy::too_many_lines, reason = "this is a list with one guarantee after the other")]
fn trials() -> Vec<Trial> {
    vec![
        Trial::test("an_honest_pipeline_passes", || project().run("").passes()),
        Trial::test("a_restart_changes_nothing", || project().under("restarted").run("").passes()),
        Trial::test("messages_sent_twice_change_no_item_and_no_set_of_rows", || {
            project().under("twice").run("").passes()
        }),
        Trial::test("throttling_changes_nothing", || project().under("throttled").run("").passes()),
        Trial::test("a_crash_before_a_call_changes_nothing", || {
            project().under("killed:dynamodb.PutItem:2").run("").passes()
        }),
        Trial::test("a_crash_after_a_call_changes_nothing", || {
            project().under("killed:s3.PutObject:2:after").run("").passes()
        }),
        Trial::test("a_crash_at_a_call_to_one_target_changes_nothing", || {
            project().under("killed:s3.PutObject:1:after@raw/rows/0000000002").run("").passes()
        }),
        Trial::test("a_schedule_that_disturbs_nothing_fails_the_one_case_that_it_was_asked_for", || {
            project().under("killed:s3.PutObject:9").run("").fails_with(&[
                "the schedule killed:s3.PutObject:9 disturbed nothing: the subject made fewer than 9 s3.PutObject calls, but",
                "3 dynamodb.PutItem, 3 kafka.OffsetCommit, 3 s3.PutObject",
            ])?;
            let single = project();
            single.one_message(CASE);
            single.under("restarted").run("").fails_with(&["disturbed nothing: the case has one message"])
        }),
        Trial::test("among_other_cases_one_that_is_not_disturbed_is_told_apart", || {
            let project = project();
            project.one_message("fixtures/words/two");
            let verdict = project.under("restarted").run("");
            if !verdict.success {
                return Err(format!("should pass:\n{}", verdict.text()).into());
            }
            contains(&verdict.text(), &["undisturbed: words::two passes, but the schedule restarted disturbed nothing"])
        }),
        Trial::test("a_row_that_is_dropped_is_shown", || {
            project().run("drops a row").fails_with(&[
                "while comparing with the snapshots: 3 snapshots differ",
                "snapshots/table__rows.snap: 1 item missing\n  - {\"id\":\"two\",\"length\":3}",
                "snapshots/s3__raw__rows.snap: 1 row missing\n  - two",
                "snapshots/objects.snap: 1 object missing\n  - raw/rows/0000000001.json: 1 row, 4 bytes uncompressed",
                "if this is right: cargo insta review",
                "run it again: cargo test -- --exact words::three",
            ])
        }),
        Trial::test("a_dropped_row_is_shown_under_every_schedule", || {
            project().under("restarted").run("drops a row").fails_with(&["s3__raw__rows.snap: 1 row missing\n  - two"])
        }),
        Trial::test("a_row_that_is_written_twice_is_shown", || {
            project().run("duplicates a row").fails_with(&["snapshots/s3__raw__rows.snap: 1 row not expected\n  + two"])
        }),
        Trial::test("an_offset_that_is_committed_before_the_write_is_a_defect", || {
            project().run("commits early").fails_with(&[
                "wrote after the commit that covers it: PutItem rows, PutObject raw/rows/0000000001.json",
                "a crash between the two would have lost it",
            ])
        }),
        Trial::test("a_write_that_is_not_done_when_its_offset_is_committed_is_a_defect", || {
            project()
                .under("slow")
                .run("does not wait")
                .fails_with(&["wrote after the commit that covers it: ", "a crash between the two would have lost it"])
        }),
        Trial::test("a_pipeline_that_never_drains_is_told_where_it_stands", || {
            project().timeout("1s").run("never drains").fails_with(&[
                "while waiting until it has drained: not drained after 1.0 s",
                "group `copy`: in-0 is committed up to 1 of 3, 2 records behind",
                "waiting for something that will not come",
            ])
        }),
        Trial::test("a_crash_at_start_shows_status_and_last_words", || {
            project().run("crashes at start").fails_with(&[
                "the subject ended before it had drained: exit status 3",
                "table `rows` has no key attribute `id`",
            ])
        }),
        Trial::test("a_pipeline_that_does_not_stop_in_good_order_fails", || {
            project().run("fails to stop").fails_with(&[
                "the subject was asked to stop (SIGTERM) and ended with exit status 3, not 0",
                "cannot leave the group",
            ])
        }),
        Trial::test("an_expected_failure_has_to_be_said", || {
            let project = project().without_snapshots();
            project.write(CASE, "messages.ndjson", "one\npoison\n");
            project.case("expect_failure = 'it is poison'").run("").passes()?;
            let in_three = self::project().without_snapshots().under("partitions-3");
            in_three.write(CASE, "messages.ndjson", "one\npoison\n");
            in_three.case("expect_failure = 'it is poison'").run("").passes()?;
            project.case("expect_failure = 'it is fine'").run("").fails_with(&[
                "expected the subject to fail and to say `it is fine`, but it ended without that: exit status 3",
                "cannot store offset 1: it is poison",
            ])
        }),
        Trial::test("a_pipeline_that_goes_on_has_not_failed_whatever_it_says", || {
            let project = project().without_snapshots();
            project.case("expect_failure = 'INFO'").run("says INFO").fails_with(&[
                "expected the subject to fail and to say `INFO`, but it said that and went on: it has drained all the same",
            ])?;
            project.case("expect_failure = 'waiting for something'").run("never drains").passes()
        }),
        Trial::test("a_session_that_has_not_timed_out_is_named_as_the_cause", || {
            let project = project().timeout("3s").under("killed:s3.PutObject:1");
            let suite = fs::read_to_string(project.root.path().join("fixtures/suite.toml"))?;
            project.write(
                "fixtures",
                "suite.toml",
                &suite.replace("SESSION_TIMEOUT_MS = '2000'", "SESSION_TIMEOUT_MS = '30000'"),
            );
            project.run("").fails_with(&["until its session has timed out", "set a short one in `env_when_restarted`"])
        }),
        Trial::test("a_first_subject_that_never_drains_is_not_waiting_for_a_session", || {
            for schedule in ["killed:s3.PutObject:9", "restarted"] {
                let verdict = project().timeout("1s").under(schedule).run("never drains");
                let text = verdict.text();
                verdict.fails_with(&["not drained after 1.0 s"])?;
                if text.contains("until its session has timed out") {
                    return Err(format!("no subject was killed, so no session is awaited:\n{text}").into());
                }
            }
            Ok(())
        }),
        Trial::test("the_report_names_the_pipeline_and_the_schedule", || {
            let project = project().under("restarted");
            project.run("").passes()?;
            let report = fs::read_to_string(project.root.path().join("target/e2e/report.html"))?;
            contains(
                &report,
                &["<dt>Pipeline<dd>the copying pipeline", "<dt>Schedule<dd>restarted: the pipeline is stopped"],
            )
        }),
        Trial::test("nothing_observed_is_a_failure_unless_it_is_the_point", || {
            let blind = project().without_snapshots();
            blind.run("drops everything").fails_with(&["nothing was observed"])?;
            let nothing = "expect_nothing = true\nwhy = 'it is not wanted'";
            blind.case(nothing).run("drops everything").passes()?;
            blind
                .case(nothing)
                .run("")
                .fails_with(&["expected nothing (it is not wanted), but observed:", "==== table__rows"])
        }),
        Trial::test("a_snapshot_that_nothing_produces_any_more_is_a_failure", || {
            let project = project();
            project.write(SNAPSHOTS, "table__gone.snap", "---\nsource: here\n---\nrow\n");
            project.run("").fails_with(&["snapshots/table__gone.snap: nothing of this was observed"])
        }),
        Trial::test("a_new_case_is_pending_until_it_is_reviewed", || {
            let project = project().without_snapshots();
            project.run("").fails_with(&[
                "3 snapshots differ",
                "snapshots/table__rows.snap: new, 3 items\n  + {\"id\":\"one\",\"length\":3}",
            ])?;
            for (name, _) in EXPECTED {
                let snapshots = project.root.path().join(SNAPSHOTS);
                fs::rename(snapshots.join(format!("{name}.snap.new")), snapshots.join(format!("{name}.snap")))?;
            }
            project.run("").passes()
        }),
        Trial::test("a_failed_run_leaves_evidence_and_a_passing_one_removes_it", || {
            let project = project();
            project.run("drops a row").fails_with(&["everything about this run: "])?;
            for (file, text) in [
                ("verdict.txt", "words::three"),
                ("calls.txt", "s3 PutObject raw/rows/0000000002.json (6 bytes): 200 after"),
                ("offsets.txt", "copy in-0: committed 3, end 3"),
                ("observed.txt", "==== table__rows\n{\"id\":\"one\",\"length\":3}"),
                ("diff.txt", "  - two"),
                ("worker.log", "-- SIGTERM"),
            ] {
                let content =
                    fs::read_to_string(project.evidence().join(file)).map_err(|error| format!("{file}: {error}"))?;
                contains(&content, &[text])?;
            }
            project.run("").passes()?;
            if project.evidence().exists() {
                Err("the evidence of the earlier run is still there".into())
            } else {
                Ok(())
            }
        }),
        Trial::test("a_test_that_is_ended_for_its_time_leaves_evidence", ended_for_its_time),
        Trial::test("a_test_whose_standard_error_is_gone_is_ended_all_the_same", ended_without_standard_error),
        Trial::test("a_typo_in_a_fixture_is_one_clear_error", || {
            project()
                .case("timeot = '1s'")
                .run("")
                .fails_with(&["case.toml:1: unknown field `timeot`", "did you mean `timeout`?"])
        }),
        Trial::test("a_project_without_cases_does_not_pass", || {
            let project = project();
            fs::remove_dir_all(project.root.path().join("fixtures/words"))?;
            project.run("").fails_with(&["no case found"])
        }),
        Trial::test("tests_are_listed_by_name_without_reading_them", || {
            let project = project();
            project.case("not toml").output(&["--list", "--format", "terse"], "").prints("words::three: test\n")?;
            project.output(&["--list", "--format", "terse", "--ignored"], "").prints("")?;
            project.output(&["--list", "--format", "terse", "--exact", "words::thre"], "").prints("")
        }),
    ]
}

/// nextest ends a test that takes too long with SIGTERM, so the test has to write its evidence upon SIGTERM.
fn ended_for_its_time() -> Result<(), Failed> {
    let project = project().timeout("60s");
    let waiting = project.root.path().join("waiting");
    let listener = UnixListener::bind(&waiting)?;
    let child =
        project.command(&[], "never drains").env("TELL_WHEN_WAITING", &waiting).stderr(Stdio::piped()).spawn()?;
    listener.accept()?;
    Command::new("kill").arg(child.id().to_string()).status()?;
    let output = child.wait_with_output()?;
    contains(
        &String::from_utf8_lossy(&output.stderr),
        &["words::three: ended by SIGTERM after", "while waiting until it has drained", "everything about this run: "],
    )?;
    let offsets = fs::read_to_string(project.evidence().join("offsets.txt"))?;
    contains(&offsets, &["copy in-0: committed 1, end 3"])?;
    if output.status.code() == Some(143) { Ok(()) } else { Err(format!("ended with {}", output.status).into()) }
}

/// When the signal comes, nobody may be reading standard error any more, as after `cargo nextest run | head`.
fn ended_without_standard_error() -> Result<(), Failed> {
    let project = project().timeout("60s");
    let waiting = project.root.path().join("waiting");
    let listener = UnixListener::bind(&waiting)?;
    let mut command = project.command(&[], "never drains");
    let mut child = command.env("TELL_WHEN_WAITING", &waiting).stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    listener.accept()?;
    drop(child.stderr.take());
    Command::new("kill").arg(child.id().to_string()).status()?;
    let status = child.wait()?;
    if status.code() == Some(143) { Ok(()) } else { Err(format!("ended with {status}").into()) }
}

const CASE: &str = "fixtures/words/three";
const SNAPSHOTS: &str = "fixtures/words/three/snapshots";

/// The snapshots of what a correct pipeline stores.
const EXPECTED: [(&str, &str); 3] = [
    ("table__rows", "{\"id\":\"one\",\"length\":3}\n{\"id\":\"three\",\"length\":5}\n{\"id\":\"two\",\"length\":3}"),
    ("s3__raw__rows", "one\ntwo\nthree"),
    (
        "objects",
        "raw/rows/0000000000.json: 1 row, 4 bytes uncompressed\nraw/rows/0000000001.json: 1 row, 4 bytes uncompressed\nraw/rows/0000000002.json: 1 row, 6 bytes uncompressed",
    ),
];

/// A small project in a temporary folder, with one case of three messages.
struct Project {
    root: TempDir,
    schedule: Option<&'static str>,
}

fn project() -> Project {
    let project = Project { root: tempfile::tempdir().expect("a temporary folder"), schedule: None }.timeout("20s");
    project.write(CASE, "messages.ndjson", "one\ntwo\nthree\n");
    for (name, text) in EXPECTED {
        project.write(SNAPSHOTS, &format!("{name}.snap"), &format!("---\nsource: here\n---\n{text}\n"));
    }
    project
}

impl Project {
    fn write(&self, folder: &str, name: &str, text: &str) {
        let folder = self.root.path().join(folder);
        fs::create_dir_all(&folder).expect("a folder in the temporary folder");
        fs::write(folder.join(name), text).expect("a file in the temporary folder");
    }

    /// Turns a folder into a case with only the first message, and with the matching snapshots.
    fn one_message(&self, case: &str) {
        self.write(case, "messages.ndjson", "one\n");
        for (name, text) in EXPECTED {
            let first = text.lines().next().unwrap_or_default();
            self.write(
                &format!("{case}/snapshots"),
                &format!("{name}.snap"),
                &format!("---\nsource: here\n---\n{first}\n"),
            );
        }
    }

    fn timeout(self, timeout: &str) -> Self {
        let suite = format!(
            "topic = 'in'\ngroups = ['copy']\nbuckets = ['raw']\ntimeout = '{timeout}'\n\
             env = {{ SESSION_TIMEOUT_MS = '30000' }}\nenv_when_restarted = {{ SESSION_TIMEOUT_MS = '2000' }}\n\
             [topics]\nin = 1\n[tables.rows]\npartition_key = 'id'\n"
        );
        self.write("fixtures", "suite.toml", &suite);
        self
    }

    /// Gives the pipeline a variable.
    fn variable(self, name: &str, value: &str) -> Self {
        self.write("fixtures/words", "protocol.toml", &format!("env = {{ {name} = '{value}' }}\n"));
        self
    }

    fn under(mut self, schedule: &'static str) -> Self {
        self.schedule = Some(schedule);
        self
    }

    fn without_snapshots(self) -> Self {
        fs::remove_dir_all(self.root.path().join(SNAPSHOTS)).expect("there are snapshots");
        self
    }

    fn case(&self, text: &str) -> &Self {
        self.write(CASE, "case.toml", text);
        self
    }

    fn evidence(&self) -> PathBuf {
        self.root.path().join("target/e2e/words/three")
    }

    /// Runs the runner over the project, whose pipeline has this defect.
    fn runner(&self, defect: &str, arguments: &[&str]) -> Verdict {
        let this = std::env::current_exe().expect("this executable has a path");
        let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
        without_variables(&mut command);
        command.args(arguments).arg("--root").arg(self.root.path());
        let subject = format!("env {ROLE}=pipeline DEFECT='{defect}' '{}'", this.display());
        command.args(["--subject", &subject]);
        Verdict::of(&mut command)
    }

    /// The project's test target, without any variable of the outer test run in its environment.
    fn command(&self, arguments: &[&str], defect: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this executable has a path"));
        without_variables(&mut command);
        command.args(arguments).env(ROLE, "project").env(ROOT, self.root.path()).env("DEFECT", defect);
        if let Some(schedule) = self.schedule {
            command.env("E2E_SCHEDULE", schedule);
        }
        command
    }

    fn output(&self, arguments: &[&str], defect: &str) -> Verdict {
        Verdict::of(&mut self.command(arguments, defect))
    }

    fn run(&self, defect: &str) -> Verdict {
        self.output(&[], defect)
    }
}

/// Takes the variables of the outer test run out of the environment of a command.
fn without_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("INSTA_")
            || name.starts_with("E2E_")
            || name.starts_with("NEXTEST")
            || ["CI", "TF_BUILD", "CARGO_TARGET_DIR"].contains(&name.as_str())
        {
            command.env_remove(name);
        }
    }
}

/// How the project's test target ended, and what it printed.
struct Verdict {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Verdict {
    fn of(command: &mut Command) -> Self {
        let output = command.output().expect("this executable can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    fn passes(self) -> Result<(), Failed> {
        if self.success {
            contains(&self.stdout, &["1 passed"])
        } else {
            Err(format!("should pass:\n{}", self.text()).into())
        }
    }

    fn passes_with(self, texts: &[&str]) -> Result<(), Failed> {
        if self.success { contains(&self.text(), texts) } else { Err(format!("should pass:\n{}", self.text()).into()) }
    }

    fn fails_with(self, texts: &[&str]) -> Result<(), Failed> {
        if self.success { Err(format!("should fail:\n{}", self.text()).into()) } else { contains(&self.text(), texts) }
    }

    fn prints(self, text: &str) -> Result<(), Failed> {
        if self.success && self.stdout == text {
            Ok(())
        } else {
            Err(format!("should print {text:?}:\n{}", self.text()).into())
        }
    }
}

fn contains(text: &str, wanted: &[&str]) -> Result<(), Failed> {
    match wanted.iter().find(|wanted| !text.contains(**wanted)) {
        Some(missing) => Err(format!("should say\n{missing}\nbut says\n{text}").into()),
        None => Ok(()),
    }
}
