use std::collections::BTreeSet;

use super::*;
use crate::case::{Account, Repeats};
use crate::observe::Letter;
use crate::stack::Record;

/// The rules of a suite with a table whose key is made of all fields, raw objects, and Parquet with a quarantine.
fn rules() -> LedgerRules {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let dead_letters = || texts(&["dead"]);
    let db = Account {
        tables: texts(&["fleet"]),
        dead_letters: dead_letters(),
        repeats: Repeats::Merged,
        ..Account::default()
    };
    let raw = Account { objects: texts(&["raw/"]), dead_letters: dead_letters(), ..Account::default() };
    let lake = Account {
        objects: texts(&["lake/rows/"]),
        wrapped: [("lake/aside/".to_owned(), "row".to_owned())].into(),
        dead_letters: dead_letters(),
        ..Account::default()
    };
    LedgerRules {
        list: "list".to_owned(),
        accounts: [("db", db), ("raw", raw), ("lake", lake)].map(|(name, account)| (name.to_owned(), account)).into(),
        ..LedgerRules::default()
    }
}

fn messages(values: &[&str]) -> Vec<Record> {
    let record = |(offset, value): (i64, &&str)| Record {
        topic: "t".to_owned(),
        partition: 0,
        offset,
        timestamp: 0,
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    };
    (0..).zip(values).map(record).collect()
}

fn object(path: &str, rows: &[&str]) -> Holding {
    Holding::Object { path: path.to_owned(), rows: rows.iter().map(|row| (*row).to_owned()).collect() }
}

fn items(items: &[&str]) -> Holding {
    Holding::Items { table: "fleet".to_owned(), items: items.iter().map(|item| (*item).to_owned()).collect() }
}

fn letter(offset: i64, index: Option<usize>) -> Letter {
    let source = MessageId { topic: "t".to_owned(), partition: 0, offset };
    Letter { source: Some(source), index, value: None }
}

fn letters(letters: &[Letter]) -> Holding {
    Holding::Letters { topic: "dead".to_owned(), letters: letters.to_vec() }
}

fn ledger(rules: &LedgerRules, values: &[&str], holdings: &[Holding]) -> Ledger {
    balance(rules, &Produced::of(messages(values), rules), &holdings.iter().collect::<Vec<_>>(), true)
}

const MESSAGES: [&str; 2] = [r#"{"id":1,"list":[{"a":1},{"a":2},{"a":2}]}"#, r#"{"id":2,"list":["#];

/// What a correct pipeline stores of [`MESSAGES`].
fn complete() -> [Holding; 5] {
    let (one, two) = (r#"{"id":1,"a":1}"#, r#"{"id":1,"a":2}"#);
    [
        items(&[r#"{"pk":"1#1","a":1,"id":1}"#, r#"{"pk":"1#2","a":2,"id":1}"#]),
        object("raw/x/0.json", &[one, two, two]),
        object("lake/rows/0.parquet", &[r#"{"id":1,"a":1.0}"#, r#"{"id":1,"a":2.0}"#]),
        object("lake/aside/0.jsonl", &[r#"{"reason":"type","row":"{\"id\":1,\"a\":2}"}"#]),
        letters(&[letter(1, None), letter(1, None)]),
    ]
}

fn problem(changed: usize, holding: Holding) -> String {
    let mut holdings = complete();
    holdings[changed] = holding;
    ledger(&rules(), &MESSAGES, &holdings).problem.expect("a difference").short
}

#[test]
fn every_row_is_accounted_for_in_each_account() {
    let Ledger { balance, problem } = ledger(&rules(), &MESSAGES, &complete());
    assert_eq!(problem, None);
    assert_eq!(balance.rows, 4);
    let shown: Vec<String> = balance.accounts.iter().map(|account| format!("{}: {account}", account.name)).collect();
    assert_eq!(
        shown,
        [
            "db: 2 rows in fleet, 1 row in dead letters, 1 row merged with an equal one",
            "lake: 1 row in lake/aside/, 2 rows in lake/rows/, 1 row in dead letters",
            "raw: 3 rows in raw/, 1 row in dead letters",
        ]
    );
}

#[test]
fn a_row_that_is_missing_is_named_by_its_message() {
    let one = r#"{"id":1,"a":1}"#;
    assert_eq!(
        problem(1, object("raw/x/0.json", &[one, r#"{"id":1,"a":2}"#])),
        "the count ledger does not balance\n\n  raw has to account for 4 rows and has 2 rows in raw/, 1 row in dead letters, \
         1 row missing\n    - missing: topic t, partition 0, offset 0, index 2 of its list: {\"a\":2}\n"
    );
    assert!(problem(0, items(&[one])).contains("db has to account for 4 rows and has 1 row in fleet"));
    let lost = problem(4, letters(&[]));
    assert_eq!(lost.matches("- missing: topic t, partition 0, offset 1, the whole message: {\"id\":2").count(), 3);
}

#[test]
fn an_entry_that_is_too_many_is_named_by_the_message_that_it_repeats() {
    let (one, two) = (r#"{"id":1,"a":1}"#, r#"{"id":1,"a":2}"#);
    let twice = problem(1, object("raw/x/0.json", &[one, one, two, two]));
    assert!(
        twice.contains("1 row too many\n    + once more in raw/: topic t, partition 0, offset 0, index 0"),
        "{twice}"
    );
    let both = problem(4, letters(&[letter(0, Some(0)), letter(1, None)]));
    assert!(
        both.contains("+ in fleet although it is a dead letter: topic t, partition 0, offset 0, index 0"),
        "{both}"
    );
    let unknown = problem(1, object("raw/x/0.json", &[one, two, two, r#"{"id":9}"#]));
    assert!(unknown.contains("+ in raw/, and nobody sent it: {\"id\":9}"), "{unknown}");
    let unsent = problem(4, letters(&[letter(1, None), letter(7, None)]));
    assert!(unsent.contains("+ a dead letter of topic t, partition 0, offset 7, which was not sent"), "{unsent}");
    let items = problem(0, items(&[r#"{"pk":"1","a":1,"id":1}"#, r#"{"pk":"2","a":1,"id":1}"#]));
    assert!(items.contains("- missing: topic t, partition 0, offset 0, index 1"), "{items}");
    assert!(items.contains("+ once more in fleet: topic t, partition 0, offset 0, index 0"), "{items}");
}

#[test]
fn a_message_that_is_sent_twice_is_there_as_often_as_each_account_says() {
    let value = r#"{"id":1,"list":[{"a":1}]}"#;
    let row = r#"{"id":1,"a":1}"#;
    let holdings = [items(&[row]), object("raw/0.json", &[row, row]), object("lake/rows/0.parquet", &[row, row])];
    assert_eq!(ledger(&rules(), &[value, value], &holdings).problem, None);
    let holdings = [items(&[row]), object("raw/0.json", &[row]), object("lake/rows/0.parquet", &[row, row])];
    let short = ledger(&rules(), &[value, value], &holdings).problem.expect("a difference").short;
    assert!(short.contains("- missing: topic t, partition 0, offset 1, index 0"), "{short}");
}

#[test]
fn a_dead_letter_that_does_not_say_its_source_is_known_by_its_value() {
    let mut holdings = complete();
    holdings[4] = letters(&[Letter { source: None, index: None, value: Some(MESSAGES[1].as_bytes().to_vec()) }]);
    assert_eq!(ledger(&rules(), &MESSAGES, &holdings).problem, None);
    let other = problem(4, letters(&[Letter { source: None, index: None, value: Some(b"x".to_vec()) }]));
    assert!(other.contains("+ a dead letter of something that was not sent: x"), "{other}");
}

#[test]
fn lines_of_objects_that_were_there_are_rows() {
    let rules = rules();
    let mut produced = Produced::default();
    produced.add_lines("raw/0.json", &[r#"{"a":1}"#, " ", "no json"].map(str::to_owned));
    let raw = object("raw/0.json", &[r#"{"a":1}"#, "no json"]);
    let lake = object("lake/aside/0.jsonl", &[r#"{"reason":"not-json","row":"no json"}"#]);
    let short = balance(&rules, &produced, &[&raw, &lake, &items(&[])], true).problem.expect("a difference").short;
    assert!(short.contains("lake has to account for 2 rows"), "{short}");
    assert!(short.contains("    - missing: object raw/0.json, line 1: {\"a\":1}"), "{short}");
}

#[test]
fn an_exception_takes_an_account_out_and_has_to_be_needed_in_a_case() {
    let mut rules = rules();
    rules.exceptions.insert("raw".to_owned(), "it is not kept".to_owned());
    rules.exceptions_of_case = BTreeSet::from(["raw".to_owned()]);
    let short = ledger(&rules, &MESSAGES, &complete()).problem.expect("not needed").short;
    assert!(short.contains("raw: it balances, so its exception in case.toml is not needed; remove it"), "{short}");
    let mut holdings = complete();
    holdings[1] = object("raw/0.json", &[]);
    let Ledger { balance, problem } = ledger(&rules, &MESSAGES, &holdings);
    assert_eq!(problem, None);
    assert_eq!((balance.accounts.len(), balance.exceptions["raw"].as_str()), (2, "it is not kept"));
}

#[test]
fn only_the_first_differences_are_shown_at_once() {
    let value = format!(r#"{{"list":[{}]}}"#, (0..9).map(|n| format!(r#"{{"n":{n}}}"#)).collect::<Vec<_>>().join(","));
    let problem = ledger(&rules(), &[&value], &[]).problem.expect("all are missing");
    assert!(problem.short.contains("    … and 4 more\n"), "{}", problem.short);
    assert_eq!((problem.short.matches("- missing").count(), problem.full.matches("- missing").count()), (15, 27));
}
