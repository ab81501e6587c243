//! The process that ends a run's containers when the run is over, however it ended.
//!
//! It is this executable once more, started before the first container, in a session of its own, with its standard streams closed: no
//! signal to the run's process group reaches it, and no test runner waits for its output. It knows containers by their labels, so that
//! it also finds those of a process that was killed while it made them.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use testcontainers::bollard::Docker;

use super::engine;
use super::files::{Lease, Run, WATCH, read};
use super::process::Process;
use crate::stack::StackError;

/// The variable that makes an executable the reaper.
const ROLE: &str = "E2E_REAPER";

/// How often it looks for containers whose own test was killed while the run goes on.
const LOOK: Duration = Duration::from_secs(1);

/// How long it waits for the run's processes to notice that the run is over.
const PROCESSES: Duration = Duration::from_secs(3);

/// How often, and how many times in a row, nothing of the run's may be found until it believes that nothing is to come: an engine may
/// still be at work for a client that was killed.
const SWEEPS: (Duration, usize) = (Duration::from_millis(250), 4);

/// How long an engine that does not answer is asked again.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a reaper has to do.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Task {
    pub run: Run,
    /// Whether the shared set is left for the next run.
    pub keep: bool,
}

/// Starts a reaper.
#[allow(
    unsafe_code,
    reason = "`pre_exec` runs code between fork and exec; nothing else can put a child into a session of its own"
)]
pub(super) fn start(task: &Task) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ROLE, serde_json::to_string(task)?).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let prepare = || {
        nix::sys::signal::SigSet::all().thread_unblock()?;
        nix::unistd::setsid()?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls that are safe after a fork (sigprocmask, setsid); it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
    // Nobody waits for it: it outlives this process, and is then the init process's child.
    command.spawn().map(drop)
}

/// Whether the reaper with this file is at work.
///
/// It holds the file's lock for as long as it lives. The file alone says nothing: the first process of a run makes it before it starts the
/// reaper, and may be killed between the two.
pub fn is_at_work(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Does a reaper's work if this process was started as one. Executables that run cases call this first of all.
pub fn main_if_asked() -> Option<ExitCode> {
    let task: Task = serde_json::from_str(&std::env::var(ROLE).ok()?).ok()?;
    // Whatever goes wrong can be said only where nobody listens; what is left is ended by the next run.
    let done = engine::runtime().and_then(|runtime| runtime.block_on(reap(&task)));
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn reap(Task { run, keep }: &Task) -> Result<(), StackError> {
    let failed = |error: io::Error| StackError::infrastructure("waiting for the end of the run", error);
    let alive = File::options().create(true).truncate(false).write(true).open(run.file("reaper")).map_err(failed)?;
    alive.lock().map_err(failed)?;

    let mut looked = Instant::now();
    while run.process.is_alive() {
        thread::sleep(WATCH);
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            // The run may have ended just now: what it has itself may be kept, which is seen to below.
            let of_a_test = |owner: Process| owner != run.process && !owner.is_alive();
            // An engine that does not answer now will be asked again.
            let _ = sweep(run, |labels| owner(labels).is_some_and(of_a_test)).await;
        }
    }
    // Without its files, as after `cargo clean`, the run's processes end no later.
    let _ = await_processes(run);

    let lease = run.file("lease");
    let set = match read(&lease) {
        Some(Lease::Ready { set, .. }) => Some(set),
        _ => None,
    };
    // One set is kept, not more.
    let kept = if *keep && set.is_some() && !run.kept().exists() && fs::rename(&lease, run.kept()).is_ok() {
        set.clone()
    } else {
        None
    };
    let begun = Instant::now();
    let mut empty = 0;
    while empty < SWEEPS.1 {
        let mine = |labels: &HashMap<String, String>| kept.is_none() || labels.get(super::SET) != kept.as_ref();
        let mut found = sweep(run, mine).await;
        // A set that was taken over from another run has that run's label.
        if let (Some(set), None, Ok(_)) = (&set, &kept, &found) {
            let docker = engine::client().await?;
            found = end(&docker, &format!("{}={set}", super::SET), |_| true).await;
        }
        match found {
            Ok(0) => empty += 1,
            Ok(_) => empty = 0,
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
        thread::sleep(SWEEPS.0);
    }
    for kind in ["lease", "lock", "users", "reaper"] {
        let _ = fs::remove_file(run.file(kind));
    }
    Ok(())
}

/// Waits until no process of the run is left that could start another container.
fn await_processes(run: &Run) -> io::Result<()> {
    let users = File::options().create(true).truncate(false).write(true).open(run.file("users"))?;
    let begun = Instant::now();
    while begun.elapsed() < PROCESSES {
        match users.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(WATCH),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

fn owner(labels: &HashMap<String, String>) -> Option<Process> {
    labels.get(super::OWNER)?.parse().ok()
}

/// Ends the run's containers that are `mine`; gives how many were found.
async fn sweep(run: &Run, mine: impl Fn(&HashMap<String, String>) -> bool) -> Result<usize, StackError> {
    let docker = engine::client().await?;
    end(&docker, &format!("{}={}", super::RUN, run.id), mine).await
}

async fn end(
    docker: &Docker,
    label: &str,
    mine: impl Fn(&HashMap<String, String>) -> bool,
) -> Result<usize, StackError> {
    let failed = |error| StackError::infrastructure("ending the run's containers", error);
    let found = engine::labelled(docker, label).await.map_err(failed)?;
    let ids: Vec<&str> = found.iter().filter(|(_, labels)| mine(labels)).map(|(id, _)| id.as_str()).collect();
    engine::remove(docker, ids.iter().copied()).await.map_err(failed)?;
    Ok(ids.len())
}
