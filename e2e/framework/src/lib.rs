//! End-to-end tests of pipelines that speak Kafka and AWS: a fixture is a folder, its result a snapshot beside it.
//!
//! If you know `cargo nextest` and `insta`, you know nearly all of it. A test is a folder with messages in it:
//!
//! ```text
//! fixtures/
//!   suite.toml                    what all have in common: topics, tables, buckets, consumer groups, environment
//!   orders/
//!     protocol.toml               what one kind of message has in common; optional
//!     cancelled/
//!       messages.ndjson           one message a line, sent as it stands
//!       case.toml                 what is special about it; optional
//!       snapshots/*.snap          what the pipeline made of it; insta's files, reviewed by you
//! ```
//!
//! Running it starts Kafka, DynamoDB and S3 in the test's own process, sends the messages, starts your pipeline as a child process with
//! their addresses in its environment, waits until the pipeline has committed every offset and has no call in flight, stops it, and
//! compares what is in the tables, buckets and observed topics with the snapshots. There is no fixed wait anywhere.
//!
//! It runs on Linux and macOS: pipelines are stopped and killed by Unix signals. The library, and the runner that a project makes of
//! [`runner`], are both called `e2e`, so that the command is `cargo run --bin e2e` in every project.
//!
//! # A test target
//!
//! The fixtures are a package, so that `cargo insta` finds their snapshots. Its manifest has one test with `harness = false`; this is all
//! of its code:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use e2e::{Program, harness};
//!
//! fn main() -> ExitCode {
//!     // The pipeline runs in the project's folder: the nearest one, from the current folder upwards, with `fixtures/suite.toml`.
//!     harness::main(Program::Shell("python -m orders.pipeline".into()))
//! }
//! ```
//!
//! The pipeline finds `KAFKA_BOOTSTRAP_SERVERS`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_REGION` and
//! credentials in its environment, beside what the fixtures' `env` says. It has to begin at the earliest offset, commit what it has
//! stored, and end with status 0 on SIGTERM. A Rust pipeline can be the same executable as the tests: see [`Program::Itself`].
//!
//! A smallest `suite.toml`:
//!
//! ```toml
//! topic = "orders"                  # where messages are sent
//! key = "${order_id}"               # their key, from their own fields
//! groups = ["order-sink"]           # whose committed offsets say that it is done
//! [topics]
//! orders = 3                        # partitions
//! [tables.orders]
//! partition_key = "id"              # or "id:N"
//! ```
//!
//! All keys are the fields of [`case::Settings`]. What varies from run to run by the pipeline's design is named in
//! `redact`, such as `redact = ["$.items[*].ingested_at", "$.dead_letters[*].timestamp"]`, and in `redact_names` for
//! the names of objects. Redacted by itself is a dead letter's header `__connect.errors.request.id`, the id of the
//! call to a service that refused it. A `case.toml` may also say `description`, `expect_failure = "text"`, with
//! `compare_outputs = true` or without, and `expect_nothing = true` with `why`.
//!
//! # Working with it
//!
//! ```text
//! cargo nextest run                            every case is a test, `orders::cancelled`
//! cargo insta review                           look at what changed, accept or reject
//! E2E_SCHEDULE=killed:s3.PutObject:1 cargo nextest run      the same snapshots, with the pipeline killed at its first PutObject
//! E2E_STACK=docker cargo nextest run           the same on Apache Kafka, LocalStack and DynamoDB Local; so does a profile `docker`
//! ```
//!
//! On services that tests share, a test's topics, groups, tables and buckets have a namespace before their names. A fixture says where its
//! pipeline gets it: `${namespace}` in the values of `env`, in `args` and in `groups`; on the embedded stack it is nothing.
//!
//! A failed run leaves a folder `target/e2e/<protocol>/<case>/` with the pipeline's log, its offsets and calls, all that was observed, the
//! difference, and the command that repeats it; so does a run that nextest ends for its time.
//!
//! # How a run flows
//!
//! [`discovery`] → [`case`] → [`stack`] → [`subject`] → [`settle`] → [`observe`] → `compare` → `snapshot`, disturbed by a [`schedule`] and reported by
//! [`report`]; [`mod@run`] puts them together, [`harness`] makes tests of them. No module reaches back.

// The templates of `init` name this crate as other projects do.
#[cfg(test)]
extern crate self as e2e;

pub mod calls;
pub mod case;
mod compare;
mod diff;
pub mod discovery;
mod drive;
mod evidence;
pub mod harness;
mod hearing;
mod hint;
mod json;
mod machine;
pub mod observe;
pub mod outcome;
pub mod parity;
mod proxy;
mod report;
mod reporting;
mod resign;
mod root;
pub mod run;
pub mod runner;
pub mod schedule;
pub mod settle;
mod snapshot;
pub mod stack;
pub mod subject;
pub mod suite;
mod tls;
mod upstream;

pub use case::CaseId;
pub use outcome::Outcome;
pub use root::RootError;
pub use run::run;
pub use schedule::Schedule;
pub use stack::docker::reaper::main_if_asked as reaper_if_asked;
pub use subject::Program;
pub use suite::{Options, Suite};
