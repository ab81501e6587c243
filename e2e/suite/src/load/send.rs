//! Sends the messages of a fleet at a fixed schedule: each when it is due, however slow the pipeline is.

use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use fms_simulator::target::{Kafka, KafkaSettings, Target as _, Template};
use fms_simulator::{Departure, Expectation, Made, Message, Plan as Departures, Simulation};

use super::due::Due;
use super::look::Look;
use super::metrics;

/// What is sent, and when.
pub struct Schedule<'s> {
    /// The parts of the fleet.
    pub parts: &'s [Made],
    /// The second of the fleet with which it begins.
    pub from: i64,
    /// How many seconds of the fleet pass in one.
    pub speed: u32,
    /// In how many messages a second the first row is looked for.
    pub looks_per_second: u32,
    /// The brokers.
    pub servers: &'s str,
    /// The template of the topic.
    pub topic: &'s str,
}

/// What was sent.
pub struct Sent {
    /// When each message was due.
    pub due: Due,
    /// How many messages left more than [`LATE`] after they were due.
    pub late: u64,
    /// By how much the latest message left late.
    pub latest: Duration,
    /// Messages.
    pub messages: u64,
    /// Their rows.
    pub rows: u64,
    /// The bytes of their values.
    pub bytes: u64,
    /// What the pipeline has to end with.
    pub expectation: Expectation,
}

/// A message that leaves later than this after it was due is late. The pipeline is measured from when it was due.
pub const LATE: Duration = Duration::from_millis(50);

/// Sends everything, or until `is_stopped`. `begin` is when the first second of the fleet is due, `count` how many messages
/// were sent so far, and `looks` is told of rows that are to be looked for.
pub fn send(
    schedule: &Schedule<'_>,
    begin: Instant,
    count: &AtomicU64,
    is_stopped: &AtomicBool,
    looks: &Sender<Look>,
) -> Result<Sent, String> {
    // What waits in the client counts as the pipeline's delay, so nothing waits there for company.
    let producer = vec![("linger.ms".to_owned(), "0".to_owned())];
    let (bootstrap_servers, compression) = (schedule.servers.to_owned(), "none".to_owned());
    let mut target =
        Kafka::start(&KafkaSettings { bootstrap_servers, compression, producer }).map_err(|error| error.to_string())?;
    let topic: Template = schedule.topic.parse().map_err(|error| format!("the topic {}: {error}", schedule.topic))?;
    let simulations: Vec<Simulation> = schedule.parts.iter().map(Made::simulation).collect::<Result<_, _>>()?;
    let mut parts: Vec<Peekable<Departures<'_>>> = schedule.parts.iter().zip(&simulations).map(departures).collect();
    let until = schedule.parts.iter().map(|part| part.until).max().unwrap_or(schedule.from);
    let mut sent = Sent::new(begin);
    let stops = || is_stopped.load(Ordering::Acquire);
    let mut next_look = begin;
    for second in schedule.from..until {
        let mut leaving: Vec<(Departure, &Simulation)> = Vec::new();
        for (part, simulation) in parts.iter_mut().zip(&simulations) {
            while let Some(departure) = part.next_if(|departure| departure.at.div_euclid(1000) <= second) {
                leaving.push((departure, simulation));
            }
        }
        leaving.sort_by_key(|(departure, _)| departure.at);
        for (departure, simulation) in leaving {
            if stops() {
                return Err("the fleet was stopped".to_owned());
            }
            let message = simulation.message(&departure);
            let after = u64::try_from(departure.at - schedule.from * 1000).unwrap_or(0);
            let due = begin + Duration::from_millis(after) / schedule.speed;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let late = due.elapsed();
            sent.late += u64::from(late > LATE);
            sent.latest = sent.latest.max(late);
            message.send(&mut target, &topic, &[], &stops).map_err(|error| error.to_string())?;
            count.fetch_add(1, Ordering::Relaxed);
            metrics::sent(late > LATE);
            if due >= next_look
                && schedule.looks_per_second > 0
                && let Some(look) = Look::of(&message, due)
            {
                next_look = due + Duration::from_secs(1) / schedule.looks_per_second;
                // Nobody looks any more if looking has failed, which is said elsewhere.
                let _ = looks.send(look);
            }
            sent.add(&message, due);
        }
    }
    target.finish(&stops).map_err(|error| error.to_string())?;
    sent.expectation.made = schedule.parts.to_vec();
    Ok(sent)
}

fn departures<'s>((part, simulation): (&Made, &'s Simulation)) -> Peekable<Departures<'s>> {
    simulation.plan_of(part.first..part.vehicles, part.shard, part.from, part.until).peekable()
}

impl Sent {
    fn new(begin: Instant) -> Self {
        Self {
            due: Due::new(begin),
            late: 0,
            latest: Duration::ZERO,
            messages: 0,
            rows: 0,
            bytes: 0,
            expectation: Expectation::default(),
        }
    }

    fn add(&mut self, message: &Message, due: Instant) {
        self.messages += 1;
        self.rows += message.rows.len() as u64;
        self.bytes += message.value.as_ref().map_or(0, Vec::len) as u64;
        self.due.add(&message.message_id, due);
        self.expectation.add(message);
    }

    /// The share of messages that left late.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn late_share(&self) -> f64 {
        self.late as f64 / self.messages.max(1) as f64
    }
}
