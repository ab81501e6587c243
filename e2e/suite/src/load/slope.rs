//! How much a measurement grows in an hour: the slope of the straight line that is nearest to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::report::{Moment, StepFigures};

/// The part of a step that is left out at its begin, in which caches and buffers fill.
const FILLING: f64 = 0.25;
/// How long the rest has to be, in seconds, so that its slope says something.
pub(super) const LEAST: f64 = 90.0;
const HOUR: f64 = 3600.0;

/// How much a process grows in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// Its memory, in MB.
    pub memory_mb: f64,
    /// Its open files and connections.
    pub open: f64,
}

/// The growth of each process in the steady part of a run: the longest step without its first quarter. Processes that were
/// not there all the time are left out, and so is a part that is too short.
#[expect(clippy::cast_precision_loss, reason = "bytes and counts")]
pub fn growth(steps: &[StepFigures], moments: &[Moment]) -> BTreeMap<String, Growth> {
    let longest = steps.iter().max_by(|a, b| (a.ends - a.begins).total_cmp(&(b.ends - b.begins)));
    let Some(step) = longest else { return BTreeMap::new() };
    let begin = step.begins + (step.ends - step.begins) * FILLING;
    let steady: Vec<&Moment> = moments.iter().filter(|moment| (begin..=step.ends).contains(&moment.second)).collect();
    let Some((first, last)) = steady.first().zip(steady.last()) else { return BTreeMap::new() };
    if last.second - first.second < LEAST * 0.9 {
        return BTreeMap::new();
    }
    let of = |name: &String| {
        let used = |of: &dyn Fn(&super::usage::Usage) -> f64| {
            let points = steady.iter().filter_map(|moment| Some((moment.second, of(moment.processes.get(name)?))));
            slope(&points.collect::<Vec<_>>()) * HOUR
        };
        Growth { memory_mb: used(&|usage| usage.memory as f64 / 1e6), open: used(&|usage| usage.open as f64) }
    };
    let names = first.processes.keys().filter(|name| steady.iter().all(|moment| moment.processes.contains_key(*name)));
    names.map(|name| (name.clone(), of(name))).collect()
}

/// The slope of the line through points from which the squares of their distances are least; 0 of fewer than two.
#[expect(clippy::cast_precision_loss, reason = "a count of seconds")]
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    if along > 0.0 { both / along } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::usage::Usage;
    use super::*;

    fn step(begins: f64, ends: f64) -> StepFigures {
        StepFigures {
            name: "s".to_owned(),
            begins,
            ends,
            messages_per_second: 0.0,
            stored_per_second: 0.0,
            lag: 0,
            p99: BTreeMap::new(),
        }
    }

    /// A process that grows by a megabyte in a minute, once its first hundred megabytes are full, and one that comes late.
    fn moments() -> Vec<Moment> {
        let moment = |second: u32| {
            let memory = 200_000_000 + u64::from(second) * 1_000_000 / 60;
            let memory = if second < 60 { u64::from(second) * 3_000_000 } else { memory };
            let usage = Usage { cores: 0.0, memory, open: 20 + u64::from(second % 2) };
            let late = (second > 200).then(|| ("late".to_owned(), usage));
            let processes = [("worker".to_owned(), usage)].into_iter().chain(late).collect();
            Moment { second: f64::from(second), processes, ..Moment::default() }
        };
        (0..=400).map(moment).collect()
    }

    #[test]
    fn the_growth_is_that_of_the_steady_part() {
        let growth = growth(&[step(0.0, 10.0), step(10.0, 400.0)], &moments());
        assert_eq!(growth.keys().collect::<Vec<_>>(), ["worker"]);
        let Growth { memory_mb, open } = growth["worker"];
        assert!((memory_mb - 60.0).abs() < 0.01 && open.abs() < 0.1, "{memory_mb} {open}");
    }

    #[test]
    fn a_short_run_has_no_growth() {
        assert_eq!(growth(&[step(0.0, 60.0)], &moments()), BTreeMap::new());
        assert_eq!(growth(&[], &moments()), BTreeMap::new());
        assert!((slope(&[(1.0, 5.0)])).abs() < 1e-12 && (slope(&[])).abs() < 1e-12);
        assert!((slope(&[(0.0, 1.0), (1.0, 4.0), (2.0, 7.0)]) - 3.0).abs() < 1e-12);
    }
}
