//! A rolling restart: each worker is stopped in good order and started again under its name, and the next one follows when
//! all workers are ready.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pipeline::{PATIENCE, Pipeline};
use super::ready::{Awaited, Ready};

/// A rolling restart while it goes on.
pub(super) struct Rolling {
    awaited: Awaited,
    /// The workers that have yet to be restarted.
    left: VecDeque<String>,
    state: State,
}

/// What is waited for.
enum State {
    /// That all workers are ready, since this moment. The last one that was started again is told.
    Ready(Instant, Option<(String, Instant, Duration)>),
    /// That a worker ends, which was told to at this moment.
    End(String, Instant),
}

/// A worker that was restarted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Its name.
    pub worker: String,
    /// When it was told to stop, in seconds since the begin of the run.
    pub second: f64,
    /// How many seconds it took to end.
    pub to_end: f64,
    /// How many seconds after that it was ready again.
    pub to_be_ready: f64,
}

impl Rolling {
    /// Of all workers that run.
    pub(super) fn new(pipeline: &Pipeline, ready: Ready) -> Self {
        let left = pipeline.workers().map(|worker| worker.name.clone()).collect();
        Self { awaited: Awaited::new(ready), left, state: State::Ready(Instant::now(), None) }
    }

    /// Does what can be done without waiting. Gives the worker that is ready again, and whether that was the last one;
    /// `begin` is that of the run.
    pub(super) fn advance(
        &mut self,
        pipeline: &mut Pipeline,
        begin: Instant,
    ) -> Result<(Option<Restart>, bool), String> {
        match &mut self.state {
            State::Ready(since, last) => {
                if let Some(missed) = self.awaited.is_missed_by(pipeline) {
                    if since.elapsed() > PATIENCE {
                        let seconds = PATIENCE.as_secs();
                        return Err(format!(
                            "the workers are not ready after {seconds} s: {missed}\n{}",
                            pipeline.logs()
                        ));
                    }
                    return Ok((None, false));
                }
                let restart = last.take().map(|(worker, told, to_end)| Restart {
                    worker,
                    second: told.duration_since(begin).as_secs_f64(),
                    to_end: to_end.as_secs_f64(),
                    to_be_ready: since.elapsed().as_secs_f64(),
                });
                let Some(worker) = self.left.pop_front() else { return Ok((restart, true)) };
                pipeline.tell_to_stop(&worker)?;
                self.state = State::End(worker, Instant::now());
                Ok((restart, false))
            }
            State::End(worker, told) => {
                if pipeline.has_stopped()? {
                    let (worker, told) = (std::mem::take(worker), *told);
                    let to_end = told.elapsed();
                    pipeline.start_worker(worker.clone())?;
                    self.state = State::Ready(Instant::now(), Some((worker, told, to_end)));
                } else if told.elapsed() > PATIENCE {
                    return Err(format!("{worker} did not end within {} s of SIGTERM", PATIENCE.as_secs()));
                }
                Ok((None, false))
            }
        }
    }
}
