//! The folder of a run's evidence: its name, and a lock that keeps other runs out of it.

use std::fmt::Write;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::case::CaseId;
use crate::stack::StackKind;
use crate::suite::Options;

/// The name of the folder: the name of the case, then the stack and the schedule if they are not the usual ones.
pub(super) fn name(id: &CaseId, options: &Options) -> String {
    /// The longest name. File systems allow 255 bytes, and a number may follow the name.
    const LONGEST: usize = 200;
    let mut name = id.name.clone();
    if options.stack != StackKind::Embedded {
        let _ = write!(name, "@{}", options.stack);
    }
    if !options.schedule.is_plain() {
        let _ = write!(name, "@{}", options.schedule);
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.@=".contains(c) { c } else { '-' };
    name.chars().map(safe).take(LONGEST).collect()
}

/// Reserves a folder that no other run of this or another process uses, and returns it with the lock that reserves it.
/// The folder has this name or, if that is taken, this name with a number.
pub(super) fn claim(evidence: &Path, protocol: &str, name: &str) -> (PathBuf, Option<File>) {
    /// A number of simultaneous runs of one case that is never reached.
    const MOST: usize = 1000;
    let locks = evidence.join(".locks");
    for number in 1..MOST {
        let name = if number == 1 { name.to_owned() } else { format!("{name}~{number}") };
        let folder = evidence.join(protocol).join(&name);
        let file = fs::create_dir_all(&locks).and_then(|()| {
            File::options().create(true).truncate(false).write(true).open(locks.join(format!("{protocol}::{name}")))
        });
        let Ok(file) = file else { return (folder, None) };
        match file.try_lock() {
            Ok(()) => return (folder, Some(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(_)) => return (folder, None),
        }
    }
    (evidence.join(protocol).join(name), None)
}
