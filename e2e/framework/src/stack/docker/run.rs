//! The run that tests belong to, and the files through which its processes share one set of containers.
//!
//! nextest runs every test in a process of its own. The first that needs the set takes the run's lock, starts the set and leaves a
//! lease, which the others read. When the run is over, be it by SIGKILL, the [reaper](super::reaper) ends the set.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::engine;
use super::process::Process;
use super::reaper;
use super::set::{self, Set};
use crate::stack::StackError;

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

    fn open(&self, kind: &str) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(self.file(kind))
    }

    /// Joins the run: from now on the reaper waits for this process, and this process ends when the run is over.
    ///
    /// Has to come before the first container.
    pub fn join(&self, keep: bool) -> Result<(), StackError> {
        static JOINED: Mutex<Option<File>> = Mutex::new(None);
        let mut joined = JOINED.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.is_some() {
            return Ok(());
        }
        let failed = |error: io::Error| {
            let action = format!("joining the run by its files in {}", self.folder.display());
            StackError::infrastructure(action, format!("{error}; set CARGO_TARGET_DIR to a folder that can be written"))
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let users = self.open("users").map_err(failed)?;
        users.lock_shared().map_err(failed)?;
        let lock = self.open("lock").map_err(failed)?;
        lock.lock().map_err(failed)?;
        self.ensure_reaper(keep).map_err(failed)?;
        if self.process != Process::itself() {
            let process = self.process;
            thread::spawn(move || {
                while process.is_alive() {
                    thread::sleep(WATCH);
                }
                eprintln!("the run is over: its process {process} has ended");
                std::process::exit(1);
            });
        }
        // Its lock is held until this process ends, however it does.
        *joined = Some(users);
        Ok(())
    }

    fn ensure_reaper(&self, keep: bool) -> io::Result<()> {
        let file = self.open("reaper")?;
        let begun = Instant::now();
        let mut started = false;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => file.unlock()?,
            }
            if !started {
                reaper::start(&reaper::Task { run: self.clone(), keep })?;
                started = true;
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("the process that ends containers after the run did not start"));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The labels of containers of this run that `owner` has to outlive.
    pub fn labels(&self, set: &str, owner: Process, keep: bool) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (super::RUN.to_owned(), self.id.clone()),
            (super::SET.to_owned(), set.to_owned()),
            (super::OWNER.to_owned(), owner.to_string()),
            (super::HOST.to_owned(), super::host()),
        ]);
        if keep {
            labels.insert(super::KEEP.to_owned(), "true".to_owned());
        }
        labels
    }

    /// The run's set: started by the first process that asks, or taken over from a run that has kept it.
    pub async fn shared_set(&self, keep: bool) -> Result<Set, StackError> {
        let failed = |error: &dyn std::fmt::Display| {
            StackError::infrastructure(format!("sharing containers through {}", self.folder.display()), error)
        };
        let lock = self.open("lock").map_err(|error| failed(&error))?;
        // Whoever starts the set holds it for seconds.
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
        let _lock = lock.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        let path = self.file("lease");
        match read(&path) {
            Some(Lease::Ready { containers, .. }) => return Ok(containers),
            Some(Lease::Failed { action, cause }) => return Err(StackError::infrastructure(action, cause)),
            None => {}
        }
        self.await_kept().await;
        let kept_by = keep.then_some(self.process);
        if fs::rename(self.kept(), &path).is_ok()
            && let Some(Lease::Ready { set, containers, .. }) = read(&path)
        {
            match containers.health().await {
                Ok(()) if containers.is_wanted() => {
                    let lease = Lease::Ready { set, kept_by, containers: containers.clone() };
                    write(&path, &lease).map_err(|error| failed(&error))?;
                    return Ok(containers);
                }
                _ => self.remove(&format!("{}={set}", super::SET)).await?,
            }
        }
        self.sweep().await?;
        let set = crate::stack::namespace::new();
        let started = set::start(&self.labels(&set, self.process, keep)).await;
        let lease = match &started {
            Ok(containers) => Lease::Ready { set, kept_by, containers: containers.clone() },
            Err(StackError { action, cause, .. }) => Lease::Failed { action: action.clone(), cause: cause.clone() },
        };
        write(&path, &lease).map_err(|error| failed(&error))?;
        started
    }

    /// Waits while the reaper of a run that has just ended is about to leave that run's set to the next one.
    async fn await_kept(&self) {
        let is_leaving = |lease: &Path| {
            let Some(Lease::Ready { kept_by: Some(process), .. }) = read(lease) else { return false };
            !process.is_alive() && reaper::is_at_work(&lease.with_extension("reaper"))
        };
        let any_is_leaving = || {
            let mut files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
            files.any(|file| is_leaving(&file.path()))
        };
        while !self.kept().exists() && any_is_leaving() {
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Ends what runs have left behind whose reaper was killed too, and what of this run was begun by a process that was killed.
    async fn sweep(&self) -> Result<(), StackError> {
        let docker = engine::client().await?;
        let failed = |error| StackError::infrastructure("ending containers that earlier runs have left", error);
        let found = engine::labelled(&docker, &format!("{}={}", super::HOST, super::host())).await.map_err(failed)?;
        let orphan = |labels: &HashMap<String, String>| {
            let owner = labels.get(super::OWNER).and_then(|owner| owner.parse::<Process>().ok());
            let ours = labels.get(super::RUN) == Some(&self.id) && owner == Some(self.process);
            ours || (owner.is_some_and(|owner| !owner.is_alive()) && !labels.contains_key(super::KEEP))
        };
        let orphans = found.iter().filter(|(_, labels)| orphan(labels)).map(|(id, _)| id.as_str());
        engine::remove(&docker, orphans).await.map_err(failed)
    }

    pub(super) async fn remove(&self, label: &str) -> Result<(), StackError> {
        let docker = engine::client().await?;
        let failed = |error| StackError::infrastructure(format!("ending the containers with label {label}"), error);
        let found = engine::labelled(&docker, label).await.map_err(failed)?;
        engine::remove(&docker, found.iter().map(|(id, _)| id.as_str())).await.map_err(failed)
    }
}

pub(super) fn read(path: &Path) -> Option<Lease> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Written beside and renamed: a process that is killed leaves no half of it.
fn write(path: &Path, lease: &Lease) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(lease)?)?;
    fs::rename(beside, path)
}
