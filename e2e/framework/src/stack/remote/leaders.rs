//! The leaders of a test's partitions, and the coordinators of its groups, move to the other broker of its cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Remote;
use super::reassign::{Replica, reassign};
use crate::stack::StackError;
use crate::stack::kafka::PATIENCE;

/// The topic whose partitions' leaders are the coordinators of groups.
const OFFSETS: &str = "__consumer_offsets";

/// How often it is asked whether the leaders have moved.
const LOOK: Duration = Duration::from_millis(20);

impl Remote {
    /// Gives every partition of the test's topics, and those in which the commits of these groups are, to the next broker,
    /// and waits until it leads them. False if the cluster has one broker, or is not the framework's own.
    pub(super) fn move_to_other_brokers(&self, groups: &[String]) -> Result<bool, StackError> {
        let Some(at) = self.relay.as_ref().and_then(|relay| relay.brokers().next()) else { return Ok(false) };
        // The topic of offsets is created when a coordinator is looked for.
        for group in groups {
            self.kafka.committed(group, &[])?;
        }
        let cluster = self.kafka.cluster()?;
        if cluster.brokers.len() < 2 {
            return Ok(false);
        }
        let topics = self.created(|created| created.topics.clone());
        let offsets = cluster.leaders.keys().filter(|(topic, _)| topic == OFFSETS).count();
        let of_groups: BTreeSet<i32> = groups.iter().filter_map(|group| partition_of_group(group, offsets)).collect();
        let is_ours = |topic: &str, partition: i32| {
            topics.contains(topic) || (topic == OFFSETS && of_groups.contains(&partition))
        };
        let mut moves = BTreeMap::new();
        for ((topic, partition), leader) in cluster.leaders.iter().filter(|((topic, n), _)| is_ours(topic, *n)) {
            let next = cluster.brokers.iter().find(|broker| *broker > leader).or(cluster.brokers.first());
            moves.extend(next.map(|next| ((topic.clone(), *partition), *next)));
        }
        let replicas =
            moves.iter().map(|((topic, partition), broker)| Replica { topic, partition: *partition, broker: *broker });
        let action = || format!("moving the leaders of {} partitions to other brokers", moves.len());
        reassign(at, &replicas.collect::<Vec<_>>()).map_err(|error| StackError::new(action(), error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leaders = self.kafka.cluster()?.leaders;
            match moves.iter().find(|(place, broker)| leaders.get(*place) != Some(*broker)) {
                None => return Ok(true),
                Some(((topic, partition), broker)) if Instant::now() > deadline => {
                    let problem = format!("broker {broker} does not lead {topic}-{partition} after {PATIENCE:?}");
                    return Err(StackError::new(action(), problem));
                }
                Some(_) => std::thread::sleep(LOOK),
            }
        }
    }
}

/// The partition of the topic of offsets in which the commits of a group are: as Kafka has it, by Java's `hashCode` of the
/// name without its sign. `None` if the topic has no partitions.
fn partition_of_group(group: &str, partitions: usize) -> Option<i32> {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & i32::MAX).checked_rem(i32::try_from(partitions).ok()?)
}

#[cfg(test)]
mod tests {
    use super::partition_of_group;

    #[test]
    fn the_partition_of_a_group_is_the_one_that_kafka_chooses() {
        // "hello".hashCode() is 99162322, and "polygenelubricants".hashCode() is the lowest of all numbers.
        assert_eq!(partition_of_group("hello", 50), Some(22));
        assert_eq!(partition_of_group("polygenelubricants", 50), Some(0));
        assert_eq!(partition_of_group("hello", 0), None);
    }
}
