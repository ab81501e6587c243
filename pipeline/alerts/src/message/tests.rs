use insta::assert_snapshot;
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::digest::Open;
use crate::verdict::{Id, Severity};

fn config() -> Config {
    let text =
        "slack: {token: {env: T}, channel: c}\nrun_book: https://example.com/runbook\nquery_options: --database fleet";
    Config::parse(text).expect("a configuration")
}

fn problem(table: &str, check: &str, trouble: Trouble) -> Problem {
    Problem {
        id: Id { table: table.into(), check: check.into(), owner: "a@example.com".into() },
        trouble,
        severity: Severity::Error,
        since: "2023-01-02T02:00:00Z".parse::<Timestamp>().expect("a time"),
        from: "2023-01-01".parse().expect("a day"),
        to: "2023-01-01".parse().expect("a day"),
        description: "Fuel is a percentage.".into(),
        expected: "fuel_level is from 0 to 100 (fails at 1)".into(),
        observed: "1 of 20 rows".into(),
        bad: 1,
        told_bad: 1,
        query: Some("select * from t\nwhere fuel_level > 100 and ymd between $from and $to".into()),
        sample: vec![r#"{"id":7,"fuel_level":<101>,"latitude":null}"#.into()],
        open: Vec::new(),
        resolved: None,
    }
}

fn thread(problems: Vec<Problem>) -> Thread {
    let told = Timestamp::UNIX_EPOCH;
    Thread { number: 1, owner: "a@example.com".into(), channel: "c".into(), problems, posted: None, told }
}

/// A message as people see it.
fn read(message: &Message) -> String {
    let mut out = String::new();
    for block in &message.blocks {
        let _ = match block["type"].as_str() {
            Some("context") => block["elements"]
                .as_array()
                .expect("elements")
                .iter()
                .try_for_each(|element| writeln!(out, "[note] {}", element["text"].as_str().expect("a text"))),
            kind => writeln!(out, "[{}] {}", kind.expect("a kind"), block["text"]["text"].as_str().expect("a text")),
        };
    }
    out
}

#[test]
fn the_owner_reads_what_is_wrong_where_since_when_and_how_to_see_it() {
    let mut resolved = problem("vehicle_status_report", "rpm", Trouble::Failed);
    resolved.resolved = Some("it passes for 2023-01-02: 0 of 20 rows".into());
    let problems = vec![
        problem("vehicle_status_report", "fuel", Trouble::Failed),
        Problem { query: None, sample: vec![], ..problem("vehicle_status_report", "doors", Trouble::CouldNotRun) },
        Problem { query: None, sample: vec![], ..problem("vehicle_status_report", "it's old", Trouble::DidNotRun) },
        resolved,
    ];
    assert_snapshot!(read(&opening(&config(), &thread(problems), &addressee("a@example.com", Some("U1")), true)));
}

#[test]
fn a_thread_is_told_what_has_happened_and_good_news_mention_nobody() {
    let mut resolved = problem("t", "rpm", Trouble::Failed);
    resolved.resolved = Some("it passes".into());
    let good = [Line { event: Event::Resolved, problem: resolved }];
    assert_snapshot!(read(&reply(&config(), &good, "a@example.com", false)), @r"
    [header] Resolved: 1 check of t
    [section] 1 resolved
    [section] :white_check_mark: t: *rpm* is resolved: it passes
    [note] Run book: https://example.com/runbook
    ");
    let bad = [Line { event: Event::Still, problem: problem("t", "fuel", Trouble::CouldNotRun) }];
    assert!(read(&reply(&config(), &bad, "a@example.com", false)).contains("[section] a@example.com: 1 still open"));
}

#[test]
fn the_digest_says_how_all_stand() {
    let well = Standing { checks: 12, ran: 12, warned: 1, ..Standing::default() };
    let open = Open { failed: 2, could_not_run: 0, did_not_run: 1 };
    let ill =
        Standing { checks: 5, ran: 4, held: 1, tables: [("trip".to_owned(), open)].into(), ..Standing::default() };
    let owners = [("a@example.com".to_owned(), well), ("b@example.com".to_owned(), ill)];
    let all = Digest { day: "2023-01-02".into(), channel: "c".into(), owners: owners.into() };
    assert_snapshot!(read(&digest(&config(), &all, false)), @r"
    [header] Checks of the data on 2023-01-02: something is wrong
    [section] *a@example.com*: 12 of 12 checks ran in a day, 1 warned
    [section] *b@example.com*: 4 of 5 checks ran in a day, 1 held back by maintenance
    • trip: 2 failed, 1 did not run
    [note] Run book: https://example.com/runbook
    ");
}

#[test]
fn a_query_is_shown_whole_or_not_at_all() {
    let long = Problem { query: Some(format!("select '{}'", "x".repeat(QUERY))), ..problem("t", "c", Trouble::Failed) };
    let text = read(&opening(&config(), &thread(vec![long]), "a", false));
    assert!(text.contains("```fms quality run --table 't' --from 2023-01-01 --to 2023-01-01```"), "{text}");
}

#[test]
fn of_200_failures_those_without_room_are_counted_by_table() {
    let problems =
        (0..200).map(|n| problem(&format!("table_{:02}", n % 50), &n.to_string(), Trouble::Failed)).collect();
    let message = opening(&config(), &thread(problems), "a", false);
    holds_to_limits(&message);
    let text = read(&message);
    let sections = text.lines().filter(|line| line.starts_with("[section] :red_circle:")).count();
    let more: usize =
        text.split("And ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|n| n.parse().ok()).expect("more");
    assert!(sections > 10, "{text}");
    assert_eq!(sections + more, 200);
}

fn holds_to_limits(message: &Message) {
    assert!(!message.text.is_empty() && length(&message.text) <= 40_000);
    assert!(message.blocks.len() <= 50, "{}", message.blocks.len());
    for block in &message.blocks {
        let limit = if block["type"] == "header" { 150 } else { 3000 };
        let texts = block["elements"].as_array().into_iter().flatten().chain(block.get("text"));
        for text in texts {
            let text = text["text"].as_str().expect("a text");
            assert!(!text.is_empty() && length(text) <= limit, "{text}");
        }
    }
}

prop_compose! {
    fn any_problem()(
        texts in prop::collection::vec(("[<&>`a€😀\n ]{0,12}", 0..200_usize), 7),
        bad in any::<u64>(),
        trouble in prop::sample::select(vec![Trouble::Failed, Trouble::CouldNotRun, Trouble::DidNotRun]),
        is_resolved in any::<bool>(),
    ) -> Problem {
        let texts: Vec<String> = texts.into_iter().map(|(text, times)| text.repeat(times)).collect();
        let [table, check, description, expected, observed, query, row] = texts.try_into().expect("seven");
        Problem {
            id: Id { table, check, owner: "a@example.com".into() },
            description, expected, observed, bad, trouble,
            query: Some(query),
            sample: vec![row.clone(), row.clone(), row],
            resolved: is_resolved.then(|| "it passes".into()),
            ..problem("t", "c", Trouble::Failed)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_message_keeps_to_the_limits(problems in prop::collection::vec(any_problem(), 1..60), twice in any::<bool>()) {
        let lines: Vec<Line> =
            problems.iter().map(|problem| Line { event: Event::New, problem: problem.clone() }).collect();
        holds_to_limits(&opening(&config(), &thread(problems), "<@U1>", twice));
        holds_to_limits(&reply(&config(), &lines, "<@U1>", twice));
    }
}
