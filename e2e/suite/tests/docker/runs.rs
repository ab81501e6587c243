//! Runs of the framework as separate processes: starting and killing them, and looking for what they leave behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::internals::docker::{Process, Set, is_at_work};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The small case that every run runs.
pub const CASE: &str = "vehicle-status::report";

/// The variable that turns this executable into the test target of the fixtures. Its value is the command of the
/// pipeline.
pub const SUBJECT: &str = "DOCKER_TESTS_SUBJECT";

/// How long a run may take to start its containers, or to end by itself.
const RUN: Duration = Duration::from_secs(100);

/// How long it may take until nothing is left of a run that was killed.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Waits until the condition holds. The error names the condition and its last state.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(state) if begun.elapsed() > limit => return Err(format!("{what}: not within {limit:?}: {state}")),
            // Neither the engine nor processes of others offer an event to wait for.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Runs `docker` with these arguments and returns the lines that it prints.
pub fn docker(arguments: &[&str]) -> Result<Vec<String>, String> {
    let doing = format!("docker {}", arguments.join(" "));
    let output = Command::new("docker").args(arguments).output().map_err(|error| format!("{doing}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{doing}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The ids of all containers with this label, including those that do not run.
pub fn labelled(label: &str) -> Result<Vec<String>, String> {
    docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label={label}")])
}

/// The networks and volumes that no container uses.
fn unused() -> Result<BTreeSet<String>, String> {
    let of = |kind| docker(&[kind, "ls", "--quiet", "--filter", "dangling=true"]);
    Ok(of("network")?.into_iter().chain(of("volume")?).collect())
}

/// A temporary target folder, so that a run shares no leases, evidence or report with the run that this test belongs
/// to.
pub struct Place {
    folder: TempDir,
    unused: BTreeSet<String>,
}

impl Place {
    pub fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("making a folder: {error}"))?;
        Ok(Self { folder, unused: unused()? })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command whose environment has no variable of the run that this test belongs to.
    fn command(&self, executable: impl AsRef<Path>) -> Command {
        let mut command = Command::new(executable.as_ref());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("NEXTEST") || name.starts_with("E2E_") && !name.ends_with("_IMAGE") {
                command.env_remove(&*name);
            }
        }
        command.env("CARGO_TARGET_DIR", self.folder.path());
        command
    }

    /// The runner with one case on the Docker stack.
    pub fn runner(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_e2e"));
        command.args(["--stack", "docker", CASE]).args(arguments);
        command
    }

    /// The runner with a case that waits until it is [released](Self::release).
    pub fn holding_runner(&self) -> Result<Command, String> {
        Ok(self.runner(&["--subject", &self.holding_subject()?]))
    }

    /// Starts a script that stands in for nextest: it starts the test processes in parallel and gives them the id of
    /// the run.
    pub fn nextest(&self, isolation: &str, tests: &[&str]) -> Result<Run, String> {
        let script = self.path("cargo-nextest");
        let write = fs::write(&script, "#!/bin/sh\nfor test; do \"$TEST\" --exact \"$test\" & done\nwait\n");
        write
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("writing {}: {error}", script.display()))?;
        let itself = std::env::current_exe().map_err(|error| format!("finding this executable: {error}"))?;
        let mut command = self.command(script);
        let id = format!("nextest-{}", Process::itself());
        command.args(tests).env("TEST", itself).env(SUBJECT, self.holding_subject()?).env("NEXTEST_RUN_ID", &id);
        command.env("NEXTEST_PROFILE", "docker").env("E2E_ISOLATION", isolation);
        let mut run = self.start(command)?;
        run.id = id;
        Ok(run)
    }

    /// The command of a pipeline that notes its parent process in a file and then waits.
    fn holding_subject(&self) -> Result<String, String> {
        let script = self.path("subject");
        let folder = self.folder.path().display();
        let text = format!(
            "echo $PPID > {folder}/$$.new && mv {folder}/$$.new {folder}/$$.held\n\
             while [ ! -e {folder}/go ]; do sleep 0.1; done\nexit 1\n"
        );
        fs::write(&script, text).map_err(|error| format!("writing {}: {error}", script.display()))?;
        Ok(format!("sh {}", script.display()))
    }

    /// Lets the waiting pipelines end, with status 1.
    pub fn release(&self) -> Result<(), String> {
        fs::write(self.path("go"), "").map_err(|error| format!("releasing the pipeline: {error}"))
    }

    /// The processes of the cases whose pipeline is waiting, each with the process of its pipeline.
    fn held(&self) -> Result<Vec<(Process, Process)>, String> {
        let failed = |error: std::io::Error| format!("looking for pipelines: {error}");
        let mut held = Vec::new();
        for entry in fs::read_dir(self.folder.path()).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "held") {
                let parent = fs::read_to_string(&path).map_err(failed)?;
                let subject = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let process =
                    |pid: &str| pid.trim().parse().map(Process::of).map_err(|error| format!("{pid}: {error}"));
                held.push((process(&parent)?, process(&subject)?));
            }
        }
        Ok(held)
    }

    /// Starts a run in a new process group.
    pub fn start(&self, mut command: Command) -> Result<Run, String> {
        let output = self.path("output");
        let mut spawn = || {
            let file = File::create(&output)?;
            command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0).spawn()
        };
        let child = spawn().map_err(|error| format!("starting a run: {error}"))?;
        let process = Process::of(child.id().cast_signed());
        Ok(Run { child, id: process.to_string(), output, leases: self.path("e2e/.docker") })
    }

    /// Waits until the pipelines of this many cases of the run are waiting.
    pub fn until_held(&self, run: &mut Run, cases: usize) -> Result<Vec<(Process, Process)>, String> {
        wait_until("cases at their pipeline", RUN, || {
            let held = self.held()?;
            if held.len() == cases || run.has_ended() { Ok(()) } else { Err(format!("{} of {cases}", held.len())) }
        })?;
        let held = self.held()?;
        if held.len() == cases { Ok(held) } else { Err(format!("the run ended before its time: {}", run.output())) }
    }

    /// The set of containers that the lease of this name describes.
    pub fn lease(&self, name: &str) -> Result<Set, String> {
        let path = self.path("e2e/.docker").join(format!("{name}.lease"));
        let failed = |error: &dyn std::fmt::Display| format!("reading the lease {}: {error}", path.display());
        let text = fs::read(&path).map_err(|error| failed(&error))?;
        let lease: serde_json::Value = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
        serde_json::from_value(lease["Ready"]["containers"].clone()).map_err(|error| failed(&error))
    }

    /// Waits until nothing is left of a run that is over: no container, network or volume, and no process that could
    /// create one.
    pub fn nothing_is_left(&self, run: &Run) -> Result<(), String> {
        wait_until(&format!("nothing left of run {}", run.id), AFTERWARDS, || {
            let containers = run.containers()?;
            let unused: Vec<String> = unused()?.difference(&self.unused).cloned().collect();
            let held: Vec<Process> = self.held()?.into_iter().flat_map(|(test, subject)| [test, subject]).collect();
            let alive: Vec<String> = held.iter().filter(|process| process.is_alive()).map(Process::to_string).collect();
            let reaper = is_at_work(&run.file("reaper"));
            if containers.is_empty() && unused.is_empty() && alive.is_empty() && !reaper {
                return Ok(());
            }
            Err(format!(
                "containers {containers:?}, networks and volumes {unused:?}, processes {alive:?}, reaper at work: {reaper}"
            ))
        })
    }
}

/// A run as a process. Dropping the value kills the process and removes its containers.
pub struct Run {
    child: Child,
    /// The id of the run, which its containers have as a label.
    pub id: String,
    output: PathBuf,
    leases: PathBuf,
}

impl Run {
    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What the run has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits for the end of the run and returns its exit status and what it has printed.
    pub fn end(&mut self) -> Result<(Option<i32>, String), String> {
        let status = wait_until("the end of the run", RUN, || {
            let status = self.child.try_wait().map_err(|error| error.to_string())?;
            status.ok_or_else(|| format!("it goes on: {}", self.output()))
        })?;
        Ok((status.code(), self.output()))
    }

    /// A file that the processes of the run share.
    pub fn file(&self, kind: &str) -> PathBuf {
        self.leases.join(format!("{}.{kind}", self.id))
    }

    pub fn containers(&self) -> Result<Vec<String>, String> {
        labelled(&format!("e2e.run={}", self.id))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends SIGKILL to the first process of the run only.
    pub fn kill(&mut self) -> Result<(), String> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(drop)
            .map_err(|error| format!("killing the run: {error}"))
    }

    /// Sends SIGINT to the process group of the run, as a terminal does for Ctrl-C.
    pub fn interrupt(&self) -> Result<(), String> {
        killpg(self.pid(), Signal::SIGINT).map_err(|error| format!("interrupting the run: {error}"))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.kill();
        let containers = self.containers().unwrap_or_default();
        if !containers.is_empty() {
            let mut arguments = vec!["rm", "--force", "--volumes"];
            arguments.extend(containers.iter().map(String::as_str));
            let _ = docker(&arguments);
        }
    }
}

/// Sends SIGKILL to one process of a run.
pub fn kill_process(process: Process) -> Result<(), String> {
    kill(Pid::from_raw(process.pid()), Signal::SIGKILL).map_err(|error| format!("killing {process}: {error}"))
}
