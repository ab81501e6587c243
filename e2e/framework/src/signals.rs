//! What a process that runs cases does when it is told to end. nextest ends a test that takes too long with SIGTERM, and
//! a person ends it with Ctrl-C (SIGINT). In both cases the evidence of the runs that have not ended is written first.

use std::panic;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use crate::{evidence, machine, subject};

/// Leaves SIGTERM and SIGINT to a thread that waits for them. The thread prints without a panic, because nobody may read
/// standard error any more. A second signal ends the process at once.
pub(crate) fn watch() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // The signals are blocked in this thread and in every thread that is started from now on, so only the thread that
    // waits for them receives them.
    if signals.thread_block().is_err() {
        return;
    }
    thread::spawn(move || {
        let Ok(first) = signals.wait() else { return };
        thread::spawn(move || {
            if let Ok(text) = panic::catch_unwind(|| evidence::interrupted(first.as_str())) {
                machine::warn(&format!("\n{text}"));
            }
            end(first);
        });
        if let Ok(second) = signals.wait() {
            end(second);
        }
    });
}

/// Kills the subjects of this process and ends it with the status that a signal gives a process.
fn end(signal: Signal) -> ! {
    subject::kill_all();
    std::process::exit(128 + signal as i32);
}
