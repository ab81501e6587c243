//! What follows from verdicts, and from the time that passes. Pure.
//!
//! A problem is new, goes on, or is resolved. It is recognised by table, check and owner, and knows on which days it was
//! found: it is resolved when all of these are known to be well. What a verdict says of it counts once: verdicts that are not
//! newer than the last one of their check are passed over, so that two senders that read the same results tell of them once.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::digest;
use crate::state::{Days, Event, Found, Line, Problem, Seen, State, Thread, Trouble, What};
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

/// Where an open problem is.
enum Place {
    /// Among those that were found just now.
    Fresh(usize),
    Held(usize),
    Thread(usize, usize),
}

fn find(state: &State, happened: &Happened, id: &Id) -> Option<Place> {
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

fn take(state: &mut State, config: &Config, verdict: &Verdict, happened: &mut Happened) {
    let trouble = match verdict.outcome {
        Outcome::Fail if verdict.severity >= config.severity => Some(Trouble::Failed),
        Outcome::Error => Some(Trouble::CouldNotRun),
        _ => None,
    };
    match (find(state, happened, &verdict.id), trouble) {
        (None, None) => {}
        (None, Some(trouble)) => happened.fresh.push(problem(verdict, trouble)),
        (Some(Place::Fresh(at)), Some(trouble)) => goes_on(&mut happened.fresh[at], verdict, trouble),
        (Some(Place::Fresh(at)), None) => {
            // What was found just now has to be told, so days after it do not end it.
            if ends(&mut happened.fresh[at], verdict, false) {
                happened.fresh.remove(at);
            }
        }
        (Some(Place::Held(at)), Some(trouble)) => goes_on(&mut state.held[at], verdict, trouble),
        (Some(Place::Held(at)), None) => {
            if ends(&mut state.held[at], verdict, is_ended_later(config, verdict)) {
                state.held.remove(at);
            }
        }
        (Some(Place::Thread(thread, at)), Some(trouble)) => {
            let number = state.threads[thread].number;
            let before = &mut state.threads[thread].problems[at];
            let is_worse =
                before.bad > 0 && verdict.bad >= before.told_bad.saturating_mul(2) && verdict.bad > before.bad;
            let is_other = before.trouble != trouble || is_worse;
            goes_on(before, verdict, trouble);
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
            if ends(before, verdict, is_ended_later(config, verdict)) {
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

/// Takes what a check finds once more, or of other days, into its problem.
fn goes_on(before: &mut Problem, verdict: &Verdict, trouble: Trouble) {
    let (since, told_bad, mut open) = (before.since, before.told_bad, found(before));
    let now = problem(verdict, trouble);
    open.retain(|found| !verdict.days().has(found.days));
    open.extend(now.open);
    *before = Problem { since, told_bad, open, ..now };
}

/// The days that a problem is open for. A state of before these were kept knows of the last ones.
fn found(problem: &Problem) -> Vec<Found> {
    let Problem { trouble, observed, bad, .. } = problem;
    if problem.open.is_empty() && *trouble != Trouble::DidNotRun {
        return vec![Found { days: problem.days(), trouble: *trouble, observed: observed.clone(), bad: *bad }];
    }
    problem.open.clone()
}

/// Whether days that are well end a problem of days before them: the owner has said so of checks with such a tag, because
/// nobody mends what they find.
fn is_ended_later(config: &Config, verdict: &Verdict) -> bool {
    !config.ended_by_later_days.is_disjoint(&verdict.tags)
}

/// Takes the days that are well from a problem, and says whether it is over. If it is not, it shows days that are left.
fn ends(problem: &mut Problem, verdict: &Verdict, is_ended_later: bool) -> bool {
    let mut open = found(problem);
    open.retain(|found| {
        let is_well = verdict.days().has(found.days) || (is_ended_later && found.days.to <= verdict.to);
        !is_well
    });
    let Some(last) = open.last().cloned() else { return true };
    if last.days != problem.days() || problem.trouble == Trouble::DidNotRun {
        let Found { days: Days { from, to }, trouble, observed, bad } = last;
        // The rows were those of other days.
        *problem = Problem { from, to, trouble, observed, bad, query: None, sample: Vec::new(), ..problem.clone() };
    }
    problem.open = open;
    false
}

fn problem(verdict: &Verdict, trouble: Trouble) -> Problem {
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
        open: vec![Found { days: verdict.days(), trouble, observed: verdict.observed.clone(), bad: verdict.bad }],
        resolved: None,
    }
}

fn how(problem: &Problem, verdict: &Verdict) -> String {
    let Verdict { observed, from, to, ran_at, outcome, .. } = verdict;
    let ended = if *outcome == Outcome::Warn { "it only warns" } else { "it passes" };
    let how = format!("{ended} for {}: {observed} (run at {ran_at:.0})", days(*from, *to));
    if problem.trouble == Trouble::Failed && *from > problem.from {
        let before = days(problem.from, problem.to);
        return format!("{how}; what was found on {before} was not looked at again");
    }
    how
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
