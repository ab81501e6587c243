//! How much a pipeline can take: runs with more and more vehicles until it no longer keeps up.

use std::fmt::Write as _;

use super::plan::Plan;
use super::report::Report;
use super::run::{Target, run};
use super::text::{number, perhaps};

/// By how much the number of vehicles grows from one run to the next.
const GROWTH: f64 = 1.5;
/// How close the last number with which it keeps up and the first with which it does not are in the end.
const CLOSE: f64 = 1.15;
/// The most runs.
const RUNS: usize = 16;
/// A pipeline keeps up if the group that is least behind is so many seconds of messages behind at most when the last was
/// sent. A group that collects rows in objects commits only when they are stored, so what it is behind says little.
const BEHIND: f64 = 2.0;
/// It keeps up if everything is stored so many seconds after the last message, unless the plan says how many.
const DRAIN: f64 = 10.0;

/// A run of a capacity search.
#[derive(Debug, Clone, PartialEq)]
pub struct Try {
    /// How many vehicles there were.
    pub vehicles: u64,
    /// Messages a second that were sent.
    pub messages_per_second: f64,
    /// Rows a second that were sent.
    pub rows_per_second: f64,
    /// How many messages the group that was least behind was behind in the end.
    pub lag: i64,
    /// The 99th percentile of the delay to DynamoDB in milliseconds.
    pub p99: Option<f64>,
    /// Why it did not keep up, if it did not.
    pub problem: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Capacity {
    /// The runs in their order.
    pub tries: Vec<Try>,
}

/// Runs the first step of a plan with other numbers of vehicles. Limits of the plan are kept, too.
pub fn find(target: &Target<'_>, name: &str, plan: &Plan, tell: &dyn Fn(&str)) -> Capacity {
    let mut found = Capacity::default();
    while let Some(vehicles) = found.next(plan.steps[0].vehicles) {
        let mut step = plan.steps[0].clone();
        (step.vehicles, step.to_vehicles) = (vehicles, None);
        let mut plan = Plan { steps: vec![step], ..plan.clone() };
        plan.limits.drain_seconds.get_or_insert(DRAIN);
        let tried = match run(target, name, &plan, tell) {
            Ok(report) => Try::of(vehicles, &report),
            // A pipeline that does not drain does not keep up.
            Err(error) => Try {
                vehicles,
                messages_per_second: 0.0,
                rows_per_second: 0.0,
                lag: 0,
                p99: None,
                problem: Some(error),
            },
        };
        tell(&tried.line());
        found.tries.push(tried);
    }
    found
}

impl Try {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(vehicles: u64, report: &Report) -> Self {
        let step = &report.steps[0];
        let mut lags =
            report.moments.iter().filter(|moment| moment.second <= step.ends + 0.5 && !moment.lag.is_empty());
        let lag = lags.next_back().and_then(|moment| moment.lag.values().copied().min()).unwrap_or(0);
        let messages_per_second = report.sent.messages as f64 / report.sent.seconds.max(1.0);
        let broken = report.checks.iter().find(|check| !check.is_kept);
        let problem = match (&report.invalid, broken) {
            (Some(problem), _) => Some(problem.clone()),
            (None, Some(check)) => {
                Some(format!("{}: {} over {}", check.what, number(check.measured), number(check.limit)))
            }
            (None, None) => (lag as f64 > BEHIND * messages_per_second)
                .then(|| format!("it is over {BEHIND} s of messages behind when the last is sent")),
        };
        Self {
            vehicles,
            messages_per_second,
            rows_per_second: report.sent.rows as f64 / report.sent.seconds.max(1.0),
            lag,
            p99: step.p99.get("dynamodb").copied().flatten(),
            problem,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:>8} vehicles {:>8} messages/s {:>9} rows/s {:>7} behind, p99 {:>7} ms: {}",
            self.vehicles,
            number(self.messages_per_second),
            number(self.rows_per_second),
            self.lag,
            perhaps(self.p99),
            self.problem.as_deref().and_then(|problem| problem.lines().next()).unwrap_or("keeps up")
        )
    }
}

impl Capacity {
    /// The run with the most vehicles with which it kept up.
    pub fn last_kept_up(&self) -> Option<&Try> {
        self.tries.iter().filter(|tried| tried.problem.is_none()).max_by_key(|tried| tried.vehicles)
    }

    /// The next number of vehicles; `None` if enough is known.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "vehicles"
    )]
    fn next(&self, first: u64) -> Option<u64> {
        if self.tries.len() >= RUNS {
            return None;
        }
        let kept_up = self.last_kept_up().map(|tried| tried.vehicles);
        let too_many = self.tries.iter().filter(|tried| tried.problem.is_some()).map(|tried| tried.vehicles).min();
        let between = |low: u64, high: u64| ((low as f64 * high as f64).sqrt().round() as u64).clamp(low, high);
        match (kept_up, too_many) {
            (None, None) => Some(first),
            (Some(low), None) => Some(((low as f64 * GROWTH) as u64).max(low + 1)),
            (None, Some(high)) => (high > 1).then_some(high / 2),
            (Some(low), Some(high)) if high as f64 > low as f64 * CLOSE && high > low + 1 => {
                Some(between(low, high).clamp(low + 1, high - 1))
            }
            (Some(_), Some(_)) => None,
        }
    }

    /// What was found, as text.
    pub fn text(&self) -> String {
        let mut text: String = self.tries.iter().map(|tried| tried.line() + "\n").collect();
        let _infallible = match self.last_kept_up() {
            Some(best) => writeln!(
                text,
                "capacity: {} vehicles, {} messages/s, {} rows/s",
                best.vehicles,
                number(best.messages_per_second),
                number(best.rows_per_second)
            ),
            None => writeln!(text, "capacity: the pipeline never kept up"),
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that are tried of a pipeline that can take so many vehicles.
    fn tried(first: u64, capacity: u64) -> (Vec<u64>, Option<u64>) {
        let mut found = Capacity::default();
        while let Some(vehicles) = found.next(first) {
            let problem = (vehicles > capacity).then(|| "it is too slow".to_owned());
            found.tries.push(Try {
                vehicles,
                messages_per_second: 0.0,
                rows_per_second: 0.0,
                lag: 0,
                p99: None,
                problem,
            });
        }
        let tried = found.tries.iter().map(|tried| tried.vehicles).collect();
        (tried, found.last_kept_up().map(|tried| tried.vehicles))
    }

    #[test]
    fn the_search_ends_close_to_the_capacity() {
        for (first, capacity) in [(100, 100), (100, 990), (1000, 40), (1, 7), (50, 51)] {
            let (numbers, found) = tried(first, capacity);
            let found = found.expect("it keeps up with some");
            assert!(found <= capacity && found * 12 / 10 + 1 >= capacity, "{first} {capacity}: {numbers:?}");
            assert!(numbers.len() <= RUNS, "{numbers:?}");
        }
        assert_eq!(tried(4, 0), (vec![4, 2, 1], None));
    }
}
