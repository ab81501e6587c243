//! The worker answers REST as Kafka Connect does: the same calls are made to it and to Apache Kafka Connect, and the
//! shapes of the answers are compared; and a client that was written for Kafka Connect operates it. Apache Kafka Connect
//! is also tested as a pipeline, as the worker is.
//!
//! What involves Apache Kafka Connect needs Docker, and `javac` for a sink that Apache Kafka Connect can be asked about, because it has none
//! of its own. The answers of the worker are also under a snapshot, which needs neither.

mod access;
#[path = "../services/answers.rs"]
#[allow(dead_code, reason = "the comparison of services has more to compare")]
mod answers;
mod apache;
mod calls;
mod client;
mod group;
mod offsets;
mod subject;
mod worker;

use std::process::ExitCode;

use e2e::StackKind;
use e2e::internals;
use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;

use self::answers::{Known, compare};
use self::apache::{Apache, Mode};
use self::worker::Worker;

fn main() -> ExitCode {
    fms_e2e::worker_or(|| {
        let asked = internals::options().is_ok_and(|options| options.stack == StackKind::Docker);
        let trials = vec![
            Trial::test("the_answers_are_as_they_were_approved", snapshot),
            Trial::test("a_group_of_one_answers_in_the_same_way", snapshot_of_group),
            Trial::test("the_client_of_others_operates_the_worker", client::operates),
            Trial::test("who_has_neither_certificate_nor_password_is_kept_out", access::kept_out),
            Trial::test("a_group_of_workers_stores_every_row_once", group::embedded),
            Trial::test("a_group_of_workers_creates_its_topics_and_stores_every_row_once", group::real)
                .with_ignored_flag(!asked),
            Trial::test("kafka_connect_answers_alike", parity).with_ignored_flag(!asked),
            Trial::test("kafka_connect_answers_alike_in_distributed_mode", parity_of_group).with_ignored_flag(!asked),
            Trial::test("offsets_are_changed_and_removed_at_a_real_broker", offsets::changed).with_ignored_flag(!asked),
            Trial::test("kafka_connect_is_tested_as_a_pipeline", subject::killed).with_ignored_flag(!asked),
        ];
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    })
}

/// Compares the worker's answers with those that were approved.
fn snapshot() -> Result<(), Failed> {
    approved(&Worker::start()?)
}

/// The only worker of a group gives the same answers.
fn snapshot_of_group() -> Result<(), Failed> {
    approved(&Worker::start_in_group(group::embedded_stack()?, &group::EMBEDDED_SETTINGS)?)
}

fn approved(worker: &Worker) -> Result<(), Failed> {
    let answers = calls::made(&worker.address, &worker.config())?;
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rest/snapshots"));
    settings.bind(|| insta::assert_snapshot!("answers", answers.lines()));
    Ok(())
}

/// The listed differences from Apache Kafka Connect: those of each mode, and those of both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Differences {
    both: Known,
    standalone: Known,
    distributed: Known,
}

impl Differences {
    fn of(mode: Mode) -> Result<Known, Failed> {
        let Self { both, standalone, distributed } = toml::from_str(include_str!("differences.toml"))?;
        let mut known = if mode == Mode::Standalone { standalone } else { distributed };
        for (call, difference) in both {
            if known.insert(call.clone(), difference).is_some() {
                return Err(format!("differences.toml lists `{call}` for both modes and for {mode:?}").into());
            }
        }
        Ok(known)
    }
}

fn parity() -> Result<(), Failed> {
    compared(&Worker::start()?, Mode::Standalone)
}

fn parity_of_group() -> Result<(), Failed> {
    compared(&Worker::start_in_group(group::real_stack()?, &group::REAL_SETTINGS)?, Mode::Distributed)
}

/// Makes the calls to the worker and to Apache Kafka Connect, and reports every difference that is not listed, and every
/// listed one that is gone.
fn compared(worker: &Worker, mode: Mode) -> Result<(), Failed> {
    let apache = Apache::start(mode)?;
    let ours = calls::made(&worker.address, &worker.config())?;
    let real = calls::made(&apache.address, &Apache::config())?;
    let known = Differences::of(mode)?;
    println!("{mode:?}: {} calls, {} known differences", real.count(), known.len());
    let problems = compare(&ours, &real, &known);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} answers:\n  {}", problems.len(), real.count(), problems.join("\n  ")).into())
}
