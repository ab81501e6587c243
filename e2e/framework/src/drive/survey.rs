//! Looks at the services at each call of a pipeline, so that a sweep knows which crashes would leave the same state.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::Drive;
use crate::calls::{Calls, Look, Moment};

/// What was seen at a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The number of the call.
    pub call: usize,
    /// Before its service received it, or after the service had answered.
    pub moment: Moment,
    /// How many calls had begun, this one among them.
    pub calls: usize,
    /// How many requests to Kafka there had been.
    pub requests: usize,
    /// A digest of what the services held. It is `None` if that changed meanwhile.
    pub lasting: Option<u64>,
}

/// For how long calls wait in one run, all together. To look at much takes long, and a pipeline has its own time limits. What
/// was not seen is run.
const LIMIT: Duration = Duration::from_secs(1);

/// By what it is known whether the services may hold something else: calls that change something, calls that wait and were
/// answered, and requests to Kafka.
type Version = (usize, usize, usize);

/// No call waits any more when this is dropped.
struct Ends<'a>(&'a Calls);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.look_at_each(None);
    }
}

impl Drive<'_> {
    /// Runs `run`, which lets the pipeline work after so many crashes. Meanwhile calls wait until they were seen, if the states
    /// of one crash more are foreseen.
    pub(super) fn surveyed<T>(&self, crashes: usize, run: impl FnOnce() -> T) -> T {
        if !self.killed_states.is_some_and(|states| states.are_foreseen(crashes + 1)) {
            return run();
        }
        let (looks, looked) = mpsc::channel();
        self.stack.calls().look_at_each(Some(looks));
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut last, mut took) = (None, Duration::ZERO);
                for look in looked {
                    if took < LIMIT {
                        let begun = Instant::now();
                        let seen = self.see(&look, &mut last);
                        self.evidence.found().seen.push(seen);
                        took += begun.elapsed();
                    } else {
                        self.stack.calls().look_at_each(None);
                    }
                    drop(look.goes_on);
                }
            });
            // The thread ends when the last call has gone on, also if `run` panics.
            let _ends = Ends(self.stack.calls());
            run()
        })
    }

    /// Looks at the services. What they held last is not read again if nothing can have changed it since.
    fn see(&self, look: &Look, last: &mut Option<(Version, u64)>) -> Seen {
        let calls = self.stack.calls();
        let requests = || self.stack.kafka_requests().map_or(0, |requests| requests.len());
        let except = (look.moment == Moment::Before).then_some(look.call);
        let version = || {
            let (writes, waited) = calls.effects(except);
            (writes, waited, requests())
        };
        let (begun, before) = (calls.progress(), version());
        let seen = Seen { call: look.call, moment: look.moment, calls: begun.0, requests: before.2, lasting: None };
        // Another call that is under way may change something at any time.
        if !calls.is_alone(look.call) {
            return seen;
        }
        let known = last.filter(|(known, _)| *known == before).map(|(_, lasting)| lasting);
        let goal = || self.evidence.found().goal.clone();
        let lasting = known.or_else(|| self.lasting(&goal()?).ok());
        let lasting = lasting.filter(|_| (calls.progress(), version()) == (begun, before));
        *last = lasting.map(|lasting| (before, lasting));
        Seen { lasting, ..seen }
    }
}
