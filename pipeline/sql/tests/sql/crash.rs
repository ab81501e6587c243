//! The program is killed with SIGKILL at one of its calls to AWS, just before the call takes effect or just after it did.

use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};

use e2e::internals::{CallName, Embedded, Fault, Moment, Stack as _, numbered};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The calls since so many others, each by the name that it has if calls are counted from the program's start.
pub fn calls_after(stack: &Embedded, others: usize) -> Vec<CallName> {
    let calls = stack.calls().snapshot();
    numbered(calls[others..].iter().map(|call| (call.service.as_str(), call.operation.as_str())))
}

/// Both moments of each call.
pub fn points(calls: &[CallName]) -> Vec<(&CallName, Moment)> {
    calls.iter().flat_map(|call| [(call, Moment::Before), (call, Moment::After)]).collect()
}

/// How many crash points are passed over from one that is tried to the next. It is odd, so that those before and those
/// after calls take turns. With `FMS_EVERY_CALL` in the environment, every crash point is tried, which takes minutes.
pub fn stride() -> usize {
    if std::env::var_os("FMS_EVERY_CALL").is_some() { 1 } else { 11 }
}

/// Runs a command until it is killed at a call, or to its end if it makes no such call.
pub fn run_killed(stack: &Embedded, command: &mut Command, call: &CallName, moment: Moment) -> ExitStatus {
    let pid: Arc<OnceLock<Pid>> = Arc::default();
    let killed = Arc::clone(&pid);
    let hook = move |_: &str| kill(*killed.wait(), Signal::SIGKILL).expect("it waits for the answer to its call");
    stack.calls().inject(Fault::Hold { call: call.clone(), moment, hook: Box::new(hook) });
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("fms-sql starts");
    pid.set(Pid::from_raw(i32::try_from(child.id()).expect("a process id"))).expect("it is set once");
    child.wait().expect("it ends")
}
