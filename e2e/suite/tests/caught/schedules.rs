//! Each schedule passes an honest pipeline, and finds the mistake that it is for, which no undisturbed run shows.

use libtest_mimic::{Failed, Trial};

use super::{CASE, Project, Verdict, project};

#[expect(clippy::too_many_lines, reason = "this is a list with one schedule after the other")]
pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("another_order_finds_a_pipeline_that_drops_what_comes_late", || {
            found("reordered", "drops late records", with_keys, &["1 row missing"])
        }),
        Trial::test("message_by_message_finds_a_pipeline_that_waits_for_more", || {
            let waits = |project: Project| project.timeout("2s");
            found("one-by-one", "writes in threes", waits, &["not drained after 2.0 s", "1 record behind"])
        }),
        Trial::test("a_restart_after_any_message_finds_a_pipeline_that_commits_too_far", || {
            found("restarted:1", "commits too far", |project| project, &["1 row missing\n  - two"])
        }),
        Trial::test("more_partitions_find_a_pipeline_that_names_objects_by_the_offset_alone", || {
            with_keys(project()).run("").passes()?;
            with_keys(project())
                .under("partitions-7")
                .run("")
                .fails_with(&["snapshots/s3__raw__rows.snap: ", "missing"])
        }),
        Trial::test("calls_that_are_denied_find_a_pipeline_that_drops_what_fails", || {
            found("denied", "drops what fails", |project| project, &["nothing was observed"])
        }),
        Trial::test("calls_that_fail_or_take_longer_change_nothing", || {
            project().under("flaky").run("").passes()?;
            project().under("slow").run("").passes()
        }),
        Trial::test("calls_that_fail_find_a_pipeline_that_does_not_try_again", || {
            let once = |project: Project| project.variable("AWS_MAX_ATTEMPTS", "1");
            once(project()).run("drops what fails").passes()?;
            once(project()).under("flaky").run("drops what fails").fails_with(&["1 item missing\n  - {\"id\":\"one\""])
        }),
        Trial::test("a_crash_at_an_offset_commit_changes_nothing", || {
            for point in ["killed:kafka.OffsetCommit:1", "killed:kafka.OffsetCommit:3:after"] {
                project().under(point).run("").passes().map_err(|error| format!("{point}: {error:?}"))?;
            }
            Ok(())
        }),
        Trial::test("a_crash_after_an_offset_commit_finds_a_pipeline_that_commits_before_it_stores", || {
            let crashed = project().under("killed:kafka.OffsetCommit:2:after");
            crashed.run("commits early").fails_with(&["s3__raw__rows.snap: 1 row missing\n  - two"])
        }),
        Trial::test("a_request_that_no_broker_holds_is_named", || {
            for point in ["killed:kafka.Fetch:1", "killed:kafka.OffsetCommit:1@in"] {
                project().under(point).run("").fails_with(&[
                    "disturbed nothing: of the requests to Kafka, Produce and OffsetCommit can be held",
                ])?;
            }
            project()
                .under("killed:kafka.OffsetCommit:9")
                .run("")
                .fails_with(&["fewer than 9 kafka.OffsetCommit calls", "3 kafka.OffsetCommit"])
        }),
        Trial::test("a_schedule_that_comes_to_nothing_says_why", || {
            for (schedule, why) in [
                ("reordered", "no partition has messages of two keys"),
                ("partitions-1", "the topics of the case have 1 partition anyway"),
                ("restarted:3", "the case has 3 messages, so nothing was left"),
            ] {
                project().under(schedule).run("").fails_with(&[&format!("disturbed nothing: {why}")])?;
            }
            let single = project();
            single.one_message(CASE);
            single.under("one-by-one").run("").fails_with(&["disturbed nothing: the case has fewer than two messages"])
        }),
        Trial::test("a_case_that_is_in_order_is_sent_message_by_message_under_every_schedule", || {
            let in_order = |timeout| {
                let project = project().timeout(timeout);
                project.write(CASE, "case.toml", "in_order = 'Rows depend on it.'\n");
                project
            };
            in_order("20s").run("").passes()?;
            in_order("2s").run("writes in threes").fails_with(&["not drained after 2.0 s", "1 record behind"])?;
            in_order("20s").under("one-by-one").run("").fails_with(&["disturbed nothing: the case says `in_order`"])
        }),
        Trial::test("a_clock_that_jumps_finds_a_pipeline_that_drops_rows_by_the_time", || {
            found("clock", "gives up after an hour", |project| project, &["1 row missing\n  - two"])
        }),
        Trial::test("a_pipeline_that_ends_without_memory_is_started_again_and_one_that_drops_rows_is_found", || {
            project().under("memory").run("grows").passes()?;
            let defect = "drops what does not fit";
            project().run(defect).passes()?;
            project().under("memory").run(defect).fails_with(&["1 row missing\n  - two"])
        }),
        Trial::test("a_broker_that_goes_away_finds_a_pipeline_that_ends_without_it", || {
            found(
                "broker-down",
                "ends without a broker",
                |project| project,
                &["the subject ended before it had drained"],
            )
        }),
        Trial::test("commits_without_an_answer_find_a_pipeline_that_does_not_go_on", || {
            let behind = ["not drained after 5.0 s", "committed up to 1 of 3, 2 records behind"];
            found("commit-lost", "reconnects too late", |project| project.timeout("5s"), &behind)
        }),
        Trial::test("other_leaders_find_a_pipeline_that_trusts_the_first_ones", || {
            found(
                "leader-change",
                "trusts its leaders",
                |project| project,
                &["the partition had leader 1 and has leader 2"],
            )
        }),
        Trial::test("a_second_process_finds_a_pipeline_of_which_only_one_runs", || {
            let says = ["second-worker: another process runs already"];
            found("takeover", "runs alone", with_two_partitions, &says)
        }),
        Trial::test("a_second_process_that_gets_nothing_before_the_first_one_leaves_has_not_taken_over", || {
            let why = ["disturbed nothing: there is no sign that the second process was given partitions"];
            with_two_partitions(project()).under("takeover").run("waits for its turn").fails_with(&why)
        }),
        Trial::test("a_process_that_is_frozen_finds_a_pipeline_that_overwrites_newer_items", a_stale_item),
        Trial::test("commits_that_are_taken_back_are_found_though_higher_ones_follow", || {
            let lower = ["committed lower offsets than before", "in-0 is committed up to 1, and was up to 2"];
            project().under("one-by-one").run("takes a commit back").fails_with(&lower)
        }),
        Trial::test("a_batch_that_is_torn_finds_a_pipeline_that_trusts_its_first_item", a_torn_batch),
        Trial::test("a_variant_finds_a_pipeline_that_is_wrong_with_other_settings", || {
            let with_variants = |project: Project| {
                let suite = std::fs::read_to_string(project.root.path().join("fixtures/suite.toml"))?;
                let variants = "[variants.lossy.env]\nDEFECT = 'drops a row'\n[variants.same.env]\nDEFECT = ''\n";
                project.write("fixtures", "suite.toml", &(suite + variants));
                Ok::<_, Failed>(project)
            };
            with_variants(project())?.run("").passes()?;
            with_variants(project())?.under("variant:same").run("drops a row").passes()?;
            with_variants(project())?.under("variant:lossy").run("").fails_with(&["1 row missing\n  - two"])?;
            with_variants(project())?
                .under("variant:loss")
                .run("")
                .fails_with(&["case.toml: the schedule variant:loss needs [variants.loss]", "did you mean `lossy`?"])
        }),
        Trial::test("several_schedules_make_several_tests_of_a_case", several_schedules),
    ]
}

/// A pipeline with this defect passes undisturbed and fails under the schedule, under which an honest one passes.
fn found(
    schedule: &'static str,
    defect: &str,
    prepare: impl Fn(Project) -> Project,
    texts: &[&str],
) -> Result<(), Failed> {
    prepare(project()).run(defect).passes().map_err(|error| format!("undisturbed: {error:?}"))?;
    prepare(project()).under(schedule).run("").passes().map_err(|error| format!("honest: {error:?}"))?;
    prepare(project()).under(schedule).run(defect).fails_with(texts)
}

/// Gives the topic a partition for each of two processes. The messages are in the first one.
fn with_two_partitions(project: Project) -> Project {
    let suite = std::fs::read_to_string(project.root.path().join("fixtures/suite.toml")).expect("it was written");
    project.write("fixtures", "suite.toml", &suite.replace("in = 1", "in = 2"));
    project
}

/// Gives each message a key of its own.
fn with_keys(project: Project) -> Project {
    let lines = ["one", "two", "three"].map(|text| format!(r#"{{"$record": {{"key": "{text}", "value": "{text}"}}}}"#));
    project.write(CASE, "messages.ndjson", &(lines.join("\n") + "\n"));
    project
}

/// A process that is woken after another one has taken over stores an old value, unless it looks at what is there.
fn a_stale_item() -> Result<(), Failed> {
    let project = || {
        let project = project().variable("ITEMS", "newest");
        project.write(CASE, "messages.ndjson", "one\none\nthree\n");
        project
    };
    let undisturbed = project().without_snapshots();
    undisturbed.accepts().passes()?;
    undisturbed.has("table__rows", "{\"id\":\"one\",\"newest\":1}\n{\"id\":\"three\",\"newest\":2}")?;
    let under = |schedule| {
        let project = project();
        for (name, _) in super::EXPECTED {
            std::fs::copy(undisturbed.snapshot(name), project.snapshot(name))?;
        }
        Ok::<_, Failed>(project.under(schedule))
    };
    for defect in ["", "overwrites newer items"] {
        under("killed:s3.PutObject:1:after")?.run(defect).passes().map_err(|error| format!("killed: {error:?}"))?;
    }
    under("frozen")?.run("").passes()?;
    under("frozen")?.run("overwrites newer items").fails_with(&[
        "process was woken when another one had taken over, and changed what was stored by then:",
        "- table__rows: {\"id\":\"one\",\"newest\":1}",
        "+ table__rows: {\"id\":\"one\",\"newest\":0}",
    ])
}

/// A batch of which the service has done a half is found only by a crash in its middle.
fn a_torn_batch() -> Result<(), Failed> {
    let project = || project().variable("BATCH", "3");
    let defect = "trusts the first item";
    for schedule in ["plain", "killed:dynamodb.BatchWriteItem:1", "killed:dynamodb.BatchWriteItem:1:after"] {
        project().under(schedule).run(defect).passes().map_err(|error| format!("{schedule}: {error:?}"))?;
    }
    let torn = "killed:dynamodb.BatchWriteItem:1:torn";
    project().under(torn).run("").passes()?;
    project().under(torn).run(defect).fails_with(&["table__rows.snap: 2 items missing"])
}

fn several_schedules() -> Result<(), Failed> {
    let list = ["--list", "--format", "terse"];
    let two = "words::three::twice: test\nwords::three::restarted:1: test\n";
    project().under("twice,restarted:1").output(&list, "").prints(two)?;
    let project = project();
    let listed = Verdict::of(project.command(&list, "").env("NEXTEST_PROFILE", "sweep")).text();
    for name in ["words::three::plain: test", "words::three::one-by-one: test", "words::three::partitions-7: test"] {
        if !listed.contains(name) {
            return Err(format!("{name} is not among\n{listed}").into());
        }
    }
    let project = project.under("plain,restarted:1");
    project.output(&["--exact", "words::three::restarted:1"], "commits too far").fails_with(&[
        "1 row missing\n  - two",
        "run it again: E2E_SCHEDULE='restarted:1' cargo test -- --exact words::three",
    ])?;
    project.output(&["--exact", "words::three::plain"], "commits too far").passes()
}
