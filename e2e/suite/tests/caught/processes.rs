//! A pipeline of several processes: each test is a project whose case names a further process.

use libtest_mimic::{Failed, Trial};

use super::{Project, project};

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
        Trial::test("the_process_that_makes_a_call_is_the_one_that_is_killed_at_it", two_consumers),
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
}

/// Both processes consume one topic of one partition, so one of them makes all calls; the group decides which one.
fn two_consumers() -> Result<(), Failed> {
    for schedule in ["killed:s3.PutObject:2", "killed:s3.PutObject:2:after"] {
        project().beside("args = ['the same once more']").under(schedule).run("").passes()?;
    }
    Ok(())
}
