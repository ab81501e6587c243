//! What the runner makes of crashes: two in one run, a sweep of all of them, workloads that it generates, and a failing case
//! that it makes smaller.

use libtest_mimic::Trial;

use super::{CASE, project};

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
                " of them in the state of another run), 0 never hit\n",
                ", 0 failed, ",
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
            // The seed chooses a point at which the defect shows. In full, this sweep has more than a hundred points.
            let deep = ["--sweep", "--depth", "2", "--sample", "10", "--seed", "4"];
            project().runner(defect, &deep).fails_with(&[
                " under killed:s3.PutObject:1:after@raw/rows/+dynamodb.PutItem:2",
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
    ]
}
