//! A pipeline while the fleet is sent to it: steps begin and end, what disturbs them is done, and it is measured.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::Fault;

use super::counted::Counted;
use super::failure::Failure;
use super::metrics;
use super::pipeline::{LOOK, Pipeline};
use super::plan::{Disturb, Plan};
use super::ready::Ready;
use super::recovery::{Recoveries, Recovering};
use super::report::Moment;
use super::rolling::{Restart, Rolling};
use super::usage::Meter;

/// How often the pipeline is measured.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is asked whether the pipeline has recovered.
const SOON: Duration = Duration::from_millis(100);
/// The most moments that are kept: of a run that is longer, each is more than a second.
const MOMENTS: usize = 3600;

/// A run while it goes on.
pub(super) struct Running {
    pub(super) pipeline: Pipeline,
    pub(super) begin: Instant,
    /// When each step begins, and when the last one ends.
    pub(super) bounds: Vec<Instant>,
    /// A meter for each process that was there, by its number. One that is restarted has the same name and begins anew.
    meters: BTreeMap<i32, Meter>,
    pub(super) moments: Vec<Moment>,
    /// How many measurements each moment is made of.
    apart: usize,
    /// What was measured since the last moment.
    since: Vec<Moment>,
    pub(super) counted: Counted,
    pub(super) recoveries: Recoveries,
    /// What tells that a worker is ready; `None` if nobody knows.
    ready: Option<Ready>,
    pub(super) restarts: Vec<Restart>,
    /// The first step that was over before all of its workers were restarted.
    pub(super) too_short: Option<String>,
    /// The most messages that each group was behind in each partition, at any moment.
    pub(super) worst_lag: BTreeMap<String, i64>,
    /// Nobody is asked for lags then, because no answer comes for half a minute.
    is_broker_away: bool,
}

impl Running {
    /// Nothing is sent yet. The first step begins at `begin`.
    pub(super) fn new(pipeline: Pipeline, begin: Instant, plan: &Plan, ready: Option<Ready>) -> Self {
        let mut bounds = vec![begin];
        for step in &plan.steps {
            bounds.push(bounds[bounds.len() - 1] + Duration::from_secs(step.seconds.into()));
        }
        Self {
            pipeline,
            begin,
            bounds,
            meters: BTreeMap::new(),
            moments: Vec::new(),
            apart: 1,
            since: Vec::new(),
            counted: Counted::default(),
            recoveries: Recoveries::default(),
            ready,
            restarts: Vec::new(),
            too_short: None,
            worst_lag: BTreeMap::new(),
            is_broker_away: false,
        }
    }

    /// Carries out the steps while the fleet is sent.
    pub(super) fn drive(
        &mut self,
        plan: &Plan,
        count: &AtomicU64,
        is_sent: &dyn Fn() -> bool,
        tell: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        let mut next = self.begin;
        for (number, step) in plan.steps.iter().enumerate() {
            if let Some(workers) = step.workers {
                self.pipeline.set_workers(workers)?;
            }
            metrics::step(step.vehicles, self.pipeline.workers().count());
            self.disturb(step.disturb)?;
            let is_rolling = step.disturb == Some(Disturb::RollingRestart);
            let ready = self.ready.clone().filter(|_| is_rolling);
            let mut rolling = ready.map(|ready| Rolling::new(&self.pipeline, ready));
            tell(&format!(
                "{}: {} s, {} vehicles, {} workers",
                step.name,
                step.seconds,
                step.vehicles,
                self.pipeline.workers().count()
            ));
            let end = self.bounds[number + 1];
            loop {
                let is_over = Instant::now() >= end || is_sent();
                if is_over && rolling.is_none() {
                    break;
                }
                if is_over {
                    self.too_short.get_or_insert_with(|| step.name.clone());
                }
                let look = match &rolling {
                    Some(_) => Instant::now() + LOOK,
                    None if self.recoveries.go_on() => Instant::now() + SOON,
                    None => end,
                };
                thread::sleep(next.min(look).saturating_duration_since(Instant::now()));
                if let Some(going_on) = &mut rolling {
                    let (restart, is_last) = going_on.advance(&mut self.pipeline, self.begin)?;
                    self.restarts.extend(restart);
                    rolling = rolling.filter(|_| !is_last);
                }
                self.recover();
                if Instant::now() >= next {
                    next += EVERY;
                    self.measure(count);
                    self.pipeline.check()?;
                }
            }
            self.calm(step.disturb)?;
            if step.disturb == Some(Disturb::BrokerAway) {
                let (sent, since) = (count.load(Ordering::Relaxed).cast_signed(), Instant::now());
                let away = since.duration_since(self.bounds[number]).as_secs_f64();
                self.recoveries.begin(Recovering { step: step.name.clone(), away, since, sent });
            }
        }
        Ok(())
    }

    fn disturb(&mut self, disturb: Option<Disturb>) -> Result<(), String> {
        let calls = self.pipeline.stack.calls();
        match disturb {
            None | Some(Disturb::RollingRestart) => {}
            Some(Disturb::SlowS3 { by_ms }) => {
                calls.inject(Fault::Slow { service: "s3", by: Duration::from_millis(by_ms) });
            }
            Some(Disturb::SlowDynamodb { by_ms }) => {
                calls.inject(Fault::Slow { service: "dynamodb", by: Duration::from_millis(by_ms) });
            }
            Some(Disturb::BrokerAway) => self.set_broker(false)?,
        }
        Ok(())
    }

    fn calm(&mut self, disturb: Option<Disturb>) -> Result<(), String> {
        self.pipeline.stack.calls().end_troubles();
        if disturb == Some(Disturb::BrokerAway) { self.set_broker(true) } else { Ok(()) }
    }

    fn set_broker(&mut self, up: bool) -> Result<(), String> {
        self.is_broker_away = !up;
        match self.pipeline.stack.set_broker_up(up) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err("the broker of external services cannot be taken away; `broker-away` is for the other stacks"
                    .into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until everything is stored, and measures meanwhile. Gives how long that took.
    pub(super) fn drain(&mut self, plan: &Plan, count: &AtomicU64) -> Result<Duration, Failure> {
        let (begin, limit) = (Instant::now(), Duration::from_secs(plan.drain_seconds));
        let mut next = begin;
        loop {
            let look = if self.recoveries.go_on() { next.min(Instant::now() + SOON) } else { next };
            let is_drained = self.pipeline.drain(begin, limit, &|| Instant::now() >= look)?;
            self.recover();
            if is_drained {
                break;
            }
            if Instant::now() >= next {
                self.measure(count);
                next = Instant::now() + EVERY;
            }
        }
        let elapsed = begin.elapsed();
        self.measure(count);
        // The last measurements may be fewer than make a moment.
        if !self.since.is_empty() {
            self.moments.extend(Moment::together(self.since.drain(..)));
        }
        Ok(elapsed)
    }

    /// Takes note if the pipeline has recovered since the broker was away.
    fn recover(&mut self) {
        // A broker that is away would not answer for half a minute.
        if self.recoveries.go_on()
            && !self.is_broker_away
            && let Ok(stored) = self.pipeline.least_committed()
        {
            self.recoveries.note(stored, self.begin);
        }
    }

    /// Counts the calls that have ended.
    fn count(&mut self) {
        let stack = &self.pipeline.stack;
        self.counted.add(&stack.calls().take_ended(), stack.namespace());
    }

    /// Counts all calls, those that have not ended among them, after the processes have.
    pub(super) fn count_all(&mut self) {
        self.count();
        let stack = &self.pipeline.stack;
        self.counted.add(&stack.calls().snapshot(), stack.namespace());
    }

    fn measure(&mut self, count: &AtomicU64) {
        self.count();
        let sent = count.load(Ordering::Relaxed);
        let mut moment = Moment { second: self.begin.elapsed().as_secs_f64(), sent, ..Moment::default() };
        // The plot has a gap while the broker is away.
        let lag = if self.is_broker_away { BTreeMap::new() } else { self.pipeline.lag().unwrap_or_default() };
        for ((group, topic, partition), lag) in lag {
            let worst = self.worst_lag.entry(format!("{group}: {topic}-{partition}")).or_default();
            *worst = lag.max(*worst);
            *moment.lag.entry(group).or_default() += lag;
        }
        let itself = ("load".to_owned(), std::process::id().cast_signed());
        let processes = self.pipeline.processes().map(|process| (process.name.clone(), process.subject.id()));
        for (name, id) in processes.chain([itself]) {
            let meter = self.meters.entry(id).or_insert_with(|| Meter::new(id));
            if let Some(usage) = meter.measure() {
                moment.processes.insert(name, usage);
            }
        }
        metrics::measured(&moment.lag, &moment.processes);
        self.since.push(moment);
        if self.since.len() < self.apart {
            return;
        }
        self.moments.extend(Moment::together(self.since.drain(..)));
        if self.moments.len() >= MOMENTS {
            self.apart *= 2;
            let mut moments = std::mem::take(&mut self.moments).into_iter();
            while let Some(first) = moments.next() {
                self.moments.extend(Moment::together([Some(first), moments.next()].into_iter().flatten()));
            }
        }
    }
}
