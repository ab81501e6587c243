//! All processes of one subject. A signal reaches each of them, and none of them is left when the subject is over.
//!
//! A subject leads a process group, so a signal to the group reaches the processes that it has started. On Linux, a
//! process that has left the group, such as a daemon, is found by a variable in its environment, which all of them
//! inherit. This process adopts the orphans among them (it is their subreaper). So their exit status is known even if
//! a wrapper script ended before the pipeline that it started.

#[cfg(target_os = "linux")]
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
#[cfg(target_os = "linux")]
use nix::sys::wait::{Id, waitid};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::lock;

/// The variable that marks all processes of one subject.
pub(super) const MARK: &str = "E2E_SUBJECT";

/// The interval at which processes that were killed are looked for until they are gone.
const LOOK: Duration = Duration::from_millis(2);

/// How long a process without a handler for SIGTERM may take to end.
#[cfg(target_os = "linux")]
const WRAPPER_LIMIT: Duration = Duration::from_secs(1);

/// How long the kernel may take to end processes after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The value of [`MARK`] for a new subject. Every subject on this machine has another one.
pub(super) fn new_mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes this process adopt the orphans of its descendants, if the system can do that.
pub(super) fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// The processes of one subject: the group that it leads, and those with its mark.
#[derive(Debug)]
pub(super) struct Tree {
    /// The process that was started, and so the number of its group.
    pub root: Pid,
    mark: String,
    /// The processes that were seen outside the group and have not been reaped.
    outside: Mutex<Vec<Pid>>,
    /// Whether the root has been reaped and no member was left, so that none can come any more.
    is_over: AtomicBool,
    #[cfg(target_os = "linux")]
    numbers: Numbers,
}

impl Tree {
    /// The tree of a process that was started with this value of [`MARK`].
    pub(crate) fn new(root: Pid, mark: String) -> Self {
        Self {
            root,
            mark,
            outside: Mutex::default(),
            is_over: AtomicBool::new(false),
            #[cfg(target_os = "linux")]
            numbers: Numbers::new(),
        }
    }

    /// Sends a signal to every process. The root must not have been reaped yet, or a process of the group must still
    /// run. Otherwise another group could have its number.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = signal::killpg(self.root, signal);
        for member in self.members().into_iter().filter(|member| !member.in_group) {
            let _ = signal::kill(member.pid, signal);
        }
    }

    /// Asks every process to stop (SIGTERM). The condition of [`Self::signal`] holds here, too.
    ///
    /// A root without a handler for SIGTERM, such as a wrapper script, gets the signal before the others. If all got
    /// it at once, the pipeline could end first, and the wrapper could collect its status and be ended with it. Then
    /// nobody would know how the pipeline ended.
    pub(crate) fn terminate(&self) {
        #[cfg(target_os = "linux")]
        if self.root_is_ended_by_sigterm() {
            let _ = signal::kill(self.root, Signal::SIGTERM);
            let deadline = Instant::now() + WRAPPER_LIMIT;
            // The root stays a zombie, so no other group gets its number.
            let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
            while waitid(Id::Pid(self.root), ended) == Ok(WaitStatus::StillAlive) && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
        }
        self.signal(Signal::SIGTERM);
    }

    /// Whether the root runs and neither handles nor ignores nor blocks SIGTERM.
    #[cfg(target_os = "linux")]
    fn root_is_ended_by_sigterm(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.root)).unwrap_or_default();
        let is_stopped = status.lines().any(|line| line.starts_with("State:\tT"));
        !status.is_empty()
            && !is_stopped
            && !["SigCgt:", "SigIgn:", "SigBlk:"].iter().any(|set| has_sigterm(&status, set))
    }

    /// Kills every process except the root, which has been reaped, and returns when all of them are gone.
    pub(crate) fn kill_the_rest(&self) {
        let deadline = Instant::now() + KILL_LIMIT;
        loop {
            let members = self.left();
            if members.iter().any(|member| member.in_group) {
                // While a process is in the group, no other group can have its number. Not every system tells which
                // processes are in it, so the signal goes to the group.
                let _ = signal::killpg(self.root, Signal::SIGKILL);
            }
            for member in members.iter().filter(|member| !member.in_group) {
                let _ = signal::kill(member.pid, Signal::SIGKILL);
            }
            self.reap();
            if members.is_empty() || Instant::now() > deadline {
                return;
            }
            thread::sleep(LOOK);
        }
    }

    /// Reaps the processes that this process has adopted and that have ended, and returns their status. The root must
    /// have been reaped before.
    pub(crate) fn reap(&self) -> Vec<ExitStatus> {
        let group = Pid::from_raw(-self.root.as_raw());
        let mut ended: Vec<ExitStatus> = std::iter::from_fn(|| reap_one(group).ok().flatten()).collect();
        lock(&self.outside).retain(|pid| {
            let status = reap_one(*pid);
            ended.extend(status.ok().flatten());
            matches!(status, Ok(None))
        });
        ended
    }

    /// Has to be called when the root has been reaped. The processes that still run.
    pub(crate) fn left(&self) -> Vec<Member> {
        let members = self.members();
        if members.is_empty() {
            self.is_over.store(true, Ordering::SeqCst);
        }
        members
    }

    /// The processes that run.
    #[cfg(target_os = "linux")]
    pub(crate) fn members(&self) -> Vec<Member> {
        if self.is_over.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let lowest = self.numbers.lowest(self.root);
        let running: Vec<RunningProcess> = running(lowest).into_iter().flatten().collect();
        let parents: HashMap<i32, i32> = running.iter().map(|process| (process.pid, process.parent)).collect();
        let is_member = |process: &RunningProcess| {
            let own = std::process::id().cast_signed();
            // This process has adopted those whose parent has ended. To read the mark of every process of the machine would
            // take long.
            self.is_in_group(process) || may_descend(process.pid, own, lowest, &parents) && self.has_mark(process.pid)
        };
        let members = running.iter().filter(|process| is_member(process));
        let members: Vec<Member> = members
            .map(|process| Member { pid: Pid::from_raw(process.pid), in_group: self.is_in_group(process) })
            .collect();
        let mut outside = lock(&self.outside);
        for member in members.iter().filter(|member| !member.in_group) {
            if !outside.contains(&member.pid) {
                outside.push(member.pid);
            }
        }
        members
    }

    #[cfg(target_os = "linux")]
    fn is_in_group(&self, process: &RunningProcess) -> bool {
        process.group == self.root.as_raw()
    }

    /// Whether a process of the group handles SIGTERM, or has blocked it in order to wait for it. On a system without
    /// `/proc` the answer is true.
    #[cfg(target_os = "linux")]
    pub(crate) fn handles_sigterm(&self) -> bool {
        let Some(mut running) = running(self.numbers.lowest(self.root)) else { return true };
        running.any(|process| {
            self.is_in_group(&process) && {
                let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
                handles_sigterm(&status)
            }
        })
    }

    /// This system does not tell which signals a process handles.
    #[cfg(not(target_os = "linux"))]
    pub fn handles_sigterm(&self) -> bool {
        true
    }

    #[cfg(target_os = "linux")]
    fn has_mark(&self, pid: i32) -> bool {
        let variable = format!("{MARK}={}", self.mark);
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    }

    /// The group as one member, if a process of it runs. This system does not tell which processes are in it.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn members(&self) -> Vec<Member> {
        if self.is_over.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let runs = signal::killpg(self.root, None).is_ok();
        runs.then_some(Member { pid: self.root, in_group: true }).into_iter().collect()
    }
}

/// A process of this machine that runs, its parent and its process group.
#[cfg(target_os = "linux")]
struct RunningProcess {
    pid: i32,
    parent: i32,
    group: i32,
}

/// Whether a process may have been started by this one (`own`), or by one that was, and so on: its ancestors lead to this
/// process, or to one that ended while all of them were listed. Those with a number below `lowest` are not listed, and none
/// of them was started by this process.
#[cfg(target_os = "linux")]
fn may_descend(pid: i32, own: i32, lowest: i32, parents: &HashMap<i32, i32>) -> bool {
    let mut at = pid;
    for _ in 0..parents.len() {
        match parents.get(&at) {
            // The first process of the system, or of its container, has no parent.
            Some(0) => return false,
            Some(parent) if *parent == own => return true,
            Some(parent) => at = *parent,
            None => return at >= lowest,
        }
    }
    true
}

/// How the kernel has numbered processes since a subject was started: upwards, and again from the lowest number when it has
/// come to the highest.
#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Numbers {
    /// How many processes and threads the machine had ever started by then.
    started: Option<u64>,
}

#[cfg(target_os = "linux")]
impl Numbers {
    fn new() -> Self {
        Self { started: started() }
    }

    /// The lowest number that a descendant of `root` can have: its own, unless the numbers may have begun again since.
    fn lowest(&self, root: Pid) -> i32 {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let highest = read("/proc/sys/kernel/pid_max").and_then(|text| text.trim().parse::<u64>().ok());
        let last = || read("/proc/loadavg")?.trim().rsplit(' ').next()?.parse::<i32>().ok();
        let since = started().zip(self.started).and_then(|(now, then)| now.checked_sub(then));
        // With fewer starts than numbers, the last number is below that of the root only if they have begun again.
        let is_within = since.zip(highest).is_some_and(|(since, highest)| since < highest / 2);
        if is_within && last().is_some_and(|last| last >= root.as_raw()) { root.as_raw() } else { 0 }
    }
}

/// How many processes and threads the machine has ever started, each of which has taken a number.
#[cfg(target_os = "linux")]
fn started() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("processes "))?.trim().parse().ok()
}

/// The processes of this machine that run and whose number is at least `lowest`. It is `None` if there is no `/proc`.
#[cfg(target_os = "linux")]
fn running(lowest: i32) -> Option<impl Iterator<Item = RunningProcess>> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    Some(entries.filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok().filter(|pid| *pid >= lowest)?;
        // `pid (command) state parent group …`, in which the command may hold anything.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let has_ended = ["Z", "X"].contains(&fields.next()?);
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        (!has_ended).then_some(RunningProcess { pid, parent, group })
    }))
}

/// Whether a process with this `/proc/PID/status` handles SIGTERM, or has blocked it in order to wait for it. One that blocks
/// all signals, SIGSEGV among them, is about to start a thread or a program, which is no reason to block them for long.
#[cfg(target_os = "linux")]
fn handles_sigterm(status: &str) -> bool {
    has_sigterm(status, "SigCgt:") || has_sigterm(status, "SigBlk:") && !has_signal(status, "SigBlk:", Signal::SIGSEGV)
}

#[cfg(target_os = "linux")]
fn has_sigterm(status: &str, set: &str) -> bool {
    has_signal(status, set, Signal::SIGTERM)
}

/// Whether a signal is in a set of signals of `/proc/PID/status`. Such a set is a hexadecimal mask in which bit n - 1 stands
/// for signal n.
#[cfg(target_os = "linux")]
fn has_signal(status: &str, set: &str, signal: Signal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(set));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal as i32 - 1)) != 0
}

/// The status of a child that has ended, or `None` if none of them has ended. It is an error if there is no such
/// child.
fn reap_one(which: Pid) -> Result<Option<ExitStatus>, Errno> {
    loop {
        return match waitpid(which, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(ExitStatus::from_raw((code & 0xff) << 8))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(ExitStatus::from_raw(signal as i32))),
            Ok(_) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(error) => Err(error),
        };
    }
}

/// One process of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub pid: Pid,
    /// Whether a signal to the group reaches it.
    in_group: bool,
}

impl Member {
    /// Its number and command, such as "1234 `python3 -m app`".
    pub(crate) fn describe(self) -> String {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
        format!("{} `{command}`", self.pid)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{Numbers, Pid, handles_sigterm, has_sigterm, may_descend, started};

    #[test]
    fn only_processes_that_may_be_descendants_are_looked_at() {
        let (own, gone) = (10, 77);
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20), (30, gone)].into();
        let looked_at: Vec<i32> =
            [1, 11, 12, 20, 21, 30].into_iter().filter(|pid| may_descend(*pid, own, 0, &parents)).collect();
        assert_eq!(looked_at, [11, 12, 30]);
    }

    #[test]
    fn a_process_whose_ancestor_is_older_than_the_subject_is_no_descendant() {
        let (own, lowest, older) = (10, 15, 12);
        let parents = [(15, 10), (16, 15), (17, 99), (20, older)].into();
        let looked_at: Vec<i32> =
            [15, 16, 17, 20].into_iter().filter(|pid| may_descend(*pid, own, lowest, &parents)).collect();
        assert_eq!(looked_at, [15, 16, 17]);
    }

    #[test]
    fn numbers_that_have_begun_again_leave_nobody_out() {
        let of = |started: u64| Numbers { started: Some(started) };
        let now = started().expect("Linux counts what it has started");
        let low = Pid::from_raw(2);
        assert_eq!(of(now).lowest(low), 2);
        assert_eq!(of(0).lowest(Pid::from_raw(i32::MAX)), 0, "the last number is below that of the root");
        assert_eq!(Numbers { started: None }.lowest(low), 0);
    }

    #[test]
    fn sigterm_is_the_fifteenth_bit() {
        assert!(has_sigterm("SigBlk:\t0000000000000000\nSigCgt:\t0000000000004002\n", "SigCgt:"));
        assert!(!has_sigterm("SigBlk:\t0000000000004000\nSigCgt:\t0000000000000002\n", "SigCgt:"));
        assert!(!has_sigterm("", "SigCgt:"));
    }

    #[test]
    fn who_blocks_all_signals_does_not_wait_for_one() {
        let status = |blocked: &str, caught: &str| format!("SigBlk:\t{blocked}\nSigCgt:\t{caught}\n");
        assert!(handles_sigterm(&status("0000000000000000", "0000000000004000")));
        assert!(handles_sigterm(&status("0000000000004002", "0000000000000000")), "it waits for SIGTERM and SIGINT");
        assert!(!handles_sigterm(&status("fffffffe7ffbfeff", "0000000000000440")), "it starts a thread");
        assert!(handles_sigterm(&status("fffffffe7ffbfeff", "0000000000004440")));
        assert!(!handles_sigterm(&status("0000000000000000", "0000000000000440")));
    }
}
