//! The files through which the processes of a run find each other: which run it is, and the lease of its set of containers.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::Process;
use super::set::Set;

/// How often a process looks whether its run is still there.
pub(super) const WATCH: Duration = Duration::from_millis(100);

/// What tests that run at once leave for each other.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) enum Lease {
    /// The set is ready.
    Ready {
        /// The value of the label of its containers.
        set: String,
        /// The process of the run that leaves it to the next one, if it does.
        kept_by: Option<Process>,
        /// The set.
        containers: Set,
    },
    /// It could not be started; the others need not try.
    Failed {
        /// What was being done.
        action: String,
        /// The reason.
        cause: String,
    },
}

/// The run that this process belongs to.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Run {
    /// Its name, for files and labels.
    pub id: String,
    /// It is over when this process has ended: nextest, cargo, or whoever runs cases itself.
    pub process: Process,
    /// Where its files are.
    pub folder: PathBuf,
}

impl Run {
    /// The run that is this process, with its files in `folder`, whoever has started it.
    pub fn itself(folder: &Path) -> Self {
        let process = Process::itself();
        Self { id: process.to_string(), process, folder: folder.to_owned() }
    }

    /// The run of this test process, with its files in `folder`.
    ///
    /// It is nextest's, if that runs the test; else that of `cargo test`; else this process alone.
    pub fn of_this_test(folder: &Path) -> Self {
        let (id, process) = match std::env::var("NEXTEST_RUN_ID") {
            Ok(id) => (Some(id), Process::ancestor(&["cargo-nextest", "nextest"]).unwrap_or_else(Process::parent)),
            Err(_) => (None, Process::ancestor(&["cargo"]).unwrap_or_else(Process::itself)),
        };
        Self { id: id.unwrap_or_else(|| process.to_string()), process, folder: folder.to_owned() }
    }

    pub(super) fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.id))
    }

    /// The lease of a set that a run has left for the next one.
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

/// Written beside and renamed: a process that is killed leaves no half of it.
pub(super) fn write(path: &Path, lease: &Lease) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(lease)?)?;
    fs::rename(beside, path)
}
