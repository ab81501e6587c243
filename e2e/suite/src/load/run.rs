//! Runs a plan: starts the pipeline, sends the fleet, lets the pipeline drain, and makes the report.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use e2e::{StackKind, Suite};
use fms_simulator::Made;

use super::cost::{self, Stored};
use super::delays::{Delays, visible};
use super::failure::Failure;
use super::look::look;
use super::metrics;
use super::objects::Objects;
use super::pipeline::Pipeline;
use super::plan::{Disturb, Plan};
use super::ready::Ready;
use super::report::{Machine, Moment, Report, SentFigures, StepFigures, StoreFigures};
use super::running::Running;
use super::send::{LATE, Schedule, Sent, send};

/// The largest share of late messages of a run that says anything.
const LATE_SHARE: f64 = 0.01;

/// What is tested.
#[derive(Debug, Clone)]
pub struct Target<'t> {
    /// The project.
    pub suite: &'t Suite,
    /// The services.
    pub stack: StackKind,
    /// What is started as the worker in the place of the suite's own.
    pub subject: Option<&'t str>,
    /// A folder for files of the run.
    pub folder: &'t Path,
}

/// Runs a plan to its end. An error says why there is no report; `tell` is given a line now and then.
pub fn run(target: &Target<'_>, name: &str, plan: &Plan, tell: &dyn Fn(&str)) -> Result<Report, Failure> {
    let from = plan.from()?;
    let parts = plan.fleet(from)?;
    let ready = ready(target, plan)?;
    let pipeline = started(target, plan, ready.as_ref())?;
    let environment = pipeline.environment.clone();
    let variable = |name: &str| environment.get(name).cloned().unwrap_or_default();
    let (servers, topic) =
        (variable("KAFKA_BOOTSTRAP_SERVERS"), format!("{}fms.{{object}}.real", variable("FMS_PREFIX")));
    let (table, bucket, lake) = (variable("DYNAMODB_TABLE"), variable("S3_BUCKET"), variable("FMS_LAKE_TO"));
    let schedule = Schedule {
        parts: &parts,
        from,
        speed: plan.speed,
        looks_per_second: plan.looks_per_second,
        servers: &servers,
        topic: &topic,
    };
    metrics::describe();
    let begin = Instant::now();
    let mut running = Running::new(pipeline, begin, plan, ready);
    let (count, is_over, is_stopped) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let (sent, found, drained) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let sent = send(&schedule, begin, &count, &is_stopped, &sender);
            drop(sender);
            sent
        });
        let looking = scope.spawn(|| {
            let receiver = receiver;
            look(&environment, &table, &receiver, &is_over)
        });
        let driven = running.drive(plan, &count, &|| sending.is_finished(), tell);
        // Whatever went wrong, the threads end before it is told.
        is_stopped.store(driven.is_err(), Ordering::Release);
        let sent = sending.join().map_err(|_| "the fleet ended with a panic".to_owned());
        let drained = driven.and_then(|()| running.drain(plan, &count));
        is_over.store(true, Ordering::Release);
        let found = looking.join().map_err(|_| "looking for rows ended with a panic".to_owned());
        (sent, found, drained)
    });
    // If the pipeline failed, that is why the fleet was stopped.
    let drain_seconds = drained?;
    let (sent, found) = (sent??, found??);
    running.pipeline.stop().map_err(Failure::Pipeline)?;
    running.count_all();

    let steps = &running.bounds[..plan.steps.len()];
    let mut dynamodb = Delays::new(steps)?;
    found.delays.iter().for_each(|(due, delay)| dynamodb.add(*due, *delay, 1));
    let stack = &*running.pipeline.stack;
    let lake_bucket = lake.trim_start_matches("s3://").trim_end_matches('/');
    let (objects, buckets) = (Objects::new(&environment)?, [&*bucket, lake_bucket]);
    let in_objects = visible(&objects, stack.namespace(), buckets, &running.counted, &sent.due, steps)?;
    let (raw, lake_delays) = (in_objects.raw, in_objects.lake);
    let (database, prefix) = (variable("FMS_LAKE_DATABASE"), variable("FMS_PREFIX"));
    let verified = running.verify(target, &sent, [&table, &bucket, &lake, &database, &prefix])?;
    let calls = running.counted.figures();
    #[expect(clippy::cast_precision_loss, reason = "seconds of some days")]
    let seconds = plan.seconds() as f64;
    let item_writes: u64 = sent.expectation.protocols.values().map(|of| of.rows - of.refused_by_dynamodb).sum();
    let stored = Stored {
        units: in_objects.units.max(item_writes),
        rows: sent.rows,
        seconds,
        vehicle_seconds: parts.iter().map(vehicle_seconds).sum(),
    };
    let cost = cost::of(&calls, stored)?;
    let p99: [(&str, Vec<Option<f64>>); 3] =
        [("dynamodb", dynamodb.p99_of_steps()), ("raw", raw.0.p99_of_steps()), ("lake", lake_delays.0.p99_of_steps())];
    let mut report = Report {
        name: name.to_owned(),
        plan: plan.clone(),
        stack: target.stack.to_string(),
        subject: target.subject.map_or_else(|| target.suite.program.to_string(), str::to_owned),
        machine: Machine::here(),
        sent: figures(&sent, seconds),
        delays: [
            ("dynamodb".to_owned(), dynamodb.percentiles(found.missing)),
            ("raw".to_owned(), raw.0.percentiles(raw.1)),
            ("lake".to_owned(), lake_delays.0.percentiles(lake_delays.1)),
        ]
        .into(),
        steps: running.steps(plan, &p99),
        moments: running.moments,
        worst_lag: running.worst_lag,
        restarts: running.restarts,
        recoveries: running.recoveries.ended,
        drain_seconds: drain_seconds.as_secs_f64(),
        calls,
        cost,
        stores: verified,
        invalid: says_nothing(&sent, running.too_short.as_deref()),
        checks: Vec::new(),
    };
    report.check();
    Ok(report)
}

/// For how many seconds of the fleet's time the vehicles of a part are there, together.
#[expect(clippy::cast_precision_loss, reason = "vehicles and seconds")]
fn vehicle_seconds(part: &Made) -> f64 {
    (part.vehicles - part.first) as f64 * (part.until - part.from) as f64
}

/// What tells that a worker is ready. Of another pipeline, only the plan can say it.
fn ready(target: &Target<'_>, plan: &Plan) -> Result<Option<Ready>, String> {
    if let Some(text) = &plan.ready {
        return Ok(Some(Ready::Says(text.clone())));
    }
    if target.subject.is_none() {
        return Ok(Some(Ready::HasPartitions));
    }
    if plan.steps.iter().any(|step| step.disturb == Some(Disturb::RollingRestart)) {
        let problem = "a rolling restart of this pipeline waits for what its workers print when they are ready: write it \
            into the plan as `ready`";
        return Err(problem.to_owned());
    }
    Ok(None)
}

/// The pipeline with the workers of the first step. They are waited for until they are ready.
fn started(target: &Target<'_>, plan: &Plan, ready: Option<&Ready>) -> Result<Pipeline, Failure> {
    let mut pipeline = Pipeline::prepare(target.suite, target.stack, target.subject, &plan.env)?;
    pipeline.set_workers(plan.steps[0].workers.unwrap_or(1))?;
    pipeline.start_others()?;
    if let Some(ready) = ready {
        pipeline.await_ready(ready)?;
    }
    Ok(pipeline)
}

impl Running {
    /// What each store has, as `fms simulate verify` finds it.
    fn verify(&self, target: &Target<'_>, sent: &Sent, stores: [&str; 5]) -> Result<Vec<StoreFigures>, String> {
        let path = target.folder.join("expect.json");
        let shown = path.display().to_string();
        std::fs::write(&path, sent.expectation.to_json()).map_err(|error| format!("cannot write {shown}: {error}"))?;
        let [table, bucket, lake, database, prefix] = stores;
        let raw = format!("s3://{bucket}/raw/");
        let letters = ["dynamodb", "s3"].map(|sink| format!("{prefix}fms.dead-letter.{sink}"));
        let stores = ["--table", table, "--raw", &raw, "--lake", lake, "--database", database, "--json"];
        let letters = ["--letters-of-table", &letters[0], "--letters-of-raw", &letters[1]];
        let arguments = [&stores[..], &letters[..]].concat();
        let output = self.pipeline.fms(&[&["simulate", "verify", "--expect", &shown][..], &arguments].concat())?;
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(format!("what was stored cannot be verified: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let stores = said.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{line}: {error}")));
        stores.collect()
    }

    /// What was measured in each step.
    #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
    fn steps(&self, plan: &Plan, p99: &[(&str, Vec<Option<f64>>)]) -> Vec<StepFigures> {
        let figures = |(number, step): (usize, &super::plan::Step)| {
            let at = |bound: usize| self.bounds[bound].duration_since(self.begin).as_secs_f64();
            let (begins, ends) = (at(number), at(number + 1));
            let within = |moment: &&Moment| (begins..ends + 0.5).contains(&moment.second) && !moment.lag.is_empty();
            let moments: Vec<&Moment> = self.moments.iter().filter(within).collect();
            let (first, last) = (moments.first(), moments.last());
            let lag = |moment: &Moment| moment.lag.values().copied().max().unwrap_or(0);
            let rate = |of: &dyn Fn(&Moment) -> f64| {
                first.zip(last).map_or(0.0, |(first, last)| {
                    let seconds = last.second - first.second;
                    if seconds > 0.0 { (of(last) - of(first)) / seconds } else { 0.0 }
                })
            };
            StepFigures {
                name: step.name.clone(),
                begins,
                ends,
                messages_per_second: rate(&|moment| moment.sent as f64),
                stored_per_second: rate(&|moment| moment.sent as f64 - lag(moment) as f64),
                lag: last.map_or(0, |moment| lag(moment)),
                p99: p99.iter().map(|(store, of_steps)| ((*store).to_owned(), of_steps[number])).collect(),
            }
        };
        plan.steps.iter().enumerate().map(figures).collect()
    }
}

/// Why the run says nothing, if it does not.
fn says_nothing(sent: &Sent, too_short: Option<&str>) -> Option<String> {
    if sent.late_share() > LATE_SHARE {
        return Some(format!(
            "{:.1} % of the messages left more than {} ms after they were due, so the fleet itself was too slow; give the \
             machine less to do, or send fewer messages",
            sent.late_share() * 100.0,
            LATE.as_millis()
        ));
    }
    too_short.map(|step| {
        format!("the step `{step}` was over before all of its workers were restarted; give it more seconds")
    })
}

fn figures(sent: &Sent, seconds: f64) -> SentFigures {
    SentFigures {
        messages: sent.messages,
        rows: sent.rows,
        bytes: sent.bytes,
        seconds,
        late_share: sent.late_share(),
        latest_ms: sent.latest.as_secs_f64() * 1000.0,
    }
}
