//! The command `e2e measure`: measures what this project promises in numbers, and shows each figure beside its aim.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::{
    BASE_TIMESTAMP, Case, Embedded, Log, Record, Stack, Subject, cases, partition_of, prepare, run_all,
};
use e2e::{CaseId, Options, Suite};

const STARTS: usize = 50;

/// The simplest case. The worker that is measured alone uses the settings of this case.
const SIMPLE: (&str, &str) = ("vehicle-kinematic", "one");
const SIMPLE_RUNS: usize = 10;

const RATE: u32 = 200;
const MESSAGES: u32 = 10 * RATE;

/// The partition key of the item that a message becomes, as `deploy/connectors/dynamodb.json` defines it.
const PARTITION_KEY: (&str, &str) = ("pk", "${id}#vehicle#kinematic#report");
const MESSAGE: &str = r#"{"object":"vehicle","type":"kinematic","command":"report","id":${id},"messaged_at":"2023-01-01T12:00:01.000+09:00","measurements":[{"timestamp_iso":"2023-01-01T12:00:00.000+09:00","seq":0,"latitude":37.518342,"longitude":126.982117,"speed":55.3}]}"#;

/// How often the database is asked for outstanding items. This is the resolution of the measured latency.
const LOOK: Duration = Duration::from_millis(1);

/// How long the measurement of the worker waits for the next progress before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures everything and prints the table of figures.
pub fn print(suite: &Suite) -> Result<ExitCode, String> {
    prepare(false)?;
    if cfg!(debug_assertions) {
        println!(
            "This is a development build; the aims are about a release build: cargo run --release --bin e2e -- measure\n"
        );
    }
    row("", "measured", "aim", true);
    starts()?;
    one_case()?;
    whole_suite(suite)?;
    executable()?;
    worker(suite)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one figure as a row of the table, with a mark if it misses its aim.
fn row(what: &str, measured: &str, aim: &str, met: bool) {
    let line = format!("{what:<66} {measured:>9}  {aim}{}", if met { "" } else { "  ✗" });
    println!("{}", line.trim_end());
}

fn time_row(what: &str, measured: Duration, aim: Duration) {
    row(what, &milliseconds(measured), &format!("≤ {}", milliseconds(aim)), measured <= aim);
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", (time.as_secs_f64() * 1e4).round() / 10.0)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// The smallest of the times that at least `percent` percent of the times do not exceed. There has to be at least one
/// time.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100).max(1) - 1]
}

fn starts() -> Result<(), String> {
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let started = Instant::now();
        let stack = Embedded::start().map_err(|error| error.to_string())?;
        times.push(started.elapsed());
        drop(stack);
    }
    time_row(&format!("embedded stack ready, {STARTS} starts: median"), percentile(&mut times, 50), ms(50));
    time_row(&format!("embedded stack ready, {STARTS} starts: p95"), percentile(&mut times, 95), ms(150));
    Ok(())
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Measures one case in a process of its own, from the start of the process to its end.
fn one_case() -> Result<(), String> {
    let (protocol, case) = SIMPLE;
    let name = format!("{protocol}::{case}");
    let itself = itself()?;
    let mut times = Vec::with_capacity(SIMPLE_RUNS);
    for _ in 0..SIMPLE_RUNS {
        let started = Instant::now();
        let output = Command::new(&itself)
            .args([&name, "--json"])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start {}: {error}", itself.display()))?;
        times.push(started.elapsed());
        if !output.status.success() {
            return Err(format!("{name} did not pass:\n{}", String::from_utf8_lossy(&output.stdout)));
        }
    }
    time_row(&format!("{name} alone, {SIMPLE_RUNS} processes: median"), percentile(&mut times, 50), ms(600));
    row(
        &format!("{name} alone, {SIMPLE_RUNS} processes: slowest"),
        &milliseconds(percentile(&mut times, 100)),
        "",
        true,
    );
    Ok(())
}

fn itself() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this executable: {error}"))
}

fn whole_suite(suite: &Suite) -> Result<(), String> {
    let cases = cases(&suite.fixtures).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let outcomes = run_all(&cases, None, true, |id| e2e::run(suite, id, &Options::default(), String::new()));
    let took = started.elapsed();
    let failed = outcomes.iter().filter(|outcome| outcome.failure().is_some()).count();
    let what = format!("whole suite, {} cases, {failed} failed", cases.len());
    row(&what, &format!("{:.1} s", took.as_secs_f64()), "≤ 20 s", failed == 0 && took <= Duration::from_secs(20));
    Ok(())
}

/// Reports the size of the executable `fms` beside this one, if it was built.
fn executable() -> Result<(), String> {
    let path = itself()?.with_file_name("fms");
    let what = "executable `fms`, as it was built";
    match fs::metadata(&path) {
        Ok(file) => row(what, &megabytes(file.len()), "< 40 MB, stripped", file.len() < 40_000_000),
        Err(_) => row(what, "not built", "< 40 MB, stripped: build it with --bin fms", false),
    }
    Ok(())
}

/// Measures a worker with the shipped connectors: first while it is idle on an empty stack, then with messages at a
/// fixed rate.
fn worker(suite: &Suite) -> Result<(), String> {
    let id = CaseId { protocol: SIMPLE.0.into(), name: SIMPLE.1.into() };
    let case = Case::read(&suite.fixtures, &id).map_err(|error| error.to_string())?;
    let stack = Embedded::start().map_err(|error| error.to_string())?;
    stack.provide(&case.settings.resources).map_err(|error| error.to_string())?;
    let mut environment = stack.environment();
    environment.extend(case.settings.env.clone());
    let log = Log::default();
    let subject = Subject::start(&suite.program, &case.settings.args, &environment, &suite.root, &log)
        .map_err(|error| error.to_string())?;
    let gone = || format!("the worker is not as it should be; its last lines:\n{}", log.last(15));

    // The worker consumes all topics except its own dead-letter topics.
    let consumed =
        case.settings.resources.topics.iter().filter(|(topic, _)| !case.settings.dead_letters.contains(topic));
    let assigned = consumed.filter_map(|(_, partitions)| usize::try_from(*partitions).ok()).sum::<usize>()
        * case.settings.groups.len();
    let deadline = Instant::now() + PATIENCE;
    while log.text().matches("partition assigned").count() < assigned {
        if subject.wait(Instant::now() + LOOK).is_some() || Instant::now() > deadline {
            return Err(gone());
        }
    }
    let mut memory = resident(&subject);
    // The worker idles for a while, because the memory that its threads and clients allocate when they first run counts
    // too.
    if subject.wait(Instant::now() + Duration::from_secs(2)).is_some() {
        return Err(gone());
    }
    memory = memory.max(resident(&subject));
    match memory {
        Some(bytes) => row("idle worker, resident memory", &megabytes(bytes), "< 40 MB", bytes < 40_000_000),
        None => row("idle worker, resident memory", "no /proc", "< 40 MB", false),
    }

    let (mut times, rate) = latencies(&case, &stack).map_err(|problem| format!("{problem}\n{}", gone()))?;
    let what = format!("produced to readable in DynamoDB, {MESSAGES} messages at {rate:.0}/s");
    row(&format!("{what}: p50"), &milliseconds(percentile(&mut times, 50)), "", true);
    time_row(&format!("{what}: p99"), percentile(&mut times, 99), ms(100));
    subject.terminate();
    subject.wait(Instant::now() + PATIENCE);
    Ok(())
}

/// The resident memory of the worker in bytes. Linux reports it in kibibytes; `None` where there is no `/proc`.
fn resident(subject: &Subject) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(subject.id().to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// For every message, the time from the call that sends it until its item can be read; and the rate at which messages
/// were really sent.
fn latencies(case: &Case, stack: &Embedded) -> Result<(Vec<Duration>, f64), String> {
    let table = case.settings.resources.tables.first().ok_or("the case has no table")?;
    let (sender, sent) = mpsc::channel::<(u32, Instant)>();
    thread::scope(|scope| {
        let producing = scope.spawn(move || produce(case, stack, &sender));
        let mut times = Vec::with_capacity(MESSAGES as usize);
        let mut outstanding: VecDeque<(String, Instant)> = VecDeque::new();
        let mut deadline = Instant::now() + PATIENCE;
        while times.len() < MESSAGES as usize {
            for (id, at) in sent.try_iter() {
                outstanding.push_back((PARTITION_KEY.1.replace("${id}", &id.to_string()), at));
            }
            let before = outstanding.len();
            let mut failed = None;
            outstanding.retain(|(key, at)| match stack.has_item(&table.name, PARTITION_KEY.0, key) {
                Ok(true) => {
                    times.push(at.elapsed());
                    false
                }
                Ok(false) => true,
                Err(error) => {
                    failed = Some(error.to_string());
                    true
                }
            });
            if let Some(problem) = failed {
                return Err(problem);
            }
            if outstanding.len() < before {
                deadline = Instant::now() + PATIENCE;
            } else if Instant::now() > deadline {
                return Err(format!("{} of {MESSAGES} messages could be read in DynamoDB", times.len()));
            }
            thread::sleep(LOOK);
        }
        let took = producing.join().map_err(|_| "the producer ended with a panic".to_owned())??;
        Ok((times, f64::from(MESSAGES) / took.as_secs_f64()))
    })
}

/// Sends the messages one by one at the fixed rate, and reports to `sent` when each was sent. Returns the time that all
/// of it took.
fn produce(case: &Case, stack: &Embedded, sent: &mpsc::Sender<(u32, Instant)>) -> Result<Duration, String> {
    let topic = &case.settings.topic;
    let partitions = case.settings.resources.topics[topic];
    let mut offsets = BTreeMap::new();
    let started = Instant::now();
    for id in 0..MESSAGES {
        let due = started + Duration::from_secs(1) / RATE * id;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let key = id.to_string();
        let partition = partition_of(Some(key.as_bytes()), partitions);
        let offset: &mut i64 = offsets.entry(partition).or_default();
        let record = Record {
            topic: topic.clone(),
            partition,
            offset: *offset,
            timestamp: BASE_TIMESTAMP + i64::from(id),
            value: Some(MESSAGE.replace("${id}", &key).into_bytes()),
            key: Some(key.into_bytes()),
            headers: Vec::new(),
        };
        *offset += 1;
        // The time is taken before the call, because the call is part of the latency. The send fails if the reader has
        // ended with an error, which the reader itself reports.
        let _ = sent.send((id, Instant::now()));
        stack.produce(&[record]).map_err(|error| error.to_string())?;
    }
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<Duration> = (1..=200).rev().map(ms).collect();
        assert_eq!([0, 50, 99, 100].map(|percent| percentile(&mut times, percent)), [1, 100, 198, 200].map(ms));
        assert_eq!(percentile(&mut [ms(7)], 99), ms(7));
    }
}
