//! The run that tests belong to, and how its processes share one set of containers.
//!
//! nextest runs every test in a process of its own. The first process that needs the set takes the run's lock, starts
//! the set and writes a lease, which the others read. When the run is over, even if it was ended by SIGKILL, the
//! [reaper](super::reaper) ends the set.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::engine;
use super::files::{LEASES, Lease, Run, WATCH, read, write};
use super::process::Process;
use super::reaper;
use super::set::{self, Set};
use crate::stack::StackError;

impl Run {
    /// Joins the run. From now on the reaper waits for this process, and this process ends when the run is over.
    ///
    /// This method has to be called before the first container is started.
    pub(crate) fn join(&self, keep: bool) -> Result<(), StackError> {
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
        // The lock on this file is held until the process ends, even if it is killed.
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

    /// The labels for containers of this run that must not outlive `owner`.
    pub(crate) fn labels(&self, set: &str, owner: Process, keep: bool) -> BTreeMap<String, String> {
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

    /// The set of the run with so many brokers. The first process that asks starts it, or takes it over from a run that
    /// has kept it. Only a set with one broker is kept.
    pub(crate) async fn shared_set(&self, brokers: u8, keep: bool) -> Result<Set, StackError> {
        let failed = |error: io::Error| {
            StackError::infrastructure(format!("sharing containers through {}", self.folder.display()), error)
        };
        let lock = self.open("lock").map_err(failed)?;
        // The process that starts the set holds the lock for several seconds.
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
        let _lock = lock.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let (path, keep) = (self.lease(brokers), keep && brokers == 1);
        match read(&path) {
            Some(Lease::Ready { containers, .. }) => return Ok(containers),
            Some(Lease::Failed { action, cause }) => return Err(StackError::infrastructure(action, cause)),
            None => {}
        }
        let kept_by = keep.then_some(self.process);
        if brokers == 1 {
            self.await_kept().await;
        }
        if brokers == 1
            && fs::rename(self.kept(), &path).is_ok()
            && let Some(Lease::Ready { set, containers, .. }) = read(&path)
        {
            match containers.health().await {
                Ok(()) if containers.is_wanted() => {
                    let lease = Lease::Ready { set, kept_by, containers: containers.clone() };
                    write(&path, &lease).map_err(failed)?;
                    return Ok(containers);
                }
                _ => self.remove(&format!("{}={set}", super::SET)).await?,
            }
        }
        self.sweep().await?;
        let set = crate::stack::namespace::new();
        let started = set::start(&self.labels(&set, self.process, keep), brokers).await;
        let lease = match &started {
            Ok(containers) => Lease::Ready { set, kept_by, containers: containers.clone() },
            Err(error) => Lease::Failed { action: error.action.clone(), cause: error.source.to_string() },
        };
        write(&path, &lease).map_err(failed)?;
        started
    }

    /// Waits as long as the reaper of a run that has just ended is about to leave the set of that run to the next run.
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

    /// Ends the containers of earlier runs whose reaper was killed too, and those that a killed process of this run
    /// began to start.
    async fn sweep(&self) -> Result<(), StackError> {
        let docker = engine::client().await?;
        let failed = |error| StackError::infrastructure("ending containers that earlier runs have left", error);
        let found = engine::labelled(&docker, &format!("{}={}", super::HOST, super::host())).await.map_err(failed)?;
        let leases = LEASES.map(|kind| read(&self.file(kind)));
        let in_use: Vec<&String> = leases
            .iter()
            .filter_map(|lease| match lease {
                Some(Lease::Ready { set, .. }) => Some(set),
                _ => None,
            })
            .collect();
        let orphan = |labels: &HashMap<String, String>| {
            if labels.get(super::SET).is_some_and(|set| in_use.contains(&set)) {
                return false;
            }
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
