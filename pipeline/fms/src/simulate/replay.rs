//! `fms simulate replay`: what was recorded is sent again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, ensure};
use clap::Args;
use fms_lake::{Raw, RawObjects, S3Url, files, numbered_lines};
use fms_simulator::Shard;
use fms_simulator::replay::{Done, GoesOn, Intake, Replay, ReplayError, Source, Topic, TopicSettings};
use fms_simulator::target::TargetError;
use jiff::Timestamp;
use tokio::runtime::Builder;

use super::metrics::teller;
use super::target::{TargetArguments, setting};
use super::{Speed, ended, repeated, speed, stores};
use crate::{FAILED, LogFormat, NOT_STARTED, say, start_log, stop_signal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What was recorded: `topic:NAME`, `s3://BUCKET/PREFIX` with raw objects, a folder or a file with lines as raw
    /// objects have them or as `--to file` writes them, or a file that ends with `.csv`.
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// When it is sent again: the time that the first message gets, or --since; by default it is now.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what was sent from this time on, such as `2026-11-27T08:00:00+09:00`.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only what was sent before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// How many recorded seconds pass in a second, such as `1x` or `10x`; `max` is as many as possible.
    #[arg(long, default_value = "1x", value_parser = speed, value_name = "SPEED")]
    speed: Speed,
    /// How many vehicles each recorded one becomes: itself, and copies with other names at other places.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000), value_name = "N")]
    clones: u64,
    /// The fields that copies have values of their own in: the recorded one with a number behind it.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "id,device_id,message_id,request_id,event_id,trip_id",
        value_name = "FIELD,…"
    )]
    rename: Vec<String>,
    /// The fields of a latitude and a longitude. Each copy is moved on the globe by a rotation of its own.
    #[arg(long = "move", default_value = "latitude,longitude", value_parser = pair, value_name = "LATITUDE,LONGITUDE")]
    position: (String, String),
    /// Decides where the copies are.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Send a part of the vehicles: `1/2` and `2/2` together are all of them.
    #[arg(long, default_value_t = Shard::WHOLE, value_name = "I/N")]
    shard: Shard,
    /// Go on with what comes into the topic later, until SIGTERM.
    #[arg(long)]
    follow: bool,
    /// Where in its partitions a topic is read from, instead of --since, such as `0=1520,1=1498`. A replay that was
    /// stopped says it.
    #[arg(long, value_delimiter = ',', value_parser = offset, requires = "since", value_name = "PARTITION=OFFSET,…")]
    offsets: Vec<(i32, i64)>,
    /// A setting of librdkafka for the consumer of the topic, such as `security.protocol=ssl`. May be repeated.
    #[arg(long, value_parser = setting, value_name = "KEY=VALUE")]
    consumer: Vec<(String, String)>,
    /// The Kafka brokers of the topic that is read; by default those of --bootstrap-servers.
    #[arg(long, value_name = "HOST:PORT,…")]
    source_servers: Option<String>,
    /// Give metrics to Prometheus at this port, under `/metrics`; 0 is one that the system chooses.
    #[arg(long, value_name = "PORT")]
    metrics_port: Option<u16>,
    #[command(flatten)]
    target: TargetArguments,
}

/// Where what was recorded is.
#[derive(Debug, Clone)]
enum Place {
    Topic(String),
    Objects(S3Url),
    Files(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("topic", "")) => Err("write the name of a topic behind `topic:`".to_owned()),
            Some(("topic", name)) => Ok(Self::Topic(name.to_owned())),
            Some(("s3", _)) => text.parse().map(Self::Objects),
            _ => Ok(Self::Files(text.into())),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(',').filter(|(one, other)| !one.is_empty() && !other.is_empty());
    let pair = pair.map(|(one, other)| (one.to_owned(), other.to_owned()));
    pair.ok_or_else(|| "write two fields, such as latitude,longitude".to_owned())
}

fn offset(text: &str) -> Result<(i32, i64), String> {
    let pair = text.split_once('=').and_then(|(number, offset)| Some((number.parse().ok()?, offset.parse().ok()?)));
    pair.filter(|(number, offset)| *number >= 0 && *offset >= 0)
        .ok_or_else(|| "write a partition and an offset, such as 0=1520".to_owned())
}

/// Says which place could not be read. A mistake in what was read has its place already.
fn at(error: anyhow::Error, place: &str) -> anyhow::Error {
    if error.is::<ReplayError>() { error } else { error.context(format!("cannot read {place}")) }
}

/// Replays. An error has the exit status: 2 if nothing was sent, 1 if something was.
pub(super) fn run(arguments: &Arguments, log_format: LogFormat) -> Result<(), (anyhow::Error, u8)> {
    let not_started = |error| (error, NOT_STARTED);
    start_log(log_format).map_err(not_started)?;
    let stop = stop_signal().context("cannot listen for SIGTERM and SIGINT").map_err(not_started)?;
    let mut tell = teller(arguments.metrics_port).map_err(not_started)?;
    let mut source = arguments.source().map_err(not_started)?;
    let described = (!arguments.follow).then(|| format!("Replayed from {}.", arguments.source));
    let described = described.ok_or("a replay with --follow has no end, and a fixture has one");
    let mut target = arguments.target.open(described).map_err(not_started)?;
    let (asked, otherwise) = (arguments.target.asked_topic(), arguments.target.topic());
    let headers = arguments.target.headers();
    let from = arguments.from.unwrap_or_else(Timestamp::now).as_second();
    let replay = Replay {
        from,
        since: arguments.since.map(Timestamp::as_second),
        speed: arguments.speed.times(),
        clones: arguments.clones,
        shard: arguments.shard,
        seed: arguments.seed,
        names: &arguments.rename,
        position: Some(&arguments.position),
        topic: asked.as_ref(),
        otherwise: &otherwise,
        follows: arguments.follows_itself(),
        headers: &headers,
    };
    let done = replay.run(&mut *source, &mut *target, &|| *stop.borrow(), &mut tell);
    let Done { progress, goes_on, again, uncertain, error } = done.map_err(|error| (error.into(), FAILED))?;
    say(&progress.to_string());
    if let Some(GoesOn { since, from, offsets }) = goes_on {
        let time = |second| Timestamp::from_second(second).unwrap_or_default();
        let offsets = offsets.map(|offsets| {
            let offsets: Vec<String> = offsets.iter().map(|(number, offset)| format!("{number}={offset}")).collect();
            format!(" --offsets {}", offsets.join(","))
        });
        say(&format!(
            "fms simulate replay {}; with --since {} --from {}{} it goes on where it was{}",
            ended(error.as_ref()),
            time(since),
            time(from),
            offsets.unwrap_or_default(),
            repeated(again, uncertain)
        ));
    }
    match error {
        // Whoever reads the output has seen enough.
        None | Some(TargetError::Closed) => Ok(()),
        Some(error) => Err((error.into(), FAILED)),
    }
}

impl Arguments {
    /// The topic that is followed, if messages are sent to the same brokers.
    fn follows_itself(&self) -> Option<&str> {
        let is_same = self.source_servers.is_none() || self.source_servers == self.target.bootstrap_servers;
        match &self.source {
            Place::Topic(topic) if self.follow && is_same && self.target.is_kafka() => Some(topic),
            _ => None,
        }
    }

    fn source(&self) -> anyhow::Result<Box<dyn Source>> {
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millisecond);
        let (since, until) = (millis(self.since), millis(self.until));
        let may_follow = matches!(self.source, Place::Topic(_));
        ensure!(may_follow || !self.follow, "--follow is for a topic; {} ends with what is there", self.source);
        ensure!(may_follow || self.offsets.is_empty(), "--offsets is for a topic; {} has none", self.source);
        let mut intake = Intake::new(since, until);
        match &self.source {
            Place::Topic(topic) => {
                let servers = self.source_servers.clone().or_else(|| self.target.bootstrap_servers.clone());
                let bootstrap_servers = servers
                    .context("--source-servers is missing, which says where the Kafka brokers of the topic are")?;
                let (topic, consumer, follow) = (topic.clone(), self.consumer.clone(), self.follow);
                let offsets: BTreeMap<i32, i64> = self.offsets.iter().copied().collect();
                let offsets = (!offsets.is_empty()).then_some(offsets);
                let settings = TopicSettings { topic, bootstrap_servers, consumer, since, offsets, until, follow };
                return Ok(Box::new(Topic::open(settings)?));
            }
            Place::Files(path) => {
                let place = path.display().to_string();
                let mut paths = files(path).with_context(|| format!("cannot read {place}"))?;
                // Messages of one time are sent in the order of the names of their files.
                paths.sort();
                for path in paths {
                    read_file(&mut intake, &path)?;
                }
            }
            Place::Objects(url) => {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
                let runtime = runtime.context("cannot start threads")?;
                let aws = fms_aws::load(runtime.handle());
                let objects = RawObjects::new(&aws, stores::retry("fms simulate replay"));
                let mut each = |raw: &Raw, bytes: &mut dyn io::Read| read_lines(&mut intake, bytes, &raw.to_string());
                objects.each_object(url, runtime.handle(), &mut each).map_err(|error| at(error, &url.to_string()))?;
            }
        }
        let sorted = intake.sorted()?;
        for (from, until, count) in &sorted.left_out {
            say(&format!(
                "{count} messages of {from} to {until} are left out, for they are more than a week away from the others; \
                 --since and --until take what they say"
            ));
        }
        ensure!(sorted.first.is_some(), "{} has no message of the time that is asked for", self.source);
        Ok(Box::new(sorted))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Objects(url) => url.fmt(f),
            Self::Files(path) => path.display().fmt(f),
        }
    }
}

fn read_file(intake: &mut Intake, path: &Path) -> anyhow::Result<()> {
    let place = path.display().to_string();
    let mut file = File::open(path).with_context(|| format!("cannot read {place}"))?;
    if path.extension().is_some_and(|extension| extension == "csv") {
        return Ok(intake.csv(file, &place)?);
    }
    read_lines(intake, &mut file, &place)
}

fn read_lines(intake: &mut Intake, bytes: &mut dyn io::Read, place: &str) -> anyhow::Result<()> {
    let mut each = |number: u64, line: &[u8]| -> anyhow::Result<()> {
        Ok(intake.line(line, &|| format!("line {number} of {place}"))?)
    };
    numbered_lines(bytes, &mut each).map_err(|error| at(error, place))?;
    Ok(intake.end_of_object()?)
}
