//! The messages of a plan in the order in which they are due.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::departure::Departure;
use crate::plan::Plan;

/// The departures of a plan by time, where the plan itself gives those of a second by vehicle. It holds one second.
pub(crate) struct InTime<'s> {
    plan: Peekable<Plan<'s>>,
    second: IntoIter<Departure>,
}

impl<'s> InTime<'s> {
    pub(crate) fn new(plan: Plan<'s>) -> Self {
        Self { plan: plan.peekable(), second: Vec::new().into_iter() }
    }
}

impl Iterator for InTime<'_> {
    type Item = Departure;

    fn next(&mut self) -> Option<Departure> {
        if let Some(departure) = self.second.next() {
            return Some(departure);
        }
        let first = self.plan.next()?;
        let second = first.at.div_euclid(1000);
        let mut leaving = vec![first];
        while let Some(departure) = self.plan.next_if(|next| next.at.div_euclid(1000) == second) {
            leaving.push(departure);
        }
        // Those that are due in the same millisecond stay in the order of the plan.
        leaving.sort_by_key(|departure| departure.at);
        self.second = leaving.into_iter();
        self.second.next()
    }
}
