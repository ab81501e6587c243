//! When workers are ready: what each of them has printed by then.

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

    /// A worker that is not ready, and what it has yet to say; `None` if all workers are ready.
    pub(super) fn is_missed_by(&self, pipeline: &Pipeline) -> Option<String> {
        let (text, times) = self.says(pipeline);
        let missing = pipeline.workers().find_map(|worker| {
            let said = worker.log.text().matches(text).count();
            (said < times).then_some((&worker.name, said))
        });
        missing.map(|(worker, said)| format!("{worker} has printed `{text}` {said} of {times} times"))
    }
}
