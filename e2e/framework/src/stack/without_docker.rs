//! What stands in for the Docker stack where it was left out, because the feature `docker` is not enabled. It starts no
//! containers, and says how to enable the feature.

use std::path::Path;
use std::process::ExitCode;

use super::{Stack, StackError, StackKind};
use crate::suite::Options;

/// A set of containers, of which there is none.
pub(crate) enum Set {}

pub(crate) fn start(options: &Options, folder: &Path) -> Result<(Box<dyn Stack>, Set), StackError> {
    match start_set(options, folder)? {}
}

pub(crate) fn start_set(_: &Options, _: &Path) -> Result<Set, StackError> {
    StackKind::Docker.check()?;
    unreachable!("the check fails in an executable without the Docker stack")
}

pub(crate) fn describe(set: &Set) -> String {
    match *set {}
}

pub(crate) fn check_engine() -> Result<(), StackError> {
    StackKind::Docker.check()
}

/// There is no engine to find, because no container will be started.
pub(crate) fn find_engine() {}

/// Ends containers if this process was started for that; without the feature `docker` no process is.
pub fn reaper_if_asked() -> Option<ExitCode> {
    None
}
