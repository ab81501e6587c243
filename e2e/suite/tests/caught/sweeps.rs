//! What the runner makes of crashes: two in one run, a sweep of all of them, workloads that it generates, and a failing case
//! that it makes smaller or repeats.

use std::process::Command;

use libtest_mimic::Trial;

use super::{CASE, ROLE, Verdict, project, without_variables};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("a_second_crash_during_the_recovery_changes_nothing", || {
            for point in
                ["killed:s3.PutObject:2:after+dynamodb.PutItem:1", "killed:s3.PutObject:1+kafka.OffsetCommit:1"]
            {
                project().under(point).run("").passes().map_err(|error| format!("{point}: {error:?}"))?;
            }
            Ok(())
        }),
        Trial::test("a_second_crash_that_does_not_come_is_told_apart", || {
            project().under("killed:s3.PutObject:2+s3.PutObject:9").run("").fails_with(&[
                "disturbed nothing: the subject made fewer than 9 s3.PutObject calls after it was started again, but",
            ])
        }),
        Trial::test("a_sweep_goes_on_from_each_state_once", || {
            project().runner("", &["--sweep"]).passes_with(&[
                "crash points, all of them chosen: ",
                " not run, for they leave the state of another run, ",
                ", 0 never hit\n",
                ", 0 failed, ",
            ])?;
            project().runner("", &["--sweep", "--json"]).passes_with(&[
                "\"sweep\":{\"crashes\":[{\"",
                "\"never_hit\":[]",
                "\"seed\":null",
            ])
        }),
        Trial::test("a_failure_tells_the_calls_around_the_kill", || {
            project().under("killed:s3.PutObject:2:after").run("drops a row").fails_with(&[
                "the calls around the moment at which the pipeline was killed at s3.PutObject:2:after, and started again:\n",
                "s3.PutObject:2 raw/rows/",
                "---- here\n",
                "requests to Kafka: kafka.OffsetCommit:1",
            ])
        }),
        Trial::test("a_sweep_with_a_depth_of_two_kills_what_was_started_again", || {
            project().runner("", &["--sweep", "--depth", "2", "--sample", "3", "--seed", "1"]).passes_with(&[
                "crash points, 3 of them chosen by --sample 3 --seed 1: ",
                "crash points for crash 2, 3 of them chosen by --sample 3 --seed 1: ",
            ])
        }),
        Trial::test("a_defect_that_two_crashes_show_is_found_with_a_depth_of_two_alone", || {
            let defect = "commits early after a crash";
            project().runner(defect, &["--sweep"]).passes_with(&[", 0 failed, "])?;
            // The seed chooses points at which the defect shows, of which some leave the state of others. In full, this sweep has
            // more than a hundred points.
            let deep = ["--sweep", "--depth", "2", "--sample", "10", "--seed", "4"];
            project().runner(defect, &deep).fails_with(&[
                "✗ words::three under killed:",
                "1 row missing",
                "crash points for crash 2, 10 of them chosen by --sample 10 --seed 4: 10 hit (",
            ])
        }),
        Trial::test("a_generated_workload_finds_a_defect_and_names_the_command_that_repeats_it", || {
            let generated = || {
                let project = project();
                project.write("fixtures/generate", "messages.toml", "long = 'a long ${n}'\nshort = '${n}'\n");
                project.write("fixtures/generate", "protocol.toml", "");
                project
            };
            let arguments = ["--generate", "2", "--schedule", "restarted:1"];
            generated().runner("", &arguments).passes_with(&["✓ generated::long_short under restarted:1"])?;
            generated().runner("commits too far", &arguments).fails_with(&[
                "✗ generated::long_short under restarted:1",
                "generated::long_short --generate 2 --schedule 'restarted:1'",
            ])
        }),
        Trial::test("a_failing_case_is_shrunk_to_the_messages_that_it_needs", || {
            let arguments = ["shrink", "words::three", "--schedule", "restarted:1"];
            let five = project();
            five.write(CASE, "messages.ndjson", "one\ntwo\nthree\nfour\nfive\n");
            // With the first two alone, this pipeline does not wait for the second one, also undisturbed.
            five.runner("commits too far", &arguments).passes_with(&[
                "words::three fails under restarted:1 with 3 of its 5 messages: 1, 2, 3\n",
                "1 row missing",
                "target/e2e/shrunk/fixtures/words/three\n",
            ])?;
            project().runner("", &arguments).fails_with(&["words::three does not fail under restarted:1"])
        }),
        Trial::test("a_run_that_fails_is_shrunk_at_once_and_says_how_to_keep_it", || {
            let five = project();
            five.write(CASE, "messages.ndjson", "one\ntwo\nthree\nfour\nfive\n");
            five.runner("commits too far", &["--schedule", "restarted:1", "--shrink"]).fails_with(&[
                " shrink words::three --schedule restarted:1 --subject '",
                "add this to fixtures/seeds.toml:\n[[run]]\narguments = [\"words::three\", \"--schedule\", \"restarted:1\", ",
                "words::three fails under restarted:1 with 3 of its 5 messages: 1, 2, 3\n",
            ])
        }),
        Trial::test("runs_that_are_kept_are_repeated", || {
            seeds(&[""], "embedded")?.passes_with(&[
                "== words::three --schedule restarted:1 --subject",
                "   It was wrong.\n",
                "1 of 1 kept runs are for the stack embedded: 1 passed, 0 failed",
            ])?;
            seeds(&["", "commits too far"], "embedded")?.fails_with(&[
                "2 of 2 kept runs are for the stack embedded: 1 passed, 1 failed",
                " words::three --schedule restarted:1 --subject 'env ",
            ])?;
            seeds(&["commits too far"], "external")?
                .passes_with(&["0 of 1 kept runs are for the stack external: 0 passed, 0 failed"])
        }),
    ]
}

/// Repeats a run with each of these defects, which is kept in a project, if they are for this stack.
fn seeds(defects: &[&str], stack: &str) -> Result<Verdict, std::io::Error> {
    let this = std::env::current_exe()?;
    let run = |defect: &&str| {
        let subject = format!("env {ROLE}=pipeline DEFECT='{defect}' '{}'", this.display());
        format!(
            "[[run]]\nwhy = 'It was wrong.'\narguments = ['words::three', '--schedule', 'restarted:1', '--subject', {subject:?}]\n"
        )
    };
    let project = project();
    project.write("fixtures", "seeds.toml", &defects.iter().map(run).collect::<String>());
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e"));
    without_variables(&mut command);
    Ok(Verdict::of(command.args(["seeds", "--stack", stack, "--root"]).arg(project.root.path())))
}
