//! No part of the public interface: what the tests of the project that develops this crate use of it. It may change with
//! every version.

pub use crate::calls::{CLIENT_GONE, Call, CallName, Effect, Fault, Moment, numbered};
pub use crate::case::{BASE_TIMESTAMP, Case, partition_of};
pub use crate::discovery::list as cases;
pub use crate::history::History;
pub use crate::machine::prepare;
pub use crate::runner::cases::run_all;
pub use crate::settle::{Goal, Settling};
pub use crate::stack::embedded::{Embedded, s3};
pub use crate::stack::{DeadLetterQueue, Notification, Queue, Record, Resources, Stack, Table};
pub use crate::subject::{Log, Subject, Waited};
pub use crate::variables::{kept, options};

/// Starts or connects to the services of one test.
pub fn start_stack(options: &crate::Options, suite: &crate::Suite) -> Result<std::sync::Arc<dyn Stack>, String> {
    options.start(suite).map_err(|error| error.to_string())
}

/// The containers of the Docker stack.
#[cfg(feature = "docker")]
pub mod docker {
    pub use crate::stack::docker::engine::runtime;
    pub use crate::stack::docker::images::ContainerService;
    pub use crate::stack::docker::process::Process;
    pub use crate::stack::docker::reaper::is_at_work;
    pub use crate::stack::docker::set::Set;
    pub use crate::stack::docker::{start, start_set};
}
