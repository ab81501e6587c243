//! A topic that goes on is replayed until SIGTERM, and another replay goes on where that one was: every message is sent once.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use e2e::StackKind;
use e2e::internals::Record;
use fms_e2e::load::Pipeline;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The topic that is followed. It has two partitions, as the other one has.
const FOLLOWED: &str = "fms.vehicle.real";
/// The topic to which its messages are sent.
const SENT_TO: &str = "fms.sensor.real";
/// 2026-11-27T08:00:00Z, in milliseconds since the Unix epoch.
const BEGIN: i64 = 1_795_766_400_000;
/// What that becomes.
const FROM: &str = "2026-12-24T08:00:00Z";
/// How much later that is.
const LATER: i64 = 27 * 86_400_000;
/// How long a replay may take to send what there is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A replay that runs, and is killed with the test.
struct Following(Child);

impl Following {
    fn start(pipeline: &Pipeline, options: &str) -> Result<Self, Failed> {
        let arguments = format!("simulate replay topic:{FOLLOWED} --follow --to kafka --topic {SENT_TO} --speed max");
        let arguments: Vec<&str> = arguments.split(' ').chain(options.split(' ')).collect();
        let mut command = pipeline.fms_command(&arguments)?;
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?))
    }

    /// Stops it in good order, and gives what it has said.
    fn stop(mut self) -> Result<String, Failed> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM)?;
        let stderr = self.0.stderr.take().ok_or("its output is read already")?;
        let said = std::io::read_to_string(stderr)?;
        let status = self.0.wait()?;
        if !status.success() {
            return Err(format!("{status}: {said}").into());
        }
        Ok(said)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It has ended already if it was stopped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends records with these numbers, each so many milliseconds after the begin, to the partitions in turn.
fn send(pipeline: &Pipeline, records: &[(i32, i64)]) -> Result<(), Failed> {
    let record = |(number, after): &(i32, i64)| Record {
        topic: FOLLOWED.to_owned(),
        partition: number % 2,
        offset: i64::from(number / 2),
        timestamp: BEGIN + after,
        key: Some(number.to_string().into_bytes()),
        value: Some(format!(r#"{{"object":"vehicle","id":{number}}}"#).into_bytes()),
        headers: Vec::new(),
    };
    Ok(pipeline.stack.produce(&records.iter().map(record).collect::<Vec<_>>())?)
}

/// The numbers and times of the records that were sent, when there are so many.
fn arrived(pipeline: &Pipeline, count: usize) -> Result<Vec<(String, i64)>, Failed> {
    let begin = Instant::now();
    loop {
        let records = pipeline.stack.read_topic(SENT_TO)?;
        if records.len() >= count || begin.elapsed() > PATIENCE {
            let name = |record: Record| {
                let key = record.key.map(|key| String::from_utf8_lossy(&key).into_owned()).unwrap_or_default();
                (key, record.timestamp - LATER - BEGIN)
            };
            let mut found: Vec<_> = records.into_iter().map(name).collect();
            found.sort_by_key(|(number, _)| number.parse::<i32>().ok());
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn expected(records: &[&[(i32, i64)]]) -> Vec<(String, i64)> {
    records.concat().iter().map(|(number, after)| (number.to_string(), *after)).collect()
}

pub(crate) fn goes_on_where_it_was_stopped() -> Result<(), Failed> {
    let pipeline = Pipeline::prepare(&fms_e2e::suite(), StackKind::Embedded, None, &BTreeMap::new())?;
    // Times are not in order, and the last of what is there when a replay is stopped has the second of what comes next.
    let there = [(0, 0), (1, 700), (2, 1500), (3, 1200)];
    let later = [(4, 3000), (5, 2000), (6, 9100)];
    let meanwhile = [(7, 9050), (8, 9100), (9, 4000), (10, 9900)];
    let last = [(11, 12_000), (12, 11_000)];

    send(&pipeline, &there)?;
    let following = Following::start(&pipeline, &format!("--from {FROM}"))?;
    assert_eq!(arrived(&pipeline, 4)?, expected(&[&there]));
    send(&pipeline, &later)?;
    assert_eq!(arrived(&pipeline, 7)?, expected(&[&there, &later]));
    let said = following.stop()?;

    send(&pipeline, &meanwhile)?;
    let (_, options) = said.split_once("was stopped; with ").ok_or_else(|| said.clone())?;
    let (options, _) = options.split_once(" it goes on").ok_or_else(|| said.clone())?;
    assert_eq!(options, "--since 2026-11-27T08:00:09Z --from 2026-12-24T08:00:09Z --offsets 0=4,1=3");
    let following = Following::start(&pipeline, options)?;
    assert_eq!(arrived(&pipeline, 11)?, expected(&[&there, &later, &meanwhile]));
    send(&pipeline, &last)?;
    arrived(&pipeline, 13)?;
    let said = following.stop()?;
    assert!(said.contains("--offsets 0=7,1=6"), "{said}");
    // Nothing came twice until it had ended.
    assert_eq!(arrived(&pipeline, 13)?, expected(&[&there, &later, &meanwhile, &last]));

    let replay = format!("simulate replay topic:{FOLLOWED} --to kafka --speed max");
    for (options, says) in [
        ("--follow".to_owned(), "would go to topic fms.vehicle.real itself"),
        (format!("--topic {SENT_TO} --since {FROM} --offsets 2=0"), "it has no partition 2"),
        // What the topic does not have is not left out in silence.
        (format!("--topic {SENT_TO} --since {FROM} --offsets 0=99"), "cannot read topic fms.vehicle.real"),
        (format!("--topic {SENT_TO} --offsets 0=0"), "--since"),
        (format!("--topic {SENT_TO} --since {FROM} --offsets 0"), "write a partition and an offset"),
    ] {
        let output = pipeline.fms(&format!("{replay} {options}").split(' ').collect::<Vec<_>>())?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{options}: {} {said}", output.status);
    }
    Ok(())
}
