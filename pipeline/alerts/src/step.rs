//! What follows from verdicts, and from the time that passes. Pure.
//!
//! A problem is new, goes on, or is resolved. It is recognised by table, check and owner, and knows on which days it was
//! found: it is resolved when all of these are known to be well. What a verdict says of it counts once: verdicts that are not
//! newer than the last one of their check are passed over, so that two senders that read the same results tell of them once.

mod taken;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use self::taken::{Place, find, found, take};
use crate::config::Config;
use crate::digest;
use crate::state::{Event, Line, Problem, Seen, State, Thread, Trouble, What};
use crate::verdict::{Id, Outcome, Severity, Verdict};

/// An owner who has new problems in more tables than so many is told of them in one message instead of one for each
/// table.
const TABLES_APART: usize = 3;

/// A check that has to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configured {
    pub id: Id,
    pub severity: Severity,
    pub description: String,
}

/// Takes the verdicts, and the time that it is, into the state. If the checks that have to run are given, those that never
/// did are known as well, and those that are no more need not run.
pub(crate) fn step(
    state: &mut State,
    config: &Config,
    verdicts: &[Verdict],
    configured: Option<&[Configured]>,
    now: Timestamp,
) {
    let mut happened = Happened::default();
    for verdict in verdicts {
        if note(state, verdict) {
            take(state, config, verdict, &mut happened);
        }
    }
    for check in configured.unwrap_or_default() {
        await_check(state, check, now);
    }
    find_not_run(state, config, configured, now, &mut happened);
    let (held, ended): (Vec<_>, Vec<_>) =
        std::mem::take(&mut state.held).into_iter().partition(|problem| config.is_quiet(&problem.id, now));
    state.held = held;
    happened.fresh.extend(ended);
    let (quiet, fresh) =
        std::mem::take(&mut happened.fresh).into_iter().partition(|problem| config.is_quiet(&problem.id, now));
    state.held.extend::<Vec<_>>(quiet);
    begin(state, config, fresh, now, &mut happened);
    remind(state, config, now, &mut happened);
    tell(state, happened, now);
    if digest::is_due(state, config, now) {
        let digest = digest::of(state, config, now);
        state.send(What::Digest(digest));
    }
    state.forget_ended();
}

/// What happened in one step.
#[derive(Default)]
struct Happened {
    /// Problems that were not there before.
    fresh: Vec<Problem>,
    /// What is to be told, by thread. A thread without lines is shown anew.
    threads: BTreeMap<u64, Vec<Line>>,
}

/// Keeps how a check ended. False if a newer verdict of it, or the same one, was kept before.
fn note(state: &mut State, verdict: &Verdict) -> bool {
    let Verdict { id, outcome, severity, description, ran_at, to, .. } = verdict;
    let seen = Seen {
        id: id.clone(),
        outcome: *outcome,
        severity: *severity,
        description: description.clone(),
        ran_at: *ran_at,
        to: *to,
        taken: vec![verdict.days()],
        is_awaited: false,
    };
    match state.checks.iter_mut().find(|check| check.id == *id) {
        Some(before) if before.is_awaited => *before = seen,
        Some(before) if before.ran_at > *ran_at => return false,
        // Of the days of one run, the worst counts.
        Some(before) if before.ran_at == *ran_at => {
            // A state of before this was kept knows of one verdict at a time.
            if before.taken.is_empty() || before.taken.contains(&verdict.days()) {
                return false;
            }
            before.taken.push(verdict.days());
            before.outcome = before.outcome.max(*outcome);
            before.to = before.to.max(*to);
        }
        Some(before) => *before = seen,
        None => state.checks.push(seen),
    }
    true
}

/// Knows of a check from now on, although it has not run yet.
fn await_check(state: &mut State, check: &Configured, now: Timestamp) {
    if state.checks.iter().any(|seen| seen.id == check.id) {
        return;
    }
    state.checks.push(Seen {
        id: check.id.clone(),
        outcome: Outcome::Pass,
        severity: check.severity,
        description: check.description.clone(),
        ran_at: now,
        to: now.to_zoned(TimeZone::UTC).date(),
        taken: Vec::new(),
        is_awaited: true,
    });
}

/// Days as people write them.
pub(crate) fn days(from: Date, to: Date) -> String {
    if from == to { from.to_string() } else { format!("{from} to {to}") }
}

/// Finds checks that have not run for too long.
fn find_not_run(
    state: &mut State,
    config: &Config,
    configured: Option<&[Configured]>,
    now: Timestamp,
    happened: &mut Happened,
) {
    let is_late = |seen: &&Seen| {
        // What was found just now is told as it is.
        let is_fresh = happened.fresh.iter().any(|problem| problem.id == seen.id);
        let has_to_run = configured.is_none_or(|checks| checks.iter().any(|check| check.id == seen.id));
        now.duration_since(seen.ran_at) > config.did_not_run && !is_fresh && has_to_run
    };
    let late: Vec<Seen> = state.checks.iter().filter(is_late).cloned().collect();
    for seen in late {
        let observed = if seen.is_awaited {
            format!("it has never run, and is known since {:.0}", seen.ran_at)
        } else {
            format!("it ran last at {:.0}", seen.ran_at)
        };
        match find(state, happened, &seen.id) {
            None => happened.fresh.push(Problem {
                trouble: Trouble::DidNotRun,
                severity: seen.severity,
                since: now,
                from: seen.to,
                to: seen.to,
                description: seen.description,
                expected: format!("it runs every {:#}", config.did_not_run),
                observed,
                bad: 0,
                told_bad: 0,
                query: None,
                sample: Vec::new(),
                open: Vec::new(),
                resolved: None,
                id: seen.id,
            }),
            // What it found last is not known to be over, and that nobody looks is told beside it.
            Some(Place::Thread(thread, at)) => {
                let number = state.threads[thread].number;
                let before = &mut state.threads[thread].problems[at];
                if before.trouble != Trouble::DidNotRun {
                    before.open = found(before);
                    before.trouble = Trouble::DidNotRun;
                    before.observed = format!("{observed}, and found: {}", before.observed);
                    let line = Line { event: Event::Changed, problem: before.clone() };
                    happened.threads.entry(number).or_default().push(line);
                }
            }
            Some(Place::Held(_) | Place::Fresh(_)) => {}
        }
    }
}

/// Puts new problems into threads: into that of their owner and table if there is one.
fn begin(state: &mut State, config: &Config, fresh: Vec<Problem>, now: Timestamp, happened: &mut Happened) {
    let mut by_owner: BTreeMap<String, BTreeMap<String, Vec<Problem>>> = BTreeMap::new();
    for problem in fresh {
        if let Some(thread) = state.threads.iter_mut().find(|thread| thread.takes(&problem.id)) {
            let line = Line { event: Event::New, problem: problem.clone() };
            happened.threads.entry(thread.number).or_default().push(line);
            // The same check may have been resolved in this thread before.
            thread.problems.retain(|before| before.id != problem.id);
            thread.problems.push(problem);
        } else {
            let tables = by_owner.entry(problem.id.owner.clone()).or_default();
            tables.entry(problem.id.table.clone()).or_default().push(problem);
        }
    }
    for (owner, tables) in by_owner {
        let apart = tables.len() <= TABLES_APART;
        let groups: Vec<Vec<Problem>> =
            if apart { tables.into_values().collect() } else { vec![tables.into_values().flatten().collect()] };
        for problems in groups {
            let number = state.number();
            let (owner, channel) = (owner.clone(), config.channel(&owner));
            state.threads.push(Thread { number, owner, channel, problems, posted: None, told: now });
            state.send(What::Open { thread: number });
        }
    }
}

/// Tells again of what has been open for long.
fn remind(state: &State, config: &Config, now: Timestamp, happened: &mut Happened) {
    for thread in state.threads.iter().filter(|thread| now.duration_since(thread.told) >= config.repeat) {
        let told = happened.threads.get(&thread.number);
        let is_due = |problem: &&Problem| {
            let is_told = told.is_some_and(|lines| lines.iter().any(|line| line.problem.id == problem.id));
            problem.is_open() && !is_told && !config.is_quiet(&problem.id, now)
        };
        let due: Vec<Line> = thread
            .problems
            .iter()
            .filter(is_due)
            .map(|problem| Line { event: Event::Still, problem: problem.clone() })
            .collect();
        if !due.is_empty() {
            happened.threads.entry(thread.number).or_default().extend(due);
        }
    }
}

/// Puts what happened in threads into the outbox. A thread whose first message is still to be sent needs nothing else:
/// it shows the problems as they are then.
fn tell(state: &mut State, happened: Happened, now: Timestamp) {
    for (thread, mut lines) in happened.threads {
        let is_to = |what: What| state.outbox.iter().any(|item| item.what == what);
        if is_to(What::Open { thread }) {
            continue;
        }
        let is_shown_anew = is_to(What::Refresh { thread });
        if !lines.is_empty() {
            lines.sort_by_key(|line| line.event);
            state.send(What::Reply { thread, lines });
            if let Some(thread) = state.thread_mut(thread) {
                thread.told = now;
            }
        }
        if !is_shown_anew {
            state.send(What::Refresh { thread });
        }
    }
}

#[cfg(test)]
mod tests;
