use std::fmt::Write;

use super::*;
use crate::observe::{DEAD_LETTER, ITEM, OBJECT, ROW};

fn of(kind: &'static EntryKind, expected: &[&str], observed: &[&str]) -> Diff {
    let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
    Diff::new(kind, &owned(expected), &owned(observed))
}

fn diff(expected: &[&str], observed: &[&str]) -> Diff {
    of(&ROW, expected, observed)
}

#[test]
fn a_missing_and_a_repeated_row_are_told() {
    let missing = diff(&["a", "b", "c"], &["a", "c"]);
    assert_eq!((missing.summary().as_str(), missing.short().as_str()), ("1 row missing", "  - b\n"));
    let repeated = diff(&["a", "b"], &["a", "a", "b"]);
    assert_eq!((repeated.summary().as_str(), repeated.short().as_str()), ("1 row not expected", "  + a\n"));
    assert!(diff(&["a"], &["a"]).is_empty());
}

#[test]
fn changes_come_in_the_order_of_the_entries() {
    let diff = diff(&["a", "b", "c", "d"], &["x", "a", "y", "c", "z"]);
    assert_eq!(diff.short(), "  + x\n  + y\n  - b\n  + z\n  - d\n");
}

#[test]
fn a_changed_row_shows_the_field_that_changed() {
    let changed = diff(&[r#"{"id":1,"speed":12.50,"seq":0}"#], &[r#"{"id":1,"speed":12.5,"seq":0}"#]);
    assert_eq!(changed.summary(), "1 row changed");
    assert!(changed.short().ends_with("      speed: 12.50 → 12.5\n"), "{}", changed.short());
}

#[test]
fn a_row_that_moved_is_neither_missing_nor_unexpected() {
    let moved = diff(&["a", "b", "c"], &["b", "c", "a"]);
    assert_eq!((moved.summary().as_str(), moved.short().as_str()), ("1 row moved", "  ↕ a\n"));
}

#[test]
fn rows_that_have_little_in_common_are_one_missing_and_one_not_expected() {
    let other = diff(&[r#"{"id":1,"a":1,"b":1}"#], &[r#"{"id":2,"a":2,"b":1}"#]);
    assert_eq!(other.summary(), "1 row missing, 1 row not expected");
}

#[test]
fn a_missing_item_does_not_make_its_neighbours_look_changed() {
    let item = |id: u32| format!(r#"{{"id":"{id}","kind":"order","state":"paid","total":{id}}}"#);
    let expected: Vec<String> = (0..6).map(item).collect();
    let mut observed = expected.clone();
    observed.remove(2);
    observed[4] = observed[4].replace("paid", "open");
    observed.push(item(9));
    let diff = Diff::new(&ITEM, &expected, &observed);
    assert_eq!(diff.summary(), "1 item missing, 1 item not expected, 1 item changed");
    assert!(diff.short().contains("      state: \"paid\" → \"open\"\n"), "{}", diff.short());
}

#[test]
fn items_are_paired_by_key_however_much_changed() {
    let expected = [r#"{"pk":"a","sk":1,"x":1,"y":1}"#, r#"{"pk":"a","sk":2,"x":1,"y":1}"#];
    let observed = [r#"{"pk":"a","sk":1,"x":7,"y":8}"#, r#"{"pk":"a","sk":2,"x":9,"y":9,"z":0}"#];
    assert_eq!(of(&ITEM, &expected, &observed).summary(), "2 items changed");
}

#[test]
fn objects_are_paired_by_name() {
    let diff = of(&OBJECT, &["b/x: 1 row, 4 bytes", "b/y: 1 row, 4 bytes"], &["b/y: 2 rows, 8 bytes"]);
    assert_eq!(diff.summary(), "1 object missing, 1 object changed");
    assert!(diff.full().contains("b/y: 1 row, 4 bytes → 2 rows, 8 bytes"), "{}", diff.full());
}

#[test]
fn dead_letters_are_paired_by_their_source() {
    let letter = |offset: u32, reason: &str| {
        format!("key: null\nheader __connect.errors.offset: \"{offset}\"\nheader reason: {reason}\nvalue, 1 byte: x")
    };
    let (expected, observed) = (vec![letter(1, "a"), letter(2, "b")], vec![letter(2, "b"), letter(1, "c")]);
    let diff = Diff::new(&DEAD_LETTER, &expected, &observed);
    assert_eq!(diff.summary(), "1 dead letter changed");
    assert!(diff.short().contains("header reason: a → c"), "{}", diff.short());
}

#[test]
fn long_lines_and_long_lists_are_cut_in_the_message_and_whole_in_the_report() {
    let long = "é".repeat(1000);
    let entries: Vec<String> = (0..50).map(|i| format!("{i}{long}")).collect();
    let diff = Diff::new(&ROW, &entries, &[]);
    assert!(diff.short().contains("… and 38 more") && diff.short().len() < 10_000);
    assert!(diff.full().contains(&entries[49]));
    let block: String = (0..50).fold(String::new(), |mut block, i| {
        let _ = writeln!(block, "header {i}: {long}");
        block
    });
    let diff = Diff::new(&DEAD_LETTER, &[], std::slice::from_ref(&block));
    assert!(diff.short().contains("… and 38 more") && diff.short().len() < 10_000 && diff.full().len() > 50_000);
}

/// The limit is generous, for this is a development build on a machine that may be busy. In quadratic time it would take minutes.
#[test]
fn thirty_thousand_items_are_compared() {
    let item =
        |i: usize, speed: usize| format!(r#"{{"pk":"{i:06}","at":{i},"speed":{speed},"state":"on","unit":"km/h"}}"#);
    let expected: Vec<String> = (0..30_000).map(|i| item(i, i % 100)).collect();
    for observed in [
        (1..30_001).map(|i| item(i, i % 100 + 1)).collect::<Vec<_>>(),
        (0..30_000).rev().map(|i| item(i, i % 100)).collect(),
    ] {
        for kind in [&ITEM, &ROW] {
            // If every entry were compared with every other one, this would not end before the limit of a test.
            assert!(!Diff::new(kind, &expected, &observed).is_empty());
        }
    }
}
