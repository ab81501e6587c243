//! `fms simulate`: a fleet of vehicles that sends what real ones send, with their faults.

mod letters;
mod metrics;
mod replay;
mod stores;
mod target;
mod verify;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use fms_simulator::target::TargetError;
use fms_simulator::{
    Done, Expectation, FIRST_SECOND, LAST_SECOND, Made, Protocols, Rates, Rhythm, Run, Shard, use_recordings,
};
use jiff::{SignedDuration, Timestamp};

use self::metrics::teller;
use self::target::TargetArguments;
use crate::{FAILED, LogFormat, NOT_STARTED, report, say, start_log, stop_signal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many vehicles the fleet has.
    #[arg(long, default_value_t = 100, value_name = "N")]
    vehicles: u64,
    /// How many seconds of the fleet pass in a second, such as `1x` or `10x`; `max` is as many as possible.
    #[arg(long, default_value = "1x", value_parser = speed, value_name = "SPEED")]
    speed: Speed,
    /// What is sent: `all`, or names such as `vehicle/kinematic,adas/event`.
    #[arg(long, default_value = "all", value_parser = Protocols::parse, value_name = "LIST")]
    protocols: Protocols,
    /// The fleet: the same number gives the same vehicles, trips and messages.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// What goes wrong: `field`, as often as it was seen in the field, `none`, or a TOML file of rates.
    #[arg(long, default_value = "field", value_name = "FILE")]
    faults: String,
    /// The trips that vehicles drive: a folder with files such as those in `recordings`; by default two that are a part of
    /// this program.
    #[arg(long, value_name = "FOLDER")]
    recordings: Option<PathBuf>,
    /// When the fleet's time begins, such as `2026-11-27T08:00:00+09:00`; by default it is now.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// When the fleet began to send, if it goes on with --from where it was stopped: what was due before is not sent late
    /// or again. By default it is --from.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// How much of the fleet's time is simulated, such as `90s`, `2h` or `7d`; by default it goes on until SIGTERM.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    duration: Option<i64>,
    /// How days pass: with rush hours, nights and weekends, or as a steady load.
    #[arg(long, value_enum, default_value_t = RhythmName::Days)]
    rhythm: RhythmName,
    /// Simulate a part of the fleet: `1/2` and `2/2` together are the whole.
    #[arg(long, default_value_t = Shard::WHOLE, value_name = "I/N")]
    shard: Shard,
    #[command(flatten)]
    target: TargetArguments,
    /// Write to this file what a pipeline has to end with: counts by protocol and hour, a digest of all rows, faults.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Give metrics to Prometheus at this port, under `/metrics`; 0 is one that the system chooses.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Add expectations up: those of the parts of a fleet, or of one time after the other.
    Merge {
        /// Files that `--expect` has written.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Compare what a pipeline has stored with an expectation, and name what is missing or too many. The exit status is 1
    /// if there is a difference, and 2 if a store could not be compared.
    Verify(Box<verify::Arguments>),
    /// Send what was recorded again: at another time, as fast as then or faster, and as that of more vehicles.
    Replay(Box<replay::Arguments>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RhythmName {
    /// Rush hours, nights and weekends.
    Days,
    /// Every vehicle drives 20 times a day.
    Steady,
}

/// How many seconds of the fleet pass in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    Times(f64),
    Max,
}

impl Speed {
    /// `None` is as many as possible.
    const fn times(self) -> Option<f64> {
        match self {
            Self::Times(times) => Some(times),
            Self::Max => None,
        }
    }
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.strip_suffix('x').and_then(|number| number.parse().ok());
    times
        .filter(|times: &f64| *times > 0.0 && times.is_finite())
        .map(Speed::Times)
        .ok_or_else(|| "write how many times as fast as real vehicles, such as 1x or 10x, or max".to_owned())
}

fn duration(text: &str) -> Result<i64, String> {
    let read: Option<SignedDuration> = text.strip_suffix('d').map_or_else(
        || text.parse().ok(),
        |days| days.parse().ok().and_then(|days: i64| days.checked_mul(24)).map(SignedDuration::from_hours),
    );
    read.map(|duration| duration.as_secs())
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| "write a time of at least a second, such as 90s, 2h or 7d".to_owned())
}

/// Runs the command and gives the exit status of the process: 0 if everything was sent, 1 if sending failed, 2 if nothing
/// was started.
pub(crate) fn run(command: Option<SimulateCommand>, arguments: &Arguments, log_format: LogFormat) -> ExitCode {
    let done = match command {
        Some(SimulateCommand::Merge { files }) => merge(&files).map_err(|error| (error, NOT_STARTED)),
        Some(SimulateCommand::Verify(arguments)) => {
            return match verify::run(&arguments, log_format) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => FAILED.into(),
                Err(error) => {
                    say(&format!("fms simulate verify: {error:#}"));
                    NOT_STARTED.into()
                }
            };
        }
        Some(SimulateCommand::Replay(arguments)) => replay::run(&arguments, log_format),
        None => simulate(arguments, log_format),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, NOT_STARTED)) => {
            report("fms simulate", &[format!("{error:#}")], log_format);
            NOT_STARTED.into()
        }
        Err((error, status)) => {
            say(&format!("fms simulate: {error:#}"));
            status.into()
        }
    }
}

fn simulate(arguments: &Arguments, log_format: LogFormat) -> Result<(), (anyhow::Error, u8)> {
    let not_started = |error| (error, NOT_STARTED);
    start_log(log_format).map_err(not_started)?;
    let stop = stop_signal().context("cannot listen for SIGTERM and SIGINT").map_err(not_started)?;
    if let Some(folder) = &arguments.recordings {
        use_recordings(folder).map_err(|error| not_started(error.into()))?;
    }
    let (from, until) = span(arguments).map_err(not_started)?;
    let since = arguments.since.map_or(from, Timestamp::as_second);
    let mut made = Made {
        seed: arguments.seed,
        first: 0,
        vehicles: arguments.vehicles,
        shard: arguments.shard,
        from,
        until,
        since,
        rhythm: match arguments.rhythm {
            RhythmName::Days => Rhythm::Days,
            RhythmName::Steady => Rhythm::Steady,
        },
        protocols: Made::names(arguments.protocols),
        faults: Rates::load(&arguments.faults).map_err(|error| not_started(error.into()))?,
        beyond: Vec::new(),
    };
    let simulation = made.simulation().map_err(|error| not_started(anyhow::anyhow!(error)))?;
    let mut tell = teller(arguments.metrics_port).map_err(not_started)?;
    let described = arguments.duration.map(|_| description(arguments));
    let described = described.ok_or("--duration is missing: a fixture has an end");
    let mut target = arguments.target.open(described).map_err(not_started)?;
    let (topic, headers) = (arguments.target.topic(), arguments.target.headers());
    let mut expectation = arguments.expect.is_some().then(Expectation::default);
    let run = Run {
        simulation: &simulation,
        vehicles: arguments.vehicles,
        shard: arguments.shard,
        from,
        until,
        speed: arguments.speed.times(),
        topic: &topic,
        headers: &headers,
    };
    let stops = || *stop.borrow();
    let Done { progress, beyond, uncertain, error } = run.run(&mut *target, expectation.as_mut(), &stops, &mut tell);
    say(&progress.to_string());
    if progress.second < until {
        let time = |second| Timestamp::from_second(second).unwrap_or_default();
        let again = beyond.iter().map(|[first, last]| last - first + 1).sum();
        say(&format!(
            "fms simulate {}; with --from {} --since {} it goes on where it was{}",
            ended(error.as_ref()),
            time(progress.second),
            time(since),
            repeated(again, uncertain)
        ));
    }
    (made.until, made.beyond) = (progress.second, beyond);
    let written = arguments.expect.as_ref().zip(expectation.as_mut()).map(|(path, expectation)| {
        expectation.made.push(made);
        std::fs::write(path, expectation.to_json())
            .with_context(|| format!("cannot write to {} what has arrived", path.display()))
    });
    match (error, written) {
        // Whoever reads the output has seen enough.
        (None | Some(TargetError::Closed), written) => written.unwrap_or(Ok(())),
        (Some(error), Some(Err(other))) => Err(anyhow::Error::from(error).context(format!("{other:#}, and"))),
        (Some(error), _) => Err(error.into()),
    }
    .map_err(|error| (error, FAILED))
}

/// How a run ended that has not sent everything.
fn ended(error: Option<&TargetError>) -> &'static str {
    if error.is_some_and(|error| !matches!(error, TargetError::Closed)) { "has failed" } else { "was stopped" }
}

/// What arrives twice when a run goes on.
fn repeated(again: u64, uncertain: u64) -> String {
    let mut text = String::new();
    if again > 0 {
        let _infallible =
            write!(text, "; it sends {again} messages again that have arrived behind others that have not");
    }
    if uncertain > 0 {
        let _infallible = write!(text, "; {uncertain} of those that it sends may have arrived, for nobody has said so");
    }
    text
}

/// The first second, and the one before which the run ends.
fn span(arguments: &Arguments) -> anyhow::Result<(i64, i64)> {
    let from = arguments.from.unwrap_or_else(Timestamp::now).as_second();
    ensure!(
        (FIRST_SECOND..LAST_SECOND).contains(&from),
        "--from is {}; the fleet has driven since {} and until {}",
        Timestamp::from_second(from).unwrap_or_default(),
        Timestamp::from_second(FIRST_SECOND).unwrap_or_default(),
        Timestamp::from_second(LAST_SECOND).unwrap_or_default()
    );
    let until = arguments.duration.map_or(LAST_SECOND, |seconds| from.saturating_add(seconds).min(LAST_SECOND));
    Ok((from, until))
}

/// What a fixture says of itself.
fn description(arguments: &Arguments) -> String {
    let from = arguments.from.map_or_else(|| "now".to_owned(), |from| from.to_string());
    format!(
        "Simulated: {} vehicles of the fleet {}, from {from} for {} s, part {}, with the faults `{}`. Expected: what \
         `fms simulate --expect` says of the same fleet.",
        arguments.vehicles,
        arguments.seed,
        arguments.duration.unwrap_or(0),
        arguments.shard,
        arguments.faults
    )
}

fn merge(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut sum = Expectation::default();
    for file in files {
        sum.merge(Expectation::read(Path::new(file))?);
    }
    std::io::stdout().write_all(sum.to_json().as_bytes()).context("cannot write the sum to the standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_durations_and_settings_are_read() {
        assert_eq!(speed("10x"), Ok(Speed::Times(10.0)));
        assert_eq!(speed("0.5x"), Ok(Speed::Times(0.5)));
        assert_eq!(speed("max"), Ok(Speed::Max));
        for wrong in ["10", "x", "0x", "-1x", "fast"] {
            assert!(speed(wrong).is_err_and(|error| error.contains("such as 1x or 10x, or max")), "{wrong}");
        }
        for (text, seconds) in [("90s", 90), ("2h", 7200), ("7d", 604_800), ("1h 30m", 5400)] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for wrong in ["", "0s", "-2h", "soon", "d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
