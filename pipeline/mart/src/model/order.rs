//! The order in which models are built: each one after those that it reads.

use std::collections::{BTreeMap, BTreeSet};

/// The names in the order in which they are built; of several orders, the one nearest to that of the names. An error is
/// a cycle: names, each of which reads the next one, and the last the first.
pub(super) fn order(reads: &BTreeMap<&str, BTreeSet<&str>>) -> Result<Vec<String>, Vec<String>> {
    let mut walk = Walk { reads, done: Vec::new(), path: Vec::new() };
    for name in reads.keys() {
        walk.visit(name)?;
    }
    Ok(walk.done)
}

struct Walk<'m> {
    reads: &'m BTreeMap<&'m str, BTreeSet<&'m str>>,
    done: Vec<String>,
    /// Those that are being visited.
    path: Vec<&'m str>,
}

impl<'m> Walk<'m> {
    fn visit(&mut self, name: &'m str) -> Result<(), Vec<String>> {
        if self.done.iter().any(|done| done == name) {
            return Ok(());
        }
        if let Some(start) = self.path.iter().position(|other| *other == name) {
            return Err(self.path[start..].iter().map(|name| (*name).to_owned()).collect());
        }
        self.path.push(name);
        // Those that are no models are tables of the lake.
        for read in self.reads[name].iter().filter(|read| self.reads.contains_key(*read)) {
            self.visit(read)?;
        }
        self.path.pop();
        self.done.push(name.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph<'m>(edges: &[(&'m str, &[&'m str])]) -> BTreeMap<&'m str, BTreeSet<&'m str>> {
        edges.iter().map(|(name, reads)| (*name, reads.iter().copied().collect())).collect()
    }

    #[test]
    fn a_model_follows_those_that_it_reads() {
        let order = order(&graph(&[("a", &["c", "raw"]), ("b", &["a"]), ("c", &["raw"])]));
        assert_eq!(order, Ok(["c", "a", "b"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_cycle_is_named_without_those_who_lead_to_it() {
        let cycle = order(&graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])]));
        assert_eq!(cycle, Err(["b", "c", "d"].map(str::to_owned).to_vec()));
        assert_eq!(order(&graph(&[("a", &["a"])])), Err(vec!["a".to_owned()]));
    }

    proptest! {
        #[test]
        fn every_model_is_there_once_after_what_it_reads(edges in prop::collection::vec((0..9_usize, 0..9_usize), 0..20)) {
            const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            let mut reads: BTreeMap<&str, BTreeSet<&str>> = NAMES.iter().map(|name| (*name, BTreeSet::new())).collect();
            for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
                // Those with the smaller number read the others, so there is no cycle.
                reads.get_mut(NAMES[a.min(b)]).expect("a name").insert(NAMES[a.max(b)]);
            }
            let order = order(&reads).expect("no cycle");
            prop_assert_eq!(order.len(), NAMES.len());
            for (at, name) in order.iter().enumerate() {
                prop_assert!(reads[name.as_str()].iter().all(|read| order[..at].iter().any(|before| before == read)));
            }
        }
    }
}
