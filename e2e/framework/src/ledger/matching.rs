//! Finds for each row the stored entry that holds it, by content.
//!
//! First come entries that have every field of a row, the fullest rows first, and for each the entry that adds the least.
//! Of the entries that are left then, those that repeat a row are told apart. The others are taken for the rows that
//! they have most in common with, whatever became of their values: whether a value is right is what snapshots say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::content::Content;

/// Above this number of pairs, what is left is matched in its order, because all pairs would take too long to compare.
const MOST_PAIRS: usize = 1_000_000;

/// What became of rows and entries, by their indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matched {
    /// The rows that no entry holds.
    pub missing: Vec<usize>,
    /// The entries that hold a row which is accounted for already, each with that row.
    pub repeated: Vec<(usize, usize)>,
    /// The entries that hold no row at all.
    pub unknown: Vec<usize>,
}

/// Matches the rows that are `due` to an entry each. The other rows have to be in no entry.
pub(super) fn matched(rows: &[&Content], due: &[bool], entries: &[&Content]) -> Matched {
    let mut open: Vec<usize> = (0..rows.len()).filter(|row| due[*row]).collect();
    let mut free: Vec<usize> = (0..entries.len()).collect();
    by_fields(rows, entries, &mut open, &mut free);
    let mut repeated = Vec::new();
    if !free.is_empty() {
        let shapes = shapes(rows, 0..rows.len());
        free.retain(|entry| {
            let Some(row) = held(rows, &shapes, entries[*entry]) else { return true };
            let likest = open.iter().map(|open| rows[*open].likeness(entries[*entry])).max().unwrap_or(0);
            let is_repeated = 2 * rows[row].len() > likest;
            if is_repeated {
                repeated.push((*entry, row));
            }
            !is_repeated
        });
    }
    by_likeness(rows, entries, &mut open, &mut free);
    Matched { missing: open, repeated, unknown: free }
}

/// The rows of each shape, by the digest of their values. The shapes with the most fields come first.
type Shapes = BTreeMap<(Reverse<usize>, Vec<u64>), HashMap<u64, Vec<usize>>>;

fn shapes(rows: &[&Content], of: impl Iterator<Item = usize>) -> Shapes {
    let mut shapes = Shapes::new();
    for row in of {
        let shape = rows[row].shape();
        if let Some(values) = rows[row].projection(&shape) {
            shapes.entry((Reverse(shape.len()), shape)).or_default().entry(values).or_default().push(row);
        }
    }
    shapes
}

/// The fullest row whose fields an entry has. A row without fields is in every entry, which says nothing.
fn held(rows: &[&Content], shapes: &Shapes, entry: &Content) -> Option<usize> {
    let mut of_shapes = shapes.iter();
    of_shapes
        .find_map(|((_, shape), rows)| rows.get(&entry.projection(shape)?)?.first().copied())
        .filter(|row| rows[*row].len() > 0)
}

fn by_fields(rows: &[&Content], entries: &[&Content], open: &mut Vec<usize>, free: &mut Vec<usize>) {
    let mut found = vec![false; rows.len()];
    free.sort_by_key(|entry| entries[*entry].len());
    for ((_, shape), mut of_shape) in shapes(rows, open.iter().copied()) {
        for rows in of_shape.values_mut() {
            rows.reverse();
        }
        free.retain(|entry| {
            let values = entries[*entry].projection(&shape);
            let row = values.and_then(|values| of_shape.get_mut(&values)?.pop());
            row.inspect(|row| found[*row] = true).is_none()
        });
    }
    open.retain(|row| !found[*row]);
    free.sort_unstable();
}

fn by_likeness(rows: &[&Content], entries: &[&Content], open: &mut Vec<usize>, free: &mut Vec<usize>) {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    if open.len() * free.len() <= MOST_PAIRS {
        let all = open.iter().flat_map(|row| free.iter().map(move |entry| (*row, *entry)));
        let mut likeness: Vec<_> =
            all.map(|(row, entry)| (Reverse(rows[row].likeness(entries[entry])), row, entry)).collect();
        likeness.sort_unstable();
        pairs.extend(likeness.into_iter().map(|(_, row, entry)| (row, entry)));
    } else {
        pairs.extend(open.iter().copied().zip(free.iter().copied()));
    }
    let (mut rows_left, mut entries_left) = (vec![false; rows.len()], vec![false; entries.len()]);
    for row in &*open {
        rows_left[*row] = true;
    }
    for entry in &*free {
        entries_left[*entry] = true;
    }
    for (row, entry) in pairs {
        if rows_left[row] && entries_left[entry] {
            (rows_left[row], entries_left[entry]) = (false, false);
        }
    }
    open.retain(|row| rows_left[*row]);
    free.retain(|entry| entries_left[*entry]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(rows: &[&str], entries: &[&str]) -> Matched {
        let contents = |texts: &[&str]| texts.iter().map(|text| Content::of_text(text)).collect::<Vec<_>>();
        let (rows, entries) = (contents(rows), contents(entries));
        let (rows, entries): (Vec<_>, Vec<_>) = (rows.iter().collect(), entries.iter().collect());
        matched(&rows, &vec![true; rows.len()], &entries)
    }

    fn missing(rows: &[usize]) -> Matched {
        Matched { missing: rows.to_vec(), ..Matched::default() }
    }

    #[test]
    fn the_row_that_is_missing_is_named_whatever_is_like_it() {
        let rows = [r#"{"id":1,"a":1}"#, r#"{"id":1}"#, r#"{"id":1,"a":2}"#, r#"{"id":1,"a":1}"#, "{}"];
        assert_eq!(of(&rows, &rows), missing(&[]));
        for lost in [1, 2, 4] {
            let kept: Vec<&str> = (0..rows.len()).filter(|row| *row != lost).map(|row| rows[row]).collect();
            assert_eq!(of(&rows, &kept), missing(&[lost]));
        }
        assert_eq!(of(&["one", "two", "three"], &[r#"{"id":"three"}"#, r#"{"id":"one"}"#]), missing(&[1]));
    }

    #[test]
    fn a_repeated_row_is_not_taken_for_the_one_that_is_missing() {
        let rows = [r#"{"id":1,"a":1}"#, r#"{"id":1,"a":2}"#];
        let entries = [r#"{"pk":"1","id":1,"a":1}"#, r#"{"pk":"2","id":1,"a":1}"#];
        assert_eq!(of(&rows, &entries), Matched { missing: vec![1], repeated: vec![(1, 0)], unknown: vec![] });
    }

    #[test]
    fn a_row_whose_values_were_changed_is_there() {
        let rows = [r#"{"id":1,"a":1}"#, r#"{"id":1,"a":2}"#, r#"{"id":1}"#];
        assert_eq!(of(&rows, &[r#"{"id":1}"#, r#"{"id":1,"a":"two"}"#, r#"{"id":1,"a":1}"#]), missing(&[]));
        assert_eq!(of(&["\u{fffd}"], &["another"]), missing(&[]));
    }

    #[test]
    fn what_no_row_has_is_unknown() {
        assert_eq!(of(&["a"], &["a", "b"]), Matched { unknown: vec![1], ..Matched::default() });
    }

    proptest! {
        /// Every row is missing or in one entry, and every other entry is too many.
        #[test]
        fn nothing_is_counted_twice(
            rows in prop::collection::vec((0..3, 0..3), 0..8),
            entries in prop::collection::vec((0..3, 0..3), 0..8),
        ) {
            let texts = |of: &[(i32, i32)]| -> Vec<String> {
                of.iter().map(|(a, b)| if *b == 0 { format!(r#"{{"a":{a}}}"#) } else { format!(r#"{{"a":{a},"b":{b}}}"#) }).collect()
            };
            let (rows, entries) = (texts(&rows), texts(&entries));
            let (rows, entries): (Vec<&str>, Vec<&str>) = (rows.iter().map(String::as_str).collect(), entries.iter().map(String::as_str).collect());
            let found = of(&rows, &entries);
            prop_assert_eq!(rows.len() - found.missing.len(), entries.len() - found.repeated.len() - found.unknown.len());
            prop_assert!(found.missing.is_empty() || found.unknown.is_empty());
            prop_assert_eq!(of(&rows, &rows), Matched::default());
        }
    }
}
