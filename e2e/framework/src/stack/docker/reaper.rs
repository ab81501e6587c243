//! The reaper: the process that ends the containers of a run when the run is over, even if the run was killed.
//!
//! It is a second process of this executable. It is started before the first container, in a session of its own and
//! with its standard streams closed, so that no signal to the run's process group reaches it and no test runner waits
//! for its output. It finds containers by their labels, and so it also finds those of a process that was killed while
//! it created them.

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
use super::files::{LEASES, Lease, Run, WATCH, read};
use super::process::Process;
use crate::stack::StackError;

/// The environment variable that makes a process of this executable the reaper. Its value is the [`Task`].
const ROLE: &str = "E2E_REAPER";

/// How often the reaper looks for containers of a test that was killed while the run goes on.
const LOOK: Duration = Duration::from_secs(1);

/// How long the reaper waits until the processes of the run have noticed that the run is over.
const PROCESSES: Duration = Duration::from_secs(3);

/// The interval at which the reaper looks for containers of the run, and how many times in a row it has to find none
/// before it ends. The engine may still be creating a container for a client that was killed.
const SWEEPS: (Duration, usize) = (Duration::from_millis(250), 4);

/// For how long requests are repeated if the engine does not answer.
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
    // SAFETY: the closure only makes system calls that are safe after a fork (sigprocmask, setsid); it allocates
    // nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
    // The reaper is not waited for. It outlives this process, and is then a child of the init process.
    command.spawn().map(drop)
}

/// Whether the reaper that belongs to this file is running.
///
/// The reaper holds the lock on the file as long as it runs. The file alone proves nothing, because the first process
/// of a run creates it before it starts the reaper, and may be killed between these two steps.
pub fn is_at_work(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Does the work of the reaper if this process was started as one. Executables that run cases have to call this before
/// anything else.
pub fn main_if_asked() -> Option<ExitCode> {
    let task: Task = serde_json::from_str(&std::env::var(ROLE).ok()?).ok()?;
    // An error cannot be shown to anybody here. The next run ends the containers that are left.
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
            // The run may have ended just now. Containers that belong to the run itself are left out here, because they
            // may be kept; they are handled below.
            let of_a_test = |owner: Process| owner != run.process && !owner.is_alive();
            // If the engine does not answer now, it is asked again later.
            let _ = sweep(run, |labels| owner(labels).is_some_and(of_a_test)).await;
        }
    }
    // An error is ignored. Without the files of the run, as after `cargo clean`, its processes cannot be awaited, but
    // they end as soon as they would otherwise.
    let _ = await_processes(run);

    let lease = run.lease(1);
    let set = match read(&lease) {
        Some(Lease::Ready { set, .. }) => Some(set),
        _ => None,
    };
    // At most one set is kept.
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
        // A set that was taken over from another run has the label of that run, so it is found by the label of the set.
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
    for kind in LEASES.into_iter().chain(["lock", "users", "reaper"]) {
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

/// Ends the containers of the run that are `mine`, and returns how many were found.
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
