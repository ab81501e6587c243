//! End-to-end tests of pipelines that speak Kafka and AWS: a fixture is a folder, its result a snapshot beside it.
//!
//! It works like `cargo nextest` together with `insta`. A test is a folder with messages in it:
//!
//! ```text
//! fixtures/
//!   suite.toml                    the settings of all fixtures: topics, tables, buckets, consumer groups, environment
//!   orders/
//!     protocol.toml               the settings of one kind of message; optional
//!     cancelled/
//!       messages.ndjson           one message a line, which is sent as it stands
//!       case.toml                 the settings of this test; optional
//!       snapshots/*.snap          what the pipeline has stored; in insta's format, and you review them
//! ```
//!
//! A test starts Kafka, DynamoDB and S3 in its own process, sends the messages, and starts your pipeline as a child
//! process with the addresses of these services in its environment. It waits until the pipeline has committed every
//! offset and has no call in flight, stops it, and compares what is in the tables, buckets and observed topics with
//! the snapshots. It never waits for a fixed time.
//!
//! The crate runs on Linux and macOS, because pipelines are stopped and killed by Unix signals. The library, and the
//! runner that a project makes of [`runner`], are both called `e2e`, so the command is `cargo run --bin e2e` in every
//! project.
//!
//! # A test target
//!
//! The fixtures are a package, so that `cargo insta` finds their snapshots. The manifest of this package has one test
//! with `harness = false`, and this is all of its code:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use e2e::{Program, harness};
//!
//! fn main() -> ExitCode {
//!     // The pipeline runs in the project's folder, which is the nearest one, from the current folder upwards, that
//!     // has `fixtures/suite.toml`.
//!     harness::main(Program::Shell("python -m orders.pipeline".into()))
//! }
//! ```
//!
//! The pipeline finds `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_REGION` and credentials in its environment, and the variables in the fixtures' `env`. It has to begin at the
//! earliest offset, commit what it has stored, and end with status 0 on SIGTERM. A pipeline in Rust can be the same
//! executable as the tests: see [`Program::Itself`].
//!
//! This is the smallest `suite.toml`:
//!
//! ```toml
//! topic = "orders"                  # the topic to which messages are sent
//! key = "${order_id}"               # the key of a message, made of its own fields
//! groups = ["order-sink"]           # the pipeline has finished when these consumer groups have committed all offsets
//! [topics]
//! orders = 3                        # the number of partitions
//! [tables.orders]
//! partition_key = "id"              # or "id:N", if the key is a number
//! ```
//!
//! `schema/suite.schema.json`, `schema/protocol.schema.json` and `schema/case.schema.json` in this package describe all
//! keys; an editor can use them. A `case.toml` may also have `description`, `expect_failure = "text"`,
//! `expect_nothing = true` with `why`, and `compare_outputs = true` beside `expect_failure`. Values that differ
//! from run to run by the pipeline's design are named in `redact`, such as
//! `redact = ["$.items[*].ingested_at", "$.dead_letters[*].timestamp"]`, and parts of the names of objects in
//! `redact_names`. The header
//! `__connect.errors.request.id` of a dead letter is always redacted, because it is the id of one call to a service.
//!
//! # Working with it
//!
//! ```text
//! cargo nextest run                            runs every case as a test of its own, such as `orders::cancelled`
//! cargo insta review                           shows what has changed, to accept or reject it
//! E2E_SCHEDULE=killed:s3.PutObject:1 cargo nextest run      kills the pipeline at its first PutObject
//! E2E_STACK=docker cargo nextest run           runs on Apache Kafka, LocalStack and DynamoDB Local in containers
//! cargo run --bin e2e -- mutate                makes the pipeline look broken, and says which case catches it
//! ```
//!
//! The Docker stack needs the feature `docker` of this crate. nextest's profile of the name `docker` chooses it, too.
//!
//! On services that tests share, a namespace is put before the names of a test's topics, groups, tables and buckets. A
//! fixture passes it on to its pipeline as `${namespace}` in `env`, `args` and `groups`. On the embedded stack it is
//! empty.
//!
//! A run that fails, or that nextest ends because it takes too long, leaves its evidence in the folder
//! `target/e2e/<protocol>/<case>/`: the pipeline's log, its offsets and calls, everything that was observed, the
//! difference, and the command that repeats the run.
//!
//! # Features
//!
//! - `docker` adds the stack of containers. The embedded stack and the external one need no feature.
//! - `parquet` shows the rows, the columns and the layout of objects whose names end in `.parquet`.

#![warn(unreachable_pub)]

// How a run flows: discovery → case → stack → subject → settle → observe → ledger → compare → snapshot. A schedule disturbs it,
// a mutation makes its pipeline look broken, and a report describes it. `run` puts these modules together, and `harness` and
// `runner` make commands of it. No module refers to a later one, except that the calls of a run know its mutations.

// The templates of `init` name this crate as other projects do.
#[cfg(test)]
extern crate self as e2e;

mod calls;
mod case;
mod compare;
mod diff;
mod discovery;
mod drive;
mod evidence;
pub mod harness;
mod hearing;
mod hint;
mod history;
#[doc(hidden)]
pub mod internals;
mod json;
mod ledger;
mod machine;
mod mutate;
mod observe;
mod outcome;
mod parity;
mod proof;
mod proxy;
mod report;
mod reporting;
mod resign;
mod root;
mod run;
pub mod runner;
mod schedule;
mod settle;
mod signals;
mod snapshot;
mod stack;
mod subject;
mod suite;
mod tls;
mod upstream;
mod variables;

pub use case::CaseId;
pub use drive::KilledStates;
pub use outcome::{Outcome, Verdict};
pub use root::RootError;
pub use run::run;
pub use schedule::{Schedule, Schedules};
pub use stack::docker::reaper_if_asked;
pub use stack::{Isolation, StackKind};
pub use subject::Program;
pub use suite::{Options, Suite};
