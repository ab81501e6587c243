//! How messages were made, so that they can be made again.

use serde::{Deserialize, Serialize};

use crate::in_time::InTime;
use crate::timetable::LAST_SECOND;
use crate::{Fleet, Message, Protocol, Protocols, Rates, Rhythm, Shard, Simulation};

/// How the messages of a run were made. The same values give the same messages, byte by byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The number of the fleet.
    pub seed: u64,
    /// The number of the first vehicle.
    pub first: u64,
    /// The number before which the vehicles end.
    pub vehicles: u64,
    /// Which part of them has sent, as `1/2`.
    #[serde(with = "as_text")]
    pub shard: Shard,
    /// The first second, since the Unix epoch.
    pub from: i64,
    /// The second before which the run ended.
    pub until: i64,
    /// The second in which the fleet began to send.
    pub since: i64,
    /// How days pass.
    pub rhythm: Rhythm,
    /// What was sent, as `object/type/command`.
    pub protocols: Vec<String>,
    /// What went wrong.
    pub faults: Rates,
    /// Messages from `until` on that have arrived as well, by their numbers in the order of time: the first and the last
    /// of each group. The run that goes on sends them again, so they are copies of what it sends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<[u64; 2]>,
}

impl Made {
    /// The simulation that has made the messages. An error names a protocol that this version does not know.
    pub fn simulation(&self) -> Result<Simulation, String> {
        let known = |name: &String| {
            let known = Protocol::ALL.into_iter().find(|protocol| protocol.to_string() == *name);
            known.ok_or_else(|| format!("there is no protocol `{name}`"))
        };
        let protocols: Vec<Protocol> = self.protocols.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Simulation {
            fleet: Fleet::new(self.seed),
            since: self.since,
            rhythm: self.rhythm,
            rates: self.faults.clone(),
            protocols: protocols.into_iter().collect(),
        })
    }

    /// Gives every message once more, in the order in which they were sent.
    pub fn each_message(&self, mut each: impl FnMut(&Message)) -> Result<(), String> {
        let simulation = self.simulation()?;
        for departure in simulation.plan_of(self.first..self.vehicles, self.shard, self.from, self.until) {
            each(&simulation.message(&departure));
        }
        let later = simulation.plan_of(self.first..self.vehicles, self.shard, self.until, LAST_SECOND);
        let end = self.beyond.last().map_or(0, |[_, last]| last + 1);
        for (number, departure) in (0..end).zip(InTime::new(later)) {
            if self.beyond.iter().any(|[first, last]| (*first..=*last).contains(&number)) {
                each(&Message { is_copy: true, ..simulation.message(&departure) });
            }
        }
        Ok(())
    }

    /// Numbers in order, as [`Made::beyond`] has them.
    pub(crate) fn grouped(numbers: impl Iterator<Item = u64>) -> Vec<[u64; 2]> {
        let mut groups: Vec<[u64; 2]> = Vec::new();
        for number in numbers {
            match groups.last_mut() {
                Some([_, last]) if *last + 1 == number => *last = number,
                _ => groups.push([number, number]),
            }
        }
        groups
    }

    /// The names of protocols, as [`Made::protocols`] has them.
    pub fn names(protocols: Protocols) -> Vec<String> {
        Protocol::ALL.into_iter().filter(|one| protocols.contains(*one)).map(|one| one.to_string()).collect()
    }
}

mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::Shard;

    pub(super) fn serialize<S: Serializer>(shard: &Shard, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(shard)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Shard, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
