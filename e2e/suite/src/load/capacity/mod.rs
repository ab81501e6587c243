//! How much a pipeline can take: runs with more and more vehicles until it no longer keeps up.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::plan::Plan;
use super::report::{Machine, Report};
use super::run::{Target, run};
use super::text::{number, perhaps};

mod shown;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Whether the pipeline kept up.
    pub outcome: Outcome,
}

/// How a run of a capacity search ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The pipeline kept up.
    KeptUp,
    /// It did not; which limit it broke.
    DidNot(String),
    /// The fleet itself was too slow, so nobody knows.
    Unknown(String),
}

/// The runs with one number of workers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// How many workers there were.
    pub workers: usize,
    /// The runs in their order.
    pub tries: Vec<Try>,
    /// Why the search ended early, if something went wrong that says nothing of the pipeline.
    pub error: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// The name of the plan's file, without its ending.
    pub name: String,
    /// The plan, of which the first step was run.
    pub plan: Plan,
    /// The services.
    pub stack: String,
    /// The pipeline that was tested.
    pub subject: String,
    /// The machine on which everything ran.
    pub machine: Machine,
    /// A search for each number of workers.
    pub searches: Vec<Search>,
}

/// Runs the first step of a plan with other numbers of vehicles, for each of these numbers of workers; that of the plan if
/// there is none. Limits of the plan are kept, too.
///
/// # Errors
///
/// A number of workers is 0.
pub fn find(
    target: &Target<'_>,
    name: &str,
    plan: &Plan,
    workers: &[usize],
    tell: &dyn Fn(&str),
) -> Result<Capacity, String> {
    let usual = [plan.steps[0].workers.unwrap_or(1)];
    let workers = if workers.is_empty() { &usual } else { workers };
    if workers.contains(&0) {
        return Err("--workers has 0; write numbers such as 1,2,3".to_owned());
    }
    let is_compared = workers.contains(&1) && workers.iter().any(|workers| *workers > 1);
    if plan.limits.efficiency.is_some() && !is_compared {
        return Err("the limit `efficiency` compares several workers with one; write --workers 1,2,3".to_owned());
    }
    let mut found = Capacity {
        name: name.to_owned(),
        plan: plan.clone(),
        stack: target.stack.to_string(),
        subject: target.subject.map_or_else(|| target.suite.program.to_string(), str::to_owned),
        machine: Machine::here(),
        searches: Vec::new(),
    };
    for workers in workers {
        let search = Search::run(target, name, plan, *workers, tell);
        let is_over = search.error.is_some();
        found.searches.push(search);
        if is_over {
            break;
        }
    }
    Ok(found)
}

impl Search {
    fn run(target: &Target<'_>, name: &str, plan: &Plan, workers: usize, tell: &dyn Fn(&str)) -> Self {
        let mut search = Self { workers, ..Self::default() };
        while let Some(vehicles) = search.next(plan.steps[0].vehicles) {
            let mut step = plan.steps[0].clone();
            (step.vehicles, step.to_vehicles, step.workers) = (vehicles, None, Some(workers));
            let mut plan = Plan { steps: vec![step], ..plan.clone() };
            plan.limits.drain_seconds.get_or_insert(DRAIN);
            let tried = match run(target, name, &plan, tell) {
                Ok(report) => Try::of(vehicles, &report),
                // A pipeline that does not drain does not keep up.
                Err(Failure::Pipeline(problem)) => Try::without_report(vehicles, problem),
                Err(Failure::Other(problem)) => {
                    search.error = Some(problem);
                    break;
                }
            };
            tell(&tried.line());
            search.tries.push(tried);
        }
        search
    }
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
        let outcome = match (&report.invalid, broken) {
            // A pipeline that breaks a limit does so also if the fleet was late.
            (_, Some(check)) => {
                Outcome::DidNot(format!("{}: {} over {}", check.what, number(check.measured), number(check.limit)))
            }
            (Some(problem), None) => Outcome::Unknown(problem.clone()),
            (None, None) if lag as f64 > BEHIND * messages_per_second => {
                Outcome::DidNot(format!("it is over {BEHIND} s of messages behind when the last is sent"))
            }
            (None, None) => Outcome::KeptUp,
        };
        Self {
            vehicles,
            messages_per_second,
            rows_per_second: report.sent.rows as f64 / report.sent.seconds.max(1.0),
            lag,
            p99: step.p99.get("dynamodb").copied().flatten(),
            outcome,
        }
    }

    fn without_report(vehicles: u64, problem: String) -> Self {
        let outcome = Outcome::DidNot(problem);
        Self { vehicles, messages_per_second: 0.0, rows_per_second: 0.0, lag: 0, p99: None, outcome }
    }

    /// Why it did not keep up, or why nobody knows whether it did, in a line.
    fn problem(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::KeptUp => None,
            Outcome::DidNot(problem) | Outcome::Unknown(problem) => Some(problem.lines().next().unwrap_or_default()),
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
            self.problem().unwrap_or("keeps up")
        )
    }
}

impl Search {
    /// The run with the most vehicles with which it kept up, of those with fewer than the first with which it did not.
    pub fn last_kept_up(&self) -> Option<&Try> {
        let too_many = self.too_many().map_or(u64::MAX, |tried| tried.vehicles);
        let kept_up = self.tries.iter().filter(|tried| tried.outcome == Outcome::KeptUp && tried.vehicles < too_many);
        kept_up.max_by_key(|tried| tried.vehicles)
    }

    /// The run with the fewest vehicles with which it did not keep up, or of which nobody knows.
    pub fn too_many(&self) -> Option<&Try> {
        self.tries.iter().filter(|tried| tried.outcome != Outcome::KeptUp).min_by_key(|tried| tried.vehicles)
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
        let too_many = self.too_many().map(|tried| tried.vehicles);
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

    /// What was found, in a line, and what bounds it.
    fn line(&self) -> String {
        let bound =
            match (self.too_many().map(|tried| (&tried.outcome, tried.problem().unwrap_or_default())), &self.error) {
                (_, Some(_)) => "the search ended early".to_owned(),
                (Some((Outcome::Unknown(_), _)), _) => "with more, the fleet itself was too slow to say it".to_owned(),
                (Some((_, problem)), _) => format!("with more, {problem}"),
                (None, None) => format!("the search ended after {RUNS} runs, in all of which it kept up"),
            };
        let is_known = matches!(self.too_many().map(|tried| &tried.outcome), Some(Outcome::DidNot(_)));
        let least = if is_known && self.error.is_none() { "" } else { "at least " };
        match self.last_kept_up() {
            Some(best) => format!(
                "capacity: {least}{} vehicles, {} messages/s, {} rows/s; {bound}",
                best.vehicles,
                number(best.messages_per_second),
                number(best.rows_per_second)
            ),
            None => match self.too_many().filter(|_| self.error.is_none()) {
                Some(Try { outcome: Outcome::Unknown(problem), .. }) => {
                    format!("capacity: nobody knows; {}", problem.lines().next().unwrap_or_default())
                }
                Some(tried) => format!("capacity: the pipeline never kept up; {}", tried.problem().unwrap_or_default()),
                None => "capacity: nobody knows; the search ended early".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried_with(vehicles: u64, outcome: Outcome) -> Try {
        let rows_per_second = f64::from(u32::try_from(vehicles).expect("few"));
        Try { vehicles, messages_per_second: 1.0, rows_per_second, lag: 0, p99: None, outcome }
    }

    /// The numbers that are tried of a pipeline that can take so many vehicles.
    fn tried(first: u64, capacity: u64) -> (Vec<u64>, Option<u64>) {
        let mut found = Search::default();
        while let Some(vehicles) = found.next(first) {
            let is_slow = vehicles > capacity;
            let outcome = if is_slow { Outcome::DidNot("it is too slow".to_owned()) } else { Outcome::KeptUp };
            found.tries.push(tried_with(vehicles, outcome));
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

    /// The last line says what bounds the capacity, and what is not known is not told as a capacity.
    #[test]
    fn the_bound_is_told() {
        let kept = tried_with(100, Outcome::KeptUp);
        let slow = || tried_with(150, Outcome::DidNot("p99 from due to dynamodb, ms: 1200 over 1000".to_owned()));
        let late = tried_with(150, Outcome::Unknown("the fleet itself was too slow".to_owned()));
        let search =
            |tries: Vec<Try>, error: Option<&str>| Search { workers: 1, tries, error: error.map(str::to_owned) };
        let figures = "100 vehicles, 1.0 messages/s, 100 rows/s";
        for (search, line) in [
            (
                search(vec![kept.clone(), slow()], None),
                format!("capacity: {figures}; with more, p99 from due to dynamodb, ms: 1200 over 1000"),
            ),
            (
                search(vec![kept.clone(), late], None),
                format!("capacity: at least {figures}; with more, the fleet itself was too slow to say it"),
            ),
            (
                search(vec![kept.clone()], Some("S3 does not answer")),
                format!("capacity: at least {figures}; the search ended early"),
            ),
            (search(vec![], Some("S3 does not answer")), "capacity: nobody knows; the search ended early".to_owned()),
            (
                search(vec![slow()], None),
                "capacity: the pipeline never kept up; p99 from due to dynamodb, ms: 1200 over 1000".to_owned(),
            ),
        ] {
            assert_eq!(search.line(), line);
        }
    }
}
