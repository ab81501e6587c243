//! The states in which crashes leave the services, so that a sweep goes on from each of them only once.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Drive, DriveError};
use crate::calls::{Call, Effect};
use crate::case::CaseId;
use crate::observe::Observation;
use crate::schedule::Schedule;
use crate::settle::{self, Goal};
use crate::subject::Subject;

/// The states in which processes were killed, with the schedule that has reached each of them first. Clones share them.
///
/// Two states of a case are the same if the same process has ended, the others have made the same calls since they were
/// started, and everything that lasts is the same: committed offsets with their metadata, which is where a pipeline may keep
/// an intent, items, objects, uploads, tables of the catalog, queues, and records of other topics. How often a message of a
/// queue was received is no part of it.
#[derive(Debug, Clone, Default)]
pub struct KilledStates {
    known: Arc<Mutex<HashMap<(CaseId, u64), Known>>>,
    /// Up to how many crashes runs look at the states that one more at each of their calls would leave.
    foreseen: usize,
}

/// A state that is known.
#[derive(Debug)]
struct Known {
    /// The schedule that has reached it, or is expected to.
    schedule: Schedule,
    is_reached: bool,
}

impl KilledStates {
    /// Without a state. Those of up to `foreseen` crashes in a run are looked for before it is run.
    pub(crate) fn new(foreseen: usize) -> Self {
        Self { known: Arc::default(), foreseen }
    }

    /// Whether the states of runs with so many crashes are looked for before.
    pub(super) fn are_foreseen(&self, crashes: usize) -> bool {
        crashes <= self.foreseen
    }

    /// Notes that a state was reached. Gives the schedule that had reached it before, if one had.
    pub(crate) fn reach(&self, case: &CaseId, state: u64, schedule: &Schedule) -> Option<Schedule> {
        let mut states = self.states();
        let reached = || Known { schedule: schedule.clone(), is_reached: true };
        let known = states.entry((case.clone(), state)).or_insert_with(reached);
        if known.is_reached && known.schedule != *schedule {
            return Some(known.schedule.clone());
        }
        *known = reached();
        None
    }

    /// Says that a schedule is expected to reach a state. False if another one has reached it or is expected to.
    pub(crate) fn expect(&self, case: &CaseId, state: u64, schedule: &Schedule) -> bool {
        let mut states = self.states();
        let expected = || Known { schedule: schedule.clone(), is_reached: false };
        states.entry((case.clone(), state)).or_insert_with(expected).schedule == *schedule
    }

    /// Whether a state was reached.
    pub(crate) fn is_reached(&self, case: &CaseId, state: u64) -> bool {
        self.states().get(&(case.clone(), state)).is_some_and(|known| known.is_reached)
    }

    fn states(&self) -> MutexGuard<'_, HashMap<(CaseId, u64), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state in which a process has ended: `lasting` is what the services hold, and `calls` are those that the other processes
/// have made since they were started.
///
/// How often a process has waited for a message, or has read the same, says nothing of its state.
pub(crate) fn after_death<'a>(ended: &[&str], calls: impl Iterator<Item = &'a Call>, lasting: u64) -> u64 {
    let mut state = DefaultHasher::new();
    ended.hash(&mut state);
    let mut calls: Vec<_> = calls
        .filter(|call| call.effect != Effect::Wait)
        .map(|call| (call.effect == Effect::Read, &call.process, &call.operation, &call.target))
        .collect();
    calls.sort();
    calls.dedup_by(|a, b| a == b && a.0);
    calls.hash(&mut state);
    lasting.hash(&mut state);
    state.finish()
}

/// The parts of a text without the times at which S3 told of objects, for they are others in every run.
fn timeless(text: &str) -> impl Iterator<Item = &str> {
    const TIME: &str = "\"eventTime\":\"";
    text.split_inclusive(TIME).scan(false, |is_time, part| {
        let end = if *is_time { part.find('"').unwrap_or_default() } else { 0 };
        *is_time = part.ends_with(TIME);
        Some(&part[end..])
    })
}

impl Drive<'_> {
    /// The schedule that has left the services in the same state before, if states are noted.
    pub(super) fn left_before(&self, goal: &Goal, subjects: &[Subject]) -> Result<Option<Schedule>, DriveError> {
        let Some(states) = self.killed_states else { return Ok(None) };
        self.settling(subjects).quiet();
        let before = self.stack.calls().count();
        let lasting = self.lasting(goal)?;
        let calls = self.stack.calls().snapshot();
        // The processes that are left have changed it meanwhile.
        if calls.len() != before {
            return Ok(None);
        }
        let names = |has_ended: bool| {
            let subjects = subjects.iter().filter(move |subject| subject.status().is_some() == has_ended);
            subjects.map(Subject::name).collect::<Vec<_>>()
        };
        let state = {
            let found = self.evidence.found();
            after_death(&names(true), found.calls_of(&calls, |name| names(false).contains(&name)), lasting)
        };
        Ok(states.reach(&self.case.id, state, self.schedule))
    }

    /// A digest of what the services hold.
    pub(super) fn lasting(&self, goal: &Goal) -> Result<u64, DriveError> {
        let mut state = DefaultHasher::new();
        settle::committed(self.stack, goal)?.hash(&mut state);
        timeless(&Observation::of(self.case, self.stack)?.text()).for_each(|part| part.hash(&mut state));
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
        Ok(state.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_known_by_the_first_schedule_that_has_left_it_in_the_same_case() {
        let states = KilledStates::default();
        let [one, two] = ["one", "two"].map(|name| CaseId { protocol: "p".into(), name: name.into() });
        let [first, second] = schedules();
        assert_eq!(states.reach(&one, 7, &first), None);
        assert_eq!(states.clone().reach(&one, 7, &second), Some(first.clone()));
        assert_eq!(states.reach(&two, 7, &second), None);
        assert_eq!(states.reach(&one, 8, &second), None);
    }

    #[test]
    fn a_state_that_is_only_expected_belongs_to_who_reaches_it() {
        let states = KilledStates::default();
        let id = CaseId { protocol: "p".into(), name: "one".into() };
        let [first, second] = schedules();
        assert!(states.expect(&id, 7, &first) && !states.expect(&id, 7, &second));
        assert!(!states.is_reached(&id, 7));
        assert_eq!(states.reach(&id, 7, &second), None, "the first one has ended elsewhere, or runs later");
        assert!(states.is_reached(&id, 7) && !states.expect(&id, 7, &first));
        assert_eq!(states.reach(&id, 7, &first), Some(second));
    }

    #[test]
    fn the_time_of_an_event_is_no_part_of_a_state() {
        let event =
            |time: &str| format!(r#"{{"Records":[{{"eventTime":"{time}","eventName":"Put"}}]}} and {{"eventTime":"#);
        let texts =
            [event("2026-11-28T18:54:36.168Z"), event("2026-11-28T18:54:25Z"), event("").replace("Put", "Delete")];
        let [first, second, other] = texts.each_ref().map(|text| timeless(text).collect::<String>());
        assert_eq!(first, second);
        assert!(first.contains("eventName") && first != other, "{first}");
    }

    fn schedules() -> [Schedule; 2] {
        ["s3.PutObject:1", "s3.PutObject:1:after"]
            .map(|point| format!("killed:{point}").parse::<Schedule>().expect("a schedule"))
    }
}
