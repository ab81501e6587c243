//! Which worker runs which task: tasks are dealt to slots, and Kafka's group protocol shares out the slots.
//!
//! All tasks, in the order of their connectors' names, are spread evenly over the slots, each in the middle of its share.
//! The protocol gives each worker a range of slots (its assignor `range`), so each gets about as many tasks as any other.
//! Every worker computes the same from the same configurations.

use std::collections::{BTreeMap, BTreeSet};

/// The tasks of a worker that was assigned these slots, by connector, given the number of tasks of each connector.
pub(crate) fn dealt(tasks: &BTreeMap<String, u32>, slots: u32, own: &BTreeSet<u32>) -> BTreeMap<String, BTreeSet<u32>> {
    let total: u64 = tasks.values().map(|count| u64::from(*count)).sum();
    let numbers = tasks.iter().flat_map(|(name, count)| (0..*count).map(move |task| (name, task)));
    let mut dealt = BTreeMap::<String, BTreeSet<u32>>::new();
    for (at, (name, task)) in (0_u64..).zip(numbers) {
        if u32::try_from((2 * at + 1) * u64::from(slots) / (2 * total)).is_ok_and(|slot| own.contains(&slot)) {
            dealt.entry(name.clone()).or_default().insert(task);
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slots of each of so many workers, as the assignor `range` gives them.
    fn ranges(slots: u32, workers: u32) -> Vec<BTreeSet<u32>> {
        let (each, more) = (slots / workers, slots % workers);
        let start = |worker: u32| worker * each + worker.min(more);
        (0..workers).map(|worker| (start(worker)..start(worker + 1)).collect()).collect()
    }

    #[test]
    fn three_tasks_go_to_three_workers() {
        let tasks = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let dealt: Vec<_> = ranges(32, 3).iter().map(|own| dealt(&tasks, 32, own)).collect();
        let of = |name: &str, task: u32| BTreeMap::from([(name.to_owned(), BTreeSet::from([task]))]);
        assert_eq!(dealt, [of("a", 0), of("b", 0), of("b", 1)]);
    }

    proptest! {
        #[test]
        fn every_task_has_one_worker_and_no_worker_has_many_more_than_another(
            tasks in proptest::collection::btree_map("[a-z]{1,3}", 1_u32..9, 1..6),
            slots in 1_u32..60,
            workers in 1_u32..6,
        ) {
            let dealt: Vec<_> = ranges(slots, workers).iter().map(|own| dealt(&tasks, slots, own)).collect();
            let total: u32 = tasks.values().sum();
            let counts: Vec<usize> = dealt.iter().map(|own| own.values().map(BTreeSet::len).sum()).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), total as usize);
            for (name, count) in &tasks {
                let all: BTreeSet<u32> = dealt.iter().filter_map(|own| own.get(name)).flatten().copied().collect();
                prop_assert_eq!(all, (0..*count).collect::<BTreeSet<_>>());
            }
            if total <= slots {
                let (least, most) = (counts.iter().min(), counts.iter().max());
                prop_assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 2, "{:?}", counts);
            }
        }
    }
}
