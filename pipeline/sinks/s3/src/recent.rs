//! A map that finds the entry that was used last without a search, because calls for one partition come in runs.

use std::collections::HashMap;
use std::hash::Hash;

/// A map from keys to entries.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: Vec<(K, V)>,
    /// The index of each key's entry in `entries`.
    places: HashMap<K, usize>,
    /// The index of the entry that was used last.
    last: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// A map without entries.
    pub fn new() -> Self {
        Self { entries: Vec::new(), places: HashMap::new(), last: 0 }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry of this key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.entries.get(self.last).is_none_or(|(last, _)| last != key) {
            self.last = *self.places.get(key)?;
        }
        self.entries.get_mut(self.last).map(|(_, value)| value)
    }

    /// Adds an entry. An entry that has this key already is replaced and returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let old = self.remove(&key);
        self.places.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        old
    }

    /// Removes and returns the entry of this key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        let (_, value) = self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(moved.clone(), place);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
        static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    /// A key that counts what is done with it.
    #[derive(Debug, Clone)]
    struct Counting(usize);

    impl PartialEq for Counting {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counting {}

    impl Hash for Counting {
        fn hash<H: Hasher>(&self, state: &mut H) {
            HASHED.set(HASHED.get() + 1);
            self.0.hash(state);
        }
    }

    /// What a call costs does not grow with the number of entries, and within a run nothing is searched.
    #[test]
    fn cost_of_a_call() {
        for count in [10, 10_000] {
            let mut recent = Recent::new();
            for key in 0..count {
                recent.insert(Counting(key), key);
            }
            COMPARED.set(0);
            for key in 0..count {
                assert_eq!(recent.get_mut(&Counting(key)), Some(&mut key.clone()));
            }
            assert!(COMPARED.get() < 4 * count, "{} comparisons for {count} entries", COMPARED.get());
            HASHED.set(0);
            for _ in 0..1000 {
                recent.get_mut(&Counting(count - 1));
            }
            assert_eq!(HASHED.get(), 0);
        }
    }

    proptest! {
        /// It is a map, whatever was asked for in between.
        #[test]
        fn it_is_a_map(calls in proptest::collection::vec((0..3_u8, 0..8_u8), 0..100)) {
            let (mut recent, mut map) = (Recent::new(), HashMap::new());
            for (value, (call, key)) in calls.into_iter().enumerate() {
                match call {
                    0 => prop_assert_eq!(recent.insert(key, value), map.insert(key, value)),
                    1 => prop_assert_eq!(recent.remove(&key), map.remove(&key)),
                    _ => prop_assert_eq!(recent.get_mut(&key), map.get_mut(&key)),
                }
                prop_assert_eq!(recent.len(), map.len());
            }
        }
    }
}
