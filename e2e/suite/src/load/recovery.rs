//! How a pipeline recovers after its broker was away: how long until everything is stored that was sent meanwhile.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A recovery that has not ended.
#[derive(Debug)]
pub(super) struct Recovering {
    pub(super) step: String,
    /// For how many seconds the broker was away, and since when it is there again.
    pub(super) away: f64,
    pub(super) since: Instant,
    /// How many messages had been sent by then. Those that wait in the client of the fleet are among them.
    pub(super) sent: i64,
}

/// The recoveries of a run: one for each time that the broker was away, also if it is away again before one has ended.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    going_on: Vec<Recovering>,
    pub(super) ended: Vec<Recovery>,
}

/// How a pipeline has recovered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The step in which the broker was away.
    pub step: String,
    /// For how many seconds it was away.
    pub away: f64,
    /// How many seconds after its return every group had stored what was sent by then.
    pub seconds: f64,
    /// When the broker was there again, in seconds since the begin of the run.
    pub since: f64,
}

impl Recoveries {
    /// The broker is there again.
    pub(super) fn begin(&mut self, recovering: Recovering) {
        self.going_on.push(recovering);
    }

    /// Whether one has not ended.
    pub(super) fn go_on(&self) -> bool {
        !self.going_on.is_empty()
    }

    /// Takes note of those that have ended, as [`Recovering::ended`] says it.
    pub(super) fn note(&mut self, least_stored: i64, begin: Instant) {
        let ended = &mut self.ended;
        self.going_on.retain(|recovering| {
            let recovery = recovering.ended(least_stored, begin);
            let goes_on = recovery.is_none();
            ended.extend(recovery);
            goes_on
        });
    }
}

impl Recovering {
    /// The recovery, if a group that has stored so many messages is the last one that has recovered.
    pub(super) fn ended(&self, least_stored: i64, begin: Instant) -> Option<Recovery> {
        (least_stored >= self.sent).then(|| Recovery {
            step: self.step.clone(),
            away: self.away,
            seconds: self.since.elapsed().as_secs_f64(),
            since: self.since.duration_since(begin).as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_has_recovered_when_the_last_group_has_stored_what_was_sent() {
        let begin = Instant::now();
        let recovering = Recovering { step: "away".to_owned(), away: 5.0, since: begin, sent: 100 };
        assert_eq!(recovering.ended(99, begin), None);
        let recovery = recovering.ended(100, begin).expect("it has recovered");
        assert!(recovery.seconds >= 0.0 && recovery.since.abs() < 1e-9, "{recovery:?}");
    }

    #[test]
    fn an_outage_during_a_recovery_does_not_end_it() {
        let begin = Instant::now();
        let mut recoveries = Recoveries::default();
        let recovering = |step: &str, sent| Recovering { step: step.to_owned(), away: 5.0, since: begin, sent };
        recoveries.begin(recovering("first", 100));
        recoveries.note(60, begin);
        recoveries.begin(recovering("second", 200));
        recoveries.note(150, begin);
        let ended = |recoveries: &Recoveries| recoveries.ended.iter().map(|one| one.step.clone()).collect::<Vec<_>>();
        assert!(recoveries.go_on() && ended(&recoveries) == ["first"]);
        recoveries.note(200, begin);
        assert!(!recoveries.go_on() && ended(&recoveries) == ["first", "second"]);
    }
}
