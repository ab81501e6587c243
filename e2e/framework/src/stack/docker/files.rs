//! The files through which the processes of a run find each other: the identity of the run, and the lease of its set of
//! containers.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::Process;
use super::set::Set;

/// How often a process checks whether its run still goes on.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// The kinds of files with the leases of a run: of its set with one broker, and of that with two.
pub(super) const LEASES: [&str; 2] = ["lease", "lease-of-two"];

/// The file that tells the other tests of a run about its set of containers.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Lease {
    /// The set of containers is ready.
    Ready {
        /// The value of the label that all containers of the set have.
        set: String,
        /// The process of the run that leaves the set to the next run, if it was told to do so.
        kept_by: Option<Process>,
        /// The containers themselves.
        containers: Set,
    },
    /// The set could not be started, so the other tests do not try either.
    Failed {
        /// What was being done.
        action: String,
        /// The reason.
        cause: String,
    },
}

/// The run that this process belongs to.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Run {
    /// The name of the run, for files and labels.
    pub id: String,
    /// The run is over when this process has ended. It is nextest, cargo, or a process that runs cases itself.
    pub process: Process,
    /// The folder with the files of the run.
    pub folder: PathBuf,
}

impl Run {
    /// The run that consists of this process alone, with its files in `folder`. It does not matter what started the
    /// process.
    pub(crate) fn itself(folder: &Path) -> Self {
        let process = Process::itself();
        Self { id: process.to_string(), process, folder: folder.to_owned() }
    }

    /// The run of this test process, with its files in `folder`.
    ///
    /// It is nextest's run if nextest runs the test, otherwise that of `cargo test`. If neither does, the run is this
    /// process alone.
    pub(crate) fn of_this_test(folder: &Path) -> Self {
        let (id, process) = match std::env::var("NEXTEST_RUN_ID") {
            Ok(id) => (Some(id), Process::ancestor(&["cargo-nextest", "nextest"]).unwrap_or_else(Process::parent)),
            Err(_) => (None, Process::ancestor(&["cargo"]).unwrap_or_else(Process::itself)),
        };
        Self { id: id.unwrap_or_else(|| process.to_string()), process, folder: folder.to_owned() }
    }

    pub(super) fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.id))
    }

    /// The path of the lease of the run's set with so many brokers.
    pub(super) fn lease(&self, brokers: u8) -> PathBuf {
        self.file(LEASES[usize::from(brokers > 1)])
    }

    /// The path of the lease of a set that a run has left for the next run.
    pub(super) fn kept(&self) -> PathBuf {
        self.folder.join("kept.lease")
    }

    pub(super) fn open(&self, kind: &str) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(self.file(kind))
    }
}

pub(super) fn read(path: &Path) -> Option<Lease> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a lease to another file and renames it, so that a process that is killed never leaves a part of a lease.
pub(super) fn write(path: &Path, lease: &Lease) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(lease)?)?;
    fs::rename(beside, path)
}
