//! A pipeline of several processes: each test is a project whose case names a further process.

use libtest_mimic::{Failed, Trial};

use super::{Project, project};

/// The queue has to be empty before a run has drained.
const DRAINED: &str = "drained_queues = ['events']";

/// The process that reads the queue, and what it stores.
const LOADER: &str = "[[subjects]]\nname = 'loader'\nargs = ['load']\n[tables.loaded]\npartition_key = 'id'\n";

/// A process that only waits until it is asked to stop, and then exits with this status.
fn idle(status: u8) -> String {
    format!("command = '''sh -c 'trap \"exit {status}\" TERM; while :; do sleep 0.02; done' '''")
}

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("every_process_is_started_and_stopped_in_good_order", || {
            project().beside(&idle(0)).run("").passes()?;
            project().beside(&idle(7)).run("").fails_with(&[
                "the subject was asked to stop (SIGTERM) and loader: ended with exit status 7, not 0",
                "-- SIGTERM to loader",
            ])
        }),
        Trial::test("a_process_that_ends_too_early_is_named", || {
            let project = project();
            project.beside("command = '''sh -c 'echo no such queue; exit 3' '''").run("").fails_with(&[
                "loader: ",
                "exit status 3",
                "loader: no such queue",
            ])
        }),
        Trial::test("a_run_has_drained_when_its_queue_is_empty_as_well", with_a_loader),
        Trial::test("a_queue_that_nobody_reads_is_not_drained", || {
            project().timeout("1s").with_events(DRAINED, "").run("").fails_with(&[
                "not drained after 1.0 s",
                "queue `events` is not empty: 4 visible, 0 received and not deleted, 0 delayed",
            ])
        }),
        Trial::test("what_is_left_in_a_queue_is_observed", || {
            // Each event has a time and an id of its own.
            let redactions = ["$.messages[*].Records", "$.messages[*].Time"];
            project().with_events("", "").accepts().fails_with(&redactions)?;
            let project = project().with_events(&format!("redact = {redactions:?}"), "");
            project.accepts().passes()?;
            let test = r#"{"Bucket":"raw","Event":"s3:TestEvent","HostId":"embedded","RequestId":"0000000000000000","Service":"Amazon S3","Time":"[redacted]"}"#;
            let event = r#"{"Records":"[redacted]"}"#;
            project.has("queue__events", &[test, event, event, event].join("\n"))
        }),
        Trial::test("processes_that_cannot_be_told_apart_are_refused", || {
            project()
                .beside("args = []")
                .run("")
                .fails_with(&["case.toml", "the subject `loader` has neither `args` nor `command`"])
        }),
    ]
}

impl Project {
    /// Gives the case a further process with the name `loader`.
    fn beside(self, process: &str) -> Self {
        self.case(&format!("[[subjects]]\nname = 'loader'\n{process}\n"));
        self
    }

    /// Lets S3 tell a queue of each new object. The case begins with `keys` and ends with `tables`.
    fn with_events(self, keys: &str, tables: &str) -> Self {
        self.case(&format!(
            "{keys}\n[queues.events]\nvisibility_timeout = 1\n\
             [[notifications]]\nbucket = 'raw'\nqueue = 'events'\nprefix = 'rows/'\n{tables}"
        ));
        self
    }
}

/// The loader stores what it is told of, whatever happens to it or to the other process on the way. The process that makes
/// a call is killed at it: if it were the other one, the call would never be answered, and the queue never be empty.
fn with_a_loader() -> Result<(), Failed> {
    let project = || project().with_events(DRAINED, LOADER);
    let undisturbed = project();
    undisturbed.accepts().passes()?;
    let loaded = ["0000000000", "0000000001", "0000000002"].map(|name| format!("{{\"id\":\"rows/{name}.json\"}}"));
    undisturbed.has("table__loaded", &loaded.join("\n"))?;
    for schedule in [
        "killed:s3.PutObject:2",
        "killed:sqs.DeleteMessage:2",
        "killed:sqs.DeleteMessage:3:after",
        "killed:sqs.ReceiveMessage:2:after",
    ] {
        let disturbed = project();
        std::fs::copy(undisturbed.snapshot("table__loaded"), disturbed.snapshot("table__loaded"))?;
        disturbed.under(schedule).run("").passes().map_err(|error| format!("{schedule}: {error:?}"))?;
    }
    Ok(())
}
