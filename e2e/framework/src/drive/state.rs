//! The states in which crashes have left the services, so that a sweep goes on from each of them only once.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Drive, DriveError};
use crate::calls::Effect;
use crate::case::CaseId;
use crate::observe::Observation;
use crate::schedule::Schedule;
use crate::settle::{self, Goal};
use crate::subject::Subject;

/// The states in which processes were killed, with the schedule that has reached each of them first. Clones share them.
///
/// Two states of a case are the same if the same process has ended, the others have made the same calls, and everything that
/// lasts is the same: committed offsets with their metadata, which is where a pipeline may keep an intent, items, objects,
/// uploads, tables of the catalog, queues, and records of other topics.
#[derive(Debug, Clone, Default)]
pub struct KilledStates(Arc<Mutex<HashMap<(CaseId, u64), Schedule>>>);

impl KilledStates {
    /// Notes a state. Gives the schedule that had reached it before, if one had.
    fn note(&self, case: &CaseId, state: u64, schedule: &Schedule) -> Option<Schedule> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = states.get(&(case.clone(), state)).cloned();
        if earlier.is_none() {
            states.insert((case.clone(), state), schedule.clone());
        }
        earlier
    }
}

impl Drive<'_> {
    /// The schedule that has left the services in the same state before, if states are noted.
    pub(super) fn left_before(&self, goal: &Goal, subjects: &[Subject]) -> Result<Option<Schedule>, DriveError> {
        let Some(states) = self.killed_states else { return Ok(None) };
        let Some(state) = self.state(goal, subjects)? else { return Ok(None) };
        Ok(states.note(&self.case.id, state, self.schedule))
    }

    /// The state of the services, or `None` if the processes that are left change it meanwhile.
    fn state(&self, goal: &Goal, subjects: &[Subject]) -> Result<Option<u64>, DriveError> {
        self.settling(subjects).quiet();
        let calls = self.stack.calls().snapshot();
        let before = calls.len();
        let mut state = DefaultHasher::new();
        for subject in subjects.iter().filter(|subject| subject.status().is_some()) {
            subject.name().hash(&mut state);
        }
        let is_left = |name: &str| subjects.iter().any(|subject| subject.name() == name && subject.status().is_none());
        let mut calls: Vec<String> = calls
            .iter()
            // How often a process has waited for a message says nothing of its state.
            .filter(|call| is_left(&call.process) && call.effect != Effect::Wait)
            .map(|call| format!("{} {} {}", call.process, call.operation, call.target))
            .collect();
        calls.sort();
        calls.hash(&mut state);
        settle::offsets(self.stack, goal).hash(&mut state);
        Observation::of(self.case, self.stack)?.text().hash(&mut state);
        let mut text = String::new();
        for bucket in &self.case.settings.resources.buckets {
            for (key, _) in self.stack.objects(bucket)? {
                let _ = writeln!(text, "{bucket}/{key}");
            }
        }
        for queue in self.case.settings.resources.queues.keys() {
            let _ = writeln!(text, "{queue}: {:?}", self.stack.queue(queue)?);
        }
        text.hash(&mut state);
        Ok((self.stack.calls().count() == before).then(|| state.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_known_by_the_first_schedule_that_has_left_it_in_the_same_case() {
        let states = KilledStates::default();
        let [one, two] = ["one", "two"].map(|name| CaseId { protocol: "p".into(), name: name.into() });
        let [first, second] = ["s3.PutObject:1", "s3.PutObject:1:after"]
            .map(|point| format!("killed:{point}").parse::<Schedule>().expect("a schedule"));
        assert_eq!(states.note(&one, 7, &first), None);
        assert_eq!(states.clone().note(&one, 7, &second), Some(first.clone()));
        assert_eq!(states.note(&two, 7, &second), None);
        assert_eq!(states.note(&one, 8, &second), None);
    }
}
