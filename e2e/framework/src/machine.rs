//! What a process that runs cases does first, and how it prints.

use std::io::Write;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::stack::docker;
use crate::{signals, snapshot, variables};

/// How many files a process should be able to open. Each case uses some dozens of sockets, and a runner runs several
/// cases at once.
const WANTED_FILES: u64 = 4096;

/// Below this limit, cases that run at the same time fail because they cannot open enough sockets.
const NEEDED_FILES: u64 = 1024;

/// Checks the environment, reads the variables of insta, and makes the process keep the evidence of its runs when it is told
/// to end. With `accept`, snapshots are written without a review.
///
/// It has to be called before the process starts a thread. An error names a variable whose value would make the run
/// something else than intended.
pub fn prepare(accept: bool) -> Result<(), String> {
    variables::check()?;
    raise_open_files();
    snapshot::prepare(accept)?;
    docker::find_engine();
    signals::watch();
    Ok(())
}

/// Raises the number of files that this process may open, as far as the system allows. Prints a warning if that is too
/// few.
fn raise_open_files() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(WANTED_FILES);
    let limit = if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    if limit < NEEDED_FILES {
        warn(&format!(
            "this process may open {limit} files and sockets at once, which is too few for several cases at a time, and the system's limit \
             does not let it raise that; raise the limit (`ulimit -Hn {WANTED_FILES}`), or run one case at a time (`--jobs 1`)"
        ));
    }
}

/// Prints a line to standard error. Unlike `eprintln!`, it does not panic when the other end of the stream is closed.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints text to standard output. Unlike `print!`, it does not panic when the other end of the stream is closed.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(256), hard).expect("lowered");
        raise_open_files();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit").0, hard.min(WANTED_FILES));
    }
}
