//! Which observed entry belongs to which expected one: the same text first, then the same key, then much of the same content.
//!
//! Everything here takes time in proportion to `n log n` for `n` entries, for a run may leave tens of thousands of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Parts, parts};
use crate::observe::{EntryKind, Key};

/// How many of an entry's rarest parts are followed to entries that have them too.
const FOLLOWED: usize = 4;

/// How many entries with the same part are compared with one entry.
const COMPARED: usize = 4;

/// What became of the entries: indices into what was expected and what was observed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pairing {
    /// Entries with the same text, in the order of what was expected, and whether the entry stands elsewhere among the others.
    pub same: Vec<(usize, usize, bool)>,
    /// Entries of which parts differ.
    pub changed: Vec<(usize, usize)>,
    /// What was expected and has no counterpart.
    pub missing: Vec<usize>,
    /// What was observed and has no counterpart.
    pub unexpected: Vec<usize>,
}

/// Pairs every entry with at most one of the other side.
pub(super) fn pair(kind: &EntryKind, expected: &[String], observed: &[String]) -> Pairing {
    let mut pairing = Pairing::default();
    let mut free: Vec<bool> = vec![true; observed.len()];
    let mut same = Vec::new();
    let mut by_text: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (j, entry) in observed.iter().enumerate() {
        by_text.entry(entry).or_default().push_back(j);
    }
    for (i, entry) in expected.iter().enumerate() {
        match by_text.get_mut(entry.as_str()).and_then(VecDeque::pop_front) {
            Some(j) => {
                free[j] = false;
                same.push((i, j));
            }
            None => pairing.missing.push(i),
        }
    }
    let stays = longest_increasing(&same.iter().map(|(_, j)| *j).collect::<Vec<_>>());
    pairing.same = same.into_iter().zip(stays).map(|((i, j), stays)| (i, j, !stays)).collect();
    pairing.unexpected = (0..observed.len()).filter(|j| free[*j]).collect();
    if !pairing.missing.is_empty() && !pairing.unexpected.is_empty() {
        let before = Side::read(expected, &pairing.missing);
        let after = Side::read(observed, &pairing.unexpected);
        let attributes =
            if has_unique_first_attribute(expected) && has_unique_first_attribute(observed) { 1 } else { 2 };
        let key = |parts: &Parts| key(kind.key, attributes, parts);
        let (before_keys, after_keys) = (before.keys(key), after.keys(key));
        let mut found = by_key(&before_keys, &after_keys);
        // An entry that has a key is another entry where the key is another, however alike the two are.
        let without_key = |side: Side, keys: &[Option<String>]| {
            let parts = side.0.into_iter().zip(keys);
            Side(parts.map(|(parts, key)| parts.filter(|_| key.is_none())).collect())
        };
        found.extend(by_content(&without_key(before, &before_keys), &without_key(after, &after_keys)));
        let (olds, news): (Vec<usize>, Vec<usize>) = found.iter().copied().unzip();
        pairing.changed = found.into_iter().map(|(a, b)| (pairing.missing[a], pairing.unexpected[b])).collect();
        pairing.changed.sort_unstable();
        pairing.missing = without(&pairing.missing, &olds);
        pairing.unexpected = without(&pairing.unexpected, &news);
    }
    pairing
}

fn without(all: &[usize], taken: &[usize]) -> Vec<usize> {
    let mut left = vec![true; all.len()];
    for index in taken {
        left[*index] = false;
    }
    all.iter().zip(left).filter(|(_, left)| *left).map(|(index, _)| *index).collect()
}

/// Entries of one side that have no counterpart yet, as their parts; `None` for text that has none.
struct Side(Vec<Option<Parts>>);

impl Side {
    fn read(entries: &[String], indices: &[usize]) -> Self {
        Self(indices.iter().map(|index| parts(&entries[*index])).collect())
    }

    fn keys(&self, key: impl Fn(&Parts) -> Option<String>) -> Vec<Option<String>> {
        self.0.iter().map(|parts| parts.as_ref().and_then(&key)).collect()
    }
}

/// Pairs entries with the same key, whatever else differs.
fn by_key(before: &[Option<String>], after: &[Option<String>]) -> Vec<(usize, usize)> {
    let keys = after.iter().enumerate().filter_map(|(b, key)| Some((key.as_ref()?, b)));
    let mut with_key: HashMap<&String, usize> = keys.collect();
    let pairs = before.iter().enumerate().filter_map(|(a, key)| Some((a, with_key.remove(key.as_ref()?)?)));
    pairs.collect()
}

/// Whether no two of these JSON objects begin with the same field. A table whose key is one attribute has such items: they begin with
/// their key, which is one attribute or two.
fn has_unique_first_attribute(entries: &[String]) -> bool {
    let mut seen = HashSet::with_capacity(entries.len());
    // A quotation mark in a value has a backslash before it, so this is where the second field begins.
    entries.iter().all(|entry| seen.insert(entry.split_once(",\"").map_or(entry.as_str(), |(first, _)| first)))
}

/// What identifies an entry among the others of its kind; `None` if nothing does.
fn key(key: Key, attributes: usize, parts: &Parts) -> Option<String> {
    let text = |parts: &[(String, String)]| {
        parts.iter().flat_map(|(name, value)| [name, "\0", value, "\0"]).collect::<String>()
    };
    match key {
        Key::FirstFields => parts.get(..attributes).map(text),
        Key::Name => parts.first().map(|(name, _)| name.clone()),
        Key::Lines(names) => {
            let source: Vec<_> = parts.iter().filter(|(name, _)| names.contains(&name.as_str())).cloned().collect();
            (!source.is_empty()).then(|| text(&source))
        }
        Key::None => None,
    }
}

/// Pairs entries that have at least half of their parts in common. Only entries that share a rare part are compared.
fn by_content(before: &Side, after: &Side) -> Vec<(usize, usize)> {
    let digests = |side: &Side| -> Vec<Vec<u64>> { side.0.iter().map(|parts| digests(parts.as_ref())).collect() };
    let (olds, news) = (digests(before), digests(after));
    let mut free = vec![true; news.len()];
    let mut with_part: HashMap<u64, VecDeque<usize>> = HashMap::new();
    for (b, digests) in news.iter().enumerate() {
        for digest in digests {
            with_part.entry(*digest).or_default().push_back(b);
        }
    }
    let mut found = Vec::new();
    for (a, old) in olds.iter().enumerate() {
        let mut rare: Vec<(usize, u64)> =
            old.iter().filter_map(|digest| Some((with_part.get(digest)?.len(), *digest))).collect();
        rare.sort_unstable();
        let mut best: Option<(usize, usize)> = None;
        for (_, digest) in rare.into_iter().take(FOLLOWED) {
            let Some(others) = with_part.get_mut(&digest) else { continue };
            // What was paired meanwhile is dropped for good, so that it is passed over once only.
            while others.front().is_some_and(|b| !free[*b]) {
                others.pop_front();
            }
            for b in others.iter().copied().filter(|b| free[*b]).take(COMPARED) {
                let common = common(old, &news[b]);
                // At least half of the parts of the two.
                let total = old.len() + news[b].len();
                if common * 4 >= total && best.is_none_or(|(most, _)| common > most) {
                    best = Some((common, b));
                }
            }
        }
        if let Some((_, b)) = best {
            free[b] = false;
            found.push((a, b));
        }
    }
    found
}

/// A digest of each part, sorted.
fn digests(parts: Option<&Parts>) -> Vec<u64> {
    let digest = |part: &(String, String)| {
        let mut hasher = DefaultHasher::new();
        part.hash(&mut hasher);
        hasher.finish()
    };
    let mut digests: Vec<u64> = parts.into_iter().flatten().map(digest).collect();
    digests.sort_unstable();
    digests
}

/// How many digests two sorted lists have in common.
fn common(one: &[u64], other: &[u64]) -> usize {
    let (mut i, mut j, mut count) = (0, 0, 0);
    while i < one.len() && j < other.len() {
        match one[i].cmp(&other[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, count) = (i + 1, j + 1, count + 1),
        }
    }
    count
}

/// For each number whether it belongs to one longest increasing subsequence: what stays in place when the others move.
fn longest_increasing(numbers: &[usize]) -> Vec<bool> {
    // Of the subsequences of each length, the one with the smallest end: the index of that end.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; numbers.len()];
    for (i, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before[i] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() {
            ends.push(i);
        } else {
            ends[length] = i;
        }
    }
    let mut stays = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(i) = next {
        stays[i] = true;
        next = before[i];
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_a_longest_increasing_subsequence() {
        assert_eq!(longest_increasing(&[1, 2, 0]), [true, true, false]);
        assert_eq!(longest_increasing(&[3, 0, 1, 2, 4]), [false, true, true, true, true]);
        assert_eq!(longest_increasing(&[]), [false; 0]);
    }
}
