//! What a verdict says of the problem of its check: it begins, goes on, or ends on the days that are well.

use super::{Happened, days};
use crate::config::Config;
use crate::state::{Days, Event, Found, Line, Problem, State, Thread, Trouble};
use crate::verdict::{Id, Outcome, Verdict};

/// Where an open problem is.
pub(super) enum Place {
    /// Among those that were found just now.
    Fresh(usize),
    Held(usize),
    Thread(usize, usize),
}

pub(super) fn find(state: &State, happened: &Happened, id: &Id) -> Option<Place> {
    let is_it = |problem: &Problem| problem.is_open() && problem.id == *id;
    if let Some(at) = happened.fresh.iter().position(is_it) {
        return Some(Place::Fresh(at));
    }
    if let Some(at) = state.held.iter().position(is_it) {
        return Some(Place::Held(at));
    }
    let in_thread = |(at, thread): (usize, &Thread)| {
        thread.problems.iter().position(is_it).map(|problem| Place::Thread(at, problem))
    };
    state.threads.iter().enumerate().find_map(in_thread)
}

/// Takes a verdict that is newer than all others of its check.
pub(super) fn take(state: &mut State, config: &Config, verdict: &Verdict, happened: &mut Happened) {
    let trouble = match verdict.outcome {
        Outcome::Fail if verdict.severity >= config.severity => Some(Trouble::Failed),
        Outcome::Error => Some(Trouble::CouldNotRun),
        _ => None,
    };
    match (find(state, happened, &verdict.id), trouble) {
        (None, None) => {}
        (None, Some(trouble)) => happened.fresh.push(problem(verdict, trouble)),
        // Nobody has been told yet of what was found just now or is held back: that the check runs again does not end it.
        (Some(Place::Fresh(at)), Some(trouble)) => goes_on(&mut happened.fresh[at], verdict, trouble, |_| false),
        (Some(Place::Fresh(at)), None) => {
            if ends(&mut happened.fresh[at], verdict, |_| false) {
                happened.fresh.remove(at);
            }
        }
        (Some(Place::Held(at)), Some(trouble)) => goes_on(&mut state.held[at], verdict, trouble, |_| false),
        (Some(Place::Held(at)), None) => {
            if ends(&mut state.held[at], verdict, |found| is_ended_later(config, verdict, found)) {
                state.held.remove(at);
            }
        }
        (Some(Place::Thread(thread, at)), Some(trouble)) => {
            let number = state.threads[thread].number;
            let before = &mut state.threads[thread].problems[at];
            let is_worse =
                before.bad > 0 && verdict.bad >= before.told_bad.saturating_mul(2) && verdict.bad > before.bad;
            let is_other = before.trouble != trouble || is_worse;
            goes_on(before, verdict, trouble, |found| runs_again(found, verdict));
            let lines = happened.threads.entry(number).or_default();
            if is_other {
                before.told_bad = before.bad;
                lines.push(Line { event: Event::Changed, problem: before.clone() });
            }
        }
        (Some(Place::Thread(thread, at)), None) => {
            let number = state.threads[thread].number;
            let before = &mut state.threads[thread].problems[at];
            let (as_it_was, was) = (before.clone(), before.trouble);
            let is_over = |found: &Found| is_ended_later(config, verdict, found) || runs_again(found, verdict);
            if ends(before, verdict, is_over) {
                before.resolved = Some(how(&as_it_was, verdict));
                let line = Line { event: Event::Resolved, problem: before.clone() };
                happened.threads.entry(number).or_default().push(line);
            } else if *before != as_it_was {
                let lines = happened.threads.entry(number).or_default();
                // The check runs again, and what it found earlier is still there.
                if was != before.trouble {
                    lines.push(Line { event: Event::Changed, problem: before.clone() });
                }
            }
        }
    }
}

/// Takes what a check finds once more, or of other days, into its problem, without the days that are over though it has not
/// looked at them.
fn goes_on(before: &mut Problem, verdict: &Verdict, trouble: Trouble, is_over: impl Fn(&Found) -> bool) {
    let (since, told_bad, mut open) = (before.since, before.told_bad, found(before));
    let now = problem(verdict, trouble);
    open.retain(|found| !verdict.days().has(found.days) && !is_over(found));
    open.extend(now.open);
    *before = Problem { since, told_bad, open, ..now };
}

/// Whether a check can run again, and has passed over days of which it could not say anything: a later run says something of
/// days after them. A run that looks at such days again says so first, for it goes through the days in their order.
fn runs_again(found: &Found, verdict: &Verdict) -> bool {
    found.trouble == Trouble::CouldNotRun
        && verdict.outcome != Outcome::Error
        && verdict.ran_at > found.ran_at
        && verdict.from > found.days.to
}

/// The days that a problem is open for. A state of before these were kept knows of the last ones.
pub(super) fn found(problem: &Problem) -> Vec<Found> {
    let Problem { trouble, observed, bad, since, .. } = problem;
    if problem.open.is_empty() && *trouble != Trouble::DidNotRun {
        let (days, observed) = (problem.days(), observed.clone());
        return vec![Found { days, trouble: *trouble, observed, bad: *bad, ran_at: *since }];
    }
    problem.open.clone()
}

/// Whether days that are well end a problem of days before them: the owner has said so of checks with such a tag, because
/// nobody mends what they find.
fn is_ended_later(config: &Config, verdict: &Verdict, found: &Found) -> bool {
    !config.ended_by_later_days.is_disjoint(&verdict.tags) && found.days.to <= verdict.to
}

/// Takes the days that are well from a problem, and those that are over though the check has not looked at them, and says
/// whether it has ended. If it has not, it shows days that are left.
fn ends(problem: &mut Problem, verdict: &Verdict, is_over: impl Fn(&Found) -> bool) -> bool {
    let mut open = found(problem);
    open.retain(|found| !verdict.days().has(found.days) && !is_over(found));
    let Some(last) = open.last().cloned() else { return true };
    if last.days != problem.days() || problem.trouble == Trouble::DidNotRun {
        let Found { days: Days { from, to }, trouble, observed, bad, ran_at: _ } = last;
        // The rows were those of other days.
        *problem = Problem { from, to, trouble, observed, bad, query: None, sample: Vec::new(), ..problem.clone() };
    }
    problem.open = open;
    false
}

fn problem(verdict: &Verdict, trouble: Trouble) -> Problem {
    let &Verdict { bad, ran_at, .. } = verdict;
    Problem {
        id: verdict.id.clone(),
        trouble,
        severity: verdict.severity,
        since: verdict.ran_at,
        from: verdict.from,
        to: verdict.to,
        description: verdict.description.clone(),
        expected: verdict.expected.clone(),
        observed: verdict.observed.clone(),
        bad: verdict.bad,
        told_bad: verdict.bad,
        query: verdict.query.clone(),
        sample: verdict.sample.clone(),
        open: vec![Found { days: verdict.days(), trouble, observed: verdict.observed.clone(), bad, ran_at }],
        resolved: None,
    }
}

fn how(problem: &Problem, verdict: &Verdict) -> String {
    let Verdict { observed, from, to, ran_at, outcome, .. } = verdict;
    let ended = if *outcome == Outcome::Warn { "it only warns" } else { "it passes" };
    let how = format!("{ended} for {}: {observed} (run at {ran_at:.0})", days(*from, *to));
    let left = found(problem).into_iter().map(|found| found.days).filter(|days| !verdict.days().has(*days));
    let left: Vec<Days> = left.collect();
    match (left.iter().map(|days| days.from).min(), left.iter().map(|days| days.to).max()) {
        (Some(first), Some(last)) => format!("{how}; not looked at again: {}", days(first, last)),
        _ => how,
    }
}
