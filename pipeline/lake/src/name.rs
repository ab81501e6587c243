//! The names of columns: what a field of JSON is called in the catalog, where upper case, dots and spaces do not exist.
//!
//! A name depends on the names in the same object alone, not on their order nor on what came before:
//!
//! - A name of lower-case letters, digits and `_` stays as it is, unless it ends in `__raw`.
//! - In every other name, letters become lower case and other characters `_`. If it then ends in `__raw`, which is kept
//!   for the original texts of times, another `_` follows.
//! - Where two names in an object become the same, or one is that of a partition key or `_rest`, the name that stays as
//!   it is has it, then the others by the order of their bytes: `a`, `a__2`, `a__3`.
//! - A name of more than 250 bytes is cut and ends with a hash of the whole. With `__raw` it has the 255 bytes that
//!   Glue takes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

/// What is appended to the name of a time for the column of its original texts. No field has a column that ends so.
pub(crate) const ORIGINAL: &str = "__raw";

/// The most bytes of a name: with [`ORIGINAL`], those that the Glue catalog takes.
const MAX_NAME: usize = 255 - ORIGINAL.len();

/// The name of the column for each field of an object, in the order of the fields. `reserved` are names that none may
/// have. The error is a name that the object has twice.
pub(crate) fn columns<'n>(names: &[&'n str], reserved: &[&str]) -> Result<Vec<Cow<'n, str>>, String> {
    let stays = |name: &str| is_column(name) && !reserved.contains(&name);
    let mut taken: BTreeSet<Cow<'_, str>> = reserved.iter().map(|name| Cow::Borrowed(*name)).collect();
    let mut changed = BTreeMap::new();
    for (place, &name) in names.iter().enumerate() {
        let is_new = if stays(name) { taken.insert(name.into()) } else { changed.insert(name, place).is_none() };
        if !is_new {
            return Err(name.to_owned());
        }
    }
    let mut columns: Vec<Cow<'n, str>> = names.iter().map(|name| Cow::Borrowed(*name)).collect();
    // The number that comes next for a name that several become.
    let mut numbers = BTreeMap::new();
    for (name, place) in changed {
        let column = column(name);
        let number = numbers.entry(column.clone()).or_insert(2);
        let column = free(column, &taken, number);
        taken.insert(column.clone().into());
        columns[place] = column.into();
    }
    Ok(columns)
}

/// Whether a name stays as it is.
pub(crate) fn is_column(name: &str) -> bool {
    let is_lower = |c: char| c == '_' || (c.is_alphanumeric() && c.to_lowercase().eq([c]));
    !name.is_empty() && name.len() <= MAX_NAME && !name.ends_with(ORIGINAL) && name.chars().all(is_lower)
}

/// A field's name as a column may have it.
pub(crate) fn column(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut column: String = lower.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    if column.ends_with(ORIGINAL) {
        column.push('_');
    }
    match column.len() {
        0 => "_".to_owned(),
        1..=MAX_NAME => column,
        _ => format!("{}_{}", cut(&column, MAX_NAME - 17), hash(name)),
    }
}

/// Whether a name would end as only those of columns of original texts do.
pub(crate) fn ends_as_original(name: &str) -> bool {
    name.to_lowercase().ends_with(ORIGINAL)
}

/// Whether a name is cut.
pub(crate) fn is_too_long(name: &str) -> bool {
    name.to_lowercase().len() > MAX_NAME
}

/// The name itself, or the first free one of `name__2`, `name__3` and so on, from `number` on.
fn free(name: String, taken: &BTreeSet<Cow<'_, str>>, number: &mut usize) -> String {
    if !taken.contains(name.as_str()) {
        return name;
    }
    loop {
        let suffix = format!("__{number}");
        let numbered = format!("{}{suffix}", cut(&name, MAX_NAME - suffix.len()));
        *number += 1;
        if !taken.contains(numbered.as_str()) {
            return numbered;
        }
    }
}

fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

/// The first 64 bits of a text's SHA-256, in hexadecimal digits.
fn hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(names: &[&str]) -> Vec<String> {
        columns(names, &["ymd", "hour"]).expect("no name twice").into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn names_become_those_of_the_catalog() {
        assert_eq!(of(&["speed", "accel_x", "속도", "2nd"]), ["speed", "accel_x", "속도", "2nd"]);
        assert_eq!(of(&["Speed", "a.b c", "é-Ü", ""]), ["speed", "a_b_c", "é_ü", "_"]);
        assert_eq!(of(&["x_raw", "x__raw", "X--raw"]), ["x_raw", "x__raw___2", "x__raw_"]);
    }

    #[test]
    fn the_name_that_stays_has_it_and_then_the_order_of_bytes_decides() {
        assert_eq!(of(&["A", "a"]), ["a__2", "a"]);
        assert_eq!(of(&["a b", "A.B", "a_b"]), ["a_b__3", "a_b__2", "a_b"]);
        assert_eq!(of(&["a__2", "a", "A"]), ["a__2", "a", "a__3"]);
        assert_eq!(of(&["hour", "Hour"]), ["hour__3", "hour__2"]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters_and_told_apart_by_its_hash() {
        let (a, b) = (format!("{}a", "가".repeat(100)), format!("{}b", "가".repeat(100)));
        let columns = of(&[&a, &b]);
        assert!(columns.iter().all(|name| name.len() <= MAX_NAME && name.starts_with("가가")), "{columns:?}");
        assert_ne!(columns[0], columns[1]);
    }

    #[test]
    fn names_that_all_become_the_same_are_numbered_in_linear_time() {
        let marks = ["!", "?", "-", "+", "*", "/", "=", "~"];
        let names: Vec<String> =
            (0..4096_usize).map(|n| (0..4).map(|digit| marks[n >> (3 * digit) & 7]).collect()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let columns = of(&names);
        assert!(columns.contains(&"____".to_owned()) && columns.contains(&"______4096".to_owned()));
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        assert_eq!(columns(&["a", "b", "a"], &[]), Err("a".to_owned()));
        assert_eq!(columns(&["A", "A"], &[]), Err("A".to_owned()));
    }

    proptest! {
        /// Whatever the names are: every column is one that the catalog takes, none is there twice, and the order of
        /// the fields does not matter.
        #[test]
        fn columns_are_valid_distinct_and_independent_of_order(
            names in prop::collection::btree_set("[aAbB._ hourw]{0,6}", 1..12)
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let columns = of(&names);
            prop_assert!(columns.iter().all(|name| is_column(name)), "{:?}", columns);
            prop_assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), names.len());
            let backwards: Vec<&str> = names.iter().rev().copied().collect();
            prop_assert_eq!(of(&backwards).into_iter().rev().collect::<Vec<_>>(), columns);
        }
    }
}
