//! When workers are ready: what each of them has printed by then.

use std::collections::BTreeMap;

use super::pipeline::Pipeline;

/// What a worker of this project prints for each partition that it gets.
const ASSIGNED: &str = "partition assigned";

/// What tells that a worker is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ready {
    /// Each group has given a worker of this project its share of the partitions.
    HasPartitions,
    /// It has printed this text.
    Says(String),
}

impl Ready {
    /// The text that a worker prints, and how often it has printed it when it is ready.
    fn says(&self, pipeline: &Pipeline) -> (&str, usize) {
        match self {
            Self::Says(text) => (text, 1),
            Self::HasPartitions => {
                let partitions: usize = pipeline.consumed().filter_map(|(_, count)| usize::try_from(*count).ok()).sum();
                let share = partitions / pipeline.workers().count().max(1);
                (ASSIGNED, share * pipeline.case.settings.groups.len())
            }
        }
    }
}

/// Workers that are waited for until they are ready.
pub(super) struct Awaited {
    ready: Ready,
    /// How often each process has said so, in how many of its lines. A log is long, so only what is new in it is read.
    said: BTreeMap<i32, (usize, usize)>,
}

impl Awaited {
    pub(super) fn new(ready: Ready) -> Self {
        Self { ready, said: BTreeMap::new() }
    }

    /// A worker that is not ready, and what it has yet to say; `None` if all workers are ready.
    pub(super) fn is_missed_by(&mut self, pipeline: &Pipeline) -> Option<String> {
        let (text, times) = self.ready.says(pipeline);
        let missing = pipeline.workers().find_map(|worker| {
            let (said, lines) = self.said.entry(worker.subject.id()).or_default();
            let (more, all) = worker.log.count(text, *lines);
            (*said, *lines) = (*said + more, all);
            (*said < times).then_some((&worker.name, *said))
        });
        missing.map(|(worker, said)| format!("{worker} has printed `{text}` {said} of {times} times"))
    }
}
