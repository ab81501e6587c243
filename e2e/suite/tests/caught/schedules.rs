//! Each schedule passes an honest pipeline, and finds the mistake that it is for, which no undisturbed run shows.

use libtest_mimic::{Failed, Trial};

use super::{CASE, Project, Verdict, project};

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
                project().under(point).run("").fails_with(&["disturbed nothing: the embedded broker can hold"])?;
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
                project.write(CASE, "case.toml", "in_order = true\n");
                project
            };
            in_order("20s").run("").passes()?;
            in_order("2s").run("writes in threes").fails_with(&["not drained after 2.0 s", "1 record behind"])?;
            in_order("20s").under("one-by-one").run("").fails_with(&["disturbed nothing: the case says `in_order`"])
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

/// Gives each message a key of its own.
fn with_keys(project: Project) -> Project {
    let lines = ["one", "two", "three"].map(|text| format!(r#"{{"$record": {{"key": "{text}", "value": "{text}"}}}}"#));
    project.write(CASE, "messages.ndjson", &(lines.join("\n") + "\n"));
    project
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
