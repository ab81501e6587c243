//! End-to-end tests of pipelines that speak Kafka and AWS: a fixture is a folder, its result a snapshot beside it.

pub mod calls;
pub mod case;
mod diff;
pub mod discovery;
pub mod harness;
mod json;
pub mod observe;
pub mod proxy;
pub mod report;
pub mod run;
pub mod schedule;
pub mod settle;
pub mod snapshot;
pub mod stack;
pub mod subject;

pub use case::CaseId;
pub use run::{Options, Suite, run};
pub use schedule::Schedule;
pub use subject::Program;
