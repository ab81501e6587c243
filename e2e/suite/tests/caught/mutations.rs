//! `e2e mutate` over the small project: which mutations its case catches, and which of them survive when something of
//! the result is not compared.

use libtest_mimic::{Failed, Trial};

use super::fixtures::COPIES;
use super::{CASE, Project, SNAPSHOTS, Verdict, contains, project};

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("mutations_are_caught_and_the_report_says_by_what", || {
            mutate(&project(), "s3-object-lost,s3-early,dynamodb-number-as-text,record-lost").passes_with(&[
                "✓ s3-object-lost           words::three, by snapshots\n",
                "✓ s3-early                 words::three, by write after commit\n",
                "✓ dynamodb-number-as-text  words::three, by snapshots\n",
                "– record-lost              impossible: no case has an output topic\n",
                "4 mutations: 3 caught, 0 survived, 0 not reached, 1 impossible; 1 case, 3 runs with a mutation",
            ])?;
            // Its table might have an empty text, but no item has one.
            mutate(&project(), "s3-object-lost,dynamodb-empty-lost").fails_with(&[
                "○ dynamodb-empty-lost  not reached: no case has such a call or record\n",
                "2 mutations: 1 caught, 0 survived, 1 not reached; ",
            ])
        }),
        Trial::test("an_offset_that_is_not_committed_is_caught_by_the_lag", || {
            let project = project().timeout("3s");
            mutate(&project, "offset-not-committed")
                .passes_with(&["✓ offset-not-committed  words::three, by lag\n"])?;
            let evidence = "target/mutations/offset-not-committed/e2e/words/three/verdict.txt";
            let verdict = std::fs::read_to_string(project.root.path().join(evidence))?;
            contains(&verdict, &["in-0 is committed up to 2 of 3, 1 record behind", "mutate words::three --only"])
        }),
        Trial::test("a_mutation_of_what_is_not_compared_survives", || {
            let project = project();
            project.case("redact = ['$.items[*].length']");
            let items = ["one", "three", "two"].map(|id| format!("{{\"id\":\"{id}\",\"length\":\"[redacted]\"}}"));
            let snapshot = format!("---\nsource: here\n---\n{}\n", items.join("\n"));
            project.write(SNAPSHOTS, "table__rows.snap", &snapshot);
            mutate(&project, "dynamodb-attribute-lost,dynamodb-number-as-text").fails_with(&[
                "✓ dynamodb-attribute-lost  words::three, by snapshots\n",
                "✗ dynamodb-number-as-text  SURVIVED: a pipeline that writes a number of an item as a string passes words::three\n",
                "2 mutations: 1 caught, 1 survived, 0 not reached",
            ])
        }),
        Trial::test("mutations_of_output_topics_are_caught", || {
            let project = project();
            project.write("fixtures/words", "protocol.toml", COPIES);
            project.accepts().passes()?;
            mutate(&project, "record-lost,record-cut,record-key-lost,record-headers-lost").passes_with(&[
                "✓ record-lost          words::three, by snapshots\n",
                "4 mutations: 4 caught, 0 survived",
            ])
        }),
        Trial::test("a_case_that_fails_by_itself_shows_nothing", || {
            let project = project();
            project.write(CASE, "messages.ndjson", "one\ntwo\n");
            mutate(&project, "s3-object-lost").fails_with(&[
                "✗ words::three fails without any mutation, and shows nothing:",
                "1 mutation: 0 caught, 0 survived, 1 not reached",
            ])
        }),
        Trial::test("no_snapshot_is_written", || {
            let project = project();
            let files = || -> Result<Vec<String>, Failed> {
                let entries = std::fs::read_dir(project.root.path().join(SNAPSHOTS))?;
                let mut files: Vec<String> = entries
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<std::io::Result<_>>()?;
                files.sort();
                Ok(files)
            };
            let before = files()?;
            mutate(&project, "s3-object-renamed")
                .passes_with(&["✓ s3-object-renamed  words::three, by snapshots\n"])?;
            if files()? == before { Ok(()) } else { Err(format!("there are {:?} now", files()?).into()) }
        }),
    ]
}

/// Runs the runner's command with these mutations over a project, with the copying pipeline.
fn mutate(project: &Project, only: &str) -> Verdict {
    project.runner("", &["mutate", "--only", only])
}
