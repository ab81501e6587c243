//! The states that crashes would leave, by what was seen at calls.

use crate::calls::{Call, Effect, Moment};
use crate::drive::{Seen, after_death};

/// What was seen in a run.
pub(super) struct States<'a> {
    /// In the order in which it was seen.
    pub seen: &'a [Seen],
    /// All calls of the run.
    pub calls: &'a [Call],
    pub processes: &'a Processes,
}

impl States<'_> {
    /// The state that a crash at this moment of a call leaves, if it was seen.
    pub(super) fn at_call(&self, call: &Call, moment: Moment) -> Option<u64> {
        let seen = self.seen.iter().find(|seen| (seen.call, seen.moment) == (call.number, moment))?;
        self.after_death_of(&call.process, seen.lasting?, seen.calls)
    }

    /// The same for a request to Kafka, of which the first process dies: what was seen last before it or first after it, unless
    /// a call has changed something between the two.
    pub(super) fn at_request(&self, number: usize, moment: Moment) -> Option<u64> {
        let after = self.seen.iter().position(|seen| seen.requests >= number)?;
        let [before, after] = [self.seen.get(after.checked_sub(1)?)?, &self.seen[after]];
        let changes = |call: &Call| call.number == before.call && call.effect != Effect::Read;
        let is_between = before.call == after.call && self.calls.iter().any(changes);
        if before.requests + 1 != number || after.requests != number || is_between {
            return None;
        }
        let seen = if moment == Moment::Before { before } else { after };
        self.after_death_of("", seen.lasting?, before.calls)
    }

    /// `calls` is how many calls there had been.
    fn after_death_of(&self, process: &str, lasting: u64, calls: usize) -> Option<u64> {
        let Processes(processes) = self.processes;
        // A name that none of the processes was given is one that the first process has chosen for itself.
        let (dead, _) = processes.iter().find(|(name, _)| name == process).or(processes.first())?;
        let made = self.calls.get(..calls)?;
        Some(after_death(&[dead], self.processes.calls(made, |name| name != dead), lasting))
    }
}

/// The names of the pipeline's processes, of which the first one may have none, and how many calls there had been when each
/// was started for the last time.
#[derive(Debug, Default)]
pub(crate) struct Processes(Vec<(String, usize)>);

impl Processes {
    /// Notes that a process is about to be started. Those of a run are started in turn the first time.
    pub(super) fn start(&mut self, name: &str, calls: usize) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, start)) => *start = calls,
            None => self.0.push((name.to_owned(), calls)),
        }
    }

    /// Those of these calls that the processes with certain names have made since they were started. `calls` are all of the
    /// run so far.
    pub(super) fn calls<'c>(&self, calls: &'c [Call], is_of: impl Fn(&str) -> bool) -> impl Iterator<Item = &'c Call> {
        calls.iter().filter(move |call| {
            self.0.iter().any(|(name, start)| is_of(name) && *name == call.process && call.number > *start)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Calls, Request};

    fn seen(call: usize, moment: Moment, requests: usize, lasting: u64) -> Seen {
        Seen { call, moment, calls: call, requests, lasting: Some(lasting) }
    }

    fn processes() -> Processes {
        let mut processes = Processes::default();
        processes.start("", 0);
        processes.start("poller", 0);
        processes
    }

    #[test]
    fn what_a_process_did_before_it_was_started_again_does_not_count() {
        let (calls, mut processes) = (calls(), processes());
        let made = |processes: &Processes| -> Vec<usize> {
            processes.calls(&calls, str::is_empty).map(|call| call.number).collect()
        };
        assert_eq!(made(&processes), [1, 3]);
        processes.start("", 2);
        assert_eq!(made(&processes), [3]);
    }

    /// A write of the first process, a write of the poller, and one of the first process.
    fn calls() -> Vec<Call> {
        let calls = Calls::default();
        for process in ["", "poller", ""] {
            let (operation, target) = ("PutObject".to_owned(), "raw/a".to_owned());
            let request = Request { operation, target, effect: Effect::Write, can_be_partial: false, deletes: 0 };
            calls.begin("s3", process, request).0.finish(200);
        }
        calls.snapshot()
    }

    #[test]
    fn a_crash_leaves_what_was_seen_at_its_call_and_what_the_other_processes_have_done() {
        let (calls, processes) = (calls(), processes());
        let looks = [
            seen(1, Moment::After, 0, 10),
            seen(2, Moment::Before, 0, 10),
            seen(2, Moment::After, 0, 20),
            seen(3, Moment::Before, 0, 20),
        ];
        let states = States { seen: &looks, calls: &calls, processes: &processes };
        let [first, poller, last] = &calls[..] else { panic!("{calls:?}") };
        let after = |process: &str, calls: usize, lasting| states.after_death_of(process, lasting, calls);
        assert_eq!(states.at_call(first, Moment::After), after("", 1, 10));
        assert_eq!(states.at_call(poller, Moment::After), after("poller", 2, 20));
        assert_eq!(states.at_call(last, Moment::Before), after("", 3, 20));
        assert_ne!(after("", 1, 20), after("", 3, 20), "the poller has made a call");
        assert_eq!(after("poller", 1, 20), after("poller", 2, 20), "the calls of who dies do not count");
        assert_eq!(states.at_call(last, Moment::After), None, "it was not seen");
    }

    #[test]
    fn a_request_is_between_what_was_seen_before_it_and_after_it() {
        let (calls, processes) = (calls(), processes());
        let looks = [
            seen(1, Moment::Before, 0, 10),
            seen(1, Moment::After, 1, 20),
            seen(2, Moment::Before, 2, 30),
            seen(2, Moment::After, 2, 40),
            seen(3, Moment::Before, 4, 50),
        ];
        let states = States { seen: &looks, calls: &calls, processes: &processes };
        let at = |number| [Moment::Before, Moment::After].map(|moment| states.at_request(number, moment));
        assert_eq!(at(1), [None, None], "the write may have come before it");
        assert_eq!(at(2), [states.after_death_of("", 20, 1), states.after_death_of("", 30, 1)]);
        assert_eq!([at(3), at(4)], [[None; 2]; 2], "nothing was seen between the two");
        assert_eq!(at(5), [None, None]);
    }
}
