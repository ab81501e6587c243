//! A pipeline while the fleet is sent to it: steps begin and end, what disturbs them is done, and it is measured.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::Fault;

use super::metrics;
use super::pipeline::{LOOK, Pipeline};
use super::plan::{Disturb, Plan};
use super::ready::Ready;
use super::report::Moment;
use super::rolling::{Restart, Rolling};
use super::usage::Meter;

/// How often the pipeline is measured.
const EVERY: Duration = Duration::from_secs(1);

/// A run while it goes on.
pub(super) struct Running {
    pub(super) pipeline: Pipeline,
    pub(super) begin: Instant,
    /// When each step begins, and when the last one ends.
    pub(super) bounds: Vec<Instant>,
    /// A meter for each process that was there, by its number. One that is restarted has the same name and begins anew.
    meters: BTreeMap<i32, Meter>,
    pub(super) moments: Vec<Moment>,
    /// What tells that a worker is ready; `None` if nobody knows.
    ready: Option<Ready>,
    pub(super) restarts: Vec<Restart>,
    /// The first step that was over before all of its workers were restarted.
    pub(super) too_short: Option<String>,
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
    ) -> Result<(), String> {
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
                let look = if rolling.is_some() { Instant::now() + LOOK } else { end };
                thread::sleep(next.min(look).saturating_duration_since(Instant::now()));
                if let Some(going_on) = &mut rolling {
                    let (restart, is_last) = going_on.advance(&mut self.pipeline, self.begin)?;
                    self.restarts.extend(restart);
                    rolling = rolling.filter(|_| !is_last);
                }
                if Instant::now() >= next {
                    next += EVERY;
                    self.measure(count);
                    self.pipeline.check()?;
                }
            }
            self.calm(step.disturb)?;
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
                Err("the broker of this stack cannot be taken away; `broker-away` is for the embedded stack".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits until everything is stored, and measures meanwhile. Gives how long that took.
    pub(super) fn drain(&mut self, plan: &Plan, count: &AtomicU64) -> Result<Duration, String> {
        let (begin, limit) = (Instant::now(), Duration::from_secs(plan.drain_seconds));
        let mut next = begin;
        while !self.pipeline.drain(begin, limit, &|| Instant::now() >= next)? {
            self.measure(count);
            next = Instant::now() + EVERY;
        }
        self.measure(count);
        Ok(begin.elapsed())
    }

    fn measure(&mut self, count: &AtomicU64) {
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
        self.moments.push(moment);
    }
}
