//! The count ledger names the message whose row a pipeline loses or stores once more.

use std::fs;

use libtest_mimic::{Failed, Trial};

use super::{CASE, Project, Verdict, contains, project};

const LEDGER: &str =
    "[ledger.accounts.db]\ntables = ['rows']\nrepeats = 'merged'\n[ledger.accounts.s3]\nobjects = ['raw/rows/']\n";

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("an_honest_pipeline_balances_under_every_schedule", honest),
        Trial::test("a_row_that_is_lost_is_named_by_its_message_before_the_snapshots", lost),
        Trial::test("a_row_that_is_stored_once_more_is_named_by_its_message", once_more),
        Trial::test("a_loss_that_somebody_accepted_as_a_snapshot_is_a_difference_all_the_same", accepted),
        Trial::test("an_exception_needs_a_reason_and_a_difference", exceptions),
    ]
}

fn with_ledger() -> Project {
    let project = project();
    project.write("fixtures/words", "protocol.toml", LEDGER);
    project
}

fn honest() -> Result<(), Failed> {
    for schedule in ["plain", "twice", "restarted", "throttled", "killed:s3.PutObject:2:after"] {
        with_ledger().under(schedule).run("").passes()?;
    }
    Ok(())
}

fn lost() -> Result<(), Failed> {
    let missing = "- missing: topic in, partition 0, offset 1, the whole message: two";
    let verdict = with_ledger().run("drops a row");
    let text = verdict.text();
    verdict.fails_with(&[
        "while counting the rows: the count ledger does not balance",
        &format!("db has to account for 3 rows and has 2 rows in rows, 1 row missing\n    {missing}"),
        &format!("s3 has to account for 3 rows and has 2 rows in raw/rows/, 1 row missing\n    {missing}"),
        "snapshots/table__rows.snap: 1 item missing",
    ])?;
    if text.find("count ledger") > text.find("snapshots/table__rows.snap") {
        return Err(format!("the ledger should come first:\n{text}").into());
    }
    // The snapshots do not see this one: each row has to be there at least once.
    with_ledger().under("twice").run("drops a row").fails_with(&[
        "s3 has to account for 6 rows and has 5 rows in raw/rows/, 1 row missing",
        "- missing: topic in, partition 0, offset 1, the whole message: one",
    ])?;
    with_ledger()
        .run("drops everything")
        .fails_with(&["- missing: topic in, partition 0, offset 2", "nothing was observed"])
}

fn once_more() -> Result<(), Failed> {
    let project = with_ledger();
    project.run("duplicates a row").fails_with(&[
        "s3 has to account for 3 rows and has 4 rows in raw/rows/, 1 row too many",
        "+ once more in raw/rows/: topic in, partition 0, offset 1, the whole message: two",
    ])?;
    let report = fs::read_to_string(project.root.path().join("target/e2e/report.html"))?;
    contains(&report, &["<h2>Rows</h2>", "<td class=failed data-noun=\"s3\">4 rows in raw/rows/, 1 row too many"])
}

fn accepted() -> Result<(), Failed> {
    let project = with_ledger();
    let run = |update| Verdict::of(project.command(&[], "drops a row").env("INSTA_UPDATE", update));
    run("force").fails_with(&["- missing: topic in, partition 0, offset 1"])?;
    let text = run("no").text();
    contains(&text, &["- missing: topic in, partition 0, offset 1"])?;
    if text.contains("differ") { Err(format!("the snapshots were accepted:\n{text}").into()) } else { Ok(()) }
}

fn exceptions() -> Result<(), Failed> {
    let except = "[ledger.exceptions]\n";
    let project = with_ledger();
    project.write(CASE, "case.toml", &format!("{except}s3 = ''"));
    project.run("").fails_with(&["case.toml: `ledger.exceptions`: `s3` needs the reason why it is not kept"])?;
    project.write(CASE, "case.toml", &format!("{except}s3 = 'It counts words.'"));
    project.run("").fails_with(&["s3: it balances, so its exception in case.toml is not needed; remove it"])?;
    let verdict = project.run("duplicates a row");
    let text = verdict.text();
    verdict.fails_with(&["snapshots/s3__raw__rows.snap: 1 row not expected"])?;
    if text.contains("count ledger") { Err(format!("it is excepted:\n{text}").into()) } else { Ok(()) }
}
