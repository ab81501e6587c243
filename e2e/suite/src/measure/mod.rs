//! The command `e2e measure`: measures what this project promises in numbers, and shows each figure beside its aim.

mod lake;
mod query;
mod worker;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use e2e::internals::{Case, Embedded, Stack, Subject, cases, prepare, run_all};
use e2e::{CaseId, Options, Suite};

const STARTS: usize = 50;

/// The simplest case. The processes that are measured alone use the settings of this case.
const SIMPLE: (&str, &str) = ("vehicle-kinematic", "one");
const SIMPLE_RUNS: usize = 10;

/// How long a measurement waits for the next progress before it gives up.
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
    worker::measure(suite)?;
    lake::measure(suite)?;
    query::measure()?;
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
        Ok(file) => row(what, &megabytes(file.len()), "< 30 MB, stripped", file.len() < 30_000_000),
        Err(_) => row(what, "not built", "< 30 MB, stripped: build it with --bin fms", false),
    }
    Ok(())
}

/// An empty stack with what a case needs, and the environment of its processes.
fn empty_stack(case: &Case) -> Result<(Embedded, BTreeMap<String, String>), String> {
    let stack = Embedded::start().map_err(|error| error.to_string())?;
    stack.provide(&case.settings.resources).map_err(|error| error.to_string())?;
    let mut environment = stack.environment();
    environment.extend(case.settings.within("").env);
    Ok((stack, environment))
}

fn simple_case(suite: &Suite) -> Result<Case, String> {
    let id = CaseId { protocol: SIMPLE.0.into(), name: SIMPLE.1.into() };
    Case::read(&suite.fixtures, &id).map_err(|error| error.to_string())
}

/// The resident memory of a process in bytes. Linux reports it in kibibytes; `None` where there is no `/proc`.
fn resident(subject: &Subject) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(subject.id().to_string()).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
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
