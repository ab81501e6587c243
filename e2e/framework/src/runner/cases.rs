//! Selects the cases of a run and runs several of them at a time.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::thread;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::slots::Slots;
use crate::{CaseId, Outcome, Suite, discovery, machine};

/// The cases whose name contains one of the filters, or all cases if there is no filter. It is an error if there are
/// none.
pub(super) fn select(suite: &Suite, filters: &[String]) -> Result<Vec<CaseId>, String> {
    let all = discovery::list(&suite.fixtures).map_err(|error| error.to_string())?;
    let known = all.len();
    let protocols: BTreeSet<String> = all.iter().map(|id| id.protocol.clone()).collect();
    let wanted = |id: &CaseId| filters.is_empty() || filters.iter().any(|filter| id.to_string().contains(filter));
    let cases: Vec<CaseId> = all.into_iter().filter(wanted).collect();
    if cases.is_empty() {
        let protocols: Vec<String> = protocols.into_iter().collect();
        return Err(format!(
            "none of the {known} cases has `{}` in its name; protocols: {}",
            filters.join("` or `"),
            protocols.join(", ")
        ));
    }
    Ok(cases)
}

/// One of several parts of the cases, which together are all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// From 1.
    number: usize,
    of: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("write which of how many parts, such as 1/4".to_owned()),
        }
    }
}

impl Part {
    /// Keeps the cases of this part. Neighbours are in different parts, for those of one protocol take a similar time.
    pub(super) fn keep(self, cases: &mut Vec<CaseId>) {
        let mut at = 0;
        cases.retain(|_| {
            at += 1;
            at % self.of == self.number % self.of
        });
    }
}

/// Calls `run` for every task, `jobs` of them at a time, and returns the outcomes in the order of their cases.
pub fn run_all<T: Sync>(
    tasks: &[T],
    jobs: Option<NonZeroUsize>,
    quiet: bool,
    run: impl Fn(&T) -> Outcome + Sync,
) -> Vec<Outcome> {
    let mut outcomes = in_parallel(tasks, jobs, |task, bar| {
        let outcome = run(task);
        if let (Some(failure), false) = (outcome.failure(), quiet) {
            let text = format!("✗ {}\n  {}\n\n", outcome.name(), failure.trim_end().replace('\n', "\n  "));
            bar.suspend(|| machine::print(&text));
        }
        outcome
    });
    outcomes.sort_by(|a, b| a.id.cmp(&b.id));
    outcomes
}

/// Calls `run` for every task, `jobs` of them at a time, and returns the results in the order of the tasks.
pub(super) fn in_parallel<T: Sync, R: Send>(
    tasks: &[T],
    jobs: Option<NonZeroUsize>,
    run: impl Fn(&T, &ProgressBar) -> R + Sync,
) -> Vec<R> {
    let slots = Slots::new(jobs);
    let bar = progress(tasks.len());
    let next = Mutex::new(tasks.iter().enumerate());
    let results = Mutex::new(Vec::with_capacity(tasks.len()));
    thread::scope(|scope| {
        let threads = slots.most().min(tasks.len());
        if threads > 0 {
            scope.spawn(|| slots.adapt());
        }
        for _ in 0..threads {
            scope.spawn(|| {
                let _end = slots.end();
                loop {
                    let slot = slots.take();
                    let task = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((at, task)) = task else { break };
                    let result = run(task, &bar);
                    drop(slot);
                    bar.inc(1);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn progress(runs: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_is_in_one_part() {
        let all: Vec<CaseId> = (0..7).map(|name| CaseId { protocol: "p".into(), name: name.to_string() }).collect();
        let mut found = Vec::new();
        for (part, size) in [("1/3", 3), ("2/3", 2), ("3/3", 2)] {
            let mut cases = all.clone();
            part.parse::<Part>().expect(part).keep(&mut cases);
            assert_eq!(cases.len(), size, "{part}");
            found.extend(cases);
        }
        found.sort();
        assert_eq!(found, all);
        let mut cases = all.clone();
        "1/1".parse::<Part>().expect("all").keep(&mut cases);
        assert_eq!(cases, all);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b"] {
            assert!(wrong.parse::<Part>().expect_err(wrong).contains("such as 1/4"), "{wrong}");
        }
    }
}
